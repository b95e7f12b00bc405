/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue's rows: making the records that change them, and reading them in pages.
 *
 * A page is one short read transaction on a helper thread. It looks at a bounded number of rows,
 * so a filter that matches nothing still ends soon, with an empty page and a place to go on. */
#include "store/schedule.h"

#include "store/keys.h"
#include "store/store_int.h"

#include <stdlib.h>

enum { PAGE_MAX = 4096, LOOK_MAX = 16384, RECORD_MAX = 2048 };

/* --- Changes --- */

static bool is_sound(const struct schedule_entry *e)
{
	return e->domain.len && e->domain.len <= SCHEDULE_DOMAIN_MAX &&
		!memchr(e->domain.ptr, 0, e->domain.len) && e->tail.len <= SCHEDULE_TAIL_MAX &&
		e->lane <= SCHEDULE_LANE_MAX && e->state <= SCHEDULE_HELD &&
		e->ref.low <= e->ref.id;
}

/* Encoded bytes into the op's own memory. */
static enum err keep(struct schedule_op *op, struct out *o)
{
	if (!out_ok(o))
		return ERR_TOO_LARGE;
	char *to = op->small;
	op->heap = NULL;
	if (o->len > sizeof(op->small)) {
		to = op->heap = malloc(o->len);
		if (!to)
			return ERR_NOMEM;
	}
	memcpy(to, o->buf, o->len);
	op->part = slice_of(to, o->len);
	return OK;
}

static void submit(struct store *st, struct schedule_op *op, uint8_t type, slice domain)
{
	op->op.type = type;
	op->op.flags |= JOURNAL_RESERVED;
	if (domain.len) {
		op->op.flags |= JOURNAL_INDEXED;
		op->op.shards = (uint16_t)(1u << index_shard_of(st->index, domain));
	}
	op->op.parts = &op->part;
	op->op.part_count = 1;
	journal_submit(st->journal, &op->op);
}

enum err schedule_park_submit(struct store *st, struct schedule_op *op,
	const struct schedule_entry *entry)
{
	char buf[RECORD_MAX];
	struct out o = out_fixed(buf, sizeof(buf));

	if (!is_sound(entry))
		return ERR_TOO_LARGE;
	keys_put_park(&o, entry);
	enum err err = keep(op, &o);
	if (!err)
		submit(st, op, JOURNAL_PARK, entry->domain);
	return err;
}

enum err schedule_done_submit(struct store *st, struct schedule_op *op,
	const struct schedule_done *end)
{
	char buf[RECORD_MAX];
	struct out o = out_fixed(buf, sizeof(buf));
	struct schedule_done shown = *end;

	if (end->domain.len > SCHEDULE_DOMAIN_MAX)
		return ERR_TOO_LARGE;
	if (!shown.indexed)
		shown.domain = (slice){ "", 0 };
	keys_put_done(&o, &shown);
	enum err err = keep(op, &o);
	if (!err)
		submit(st, op, JOURNAL_DONE, shown.domain);
	return err;
}

void schedule_op_free(struct schedule_op *op)
{
	free(op->heap);
	op->heap = NULL;
}

/* The fiber forms: the same op, waited for. */
struct waiting {
	struct schedule_op sop;
	struct fiber_wait wait;
	enum err err;
};

static void wake(struct journal_op *op, enum err err)
{
	struct waiting *w = container_of(op, struct waiting, sop.op);

	w->err = err;
	if (worker_self())
		fiber_wake(&w->wait, err);
}

static enum err wait_for(struct waiting *w)
{
	enum err err = worker_self() ? fiber_wait_through(&w->wait) : w->err;

	schedule_op_free(&w->sop);
	return err;
}

enum err schedule_park(struct store *st, const struct schedule_entry *entry)
{
	struct waiting w = { .sop.op.done = wake };
	enum err err = schedule_park_submit(st, &w.sop, entry);

	return err ? err : wait_for(&w);
}

enum err schedule_finish(struct store *st, const struct schedule_done *end)
{
	struct waiting w = { .sop.op.done = wake };
	enum err err = schedule_done_submit(st, &w.sop, end);

	return err ? err : wait_for(&w);
}

enum err schedule_set_hold(struct store *st, const struct schedule_change *change)
{
	char buf[RECORD_MAX];
	struct out o = out_fixed(buf, sizeof(buf));
	struct waiting w = { .sop.op.done = wake };

