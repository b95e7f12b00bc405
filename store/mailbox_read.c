/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading mailboxes: each call is one short read transaction, on a helper thread but for the usage,
 * which is a row or two and asked for on the mail path. */
#include "core/base/runs.h"
#include "store/apply.h"
#include "store/mailbox.h"
#include "store/message_int.h"
#include "store/store_int.h"

enum { LIST_MAX = 4096, LIST_DEFAULT = 256 };

unsigned mailbox_home(const struct store *st, uint64_t account)
{
	return mailbox_shard(account, index_shard_count(st->index));
}

/* --- Rows --- */

enum err read_mailbox_row(struct index_txn *txn, uint64_t account, uint32_t id,
	struct keys_mailbox_row *out)
{
	struct keys_buf key;
	slice value;

	keys_mailbox(&key, KEYS_MAILBOX, account, id);
	enum err err = index_get(txn, keys_slice(&key), &value);
	if (err)
		return err;
	return keys_get_mailbox(value, out) ? OK : ERR_CORRUPT;
}

void mailbox_of_row(struct mailbox *out, uint32_t id, const struct keys_mailbox_row *row)
{
	*out = (struct mailbox){ .id = id,
		.use = row->use,
		.open_ends = row->open_ends,
		.name = keys_text_slice(&row->name),
		.uid_validity = row->uid_validity,
		.uid_next = row->uid_next,
		.messages = row->messages,
		.unseen = row->unseen,
		.deleted = row->deleted,
		.bytes = row->bytes,
		.highest = row->highest,
		.horizon = row->horizon,
		.created = row->created };
}

enum err read_position(struct index_txn *txn, modseq *out)
{
	struct keys_buf key;
	slice value;

	keys_name(&key, KEYS_META, SLICE("position"));
	enum err err = index_get(txn, keys_slice(&key), &value);
	if (err)
		return err;
	return take_u64(&value, out) ? OK : ERR_CORRUPT;
}

enum err read_uids(struct index_txn *txn, const struct uids_query *q, struct run_pile *uids)
{
	struct index_cursor c = { 0 };
	struct keys_buf prefix, from;
	uint32_t at = q->from, first;
	enum err failed = OK;

	keys_mailbox(&prefix, KEYS_HOLE, q->account, q->mailbox);
	from = prefix;
	keys_add_u32(&from, at);
	enum err err = index_seek(txn, &c, keys_slice(&from), keys_slice(&prefix));
	while (!err && !failed) {
		if (!keys_get_u32(c.value, &first) || keys_last_u32(c.key) >= q->uid_next)
			failed = ERR_CORRUPT;
		else if (first > at)
			run_pile_add(uids, at, first - 1);
		at = keys_last_u32(c.key) + 1;
		if (!failed)
			err = index_next(&c);
	}
	index_cursor_done(&c);
	if (failed || err != ERR_NOT_FOUND)
		return failed ? failed : err;
	if (at < q->uid_next)
		run_pile_add(uids, at, q->uid_next - 1);
	return OK;
}

enum err read_uid_set(struct index_txn *txn, const struct uids_query *q, struct runs *uids)
{
	struct run_pile pile = { 0 };
	enum err err = read_uids(txn, q, &pile);

	if (!err && !run_pile_into(&pile, uids))
		err = ERR_NOMEM;
	run_pile_done(&pile);
	return err;
}

/* --- Usage --- */

struct usage_read {
	uint64_t account;
	slice domain;
	unsigned shard;
	struct mailbox_usage usage;
	struct usage_seen *seen; /* NULL: not asked for */
};

static enum err note_position(struct index_txn *txn, const struct usage_read *r)
{
	if (!r->seen)
		return OK;
	enum err err = read_position(txn, &r->seen->at[r->shard]);
	return err == ERR_NOT_FOUND ? OK : err;
}

