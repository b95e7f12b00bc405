/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mailbox_recount.c - counters made anew from what they count.
 *
 * A record counts one mailbox, the account, or a domain's sums in one shard while it is applied, so
 * that nothing changes meanwhile and a replay comes to the same. Its shard applies nothing else until
 * the rows are read, which for a million messages is some tenths of a second: for an operator, not for
 * every day. */
#include "core/base/runs.h"
#include "store/mailbox_int.h"
#include "store/store_int.h"

enum { OUTCOME_BYTES = 4 * 8 + 1 };

/* --- Applying --- */

static void tell(struct changing *ch, const struct keys_sums *was, const struct keys_sums *now,
	bool wrong)
{
	char buf[OUTCOME_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));

	out_u64(&o, was->bytes);
	out_u64(&o, was->messages);
	out_u64(&o, now->bytes);
	out_u64(&o, now->messages);
	out_u8(&o, wrong);
	apply_outcome(ch->ap, OK, out_written(&o));
}

static void tell_account(struct changing *ch, bool wrong)
{
	struct keys_sums was = { ch->usage.bytes, ch->usage.messages };
	struct keys_sums now = { was.bytes + (uint64_t)ch->bytes,
		was.messages + (uint64_t)ch->messages };

	tell(ch, &was, &now, wrong);
}

static enum err count_box(struct changing *ch, struct boxed *box)
{
	struct picking p = { .ch = ch, .mailbox = box->id, .all = true };
	enum err err;

	box->row.messages = box->row.unseen = box->row.deleted = 0;
	box->row.bytes = 0;
	do {
		err = pick(&p);
		for (size_t i = 0; !err && i < p.len; i++)
			boxed_count(ch, box, &p.rows[i].m, 1);
	} while (!err && p.len);
	return err;
}

static enum err recount_box(struct changing *ch, const struct mailbox_change *c)
{
	struct boxed box;
	enum err err = boxed_load(ch, c->mailbox, &box);

	if (err) {
		ch->outcome = ERR_NOT_FOUND;
		return err == ERR_NOT_FOUND ? OK : err;
	}
	const struct keys_mailbox_row was = box.row;
	err = count_box(ch, &box);
	/* What the account is to get besides what it has. */
	ch->bytes -= (int64_t)was.bytes;
	ch->messages -= (int64_t)was.messages;
	bool wrong = was.bytes != box.row.bytes || was.messages != box.row.messages ||
		was.unseen != box.row.unseen || was.deleted != box.row.deleted;
	tell_account(ch, wrong);
	return !err && wrong ? boxed_save(ch, &box) : err;
}

static enum err count_rows(struct changing *ch, enum keys_kind kind, struct keys_sums *sums,
	uint32_t *out)
{
	struct index_cursor c = { 0 };
	struct keys_mailbox_row row;
	struct keys_buf prefix;

	*out = 0;
	keys_account(&prefix, kind, ch->account);
	enum err err = apply_seek(ch->ap, &c, keys_slice(&prefix), keys_slice(&prefix));
	while (!err) {
		++*out;
		if (sums && !keys_get_mailbox(c.value, &row))
			err = ERR_CORRUPT;
		if (sums && !err) {
			sums->bytes += row.bytes;
			sums->messages += row.messages;
		}
		if (!err)
			err = apply_next(&c);
	}
	apply_seek_done(&c);
	return err == ERR_NOT_FOUND ? OK : err;
}

static enum err recount_account(struct changing *ch)
{
	struct keys_usage *u = &ch->usage;
	struct keys_sums sums = { 0 };
	uint32_t boxes, subscribed;
	enum err err = count_rows(ch, KEYS_MAILBOX, &sums, &boxes);

	if (!err)
		err = count_rows(ch, KEYS_SUBSCRIBED, NULL, &subscribed);
	if (err)
		return err;
	ch->bytes = (int64_t)(sums.bytes - u->bytes);
	ch->messages = (int64_t)(sums.messages - u->messages);
	tell_account(ch,
		ch->bytes || ch->messages || boxes != u->mailboxes || subscribed != u->subscribed);
	u->mailboxes = boxes;
	u->subscribed = subscribed;
	return OK;
}

enum err apply_recount(struct changing *ch, const struct mailbox_change *c)
{
	return c->mailbox ? recount_box(ch, c) : recount_account(ch);
}

/* --- A domain's sums in the shard --- */

static enum err sum_accounts(struct changing *ch, slice domain, struct keys_sums *sums)
{
	struct index_cursor c = { 0 };
	struct keys_usage row;
	struct keys_buf prefix;

