/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsck of mailboxes: every counter is counted again, every row that another needs is looked for.
 *
 * One shard, one moment. Mailboxes are walked in order, each with its messages, holes and log; then
 * what accounts know of bodies, with conversations; then the references, which the mover trusts. What a
 * dropped mailbox left to be purged is no fault. */
#include "store/check_int.h"

#include "core/base/map.h"
#include "core/base/runs.h"
#include "store/message_int.h"

#include <stdlib.h>

struct domain_sum {
	struct map_link link;
	slice name;
	struct keys_sums sums;
};

struct checking {
	struct check *ck;
	struct index_txn *txn;
	struct arena a;
	struct map domains;
	uint64_t domain_count;
	/* The account at hand, from its mailboxes. */
	struct keys_sums account;
	uint32_t mailboxes;
	/* Counted along the way. */
	uint64_t names, boxes, rows, early, marked;
	uint64_t last_account; /* asked for last: was it dropped? */
	bool last_dropped;
	/* Conversation keys of the account at hand. */
	uint64_t *keys;
	size_t key_len, key_cap;
	uint64_t threads;
	enum err err;
};

static void bad(struct checking *c, slice key, const char *what)
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

static void bad_count(struct checking *c, slice key, const char *what)
{
	c->ck->report->bad_counters++;
	c->ck->report->bad_rows--;
	bad(c, key, what);
}

/* Every row of a kind that begins with the prefix; false ends it. */
static void each(struct checking *c, slice prefix,
	bool (*fn)(struct checking *c, slice key, slice value, void *arg), void *arg)
{
	struct index_cursor cursor = { 0 };
	enum err err = index_seek(c->txn, &cursor, prefix, prefix);

	while (!err && fn(c, cursor.key, cursor.value, arg))
		err = index_next(&cursor);
	index_cursor_done(&cursor);
	if (err && err != ERR_NOT_FOUND)
		c->err = err;
}

static void each_kind(struct checking *c, enum keys_kind kind,
	bool (*fn)(struct checking *c, slice key, slice value, void *arg), void *arg)
{
	char letter = (char)kind;

	if (!c->err)
		each(c, slice_of(&letter, 1), fn, arg);
}

static bool there(struct checking *c, const struct keys_buf *key, slice *out)
{
	enum err err = index_get(c->txn, keys_slice(key), out);

	if (err && err != ERR_NOT_FOUND)
		c->err = err;
	return !err;
}

static bool some_begin(struct checking *c, const struct keys_buf *prefix)
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
	c->last_dropped = there(c, &key, &value);
	c->last_account = account;
	return c->last_dropped;
}

/* --- A mailbox with its messages --- */

struct box_check {
	struct keys_place at;
	struct keys_mailbox_row row, counted;
	struct runs live;
	modseq created; /* of the message before */
};

static bool check_message(struct checking *c, slice key, slice value, void *arg)
{
	struct box_check *b = arg;
	struct keys_place place;
	struct message m;
	struct keys_buf other;

	if (!keys_parse_message(key, &place) || !keys_get_message(value, &m)) {
		bad(c, key, "no message");
		return true;
	}
	b->counted.messages++;
	b->counted.unseen += !(m.flags & MESSAGE_SEEN);
	b->counted.deleted += (m.flags & MESSAGE_DELETED) != 0;
	b->counted.bytes += m.size;
	c->rows++;
	c->marked += (m.flags & MESSAGE_DELETED) != 0;
	if (!runs_has(&b->live, place.uid))
		bad(c, key, "its uid is said to be gone, or to come");
	if (m.created < b->created || m.changed < m.created || m.changed > b->row.highest)
		bad(c, key, "its times of change are out of order");
	b->created = m.created;
	keys_reference(&other, m.blob, &place);
	if (!there(c, &other, &value))
		bad(c, key, "its body is not held");
	keys_account(&other, KEYS_BODY, place.account);
	keys_add_u64(&other, m.blob);
	keys_add_u8(&other, 0);
	if (!there(c, &other, &value))
		bad(c, key, "nothing is known of its body");
	return true;
}

static bool check_log(struct checking *c, slice key, slice value, void *arg)
{
	struct box_check *b = arg;
	enum keys_log_kind kind;
	slice runs;

	b->counted.log_rows++;
	if (!keys_get_log(value, &kind, &runs))
		bad(c, key, "no piece of a log");
	return true;
}

/* Runs of uids that are gone are joined, or opening the mailbox would cost more and more. */
static bool check_hole(struct checking *c, slice key, slice value, void *arg)
{
	uint32_t first, last = keys_last_u32(key), *before = arg;

	if (!keys_get_u32(value, &first) || first > last || (*before && first <= *before + 1))
		bad(c, key, "no run of uids, or not apart from the one before");
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
	if (!there(c, &other, &value) || !keys_get_u32(value, &id) || id != b->at.mailbox)
		bad(c, key, "its name does not lead to it");
}

