/* SPDX-License-Identifier: GPL-2.0-or-later */
/* index.h - the LMDB index: S shards, each a pure function of the journal.
 *
 * A shard is one LMDB environment with one writer, a thread of its own. It applies the durable
 * records meant for it in journal order inside a transaction that stays open, and every commit is
 * synced and stores the position it contains. While somebody waits commits run back to back;
 * otherwise they gather for `gather_ms`. What a record comes to is fixed when it is applied, which is
 * before it can be read. Nothing visible is ever taken back. Read transactions are short, run on helper
 * threads or (a few warm pages) on a worker, and never live across a wait; the map grows between
 * transactions. Values are at most 2 KB; those of conversations may fill a page of their own. Keys are
 * big-endian and made in keys.h. This module and its index_*.c are the only ones that see lmdb.h. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "core/base/base.h"
#include "store/journal.h"

struct arena;
struct index;
struct journal;
struct store_options;

enum {
	INDEX_SHARDS_MAX = 16,
	INDEX_VALUE_MAX = 2048,
	INDEX_PAGE_MAX = 4096 - 16, /* all that LMDB leaves of a page */
	INDEX_KEY_MAX = 511
};

struct index_open {
	const char *path; /* the folder that holds one folder per shard */
	const struct store_options *options;
	uint64_t store_id; /* of the journal; an index of another store is ERR_CORRUPT */
	unsigned shards; /* as many as the store has; an index with another number is ERR_CORRUPT */
	bool create;
};
enum err index_open(const struct index_open *args, struct index **out) must_use;
/* Nothing may be waiting; on a fiber it waits for a commit under way. NULL is harmless. */
void index_close(struct index *ix);
/* Closes LMDB alone: for store_abandon. */
void index_abandon(struct index *ix);
/* LMDB makes its files itself, past the simulated disk: so do we with its folders. The folder and
 * the one it stands in. */
enum err index_make_dir(const char *path) must_use;

/* What a new store gets. */
unsigned index_default_shards(const struct store_options *options);
unsigned index_shard_count(const struct index *ix);
/* Which shard a name lives in: a fixed hash. */
unsigned index_shard_of(const struct index *ix, slice name);

/* --- Writing: the journal's home worker, in journal order --- */
/* A durable record for the shards of its mask; of a message the front alone is kept. The bytes are
 * copied. */
void index_feed(struct index *ix, const struct journal_record *rec, slice payload);
/* Without memory for a record its shard is behind: it takes no more until it was fed everything from
 * index_missed() on again. Then say so, with the position all of it came before. */
bool index_behind(const struct index *ix); /* any thread */
journal_pos index_missed(const struct index *ix);
enum err index_feed_again(struct index *ix, const struct journal_record *rec,
	slice payload) must_use;
/* Until what was fed again so far is committed, so that it does not all stand in memory. */
enum err index_wait_again(struct index *ix) must_use;
void index_caught_up(struct index *ix, journal_pos pos);
/* For tests, in builds with RP_FAULTS: the next `count` records find no memory. */
void index_fault_feed(unsigned count);
/* No more records exist before `pos`: shards that have nothing to apply may say so in their next
 * commit. With `commit` they do so now. */
void index_advance(struct index *ix, journal_pos pos, bool commit);
/* Everything before this is committed in every shard (in this one). Any thread. */
journal_pos index_position(const struct index *ix);
/* The same of the shard that is ahead of all; 0 for NULL. */
journal_pos index_farthest(const struct index *ix);
journal_pos index_shard_position(const struct index *ix, unsigned shard);
/* Bytes fed and not yet committed, for admission control. Any thread. */
uint64_t index_lag(const struct index *ix);

/* --- Waiting: on a fiber of any worker, uninterruptibly; without a worker it commits here --- */
/* Until the shards in `mask` (0: all) have committed past `pos`, which is durable. An error: the
 * index could not be written (ERR_IO, ERR_NOSPACE); it goes on trying. */
enum err index_wait(struct index *ix, journal_pos pos, uint32_t mask) must_use;
/* Until all records of the shard up to `pos` are committed: where nothing is under way that is so at
 * once, without a commit. index_synced (store_synced's): it would not wait; any thread. */
enum err index_sync(struct index *ix, journal_pos pos, unsigned shard) must_use;
bool index_synced(const struct index *ix, journal_pos pos, unsigned shard);
/* What a record of one shard came to: waits until it is applied, committed or not. *out (may be NULL)
 * gets the bytes, in the arena; none for records without any. It is kept until somebody asked, and a
 * while longer. ERR_TIMEOUT: nobody asked for so long that it is not known any more; of a message
 * without JOURNAL_OUTCOME nothing is kept at all, and asking gives OK. */
struct index_ask {
	journal_pos pos;
	unsigned shard;
};
enum err index_outcome(struct index *ix, const struct index_ask *ask, struct arena *a,
	slice *out) must_use;
/* The same, when it can be read too. */
enum err index_result(struct index *ix, journal_pos pos, unsigned shard) must_use;
/* (fiber) Whoever waits at this moment gets ERR_STOPPED, unless what he waits for is there. */
void index_end_waits(struct index *ix);
/* Count of commits that changed rows of the directory (accounts, domains, keys, settings). */
uint64_t index_generation(const struct index *ix);

/* Called on the home at each commit that changed mailboxes, before those are woken who waited for it.
 * The list dies with the call. */
struct index_touched {
	uint64_t account;
	uint32_t mailbox; /* 0: the account's list of them */
};
struct index_commit {
	const struct index_touched *touched;
	size_t len;
	bool all; /* there were too many to list */
};
void index_on_commit(struct index *ix, void (*fn)(void *arg, const struct index_commit *commit),
	void *arg);

/* --- Reading --- */
struct index_txn; /* one shard, one moment */
/* Runs fn on a helper thread (or here, without a worker) inside a read transaction. */
enum err index_read(struct index *ix, unsigned shard,
	enum err (*fn)(struct index_txn *txn, void *arg), void *arg) must_use;
/* The same on the calling thread at once: for a few warm pages. */
enum err index_read_here(struct index *ix, unsigned shard,
	enum err (*fn)(struct index_txn *txn, void *arg), void *arg) must_use;

/* Slices point into the map and die with the transaction. ERR_NOT_FOUND. */
enum err index_get(struct index_txn *txn, slice key, slice *out) must_use;
/* The first row at or after the key, if it still starts with `prefix`; moves forward by index_next. */
struct index_cursor {
	void *lmdb;
	slice prefix, key, value;
};
enum err index_seek(struct index_txn *txn, struct index_cursor *c, slice from,
	slice prefix) must_use;
enum err index_next(struct index_cursor *c) must_use;
/* The same when many more will follow, in a read transaction only: rows ahead are on their way from memory. */
enum err index_next_many(struct index_cursor *c) must_use;
void index_cursor_done(struct index_cursor *c);

/* --- Care --- */
/* A consistent copy of every shard into the folder (made by the caller, empty). Helper thread. */
enum err index_copy(struct index *ix, const char *path) must_use;

struct index_stats {
	uint64_t commits, records, errors, lag_bytes, map_bytes, used_bytes;
};
void index_stats(const struct index *ix, struct index_stats *out);

#endif
