/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sched_read.c - the due rows of one destination, read in pages and made into parcels. */
#include "relay/sched_int.h"

#include <stdlib.h>

#include "relay/event.h"
#include "relay/site.h"

enum {
	PAGE = 512,        /* rows a read */
	OUT_MAX = 200,     /* recipients of one domain and lane in hand */
	GHOST_MS = 600000, /* no index lags so far behind */
	LAY_MS = 10000,    /* a reading only to be rid of ghosts */
};

struct reading {
	struct dest *d;
	struct arena arena;
	msec began;
	wall_ms now, next;   /* next: due of the first row not taken; 0: none */
	struct parcel *open; /* being gathered: same message, rows in a row */
	struct message *m;
};

static void send_open(struct reading *rd)
{
	struct parcel *p = rd->open;

	rd->open = NULL;
	if (p) {
		/* It was made for the most that could come. */
		struct parcel *fit = realloc(p, sizeof(*p) + p->count * sizeof(struct item));

		site_route(rd->d->r, fit ? fit : p);
	}
	message_put(rd->m);
	rd->m = NULL;
}

static void note_next(struct reading *rd, wall_ms due)
{
	if (!rd->next || due < rd->next)
		rd->next = due;
}

/* The message cannot be had any more, or is damaged: an operator must see it, and why. */
static void hold_lost(struct reading *rd, const struct schedule_entry *entry, enum err err)
{
	char id[48], bytes[SCHEDULE_TAIL_MAX];
	struct out o = out_fixed(id, sizeof(id)), tail = out_fixed(bytes, sizeof(bytes));
	struct schedule_entry held = *entry;
	struct sched_tail old;

	queue_id_put_rcpt(&o, entry->ref.id, entry->n);
	event_emit(&relay_events, RELAY_HELD, log_slice("id", out_written(&o)), log_err(err));
	if (err != ERR_CORRUPT && err != ERR_NOT_FOUND && err != ERR_UNSUPPORTED)
		return;
	(void)!sched_tail_of(entry->tail, &old);
	out_u8(&tail, old.flags);
	out_field(&tail, old.sender);
	out_field(&tail, old.recipient);
	out_field(&tail, SLICE("the stored message is damaged"));
	held.state = SCHEDULE_HELD;
	held.reply = SLICE("4.3.0 the stored message is damaged");
	if (out_ok(&tail))
		held.tail = out_written(&tail);
	(void)!schedule_park(rd->d->r->st, &held);
}

static enum err open_message(struct reading *rd, const struct schedule_entry *entry)
{
	struct arena a = { 0 };
	slice meta;
	enum err err = store_message_meta(rd->d->r->st, entry->ref.id, &a, &meta);

	if (!err)
		rd->m = message_new(&entry->ref, meta, &err);
	if (rd->m && entry->n >= rd->m->env.rcpt_count) {
		message_put(rd->m);
		rd->m = NULL;
		err = ERR_CORRUPT;
	}
	arena_done(&a);
	return err;
}

/* Rows of one message stand together when they were parked together: up to this many a parcel. */
enum { GATHER_MAX = 100 };

static void give_out(struct reading *rd, const struct schedule_entry *entry)
{
	struct relay_here *r = rd->d->r;
	struct sched_tail tail;
	enum err err = OK;

	if (!rd->m || rd->m->ref.id != entry->ref.id || rd->open->count == GATHER_MAX ||
		entry->n >= rd->m->env.rcpt_count) {
		send_open(rd);
		err = open_message(rd, entry);
		if (!err)
			rd->open = parcel_new(r, rd->m, GATHER_MAX);
		if (!err && !rd->open)
			err = ERR_NOMEM;
		if (!err)
			rd->open->count = 0;
	}
	if (err || !sched_add_item(rd->d, entry)) {
		if (err)
			hold_lost(rd, entry, err);
		note_next(rd, rd->now + SCHED_TROUBLE_MS);
		return;
	}
	struct item *it = &rd->open->items[rd->open->count++];

	rd->open->domain = envelope_domain(rd->m->env.rcpts[entry->n].address);
	rd->open->from_disk = true;
	rd->open->lane = sched_lane_of(entry);
	it->n = entry->n;
	it->attempts = entry->attempts;
	it->indexed = true;
	it->warned = sched_tail_of(entry->tail, &tail) && tail.flags & SCHED_WARNED;
}

