/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing and listing the directory. A change is one journal record; what comes of its condition
 * is decided when the index applies it, in journal order, and waited for. */
#include "store/account_int.h"

#include "core/entropy.h"
#include "store/mailbox.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHANGE_BYTES = KEY_PEM_MAX + 1024, LIST_MAX = 4096, TABLE_MAX = 32, SETTING_KEY_MAX = 255 };

static bool is_name(slice s, size_t max)
{
	return s.len && s.len <= max && !memchr(s.ptr, 0, s.len);
}

/* --- Changes --- */

static enum err change(struct store *st, const struct keys_row *row, size_t value_max)
{
	char buf[CHANGE_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));

	if (row->value.len > value_max)
		return ERR_TOO_LARGE;
	keys_put_row(&o, row);
	if (!out_ok(&o))
		return ERR_TOO_LARGE;
	slice part = out_written(&o);
	struct journal_op op = { .type = JOURNAL_ROW,
		.flags = JOURNAL_INDEXED | JOURNAL_RESERVED,
		.shards = 1u << DIRECTORY_SHARD,
		.parts = &part,
		.part_count = 1 };
	enum err err = journal_append(st->journal, &op);
	return err ? err : index_result(st->index, op.pos, DIRECTORY_SHARD);
}

static enum err put(struct store *st, const struct keys_buf *key, const struct out *value, int mode)
{
	struct keys_row row = { .key = keys_slice(key),
		.value = out_written(value),
		.act = KEYS_ACT_PUT,
		.mode = (uint8_t)mode };

	return out_ok(value) ? change(st, &row, INDEX_VALUE_MAX) : ERR_TOO_LARGE;
}

static enum err delete_row(struct store *st, const struct keys_buf *key)
{
	struct keys_row row = { .key = keys_slice(key), .act = KEYS_ACT_DELETE };

	row.value = (slice){ "", 0 };
	return change(st, &row, 0);
}

enum err domain_put(struct store *st, const struct domain *d, enum row_mode mode)
{
	char buf[INDEX_VALUE_MAX];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;

	if (!is_name(d->name, SCHEDULE_DOMAIN_MAX))
		return ERR_INVALID;
	keys_name(&key, KEYS_DOMAIN, d->name);
	row_put_domain(&o, d);
	return put(st, &key, &o, mode);
}

static bool account_key(struct keys_buf *key, slice local, slice domain)
{
	if (!is_name(local, ACCOUNT_LOCAL_MAX) || !is_name(domain, SCHEDULE_DOMAIN_MAX))
		return false;
	keys_two(key,
		&(struct keys_pair){ .kind = KEYS_ACCOUNT, .first = domain, .second = local });
	return true;
}

/* --- Mailboxes of accounts that go --- */

/* A note outlives a crash between the end of an account and that of its mailboxes: its key is the
 * id, its value the name. */
static const slice gone_table = SLICE_INIT("account.gone");

struct note {
	char key[2 * sizeof(uint64_t) + 1];
	char value[ACCOUNT_LOCAL_MAX + SCHEDULE_DOMAIN_MAX + 1];
	struct setting row;
};

static void make_note(struct note *note, uint64_t id, slice local, slice domain)
{
	struct out o = out_fixed(note->value, sizeof(note->value));

	snprintf(note->key, sizeof(note->key), "%016llx", (unsigned long long)id);
	out_slice(&o, local);
	out_char(&o, '\0');
	out_slice(&o, domain);
	note->row = (struct setting){
		.table = gone_table, .key = slice_str(note->key), .value = out_written(&o)
	};
}

static enum err drop_mailboxes(struct store *st, uint64_t id, slice key)
{
	enum err err = mailbox_account_drop(st, id);

	if (!err || err == ERR_NOT_FOUND)
		err = setting_remove(st, gone_table, key);
	return err == ERR_NOT_FOUND ? OK : err;
}

