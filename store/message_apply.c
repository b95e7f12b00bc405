/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What records do to messages: deliver, change flags, remove, purge; copies are in message_copy.c.
 *
 * Cursors die with the first change of any row, so every loop here picks a page of rows, then
 * changes them, then picks the next. */
#include "store/mailbox_int.h"

#include "store/blob.h"
#include "store/conversation.h"

#include <stdlib.h>

/* --- Delivery --- */

static enum err deliver_into(struct changing *ch, struct boxed *box, const struct delivery *d,
	const struct deliver_target *t)
{
	struct keyword_set set;
	struct message m = { .uid = box->row.uid_next,
		.flags = t->flags & MESSAGE_FLAGS,
		.blob = d->blob,
		.created = ch->pos,
		.changed = ch->pos,
		.received = t->received,
		.saved = d->at };
	enum err err = OK;

	if (t->keywords.len) {
		err = keywords_load(ch, box->id, &set);
		if (!err) {
			(void)!keywords_bits(&set, t->keywords, true, &m.keywords);
			err = keywords_save(ch, box->id, &set);
		}
	}
	if (!err)
		err = body_add(ch, d, t, &m);
	if (!err)
		err = message_row_put(ch, box->id, &m, 0);
	if (!err)
		err = reference_put(ch, box->id, &m);
	box->row.uid_next++;
	box->row.highest = ch->pos;
	box->row.open_ends |= t->open_end;
	boxed_count(ch, box, &m, 1);
	return err;
}

static struct delivered_row row_of(const struct changing *ch, const struct boxed *box)
{
	return (struct delivered_row){ .account = ch->account,
		.at = { .mailbox = box->id,
			.uid_validity = box->row.uid_validity,
			.uid = box->row.uid_next } };
}

/* One target. `twice`: the account may have had it already, from this record. */
static enum err deliver_to(struct changing *ch, const struct delivery *d,
	const struct deliver_target *t, bool twice, struct out *o)
{
	struct boxed box;
	bool had = false;

	conversation_soon(ch, d->keys, d->key_count);
	enum err err = account_begin(ch);
	if (!err && !ch->there)
		err = account_make(ch, SLICE(""));
	if (!err && twice)
		err = body_there(ch, d->blob, &had);
	if (err || had || !ch->there)
		return err;
	err = boxed_load(ch, t->mailbox, &box);
	if (err == ERR_NOT_FOUND)
		err = boxed_load(ch, MAILBOX_INBOX, &box);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	if (box.row.uid_next == UINT32_MAX)
		return OK;
	struct delivered_row row = row_of(ch, &box);
	message_put_delivered(o, &row);
	err = deliver_into(ch, &box, d, t);
	if (!err)
		err = boxed_save(ch, &box);
	return err ? err : account_end(ch);
}

enum err mailbox_apply_delivery(struct apply *ap, const struct blob_ref *ref, slice part)
{
	struct delivery d;
	struct deliver_target t;
	unsigned count, shard = apply_shard(ap, &count);
	char *buf;

	if (!message_get_delivery(part, &d))
		return OK;
	d.blob = ref->id;
	d.low = ref->low;
	d.size = ref->size;
	buf = malloc((size_t)d.target_count * DELIVERED_BYTES + 1);
	if (!buf)
		return ERR_NOMEM;
	struct out o = out_fixed(buf, (size_t)d.target_count * DELIVERED_BYTES);
	enum err err = OK;
	while (!err && message_next_target(&d.targets, &t)) {
		struct changing ch = { .ap = ap, .pos = ref->id, .at = d.at, .account = t.account };

		if (mailbox_shard(t.account, count) == shard)
			err = deliver_to(&ch, &d, &t, d.target_count > 1, &o);
	}
	if (!err)
		apply_outcome(ap, o.len ? OK : ERR_NOT_FOUND, out_written(&o));
	free(buf);
	return err;
}

/* Its first target's mailbox, all or none. */
enum err apply_deliver_many(struct changing *ch, const struct mailbox_change *c)
{
	char buf[DELIVERED_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));
	slice in = c->runs, part;
	struct delivery d;
	struct deliver_target t;
	struct boxed box;
	enum err err = boxed_load(ch, c->mailbox, &box);

	if (err) {
		ch->outcome = ERR_NOT_FOUND;
		return err == ERR_NOT_FOUND ? OK : err;
	}
	struct delivered_row row = row_of(ch, &box);
	message_put_delivered(&o, &row);
	while (!err && take_field(&in, &part) && message_get_delivery(part, &d) && d.blob &&
		message_next_target(&d.targets, &t) && box.row.uid_next < UINT32_MAX)
		err = deliver_into(ch, &box, &d, &t);
	if (!err)
		err = boxed_save(ch, &box);
	apply_outcome(ch->ap, OK, out_written(&o));
	return err;
}

