/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of messages while a record is applied: written, removed, and picked a page at a time. */
#include "store/mailbox_int.h"

enum { ROW_BYTES = 128 };

static void key_of(struct keys_buf *key, const struct changing *ch, uint32_t mailbox, uint32_t uid)
{
	keys_message(key,
		&(struct keys_place){ .account = ch->account, .mailbox = mailbox, .uid = uid });
}

/* Those to be removed are found without looking at the others. */
static enum err mark(struct changing *ch, uint32_t mailbox, uint32_t uid, bool on)
{
	struct keys_buf key;

	keys_marked(&key,
		&(struct keys_place){ .account = ch->account, .mailbox = mailbox, .uid = uid });
	return on ? apply_put(ch->ap, keys_slice(&key), SLICE("")) :
		    apply_delete(ch->ap, keys_slice(&key));
}

enum err message_row_put(struct changing *ch, uint32_t mailbox, const struct message *m,
	uint32_t was)
{
	char buf[ROW_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;

	key_of(&key, ch, mailbox, m->uid);
	keys_put_message(&o, m);
	enum err err = apply_put(ch->ap, keys_slice(&key), out_written(&o));
	if (!err && (m->flags ^ was) & MESSAGE_DELETED)
		err = mark(ch, mailbox, m->uid, m->flags & MESSAGE_DELETED);
	return err;
}

enum err message_row_delete(struct changing *ch, uint32_t mailbox, const struct message *m)
{
	struct keys_buf key;

	key_of(&key, ch, mailbox, m->uid);
	enum err err = apply_delete(ch->ap, keys_slice(&key));
	if (!err && m->flags & MESSAGE_DELETED)
		err = mark(ch, mailbox, m->uid, false);
	return err ? err : reference_drop(ch, mailbox, m);
}

/* The run to look in next; false: there is none. */
static bool next_run(struct picking *p)
{
	if (p->all) {
		if (p->started)
			return false;
		p->run = (struct run){ .first = 1, .last = UINT32_MAX };
	} else if (!keys_next_run(&p->runs, &p->run)) {
		return false;
	}
	p->started = true;
	p->from.uid = p->run.first;
	if (p->below && p->run.last >= p->below)
		p->run.last = p->below - 1;
	return p->run.first <= p->run.last;
}

/* The message a mark is of; false: there is none that has the flag, of which fsck tells. */
static enum err marked_row(struct picking *p, const struct keys_place *at, bool *out_there)
{
	struct message *m = &p->rows[p->len].m;
	struct keys_buf key;
	slice value;

	keys_message(&key, at);
	enum err err = apply_get(p->ch->ap, keys_slice(&key), &value);
	*out_there = !err && keys_get_message(value, m) && m->flags & MESSAGE_DELETED;
	return err == ERR_NOT_FOUND ? OK : err;
}

/* What stands at the cursor; *out_past: it lies behind the run. */
static enum err take_row(struct picking *p, const struct index_cursor *c, bool *out_past)
{
	struct keys_place at;
	struct message *m = &p->rows[p->len].m;
	bool there = true;
	enum err err = OK;

	if (p->marked ? !keys_parse_marked(c->key, &at) : !keys_parse_message(c->key, &at))
		return ERR_CORRUPT;
	*out_past = at.uid > p->run.last;
	if (*out_past)
		return OK;
	if (p->marked)
		err = marked_row(p, &at, &there);
	else if (!keys_get_message(c->value, m))
		err = ERR_CORRUPT;
	if (err)
		return err;
	m->uid = at.uid;
	p->rows[p->len].mailbox = at.mailbox;
	p->from = at;
	if (at.uid++ == UINT32_MAX)
		at.mailbox++;
	p->from = at;
	p->len += there;
	return OK;
}

static enum err pick_in_run(struct picking *p, struct index_cursor *c, slice prefix, bool *out_end)
{
	struct keys_buf from;
	bool past = false;

	key_of(&from, p->ch, p->from.mailbox, p->from.uid);
	if (p->marked)
		from.bytes[0] = KEYS_MARKED;
	enum err err = apply_seek(p->ch->ap, c, keys_slice(&from), prefix);
	while (!err && p->len < PICK_ROWS) {
		err = take_row(p, c, &past);
		if (err || past)
			break;
		if (p->from.uid > p->run.last || !p->from.uid)
			past = p->mailbox != 0;
		if (past || p->len == PICK_ROWS)
			break;
		err = apply_next(c);
	}
	*out_end = past || err == ERR_NOT_FOUND;
	if (err == ERR_NOT_FOUND)
		p->ended = true;
	return err == ERR_NOT_FOUND ? OK : err;
}

enum err pick(struct picking *p)
{
	struct index_cursor c = { 0 };
	struct keys_buf prefix;
	bool end = false;
	enum err err = OK;

	p->len = 0;
	if (p->mailbox)
		keys_mailbox(&prefix, p->marked ? KEYS_MARKED : KEYS_MESSAGE, p->ch->account,
			p->mailbox);
	else
		keys_account(&prefix, KEYS_MESSAGE, p->ch->account);
	if (!p->started) {
		p->from.mailbox = p->mailbox;
		p->ended = !next_run(p);
	}
	while (!err && !p->ended && p->len < PICK_ROWS) {
		err = pick_in_run(p, &c, keys_slice(&prefix), &end);
		if (!err && end && !p->ended)
			p->ended = !next_run(p);
	}
	apply_seek_done(&c);
	return err;
}