/* The account's id as it stands in its row, not in a cache. */
struct id_read {
	struct keys_buf key;
	slice local, domain;
	uint64_t id;
};

static enum err run_id(struct index_txn *txn, void *arg)
{
	struct id_read *r = arg;
	struct account acc = { .local = r->local, .domain = r->domain };
	slice value;
	enum err err = index_get(txn, keys_slice(&r->key), &value);

	if (err)
		return err;
	if (!row_get_account(value, &acc))
		return ERR_CORRUPT;
	r->id = acc.id;
	return OK;
}

static enum err read_id(struct store *st, slice local, slice domain, uint64_t *out)
{
	struct id_read r = { .local = local, .domain = domain };
	enum err err = account_key(&r.key, local, domain) ? OK : ERR_NOT_FOUND;

	if (!err)
		err = index_read(st->index, DIRECTORY_SHARD, run_id, &r);
	if (!err)
		*out = r.id;
	return err;
}

enum err account_remove(struct store *st, slice local, slice domain)
{
	struct keys_buf key;
	struct note note;
	uint64_t id = 0;
	enum err err = read_id(st, local, domain, &id);

	if (err)
		return err;
	make_note(&note, id, local, domain);
	err = setting_put(st, &note.row, ROW_PUT);
	if (!err)
		err = account_key(&key, local, domain) ? delete_row(st, &key) : ERR_NOT_FOUND;
	return err ? err : drop_mailboxes(st, id, note.row.key);
}

/* The row may still be there: then it was the removal that did not happen. */
static enum err finish_removal(struct store *st, const struct setting *note, struct arena *a)
{
	uint64_t id = strtoull(arena_str(a, note->key), NULL, 16), now = 0;
	slice domain = note->value, local;
	enum err err =
		slice_cut(&domain, '\0', &local) ? read_id(st, local, domain, &now) : ERR_NOT_FOUND;

	if (err && err != ERR_NOT_FOUND)
		return err;
	if (!err && now == id)
		return setting_remove(st, gone_table, note->key);
	return drop_mailboxes(st, id, note->key);
}

enum err account_finish_removals(struct store *st)
{
	struct setting_query query = { .table = gone_table, .limit = 64 };
	struct setting_page page = { .more = true };
	struct arena a = { 0 };
	enum err err = OK;

	while (!err && page.more) {
		arena_reset(&a);
		err = setting_list(st, &query, &a, &page);
		for (size_t i = 0; !err && i < page.len; i++)
			err = finish_removal(st, &page.rows[i], &a);
	}
	arena_done(&a);
	return err;
}

static enum err remove_accounts(struct store *st, slice domain)
{
	struct account_query query = { .domain = domain, .limit = 64 };
	struct account_page page = { .more = true };
	struct arena a = { 0 };
	enum err err = OK;

	while (!err && page.more) {
		arena_reset(&a);
		err = account_list(st, &query, &a, &page);
		for (size_t i = 0; !err && i < page.len; i++) {
			err = account_remove(st, page.rows[i].local, domain);
			if (err == ERR_NOT_FOUND)
				err = OK;
		}
	}
	arena_done(&a);
	return err;
}

enum err domain_remove(struct store *st, slice name, bool with_accounts)
{
	struct keys_buf key;
	enum err err = OK;

	if (!is_name(name, SCHEDULE_DOMAIN_MAX))
		return ERR_NOT_FOUND;
	if (with_accounts)
		err = remove_accounts(st, name);
	if (err)
		return err;
	keys_name(&key, KEYS_DOMAIN, name);
	struct keys_row row = { .key = keys_slice(&key),
		.value = { "", 0 },
		.act = KEYS_ACT_DELETE_DOMAIN,
		.mode = with_accounts };
	return change(st, &row, 0);
}

/* --- Accounts --- */

static enum err put_row(struct store *st, const struct account *acc, enum row_mode mode)
{
	char buf[INDEX_VALUE_MAX];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;

