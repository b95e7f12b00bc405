/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each record does to the rows: one transaction over a shard's work.
 *
 * Applying is a pure function of (rows, record): no clock, no randomness, no memory between records
 * but the totals, which are rows too. So the same journal gives the same index, and replay gives
 * the same answers. A payload that does not parse passed the journal's checksum, so it was
 * written wrong; it is skipped, alike on every replay. */
#include "store/index_int.h"

#include "store/account.h"
enum { META_VERSION = 1, ROW_BYTES = INDEX_VALUE_MAX + 64 };

struct apply {
	struct shard *shard;
	MDB_txn *txn;
	struct keys_counts totals;
	bool totals_changed;
};

/* --- Rows: an enum err is a failure of LMDB, never "not there" unless said --- */

static MDB_val val_of(slice s)
{
	return (MDB_val){ .mv_size = s.len, .mv_data = (void *)(uintptr_t)s.ptr };
}

static enum err row_get(struct apply *ap, const struct keys_buf *key, slice *out)
{
	MDB_val k = val_of(keys_slice(key)), v;
	int rc = mdb_get(ap->txn, ap->shard->dbi, &k, &v);

	if (!rc)
		*out = slice_of(v.mv_data, v.mv_size);
	return index_err(rc);
}

static enum err row_put(struct apply *ap, const struct keys_buf *key, slice value)
{
	MDB_val k = val_of(keys_slice(key)), v = val_of(value);
	int rc = mdb_put(ap->txn, ap->shard->dbi, &k, &v, 0);

	return rc == MDB_MAP_FULL ? ERR_LIMIT : index_err(rc);
}

static enum err row_delete(struct apply *ap, const struct keys_buf *key)
{
	MDB_val k = val_of(keys_slice(key));
	int rc = mdb_del(ap->txn, ap->shard->dbi, &k, NULL);

	if (rc == MDB_NOTFOUND)
		return OK;
	return rc == MDB_MAP_FULL ? ERR_LIMIT : index_err(rc);
}

/* --- Counters --- */

struct delta {
	int64_t waiting, held, bytes;
};

static void add(uint64_t *n, int64_t by)
{
	*n = by < 0 && (uint64_t)-by > *n ? 0 : *n + (uint64_t)by;
}

static void add_delta(struct keys_counts *c, const struct delta *d)
{
	add(&c->waiting, d->waiting);
	add(&c->held, d->held);
	add(&c->bytes, d->bytes);
}

static enum err count(struct apply *ap, slice domain, const struct delta *d)
{
	char buf[64];
	struct keys_buf key;
	struct keys_counts c = { 0 };
	slice value;

	keys_name(&key, KEYS_COUNT, domain);
	enum err err = row_get(ap, &key, &value);
	bool there = !err && keys_get_counts(value, &c);
	if (err && err != ERR_NOT_FOUND)
		return err;
	add_delta(&c, d);
	add_delta(&ap->totals, d);
	ap->totals_changed = true;
	bool empty = !c.waiting && !c.held;
	if (empty && there)
		add(&ap->totals.domains, -1);
	if (!empty && !there)
		add(&ap->totals.domains, 1);
	if (empty)
		return row_delete(ap, &key);
	struct out o = out_fixed(buf, sizeof(buf));
	keys_put_counts(&o, &c);
	return row_put(ap, &key, out_written(&o));
}

/* --- Schedule --- */

static struct delta delta_of(const struct schedule_entry *e, int sign)
{
	bool held = e->state == SCHEDULE_HELD;

	return (struct delta){ .waiting = held ? 0 : sign,
		.held = held ? sign : 0,
		.bytes = sign * (int64_t)MIN(e->ref.size, (uint64_t)INT64_MAX) };
}

static void due_key(struct keys_buf *key, const struct schedule_entry *e)
{
	struct keys_due due = { .domain = e->domain,
		.lane = e->lane,
		.tenant = e->tenant,
		.due = e->due,
		.id = e->ref.id,
		.n = e->n };

	keys_schedule(key, &due);
}