static enum err usage_txn(struct index_txn *txn, void *arg)
{
	struct usage_read *r = arg;
	struct keys_usage row;
	struct keys_buf key;
	slice value;
	enum err err = note_position(txn, r);

	keys_account(&key, KEYS_USAGE, r->account);
	if (!err)
		err = index_get(txn, keys_slice(&key), &value);
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	if (!keys_get_usage(value, &row))
		return ERR_CORRUPT;
	r->usage = (struct mailbox_usage){ .bytes = row.bytes,
		.messages = row.messages,
		.mailboxes = row.mailboxes,
		.changed = row.changed };
	return OK;
}

static enum err read_account(struct store *st, struct usage_read *r)
{
	r->shard = mailbox_home(st, r->account);
	return index_read_here(st->index, r->shard, usage_txn, r);
}

enum err mailbox_usage(struct store *st, uint64_t account, struct mailbox_usage *out)
{
	struct usage_read r = { .account = account };
	enum err err = read_account(st, &r);

	if (!err)
		*out = r.usage;
	return err;
}

enum err read_usage(struct store *st, uint64_t account, struct usage_seen *out)
{
	struct usage_read r = { .account = account, .seen = out };

	*out = (struct usage_seen){ 0 };
	enum err err = read_account(st, &r);
	out->bytes = r.usage.bytes;
	out->messages = r.usage.messages;
	return err;
}

static enum err domain_txn(struct index_txn *txn, void *arg)
{
	struct usage_read *r = arg;
	struct keys_sums sums;
	struct keys_buf key;
	slice value;
	enum err err = note_position(txn, r);

	keys_name(&key, KEYS_DOMAIN_USAGE, r->domain);
	if (!err)
		err = index_get(txn, keys_slice(&key), &value);
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	if (!keys_get_sums(value, &sums))
		return ERR_CORRUPT;
	r->usage.bytes += sums.bytes;
	r->usage.messages += sums.messages;
	return OK;
}

static enum err read_domain(struct store *st, struct usage_read *r)
{
	enum err err = r->domain.len && r->domain.len <= KEYS_DOMAIN_MAX ? OK : ERR_INVALID;

	for (r->shard = 0; !err && r->shard < index_shard_count(st->index); r->shard++)
		err = index_read_here(st->index, r->shard, domain_txn, r);
	return err;
}

enum err mailbox_domain_usage(struct store *st, slice domain, struct mailbox_usage *out)
{
	struct usage_read r = { .domain = domain };
	enum err err = read_domain(st, &r);

	if (!err)
		*out = r.usage;
	return err;
}

enum err read_domain_usage(struct store *st, slice domain, struct usage_seen *out)
{
	struct usage_read r = { .domain = domain, .seen = out };

	*out = (struct usage_seen){ 0 };
	enum err err = read_domain(st, &r);
	out->bytes = r.usage.bytes;
	out->messages = r.usage.messages;
	return err;
}

/* --- One mailbox --- */

struct one_read {
	struct arena *a;
	uint64_t account;
	uint32_t id;
	slice name;
	struct mailbox_opened *out;
	struct runs *uids;
};

static enum err is_subscribed(struct index_txn *txn, uint64_t account, slice name, bool *out)
{
	struct keys_buf key;
	slice value;

	keys_account(&key, KEYS_SUBSCRIBED, account);
	keys_add_name(&key, name);
	enum err err = index_get(txn, keys_slice(&key), &value);
	*out = !err;
	return err == ERR_NOT_FOUND ? OK : err;
}

static enum err read_mailbox(struct index_txn *txn, struct one_read *r, struct mailbox *out)
{
	struct keys_mailbox_row row;
	enum err err = read_mailbox_row(txn, r->account, r->id, &row);

	if (err)
		return err;
	mailbox_of_row(out, r->id, &row);
	out->name = arena_dup(r->a, out->name);
	return is_subscribed(txn, r->account, out->name, &out->subscribed);
}

