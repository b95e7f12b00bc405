/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Read transactions, and the guard that keeps them apart from growing the map: LMDB moves the map,
 * so no transaction of the process may be open then. Growing is rare and takes microseconds. */
#include "store/index_int.h"

#include "core/file.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

enum { COPY_LOOK_US = 1000 };

void guard_enter(struct shard *sh)
{
	for (;;) {
		atomic_fetch_add(&sh->readers, 1);
		if (!atomic_load(&sh->growing))
			return;
		atomic_fetch_sub(&sh->readers, 1);
		while (atomic_load(&sh->growing))
			sched_yield();
	}
}

void guard_leave(struct shard *sh)
{
	atomic_fetch_sub(&sh->readers, 1);
}

/* A copy is a long read. Waiting for it holds up the changes of this shard, but nobody who reads. */
static void wait_for_copy(struct shard *sh)
{
	while (atomic_load(&sh->copying))
		usleep(COPY_LOOK_US);
}

void guard_grow_begin(struct shard *sh)
{
	for (;;) {
		wait_for_copy(sh);
		atomic_store(&sh->growing, true);
		while (atomic_load(&sh->readers))
			sched_yield();
		/* One may have begun before we closed the door. */
		if (!atomic_load(&sh->copying))
			return;
		atomic_store(&sh->growing, false);
	}
}

void guard_grow_end(struct shard *sh)
{
	atomic_store(&sh->growing, false);
}

enum err index_read_here(struct index *ix, unsigned shard,
	enum err (*fn)(struct index_txn *txn, void *arg), void *arg)
{
	struct shard *sh = &ix->shards[shard];
	struct index_txn txn = { .shard = sh };

	guard_enter(sh);
	int rc = mdb_txn_begin(sh->env, NULL, MDB_RDONLY, &txn.txn);
	enum err err = rc ? index_err(rc) : fn(&txn, arg);
	if (!rc)
		mdb_txn_abort(txn.txn);
	guard_leave(sh);
	return err;
}

struct reading {
	struct index *ix;
	enum err (*fn)(struct index_txn *txn, void *arg);
	void *arg;
	unsigned shard;
	enum err err;
};

static void read_job(void *arg)
{
	struct reading *r = arg;

	r->err = index_read_here(r->ix, r->shard, r->fn, r->arg);
}

enum err index_read(struct index *ix, unsigned shard,
	enum err (*fn)(struct index_txn *txn, void *arg), void *arg)
{
	struct reading r = { .ix = ix, .fn = fn, .arg = arg, .shard = shard };

	job_run(read_job, &r);
	return r.err;
}

enum err index_get(struct index_txn *txn, slice key, slice *out)
{
	MDB_val k = { .mv_size = key.len, .mv_data = (void *)(uintptr_t)key.ptr }, v;
	int rc = mdb_get(txn->txn, txn->shard->dbi, &k, &v);

	if (!rc)
		*out = slice_of(v.mv_data, v.mv_size);
	return index_err(rc);
}

static enum err move(struct index_cursor *c, MDB_val *k, MDB_cursor_op op)
{
	MDB_val v;
	int rc = mdb_cursor_get(c->lmdb, k, &v, op);

	if (rc)
		return index_err(rc);
	slice key = slice_of(k->mv_data, k->mv_size);
	if (!slice_starts(key, c->prefix))
		return ERR_NOT_FOUND;
	c->key = key;
	c->value = slice_of(v.mv_data, v.mv_size);
	return OK;
}

enum err index_seek(struct index_txn *txn, struct index_cursor *c, slice from, slice prefix)
{
	MDB_val k = { .mv_size = from.len, .mv_data = (void *)(uintptr_t)from.ptr };

	if (!c->lmdb) {
		MDB_cursor *cursor;
		int rc = mdb_cursor_open(txn->txn, txn->shard->dbi, &cursor);

		if (rc)
			return index_err(rc);
		c->lmdb = cursor;
	}
	c->prefix = prefix;
	return move(c, &k, MDB_SET_RANGE);
}

enum err index_next(struct index_cursor *c)
{
	MDB_val k;

	return move(c, &k, MDB_NEXT);
}

/* --- Many rows ---
 *
 * A long scan waits for memory more than it computes: each row lies somewhere else in its page, and where
 * it stands LMDB finds out one row at a time. Entering a page we ask for the beginnings of its first rows
 * at once. Where they are the page's table of offsets says (16 bytes into an LMDB page); read wrongly, by
 * a page of another size or another LMDB, it is a useless hint inside memory that is mapped, no more. */
enum { PAGE = 4096, PAGE_TABLE = 16, AHEAD_ROWS = 8, AHEAD_BYTES = 256, LINE_BYTES = 64 };

/* Inline, since GCC takes calls away whose only effect are hints. */
__attribute__((always_inline)) static inline void fetch_page(const char *at)
{
	const char *page = at - ((uintptr_t)at & (PAGE - 1));
	uint16_t offsets[AHEAD_ROWS];

	memcpy(offsets, page + PAGE_TABLE, sizeof(offsets));
	for (size_t i = 0; i < AHEAD_ROWS; i++)
		for (unsigned line = 0; line < AHEAD_BYTES; line += LINE_BYTES)
			__builtin_prefetch(page + ((offsets[i] + line) & (PAGE - 1)));
}

enum err index_next_many(struct index_cursor *c)
{
	uintptr_t before = (uintptr_t)c->value.ptr;
	enum err err = index_next(c);

	if (!err && (before ^ (uintptr_t)c->value.ptr) >= PAGE)
		fetch_page(c->value.ptr);
	return err;
}

void index_cursor_done(struct index_cursor *c)
{
	if (c->lmdb)
		mdb_cursor_close(c->lmdb);
	c->lmdb = NULL;
}

/* --- Copies --- */

struct copying {
	struct shard *shard;
	const char *path;
	enum err err;
};

static void copy_job(void *arg)
{
	struct copying *c = arg;
	struct shard *sh = c->shard;
	char path[1024];

	if (snprintf(path, sizeof(path), "%s/%02u", c->path, sh->number) >= (int)sizeof(path))
		c->err = ERR_INVALID;
	else
		c->err = file_make_dir(path);
	guard_enter(sh);
	atomic_store(&sh->copying, true);
	guard_leave(sh);
	if (!c->err)
		c->err = index_err(mdb_env_copy2(sh->env, path, MDB_CP_COMPACT));
	atomic_store(&sh->copying, false);
}

/* Beside the writer: who changes something does not wait for who copies. While a copy is read no page
 * it sees is used again and the map cannot grow, but the writer always leaves room ahead. */
enum err index_copy(struct index *ix, const char *path)
{
	for (unsigned i = 0; i < ix->count; i++) {
		struct copying c = { .shard = &ix->shards[i], .path = path };

		job_run(copy_job, &c);
		if (c.err)
			return c.err;
	}
	return OK;
}