static void early_key(struct keys_buf *key, const struct schedule_entry *e)
{
	struct keys_early_row row = { .low = e->ref.low, .id = e->ref.id, .n = e->n };

	keys_early(key, &row);
}

/* The entry as it stands; copied to `buf`, since the next write moves pages. */
static enum err load_entry(struct apply *ap, struct schedule_entry *e, char buf[ROW_BYTES],
	bool *out_there)
{
	struct keys_buf key;
	slice value = { 0 };

	keys_entry(&key, e->ref.id, e->n);
	enum err err = row_get(ap, &key, &value);
	*out_there = false;
	if (err == ERR_NOT_FOUND)
		return OK;
	if (err)
		return err;
	if (value.len > ROW_BYTES)
		return ERR_CORRUPT;
	memcpy(buf, value.ptr, value.len);
	*out_there = keys_get_entry(slice_of(buf, value.len), e);
	return *out_there ? OK : ERR_CORRUPT;
}

/* Remove the rows that depend on the entry: its place in the schedule, its early row. */
static enum err unlink_entry(struct apply *ap, const struct schedule_entry *e)
{
	struct keys_buf key;
	enum err err = OK;

	if (e->state != SCHEDULE_HELD) {
		due_key(&key, e);
		err = row_delete(ap, &key);
	}
	if (!err && e->ref.low != e->ref.id) {
		early_key(&key, e);
		err = row_delete(ap, &key);
	}
	return err;
}

static enum err store_entry(struct apply *ap, const struct schedule_entry *e)
{
	char buf[ROW_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;
	enum err err = OK;

	keys_put_entry(&o, e);
	if (!out_ok(&o))
		return ERR_TOO_LARGE;
	if (e->state != SCHEDULE_HELD) {
		due_key(&key, e);
		err = row_put(ap, &key, (slice){ "", 0 });
	}
	if (!err && e->ref.low != e->ref.id) {
		early_key(&key, e);
		err = row_put(ap, &key, (slice){ "", 0 });
	}
	keys_entry(&key, e->ref.id, e->n);
	return err ? err : row_put(ap, &key, out_written(&o));
}

static enum err replace_entry(struct apply *ap, const struct schedule_entry *old,
	const struct schedule_entry *new)
{
	struct delta change = { 0 };
	enum err err = OK;

	if (old) {
		change = delta_of(old, -1);
		err = unlink_entry(ap, old);
	}
	if (!err && new) {
		struct delta more = delta_of(new, 1);

		change.waiting += more.waiting;
		change.held += more.held;
		change.bytes += more.bytes;
		err = store_entry(ap, new);
	}
	if (!err && (change.waiting || change.held || change.bytes))
		err = count(ap, new ? new->domain : old->domain, &change);
	return err;
}

/* A hold set by people outlives what the attempt that was under way says. */
static enum err apply_park(struct apply *ap, slice payload)
{
	char buf[ROW_BYTES];
	struct schedule_entry new, old;
	bool there;

	if (!keys_get_park(payload, &new))
		return OK;
	old = (struct schedule_entry){ .ref.id = new.ref.id, .n = new.n };
	enum err err = load_entry(ap, &old, buf, &there);
	if (err)
		return err;
	if (there && old.state == SCHEDULE_HELD)
		new.state = SCHEDULE_HELD;
	return replace_entry(ap, there ? &old : NULL, &new);
}

static enum err apply_done(struct apply *ap, slice payload)
{
	char buf[ROW_BYTES];
	struct schedule_done end;
	bool there;

	if (!keys_get_done(payload, &end))
		return OK;
	struct schedule_entry old = { .ref.id = end.id, .n = end.n };
	enum err err = load_entry(ap, &old, buf, &there);
	if (err || !there)
		return err;
	err = replace_entry(ap, &old, NULL);
	struct keys_buf key;
	keys_entry(&key, end.id, end.n);
	return err ? err : row_delete(ap, &key);
}

static enum err apply_state(struct apply *ap, slice payload, enum err *outcome)
{
	char buf[ROW_BYTES];
	struct schedule_change change;
	bool there;

