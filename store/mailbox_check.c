/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsck of mailboxes: every counter is counted again, every row that another needs is looked for.
 *
 * One shard, one moment. Mailboxes are walked in order, each with its messages, holes and log; then
 * what accounts know of bodies, with conversations; then the references, which the mover trusts. What a
 * dropped mailbox left to be purged is no fault. */
#include "store/mailbox_check_int.h"

struct domain_sum {
	struct map_link link;
	slice name;
	struct keys_sums sums;
};

void check_bad(struct checking *c, slice key, const char *what)
{
	char hex[64];
	struct out o = out_fixed(hex, sizeof(hex) - 1);

	for (size_t i = 1; i < key.len && i < 21; i++)
		out_printf(&o, "%02x", (unsigned char)key.ptr[i]);
	hex[o.len] = 0;
	c->ck->report->bad_rows++;
	c->ck->report->result = MAX(c->ck->report->result, (enum check_result)CHECK_DAMAGED);
	check_say(c->ck, "index: row '%c' %s: %s", key.len ? key.ptr[0] : '?', hex, what);
}

void check_bad_count(struct checking *c, slice key, const char *what)
{
	c->ck->report->bad_counters++;
	c->ck->report->bad_rows--;
	check_bad(c, key, what);
}

void check_each(struct checking *c, slice prefix, check_row_fn *fn, void *arg)
{
	struct index_cursor cursor = { 0 };
	enum err err = index_seek(c->txn, &cursor, prefix, prefix);

	while (!err && fn(c, cursor.key, cursor.value, arg))
		err = index_next(&cursor);
	index_cursor_done(&cursor);
	if (err && err != ERR_NOT_FOUND)
		c->err = err;
}

void check_each_kind(struct checking *c, enum keys_kind kind, check_row_fn *fn, void *arg)
{
	char letter = (char)kind;

	if (!c->err)
		check_each(c, slice_of(&letter, 1), fn, arg);
}

bool check_there(struct checking *c, const struct keys_buf *key, slice *out)
{
	enum err err = index_get(c->txn, keys_slice(key), out);

	if (err && err != ERR_NOT_FOUND)
		c->err = err;
	return !err;
}

bool check_some_begin(struct checking *c, const struct keys_buf *prefix)
{
	struct index_cursor cursor = { 0 };
	enum err err = index_seek(c->txn, &cursor, keys_slice(prefix), keys_slice(prefix));

	index_cursor_done(&cursor);
	return !err;
}

/* Its rows go by and by: no fault, and none of them counts. */
static bool account_dropped(struct checking *c, uint64_t account)
{
	struct keys_buf key;
	slice value;

	if (account == c->last_account)
		return c->last_dropped;
	keys_mailbox(&key, KEYS_PURGE, account, 0);
	c->last_dropped = check_there(c, &key, &value);
	c->last_account = account;
	return c->last_dropped;
}

/* --- Names --- */

static bool count_name(struct checking *c, slice key, slice value, void *arg)
{
	uint64_t account;
	slice name;

	if (!keys_parse_account(key, &account, &name))
		check_bad(c, key, "no name");
	else
		c->names += !account_dropped(c, account);
	return true;
}

static bool count_subscribed(struct checking *c, slice key, slice value, void *arg)
{
	++*(uint32_t *)arg;
	return true;
}

/* --- Accounts and domains --- */

static struct domain_sum *sum_of(struct checking *c, slice name, bool make)
{
	static const struct map_seed seed = { 1, 2 }; /* names of the store itself */
	uint64_t hash = map_hash(&seed, name);
	struct domain_sum *d;

	for (struct map_link *l = map_find(&c->domains, hash); l;
		l = map_find_next(&c->domains, l)) {
		d = container_of(l, struct domain_sum, link);
		if (slice_eq(d->name, name))
			return d;
	}
	if (!make)
		return NULL;
	d = arena_new(&c->a, struct domain_sum);
	d->name = arena_dup(&c->a, name);
	if (!map_insert(&c->domains, &d->link, hash))
		c->err = ERR_NOMEM;
	return d;
}

