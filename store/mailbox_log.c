/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The change log of a mailbox, and the runs of uids that are gone.
 *
 * Holes are kept under their last uid, so that the one before a uid and the one behind it are found
 * by seeking forward. They are never forgotten: live uids are all below uid_next but these. */
#include "store/mailbox_int.h"

/* --- Holes --- */

static void hole_key(struct keys_buf *key, const struct logging *lg, uint32_t last)
{
	keys_mailbox(key, KEYS_HOLE, lg->ch->account, lg->box->id);
	keys_add_u32(key, last);
}

/* The first hole that ends at `from` or later. */
static enum err next_hole(const struct logging *lg, uint32_t from, struct run *out, bool *there)
{
	struct index_cursor c = { 0 };
	struct keys_buf prefix, key;

	keys_mailbox(&prefix, KEYS_HOLE, lg->ch->account, lg->box->id);
	hole_key(&key, lg, from);
	enum err err = apply_seek(lg->ch->ap, &c, keys_slice(&key), keys_slice(&prefix));
	*there = !err;
	if (!err) {
		out->last = keys_last_u32(c.key);
		if (!keys_get_u32(c.value, &out->first))
			err = ERR_CORRUPT;
	}
	apply_seek_done(&c);
	return err == ERR_NOT_FOUND ? OK : err;
}

static enum err put_hole(struct logging *lg, struct run run)
{
	char buf[16];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;
	struct run other;
	bool there;

	enum err err = next_hole(lg, run.first - 1, &other, &there);
	if (!err && there && other.last == run.first - 1) {
		run.first = other.first;
		hole_key(&key, lg, other.last);
		err = apply_delete(lg->ch->ap, keys_slice(&key));
		if (!err)
			err = next_hole(lg, run.last, &other, &there);
	}
	/* The one behind keeps its key. */
	if (!err && there && other.first == run.last + 1)
		run.last = other.last;
	hole_key(&key, lg, run.last);
	keys_put_u32(&o, run.first);
	return err ? err : apply_put(lg->ch->ap, keys_slice(&key), out_written(&o));
}

/* --- The log --- */

static void log_key(struct keys_buf *key, const struct logging *lg)
{
	keys_mailbox(key, KEYS_CHANGE_LOG, lg->ch->account, lg->box->id);
}

static enum err put_piece(struct logging *lg)
{
	struct keys_buf key;

	must(out_ok(&lg->o));
	log_key(&key, lg);
	keys_add_u64(&key, lg->ch->pos);
	keys_add_u32(&key, lg->piece++);
	lg->box->row.log_rows++;
	return apply_put(lg->ch->ap, keys_slice(&key), out_written(&lg->o));
}

static void begin_piece(struct logging *lg)
{
	lg->o = out_fixed(lg->buf, sizeof(lg->buf));
	lg->last = 0;
	keys_put_log(&lg->o, lg->kind);
}

void log_begin(struct logging *lg)
{
	lg->run = (struct run){ 0 };
	lg->also_last = 0;
	lg->piece = 0;
	begin_piece(lg);
}

static enum err put_run(struct logging *lg)
{
	enum err err = OK;

	if (lg->kind == KEYS_LOG_GONE)
		err = put_hole(lg, lg->run);
	if (!err && lg->o.cap - lg->o.len < 2 * 5) {
		err = put_piece(lg);
		begin_piece(lg);
	}
	keys_put_run(&lg->o, &lg->last, &lg->run);
	if (lg->also)
		keys_put_run(lg->also, &lg->also_last, &lg->run);
	return err;
}

enum err log_uid(struct logging *lg, uint32_t uid)
{
	enum err err = OK;

	if (lg->run.first && uid == lg->run.last + 1) {
		lg->run.last = uid;
		return OK;
	}
	if (lg->run.first)
		err = put_run(lg);
	lg->run = (struct run){ .first = uid, .last = uid };
	return err;
}

/* Oldest first, as many at most as a record adds and some, so that no record pays for many. */
static enum err forget(struct logging *lg, uint32_t added)
{
	struct keys_buf prefix, key;
	struct boxed *box = lg->box;
	enum err err = OK;

	log_key(&prefix, lg);
	for (uint32_t i = 0; !err && i < added + 8 && box->row.log_rows > LOG_ROWS_MAX; i++) {
		struct index_cursor c = { 0 };
		slice rest;

		err = apply_seek(lg->ch->ap, &c, keys_slice(&prefix), keys_slice(&prefix));
		if (!err) {
			rest = slice_skip(c.key, prefix.len);
			key.len = 0;
			keys_add_name(&key, c.key);
			if (!take_u64(&rest, &box->row.horizon))
				err = ERR_CORRUPT;
		}
		apply_seek_done(&c);
		if (!err)
			err = apply_delete(lg->ch->ap, keys_slice(&key));
		box->row.log_rows--;
	}
	return err == ERR_NOT_FOUND ? OK : err;
}

enum err log_end(struct logging *lg)
{
	if (!lg->run.first)
		return OK;
	enum err err = put_run(lg);
	if (!err)
		err = put_piece(lg);
	lg->box->row.highest = lg->ch->pos;
	return err ? err : forget(lg, lg->piece);
}