	if (!change->domain.len || change->domain.len > SCHEDULE_DOMAIN_MAX)
		return ERR_INVALID;
	keys_put_change(&o, change);
	enum err err = keep(&w.sop, &o);
	if (err)
		return err;
	submit(st, &w.sop, JOURNAL_STATE, change->domain);
	err = wait_for(&w);
	if (err)
		return err;
	return index_result(st->index, w.sop.op.pos, index_shard_of(st->index, change->domain));
}

/* --- Pages --- */

static slice dup(struct arena *a, slice s)
{
	return s.len ? arena_dup(a, s) : (slice){ "", 0 };
}

static void dup_entry(struct arena *a, struct schedule_entry *e)
{
	e->domain = dup(a, e->domain);
	e->reply = dup(a, e->reply);
	e->tail = dup(a, e->tail);
}

static void set_next(struct schedule_cursor *next, unsigned shard, slice key)
{
	next->shard = (uint16_t)shard;
	next->len = (uint16_t)MIN(key.len, sizeof(next->key));
	memcpy(next->key, key.ptr, next->len);
	next->end = false;
}

/* Where to seek: behind what the cursor names, or at the begin of the prefix. */
static slice seek_from(struct keys_buf *buf, const struct schedule_cursor *from, slice prefix)
{
	if (!from->len)
		return prefix;
	memcpy(buf->bytes, from->key, from->len);
	buf->bytes[from->len] = 0; /* the least key that is greater */
	buf->len = from->len + 1u;
	return keys_slice(buf);
}

static enum err get_entry(struct index_txn *txn, struct schedule_entry *e)
{
	struct keys_buf key;
	slice value;

	keys_entry(&key, e->ref.id, e->n);
	enum err err = index_get(txn, keys_slice(&key), &value);
	if (err)
		return err;
	return keys_get_entry(value, e) ? OK : ERR_CORRUPT;
}

struct due_read {
	const struct schedule_due *query;
	struct arena *a;
	struct schedule_page *page;
	size_t limit;
	unsigned shard;
};

/* To the first row of the next tenant, since all that is left of this one is due later. */
static enum err next_tenant(struct index_txn *txn, struct index_cursor *c,
	const struct keys_due *row)
{
	struct keys_due next = { .domain = row->domain, .lane = row->lane, .due = INT64_MIN };
	struct keys_buf key;

	if (row->tenant == UINT32_MAX)
		return ERR_NOT_FOUND;
	next.tenant = row->tenant + 1;
	keys_schedule(&key, &next);
	return index_seek(txn, c, keys_slice(&key), c->prefix);
}

static enum err add_due(struct index_txn *txn, struct due_read *r, const struct keys_due *row)
{
	struct schedule_entry *e = &r->page->entries[r->page->len];

	*e = (struct schedule_entry){ .ref.id = row->id, .n = row->n };
	enum err err = get_entry(txn, e);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	dup_entry(r->a, e);
	r->page->len++;
	return OK;
}

static enum err read_due(struct index_txn *txn, void *arg)
{
	struct due_read *r = arg;
	struct index_cursor c = { 0 };
	struct keys_buf prefix, from;
	enum err failed = OK;

	keys_schedule_lane(&prefix, r->query->domain, r->query->lane);
	enum err err = index_seek(txn, &c, seek_from(&from, &r->query->from, keys_slice(&prefix)),
		keys_slice(&prefix));
	while (!err) {
		struct keys_due row;

		if (!keys_parse_schedule(c.key, &row)) {
			failed = ERR_CORRUPT;
			break;
		}
		if (row.due > r->query->until) {
			err = next_tenant(txn, &c, &row);
			continue;
		}
		failed = add_due(txn, r, &row);
		if (failed)
			break;
		if (r->page->len == r->limit) {
			set_next(&r->page->next, r->shard, c.key);
			break;
		}
		err = index_next(&c);
	}
	index_cursor_done(&c);
	return failed ? failed : err == ERR_NOT_FOUND ? OK : err;
}

static size_t page_limit(size_t limit)
{
	return limit ? MIN(limit, (size_t)PAGE_MAX) : 64;
}

enum err schedule_read_due(struct store *st, const struct schedule_due *query, struct arena *a,
	struct schedule_page *out)
{
	struct schedule_page page = { .next.end = true };
	struct due_read r = { .query = query, .a = a, .page = &page };