/* --- Flags --- */

static void change_flags(const struct mailbox_change *c, uint64_t keywords, struct message *m)
{
	uint32_t flags = c->flags & MESSAGE_FLAGS;

	switch (c->mode) {
	case MESSAGE_REPLACE:
		m->flags = flags;
		m->keywords = keywords;
		break;
	case MESSAGE_ADD:
		m->flags |= flags;
		m->keywords |= keywords;
		break;
	default:
		m->flags &= ~flags;
		m->keywords &= ~keywords;
	}
}

struct storing {
	struct changing *ch;
	const struct mailbox_change *c;
	struct boxed *box;
	struct logging *lg;
	uint64_t keywords;
	struct out *later; /* NULL: not asked for */
	struct run run;    /* of them, not yet written */
	uint32_t last;
};

static void note_later(struct storing *s, uint32_t uid)
{
	if (s->run.first && uid != s->run.last + 1)
		keys_put_run(s->later, &s->last, &s->run);
	if (!s->run.first || uid != s->run.last + 1)
		s->run.first = uid;
	s->run.last = uid;
}

static enum err store_one(struct storing *s, const struct message *old)
{
	struct message new = *old;

	if (s->later && old->changed > s->c->since) {
		note_later(s, old->uid);
		if (s->c->conditional)
			return OK;
	}
	change_flags(s->c, s->keywords, &new);
	/* Clients that say what they want the flags to be are told so: RFC 7162 3.1.3. */
	if (s->c->mode != MESSAGE_REPLACE &&
		new.flags == old->flags &&new.keywords == old->keywords)
		return OK;
	new.changed = s->ch->pos;
	boxed_count(s->ch, s->box, old, -1);
	boxed_count(s->ch, s->box, &new, 1);
	enum err err = message_row_put(s->ch, s->box->id, &new, old->flags);
	return err ? err : log_uid(s->lg, new.uid);
}

static enum err store_all(struct storing *s)
{
	struct picking p = { .ch = s->ch, .mailbox = s->c->mailbox, .runs = { .in = s->c->runs } };
	enum err err;

	do {
		err = pick(&p);
		for (size_t i = 0; !err && i < p.len; i++)
			err = store_one(s, &p.rows[i].m);
	} while (!err && p.len);
	if (s->run.first)
		keys_put_run(s->later, &s->last, &s->run);
	return err;
}

static enum err store_box(struct changing *ch, const struct mailbox_change *c, struct out *later)
{
	struct boxed box;
	struct keyword_set set;
	struct logging lg = { .ch = ch, .box = &box, .kind = KEYS_LOG_FLAGS };
	struct storing s = { .ch = ch, .c = c, .box = &box, .lg = &lg, .later = later };
	enum err err = boxed_load(ch, c->mailbox, &box);

	if (err) {
		ch->outcome = ERR_NOT_FOUND;
		return err == ERR_NOT_FOUND ? OK : err;
	}
	err = keywords_load(ch, box.id, &set);
	if (err)
		return err;
	if (!keywords_bits(&set, c->other, c->mode != MESSAGE_REMOVE, &s.keywords)) {
		ch->outcome = ERR_LIMIT;
		return OK;
	}
	log_begin(&lg);
	err = store_all(&s);
	if (!err && (lg.run.first || !c->to))
		err = keywords_save(ch, box.id, &set);
	if (!err)
		err = log_end(&lg);
	return err ? err : boxed_save(ch, &box);
}

/* --- Removal --- */

static enum err expunge_rows(struct changing *ch, const struct mailbox_change *c,
	struct logging *lg, bool *out_more)
{
	struct boxed *box = lg->box;
	struct picking p = { .ch = ch,
		.mailbox = box->id,
		.all = c->all,
		.runs = { .in = c->runs },
		.marked = !c->mode };
	unsigned left = c->flags ? c->flags : MESSAGE_CHANGE_MAX;
	enum err err = OK;

	while (!err && left && (c->mode ? box->row.messages : box->row.deleted)) {
		err = pick(&p);
		if (err || !p.len)
			return err;
		for (size_t i = 0; !err && i < p.len; i++) {
			boxed_count(ch, box, &p.rows[i].m, -1);
			err = message_row_delete(ch, box->id, &p.rows[i].m);
			if (!err)
				err = log_uid(lg, p.rows[i].m.uid);
		}
		left -= MIN(left, (unsigned)p.len);
	}
	*out_more = !left && !p.ended && (c->mode ? box->row.messages : box->row.deleted);
	return err;
}

