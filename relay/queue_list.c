/* SPDX-License-Identifier: GPL-2.0-or-later */
/* queue_list.c - the queue as an operator sees it, a page at a time: first what the workers have in
 * RAM, then the rows on disk. A row whose recipient is in hand is shown as active. */
#include "relay/queue_int.h"

#include "core/base/text.h"
#include "relay/outlet.h"
#include "relay/path.h"
#include "relay/result.h"
#include "relay/sched.h"
#include "relay/site.h"

static const char *const state_names[QUEUE_STATE_COUNT] = {
	[QUEUE_READY] = "ready",
	[QUEUE_ACTIVE] = "active",
	[QUEUE_PARKED] = "parked",
	[QUEUE_HELD] = "held",
};

const char *queue_state_name(enum queue_state state)
{
	return (unsigned)state < QUEUE_STATE_COUNT ? state_names[state] : "?";
}

/* RAM ------------------------------------------------------------------------------------------ */

/* Of one worker's parcels, on that worker; strings are copied into `a`. */
struct look {
	const struct queue_filter *f;
	struct arena *a;
	struct queue_row *rows;
	size_t max, count;
	uint64_t skip, passed; /* parcels of earlier pages */
	struct relay_here *r;
	enum queue_state state; /* of what is being walked */
};

static void row_of_item(struct look *look, const struct parcel *p, const struct item *it)
{
	struct queue_row *row = &look->rows[look->count++];
	const struct envelope *e = &p->m->env;
	const struct envelope_rcpt *rcpt = parcel_rcpt(p, it);

	*row = (struct queue_row){
		.id = p->m->ref.id,
		.index = it->n,
		.state = look->state,
		.sender = arena_dup(look->a, e->sender),
		.recipient = arena_dup(look->a, rcpt->address),
		.path = p->target ? arena_dup(look->a, p->target->key) : SLICE(""),
		.waits_for = look->r->gen->still ? SLICE("a running server") :
			p->target                ? path_waits_for(look->r, p, look->a) :
						   SLICE("the domain's name servers"),
		.received_at = e->received_at,
		.due_at = worker_wall(look->r->w),
		.expires_at = result_expires(look->r, p),
		.size = e->size,
		.attempts = it->attempts,
		.lane = p->lane,
	};
	row->domain = envelope_domain(row->recipient);
}

static bool list_parcel(void *arg, struct parcel *p)
{
	struct look *look = arg;

	/* What came from disk is listed by its row. */
	if (look->passed++ < look->skip || p->from_disk)
		return true;
	if (look->count + p->count > look->max && look->count > 0) {
		look->passed--;
		return false;
	}
	for (uint32_t i = 0; i < p->count && look->count < look->max; i++)
		if (queue_item_fits(look->f, look->r, look->state, p, &p->items[i]))
			row_of_item(look, p, &p->items[i]);
	return true;
}

static void list_here(struct worker *w, void *arg)
{
	struct look *look = arg;

	look->r = relay_here(w);
	site_walk_resting(look->r, list_parcel, look);
	path_walk(look->r, list_parcel, look);
	if (look->count < look->max)
		site_walk(look->r, list_parcel, look);
	look->state = QUEUE_ACTIVE;
	if (look->count < look->max)
		outlet_walk(look->r, list_parcel, look);
}

/* Disk ----------------------------------------------------------------------------------------- */

static void row_of_entry(const struct schedule_entry *entry, bool in_hand, struct queue_row *row)
{
	struct sched_tail tail = { 0 };
	bool known = sched_tail_of(entry->tail, &tail);

	*row = (struct queue_row){
		.id = entry->ref.id,
		.index = entry->n,
		.state = in_hand ? QUEUE_ACTIVE : queue_state_of(entry),
		.sender = known ? tail.sender : SLICE(""),
		.recipient = known ? tail.recipient : SLICE(""),
		.domain = entry->domain,
		.last_reply = entry->reply,
		.received_at = entry->first_seen,
		.due_at = entry->due,
		.expires_at = entry->expires,
		.size = entry->ref.size,
		.attempts = entry->attempts,
		.lane = entry->lane,
	};
	if (row->state == QUEUE_HELD) {
		row->held_by = known && tail.held_by.len > 0 ? tail.held_by : SLICE("operator");
		row->waits_for = SLICE("a release");
	} else {
		row->waits_for = in_hand ? SLICE("its turn or its reply") : SLICE("its due time");
	}
}

/* Pages ---------------------------------------------------------------------------------------- */

/* First the workers' RAM one after the other, then the disk. */
struct place {
	uint16_t worker; /* == workers_count(): disk */
	uint64_t skip;
	struct schedule_cursor disk;
};

