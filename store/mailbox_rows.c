/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of accounts and mailboxes as the appliers see them: loaded, changed, put back. */
#include "store/mailbox_int.h"

enum { ROW_BYTES = 400 };

/* --- Sums of a domain --- */

static void add(uint64_t *n, int64_t by)
{
	*n = by < 0 && (uint64_t)-by > *n ? 0 : *n + (uint64_t)by;
}

enum err domain_add(struct apply *ap, slice domain, const struct changing *by, int sign)
{
	char buf[32];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_sums sums = { 0 };
	struct keys_buf key;
	slice value;

	if (!domain.len)
		return OK;
	keys_name(&key, KEYS_DOMAIN_USAGE, domain);
	enum err err = apply_get(ap, keys_slice(&key), &value);
	if (err && err != ERR_NOT_FOUND)
		return err;
	if (!err && !keys_get_sums(value, &sums))
		return ERR_CORRUPT;
	add(&sums.bytes, sign * by->bytes);
	add(&sums.messages, sign * by->messages);
	if (!sums.bytes && !sums.messages)
		return err ? OK : apply_delete(ap, keys_slice(&key));
	keys_put_sums(&o, &sums);
	return apply_put(ap, keys_slice(&key), out_written(&o));
}

/* --- The account --- */

enum err account_begin(struct changing *ch)
{
	struct keys_buf key;
	slice value;

	ch->usage = (struct keys_usage){ 0 };
	keys_account(&key, KEYS_USAGE, ch->account);
	enum err err = apply_get(ch->ap, keys_slice(&key), &value);
	if (!err && !keys_get_usage(value, &ch->usage))
		return ERR_CORRUPT;
	ch->there = !err && !ch->usage.dropped;
	return err == ERR_NOT_FOUND ? OK : err;
}

enum err account_end(struct changing *ch)
{
	char buf[ROW_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;
	enum err err = OK;

	if (ch->bytes || ch->messages)
		err = domain_add(ch->ap, keys_text_slice(&ch->usage.domain), ch, 1);
	add(&ch->usage.bytes, ch->bytes);
	add(&ch->usage.messages, ch->messages);
	ch->bytes = ch->messages = 0;
	ch->usage.changed = ch->pos;
	keys_account(&key, KEYS_USAGE, ch->account);
	keys_put_usage(&o, &ch->usage);
	return err ? err : apply_put(ch->ap, keys_slice(&key), out_written(&o));
}

enum err account_make(struct changing *ch, slice domain)
{
	static const struct {
		slice name;
		uint32_t use;
	} defaults[] = {
		{ SLICE_INIT("INBOX"), 0 }, /* the first: its id is MAILBOX_INBOX */
		{ SLICE_INIT("Drafts"), MAILBOX_DRAFTS },
		{ SLICE_INIT("Sent"), MAILBOX_SENT },
		{ SLICE_INIT("Junk"), MAILBOX_JUNK },
		{ SLICE_INIT("Trash"), MAILBOX_TRASH },
		{ SLICE_INIT("Archive"), MAILBOX_ARCHIVE },
	};
	struct keys_buf key;
	uint32_t id;
	enum err err = OK;

	if (ch->there || ch->usage.dropped)
		return OK;
	ch->there = true;
	ch->usage.next_mailbox = MAILBOX_INBOX;
	if (!keys_set_text(&ch->usage.domain, domain))
		return OK;
	for (size_t i = 0; !err && i < array_len(defaults); i++) {
		err = boxed_make(ch, defaults[i].name, defaults[i].use, &id);
		keys_account(&key, KEYS_SUBSCRIBED, ch->account);
		keys_add_name(&key, defaults[i].name);
		if (!err)
			err = apply_put(ch->ap, keys_slice(&key), SLICE(""));
		ch->usage.subscribed++;
	}
	return err ? err : account_end(ch);
}

/* --- Mailboxes --- */

enum err boxed_load(struct changing *ch, uint32_t id, struct boxed *out)
{
	struct keys_buf key;
	slice value;

