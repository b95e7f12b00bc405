/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Read transactions, and the guard that keeps them apart from growing the map: LMDB moves the map,
 * so no transaction of the process may be open then. Growing is rare and takes microseconds. */
#include "store/index_int.h"

#include "core/file.h"

#include <sched.h>
#include <stdio.h>

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

void guard_grow_begin(struct shard *sh)
{
	atomic_store(&sh->growing, true);
	while (atomic_load(&sh->readers))
		sched_yield();
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

void index_cursor_done(struct index_cursor *c)
{
	if (c->lmdb)
		mdb_cursor_close(c->lmdb);
	c->lmdb = NULL;
}

/* --- Copies --- */

struct copying {
	struct index *ix;
	const char *path;
	unsigned shard;
	enum err err;
};

static void copy_job(void *arg)
{
	struct copying *c = arg;
	char path[1024];

	if (snprintf(path, sizeof(path), "%s/%02u", c->path, c->shard) >= (int)sizeof(path))
		c->err = ERR_INVALID;
	else
		c->err = file_make_dir(path);
	if (!c->err)
		c->err =
			index_err(mdb_env_copy2(c->ix->shards[c->shard].env, path, MDB_CP_COMPACT));
}

/* In the shard's own queue: a copy is a long read, and the map must not have to grow meanwhile. */
enum err index_copy(struct index *ix, const char *path)
{
	for (unsigned i = 0; i < ix->count; i++) {
		struct copying c = { .ix = ix, .path = path, .shard = i };

		job_run_in(&ix->shards[i].queue, copy_job, &c);
		if (c.err)
			return c.err;
	}
	return OK;
}
