/* SPDX-License-Identifier: GPL-2.0-or-later */
/* segment.h - where journal segments live: four calls, chosen when the store is opened.
 *
 * append, read, seal, drop (and list, to find them again). Files are the home that exists: slots of
 * pre-written, recycled files under <data>/journal. A test wraps it to tear, fail and reorder
 * writes. Ownership of what is written, and which segment is needed, is the journal's business.
 * Buffers, offsets and lengths are multiples of FILE_ALIGN. */
#ifndef STORE_SEGMENT_H
#define STORE_SEGMENT_H

#include "core/base/base.h"
#include "core/file.h"

struct store_options;
struct worker;

/* One place for a segment. */
struct segment {
	const struct segment_home *home;
	void *place;    /* the home's: for files a struct file */
	void *reader;   /* the same through the page cache; NULL: place is that already */
	uint64_t bytes; /* room */
	uint32_t slot;  /* the name of the place: slots are recycled, segment numbers are not */
	bool direct;    /* writes go past the page cache */
};

/* A write in flight; embedded in the journal. */
struct segment_op {
	void (*done)(struct segment_op *op, enum err err);
	struct segment *segment;
	slice bytes; /* aligned, as long as the write */
	uint64_t offset;
	bool nosync;
	struct file_op file_op; /* the home's */
	struct iovec iov;
};

struct segment_home {
	void *arg; /* for wrapping homes */
	/* Slots there are, in any order; opens them. */
	enum err (*list)(const struct segment_home *home, const struct store_options *options,
		struct segment **out, size_t *out_len);
	/* A new pre-written slot of options->segment_bytes. ERR_NOSPACE. */
	enum err (*make)(const struct segment_home *home, const struct store_options *options,
		uint32_t slot, struct segment *out);
	/* Durable when done. With a worker: asynchronous, done runs from its loop. Without: done runs
	 * inside the call. */
	void (*append)(struct worker *w, struct segment_op *op);
	/* May wait (fiber) or block; any thread. ERR_CORRUPT: beyond the end. */
	enum err (*read)(struct segment *s, void *buf, size_t len, uint64_t offset);
	/* The same for readers of single records, from anywhere to anywhere: memory of the system may
	 * answer. NULL: read aligned pieces. */
	enum err (*peek)(struct segment *s, const struct iovec to[2], uint64_t offset);
	/* Recovery: write what stands there once more, durably; waits or blocks. */
	enum err (*rewrite)(struct segment *s, slice bytes, uint64_t offset);
	/* No more is appended. */
	void (*seal)(struct segment *s);
	/* Close it; with `remove` give its room back to the system. */
	void (*drop)(struct segment *s, const struct store_options *options, bool remove);
};

extern const struct segment_home segment_files;

#endif