	if (!account_key(&key, acc->local, acc->domain))
		return ERR_INVALID;
	row_put_account(&o, acc);
	return put(st, &key, &o, mode);
}

/* With its own id, which whoever changes it need not know; or made, with a new one. A row that comes
 * or goes in between is looked at again. */
static enum err put_with_id(struct store *st, struct account *acc, enum row_mode mode,
	bool *out_made)
{
	enum err err = ERR_NOT_FOUND;

	if (mode != ROW_CREATE)
		err = read_id(st, acc->local, acc->domain, &acc->id);
	if (!err)
		return put_row(st, acc, ROW_REPLACE);
	if (err != ERR_NOT_FOUND || mode == ROW_REPLACE)
		return err;
	while (!acc->id)
		acc->id = entropy_u64();
	err = put_row(st, acc, ROW_CREATE);
	*out_made = !err;
	return err;
}

enum err account_put(struct store *st, const struct account *acc, enum row_mode mode)
{
	struct account row = *acc;
	struct keys_buf key;
	bool made = false;
	enum err err;

	if (!account_key(&key, acc->local, acc->domain))
		return ERR_INVALID;
	if (acc->hash.len > ACCOUNT_HASH_MAX || acc->from_domains.len > ACCOUNT_FROM_MAX ||
		acc->forward.len > ACCOUNT_FORWARD_MAX)
		return ERR_TOO_LARGE;
	do {
		row.id = acc->id;
		err = put_with_id(st, &row, mode, &made);
	} while (mode == ROW_PUT && (err == ERR_EXISTS || err == ERR_NOT_FOUND));
	return err || !made ? err : mailbox_account_init(st, row.id, row.domain);
}

/* --- Aliases --- */

static bool alias_key(struct keys_buf *key, slice local, slice domain)
{
	if ((local.len && !is_name(local, ACCOUNT_LOCAL_MAX)) ||
		!is_name(domain, SCHEDULE_DOMAIN_MAX))
		return false;
	keys_two(key, &(struct keys_pair){ .kind = KEYS_ALIAS, .first = domain, .second = local });
	return true;
}

enum err alias_put(struct store *st, const struct alias *alias, enum row_mode mode)
{
	char buf[INDEX_VALUE_MAX];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;

	if (!alias_key(&key, alias->local, alias->domain) || !alias->targets.len)
		return ERR_INVALID;
	if (alias->targets.len > ALIAS_TARGETS_MAX)
		return ERR_TOO_LARGE;
	row_put_alias(&o, alias);
	return put(st, &key, &o, mode);
}

enum err alias_remove(struct store *st, slice local, slice domain)
{
	struct keys_buf key;

	return alias_key(&key, local, domain) ? delete_row(st, &key) : ERR_NOT_FOUND;
}

static bool key_key(struct keys_buf *key, slice domain, slice selector)
{
	if (!is_name(domain, SCHEDULE_DOMAIN_MAX) || !is_name(selector, 63))
		return false;
	keys_two(key, &(struct keys_pair){ .kind = KEYS_KEY, .first = domain, .second = selector });
	return true;
}

enum err domain_key_put(struct store *st, const struct domain_key *dk, enum row_mode mode)
{
	char buf[KEY_PEM_MAX + 64];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;

	if (!key_key(&key, dk->domain, dk->selector))
		return ERR_INVALID;
	if (dk->pem.len > KEY_PEM_MAX)
		return ERR_TOO_LARGE;
	row_put_key(&o, dk);
	struct keys_row row = { .key = keys_slice(&key),
		.value = out_written(&o),
		.act = KEYS_ACT_PUT,
		.mode = (uint8_t)mode };
	return change(st, &row, sizeof(buf));
}

enum err domain_key_remove(struct store *st, slice domain, slice selector)
{
	struct keys_buf key;

	return key_key(&key, domain, selector) ? delete_row(st, &key) : ERR_NOT_FOUND;
}

