/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an account knows of a body, once for all messages that name it: the row of its splice and
 * summary, the set of references, and the conversation it belongs to.
 *
 * The conversation is decided when the body first comes: the first of its keys that is known says,
 * else it begins one, named by the blob. Later keys never join two that exist. */
#include "store/conversation.h"

#include <stdlib.h>

enum { LEAVING_FIRST = 1024 };

static void body_key(struct keys_buf *key, const struct changing *ch, uint64_t blob, uint8_t piece)
{
	keys_account(key, KEYS_BODY, ch->account);
	keys_add_u64(key, blob);
	keys_add_u8(key, piece);
}

/* --- Conversations --- */

/* Each once. */
static void copy_keys(struct keys_body *body, const struct delivery *d)
{
	for (unsigned i = 0; i < d->key_count; i++) {
		unsigned n = 0;

		while (n < body->key_count && body->keys[n] != d->keys[i])
			n++;
		if (n == body->key_count)
			body->keys[body->key_count++] = d->keys[i];
	}
}

/* Those that are known first: adding moves others. */
static enum err join_thread(struct changing *ch, struct keys_body *body)
{
	struct conversation found[MESSAGE_THREAD_KEYS_MAX];
	bool known = false;
	enum err err = OK;

	for (unsigned i = 0; !err && i < body->key_count; i++) {
		err = conversation_find(ch, body->keys[i], &found[i]);
		if (!err && found[i].row.count && !known) {
			body->thread = found[i].row.thread;
			known = true;
		}
	}
	for (unsigned i = 0; !err && i < body->key_count; i++)
		if (found[i].row.count) {
			found[i].row.count++;
			err = conversation_set(ch, &found[i]);
		}
	for (unsigned i = 0; !err && i < body->key_count; i++)
		if (!found[i].row.count) {
			found[i].row.thread = body->thread;
			found[i].row.count = 1;
			err = conversation_add(ch, &found[i].row);
		}
	return err;
}

static enum err leave_later(struct leaving *l, const struct keys_body *body)
{
	if (!body->key_count)
		return OK;
	if (l->len + body->key_count > l->cap) {
		size_t cap = MAX(l->cap * 2, (size_t)LEAVING_FIRST);
		uint64_t *keys = realloc(l->keys, cap * sizeof(*keys));

		if (!keys)
			return ERR_NOMEM;
		l->keys = keys;
		l->cap = cap;
	}
	memcpy(l->keys + l->len, body->keys, body->key_count * sizeof(*l->keys));
	l->len += body->key_count;
	return OK;
}

void leaving_begin(struct changing *ch, struct leaving *leaving)
{
	*leaving = (struct leaving){ 0 };
	ch->leaving = leaving;
}

