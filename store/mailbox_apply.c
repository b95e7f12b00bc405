/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What records do to accounts and the names of their mailboxes; the way in for all other changes. */
#include "store/mailbox_int.h"

static void name_key(struct keys_buf *key, const struct changing *ch, slice name)
{
	keys_account(key, KEYS_MAILBOX_NAME, ch->account);
	keys_add_name(key, name);
}

/* 0: there is none. */
static enum err find(struct changing *ch, slice name, uint32_t *out)
{
	struct keys_buf key;
	slice value;

	name_key(&key, ch, name);
	enum err err = apply_get(ch->ap, keys_slice(&key), &value);
	*out = 0;
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	return keys_get_u32(value, out) ? OK : ERR_CORRUPT;
}

/* --- Accounts --- */

/* Its sums move to the domain it is said to be of. */
static enum err set_domain(struct changing *ch, slice domain)
{
	struct changing all = { .bytes = (int64_t)ch->usage.bytes,
		.messages = (int64_t)ch->usage.messages };

	if (!domain.len || slice_eq(domain, keys_text_slice(&ch->usage.domain)))
		return OK;
	enum err err = domain_add(ch->ap, keys_text_slice(&ch->usage.domain), &all, -1);
	if (!err)
		err = domain_add(ch->ap, domain, &all, 1);
	if (!err && keys_set_text(&ch->usage.domain, domain))
		err = account_end(ch);
	return err;
}

static enum err apply_init(struct changing *ch, const struct mailbox_change *c)
{
	if (ch->there)
		return set_domain(ch, c->name);
	if (ch->usage.dropped)
		ch->outcome = ERR_NOT_FOUND;
	return account_make(ch, c->name);
}

static enum err put_tombstone(struct changing *ch, uint32_t mailbox)
{
	struct keys_buf key;

	keys_mailbox(&key, KEYS_PURGE, ch->account, mailbox);
	return apply_put(ch->ap, keys_slice(&key), SLICE(""));
}

static void tell_more(struct changing *ch, bool more)
{
	char byte = more;

	apply_outcome(ch->ap, OK, slice_of(&byte, 1));
}

/* Names go first, so that nothing is found any more; messages by and by. Many names take several
 * records, of which the first decides. */
static enum err apply_drop(struct changing *ch, const struct mailbox_change *c)
{
	struct keys_usage *u = &ch->usage;
	bool more;

	if (!ch->there && !(u->dropped && c->conditional)) {
		ch->outcome = ERR_NOT_FOUND;
		return OK;
	}
	enum err err = account_names_drop(ch, MAX(c->flags, (uint32_t)1), &more);
	tell_more(ch, more);
	if (err || !ch->there)
		return err;
	err = put_tombstone(ch, 0);
	ch->bytes = -(int64_t)u->bytes;
	ch->messages = -(int64_t)u->messages;
	u->mailboxes = u->subscribed = 0;
	u->dropped = true;
	apply_touched(ch->ap, ch->account, 0);
	return err ? err : account_end(ch);
}

/* --- Another UIDVALIDITY --- */

/* The first mailbox behind `after`; 0: there is none. */
static enum err next_box(struct changing *ch, uint32_t after, uint32_t *out)
{
	struct index_cursor c = { 0 };
	struct keys_buf prefix, from;
	uint64_t account;

	keys_account(&prefix, KEYS_MAILBOX, ch->account);
	keys_mailbox(&from, KEYS_MAILBOX, ch->account, after + 1);
	enum err err = apply_seek(ch->ap, &c, keys_slice(&from), keys_slice(&prefix));
	*out = 0;
	if (!err && !keys_parse_mailbox(c.key, &account, out))
		err = ERR_CORRUPT;
	apply_seek_done(&c);
	return err == ERR_NOT_FOUND ? OK : err;
}

static enum err apply_renew(struct changing *ch, const struct mailbox_change *c)
{
	struct boxed box = { 0 };
	uint32_t id = 0;
	enum err err;

