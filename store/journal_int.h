/* SPDX-License-Identifier: GPL-2.0-or-later */
/* journal_int.h - what the files of the journal share. Nobody else includes it.
 *
 * Everything in struct journal belongs to the home worker, but for the atomics, the table of
 * segments by number, and the windows, which any thread may read:
 *  - a segment's place is valid while its `number` is what the reader looked for; he looks again
 *    after reading, since a recycled slot changes its number before it is written;
 *  - a window is counted while it is copied from, and its key is taken away before it is reused. */
#ifndef STORE_JOURNAL_INT_H
#define STORE_JOURNAL_INT_H

#include "core/fiber.h"
#include "core/job.h"
#include "core/timer.h"
#include "core/worker.h"
#include "store/frame.h"
#include "store/index.h"
#include "store/journal.h"
#include "store/segment.h"
#include "store/store.h"

#include <stdatomic.h>

enum {
	RESERVED_SEGMENTS = 2, /* for what frees room */
	SPARE_SEGMENTS = RESERVED_SEGMENTS + 1,
	WINDOWS_MIN = 4,
	WINDOW_BYTES_MIN = 1024 * 1024,
	WINDOW_BYTES_MAX = 4 * 1024 * 1024,
	PENDING_MAX = 256 * 1024 * 1024,
	TICK_MS = 1000,
	WINDOW_MS = 1,
	REPLAY_EVERY = 64,   /* frames between looks for the replay point */
	PATIENCE_MS = 10000, /* of a message, for a segment to be freed */
};

struct seg {
	struct segment at;
	_Atomic uint32_t number; /* 0: free */
	struct list_link link;   /* live, oldest first, or free */
	uint64_t used;           /* good bytes */
	uint64_t last_seq;       /* of its good frames */
	uint64_t free_after;     /* may be reused when a later frame is durable */
	uint32_t prior;
	bool failed;
	bool begins; /* what stood before it was lost: see journal_mend.c */
};

struct window {
	char *mem;
	_Atomic uint64_t key; /* position of mem[0]; 0: nothing */
	_Atomic uint32_t end; /* durable bytes */
	_Atomic uint32_t users;
};

struct journal {
	const struct store_options *opt;
	const struct segment_home *segments;
	const char *path;
	struct index *index;
	struct worker *home; /* NULL: no worker */
	unsigned home_index;
	uint64_t store_id, next_seq;
	uint32_t next_number;
	size_t window_bytes, record_max;

	/* Segments. */
	struct list live, free;
	struct seg *active, *last_good;
	size_t live_count, free_count, max_segments;
	uint32_t next_slot;
	_Atomic(struct seg *) *table;
	_Atomic uint32_t *holds;
	uint32_t mask;
	struct list dead; /* failed and freed slots, dropped at the end */
	struct job make_job;
	struct segment made;
	enum err make_err;
	bool making, disk_full, active_reserved;
	bool full; /* since: */
	msec full_since, freed_at;

	/* Batches. */
	struct list pending, batch;
	struct list waiting;  /* for a segment to be freed; none of the reserve's */
	size_t pending_bytes; /* of both */
	bool urgent, writing, failing, publish, stopping, stopped, in_turn;
	unsigned attempts;
	struct segment_op write;
	size_t write_from;  /* offset in the segment */
	uint64_t write_seq; /* the last one in it */
	struct timer lazy_timer, tick_timer, window_timer;
	bool refilling; /* a fiber reads again what the index missed */
	struct worker_hook hook;
	struct job space_job;
	bool spacing;
	enum err space_err;
	struct file_space space, space_seen; /* as last known; the job's */
	uint64_t replay, replay_age;

	/* Windows. */
	struct window *windows, *window;
	size_t window_count;
	uint64_t window_start;

	_Atomic uint64_t durable, pressure, disk_free;
	_Atomic int refusing;
	_Atomic bool direct, crowded;
	_Atomic uint64_t batches, records, bytes, errors, segments_failed, freed, held, hits,
		misses;
	_Atomic uint64_t stat_live, stat_free, replayed_records, replayed_bytes;
};

static inline journal_pos pos_of(uint32_t segment, uint64_t offset)
{
	return (journal_pos)segment << 32 | offset;
}

/* --- journal.c --- */
/* Write what is pending, if nothing is in flight and there is a reason to. */
void journal_turn(struct journal *j);
/* Hooks and timers of the home. */
void journal_start(struct journal *j);

/* --- journal_refill.c --- */
/* If the index missed records: feed them again, on a fiber of the home or here. */
void journal_refill(struct journal *j);

/* --- journal_segments.c --- */
struct seg *seg_find(const struct journal *j, uint32_t number);
/* A seg for a place, in no list. NULL: no memory. */
struct seg *seg_new(const struct segment *at);
void seg_number(struct journal *j, struct seg *s, uint32_t number);
/* Enter a free slot. */
void seg_add_free(struct journal *j, struct seg *s);
/* A free slot becomes the active segment, with nothing in it yet; `reserved`: the reserve too.
 * OK; ERR_BUSY: one is being made, come again; ERR_NOSPACE. */
enum err seg_switch(struct journal *j, bool reserved);
/* The write to the active segment failed. */
void seg_fail(struct journal *j);
/* Have spare slots made, in the background if there is a worker. */
void seg_spare(struct journal *j);
enum err seg_make_now(struct journal *j);
/* Can so many bytes for others than the reserve's be written now, or once a slot is made? */
bool seg_takes(const struct journal *j, size_t bytes);
/* There is no room, but what stands first may be freed, and such things happen. */
bool seg_hopeful(struct journal *j);
/* Numbers others look at: where a replay begins, pressure, whether messages are refused. */
void seg_publish(struct journal *j);
/* Once a second: that, and try again what failed. */
void seg_tick(struct journal *j);
void seg_look_for_replay(struct journal *j);
uint32_t seg_oldest(const struct journal *j);
void seg_done(struct journal *j);

/* --- journal_read.c --- */
enum err windows_init(struct journal *j);
void windows_done(struct journal *j);
/* An unused window that begins at `start` of the active segment. False: all are being read. */
bool window_open(struct journal *j, uint64_t start);
/* Bytes [start, end) of the active window are durable. */
void window_durable(struct journal *j, uint64_t end);

/* --- journal_scan.c --- */
/* Walks the good frames of a segment. The first one must be its FRAME_SEGMENT. */
struct scan {
	struct segment *segment;
	uint64_t store_id;
	uint32_t number;
	/* Each frame that passed; frame.len is head.bytes. An error ends the walk. */
	enum err (*frame)(struct scan *scan, const struct frame_head *head, slice frame);
	void *arg;
	/* out: */
	struct frame_head first, last; /* last.kind 0: not even the first frame is good */
	uint64_t at, last_at;          /* behind the last good frame, and where that begins */
};
enum err journal_scan(struct scan *scan);
/* The head of a slot. ERR_CORRUPT: there is none of this store. */
enum err journal_scan_head(struct segment *s, uint64_t store_id, struct frame_head *out);

#endif