/* A row that a ghost explains: still the old one, or the one that replaced it already. */
static bool is_out(struct reading *rd, const struct schedule_entry *entry)
{
	struct out_item *item = sched_find_item(rd->d->r, entry->ref.id, entry->n);

	if (!item)
		return false;
	if (!list_has(&item->ghost))
		return true;
	if (item->now_due && entry->due == item->now_due && entry->due != item->due) {
		sched_remove_item(rd->d->r, item);
		return false;
	}
	item->seen = true;
	return true;
}

static void take_page(struct reading *rd, const struct schedule_page *page)
{
	for (size_t i = 0; i < page->len; i++) {
		const struct schedule_entry *entry = &page->entries[i];

		if (is_out(rd, entry))
			continue;
		if (entry->due > rd->now) {
			note_next(rd, entry->due);
			return;
		}
		if (rd->d->lane_out[sched_lane_of(entry)] >= OUT_MAX) {
			rd->d->more = true;
			return;
		}
		if (queue_over_limit(rd->d->r, sched_lane_of(entry)) || rd->d->r->draining) {
			note_next(rd, rd->now + SCHED_BUSY_MS);
			return;
		}
		give_out(rd, entry);
	}
}

/* Ghosts that this reading should have shown and did not are gone from the index. */
static void lay_ghosts(struct reading *rd, wall_ms reached)
{
	list_each(&rd->d->ghosts, link)
	{
		struct out_item *item = container_of(link, struct out_item, ghost);

		if ((!item->seen && item->durable_at < rd->began && item->due < reached) ||
			rd->began - item->durable_at > GHOST_MS)
			sched_remove_item(rd->d->r, item);
		else
			item->seen = false;
	}
	if (!list_empty(&rd->d->ghosts))
		note_next(rd, rd->now + LAY_MS);
}

static enum err read_lanes(struct reading *rd)
{
	wall_ms reached = INT64_MAX;
	enum err err = OK;

	for (uint8_t lane = 0; lane < ENVELOPE_LANE_COUNT && !err; lane++) {
		struct schedule_due query = { .domain = rd->d->domain,
			.lane = lane,
			.until = rd->now + SCHED_HORIZON_MS,
			.limit = PAGE };
		struct schedule_page page = { 0 };

		err = schedule_read_due(rd->d->r->st, &query, &rd->arena, &page);
		if (err)
			break;
		take_page(rd, &page);
		if (page.next.end || page.len == 0)
			continue;
		reached = MIN(reached, page.entries[page.len - 1].due);
		rd->d->more = true;
		/* Somebody who comes home asks for more; else time must. */
		if (reached > rd->now || rd->d->out == 0)
			note_next(rd, MAX(reached, rd->now + SCHED_BUSY_MS));
	}
	send_open(rd);
	if (!err)
		lay_ghosts(rd, reached);
	if (rd->d->parked_at && rd->began - rd->d->parked_at < SCHED_LAG_MS)
		note_next(rd, MAX(rd->d->parked_due, rd->now + SCHED_BUSY_MS));
	return err;
}

void sched_read_fiber(void *arg)
{
	struct dest *d = arg;
	struct relay_here *r = d->r;
	struct reading rd = { .d = d, .began = worker_now(r->w), .now = worker_wall(r->w) };
	enum err err;

	d->more = false;
	err = read_lanes(&rd);

	arena_done(&rd.arena);
	d->reading = false;
	if (err == ERR_STOPPED)
		d->due = 0;
	else if (err)
		sched_arm(d, rd.now + SCHED_TROUBLE_MS);
	else if (d->again)
		sched_arm(d, rd.now + SCHED_BUSY_MS);
	else if (rd.next)
		sched_arm(d, rd.next);
	d->again = false;
	sched_free_if_unused(d);
	relay_fiber_end(r);
}