static bool check_mailbox(struct checking *c, slice key, slice value, void *arg)
{
	struct box_check b = { .at = { 0 } };
	struct keys_buf prefix;
	uint32_t hole = 0;

	if (!keys_parse_mailbox(key, &b.at.account, &b.at.mailbox) ||
		!keys_get_mailbox(value, &b.row)) {
		bad(c, key, "no mailbox");
		return true;
	}
	check_name(c, key, &b);
	struct uids_query query = { .account = b.at.account,
		.mailbox = b.at.mailbox,
		.from = 1,
		.uid_next = b.row.uid_next };
	enum err err = read_uids(c->txn, &query, &b.live);
	if (err == ERR_NOMEM)
		c->err = err;
	else if (err)
		bad(c, key, "its list of what is gone");
	keys_mailbox(&prefix, KEYS_MESSAGE, b.at.account, b.at.mailbox);
	each(c, keys_slice(&prefix), check_message, &b);
	keys_mailbox(&prefix, KEYS_CHANGE_LOG, b.at.account, b.at.mailbox);
	each(c, keys_slice(&prefix), check_log, &b);
	keys_mailbox(&prefix, KEYS_HOLE, b.at.account, b.at.mailbox);
	each(c, keys_slice(&prefix), check_hole, &hole);
	if (!same_counts(&b.row, &b.counted))
		bad_count(c, key, "counters do not agree with the messages");
	if (b.live.count != b.counted.messages)
		bad(c, key, "uids that are neither there nor gone");
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
		bad(c, key, "no name");
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
		bad(c, key, "no account's usage");
		return true;
	}
	c->mailboxes = 0;
	c->account = (struct keys_sums){ 0 };
	keys_account(&prefix, KEYS_MAILBOX, account);
	if (!u.dropped)
		each(c, keys_slice(&prefix), check_mailbox, NULL);
	keys_account(&prefix, KEYS_SUBSCRIBED, account);
	if (!u.dropped)
		each(c, keys_slice(&prefix), count_subscribed, &subscribed);
	if (u.mailboxes != c->mailboxes || u.subscribed != subscribed ||
		u.bytes != c->account.bytes || u.messages != c->account.messages)
		bad_count(c, key, "usage does not agree with the mailboxes");
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
		bad_count(c, key, "the domain's usage does not agree with its accounts");
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
	if (!there(c, &other, &value))
		bad(c, key, "its account has no usage");
	return true;
}

static bool is_dropped(struct checking *c, const struct keys_place *place)
{
	struct keys_buf key;
	slice value;

	keys_mailbox(&key, KEYS_PURGE, place->account, place->mailbox);
	return there(c, &key, &value) || account_dropped(c, place->account);
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
	if (there(c, &box, &row) && !account_dropped(c, place.account))
		return true;
	c->rows++;
	c->marked += keys_get_message(value, &m) && m.flags & MESSAGE_DELETED;
	if (!is_dropped(c, &place))
		bad(c, key, "it is in no mailbox");
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
		bad(c, key, "no mark");
		return true;
	}
	keys_message(&other, &place);
	if (!there(c, &other, &value) || !keys_get_message(value, &m) ||
		!(m.flags & MESSAGE_DELETED))
		bad(c, key, "no message is there that has the flag");
	return true;
}

/* --- Bodies and conversations --- */