static bool place_get(const struct queue_cursor *cursor, struct place *out)
{
	slice in = slice_of(cursor->bytes, cursor->len);
	uint16_t len;

	*out = (struct place){ 0 };
	if (in.len == 0)
		return true;
	if (!take_u16(&in, &out->worker) || !take_u64(&in, &out->skip) ||
		!take_u16(&in, &out->disk.shard) || !take_u16(&in, &len) ||
		len > sizeof(out->disk.key) || in.len != len)
		return false;
	out->disk.len = len;
	memcpy(out->disk.key, in.ptr, len);
	return true;
}

static void place_put(const struct place *place, struct queue_cursor *cursor)
{
	struct out o = out_fixed(cursor->bytes, sizeof(cursor->bytes));

	out_u16(&o, place->worker);
	out_u64(&o, place->skip);
	out_u16(&o, place->disk.shard);
	out_u16(&o, place->disk.len);
	out_bytes(&o, place->disk.key, place->disk.len);
	must(out_ok(&o));
	cursor->len = (uint16_t)o.len;
}

static void list_ram(const struct queue_filter *f, struct place *place, struct queue_page *page)
{
	struct look look = {
		.f = f, .a = page->arena, .rows = page->rows, .max = page->max, .skip = place->skip
	};

	post_call(place->worker, list_here, &look);
	page->count = look.count;
	place->skip = look.passed;
	if (look.count < page->max) {
		place->worker++;
		place->skip = 0;
	}
}

static enum err list_disk(struct relay_here *r, const struct queue_filter *f, struct place *place,
	struct queue_page *page, bool *done)
{
	struct schedule_page entries = { 0 };
	enum err err = queue_read(r, f, &place->disk, page->arena, &entries);

	if (err)
		return err;
	struct queue_ask ask = { .entries = entries.entries,
		.len = entries.len,
		.in_hand = arena_array(page->arena, bool, entries.len + 1) };

	queue_ask(&ask);
	for (size_t i = 0; i < entries.len; i++) {
		struct queue_row *row = &page->rows[page->count];

		row_of_entry(&entries.entries[i], ask.in_hand[i], row);
		if (f->state < 0 || f->state == (int)row->state)
			page->count++;
	}
	*done = entries.next.end;
	return OK;
}

enum err queue_list(struct worker *w, const struct queue_filter *f, struct queue_cursor *cursor,
	struct queue_page *page)
{
	struct place place;
	bool done = false;
	enum err err = OK;

	page->max = MAX(page->max, (size_t)QUEUE_PAGE);
	page->rows = arena_array(page->arena, struct queue_row, page->max);
	page->count = 0;
	if (!place_get(cursor, &place))
		return ERR_INVALID;
	if (cursor->len == 0)
		result_settle(relay_here(w));
	if (place.worker < workers_count())
		list_ram(f, &place, page);
	else
		err = list_disk(relay_here(w), f, &place, page, &done);
	if (err)
		return err;
	place_put(&place, cursor);
	cursor->done = done;
	return OK;
}

/* Counting ------------------------------------------------------------------------------------- */

static bool is_any(const struct queue_filter *f)
{
	return !f->id && f->index == QUEUE_ALL && !f->sender.len && !f->recipient.len &&
		!f->domain.len && !f->older_ms && !f->newer_ms && f->state < 0;
}

static enum err count_all(struct worker *w, struct queue_counts *out)
{
	struct relay_stats stats;
	struct schedule_totals totals = { 0 };
	enum err err;

	result_settle(relay_here(w));
	err = schedule_totals(relay_here(w)->st, &totals);
	relay_stats(&stats);
	out->by_state[QUEUE_READY] = stats.rcpts_ready;
	out->by_state[QUEUE_ACTIVE] = stats.rcpts_active;
	out->by_state[QUEUE_PARKED] = totals.waiting;
	out->by_state[QUEUE_HELD] = totals.held;
	out->messages_bytes = totals.bytes;
	return err;
}

enum err queue_count(struct worker *w, const struct queue_filter *f, struct queue_counts *out)
{
	struct queue_cursor cursor = { 0 };
	enum err err = OK;

	*out = (struct queue_counts){ 0 };
	if (is_any(f))
		return count_all(w, out);
	while (!err && !cursor.done) {
		struct arena a = { 0 };
		struct queue_page page = { .arena = &a, .max = QUEUE_PAGE };

		err = queue_list(w, f, &cursor, &page);
		for (size_t i = 0; !err && i < page.count; i++) {
			const struct queue_row *row = &page.rows[i];

			out->by_state[row->state]++;
			out->messages_bytes += row->size;
			if (!out->oldest_at || row->received_at < out->oldest_at)
				out->oldest_at = row->received_at;
		}
		arena_done(&a);
	}
	return err;
}
