/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The archive's map, on the same foundation as a shard: its environment, guard and growth. */
#include "store/index_map.h"

#include "store/index_int.h"

#include <stdlib.h>

enum { MAP_FIRST_BYTES = 16 * 1024 * 1024, MAX_READERS = 1024 };

struct map_env {
	struct shard shard; /* env, dbi, map_bytes and the guard are used */
};

enum err map_env_open(const char *path, bool read_only, struct map_env **out)
{
	struct map_env *m = calloc(1, sizeof(*m));
	MDB_txn *txn;

	if (!m)
		return ERR_NOMEM;
	struct shard *sh = &m->shard;
	int rc = mdb_env_create(&sh->env);
	if (!rc)
		rc = mdb_env_set_maxreaders(sh->env, MAX_READERS);
	if (!rc)
		rc = mdb_env_set_mapsize(sh->env, MAP_FIRST_BYTES);
	if (!rc)
		rc = mdb_env_open(sh->env, path,
			MDB_NOTLS | MDB_NORDAHEAD | (read_only ? MDB_RDONLY : 0), 0600);
	if (!rc)
		rc = mdb_txn_begin(sh->env, NULL, read_only ? MDB_RDONLY : 0, &txn);
	if (!rc) {
		rc = mdb_dbi_open(txn, NULL, 0, &sh->dbi);
		if (rc)
			mdb_txn_abort(txn);
		else
			rc = mdb_txn_commit(txn);
	}
	if (rc) {
		map_env_close(m);
		return index_err(rc);
	}
	MDB_envinfo info;
	mdb_env_info(sh->env, &info);
	atomic_store(&sh->map_bytes, info.me_mapsize);
	*out = m;
	return OK;
}

void map_env_close(struct map_env *m)
{
	if (!m)
		return;
	if (m->shard.env)
		mdb_env_close(m->shard.env);
	free(m);
}

static MDB_val val_of(slice s)
{
	return (MDB_val){ .mv_size = s.len, .mv_data = (void *)(uintptr_t)s.ptr };
}

static enum err get(struct shard *sh, slice key, char buf[MAP_VALUE_MAX], size_t *out_len)
{
	MDB_txn *txn;
	MDB_val k = val_of(key), v;
	int rc = mdb_txn_begin(sh->env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return index_err(rc);
	rc = mdb_get(txn, sh->dbi, &k, &v);
	enum err err = index_err(rc);
	if (!rc && v.mv_size > MAP_VALUE_MAX)
		err = ERR_CORRUPT;
	if (!err) {
		memcpy(buf, v.mv_data, v.mv_size);
		*out_len = v.mv_size;
	}
	mdb_txn_abort(txn);
	return err;
}

enum err map_env_get(struct map_env *m, slice key, char buf[MAP_VALUE_MAX], size_t *out_len)
{
	guard_enter(&m->shard);
	enum err err = get(&m->shard, key, buf, out_len);
	guard_leave(&m->shard);
	return err;
}

static int write_once(struct shard *sh, const struct map_change *changes, size_t len)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(sh->env, NULL, 0, &txn);

	if (rc)
		return rc;
	for (size_t i = 0; !rc && i < len; i++) {
		MDB_val k = val_of(changes[i].key), v = val_of(changes[i].value);

		rc = v.mv_size ? mdb_put(txn, sh->dbi, &k, &v, 0) : mdb_del(txn, sh->dbi, &k, NULL);
		if (rc == MDB_NOTFOUND)
			rc = 0;
	}
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

enum err map_env_write(struct map_env *m, const struct map_change *changes, size_t len)
{
	int rc;

	while ((rc = write_once(&m->shard, changes, len)) == MDB_MAP_FULL) {
		enum err err = shard_grow(&m->shard);

		if (err)
			return err;
	}
	return index_err(rc);
}

static bool take_row(struct map_row *row, const MDB_val *k, const MDB_val *v)
{
	if (k->mv_size > MAP_KEY_MAX || v->mv_size > MAP_VALUE_MAX)
		return false;
	row->key_len = k->mv_size;
	row->value_len = v->mv_size;
	memcpy(row->key, k->mv_data, k->mv_size);
	memcpy(row->value, v->mv_data, v->mv_size);
	return true;
}

static enum err page(struct shard *sh, slice from, struct map_row *rows, size_t max,
	size_t *out_len)
{
	MDB_txn *txn;
	MDB_cursor *cursor;
	MDB_val k = val_of(from), v;
	int rc = mdb_txn_begin(sh->env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return index_err(rc);
	rc = mdb_cursor_open(txn, sh->dbi, &cursor);
	*out_len = 0;
	if (!rc) {
		rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
		while (!rc && *out_len < max && *(char *)k.mv_data == from.ptr[0]) {
			if (!take_row(&rows[*out_len], &k, &v)) {
				rc = MDB_CORRUPTED;
				break;
			}
			++*out_len;
			rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? OK : index_err(rc);
}

enum err map_env_page(struct map_env *m, slice from, struct map_row *rows, size_t max,
	size_t *out_len)
{
	guard_enter(&m->shard);
	enum err err = page(&m->shard, from, rows, max, out_len);
	guard_leave(&m->shard);
	return err;
}