static int key_order(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

enum err leaving_end(struct changing *ch, enum err err)
{
	struct leaving *l = ch->leaving;

	ch->leaving = NULL;
	if (!err && l->len) {
		qsort(l->keys, l->len, sizeof(*l->keys), key_order);
		err = conversation_leave(ch, l->keys, l->len);
	}
	free(l->keys);
	return err;
}

static enum err leave_thread(struct changing *ch, const struct keys_body *body)
{
	enum err err = OK;

	if (ch->leaving)
		return leave_later(ch->leaving, body);
	for (unsigned i = 0; !err && i < body->key_count; i++) {
		struct conversation c;

		err = conversation_find(ch, body->keys[i], &c);
		if (err || !c.row.count) /* fsck tells of it, and nobody waits for a repair */
			continue;
		c.row.count--;
		err = conversation_set(ch, &c);
	}
	return err;
}

/* --- The body's row --- */

static enum err put_pieces(struct changing *ch, uint64_t blob, const struct keys_body *body)
{
	char buf[KEYS_ROW_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;
	uint8_t piece = 0;

	slice rest = slice_skip(body->summary, keys_put_body(&o, body));
	must(out_ok(&o));
	body_key(&key, ch, blob, piece);
	enum err err = apply_put(ch->ap, keys_slice(&key), out_written(&o));
	while (!err && rest.len) {
		body_key(&key, ch, blob, ++piece);
		err = apply_put(ch->ap, keys_slice(&key), slice_sub(rest, 0, KEYS_ROW_BYTES));
		rest = slice_skip(rest, KEYS_ROW_BYTES);
	}
	return err;
}

static enum err put_early(struct changing *ch, uint64_t blob, const struct keys_body *body)
{
	struct keys_buf key;

	if (!body->back)
		return OK;
	keys_reference_early(&key,
		&(struct keys_early_blob){ .low = blob - body->back, .blob = blob });
	return apply_put(ch->ap, keys_slice(&key), SLICE(""));
}

/* Slices point into the row. */
static enum err get_body(struct changing *ch, uint64_t blob, struct keys_body *out)
{
	struct keys_buf key;
	slice value;

	body_key(&key, ch, blob, 0);
	enum err err = apply_get(ch->ap, keys_slice(&key), &value);
	if (err)
		return err;
	return keys_get_body(value, out) ? OK : ERR_CORRUPT;
}

enum err body_there(struct changing *ch, uint64_t blob, bool *out)
{
	struct keys_buf key;
	slice value;

	body_key(&key, ch, blob, 0);
	enum err err = apply_get(ch->ap, keys_slice(&key), &value);
	*out = !err;
	return err == ERR_NOT_FOUND ? OK : err;
}

enum err body_add(struct changing *ch, const struct delivery *d, const struct deliver_target *t,
	struct message *m)
{
	struct keys_body body;
	/* No row can name a body that comes with this very record. */
	enum err err = m->blob == ch->pos ? ERR_NOT_FOUND : get_body(ch, m->blob, &body);

	if (err && err != ERR_NOT_FOUND)
		return err;
	if (err) {
		body = (struct keys_body){ .back = d->low && d->low < m->blob ? m->blob - d->low :
										0,
			.thread = m->blob,
			.splice = t->splice,
			.uidl = t->uidl,
			.open_end = t->open_end,
			.summary_len = (uint32_t)d->summary.len,
			.summary = d->summary };
		copy_keys(&body, d);
		err = join_thread(ch, &body);
		if (!err)
			err = put_pieces(ch, m->blob, &body);
		if (!err)
			err = put_early(ch, m->blob, &body);
	}
	m->thread = body.thread;
	m->size = d->size + body.splice.len;
	m->no_uidl = !body.uidl.len && !body.open_end;
	return err;
}

/* Its row with all pieces: a look is more than half of what a deletion costs. */
static enum err take_body(struct changing *ch, uint64_t blob, struct keys_body *out)
{
	struct index_cursor c = { 0 };
	struct keys_buf key;

	keys_account(&key, KEYS_BODY, ch->account);
	keys_add_u64(&key, blob);
	enum err err = apply_seek(ch->ap, &c, keys_slice(&key), keys_slice(&key));
	if (!err && !keys_get_body(c.value, out))
		err = ERR_CORRUPT;
	bool there = !err;
	while (!err) {
		err = apply_delete_here(&c);
		if (!err)
			err = apply_next(&c);
	}
	apply_seek_done(&c);
	return there && err == ERR_NOT_FOUND ? OK : err;
}

static enum err drop_body(struct changing *ch, uint64_t blob, struct keys_body *out)
{
	enum err err = take_body(ch, blob, out);

	if (err) { /* not there: fsck tells of it, and nobody waits for a repair */
		*out = (struct keys_body){ 0 };
		return err == ERR_NOT_FOUND ? OK : err;
	}
	return leave_thread(ch, out);
}

/* --- References --- */

enum err reference_put(struct changing *ch, uint32_t mailbox, const struct message *m)
{
	struct keys_place place = { .account = ch->account, .mailbox = mailbox, .uid = m->uid };
	struct keys_buf key;

	keys_reference(&key, m->blob, &place);
	return apply_put(ch->ap, keys_slice(&key), SLICE(""));
}

static enum err is_named(struct changing *ch, const struct keys_buf *prefix, bool *out)
{
	struct index_cursor c = { 0 };
	enum err err = apply_seek(ch->ap, &c, keys_slice(prefix), keys_slice(prefix));

	apply_seek_done(&c);
	*out = !err;
	return err == ERR_NOT_FOUND ? OK : err;
}

/* Another account of this shard may still need the body's early part. */
static enum err drop_early(struct changing *ch, uint64_t blob, const struct keys_body *body)
{
	struct keys_buf key;
	bool named;

	if (!body->back)
		return OK;
	keys_number(&key, KEYS_REFERENCE, blob);
	enum err err = is_named(ch, &key, &named);
	if (err || named)
		return err;
	keys_reference_early(&key,
		&(struct keys_early_blob){ .low = blob - body->back, .blob = blob });
	return apply_delete(ch->ap, keys_slice(&key));
}

/* *out_named: the account still has another one. */
static enum err take_reference(struct changing *ch, uint32_t mailbox, const struct message *m,
	bool *out_named)
{
	struct keys_place place = { .account = ch->account, .mailbox = mailbox, .uid = m->uid };
	struct index_cursor c = { 0 };
	struct keys_buf key, prefix;

	keys_reference(&key, m->blob, &place);
	keys_number(&prefix, KEYS_REFERENCE, m->blob);
	keys_add_u64(&prefix, ch->account);
	enum err err = apply_seek(ch->ap, &c, keys_slice(&prefix), keys_slice(&prefix));
	bool first = !err && slice_eq(c.key, keys_slice(&key));
	if (first)
		err = apply_delete_here(&c);
	if (!err && first)
		err = apply_next(&c);
	apply_seek_done(&c);
	*out_named = !err;
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	return first ? OK : apply_delete(ch->ap, keys_slice(&key));
}

enum err reference_drop(struct changing *ch, uint32_t mailbox, const struct message *m)
{
	struct keys_body body;
	bool named;
	enum err err = take_reference(ch, mailbox, m, &named);

	if (err || named)
		return err;
	err = drop_body(ch, m->blob, &body);
	return err ? err : drop_early(ch, m->blob, &body);
}