	while (!(err = next_box(ch, id, &id)) && id) {
		err = boxed_load(ch, id, &box);
		if (err)
			return err;
		boxed_renew(ch, &box);
		err = boxed_save(ch, &box);
		if (err)
			return err;
	}
	return err;
}

/* --- Names --- */

/* For so many, and all names superior to this one that are not there. */
static enum err is_room(struct changing *ch, slice name, uint32_t needed, uint32_t limit, bool *out)
{
	enum err err = OK;

	for (size_t i = 1; !err && i < name.len; i++) {
		uint32_t id = 1;

		if (name.ptr[i] == '/')
			err = find(ch, slice_sub(name, 0, i), &id);
		needed += !id;
	}
	*out = !limit || !needed || needed <= limit - MIN(limit, ch->usage.mailboxes);
	return err;
}

static enum err make_superiors(struct changing *ch, slice name)
{
	enum err err = OK;

	for (size_t i = 1; !err && i < name.len; i++) {
		uint32_t id;

		if (name.ptr[i] != '/')
			continue;
		err = find(ch, slice_sub(name, 0, i), &id);
		if (!err && !id)
			err = boxed_make(ch, slice_sub(name, 0, i), 0, &id);
	}
	return err;
}

static void tell_id(struct changing *ch, uint32_t id)
{
	char buf[4];
	struct out o = out_fixed(buf, sizeof(buf));

	out_u32(&o, id);
	apply_outcome(ch->ap, OK, out_written(&o));
}

static enum err make(struct changing *ch, slice name, uint32_t use, uint32_t limit)
{
	uint32_t id;
	bool room = false;
	enum err err = find(ch, name, &id);

	if (!err && !id)
		err = is_room(ch, name, 1, limit, &room);
	if (err)
		return err;
	if (!room) {
		ch->outcome = id ? ERR_EXISTS : ERR_LIMIT;
		return OK;
	}
	err = make_superiors(ch, name);
	if (!err)
		err = boxed_make(ch, name, use, &id);
	tell_id(ch, id);
	return err;
}

static enum err apply_create(struct changing *ch, const struct mailbox_change *c)
{
	return make(ch, c->name, c->flags, c->to);
}

static enum err apply_delete_box(struct changing *ch, const struct mailbox_change *c)
{
	struct keys_buf key;
	struct boxed box = { 0 };
	uint32_t id;
	enum err err = find(ch, c->name, &id);

	if (err)
		return err;
	if (!id || id == MAILBOX_INBOX) {
		ch->outcome = id ? ERR_DENIED : ERR_NOT_FOUND;
		return OK;
	}
	err = boxed_load(ch, id, &box);
	ch->bytes -= (int64_t)box.row.bytes;
	ch->messages -= (int64_t)box.row.messages;
	ch->usage.mailboxes--;
	name_key(&key, ch, c->name);
	if (!err)
		err = apply_delete(ch->ap, keys_slice(&key));
	keys_mailbox(&key, KEYS_MAILBOX, ch->account, id);
	if (!err)
		err = apply_delete(ch->ap, keys_slice(&key));
	apply_touched(ch->ap, ch->account, id);
	apply_touched(ch->ap, ch->account, 0);
	return err ? err : put_tombstone(ch, id);
}

/* The name with its first `cut` bytes replaced; empty: too long. */
static slice renamed(char buf[MAILBOX_NAME_MAX], slice name, size_t cut, slice to)
{
	struct out o = out_fixed(buf, MAILBOX_NAME_MAX);

	out_slice(&o, to);
	out_slice(&o, slice_skip(name, cut));
	return out_ok(&o) ? out_written(&o) : SLICE("");
}

static enum err rename_one(struct changing *ch, slice name, slice to)
{
	char buf[16];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;
	struct boxed box;
	uint32_t id;
	enum err err = find(ch, name, &id);

