/* SPDX-License-Identifier: GPL-2.0-or-later */
/* journal.h - the one append-only, totally ordered log.
 *
 * Any worker appends; one worker, the home, gathers whatever arrived while its last write was in
 * flight into a frame and writes it with one O_DIRECT write, durable on return. Nothing waits for
 * a timer, except lazy operations, which may be up to JOURNAL_LAZY_MS older than their write. An
 * operation is embedded in its owner; the bytes it names stay until it is done. Records of one
 * worker keep their order, also across the two forms.
 *
 * A write or sync error is final for its segment: the batch goes to a fresh one, whose header
 * names the last good frame of the failed one. Only when that fails too do waiters get an error
 * (reserved operations wait on), messages are refused, and a write is tried every second; from the
 * first success on nothing of the failed batch will ever be recovered. Errors: ERR_IO, ERR_NOSPACE
 * (messages only, while room is reserved for what frees room), ERR_BUSY (too much is waiting),
 * ERR_TOO_LARGE, ERR_STOPPED. */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "core/base/base.h"
#include "core/post.h"

#include <sys/uio.h>

struct fiber_wait;
struct index;
struct journal;
struct store;
struct store_options;
struct worker;

/* segment number << 32 | offset of the record in it. 0 is no position. */
typedef uint64_t journal_pos;

static inline uint32_t journal_segment_of(journal_pos pos)
{
	return (uint32_t)(pos >> 32);
}

enum journal_type {
	JOURNAL_CHUNK = 1,   /* a piece of an unfinished body */
	JOURNAL_MESSAGE = 2, /* the index applies its delivery part, if it has one */
	JOURNAL_PARK = 3,    /* from here on types the index applies */
	JOURNAL_DONE = 4,
	JOURNAL_STATE = 5,   /* hold or release of a schedule row */
	JOURNAL_ROW = 6,     /* accounts, domains, keys, settings: a conditional put or delete */
	JOURNAL_MAILBOX = 7, /* mailboxes and the messages in them: a change with an outcome */
};

enum journal_flags {
	JOURNAL_LAZY = 1 << 0,     /* may wait up to JOURNAL_LAZY_MS for company */
	JOURNAL_RESERVED = 1 << 1, /* frees room in the end: may use the reserved segments */
	JOURNAL_INDEXED = 1 << 2,  /* kept with the record: the index must apply it */
	JOURNAL_HOLD = 1 << 3,     /* the segment of this record is held once for the caller */
	JOURNAL_OUTCOME = 1 << 4,  /* JOURNAL_MESSAGE: index_outcome will be asked */
};

enum { JOURNAL_LAZY_MS = 10, JOURNAL_PARTS_MAX = 4096, JOURNAL_RECORD_HEAD = 16 };

/* One record to be. Fill type, flags, parts (slices of which each may be long), shard and done. */
struct journal_op {
	struct post post;      /* on its way to the home and back */
	struct list_link link; /* the home's */
	const slice *parts;    /* the record's bytes, in this order; both stay until done */
	/* On the appending worker's loop, once, when durable or failed. Without a worker it runs inside
	 * journal_submit. */
	void (*done)(struct journal_op *op, enum err err);
	struct fiber_wait *wait; /* journal_append's */
	struct journal *journal; /* set by the journal */
	journal_pos pos;         /* out: where it stands */
	enum err err;
	uint32_t len;    /* of all parts; set by the journal */
	uint32_t crc;    /* set by the journal, on the appending worker */
	uint16_t worker; /* set by the journal */
	uint16_t part_count;
	uint16_t shards; /* JOURNAL_INDEXED: bit mask of the index shards that apply it */
	uint8_t type;
	uint8_t flags;
};

/* The largest record: a share of the segment, and at most the write buffer. */
size_t journal_record_max(const struct journal *j);

/* Callback form, from a worker's loop or a fiber. */
void journal_submit(struct journal *j, struct journal_op *op);
/* Fiber form: waits, uninterruptibly, until durable. op->pos says where. */
enum err journal_append(struct journal *j, struct journal_op *op) must_use;

/* The segment of this position was not freed yet. Any thread. */
bool journal_has(const struct journal *j, journal_pos pos);
/* Everything before this is durable. Any thread. */
journal_pos journal_durable(const struct journal *j);

/* --- Reading --- */
/* One record's head. Its payload starts at pos + JOURNAL_RECORD_HEAD. */
struct journal_record {
	journal_pos pos;
	uint32_t len, crc;
	uint16_t shards;
	uint8_t type, flags;
};
/* Copy bytes of a record's payload, from the recent writes kept in RAM or from the segment. May wait
 * (fiber), blocks elsewhere. ERR_NOT_FOUND: the segment was freed; ERR_CORRUPT: no such record. */