static enum err expunge_box(struct changing *ch, const struct mailbox_change *c, struct out *o)
{
	struct boxed box;
	struct logging lg = { .ch = ch, .box = &box, .kind = KEYS_LOG_GONE, .also = o };
	struct leaving leaving;
	bool more = false;
	enum err err = boxed_load(ch, c->mailbox, &box);

	if (err) {
		ch->outcome = ERR_NOT_FOUND;
		return err == ERR_NOT_FOUND ? OK : err;
	}
	out_u8(o, 0);
	log_begin(&lg);
	leaving_begin(ch, &leaving);
	err = leaving_end(ch, expunge_rows(ch, c, &lg, &more));
	if (!err)
		err = log_end(&lg);
	o->buf[0] = more;
	return err ? err : boxed_save(ch, &box);
}

enum err apply_with_outcome(struct changing *ch, const struct mailbox_change *c,
	enum err (*fn)(struct changing *ch, const struct mailbox_change *c, struct out *o))
{
	char *buf = malloc(INDEX_OUTCOME_MAX);

	if (!buf)
		return ERR_NOMEM;
	struct out o = out_fixed(buf, INDEX_OUTCOME_MAX);
	enum err err = fn(ch, c, &o);
	if (!err && !ch->outcome)
		apply_outcome(ch->ap, OK, out_written(&o));
	free(buf);
	return err;
}

enum err apply_store(struct changing *ch, const struct mailbox_change *c)
{
	return c->conditional || c->since ? apply_with_outcome(ch, c, store_box) :
					    store_box(ch, c, NULL);
}

enum err apply_expunge(struct changing *ch, const struct mailbox_change *c)
{
	return apply_with_outcome(ch, c, expunge_box);
}

/* --- Purge of what was dropped --- */

static enum err purge_messages(struct changing *ch, const struct mailbox_change *c, uint32_t *left)
{
	struct picking p = { .ch = ch, .mailbox = c->mailbox, .all = true };
	struct leaving leaving;
	enum err err = OK;

	leaving_begin(ch, &leaving);
	while (!err && *left) {
		err = pick(&p);
		if (err || !p.len)
			break;
		for (size_t i = 0; !err && i < p.len; i++)
			err = message_row_delete(ch, p.rows[i].mailbox, &p.rows[i].m);
		*left -= MIN(*left, (uint32_t)p.len);
	}
	return leaving_end(ch, err);
}

static void prefix_of(struct keys_buf *key, const struct changing *ch, enum keys_kind kind,
	uint32_t mailbox)
{
	if (mailbox)
		keys_mailbox(key, kind, ch->account, mailbox);
	else
		keys_account(key, kind, ch->account);
}

enum err account_names_drop(struct changing *ch, uint32_t limit, bool *out_more)
{
	static const enum keys_kind kinds[] = { KEYS_MAILBOX_NAME, KEYS_SUBSCRIBED, KEYS_MAILBOX };
	struct keys_buf key;
	enum err err = OK;

	*out_more = false;
	for (size_t i = 0; !err && !*out_more && i < array_len(kinds); i++) {
		keys_account(&key, kinds[i], ch->account);
		err = apply_delete_prefix(ch->ap, keys_slice(&key), limit, out_more);
	}
	return err;
}

enum err apply_purge(struct changing *ch, const struct mailbox_change *c)
{
	static const enum keys_kind kinds[] = { KEYS_CHANGE_LOG, KEYS_HOLE, KEYS_KEYWORDS };
	uint32_t left = MAX(c->flags, (uint32_t)1);
	struct keys_buf key;
	slice value;
	bool more = false;

	/* Only what was dropped; the record may have been written twice. */
	keys_mailbox(&key, KEYS_PURGE, ch->account, c->mailbox);
	enum err err = apply_get(ch->ap, keys_slice(&key), &value);
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	if (!c->mailbox)
		err = account_names_drop(ch, left, &more);
	if (!err && !more)
		err = purge_messages(ch, c, &left);
	more = more || !left;
	for (size_t i = 0; !err && !more && i < array_len(kinds); i++) {
		prefix_of(&key, ch, kinds[i], c->mailbox);
		err = apply_delete_prefix(ch->ap, keys_slice(&key), left, &more);
	}
	keys_mailbox(&key, KEYS_PURGE, ch->account, c->mailbox);
	if (!err && !more)
		err = apply_delete(ch->ap, keys_slice(&key));
	return err;
}
