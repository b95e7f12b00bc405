/* SPDX-License-Identifier: GPL-2.0-or-later */
/* archive.h - bodies that outlived their journal segment, and the mover that brings them here.
 *
 * Before a segment is freed the mover copies the messages in it that index rows still name into
 * archive segments, in large sequential writes, syncs them, and only then commits their places to
 * its own small map (blob -> segment, offset), which nobody else writes. Each copy carries a
 * self-describing head (id, owner, dates, sizes, checksums) and the message's meta, so it can be restored
 * without any index. An archive segment whose live share fell below the option is compacted within
 * an I/O budget: live bodies are copied on, the file goes. Disk use is thus at most
 * live bytes * 100 / archive_live_percent + two segments.
 *
 * The mover runs on one serial job queue. Readers look the map up on any thread. */
#ifndef STORE_ARCHIVE_H
#define STORE_ARCHIVE_H

#include "core/base/base.h"
#include "store/journal.h"

struct archive;
struct file;
struct store;
struct store_options;

enum { ARCHIVE_HEAD = 80, ARCHIVE_SEGMENT_BYTES = 64 * 1024 * 1024, ARCHIVE_FILES_KEPT = 32 };

/* Where a copy stands: head, meta, body, in this order. Meta begins with the delivery part of the
 * message's record, if it has one. */
struct archive_place {
	uint64_t offset; /* of the head */
	uint64_t body_len;
	uint32_t segment;
	uint32_t meta_len;
	uint32_t deliver_len; /* of meta */
	uint32_t meta_crc, body_crc;
	wall_ms at;
};

struct archive_open {
	const char *path;
	const struct store_options *options;
	uint64_t store_id;
	uint64_t segment_bytes; /* 0: ARCHIVE_SEGMENT_BYTES */
	bool create;            /* the folder of the map, and the map */
	bool rebuild; /* with create: an archive_rebuild follows, and before it is done it is no map */
};
/* ERR_CORRUPT: the map is missing, or was not finished. */
enum err archive_open(const struct archive_open *args, struct archive **out) must_use;
void archive_close(struct archive *ar);
/* Closes the map alone: for store_abandon. */
void archive_abandon_all(struct archive *ar);

/* ERR_NOT_FOUND: not here. Any thread; reads a warm page or two. */
enum err archive_find(struct archive *ar, uint64_t id, struct archive_place *out) must_use;
/* Bytes of [head, meta, body] counted from the head. May wait. ERR_NOT_FOUND: it moved on by
 * compaction, find it again. */
struct archive_span {
	uint32_t segment;
	uint64_t offset, len; /* absolute in the file */
};
enum err archive_read(struct archive *ar, struct archive_span span, void *buf) must_use;
/* The span is going to be read: as file_expect. */
void archive_expect(struct archive *ar, struct archive_span span);

/* --- The mover: serial jobs, or a thread without a worker --- */
/* Open a copy; then its bytes (meta first, then body) in pieces; then end. Not durable before
 * archive_commit. On an error the copy is abandoned. */
struct archive_copy {
	uint64_t id;
	wall_ms at;
	uint32_t meta_len;
	uint32_t deliver_len; /* of meta */
	uint32_t mailbox;     /* in whose mailbox it was when it was copied; account 0: in none */
	uint64_t account;
	uint64_t body_len;
	bool damaged; /* not what was stored: who reads the body gets ERR_CORRUPT */
};
enum err archive_begin(struct archive *ar, const struct archive_copy *copy) must_use;
enum err archive_put(struct archive *ar, slice bytes) must_use;
enum err archive_end(struct archive *ar) must_use;
/* Instead of archive_end: the source could not be read. Harmless after an error. */
void archive_abandon(struct archive *ar);
/* Syncs everything put so far and commits the map. */
enum err archive_commit(struct archive *ar) must_use;
/* Drop what nobody names any more, compact at most `budget` bytes. `alive` tells whether index rows
 * (or holds) name a blob. */
struct archive_care {
	bool (*alive)(void *arg, uint64_t id);
	void *arg;
	uint64_t budget;
};
enum err archive_compact(struct archive *ar, const struct archive_care *care) must_use;
/* Each copy in the map, in order of id; false from `each` ends it. */
enum err archive_each(struct archive *ar,
	bool (*each)(void *arg, uint64_t id, const struct archive_place *place),
	void *arg) must_use;
/* What the head of a copy says of its owner. */
struct archive_owner {
	uint64_t account;
	uint32_t mailbox;
};
enum err archive_owner(struct archive *ar, const struct archive_place *place,
	struct archive_owner *out) must_use;
/* Reads head, meta and body: ERR_CORRUPT when anything is wrong. */
enum err archive_verify(struct archive *ar, uint64_t id,
	const struct archive_place *place) must_use;
/* Rebuild the map from the heads in the segments; bytes no head leads to are passed over. */
struct archive_rebuilt {
	uint64_t found, skipped_bytes;
};
enum err archive_rebuild(struct archive *ar, struct archive_rebuilt *out) must_use;

struct archive_stats {
	uint64_t segments, bytes, live_bytes, bodies, moved_bodies, moved_bytes, reads;
};
void archive_stats(const struct archive *ar, struct archive_stats *out);

#endif
