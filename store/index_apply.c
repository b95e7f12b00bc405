/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The writer of a shard: one transaction, kept open while records are applied as they come, committed
 * when the home says so.
 *
 * What a record comes to is fixed when it is applied, and told then. So a transaction that is lost
 * (no room, a full map) is made again from the records since the last commit, which the feed keeps,
 * with the same outcomes; those told before are not told again. */
#include "store/index_int.h"

#include "store/apply.h"
#include "store/blob.h"
#include "store/frame.h"
#include "store/index_rows.h"

#include <stdlib.h>

enum { META_VERSION = 1, ROOM_BYTES = 64 * 1024 * 1024 };

/* --- Rows --- */

static MDB_val val_of(slice s)
{
	return (MDB_val){ .mv_size = s.len, .mv_data = (void *)(uintptr_t)s.ptr };
}

/* Growing the map and trying again helps against a full one alone. */
static enum err change_err(int rc)
{
	return rc == MDB_MAP_FULL ? ERR_LIMIT : index_err(rc);
}

enum err apply_get(struct apply *ap, slice key, slice *out)
{
	MDB_val k = val_of(key), v;
	int rc = mdb_get(ap->txn, ap->shard->dbi, &k, &v);

	if (!rc)
		*out = slice_of(v.mv_data, v.mv_size);
	return index_err(rc);
}

enum err apply_put(struct apply *ap, slice key, slice value)
{
	MDB_val k = val_of(key), v = val_of(value);

	must(key.len && key.len <= INDEX_KEY_MAX && value.len <= INDEX_PAGE_MAX);
	return change_err(mdb_put(ap->txn, ap->shard->dbi, &k, &v, 0));
}

enum err apply_delete(struct apply *ap, slice key)
{
	MDB_val k = val_of(key);
	int rc = mdb_del(ap->txn, ap->shard->dbi, &k, NULL);

	return rc == MDB_NOTFOUND ? OK : change_err(rc);
}

enum err apply_delete_prefix(struct apply *ap, slice prefix, size_t limit, bool *out_more)
{
	MDB_cursor *cursor;
	MDB_val k = val_of(prefix), v;
	int rc = mdb_cursor_open(ap->txn, ap->shard->dbi, &cursor);
	bool more = false;

	if (rc)
		return index_err(rc);
	rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	while (!rc && slice_starts(slice_of(k.mv_data, k.mv_size), prefix)) {
		more = limit-- == 0;
		if (more)
			break;
		rc = mdb_cursor_del(cursor, 0);
		if (!rc)
			rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	*out_more = more;
	return rc == MDB_NOTFOUND ? OK : change_err(rc);
}

enum err apply_seek(struct apply *ap, struct index_cursor *c, slice from, slice prefix)
{
	struct index_txn txn = { .txn = ap->txn, .shard = ap->shard };

