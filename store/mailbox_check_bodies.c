/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsck of what accounts know of bodies: pieces, summaries, who needs them, and the conversations that
 * their keys lead to.
 *
 * Bodies come in order of their accounts. The keys of an account's bodies are gathered; at its end
 * they must be those of its conversations, as often. */
#include "store/conversation.h"
#include "store/mailbox_check_int.h"

#include <stdlib.h>

/* --- Conversations of the account at hand --- */

struct conversations {
	uint64_t *keys; /* of its bodies */
	size_t key_len, key_cap;
	struct keys_thread *rows; /* of its tables */
	size_t row_len, row_cap;
	uint64_t tables; /* of all accounts */
};

/* Room for so many more; NULL: there is no memory. */
static void *grow(struct checking *c, void *at, size_t *cap, size_t need, size_t bytes)
{
	if (need <= *cap)
		return at;
	*cap = MAX(need, MAX((size_t)1024, *cap * 2));
	void *more = realloc(at, *cap * bytes);
	if (!more) {
		free(at);
		*cap = 0;
		c->err = ERR_NOMEM;
	}
	return more;
}

static void add_keys(struct checking *c, struct conversations *all, const struct keys_body *body)
{
	all->keys = grow(c, all->keys, &all->key_cap, all->key_len + body->key_count,
		sizeof(*all->keys));
	for (unsigned i = 0; all->keys && i < body->key_count; i++)
		all->keys[all->key_len++] = body->keys[i];
}