static bool check_account(struct checking *c, slice key, slice value, void *arg)
{
	struct keys_usage u;
	struct keys_buf prefix;
	uint64_t account;
	uint32_t subscribed = 0;
	slice rest;

	if (!keys_parse_account(key, &account, &rest) || rest.len || !keys_get_usage(value, &u)) {
		check_bad(c, key, "no account's usage");
		return true;
	}
	c->mailboxes = 0;
	c->account = (struct keys_sums){ 0 };
	keys_account(&prefix, KEYS_MAILBOX, account);
	if (!u.dropped)
		check_each(c, keys_slice(&prefix), check_mailbox, NULL);
	keys_account(&prefix, KEYS_SUBSCRIBED, account);
	if (!u.dropped)
		check_each(c, keys_slice(&prefix), count_subscribed, &subscribed);
	if (u.mailboxes != c->mailboxes || u.subscribed != subscribed ||
		u.bytes != c->account.bytes || u.messages != c->account.messages)
		check_bad_count(c, key, "usage does not agree with the mailboxes");
	slice domain = keys_text_slice(&u.domain);
	if (domain.len && (c->account.messages || c->account.bytes)) {
		struct domain_sum *d = sum_of(c, domain, true);

		c->domain_count += !d->sums.messages && !d->sums.bytes;
		d->sums.bytes += c->account.bytes;
		d->sums.messages += c->account.messages;
	}
	return !c->err;
}

static bool check_domain(struct checking *c, slice key, slice value, void *arg)
{
	const struct domain_sum *d = sum_of(c, slice_skip(key, 1), false);
	struct keys_sums sums;

	c->domain_count--;
	if (!keys_get_sums(value, &sums) || !d || d->sums.bytes != sums.bytes ||
		d->sums.messages != sums.messages)
		check_bad_count(c, key, "the domain's usage does not agree with its accounts");
	return true;
}

/* Mailboxes of accounts that have no row, and messages of mailboxes that have none. */
static bool check_mailbox_account(struct checking *c, slice key, slice value, void *arg)
{
	struct keys_buf other;
	uint64_t account;
	uint32_t mailbox;

	c->boxes--;
	if (!keys_parse_mailbox(key, &account, &mailbox))
		return true;
	keys_account(&other, KEYS_USAGE, account);
	if (!check_there(c, &other, &value))
		check_bad(c, key, "its account has no usage");
	return true;
}

static bool check_subscribed(struct checking *c, slice key, slice value, void *arg)
{
	struct keys_buf other;
	uint64_t account;
	slice name;

	if (!keys_parse_account(key, &account, &name)) {
		check_bad(c, key, "no name");
		return true;
	}
	keys_account(&other, KEYS_USAGE, account);
	if (!check_there(c, &other, &value) && !account_dropped(c, account))
		check_bad(c, key, "its account has no usage");
	return true;
}

static bool is_dropped(struct checking *c, const struct keys_place *place)
{
	struct keys_buf key;
	slice value;

	keys_mailbox(&key, KEYS_PURGE, place->account, place->mailbox);
	return check_there(c, &key, &value) || account_dropped(c, place->account);
}

static bool check_orphan(struct checking *c, slice key, slice value, void *arg)
{
	struct keys_place place;
	struct keys_buf box;
	struct message m;
	slice row;

	if (!keys_parse_message(key, &place))
		return true;
	keys_mailbox(&box, KEYS_MAILBOX, place.account, place.mailbox);
	if (check_there(c, &box, &row) && !account_dropped(c, place.account))
		return true;
	c->rows++;
	c->marked += keys_get_message(value, &m) && m.flags & MESSAGE_DELETED;
	if (!is_dropped(c, &place))
		check_bad(c, key, "it is in no mailbox");
	return true;
}

/* Keywords, logs and holes. */
static bool check_home(struct checking *c, slice key, slice value, void *arg)
{
	struct keys_place place;
	struct keys_buf box;
	slice rest;

	if (!keys_parse_account(key, &place.account, &rest) || !take_u32(&rest, &place.mailbox)) {
		check_bad(c, key, "no row of a mailbox");
		return true;
	}
	keys_mailbox(&box, KEYS_MAILBOX, place.account, place.mailbox);
	if (!check_there(c, &box, &value) && !is_dropped(c, &place))
		check_bad(c, key, "its mailbox is not there");
	return true;
}