	return index_seek(&txn, c, from, prefix);
}

enum err apply_next(struct index_cursor *c)
{
	return index_next(c);
}

enum err apply_delete_here(struct index_cursor *c)
{
	return change_err(mdb_cursor_del(c->lmdb, 0));
}

void apply_seek_done(struct index_cursor *c)
{
	index_cursor_done(c);
}

struct absent *apply_absent(struct apply *ap)
{
	return &ap->shard->absent;
}

unsigned apply_shard(const struct apply *ap, unsigned *out_count)
{
	*out_count = ap->shard->ix->count;
	return ap->shard->number;
}

struct keys_counts *apply_totals(struct apply *ap)
{
	ap->totals_changed = true;
	return &ap->totals;
}

void apply_directory_changed(struct apply *ap)
{
	ap->directory = true;
}

/* --- What comes of a record --- */

static bool outcome_wanted(const struct apply *ap)
{
	const struct journal_record *rec = ap->rec;

	if (rec->pos < ap->shard->told_to)
		return false;
	return rec->type != JOURNAL_MESSAGE || rec->flags & JOURNAL_OUTCOME;
}

void apply_outcome(struct apply *ap, enum err err, slice bytes)
{
	if (!outcome_wanted(ap))
		return;
	must(bytes.len <= INDEX_OUTCOME_WIDE);
	struct outcome *o = malloc(sizeof(*o) + bytes.len);
	if (!o) {
		ap->failed = ERR_NOMEM;
		return;
	}
	*o = (struct outcome){ .pos = ap->rec->pos, .err = err, .len = (uint32_t)bytes.len };
	if (bytes.len)
		memcpy(o->bytes, bytes.ptr, bytes.len);
	free(ap->outcome);
	ap->outcome = o;
}

static size_t touched_slot(const struct index_touched *t)
{
	uint64_t h = (t->account * UINT64_C(0x9e3779b97f4a7c15)) ^ t->mailbox;

	return (h * UINT64_C(0xd1b54a32d192ed03) >> 32) & (TOUCHED_SLOTS - 1);
}

void apply_touched(struct apply *ap, uint64_t account, uint32_t mailbox)
{
	struct touched *all = &ap->touched;
	struct index_touched t = { .account = account, .mailbox = mailbox };
	size_t slot = touched_slot(&t);

	for (; all->slots[slot]; slot = (slot + 1) & (TOUCHED_SLOTS - 1)) {
		const struct index_touched *known = &all->at[all->slots[slot] - 1];

		if (known->account == account && known->mailbox == mailbox)
			return;
	}
	if (all->len == TOUCHED_MAX) {
		all->all = true;
		return;
	}
	all->at[all->len++] = t;
	all->slots[slot] = (uint16_t)all->len;
}

static void forget_touched(struct touched *t)
{
	if (t->len)
		memset(t->slots, 0, sizeof(t->slots));
	t->len = 0;
	t->all = false;
}

/* --- Records --- */

static enum err apply_message(struct apply *ap, slice payload)
{
	struct frame_message m;

	/* The head says the length of the whole record; here is only its begin. */
	if (!frame_get_front(payload, &m))
		return OK;
	struct blob_ref ref = {
		.id = ap->rec->pos, .low = m.low ? m.low : ap->rec->pos, .size = m.size
	};
	return mailbox_apply_delivery(ap, &ref, slice_skip(payload, FRAME_MESSAGE_HEAD));
}

static enum err apply_payload(struct apply *ap, slice payload)
{
	switch (ap->rec->type) {
	case JOURNAL_MESSAGE:
		return apply_message(ap, payload);
	case JOURNAL_PARK:
		return apply_park(ap, payload);
	case JOURNAL_DONE:
		return apply_done(ap, payload);
	case JOURNAL_STATE:
		return apply_state(ap, payload);
	case JOURNAL_ROW:
		return apply_row(ap, payload);
	case JOURNAL_MAILBOX:
		return mailbox_apply(ap, ap->rec->pos, payload);
	default:
		return OK; /* of a later version: what this one cannot apply it must not guess */
	}
}

static enum err apply_record(struct apply *ap, const struct journal_record *rec, slice payload)
{
	struct shard *sh = ap->shard;

	ap->rec = rec;
	ap->failed = OK;
	enum err err = apply_payload(ap, payload);
	if (!err)
		err = ap->failed;
	if (ap->outcome && !err) {
		*sh->fresh_end = ap->outcome;
		sh->fresh_end = &ap->outcome->next;
	} else {
		free(ap->outcome);
	}
	ap->outcome = NULL;
	ap->records++;
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

/* --- The transaction --- */

static enum err load_totals(struct apply *ap)
{
	struct keys_buf key;
	slice value;

	ap->totals = (struct keys_counts){ 0 };
	keys_name(&key, KEYS_TOTAL, SLICE(""));
	enum err err = apply_get(ap, keys_slice(&key), &value);
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
	return apply_put(ap, keys_slice(&key), out_written(&o));
}

static enum err put_position(struct apply *ap, journal_pos pos)
{
	char buf[8];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;

	keys_name(&key, KEYS_META, SLICE("position"));
	out_u64(&o, pos);
	return apply_put(ap, keys_slice(&key), out_written(&o));
}

static enum err begin(struct apply *ap)
{
	struct shard *sh = ap->shard;

