/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsck of mailboxes: every counter is counted again, every row that another needs is looked for.
 *
 * One shard, one moment. Mailboxes are walked in order, each with its messages, holes and log; then
 * what accounts know of bodies, with conversations; then the references, which the mover trusts. What a
 * dropped mailbox left to be purged is no fault. */
#include "store/mailbox_check_int.h"

#include "core/base/runs.h"

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

/* --- A mailbox with its messages --- */

struct box_check {
	struct keys_place at;
	struct keys_mailbox_row row, counted;
	struct runs live;
	uint64_t keywords; /* bits that have a name */
	modseq created;    /* of the message before */
};

static bool check_message(struct checking *c, slice key, slice value, void *arg)
{
	struct box_check *b = arg;
	struct keys_place place;
	struct message m;
	struct keys_body body;
	struct keys_buf other;

	if (!keys_parse_message(key, &place) || !keys_get_message(value, &m)) {
		check_bad(c, key, "no message");
		return true;
	}
	b->counted.messages++;
	b->counted.unseen += !(m.flags & MESSAGE_SEEN);
	b->counted.deleted += (m.flags & MESSAGE_DELETED) != 0;
	b->counted.bytes += m.size;
	c->rows++;
	c->marked += (m.flags & MESSAGE_DELETED) != 0;
	if (!runs_has(&b->live, place.uid))
		check_bad(c, key, "its uid is said to be gone, or to come");
	if (m.created < b->created || m.changed < m.created || m.changed > b->row.highest)
		check_bad(c, key, "its times of change are out of order");
	if (m.keywords & ~b->keywords)
		check_bad(c, key, "it has keywords without a name");
	b->created = m.created;
	keys_reference(&other, m.blob, &place);
	if (!check_there(c, &other, &value))
		check_bad(c, key, "its body is not held");
	keys_account(&other, KEYS_BODY, place.account);
	keys_add_u64(&other, m.blob);
	keys_add_u8(&other, 0);
	if (!check_there(c, &other, &value))
		check_bad(c, key, "nothing is known of its body");
	else if (m.no_uidl && keys_get_body(value, &body) && (body.uidl.len || body.open_end))
		check_bad(c, key, "a unique id came with it, or its last line is open");
	return true;
}

static void check_keywords(struct checking *c, struct box_check *b)
{
	struct keys_keywords row;
	struct keys_buf key;
	slice value, name;

	keys_mailbox(&key, KEYS_KEYWORDS, b->at.account, b->at.mailbox);
	if (!check_there(c, &key, &value))
		return;
	if (!keys_get_keywords(value, &row) || row.changed > b->row.highest) {
		check_bad(c, keys_slice(&key), "no keywords, or such to come");
		b->keywords = UINT64_MAX;
		return;
	}
	while (slice_cut(&row.names, 0, &name))
		b->keywords = b->keywords << 1 | 1;
}

static bool check_log(struct checking *c, slice key, slice value, void *arg)
{
	struct box_check *b = arg;
	enum keys_log_kind kind;
	slice runs;

	b->counted.log_rows++;
	if (!keys_get_log(value, &kind, &runs) || !keys_runs_ok(runs))
		check_bad(c, key, "no piece of a log");
	return true;
}

/* Runs of uids that are gone are joined, or opening the mailbox would cost more and more. */
static bool check_hole(struct checking *c, slice key, slice value, void *arg)
{
	uint32_t first, last = keys_last_u32(key), *before = arg;

	if (!keys_get_u32(value, &first) || first > last || (*before && first <= *before + 1))
		check_bad(c, key, "no run of uids, or not apart from the one before");
	*before = last;
	return true;
}

static bool same_counts(const struct keys_mailbox_row *a, const struct keys_mailbox_row *b)
{
	return a->messages == b->messages && a->unseen == b->unseen && a->deleted == b->deleted &&
		a->bytes == b->bytes && a->log_rows == b->log_rows;
}

static void check_name(struct checking *c, slice key, const struct box_check *b)
{
	struct keys_buf other;
	uint32_t id;
	slice value;

	keys_account(&other, KEYS_MAILBOX_NAME, b->at.account);
	keys_add_name(&other, keys_text_slice(&b->row.name));
	if (!check_there(c, &other, &value) || !keys_get_u32(value, &id) || id != b->at.mailbox)
		check_bad(c, key, "its name does not lead to it");
}

static bool check_mailbox(struct checking *c, slice key, slice value, void *arg)
{
	struct box_check b = { .at = { 0 } };
	struct keys_buf prefix;
	uint32_t hole = 0;

	if (!keys_parse_mailbox(key, &b.at.account, &b.at.mailbox) ||
		!keys_get_mailbox(value, &b.row)) {
		check_bad(c, key, "no mailbox");
		return true;
	}
	check_name(c, key, &b);
	struct uids_query query = { .account = b.at.account,
		.mailbox = b.at.mailbox,
		.from = 1,
		.uid_next = b.row.uid_next };
	enum err err = read_uid_set(c->txn, &query, &b.live);
	if (err == ERR_NOMEM)
		c->err = err;
	else if (err)
		check_bad(c, key, "its list of what is gone");
	check_keywords(c, &b);
	keys_mailbox(&prefix, KEYS_MESSAGE, b.at.account, b.at.mailbox);
	check_each(c, keys_slice(&prefix), check_message, &b);
	keys_mailbox(&prefix, KEYS_CHANGE_LOG, b.at.account, b.at.mailbox);
	check_each(c, keys_slice(&prefix), check_log, &b);
	keys_mailbox(&prefix, KEYS_HOLE, b.at.account, b.at.mailbox);
	check_each(c, keys_slice(&prefix), check_hole, &hole);
	if (!same_counts(&b.row, &b.counted))
		check_bad_count(c, key, "counters do not agree with the messages");
	if (b.live.count != b.counted.messages)
		check_bad(c, key, "uids that are neither there nor gone");
	runs_done(&b.live);
	c->boxes++;
	c->mailboxes++;
	c->account.messages += b.counted.messages;
	c->account.bytes += b.counted.bytes;
	return !c->err;
}

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

static bool check_early(struct checking *c, slice key, slice value, void *arg)
{
	struct keys_early_blob early;
	struct keys_buf prefix;

	if (!keys_parse_reference_early(key, &early)) {
		check_bad(c, key, "no early part");
		return true;
	}
	keys_number(&prefix, KEYS_REFERENCE, early.blob);
	if (!check_some_begin(c, &prefix))
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
	check_each_kind(&c, KEYS_DOMAIN_USAGE, check_domain, NULL);
	if (c.domain_count)
		check_bad_count(&c, SLICE("V"), "sums of domains are missing");
	check_each_kind(&c, KEYS_MESSAGE, check_orphan, NULL);
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
