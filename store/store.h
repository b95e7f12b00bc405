/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store.h - the memory of the server: opening it, messages, what is still needed, its health.
 *
 * One folder, shared by all workers: a journal in which everything that will be acknowledged is a
 * record, an LMDB index that is a pure function of the journal, and an archive for bodies that
 * outlive their journal segment. The invariants everything rests on:
 *
 *  1. A call that appends returns OK only after its bytes are on stable storage.
 *  2. Records are totally ordered by journal_pos; positions only grow and are never used twice. A
 *     message's id is the position of its record, for ever.
 *  3. The index is what applying the durable records in order gives; nothing else writes it.
 *  4. A segment is freed strictly oldest first, when no message in it is held, every shard is
 *     durable past all of it and past what was appended before its last release, and its live
 *     bodies were copied to the archive.
 *  5. Recovery applies exactly what was durable, and hands what lies after the replay point to the
 *     owner of the queue.
 *
 * Calls that wait are made on a fiber of any worker. On a thread that is no worker (a tool, a test)
 * every call works too and simply blocks; then one thread at a time may use the store. Strings of
 * options are borrowed. Nothing here logs. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "core/base/base.h"
#include "store/blob.h"
#include "store/journal.h"

struct conf_table;
struct deliver;
struct schedule_entry;
struct segment_home;
struct store;
struct worker;

/* Numbers are int64_t because option rows bind them (core/conf.h). */
struct store_options {
	const char *path;                /* the data folder; made if it is not there */
	const struct segment_home *home; /* NULL: files */
	int64_t segment_bytes;           /* of a journal segment */
	int64_t journal_max_bytes;       /* all segments; 0: an eighth of the disk, 1 to 16 GB */
	int64_t reserve_bytes;           /* free disk below which new messages are refused */
	int64_t replay_max_bytes;        /* journal read at a start, at most about this */
	int64_t cache_bytes;             /* recent journal writes kept in RAM for readers */
	int64_t body_ram_bytes;          /* unfinished bodies of all workers together */
	int64_t spill_bytes;             /* an unfinished body over this streams to the journal */
	int64_t move_bytes_per_s;        /* I/O budget of compacting the archive */
	int64_t map_bytes;               /* of an index shard at first; it grows */
	int64_t gather_ms;               /* between index commits when nobody waits */
	int64_t snapshot_interval_ms;    /* 0: only on demand */
	int64_t history_max_bytes; /* logged since the last snapshot, before one is made early */
	int64_t shards;            /* of the index, fixed at creation; 0: half the cores, 1 to 16 */
	int64_t mailboxes_max;     /* names, and subscriptions, of an account */
	int64_t archive_live_percent; /* compact archive segments that fell below */
	bool nosync;                  /* benchmarks only: nothing is durable */
	bool read_only;               /* applies and writes nothing */
	bool rebuilding;              /* check.c: it opens what a rebuild has not ended with */
};
/* All defaults, as the rows have them; path is to be set. For programs without a configuration file. */
struct store_options store_options_default(void);
/* Rows "store.*", bound to a struct store_options. */
extern const struct conf_table store_conf_table;

/* Called by store_open in journal order, on the opening fiber; they must not wait. Slices die with
 * the call. A message whose results all lie before the end comes too: count them. */
struct store_replay_ops {
	/* A message after the replay point. True: keep it, it is held now (store_release it when done);
	 * a later `park` or `done` may end that. False: not needed. */
	bool (*message)(void *arg, const struct blob_ref *ref, wall_ms at, slice meta);
	/* The entry is in the index (or will be before store_open returns). */
	void (*park)(void *arg, const struct schedule_entry *entry);
	/* Recipient n of message id is finished. */
	void (*done)(void *arg, uint64_t id, uint32_t n);
};

/* What is there is locked (ERR_BUSY: another process has it), recovered and applied before this
 * returns. `ops` may be NULL: nothing is kept in RAM then, and no message is ever freed from the
 * journal by this process (offline tools). ERR_CORRUPT: fsck must look at it; ERR_UNSUPPORTED: see
 * store_other_format, nothing was touched. `why` (may be NULL) gets one line saying which file. On a
 * worker, that worker becomes the journal's home. */