static void add_rows(struct checking *c, struct conversations *all, const struct keys_threads *t)
{
	all->rows = grow(c, all->rows, &all->row_cap, all->row_len + t->len, sizeof(*all->rows));
	for (unsigned i = 0; all->rows && i < t->len; i++)
		all->rows[all->row_len++] = keys_thread_at(t, i);
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int by_key(const void *a, const void *b)
{
	const struct keys_thread *x = a, *y = b;

	return by_number(&x->key, &y->key);
}

/* The table above it leads to it. */
static bool has_parent(struct checking *c, struct keys_threads_place at)
{
	struct keys_thread found;
	struct keys_buf key;
	uint8_t children;
	slice value;

	if (!at.level--)
		return true;
	unsigned child = conversation_child(at.begin, at.level);
	keys_threads(&key,
		&(struct keys_threads_place){ .account = at.account,
			.level = at.level,
			.begin = conversation_begin(at.begin, at.level) });
	return check_there(c, &key, &value) && keys_find_thread(value, 0, &found, &children) &&
		children >> child & 1;
}

/* Each child it promises is there. */
static bool has_children(struct checking *c, const struct keys_threads_place *at, uint8_t children)
{
	struct keys_threads_place child = *at;
	struct keys_buf key;
	slice value;

	child.level++;
	for (unsigned i = 0; children >> i; i++) {
		if (!(children >> i & 1))
			continue;
		child.begin = at->begin | conversation_nth(i, at->level);
		keys_threads(&key, &child);
		if (!check_there(c, &key, &value))
			return false;
	}
	return true;
}

static bool all_belong(const struct keys_threads_place *at, struct keys_threads *t)
{
	for (unsigned i = 0; i < t->len; i++)
		if (conversation_begin(keys_thread_at(t, i).key, at->level) != at->begin)
			return false;
	return keys_threads_ordered(t) && (t->len || *keys_threads_children(t));
}

static bool check_table(struct checking *c, slice key, slice value, void *arg)
{
	struct conversations *all = arg;
	struct keys_threads_place at;
	struct keys_threads t;

	all->tables++;
	if (!keys_parse_threads(key, &at) || at.level >= KEYS_THREADS_LEVELS ||
		!keys_get_threads(value, &t) || !all_belong(&at, &t)) {
		check_bad(c, key, "no table of conversations");
		return true;
	}
	if (!has_parent(c, at) || !has_children(c, &at, *keys_threads_children(&t)))
		check_bad(c, key, "its place in the tree of conversations");
	add_rows(c, all, &t);
	return !c->err;
}

/* The bodies of an account are seen: its conversations must be theirs. */
static void end_threads(struct checking *c, struct conversations *all, uint64_t account)
{
	struct keys_buf prefix;
	size_t at = 0, wrong = 0;

	keys_account(&prefix, KEYS_THREAD, account);
	check_each(c, keys_slice(&prefix), check_table, all);
	if (all->key_len)
		qsort(all->keys, all->key_len, sizeof(*all->keys), by_number);
	if (all->row_len)
		qsort(all->rows, all->row_len, sizeof(*all->rows), by_key);
	for (size_t i = 0; i < all->row_len; i++) {
		size_t from = at;

		while (at < all->key_len && all->keys[at] == all->rows[i].key)
			at++;
		wrong += at - from != all->rows[i].count;
	}
	if (wrong)
		check_bad_count(c, keys_slice(&prefix),
			"conversations' counts do not agree with the messages");
	if (at != all->key_len)
		check_bad_count(c, keys_slice(&prefix), "conversations are missing");
	all->key_len = all->row_len = 0;
}

static bool count_table(struct checking *c, slice key, slice value, void *arg)
{
	struct conversations *all = arg;

	all->tables--;
	return true;
}

/* --- Bodies --- */

struct body_check {
	uint64_t account, blob;
	bool begun;
	struct keys_body body;
	size_t len; /* of the summary, so far */
	char summary[MESSAGE_SUMMARY_MAX];
	struct conversations conversations;
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
		check_bad(c, keys_slice(&key), "pieces are missing");
	else if (b->len && run->summary_ok && !run->summary_ok(run->arg, c->ck->st, &sum))
		check_bad(c, keys_slice(&key), "the summary is not that of the body");
}

static void begin_body(struct checking *c, struct body_check *b, slice key, slice value)
{
	struct keys_buf other;

	if (!keys_get_body(value, &b->body)) {
		check_bad(c, key, "no body");
		b->body = (struct keys_body){ 0 };
		return;
	}
	b->len = b->body.summary.len;
	memcpy(b->summary, b->body.summary.ptr, b->len);
	add_keys(c, &b->conversations, &b->body);
	keys_number(&other, KEYS_REFERENCE, b->blob);
	keys_add_u64(&other, b->account);
	if (!check_some_begin(c, &other))
		check_bad(c, key, "no message names this body");
	keys_reference_early(&other,
		&(struct keys_early_blob){ .low = b->blob - b->body.back, .blob = b->blob });
	if (b->body.back && !check_there(c, &other, &value))
		check_bad(c, key, "its early part is not held");
}

static bool check_body_row(struct checking *c, slice key, slice value, void *arg)
{
	struct body_check *b = arg;
	slice in = slice_skip(key, 1);
	uint64_t account, blob;
	uint8_t piece;

	if (!take_u64(&in, &account) || !take_u64(&in, &blob) || !take_u8(&in, &piece) || in.len) {
		check_bad(c, key, "no body's key");
		return true;
	}
	if (piece) {
		if (!b->begun || account != b->account || blob != b->blob ||
			b->len + value.len > b->body.summary_len) {
			check_bad(c, key, "a piece too many");
			return true;
		}
		memcpy(b->summary + b->len, value.ptr, value.len);
		b->len += value.len;
		return true;
	}
	if (b->begun)
		end_body(c, b);
	if (b->begun && account != b->account)
		end_threads(c, &b->conversations, b->account);
	b->begun = true;
	b->account = account;
	b->blob = blob;
	b->len = 0;
	begin_body(c, b, key, value);
	return !c->err;
}

void check_bodies(struct checking *c)
{
	struct body_check *b = calloc(1, sizeof(*b));

	if (!b) {
		c->err = ERR_NOMEM;
		return;
	}
	check_each_kind(c, KEYS_BODY, check_body_row, b);
	if (b->begun && !c->err) {
		end_body(c, b);
		end_threads(c, &b->conversations, b->account);
	}
	check_each_kind(c, KEYS_THREAD, count_table, &b->conversations);
	if (b->conversations.tables)
		check_bad_count(c, SLICE("H"), "conversations without messages");
	free(b->conversations.keys);
	free(b->conversations.rows);
	free(b);
}