static bool setting_key(struct keys_buf *key, slice table, slice name)
{
	if (!is_name(table, TABLE_MAX) || !is_name(name, SETTING_KEY_MAX))
		return false;
	keys_two(key, &(struct keys_pair){ .kind = KEYS_SETTING, .first = table, .second = name });
	return true;
}

enum err setting_put(struct store *st, const struct setting *set, enum row_mode mode)
{
	struct keys_buf key;

	if (!setting_key(&key, set->table, set->key))
		return ERR_INVALID;
	struct keys_row row = { .key = keys_slice(&key),
		.value = set->value,
		.act = KEYS_ACT_PUT,
		.mode = (uint8_t)mode };
	return change(st, &row, KEYS_PIECE);
}

enum err setting_remove(struct store *st, slice table, slice name)
{
	struct keys_buf key;

	return setting_key(&key, table, name) ? delete_row(st, &key) : ERR_NOT_FOUND;
}

/* --- Listings: one short read transaction a page, on a helper thread --- */

struct listing {
	struct arena *a;
	struct keys_buf prefix, from;
	size_t limit, len;
	bool more;
	void *rows;
	/* Makes row `len`; false: damaged. */
	bool (*add)(struct listing *l, slice key, slice value);
};

static enum err run_listing(struct index_txn *txn, void *arg)
{
	struct listing *l = arg;
	struct index_cursor c = { 0 };
	enum err err = index_seek(txn, &c, keys_slice(&l->from), keys_slice(&l->prefix));
	bool damaged = false;

	while (!err && !damaged) {
		if (l->len == l->limit) {
			l->more = true;
			break;
		}
		damaged = !l->add(l, arena_dup(l->a, c.key), arena_dup(l->a, c.value));
		l->len++;
		if (!damaged)
			err = index_next(&c);
	}
	index_cursor_done(&c);
	if (damaged)
		return ERR_CORRUPT;
	return err == ERR_NOT_FOUND ? OK : err;
}

/* Behind `after`, or from the begin of the prefix. */
static enum err list(struct store *st, struct listing *l, size_t limit, slice after)
{
	struct out o = out_fixed(l->from.bytes, KEYS_MAX);

	l->limit = limit ? MIN(limit, (size_t)LIST_MAX) : 64;
	out_slice(&o, keys_slice(&l->prefix));
	if (after.len) {
		out_slice(&o, after);
		out_u8(&o, 0);
	}
	if (!out_ok(&o))
		return ERR_INVALID;
	l->from.len = o.len;
	return index_read(st->index, DIRECTORY_SHARD, run_listing, l);
}

static bool add_domain(struct listing *l, slice key, slice value)
{
	struct domain *d = (struct domain *)l->rows + l->len;

	d->name = slice_skip(key, 1);
	return row_get_domain(value, d);
}

enum err domain_list(struct store *st, slice after, size_t limit, struct arena *a,
	struct domain_page *out)
{
	struct listing l = { .a = a, .add = add_domain };

	l.rows = arena_array(a, struct domain, MIN(MAX(limit, (size_t)64), (size_t)LIST_MAX));
	keys_name(&l.prefix, KEYS_DOMAIN, SLICE(""));
	enum err err = list(st, &l, limit, after);
	if (!err)
		*out = (struct domain_page){ .rows = l.rows, .len = l.len, .more = l.more };
	return err;
}

static bool add_account(struct listing *l, slice key, slice value)
{
	struct account *acc = (struct account *)l->rows + l->len;

	return keys_split(key, &acc->domain, &acc->local) && row_get_account(value, acc);
}

enum err account_list(struct store *st, const struct account_query *query, struct arena *a,
	struct account_page *out)
{
	struct listing l = { .a = a, .add = add_account };