static void add_keys(struct checking *c, const struct keys_body *body)
{
	if (c->key_len + body->key_count > c->key_cap) {
		size_t cap = MAX((size_t)1024, c->key_cap * 2);
		uint64_t *keys = realloc(c->keys, cap * sizeof(*keys));

		if (!keys) {
			c->err = ERR_NOMEM;
			return;
		}
		c->keys = keys;
		c->key_cap = cap;
	}
	for (unsigned i = 0; i < body->key_count; i++)
		c->keys[c->key_len++] = body->keys[i];
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool check_thread(struct checking *c, slice key, slice value, void *arg)
{
	size_t *at = arg, from = *at;
	struct keys_thread row;
	slice rest = slice_skip(key, 1 + sizeof(uint64_t));
	uint64_t name = 0;

	c->threads++;
	if (!take_u64(&rest, &name) || rest.len || !keys_get_thread(value, &row)) {
		bad(c, key, "no conversation");
		return true;
	}
	while (*at < c->key_len && c->keys[*at] == name)
		++*at;
	if (*at - from != row.count)
		bad_count(c, key, "the conversation's count does not agree with its messages");
	return true;
}

/* The bodies of an account are seen: its conversations must be theirs. */
static void end_threads(struct checking *c, uint64_t account)
{
	struct keys_buf prefix;
	size_t at = 0;

	if (c->key_len)
		qsort(c->keys, c->key_len, sizeof(*c->keys), by_number);
	keys_account(&prefix, KEYS_THREAD, account);
	each(c, keys_slice(&prefix), check_thread, &at);
	if (at != c->key_len)
		bad_count(c, keys_slice(&prefix), "conversations are missing");
	c->key_len = 0;
}

struct body_check {
	uint64_t account, blob;
	bool begun;
	struct keys_body body;
	size_t len; /* of the summary, so far */
	char summary[MESSAGE_SUMMARY_MAX];
};

static void end_body(struct checking *c, const struct body_check *b)
{
	const struct check_run *run = c->ck->run;
	struct keys_buf key;

	keys_account(&key, KEYS_BODY, b->account);
	keys_add_u64(&key, b->blob);
	struct check_summary sum = {
		.blob = b->blob, .splice = b->body.splice, .summary = slice_of(b->summary, b->len)
	};
	if (b->len != b->body.summary_len)
		bad(c, keys_slice(&key), "pieces are missing");
	else if (b->len && run->summary_ok && !run->summary_ok(run->arg, c->ck->st, &sum))
		bad(c, keys_slice(&key), "the summary is not that of the body");
}

static void begin_body(struct checking *c, struct body_check *b, slice key, slice value)
{
	struct keys_buf other;

	if (!keys_get_body(value, &b->body)) {
		bad(c, key, "no body");
		b->body = (struct keys_body){ 0 };
		return;
	}
	b->len = b->body.summary.len;
	memcpy(b->summary, b->body.summary.ptr, b->len);
	add_keys(c, &b->body);
	keys_number(&other, KEYS_REFERENCE, b->blob);
	keys_add_u64(&other, b->account);
	if (!some_begin(c, &other))
		bad(c, key, "no message names this body");
	keys_reference_early(&other,
		&(struct keys_early_blob){ .low = b->blob - b->body.back, .blob = b->blob });
	if (b->body.back && !there(c, &other, &value))
		bad(c, key, "its early part is not held");
}

static bool check_body_row(struct checking *c, slice key, slice value, void *arg)
{
	struct body_check *b = arg;
	slice in = slice_skip(key, 1);
	uint64_t account, blob;
	uint8_t piece;

	if (!take_u64(&in, &account) || !take_u64(&in, &blob) || !take_u8(&in, &piece) || in.len) {
		bad(c, key, "no body's key");
		return true;
	}
	if (piece) {
		if (!b->begun || account != b->account || blob != b->blob ||
			b->len + value.len > b->body.summary_len) {
			bad(c, key, "a piece too many");
			return true;
		}
		memcpy(b->summary + b->len, value.ptr, value.len);
		b->len += value.len;
		return true;
	}
	if (b->begun)
		end_body(c, b);
	if (b->begun && account != b->account)
		end_threads(c, b->account);
	b->begun = true;
	b->account = account;
	b->blob = blob;
	b->len = 0;
	begin_body(c, b, key, value);
	return !c->err;
}

static bool count_thread(struct checking *c, slice key, slice value, void *arg)
{
	c->threads--;
	return true;
}

static void check_bodies(struct checking *c)
{
	struct body_check *b = calloc(1, sizeof(*b));

	if (!b) {
		c->err = ERR_NOMEM;
		return;
	}
	each_kind(c, KEYS_BODY, check_body_row, b);
	if (b->begun && !c->err) {
		end_body(c, b);
		end_threads(c, b->account);
	}
	free(b);
	each_kind(c, KEYS_THREAD, count_thread, NULL);
	if (c->threads)
		bad_count(c, SLICE("H"), "conversations without messages");
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
		bad(c, key, "no reference");
		return true;
	}
	keys_message(&row, &place);
	if (!there(c, &row, &value) || !keys_get_message(value, &m) || m.blob != blob)
		bad(c, key, "no message is there that needs it");
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
		bad(c, key, "no early part");
		return true;
	}
	keys_number(&prefix, KEYS_REFERENCE, early.blob);
	if (!some_begin(c, &prefix))
		bad(c, key, "no message needs this early part");
	return true;
}

enum err mailbox_check(struct check *ck, struct index_txn *txn)
{
	struct checking c = { .ck = ck, .txn = txn };
	uint64_t last = 0;

	each_kind(&c, KEYS_USAGE, check_account, NULL);
	ck->report->mailboxes += c.boxes;
	ck->report->kept_messages += c.rows;
	each_kind(&c, KEYS_MAILBOX_NAME, count_name, NULL);
	if (c.names != c.boxes)
		bad_count(&c, SLICE("L"), "more names than mailboxes");
	each_kind(&c, KEYS_MAILBOX, check_mailbox_account, NULL);
	each_kind(&c, KEYS_DOMAIN_USAGE, check_domain, NULL);
	if (c.domain_count)
		bad_count(&c, SLICE("V"), "sums of domains are missing");
	each_kind(&c, KEYS_MESSAGE, check_orphan, NULL);
	each_kind(&c, KEYS_MARKED, check_mark, NULL);
	if (c.marked)
		bad_count(&c, SLICE("J"), "marks and messages to be removed are not as many");
	check_bodies(&c);
	each_kind(&c, KEYS_REFERENCE, check_reference, &last);
	if (c.rows)
		bad_count(&c, SLICE("R"), "references and messages are not as many");
	each_kind(&c, KEYS_REFERENCE_EARLY, check_early, NULL);
	map_done(&c.domains);
	arena_done(&c.a);
	free(c.keys);
	return c.err;
}
