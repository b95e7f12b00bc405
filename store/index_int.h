/* SPDX-License-Identifier: GPL-2.0-or-later */
/* index_int.h - what the files of the index share. Nobody else includes it.
 *
 * The feed of a shard (records applied next) is built on the home worker and handed over to the
 * shard's writer, a thread of its own, by one job at a time; while that runs a new feed grows. The
 * writer's part of a shard is the writer's while `busy`, the home's otherwise; positions are atomics
 * that anybody reads. */
#ifndef STORE_INDEX_INT_H
#define STORE_INDEX_INT_H

#include "core/fiber.h"
#include "core/job.h"
#include "core/timer.h"
#include "store/absent.h"
#include "store/index.h"
#include "store/keys.h"

#include <lmdb.h>
#include <stdatomic.h>

enum {
	FEED_BYTES_MIN = 4 * 1024,
	FEED_BYTES = 64 * 1024,
	APPLY_BYTES = 256 * 1024,       /* fed: applied though nobody asks */
	COMMIT_BYTES = 4 * 1024 * 1024, /* applied: committed though nobody waits */
	RETRY_MS = 1000,
	TOUCHED_MAX = 512,
	TOUCHED_SLOTS = 1024 /* a power of two */
};

/* Records one behind the other, each at a multiple of eight: struct journal_record, payload. */
struct feed {
	struct feed *next;
	size_t len, cap;
	_Alignas(8) char bytes[];
};

/* What a record's condition came to. */
struct outcome {
	struct outcome *next;
	journal_pos pos;
	enum err err;
	bool taken;
	uint32_t len;
	char bytes[];
};

/* Outcomes in order of position, oldest first, in a ring. Those that were taken stay while there is
 * room, since several may ask for one. */
struct outcomes {
	struct outcome **ring;
	size_t cap, first, count;
	size_t bytes;
	journal_pos lost; /* up to here some were given up */
};

struct touched {
	struct index_touched at[TOUCHED_MAX];
	uint16_t slots[TOUCHED_SLOTS]; /* place in `at` + 1 */
	size_t len;
	bool all;
};

/* The writer's side of a shard: what it has applied in the transaction that is open. */
struct apply {
	struct shard *shard;
	MDB_txn *txn; /* NULL: none is open */
	struct keys_counts totals;
	bool totals_changed, directory;
	uint64_t records; /* in this transaction */
	struct touched touched;
	/* The record at hand. */
	const struct journal_record *rec;
	struct outcome *outcome;
	enum err failed; /* memory */
};

struct shard {
	struct index *ix;
	unsigned number;
	MDB_env *env;
	MDB_dbi dbi;
	_Atomic uint64_t position; /* committed */
	_Atomic uint64_t clean;    /* every record before it, of this shard, is committed */
	_Atomic int readers;       /* transactions open now; see guard_ in index_read.c */
	_Atomic bool growing, copying;
	_Atomic uint64_t map_bytes, used_bytes;

	/* The home worker's. */
	struct feed *first, *last;
	size_t fed_bytes;
	size_t loose_bytes; /* given to the writer, and not committed */
	journal_pos fed_to;
	journal_pos applied; /* everything before it has its outcome */
	/* From here on records must be fed again: there was no memory. 0: none. */
	journal_pos missed;
	struct list waiters; /* for a commit */
	struct list askers;  /* for an outcome */
	struct timer timer;
	msec commit_began, commit_ms; /* the last one */
	bool busy, commit_wanted, eager, failing;
	struct outcomes known;

	/* The writer's. */
	struct job job;
	struct job_queue queue;
	struct apply apply;
	struct absent absent;
	struct feed *kept, *kept_last; /* everything since the last commit */
	struct feed *todo;             /* from here on it is not in the transaction */
	journal_pos work_to;
	bool work_commit, work_asked;
	enum err work_err;
	struct outcome *fresh, **fresh_end; /* not told yet */
	journal_pos told_to;                /* those before were told */

	/* From the writer to the home, in the middle of a job or with its end. */
	struct post told_post;
	struct outcome *told;
};

struct index {
	struct shard shards[INDEX_SHARDS_MAX];
	unsigned count;
	struct worker *home; /* NULL: everything happens on the calling thread */
	unsigned home_index;
	msec gather_ms;
	uint64_t store_id;
	bool read_only;
	void (*committed)(void *arg, const struct index_commit *commit);
	void *committed_arg;
	_Atomic unsigned behind; /* shards that missed a record */
	_Atomic uint64_t lag, generation, commits, records, errors;
};

struct index_txn {
	MDB_txn *txn;
	struct shard *shard;
};

enum err index_err(int lmdb_rc);

static inline uint64_t shard_position(const struct shard *sh)
{
	return atomic_load_explicit(&sh->position, memory_order_acquire);
}
static inline uint64_t shard_clean(const struct shard *sh)
{
	return atomic_load_explicit(&sh->clean, memory_order_acquire);
}
/* Apply or commit now, later or not at all. Back to back while somebody waits. */
void shard_kick(struct shard *sh);
/* If nothing of the shard is under way, all that was fed is committed. */
void shard_look_clean(struct shard *sh);
/* The writer told what records came to. */
void shard_told(struct shard *sh);

/* index_wait.c, on the home: whoever waits for what there is now, or everybody with an error. */
void wake_waiters(struct shard *sh, enum err err);
void wake_askers(struct shard *sh, enum err err);
/* Everybody, on the home. */
void index_end_waits_here(struct index *ix);

/* index_outcome.c */
/* Takes the list over. */
void outcomes_add(struct outcomes *known, struct outcome *list);
/* NULL: it had none, or (pos <= known->lost) it was given up. */
struct outcome *outcomes_find(const struct outcomes *known, journal_pos pos);
/* It was handed over to somebody. */
void outcomes_take(struct outcomes *known, struct outcome *o);
void outcomes_done(struct outcomes *known);

/* index_apply.c, the writer: applies what is to do, tells the outcomes, commits if that is wanted. */
void shard_write(struct shard *sh);
/* Ends the transaction that is open without a trace, on its thread. */
void shard_undo(struct shard *sh);
/* Doubles the map; the calling thread has no transaction open. */
enum err shard_grow(struct shard *sh);
/* Reads or makes the meta row and the position. */
enum err shard_load(struct shard *sh, bool create, unsigned *out_shards);

/* index_read.c: no transaction of this process is open between begin and end. */
void guard_enter(struct shard *sh);
void guard_leave(struct shard *sh);
void guard_grow_begin(struct shard *sh);
void guard_grow_end(struct shard *sh);

#endif