/* What EXPUNGE finds its messages by. */
static bool check_mark(struct checking *c, slice key, slice value, void *arg)
{
	struct keys_place place;
	struct keys_buf other;
	struct message m;

	c->marked--;
	if (!keys_parse_marked(key, &place)) {
		check_bad(c, key, "no mark");
		return true;
	}
	keys_message(&other, &place);
	if (!check_there(c, &other, &value) || !keys_get_message(value, &m) ||
		!(m.flags & MESSAGE_DELETED))
		check_bad(c, key, "no message is there that has the flag");
	return true;
}

/* --- References --- */

static bool check_reference(struct checking *c, slice key, slice value, void *arg)
{
	uint64_t blob, *last = arg;
	struct keys_place place;
	struct message m;
	struct keys_buf row;

	c->rows--;
	if (!keys_parse_reference(key, &blob, &place)) {
		check_bad(c, key, "no reference");
		return true;
	}
	keys_message(&row, &place);
	if (!check_there(c, &row, &value) || !keys_get_message(value, &m) || m.blob != blob)
		check_bad(c, key, "no message is there that needs it");
	if (blob != *last)
		check_body(c->ck, blob);
	*last = blob;
	return !c->err;
}

/* The first that needs the body; its account knows where the body begins. */
static bool first_needs(struct checking *c, uint64_t blob, struct keys_body *out)
{
	struct index_cursor cursor = { 0 };
	struct keys_place place;
	struct keys_buf key;
	slice value;

	keys_number(&key, KEYS_REFERENCE, blob);
	enum err err = index_seek(c->txn, &cursor, keys_slice(&key), keys_slice(&key));
	bool found = !err && keys_parse_reference(cursor.key, &blob, &place);
	index_cursor_done(&cursor);
	if (!found)
		return false;
	keys_account(&key, KEYS_BODY, place.account);
	keys_add_u64(&key, blob);
	keys_add_u8(&key, 0);
	return check_there(c, &key, &value) && keys_get_body(value, out);
}

static bool check_early(struct checking *c, slice key, slice value, void *arg)
{
	struct keys_early_blob early;
	struct keys_body body;

	if (!keys_parse_reference_early(key, &early))
		check_bad(c, key, "no early part");
	else if (!first_needs(c, early.blob, &body) || early.blob - body.back != early.low)
		check_bad(c, key, "no message needs this early part");
	return true;
}

enum err mailbox_check(struct check *ck, struct index_txn *txn)
{
	struct checking c = { .ck = ck, .txn = txn };
	uint64_t last = 0;

	check_each_kind(&c, KEYS_USAGE, check_account, NULL);
	ck->report->mailboxes += c.boxes;
	ck->report->kept_messages += c.rows;
	check_each_kind(&c, KEYS_MAILBOX_NAME, count_name, NULL);
	if (c.names != c.boxes)
		check_bad_count(&c, SLICE("L"), "more names than mailboxes");
	check_each_kind(&c, KEYS_MAILBOX, check_mailbox_account, NULL);
	check_each_kind(&c, KEYS_SUBSCRIBED, check_subscribed, NULL);
	check_each_kind(&c, KEYS_DOMAIN_USAGE, check_domain, NULL);
	if (c.domain_count)
		check_bad_count(&c, SLICE("V"), "sums of domains are missing");
	check_each_kind(&c, KEYS_MESSAGE, check_orphan, NULL);
	check_each_kind(&c, KEYS_KEYWORDS, check_home, NULL);
	check_each_kind(&c, KEYS_CHANGE_LOG, check_home, NULL);
	check_each_kind(&c, KEYS_HOLE, check_home, NULL);
	check_each_kind(&c, KEYS_MARKED, check_mark, NULL);
	if (c.marked)
		check_bad_count(&c, SLICE("J"), "marks and messages to be removed are not as many");
	check_bodies(&c);
	check_each_kind(&c, KEYS_REFERENCE, check_reference, &last);
	if (c.rows)
		check_bad_count(&c, SLICE("R"), "references and messages are not as many");
	check_each_kind(&c, KEYS_REFERENCE_EARLY, check_early, NULL);
	map_done(&c.domains);
	arena_done(&c.a);
	return c.err;
}
