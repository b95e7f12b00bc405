/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store_support.h - what the tests of the store share: small stores, made-up entries, a faulty disk.
 *
 * Without a worker the store is synchronous, so most tests need no engine. The faulty home wraps the
 * files: it counts writes, fails or tears the n-th, and can refuse to make slots. Nothing here
 * fails by return value: what goes wrong ends the test by must(). */
#ifndef TESTS_STORE_SUPPORT_H
#define TESTS_STORE_SUPPORT_H

#include "core/base/base.h"
#include "store/schedule.h"
#include "store/segment.h"
#include "store/store.h"
#include "tests/support/tmpdir.h"

/* One write, as the disk saw it. */
struct disk_write {
	uint32_t slot;
	uint64_t offset, len;
};

struct disk {
	struct segment_home home;
	unsigned writes; /* so far */
	unsigned fail_from,
		fail_to; /* writes [from, to) fail with fail_with, counted from 1; 0: none */
	enum err fail_with;
	/* What a failing write leaves on the disk: this many bytes of it, from its begin (or its end). */
	size_t torn_bytes;
	bool torn_tail;
	bool no_slots;                       /* ERR_NOSPACE for every new slot */
	unsigned slots;                      /* made so far */
	struct disk_write failed, rewritten; /* the last of each kind */
};
void disk_init(struct disk *d);

struct box {
	struct tmpdir dir;
	struct disk disk;
	struct store_options options;
	struct store *st;
};
/* A store of 1 MB segments, with the faulty home, not open yet. */
void box_make(struct box *b);
/* Open it; `ops` may be NULL. Must succeed. */
void box_open(struct box *b, const struct store_replay_ops *ops, void *arg);
void box_close(struct box *b);
void box_remove(struct box *b);

/* Keeps nothing: every replayed message is let go. */
extern const struct store_replay_ops keep_nothing;
extern const struct store_replay_ops keep_all;

/* A message whose body is `size` bytes that only `seed` gives. */
enum err put_message(struct store *st, unsigned seed, size_t size, struct blob_ref *out);
/* The body is there, whole and right. */
bool message_is(struct store *st, uint64_t id, unsigned seed, size_t size);
void body_bytes(unsigned seed, size_t from, char *buf, size_t len);

#endif