	if (!keys_get_change(payload, &change))
		return OK;
	struct schedule_entry old = { .ref.id = change.id, .n = change.n };
	enum err err = load_entry(ap, &old, buf, &there);
	if (err)
		return err;
	if (!there) {
		*outcome = ERR_NOT_FOUND;
		return OK;
	}
	struct schedule_entry new = old;
	new.state = change.hold ? SCHEDULE_HELD : SCHEDULE_READY;
	if (!change.hold)
		new.due = change.due;
	return replace_entry(ap, &old, &new);
}

/* --- The directory --- */

/* Deletes every row that begins with the prefix. */
static enum err delete_prefix(struct apply *ap, slice prefix, size_t *out_count)
{
	MDB_cursor *cursor;
	MDB_val k = val_of(prefix), v;
	int rc = mdb_cursor_open(ap->txn, ap->shard->dbi, &cursor);

	*out_count = 0;
	if (rc)
		return index_err(rc);
	rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	while (!rc && slice_starts(slice_of(k.mv_data, k.mv_size), prefix)) {
		rc = mdb_cursor_del(cursor, 0);
		++*out_count;
		if (!rc)
			rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (rc == MDB_MAP_FULL)
		return ERR_LIMIT;
	return rc == MDB_NOTFOUND ? OK : index_err(rc);
}

static enum err has_prefix(struct apply *ap, slice prefix, bool *out)
{
	MDB_cursor *cursor;
	MDB_val k = val_of(prefix), v;
	int rc = mdb_cursor_open(ap->txn, ap->shard->dbi, &cursor);

	if (rc)
		return index_err(rc);
	rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	*out = !rc && slice_starts(slice_of(k.mv_data, k.mv_size), prefix);
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? OK : index_err(rc);
}

/* A long value stands in pieces: key NUL number. Only signing keys are that long. */
static enum err put_pieces(struct apply *ap, const struct keys_row *row)
{
	struct keys_buf prefix = { 0 };
	struct out o = out_fixed(prefix.bytes, KEYS_MAX);
	size_t gone;

	out_slice(&o, row->key);
	out_u8(&o, 0);
	prefix.len = o.len;
	enum err err = delete_prefix(ap, keys_slice(&prefix), &gone);
	slice rest = row->value;
	for (uint8_t piece = 0; !err && rest.len; piece++) {
		struct keys_buf key = prefix;

		key.bytes[key.len++] = piece;
		err = row_put(ap, &key, slice_sub(rest, 0, KEYS_PIECE));
		rest = slice_skip(rest, KEYS_PIECE);
	}
	return err;
}

static bool in_pieces(slice key)
{
	return key.ptr[0] == KEYS_KEY;
}

static enum err row_there(struct apply *ap, const struct keys_row *row, bool *out)
{
	struct keys_buf key = { .len = row->key.len };
	slice value;

	memcpy(key.bytes, row->key.ptr, row->key.len);
	if (in_pieces(row->key)) {
		key.bytes[key.len++] = 0;
		return has_prefix(ap, keys_slice(&key), out);
	}
	enum err err = row_get(ap, &key, &value);
	*out = !err;
	return err == ERR_NOT_FOUND ? OK : err;
}

static enum err delete_row(struct apply *ap, const struct keys_row *row)
{
	struct keys_buf key = { .len = row->key.len };
	size_t gone;

	memcpy(key.bytes, row->key.ptr, row->key.len);
	if (!in_pieces(row->key))
		return row_delete(ap, &key);
	key.bytes[key.len++] = 0;
	return delete_prefix(ap, keys_slice(&key), &gone);
}

static enum err delete_domain(struct apply *ap, const struct keys_row *row, enum err *outcome)
{
	slice name = slice_skip(row->key, 1);
	struct keys_buf accounts, aliases, keys;
	bool there;
	size_t gone;