	if (ap->txn)
		return OK;
	int rc = mdb_txn_begin(sh->env, NULL, 0, &ap->txn);
	if (rc) {
		ap->txn = NULL;
		return index_err(rc);
	}
	ap->totals_changed = ap->directory = false;
	ap->records = 0;
	forget_touched(&ap->touched);
	return load_totals(ap);
}

static void free_outcomes(struct outcome *o)
{
	while (o) {
		struct outcome *next = o->next;

		free(o);
		o = next;
	}
}

void shard_undo(struct shard *sh)
{
	struct apply *ap = &sh->apply;

	if (ap->txn)
		mdb_txn_abort(ap->txn);
	ap->txn = NULL;
	sh->todo = sh->kept;
	free_outcomes(sh->fresh);
	sh->fresh = NULL;
	sh->fresh_end = &sh->fresh;
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

static enum err apply_todo(struct shard *sh)
{
	enum err err = begin(&sh->apply);

	for (const struct feed *f = sh->todo; !err && f; f = f->next)
		err = apply_feed(&sh->apply, f);
	if (!err)
		sh->todo = NULL;
	return err;
}

/* Afterwards all records are in the open transaction, or there is none. */
static enum err apply_all(struct shard *sh)
{
	enum err err = OK;

	do {
		err = apply_todo(sh);
		if (!err)
			return OK;
		shard_undo(sh);
		if (err == ERR_LIMIT)
			err = shard_grow(sh);
		else
			return err;
	} while (!err);
	return err;
}

static enum err commit_once(struct shard *sh)
{
	struct apply *ap = &sh->apply;
	enum err err = begin(ap);

	if (!err)
		err = put_totals(ap);
	if (!err)
		err = put_position(ap, sh->work_to);
	if (!err) {
		err = change_err(mdb_txn_commit(ap->txn));
		ap->txn = NULL; /* LMDB has freed it, in success and failure */
	}
	if (err)
		shard_undo(sh);
	return err;
}

static enum err commit(struct shard *sh)
{
	enum err err;

	while ((err = commit_once(sh)) == ERR_LIMIT) {
		err = shard_grow(sh);
		if (!err)
			err = apply_all(sh);
		if (err)
			break;
	}
	return err;
}

/* Room for what comes, so that a full map is the exception; while nothing is open. */
static void look_ahead(struct shard *sh)
{
	MDB_envinfo info;
	MDB_stat stat;

	mdb_env_info(sh->env, &info);
	mdb_env_stat(sh->env, &stat);
	uint64_t used = (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize;
	atomic_store(&sh->used_bytes, used);
	if (!atomic_load(&sh->copying) &&
		info.me_mapsize < used + MIN(used / 2, (uint64_t)ROOM_BYTES))
		(void)!shard_grow(sh); /* a full map is told when it is there */
}

static void free_kept(struct shard *sh)
{
	while (sh->kept) {
		struct feed *next = sh->kept->next;

		free(sh->kept);
		sh->kept = next;
	}
	sh->kept_last = sh->todo = NULL;
}

/* --- The job --- */

static void told_here(struct worker *w, struct post *post)
{
	struct shard *sh = container_of(post, struct shard, told_post);

	shard_told(sh);
}

/* With `now` in the middle of the job: a commit takes its time. */
static void tell(struct shard *sh, bool now)
{
	struct index *ix = sh->ix;

	sh->told = sh->fresh;
	sh->fresh = NULL;
	sh->fresh_end = &sh->fresh;
	sh->told_to = sh->work_to;
	if (!now || !ix->home)
		return;
	sh->told_post.run = told_here;
	post_to(ix->home_index, &sh->told_post);
}

void shard_write(struct shard *sh)
{
	bool something = sh->todo != NULL;

	sh->work_err = apply_all(sh);
	if (sh->work_err)
		return;
	if (something)
		tell(sh, sh->work_commit && (sh->fresh || sh->work_asked));
	if (!sh->work_commit)
		return;
	sh->work_err = commit(sh);
	if (sh->work_err)
		return;
	free_kept(sh);
	look_ahead(sh);
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
	enum err err = apply_put(ap, keys_slice(&key), out_written(&o));
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
	enum err err = apply_get(ap, keys_slice(&key), &value);
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
	err = apply_get(ap, keys_slice(&key), &value);
	if (err || !take_u64(&value, &position))
		return err ? err : ERR_CORRUPT;
	atomic_store(&sh->position, position);
	atomic_store(&sh->clean, position);
	sh->fed_to = sh->applied = sh->told_to = position;
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