	if (!err)
		err = boxed_load(ch, id, &box);
	name_key(&key, ch, name);
	if (!err)
		err = apply_delete(ch->ap, keys_slice(&key));
	name_key(&key, ch, to);
	keys_put_u32(&o, id);
	if (!err)
		err = apply_put(ch->ap, keys_slice(&key), out_written(&o));
	must(err || keys_set_text(&box.row.name, to));
	return err ? err : boxed_save(ch, &box);
}

/* The first inferior name behind `after`, copied. ERR_NOT_FOUND. */
static enum err next_inferior(struct changing *ch, slice under, slice after, struct keys_text *out)
{
	struct index_cursor c = { 0 };
	struct keys_buf prefix, from;

	name_key(&prefix, ch, under);
	keys_add_u8(&prefix, '/');
	from = prefix;
	if (after.len) {
		name_key(&from, ch, after);
		keys_add_u8(&from, 0);
	}
	enum err err = apply_seek(ch->ap, &c, keys_slice(&from), keys_slice(&prefix));
	if (!err && !keys_set_text(out, slice_skip(c.key, 1 + sizeof(uint64_t))))
		err = ERR_CORRUPT;
	apply_seek_done(&c);
	return err;
}

/* Every inferior name must fit and be free, else nothing is renamed. */
static enum err check_inferiors(struct changing *ch, const struct mailbox_change *c)
{
	char buf[MAILBOX_NAME_MAX];
	struct keys_text at = { .len = 0 };
	enum err err;

	while (!(err = next_inferior(ch, c->name, keys_text_slice(&at), &at))) {
		uint32_t id;
		slice to = renamed(buf, keys_text_slice(&at), c->name.len, c->other);

		err = to.len ? find(ch, to, &id) : OK;
		if (err)
			return err;
		if (!to.len || id) {
			ch->outcome = to.len ? ERR_EXISTS : ERR_LIMIT;
			return OK;
		}
	}
	return err == ERR_NOT_FOUND ? OK : err;
}

static enum err rename_inferiors(struct changing *ch, const struct mailbox_change *c)
{
	char buf[MAILBOX_NAME_MAX];
	struct keys_text at = { .len = 0 };
	enum err err;

	/* Those done are not found again: new names never lie below the old one. */
	while (!(err = next_inferior(ch, c->name, SLICE(""), &at))) {
		slice to = renamed(buf, keys_text_slice(&at), c->name.len, c->other);

		err = rename_one(ch, keys_text_slice(&at), to);
		if (err)
			return err;
	}
	return err == ERR_NOT_FOUND ? OK : err;
}

static bool is_below(slice name, slice superior)
{
	return slice_starts(name, superior) && name.len > superior.len &&
		name.ptr[superior.len] == '/';
}

/* Names that are there only for what is below them are renamed too (RFC 9051 6.3.6, its example). */
static enum err is_name(struct changing *ch, slice name, uint32_t id, bool *out)
{
	struct keys_text below;
	enum err err = id ? OK : next_inferior(ch, name, SLICE(""), &below);

	*out = !err;
	return err == ERR_NOT_FOUND ? OK : err;
}

static enum err apply_rename(struct changing *ch, const struct mailbox_change *c)
{
	uint32_t from = 0, to = 0;
	bool room = false, there = false;
	enum err err = find(ch, c->name, &from);

	if (!err)
		err = find(ch, c->other, &to);
	if (!err)
		err = is_name(ch, c->name, from, &there);
	if (err)
		return err;
	if (!there || to || is_below(c->other, c->name)) {
		ch->outcome = !there ? ERR_NOT_FOUND : to ? ERR_EXISTS : ERR_INVALID;
		return OK;
	}
	/* RFC 9051 6.3.6: INBOX stays, empty, its inferiors too; the caller moves its messages. */
	if (from == MAILBOX_INBOX)
		return make(ch, c->other, 0, c->to);
	err = is_room(ch, c->other, 0, c->to, &room);
	if (!err && !room)
		ch->outcome = ERR_LIMIT;
	if (!err && room)
		err = check_inferiors(ch, c);
	if (err || ch->outcome)
		return err;
	err = make_superiors(ch, c->other);
	if (!err && from)
		err = rename_one(ch, c->name, c->other);
	apply_touched(ch->ap, ch->account, 0);
	tell_id(ch, from);
	return err ? err : rename_inferiors(ch, c);
}