	if (query->domain.len > SCHEDULE_DOMAIN_MAX)
		return ERR_INVALID;
	r.limit = page_limit(query->limit);
	r.shard = index_shard_of(st->index, query->domain);
	page.entries = arena_array(a, struct schedule_entry, r.limit);
	enum err err = index_read(st->index, r.shard, read_due, &r);
	if (!err)
		*out = page;
	return err;
}

/* --- Domains --- */

/* The least due time over lanes and tenants: one seek for each pair there is. */
static enum err earliest_due(struct index_txn *txn, struct schedule_domain *d)
{
	struct index_cursor c = { 0 };
	struct keys_buf prefix;
	struct keys_due row = { 0 };

	d->earliest = INT64_MAX;
	keys_schedule_domain(&prefix, d->domain);
	enum err err = index_seek(txn, &c, keys_slice(&prefix), keys_slice(&prefix));
	while (!err) {
		if (!keys_parse_schedule(c.key, &row)) {
			err = ERR_CORRUPT;
			break;
		}
		d->earliest = MIN(d->earliest, row.due);
		struct keys_due next = { .domain = d->domain, .lane = row.lane, .due = INT64_MIN };
		struct keys_buf key;
		if (row.tenant == UINT32_MAX && row.lane == UINT8_MAX)
			break;
		next.lane = (uint8_t)(row.lane + (row.tenant == UINT32_MAX));
		next.tenant = row.tenant + 1;
		keys_schedule(&key, &next);
		err = index_seek(txn, &c, keys_slice(&key), c.prefix);
	}
	index_cursor_done(&c);
	return err == ERR_NOT_FOUND ? OK : err;
}

static enum err fill_domain(struct index_txn *txn, slice value, struct schedule_domain *d)
{
	struct keys_counts counts;

	if (!keys_get_counts(value, &counts))
		return ERR_CORRUPT;
	d->waiting = counts.waiting;
	d->held = counts.held;
	d->bytes = counts.bytes;
	return earliest_due(txn, d);
}

struct domains_read {
	const struct schedule_cursor *from;
	struct arena *a;
	struct schedule_domains *page;
	size_t limit;
	unsigned shard;
};

static enum err read_domains(struct index_txn *txn, void *arg)
{
	struct domains_read *r = arg;
	struct index_cursor c = { 0 };
	struct keys_buf prefix, from;
	enum err failed = OK;

	keys_name(&prefix, KEYS_COUNT, SLICE(""));
	enum err err = index_seek(txn, &c, seek_from(&from, r->from, keys_slice(&prefix)),
		keys_slice(&prefix));
	while (!err && !failed) {
		struct schedule_domain *d = &r->page->domains[r->page->len];

		d->domain = arena_dup(r->a, slice_skip(c.key, 1));
		failed = fill_domain(txn, c.value, d);
		if (failed)
			break;
		if (++r->page->len == r->limit) {
			set_next(&r->page->next, r->shard, c.key);
			break;
		}
		err = index_next(&c);
	}
	index_cursor_done(&c);
	return failed ? failed : err == ERR_NOT_FOUND ? OK : err;
}

enum err schedule_read_domains(struct store *st, const struct schedule_cursor *from, size_t limit,
	struct arena *a, struct schedule_domains *out)
{
	struct schedule_domains page = { .next.end = true };
	struct schedule_cursor start = *from;
	struct domains_read r = { .from = &start, .a = a, .page = &page };
	enum err err = OK;

	r.limit = page_limit(limit);
	page.domains = arena_array(a, struct schedule_domain, r.limit);
	while (!err && page.next.end && start.shard < index_shard_count(st->index)) {
		r.shard = start.shard;
		err = index_read(st->index, r.shard, read_domains, &r);
		start = (struct schedule_cursor){ .shard = (uint16_t)(start.shard + 1) };
	}
	if (!err)
		*out = page;
	return err;
}

/* --- For people --- */

static bool passes(const struct schedule_filter *f, const struct schedule_entry *e)
{
	if (f->id && e->ref.id != f->id)
		return false;
	if (f->domain.len && !slice_eq(f->domain, e->domain))
		return false;
	if (f->states && !(f->states & 1u << e->state))
		return false;
	if (f->seen_before && e->first_seen >= f->seen_before)
		return false;
	if (f->seen_after && e->first_seen <= f->seen_after)
		return false;
	return !f->match || f->match(f->arg, e);
}