	keys_mailbox(&key, KEYS_MAILBOX, ch->account, id);
	enum err err = apply_get(ch->ap, keys_slice(&key), &value);
	if (err)
		return err;
	out->id = id;
	return keys_get_mailbox(value, &out->row) ? OK : ERR_CORRUPT;
}

enum err boxed_save(struct changing *ch, const struct boxed *box)
{
	char buf[ROW_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;

	keys_mailbox(&key, KEYS_MAILBOX, ch->account, box->id);
	keys_put_mailbox(&o, &box->row);
	apply_touched(ch->ap, ch->account, box->id);
	return apply_put(ch->ap, keys_slice(&key), out_written(&o));
}

/* Wall seconds, but never twice and never back in an account: RFC 9051 2.3.1.1. */
static uint32_t new_validity(struct changing *ch)
{
	int64_t now = ch->at / 1000;
	uint32_t proposed = now > 0 && now < UINT32_MAX ? (uint32_t)now : 1;

	ch->usage.last_validity = MAX(proposed, ch->usage.last_validity + 1);
	return ch->usage.last_validity;
}

enum err boxed_make(struct changing *ch, slice name, uint32_t use, uint32_t *out_id)
{
	char buf[16];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;
	struct boxed box = { .id = ch->usage.next_mailbox++,
		.row = { .use = use,
			.uid_validity = new_validity(ch),
			.uid_next = 1,
			.highest = ch->pos,
			.created = ch->at } };

	must(keys_set_text(&box.row.name, name));
	ch->usage.mailboxes++;
	keys_account(&key, KEYS_MAILBOX_NAME, ch->account);
	keys_add_name(&key, name);
	keys_put_u32(&o, box.id);
	enum err err = apply_put(ch->ap, keys_slice(&key), out_written(&o));
	if (!err)
		err = boxed_save(ch, &box);
	apply_touched(ch->ap, ch->account, 0);
	*out_id = box.id;
	return err;
}

void boxed_renew(struct changing *ch, struct boxed *box)
{
	box->row.uid_validity = new_validity(ch);
	box->row.highest = box->row.horizon = ch->pos;
}

void boxed_count(struct changing *ch, struct boxed *box, const struct message *m, int sign)
{
	uint32_t one = (uint32_t)sign;

	box->row.messages += one;
	box->row.unseen += m->flags & MESSAGE_SEEN ? 0 : one;
	box->row.deleted += m->flags & MESSAGE_DELETED ? one : 0;
	add(&box->row.bytes, sign * (int64_t)m->size);
	ch->messages += sign;
	ch->bytes += sign * (int64_t)m->size;
}

/* --- Keywords --- */

static void learn(struct keyword_set *set, slice name)
{
	char *to = set->buf + set->used;

	memcpy(to, name.ptr, name.len);
	to[name.len] = 0;
	set->used += name.len + 1;
	set->names[set->len++] = slice_of(to, name.len);
}

static bool has_room(const struct keyword_set *set, slice name)
{
	return set->len < MAILBOX_KEYWORDS_MAX && set->used + name.len + 1 <= sizeof(set->buf) - 16;
}

enum err keywords_load(struct changing *ch, uint32_t mailbox, struct keyword_set *out)
{
	struct keys_keywords row;
	struct keys_buf key;
	slice value, name;

	out->len = 0;
	out->used = 0;
	out->changed = false;
	out->changed_at = 0;
	keys_mailbox(&key, KEYS_KEYWORDS, ch->account, mailbox);
	enum err err = apply_get(ch->ap, keys_slice(&key), &value);
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	if (!keys_get_keywords(value, &row))
		return ERR_CORRUPT;
	out->changed_at = row.changed;
	while (slice_cut(&row.names, 0, &name) && has_room(out, name))
		learn(out, name);
	return OK;
}

enum err keywords_save(struct changing *ch, uint32_t mailbox, const struct keyword_set *set)
{
	char buf[KEYS_ROW_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_keywords row = { .changed = ch->pos, .names = slice_of(set->buf, set->used) };
	struct keys_buf key;

	if (!set->changed)
		return OK;
	keys_mailbox(&key, KEYS_KEYWORDS, ch->account, mailbox);
	keys_put_keywords(&o, &row);
	must(out_ok(&o));
	return apply_put(ch->ap, keys_slice(&key), out_written(&o));
}

static bool bit_of(struct keyword_set *set, slice name, bool make, uint64_t *bits)
{
	unsigned i = 0;

	while (i < set->len && !slice_eq_nocase(set->names[i], name))
		i++;
	if (i == set->len) {
		if (!make)
			return true;
		if (!has_room(set, name))
			return false;
		learn(set, name);
		set->changed = true;
	}
	*bits |= UINT64_C(1) << i;
	return true;
}

bool keywords_bits(struct keyword_set *set, slice names, bool make, uint64_t *out)
{
	bool all = true;
	uint64_t bits = 0;
	slice name;

	while (slice_cut(&names, 0, &name))
		if (name.len && !bit_of(set, name, make, &bits))
			all = false;
	*out = bits;
	return all;
}
