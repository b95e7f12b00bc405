/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an account knows of a body, once for all messages that name it: the row of its splice and
 * summary, the set of references, and the conversation it belongs to.
 *
 * The conversation is decided when the body first comes: the first of its keys that is known says,
 * else it begins one, named by the blob. Later keys never join two that exist. */
#include "store/conversation.h"

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

static enum err leave_thread(struct changing *ch, const struct keys_body *body)
{
	enum err err = OK;

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

static enum err drop_body(struct changing *ch, uint64_t blob, struct keys_body *out)
{
	struct keys_buf key;
	enum err err = get_body(ch, blob, out);

	if (err) { /* not there: fsck tells of it, and nobody waits for a repair */
		*out = (struct keys_body){ 0 };
		return err == ERR_NOT_FOUND ? OK : err;
	}
	err = leave_thread(ch, out);
	for (unsigned i = 0; !err && i <= keys_body_pieces(out); i++) {
		body_key(&key, ch, blob, (uint8_t)i);
		err = apply_delete(ch->ap, keys_slice(&key));
	}
	return err;
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

enum err reference_drop(struct changing *ch, uint32_t mailbox, const struct message *m)
{
	struct keys_place place = { .account = ch->account, .mailbox = mailbox, .uid = m->uid };
	struct keys_body body;
	struct keys_buf key;
	bool named = true;

	keys_reference(&key, m->blob, &place);
	enum err err = apply_delete(ch->ap, keys_slice(&key));
	keys_number(&key, KEYS_REFERENCE, m->blob);
	keys_add_u64(&key, ch->account);
	if (!err)
		err = is_named(ch, &key, &named);
	if (err || named)
		return err;
	err = drop_body(ch, m->blob, &body);
	return err ? err : drop_early(ch, m->blob, &body);
}