static enum err one_txn(struct index_txn *txn, void *arg)
{
	struct one_read *r = arg;
	struct keys_buf key;
	slice value;

	if (r->name.len) {
		keys_account(&key, KEYS_MAILBOX_NAME, r->account);
		keys_add_name(&key, r->name);
		enum err err = index_get(txn, keys_slice(&key), &value);

		if (err)
			return err;
		if (!keys_get_u32(value, &r->id))
			return ERR_CORRUPT;
	}
	return read_mailbox(txn, r, &r->out->mailbox);
}

/* Names that somebody was told of. */
static enum err see_names(struct store *st, uint64_t account)
{
	modseq pos = atomic_load(&st->names_at[account % STORE_NAMES_SLOTS]);

	return pos ? store_sync(st, account, pos) : OK;
}

enum err mailbox_find(struct store *st, uint64_t account, slice name, struct arena *a,
	struct mailbox *out)
{
	char buf[MAILBOX_NAME_MAX];
	struct mailbox_opened opened = { 0 };
	struct one_read r = {
		.a = a, .account = account, .name = mailbox_name(name, buf), .out = &opened
	};

	if (!mailbox_name_ok(r.name))
		return ERR_NOT_FOUND;
	enum err err = see_names(st, account);
	if (!err)
		err = index_read(st->index, mailbox_home(st, account), one_txn, &r);
	if (!err)
		*out = opened.mailbox;
	return err;
}

static enum err read_keywords(struct index_txn *txn, const struct one_read *r,
	struct mailbox_keywords *out)
{
	struct keys_keywords row;
	struct keys_buf key;
	slice value, names, name;

	keys_mailbox(&key, KEYS_KEYWORDS, r->account, r->id);
	enum err err = index_get(txn, keys_slice(&key), &value);
	out->len = 0;
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	if (!keys_get_keywords(value, &row))
		return ERR_CORRUPT;
	names = arena_dup(r->a, row.names);
	while (out->len < MAILBOX_KEYWORDS_MAX && slice_cut(&names, 0, &name))
		out->names[out->len++] = name;
	return OK;
}

static enum err keywords_txn(struct index_txn *txn, void *arg)
{
	struct one_read *r = arg;
	struct keys_mailbox_row row;
	enum err err = read_mailbox_row(txn, r->account, r->id, &row);

	return err ? err : read_keywords(txn, r, &r->out->keywords);
}

enum err mailbox_keywords(struct store *st, uint64_t account, uint32_t id, struct arena *a,
	struct mailbox_keywords *out)
{
	struct mailbox_opened opened = { 0 };
	struct one_read r = { .a = a, .account = account, .id = id, .out = &opened };
	enum err err = index_read(st->index, mailbox_home(st, account), keywords_txn, &r);

	if (!err)
		*out = opened.keywords;
	return err;
}

static enum err open_txn(struct index_txn *txn, void *arg)
{
	struct one_read *r = arg;
	struct mailbox *m = &r->out->mailbox;
	enum err err = read_mailbox(txn, r, m);

	if (!err)
		err = read_keywords(txn, r, &r->out->keywords);
	if (!err)
		err = read_position(txn, &r->out->as_of);
	if (err)
		return err;
	struct uids_query query = {
		.account = r->account, .mailbox = r->id, .from = 1, .uid_next = m->uid_next
	};
	return read_uid_set(txn, &query, r->uids);
}

/* long: what it fills stands in two places, since a session keeps the uids and not the rest */
enum err mailbox_open(struct store *st, uint64_t account, uint32_t id, struct arena *a,
	struct mailbox_opened *out, struct runs *uids)
{
	struct one_read r = { .a = a, .account = account, .id = id, .out = out, .uids = uids };

	*out = (struct mailbox_opened){ 0 };
	return index_read(st->index, mailbox_home(st, account), open_txn, &r);
}

