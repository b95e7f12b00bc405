/* SPDX-License-Identifier: GPL-2.0-or-later */
/* index_int.h - what the files of the index share. Nobody else includes it.
 *
 * The feed of a shard (records applied next) is built on the home worker and handed whole to the
 * shard's serial job; while the job runs a new feed grows. Positions are atomics that anybody reads. */
#ifndef STORE_INDEX_INT_H
#define STORE_INDEX_INT_H

#include "core/fiber.h"
#include "core/job.h"
#include "core/timer.h"
#include "store/index.h"
#include "store/keys.h"

#include <lmdb.h>
#include <stdatomic.h>

enum { FEED_BYTES = 64 * 1024, COMMIT_BYTES = 1024 * 1024, OUTCOMES = 4096, RETRY_MS = 1000 };

/* Records one behind the other, each at a multiple of eight: struct journal_record, payload. */
struct feed {
	struct feed *next;
	size_t len, cap;
	_Alignas(8) char bytes[];
};

/* Outcomes other than OK of conditional records, the latest in a ring. */
struct outcomes {
	size_t count;
	struct {
		journal_pos pos;
		enum err err;
	} at[OUTCOMES];
};

struct shard {
	struct index *ix;
	unsigned number;
	MDB_env *env;
	MDB_dbi dbi;
	_Atomic uint64_t position; /* committed */
	_Atomic int readers;       /* transactions open now; see guard_ in index_read.c */
	_Atomic bool growing;
	_Atomic uint64_t map_bytes;

	/* The home worker's. */
	struct feed *first, *last;
	size_t fed_bytes;
	journal_pos fed_to;
	journal_pos
		missed; /* from here on records must be fed again: there was no memory; 0: none */
	struct list waiters;
	struct timer timer;
	bool busy, commit_wanted;
	struct outcomes known;

	/* The job's. */
	struct job job;
	struct job_queue queue;
	struct feed *work;
	size_t work_bytes;
	journal_pos work_to;
	enum err work_err;
	struct outcomes fresh;
	uint64_t work_records;
	bool work_directory;
};

struct index {
	struct shard shards[INDEX_SHARDS_MAX];
	unsigned count;
	struct worker *home; /* NULL: everything happens on the calling thread */
	unsigned home_index;
	msec gather_ms;
	uint64_t store_id;
	bool read_only;
	_Atomic unsigned behind; /* shards that missed a record */
	_Atomic uint64_t lag, generation, commits, records, used_bytes;
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
/* Commit now, later or not at all. Back to back while somebody waits. */
void shard_kick(struct shard *sh);

/* index_apply.c: one transaction over the shard's work, committed. Helper thread. */
enum err shard_apply(struct shard *sh);
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