	keys_two(&accounts, &(struct keys_pair){ .kind = KEYS_ACCOUNT, .first = name });
	keys_two(&aliases, &(struct keys_pair){ .kind = KEYS_ALIAS, .first = name });
	keys_two(&keys, &(struct keys_pair){ .kind = KEYS_KEY, .first = name });
	enum err err = has_prefix(ap, keys_slice(&accounts), &there);
	if (!err && there && !row->mode) {
		*outcome = ERR_BUSY;
		return OK;
	}
	if (!err)
		err = delete_prefix(ap, keys_slice(&accounts), &gone);
	if (!err)
		err = delete_prefix(ap, keys_slice(&aliases), &gone);
	if (!err)
		err = delete_prefix(ap, keys_slice(&keys), &gone);
	return err ? err : delete_row(ap, row);
}

static enum err apply_row(struct apply *ap, slice payload, enum err *outcome)
{
	struct keys_row row;
	bool there;

	if (!keys_get_row(payload, &row))
		return OK;
	enum err err = row_there(ap, &row, &there);
	if (err)
		return err;
	ap->shard->work_directory = true;
	if (row.act != KEYS_ACT_PUT && !there)
		*outcome = ERR_NOT_FOUND;
	else if (row.act == KEYS_ACT_DELETE)
		return delete_row(ap, &row);
	else if (row.act == KEYS_ACT_DELETE_DOMAIN)
		return delete_domain(ap, &row, outcome);
	else if (row.mode == ROW_CREATE && there)
		*outcome = ERR_EXISTS;
	else if (row.mode == ROW_REPLACE && !there)
		*outcome = ERR_NOT_FOUND;
	else if (in_pieces(row.key))
		return put_pieces(ap, &row);
	else if (row.value.len <= INDEX_VALUE_MAX) {
		struct keys_buf key = { .len = row.key.len };

		memcpy(key.bytes, row.key.ptr, row.key.len);
		return row_put(ap, &key, row.value);
	}
	return OK;
}

/* --- The transaction --- */

static enum err apply_record(struct apply *ap, const struct journal_record *rec, slice payload)
{
	struct outcomes *fresh = &ap->shard->fresh;
	enum err outcome = OK, err = OK;

	switch (rec->type) {
	case JOURNAL_PARK:
		err = apply_park(ap, payload);
		break;
	case JOURNAL_DONE:
		err = apply_done(ap, payload);
		break;
	case JOURNAL_STATE:
		err = apply_state(ap, payload, &outcome);
		break;
	case JOURNAL_ROW:
		err = apply_row(ap, payload, &outcome);
		break;
	default:
		break; /* of a later version: what this one cannot apply it must not guess */
	}
	if (outcome) {
		fresh->at[fresh->count % OUTCOMES].pos = rec->pos;
		fresh->at[fresh->count++ % OUTCOMES].err = outcome;
	}
	ap->shard->work_records++;
	return err;
}

static enum err apply_feed(struct apply *ap, const struct feed *f)
{
	enum err err = OK;

	for (size_t at = 0; !err && at < f->len;) {
		struct journal_record rec;

		memcpy(&rec, f->bytes + at, sizeof(rec));
		err = apply_record(ap, &rec, slice_of(f->bytes + at + sizeof(rec), rec.len));
		at += (sizeof(rec) + rec.len + 7) & ~(size_t)7;
	}
	return err;
}

static enum err put_position(struct apply *ap, journal_pos pos)
{
	char buf[8];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;

	keys_name(&key, KEYS_META, SLICE("position"));
	out_u64(&o, pos);
	return row_put(ap, &key, out_written(&o));
}

static enum err load_totals(struct apply *ap)
{
	struct keys_buf key;
	slice value;

	keys_name(&key, KEYS_TOTAL, SLICE(""));
	enum err err = row_get(ap, &key, &value);
	if (err == ERR_NOT_FOUND)
		return OK;
	if (!err && !keys_get_counts(value, &ap->totals))
		return ERR_CORRUPT;
	return err;
}

static enum err put_totals(struct apply *ap)
{
	char buf[64];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;