static enum err apply_subscribe(struct changing *ch, const struct mailbox_change *c)
{
	struct keys_buf key;
	slice value;

	keys_account(&key, KEYS_SUBSCRIBED, ch->account);
	keys_add_name(&key, c->name);
	enum err err = apply_get(ch->ap, keys_slice(&key), &value);
	if (err && err != ERR_NOT_FOUND)
		return err;
	if (!err == (c->mode != 0))
		return OK;
	if (c->mode && c->to && ch->usage.subscribed >= c->to) {
		ch->outcome = ERR_LIMIT;
		return OK;
	}
	ch->usage.subscribed += c->mode ? 1 : -1;
	apply_touched(ch->ap, ch->account, 0);
	return c->mode ? apply_put(ch->ap, keys_slice(&key), SLICE("")) :
			 apply_delete(ch->ap, keys_slice(&key));
}

/* --- The way in --- */

enum kind_flags {
	MAKES = 1 << 0, /* an account that has no rows gets them first */
	ANY = 1 << 1,   /* runs also for one that has none, or was dropped */
	SAVES = 1 << 2  /* the account's row is put at the end */
};

static const struct kind {
	enum err (*apply)(struct changing *ch, const struct mailbox_change *c);
	unsigned flags;
} kinds[CHANGE_END] = {
	[CHANGE_INIT] = { apply_init, ANY },
	[CHANGE_DROP] = { apply_drop, ANY },
	[CHANGE_CREATE] = { apply_create, MAKES | SAVES },
	[CHANGE_DELETE] = { apply_delete_box, SAVES },
	[CHANGE_RENAME] = { apply_rename, SAVES },
	[CHANGE_SUBSCRIBE] = { apply_subscribe, MAKES | SAVES },
	[CHANGE_STORE] = { apply_store, SAVES },
	[CHANGE_EXPUNGE] = { apply_expunge, SAVES },
	[CHANGE_COPY] = { apply_copy, SAVES },
	[CHANGE_DELIVER] = { apply_deliver_many, MAKES | SAVES },
	[CHANGE_PURGE] = { apply_purge, ANY },
	[CHANGE_RENEW] = { apply_renew, SAVES },
	[CHANGE_RECOUNT] = { apply_recount, SAVES },
	[CHANGE_SUMS] = { apply_sums, ANY },
};

static enum err run(struct changing *ch, const struct mailbox_change *c)
{
	const struct kind *kind = &kinds[c->kind];
	enum err err = account_begin(ch);

	if (!err && kind->flags & MAKES)
		err = account_make(ch, SLICE(""));
	if (err)
		return err;
	if (!ch->there && !(kind->flags & ANY)) {
		ch->outcome = ERR_NOT_FOUND;
		return OK;
	}
	err = kind->apply(ch, c);
	if (!err && !ch->outcome && kind->flags & SAVES)
		err = account_end(ch);
	return err;
}

enum err mailbox_apply(struct apply *ap, journal_pos pos, slice payload)
{
	struct mailbox_change c;

	if (!mailbox_get_change(payload, &c)) {
		apply_outcome(ap, ERR_INVALID, SLICE(""));
		return OK;
	}
	struct changing ch = { .ap = ap, .pos = pos, .at = c.at, .account = c.account };
	enum err err = run(&ch, &c);
	if (!err && ch.outcome)
		apply_outcome(ap, ch.outcome, SLICE(""));
	return err;
}