struct list_read {
	const struct schedule_filter *filter;
	const struct schedule_cursor *from;
	struct arena *a;
	struct schedule_page *page;
	size_t limit, looked;
	unsigned shard;
};

static enum err look(struct list_read *r, struct index_cursor *c)
{
	struct schedule_entry e = { 0 };

	if (!keys_parse_entry(c->key, &e.ref.id, &e.n) || !keys_get_entry(c->value, &e))
		return ERR_CORRUPT;
	if (passes(r->filter, &e)) {
		dup_entry(r->a, &e);
		r->page->entries[r->page->len++] = e;
	}
	return OK;
}

static enum err read_list(struct index_txn *txn, void *arg)
{
	struct list_read *r = arg;
	struct index_cursor c = { 0 };
	struct keys_buf prefix, from;
	enum err failed = OK;

	keys_name(&prefix, KEYS_ENTRY, SLICE(""));
	if (r->filter->id) {
		keys_entry(&prefix, r->filter->id, 0);
		prefix.len -= sizeof(uint32_t);
	}
	enum err err = index_seek(txn, &c, seek_from(&from, r->from, keys_slice(&prefix)),
		keys_slice(&prefix));
	while (!err) {
		failed = look(r, &c);
		if (failed)
			break;
		if (r->page->len == r->limit || ++r->looked == LOOK_MAX) {
			set_next(&r->page->next, r->shard, c.key);
			break;
		}
		err = index_next(&c);
	}
	index_cursor_done(&c);
	return failed ? failed : err == ERR_NOT_FOUND ? OK : err;
}

enum err schedule_read(struct store *st, const struct schedule_filter *filter, struct arena *a,
	struct schedule_page *out)
{
	struct schedule_page page = { .next.end = true };
	struct schedule_cursor start = filter->from;
	struct list_read r = { .filter = filter, .from = &start, .a = a, .page = &page };
	enum err err = OK;

	r.limit = page_limit(filter->limit);
	page.entries = arena_array(a, struct schedule_entry, r.limit);
	while (!err && page.next.end && start.shard < index_shard_count(st->index)) {
		r.shard = start.shard;
		if (!filter->domain.len || index_shard_of(st->index, filter->domain) == r.shard)
			err = index_read(st->index, r.shard, read_list, &r);
		start = (struct schedule_cursor){ .shard = (uint16_t)(start.shard + 1) };
	}
	if (!err)
		*out = page;
	return err;
}

struct one_read {
	struct arena *a;
	struct schedule_entry entry;
};

static enum err read_one(struct index_txn *txn, void *arg)
{
	struct one_read *r = arg;
	enum err err = get_entry(txn, &r->entry);

	if (!err)
		dup_entry(r->a, &r->entry);
	return err;
}

enum err schedule_get(struct store *st, const struct schedule_name *name, struct arena *a,
	struct schedule_entry *out)
{
	struct one_read r = { .a = a, .entry = { .ref.id = name->id, .n = name->n } };
	unsigned first = 0, end = index_shard_count(st->index);
	enum err err = ERR_NOT_FOUND;

	if (name->domain.len) {
		first = index_shard_of(st->index, name->domain);
		end = first + 1;
	}
	for (unsigned i = first; err == ERR_NOT_FOUND && i < end; i++)
		err = index_read(st->index, i, read_one, &r);
	if (!err)
		*out = r.entry;
	return err;
}

static enum err read_totals(struct index_txn *txn, void *arg)
{
	struct schedule_totals *sum = arg;
	struct keys_counts counts;
	struct keys_buf key;
	slice value;

	keys_name(&key, KEYS_TOTAL, SLICE(""));
	enum err err = index_get(txn, keys_slice(&key), &value);
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	if (!keys_get_counts(value, &counts))
		return ERR_CORRUPT;
	sum->domains += counts.domains;
	sum->waiting += counts.waiting;
	sum->held += counts.held;
	sum->bytes += counts.bytes;
	return OK;
}

enum err schedule_totals(struct store *st, struct schedule_totals *out)
{
	struct schedule_totals sum = { 0 };
	enum err err = OK;

	for (unsigned i = 0; !err && i < index_shard_count(st->index); i++)
		err = index_read(st->index, i, read_totals, &sum);
	if (!err)
		*out = sum;
	return err;
}