	if (!ap->totals_changed)
		return OK;
	keys_name(&key, KEYS_TOTAL, SLICE(""));
	keys_put_counts(&o, &ap->totals);
	return row_put(ap, &key, out_written(&o));
}

enum err shard_grow(struct shard *sh)
{
	uint64_t bytes = atomic_load(&sh->map_bytes) * 2;

	guard_grow_begin(sh);
	int rc = mdb_env_set_mapsize(sh->env, bytes);
	guard_grow_end(sh);
	if (!rc)
		atomic_store(&sh->map_bytes, bytes);
	return index_err(rc);
}

static enum err apply_once(struct shard *sh)
{
	struct apply ap = { .shard = sh };
	int rc = mdb_txn_begin(sh->env, NULL, 0, &ap.txn);

	if (rc)
		return index_err(rc);
	sh->fresh.count = 0;
	sh->work_records = 0;
	sh->work_directory = false;
	enum err err = load_totals(&ap);
	for (const struct feed *f = sh->work; !err && f; f = f->next)
		err = apply_feed(&ap, f);
	if (!err)
		err = put_totals(&ap);
	if (!err)
		err = put_position(&ap, sh->work_to);
	if (err) {
		mdb_txn_abort(ap.txn);
		return err;
	}
	rc = mdb_txn_commit(ap.txn);
	return rc == MDB_MAP_FULL ? ERR_LIMIT : index_err(rc);
}

enum err shard_apply(struct shard *sh)
{
	enum err err;

	while ((err = apply_once(sh)) == ERR_LIMIT) {
		err = shard_grow(sh);
		if (err)
			break;
	}
	return err;
}

/* --- The meta row: version, store id, number and count of shards --- */

static enum err make_meta(struct apply *ap, unsigned shards)
{
	struct shard *sh = ap->shard;
	char buf[32];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;

	keys_name(&key, KEYS_META, SLICE("store"));
	out_u32(&o, META_VERSION);
	out_u64(&o, sh->ix->store_id);
	out_u32(&o, sh->number);
	out_u32(&o, shards);
	enum err err = row_put(ap, &key, out_written(&o));
	return err ? err : put_position(ap, 0);
}

static enum err read_meta(struct apply *ap, unsigned *out_shards)
{
	struct shard *sh = ap->shard;
	uint32_t version, number, shards;
	uint64_t store_id, position;
	struct keys_buf key;
	slice value;

	keys_name(&key, KEYS_META, SLICE("store"));
	enum err err = row_get(ap, &key, &value);
	if (err)
		return err;
	if (!take_u32(&value, &version) || !take_u64(&value, &store_id) ||
		!take_u32(&value, &number) || !take_u32(&value, &shards) || value.len)
		return ERR_CORRUPT;
	if (version != META_VERSION)
		return ERR_UNSUPPORTED;
	if (store_id != sh->ix->store_id || number != sh->number || !shards)
		return ERR_CORRUPT;
	keys_name(&key, KEYS_META, SLICE("position"));
	err = row_get(ap, &key, &value);
	if (err || !take_u64(&value, &position))
		return err ? err : ERR_CORRUPT;
	atomic_store(&sh->position, position);
	sh->fed_to = position;
	*out_shards = shards;
	return OK;
}

enum err shard_load(struct shard *sh, bool create, unsigned *out_shards)
{
	struct apply ap = { .shard = sh };
	int rc = mdb_txn_begin(sh->env, NULL, create ? 0 : MDB_RDONLY, &ap.txn);

	if (rc)
		return index_err(rc);
	enum err err = read_meta(&ap, out_shards);
	if (err == ERR_NOT_FOUND && create) {
		err = make_meta(&ap, sh->ix->count);
		*out_shards = sh->ix->count;
		if (!err)
			return index_err(mdb_txn_commit(ap.txn));
	}
	mdb_txn_abort(ap.txn);
	return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}