	if (!is_name(query->domain, SCHEDULE_DOMAIN_MAX))
		return ERR_INVALID;
	l.rows = arena_array(a, struct account,
		MIN(MAX(query->limit, (size_t)64), (size_t)LIST_MAX));
	keys_two(&l.prefix, &(struct keys_pair){ .kind = KEYS_ACCOUNT, .first = query->domain });
	enum err err = list(st, &l, query->limit, query->after);
	if (!err)
		*out = (struct account_page){ .rows = l.rows, .len = l.len, .more = l.more };
	return err;
}

static bool add_alias(struct listing *l, slice key, slice value)
{
	struct alias *alias = (struct alias *)l->rows + l->len;

	return keys_split(key, &alias->domain, &alias->local) && row_get_alias(value, alias);
}

enum err alias_list(struct store *st, const struct account_query *query, struct arena *a,
	struct alias_page *out)
{
	/* The first row may have an empty name, behind which no page can go on: at least two. */
	size_t limit = query->limit ? MAX(query->limit, (size_t)2) : 64;
	struct listing l = { .a = a, .add = add_alias };

	if (!is_name(query->domain, SCHEDULE_DOMAIN_MAX))
		return ERR_INVALID;
	l.rows = arena_array(a, struct alias, MIN(MAX(limit, (size_t)64), (size_t)LIST_MAX));
	keys_two(&l.prefix, &(struct keys_pair){ .kind = KEYS_ALIAS, .first = query->domain });
	enum err err = list(st, &l, limit, query->after);
	if (!err)
		*out = (struct alias_page){ .rows = l.rows, .len = l.len, .more = l.more };
	return err;
}

struct key_listing {
	slice domain;
	struct arena *a;
	struct domain_key *rows;
	size_t len;
};

static enum err run_keys(struct index_txn *txn, void *arg)
{
	struct key_listing *l = arg;

	return read_keys(txn, l->domain, l->a, &l->rows, &l->len);
}

enum err domain_key_list(struct store *st, slice domain, struct arena *a, struct domain_key **out,
	size_t *out_len)
{
	struct key_listing l = { .domain = domain, .a = a };

	if (!is_name(domain, SCHEDULE_DOMAIN_MAX))
		return ERR_INVALID;
	enum err err = index_read(st->index, DIRECTORY_SHARD, run_keys, &l);
	if (!err) {
		*out = l.rows;
		*out_len = l.len;
	}
	return err;
}

struct setting_read {
	struct arena *a;
	struct keys_buf key;
	slice value;
};

static enum err run_setting(struct index_txn *txn, void *arg)
{
	struct setting_read *r = arg;
	enum err err = index_get(txn, keys_slice(&r->key), &r->value);

	if (!err)
		r->value = arena_dup(r->a, r->value);
	return err;
}

enum err setting_get(struct store *st, const struct setting *name, struct arena *a, slice *out)
{
	struct setting_read r = { .a = a };

	if (!setting_key(&r.key, name->table, name->key))
		return ERR_NOT_FOUND;
	enum err err = index_read(st->index, DIRECTORY_SHARD, run_setting, &r);
	if (!err)
		*out = r.value;
	return err;
}

static bool add_setting(struct listing *l, slice key, slice value)
{
	struct setting *set = (struct setting *)l->rows + l->len;

	set->value = value;
	return keys_split(key, &set->table, &set->key);
}

enum err setting_list(struct store *st, const struct setting_query *query, struct arena *a,
	struct setting_page *out)
{
	struct listing l = { .a = a, .add = add_setting };

	if (!is_name(query->table, TABLE_MAX))
		return ERR_INVALID;
	l.rows = arena_array(a, struct setting,
		MIN(MAX(query->limit, (size_t)64), (size_t)LIST_MAX));
	keys_two(&l.prefix, &(struct keys_pair){ .kind = KEYS_SETTING, .first = query->table });
	enum err err = list(st, &l, query->limit, query->after);
	if (!err)
		*out = (struct setting_page){ .rows = l.rows, .len = l.len, .more = l.more };
	return err;
}