struct store_open {
	const struct store_options *options;
	const struct store_replay_ops *ops;
	void *arg;
	char *why;
	size_t why_bytes;
};
enum err store_open(const struct store_open *args, struct store **out) must_use;
/* True: another version wrote the folder, and its format is not ours; one line on what to do. */
bool store_other_format(const char *folder, char *why, size_t why_bytes);
/* On the home worker. Waits for what was appended to be durable, applied and committed; later calls
 * fail with ERR_STOPPED. NULL is harmless. */
void store_close(struct store *st);

/* After sim_crash(): closes the index, which is real, and forgets the rest, as the crash did. */
void store_abandon(struct store *st);

/* --- Messages --- */
struct store_message {
	slice meta; /* the caller's envelope, opaque, at most STORE_META_MAX; empty: the queue has
		     * nothing to do with it, so a replay neither offers nor holds it */
	slice head; /* stands before the body's bytes (trace headers); may be empty */
	struct blob_writer *body; /* blob_end()ed here, in success and failure */
	/* Into mailboxes, by the same record (message.h); NULL: none. */
	const struct deliver *deliver;
	bool ask; /* message_delivered will be called for it */
	wall_ms at;
};
enum { STORE_META_MAX = 128 * 1024, STORE_HEAD_MAX = 64 * 1024 };
/* Body and meta become durable together, or nothing does. OK: *out names it, and it is held once.
 * ERR_NOSPACE, ERR_IO: not stored, try later; ERR_STOPPED; ERR_TOO_LARGE: meta or head. */
enum err store_message_append(struct store *st, const struct store_message *msg,
	struct blob_ref *out) must_use;
/* The meta of a stored message, copied into the arena; from RAM, the journal or the archive. May
 * wait. ERR_NOT_FOUND: dropped; ERR_CORRUPT. */
enum err store_message_meta(struct store *st, uint64_t id, struct arena *a, slice *out) must_use;

/* --- What is still needed. From any worker, never waits --- */
/* Call it when every recipient's DONE or PARK record is durable (not earlier, applied or not does
 * not matter), or the message was never acknowledged. Its body stays readable while index rows
 * name it or another hold exists. */
void store_release(struct store *st, const struct blob_ref *ref);
/* The position up to which held messages should be parked now, so that a replay stays within
 * replay_max_bytes and the journal can be recycled; 0: no pressure. */
journal_pos store_oldest_pressure(const struct store *st);

/* False: new messages would be refused (disk nearly full, journal full or failing, index far
 * behind). Results and deletions still work. Any worker. *why may be NULL; ERR_NOSPACE, ERR_IO,
 * ERR_BUSY, ERR_STOPPED. */
bool store_accepting(const struct store *st, enum err *why);

/* (fiber) Until the index has committed all that is durable now, so that what is read next shows it.
 * An error: the index cannot be written. */
enum err store_show(struct store *st) must_use;

/* (fiber) For a stop whose time is over: who waits now for the index to apply or to commit gets
 * ERR_STOPPED. What is durable stays so. */
void store_end_waits(struct store *st);

/* --- Care --- */
/* A consistent copy of the index and its position into <path>/snapshot; replaces the last one when
 * it is whole. Waits. Also done by itself every snapshot_interval_ms. ERR_BUSY: one is being made. */
enum err store_snapshot(struct store *st) must_use;

struct store_stats {
	uint64_t batches, records, bytes_appended, write_errors, segments_failed;
	uint64_t files_max; /* descriptors it may come to use */
	uint64_t segments, segments_free, segments_freed, replayed_records, replayed_bytes;
	uint64_t held_messages, body_ram_bytes, bodies_spilled;
	uint64_t cache_hits, cache_misses, archive_reads;
	uint64_t index_commits, index_records, index_errors, index_lag_bytes, index_map_bytes;
	uint64_t moved_bodies, moved_bytes, archive_segments, archive_bytes, archive_live_bytes;
	uint64_t history_bytes; /* index records kept since the last snapshot */
	/* Found when they were to be moved, since the start; entries stay. */
	uint64_t damaged_bodies;
	uint64_t disk_free_bytes;
	wall_ms last_snapshot;
	bool direct; /* the file system takes O_DIRECT */
	bool nosync;
};
/* A glance from any worker; numbers may be of slightly different moments. */
void store_stats(const struct store *st, struct store_stats *out);

#endif