enum err journal_read_head(struct journal *j, journal_pos pos, struct journal_record *out) must_use;
/* With the first bytes of the payload, in one read: at most JOURNAL_BEGIN_MAX, and it has so many. */
enum { JOURNAL_BEGIN_MAX = 64 };
enum err journal_read_begin(struct journal *j, journal_pos pos, struct journal_record *out,
	struct iovec begin) must_use;
/* Many records at once: up to `len` bytes of the segment from `pos` on, fewer where what is durable ends.
 * And the head of a record of which `bytes` are the begin. */
enum err journal_read_raw(struct journal *j, journal_pos pos, void *buf, size_t len,
	size_t *out_len) must_use;
enum err journal_take_begin(struct journal *j, journal_pos pos, slice bytes,
	struct journal_record *out) must_use;
struct journal_span {
	uint32_t offset, len; /* within the payload */
};
enum err journal_read(struct journal *j, const struct journal_record *rec, struct journal_span span,
	void *buf) must_use;
/* The payload's begin and what stands behind it, in one read. */
enum err journal_read_two(struct journal *j, const struct journal_record *rec,
	const struct iovec to[2]) must_use;
/* The checksum of a record over its head and `payload_crc`, the running CRC-32C of its payload. */
bool journal_record_ok(const struct journal_record *rec, uint32_t payload_crc);

/* Every record of one live segment (ERR_NOT_FOUND: it is none), or of all of them (0) from the
 * oldest. For the mover and fsck: blocks, so not on a worker outside fibers. An error of `each` ends it. */
struct journal_walk {
	uint32_t segment;
	enum err (*each)(void *arg, const struct journal_record *rec, slice payload);
	void *arg;
	uint64_t segments, frames, records, bytes; /* out */
	uint64_t bad_segments; /* out: acknowledged frames are missing in them */
};
enum err journal_walk(struct journal *j, struct journal_walk *walk) must_use;

/* --- Needed still: any thread --- */
void journal_hold(struct journal *j, journal_pos pos);
void journal_release(struct journal *j, journal_pos pos);

/* --- Life: store.c, on the home worker or a thread without a worker --- */
struct journal_open {
	const struct store_options *options;
	const char *path;
	uint64_t store_id;
	struct index *index; /* fed with what is durable; its position bounds the replay */
	bool create;
	bool from_oldest; /* the index may be behind the replay point: apply all there is */
	/* Each record from the replay point on, in order. */
	void (*replay)(void *arg, const struct journal_record *rec, slice payload);
	void *arg;
};
/* Finds the end, feeds the index what it lacks, replays. Afterwards the index is being fed. */
enum err journal_open(const struct journal_open *args, struct journal **out) must_use;
/* Waits for what is pending; later calls get ERR_STOPPED. */
void journal_close(struct journal *j);

/* --- What is missing: of a journal that is not open. Blocks --- */
struct journal_gap {
	uint32_t segment; /* before this one something is missing; 0: the end of all is */
	uint32_t named;   /* the one it says it follows, or the last that the index knows of */
	uint32_t before;  /* the one that is there instead, or the same, cut short; 0: none */
	uint64_t frames;  /* acknowledged and not there; 0: nobody knows */
};
struct journal_look {
	const struct store_options *options; /* with the path; `home` as when it is opened */
	uint64_t store_id;
	journal_pos position; /* how far the index came; 0: not known */
	bool heads_only;      /* whole segments that are not there, no more: quick */
	bool mend;            /* join the ends, so that the journal can be opened */
	void (*each)(void *arg, const struct journal_gap *gap); /* newest first; may be NULL */
	void *arg;
	size_t gaps;   /* out */
	bool end_lost; /* out: one of them, found now: the index came farther than the journal goes */
	journal_pos replay; /* out: where a replay for the queue begins */
	journal_pos end; /* out: behind the newest gap, joined ones among them; 0: there is none */
};
enum err journal_look(struct journal_look *args) must_use;

/* The oldest segment with something in it, when nothing in it is held and it is not being written:
 * what the mover looks at next. False: there is none. */
bool journal_oldest(const struct journal *j, uint32_t *out_segment);
/* Its slot may be recycled as soon as a frame that says so is durable. Home worker. */
void journal_free_oldest(struct journal *j, uint32_t segment);
struct journal_stats {
	uint64_t batches, records, bytes, errors, segments_failed, segments, free, freed;
	uint64_t segments_max;
	uint64_t held, hits, misses, disk_free_bytes, replayed_records, replayed_bytes;
	journal_pos pressure; /* see store_oldest_pressure */
	enum err refusing;    /* why messages are refused; OK: they are not */
	bool direct;
	bool crowded; /* live bodies should be moved, to free segments */
};
void journal_stats(const struct journal *j, struct journal_stats *out);
/* Without a worker: forget earlier failures, look at the disk again. Otherwise nothing. */
void journal_refresh(struct journal *j);

#endif