/* --- The list: mailboxes and names that are only subscribed to, two ranges merged --- */

struct listing {
	const struct mailbox_query *query;
	struct arena *a;
	struct mailbox_page page;
	size_t limit;
	struct index_cursor names, subscribed;
	struct keys_buf prefix[2];
};

static enum err begin_range(struct listing *l, struct index_txn *txn, struct index_cursor *c,
	enum keys_kind kind)
{
	const struct mailbox_query *q = l->query;
	struct keys_buf from, *prefix = &l->prefix[c == &l->subscribed];

	keys_account(prefix, kind, q->account);
	from = *prefix;
	keys_add_name(prefix, q->under);
	keys_add_name(&from, slice_cmp(q->after, q->under) >= 0 ? q->after : q->under);
	if (q->after.len && slice_cmp(q->after, q->under) >= 0)
		keys_add_u8(&from, 0);
	return index_seek(txn, c, keys_slice(&from), keys_slice(prefix));
}

static slice name_at(const struct index_cursor *c)
{
	return slice_skip(c->key, 1 + sizeof(uint64_t));
}

static enum err add_name(struct listing *l, struct index_txn *txn, slice name, bool subscribed)
{
	struct mailbox *m = &l->page.rows[l->page.len++];

	*m = (struct mailbox){ .name = arena_dup(l->a, name), .subscribed = subscribed };
	return OK;
}

static enum err add_mailbox(struct listing *l, struct index_txn *txn, bool subscribed)
{
	struct keys_mailbox_row row;
	struct mailbox *m = &l->page.rows[l->page.len];
	uint32_t id;

	if (!keys_get_u32(l->names.value, &id))
		return ERR_CORRUPT;
	enum err err = read_mailbox_row(txn, l->query->account, id, &row);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	mailbox_of_row(m, id, &row);
	m->name = arena_dup(l->a, m->name);
	m->subscribed = subscribed;
	l->page.len++;
	return OK;
}

static enum err merge(struct listing *l, struct index_txn *txn, enum err left, enum err right)
{
	enum err err = OK;

	while (!err && (!left || !right)) {
		int order = left ? 1 :
			right    ? -1 :
				   slice_cmp(name_at(&l->names), name_at(&l->subscribed));

		if (l->page.len == l->limit) {
			l->page.more = true;
			break;
		}
		if (order > 0)
			err = add_name(l, txn, name_at(&l->subscribed), true);
		else
			err = add_mailbox(l, txn, order == 0);
		if (order <= 0)
			left = index_next(&l->names);
		if (order >= 0)
			right = index_next(&l->subscribed);
	}
	if (!err && left && left != ERR_NOT_FOUND)
		err = left;
	return !err && right && right != ERR_NOT_FOUND ? right : err;
}

static enum err list_txn(struct index_txn *txn, void *arg)
{
	struct listing *l = arg;
	enum err left = begin_range(l, txn, &l->names, KEYS_MAILBOX_NAME);
	enum err right = begin_range(l, txn, &l->subscribed, KEYS_SUBSCRIBED);
	enum err err = merge(l, txn, left, right);

	index_cursor_done(&l->names);
	index_cursor_done(&l->subscribed);
	return err;
}

enum err mailbox_list(struct store *st, const struct mailbox_query *query, struct arena *a,
	struct mailbox_page *out)
{
	struct listing l = { .query = query,
		.a = a,
		.limit = query->limit ? MIN(query->limit, (size_t)LIST_MAX) : LIST_DEFAULT };

	if (query->after.len > MAILBOX_NAME_MAX || query->under.len > MAILBOX_NAME_MAX)
		return ERR_INVALID;
	l.page.rows = arena_array(a, struct mailbox, l.limit);
	enum err err = see_names(st, query->account);
	if (!err)
		err = index_read(st->index, mailbox_home(st, query->account), list_txn, &l);
	if (!err)
		*out = l.page;
	return err;
}