	keys_name(&prefix, KEYS_USAGE, SLICE(""));
	enum err err = apply_seek(ch->ap, &c, keys_slice(&prefix), keys_slice(&prefix));
	while (!err) {
		if (!keys_get_usage(c.value, &row))
			err = ERR_CORRUPT;
		if (!err && !row.dropped && slice_eq(keys_text_slice(&row.domain), domain)) {
			sums->bytes += row.bytes;
			sums->messages += row.messages;
		}
		if (!err)
			err = apply_next(&c);
	}
	apply_seek_done(&c);
	return err == ERR_NOT_FOUND ? OK : err;
}

enum err apply_sums(struct changing *ch, const struct mailbox_change *c)
{
	struct keys_sums was = { 0 }, now = { 0 };
	struct keys_buf key;
	slice value;

	keys_name(&key, KEYS_DOMAIN_USAGE, c->name);
	enum err err = apply_get(ch->ap, keys_slice(&key), &value);
	if (!err && !keys_get_sums(value, &was))
		return ERR_CORRUPT;
	if (!err || err == ERR_NOT_FOUND)
		err = sum_accounts(ch, c->name, &now);
	bool wrong = was.bytes != now.bytes || was.messages != now.messages;
	tell(ch, &was, &now, wrong);
	if (err || !wrong)
		return err;
	struct changing by = { .bytes = (int64_t)(now.bytes - was.bytes),
		.messages = (int64_t)(now.messages - was.messages) };
	return domain_add(ch->ap, c->name, &by, 1);
}

/* --- Asking --- */

/* Adds what one record came to. */
static enum err run(struct store *st, const struct mailbox_change *change, unsigned shard,
	struct mailbox_recounted *all)
{
	struct arena a = { 0 };
	struct mailbox_ran ran;
	struct mailbox_recounted one;
	uint8_t wrong;
	enum err err = mailbox_run_in(st, change, shard, &a, &ran);
	slice in = ran.outcome;

	if (!err &&
		(!take_u64(&in, &one.was_bytes) || !take_u64(&in, &one.was_messages) ||
			!take_u64(&in, &one.bytes) || !take_u64(&in, &one.messages) ||
			!take_u8(&in, &wrong)))
		err = ERR_CORRUPT;
	arena_done(&a);
	if (err)
		return err;
	all->was_bytes += one.was_bytes;
	all->was_messages += one.was_messages;
	all->bytes += one.bytes;
	all->messages += one.messages;
	all->wrong += wrong;
	return OK;
}

/* As it was before the first record, and is behind the last. */
static enum err run_next(struct store *st, uint64_t account, uint32_t mailbox,
	struct mailbox_recounted *all)
{
	struct mailbox_change c = { .kind = CHANGE_RECOUNT,
		.account = account,
		.mailbox = mailbox,
		.at = mailbox_clock() };
	struct mailbox_recounted one = { .records = all->records + 1 };
	enum err err = run(st, &c, mailbox_home(st, account), &one);

	if (err)
		return err;
	if (all->records) {
		one.was_bytes = all->was_bytes;
		one.was_messages = all->was_messages;
		one.wrong += all->wrong;
	}
	*all = one;
	return OK;
}

enum err mailbox_recount(struct store *st, uint64_t account, struct mailbox_recounted *out)
{
	struct mailbox_query query = { .account = account };
	struct mailbox_page list = { .more = true };
	struct arena a = { 0 };
	enum err err = store_sync_all(st, account);

	*out = (struct mailbox_recounted){ 0 };
	while (!err && list.more) {
		err = mailbox_list(st, &query, &a, &list);
		for (size_t i = 0; !err && i < list.len; i++) {
			query.after = list.rows[i].name;
			if (list.rows[i].id)
				err = run_next(st, account, list.rows[i].id, out);
			if (err == ERR_NOT_FOUND) /* deleted meanwhile */
				err = OK;
		}
	}
	arena_done(&a);
	return err ? err : run_next(st, account, 0, out);
}

enum err mailbox_domain_recount(struct store *st, slice domain, struct mailbox_recounted *out)
{
	struct mailbox_change c = { .kind = CHANGE_SUMS, .name = domain, .at = mailbox_clock() };
	enum err err = domain.len && domain.len <= KEYS_DOMAIN_MAX ? OK : ERR_INVALID;

	*out = (struct mailbox_recounted){ 0 };
	for (unsigned i = 0; !err && i < st->shards; i++)
		err = run(st, &c, i, out);
	return err;
}
