/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sched.c - destinations with parked mail: timers, pages, what is out.
 *
 * The rule against double delivery: a recipient that was given out stands in `out_items` until its
 * row is known to be gone or changed. Pages show the index as of their start, which may lag behind
 * what is durable; so an item whose result is durable becomes a ghost and leaves only when a page
 * that began later, and reached past the ghost's old due time, did not show it. */
#include "relay/sched.h"

#include <stdlib.h>

#include "core/entropy.h"
#include "relay/event.h"
#include "relay/relay_int.h"

enum {
	PAGE = 512,          /* rows a read */
	OUT_MAX = 200,       /* recipients of one domain and lane in hand */
	OUT_LOW = 50,        /* fewer: read on */
	HORIZON_MS = 600000, /* what is due within this has a timer */
	SCAN_MS = 240000,    /* how often all domains are looked through */
	SCAN_PAGE = 1000,
	BUSY_MS = 250,     /* again when memory is full, or only ghosts were seen */
	LAG_MS = 5000,     /* so long a durable row may stay unseen; then the scan finds it */
	GHOST_MS = 600000, /* no index lags so far behind */
	LAY_MS = 10000,    /* a reading only to be rid of ghosts */
	TROUBLE_MS = 5000,
	ADDRESS_KEPT = 320,
	HELD_BY_KEPT = 120,
};

struct dest {
	struct map_link link;
	struct relay_here *r;
	struct timer timer;
	struct list ghosts;
	wall_ms due; /* the timer's; 0: none */
	wall_ms not_before;
	msec parked_at;     /* rows became durable that pages may not show yet */
	wall_ms parked_due; /* the earliest of them */
	unsigned out, lane_out[ENVELOPE_LANE_COUNT];
	bool reading, again;
	bool more; /* rows are due that were not given out */
	slice domain;
	char name[];
};

struct out_item {
	struct map_link link;
	struct list_link ghost; /* of its dest, when the result is durable */
	uint64_t id;
	uint32_t n;
	wall_ms due;     /* of the row that was given out */
	wall_ms now_due; /* of the row that replaced it; 0: it is gone */
	msec durable_at;
	bool seen;
};

static void dest_fire(struct timer *timer);

/* What is out ---------------------------------------------------------------------------------- */

static uint64_t item_hash(uint64_t id, uint32_t n)
{
	return map_hash_u64(id * 31 + n);
}

static struct out_item *find_item(struct relay_here *r, uint64_t id, uint32_t n)
{
	for (struct map_link *link = map_find(&r->out_items, item_hash(id, n)); link;
		link = map_find_next(&r->out_items, link)) {
		struct out_item *item = container_of(link, struct out_item, link);

		if (item->id == id && item->n == n)
			return item;
	}
	return NULL;
}

bool sched_in_hand(struct relay_here *r, uint64_t id, uint32_t n)
{
	struct out_item *item = find_item(r, id, n);

	return item && !list_has(&item->ghost);
}

static uint8_t lane_of(const struct schedule_entry *entry)
{
	return entry->lane < ENVELOPE_LANE_COUNT ? entry->lane : ENVELOPE_BULK;
}

static bool add_item(struct dest *d, const struct schedule_entry *entry)
{
	struct out_item *item = calloc(1, sizeof(*item));

	if (!item)
		return false;
	item->id = entry->ref.id;
	item->n = entry->n;
	item->due = entry->due;
	if (!map_insert(&d->r->out_items, &item->link, item_hash(item->id, item->n))) {
		free(item);
		return false;
	}
	d->out++;
	d->lane_out[lane_of(entry)]++;
	return true;
}

static void remove_item(struct relay_here *r, struct out_item *item)
{
	map_remove(&r->out_items, &item->link);
	list_remove(&item->ghost);
	free(item);
}

void sched_touched(struct relay_here *r, const struct schedule_entry *seen)
{
	struct out_item *item = find_item(r, seen->ref.id, seen->n);

	if (item && list_has(&item->ghost) && item->now_due == seen->due)
		remove_item(r, item);
}

/* Destinations --------------------------------------------------------------------------------- */

static struct dest *find_dest(struct relay_here *r, slice domain, uint64_t hash)
{
	for (struct map_link *link = map_find(&r->dests, hash); link;
		link = map_find_next(&r->dests, link)) {
		struct dest *d = container_of(link, struct dest, link);

		if (slice_eq(d->domain, domain))
			return d;
	}
	return NULL;
}

static struct dest *get_dest(struct relay_here *r, slice domain)
{
	uint64_t hash = map_hash(&r->seed, domain);
	struct dest *d = find_dest(r, domain, hash);

	if (d)
		return d;
	d = calloc(1, sizeof(*d) + domain.len);
	if (!d)
		return NULL;
	memcpy(d->name, domain.ptr, domain.len);
	d->domain = slice_of(d->name, domain.len);
	d->r = r;
	d->timer.fire = dest_fire;
	list_init(&d->ghosts);
	if (!map_insert(&r->dests, &d->link, hash)) {
		free(d);
		return NULL;
	}
	return d;
}

static void free_if_unused(struct dest *d)
{
	if (d->reading || d->out > 0 || d->due || !list_empty(&d->ghosts))
		return;
	timer_disarm(&d->timer);
	map_remove(&d->r->dests, &d->link);
	free(d);
}

/* The earlier of what is armed and this. */
static void arm(struct dest *d, wall_ms due)
{
	wall_ms now = worker_wall(d->r->w);

	due = MAX(MAX(due, d->not_before), (wall_ms)1);
	if (d->r->draining || d->r->gen->still ||
		(d->due && d->due <= due && timer_armed(&d->timer)))
		return;
	d->due = due;
	timer_arm_in(d->r->w, &d->timer, MAX(due - now, (wall_ms)0));
}

static void note_here(struct relay_here *r, slice domain, wall_ms due)
{
	struct dest *d;

	if (r->draining || r->gen->still || due > worker_wall(r->w) + HORIZON_MS)
		return;
	d = get_dest(r, domain);
	if (d && d->reading)
		d->again = true;
	if (d)
		arm(d, due);
}

struct note {
	struct post post;
	wall_ms due;
	uint32_t len;
	char domain[];
};

static void note_arrived(struct worker *w, struct post *post)
{
	struct note *note = container_of(post, struct note, post);

	note_here(relay_here(w), slice_of(note->domain, note->len), note->due);
	free(note);
}

void sched_note(struct relay_here *r, slice domain, wall_ms due)
{
	unsigned owner = relay_owner(r, map_hash(&r->seed, domain));
	struct note *note;

	if (owner == r->index) {
		note_here(r, domain, due);
		return;
	}
	note = calloc(1, sizeof(*note) + domain.len);
	if (!note)
		return; /* the scan finds it */
	memcpy(note->domain, domain.ptr, domain.len);
	note->len = (uint32_t)domain.len;
	note->due = due;
	note->post.run = note_arrived;
	post_to(owner, &note->post);
}

/* Coming home ---------------------------------------------------------------------------------- */

static bool parked(const struct item *it)
{
	return it->outcome == OUTCOME_DEFERRED || it->outcome == OUTCOME_PARKED;
}

static void item_home(struct dest *d, struct parcel *p, const struct item *it)
{
	struct out_item *item = p->from_disk ? find_item(d->r, p->m->ref.id, it->n) : NULL;

	if (item) {
		d->out--;
		d->lane_out[p->lane]--;
		if (it->outcome == OUTCOME_RETURNED) {
			remove_item(d->r, item);
			d->more = true;
		} else {
			item->durable_at = worker_now(d->r->w);
			item->now_due = parked(it) ? it->due : 0;
			list_push(&d->ghosts, &item->ghost);
		}
	}
	if (!parked(it) || it->due > worker_wall(d->r->w) + HORIZON_MS)
		return;
	if (worker_now(d->r->w) - d->parked_at > LAG_MS || it->due < d->parked_due)
		d->parked_due = it->due;
	d->parked_at = worker_now(d->r->w);
	arm(d, it->due);
}

static void come_home(struct relay_here *r, struct parcel *p)
{
	struct dest *d = get_dest(r, p->domain);

	if (!d) {
		/* Without memory: the rows are on disk, and the items stay marked as out. */
		parcel_free(r, p);
		return;
	}
	if (p->items[0].outcome == OUTCOME_RETURNED)
		d->not_before = MAX(d->not_before, p->not_before);
	for (uint32_t i = 0; i < p->count; i++)
		item_home(d, p, &p->items[i]);
	if (d->more && d->out <= OUT_LOW)
		arm(d, worker_wall(r->w));
	parcel_free(r, p);
	free_if_unused(d);
}

static void home_arrived(struct worker *w, struct post *post)
{
	come_home(relay_here(w), container_of(post, struct parcel, post));
}

void sched_send_back(struct relay_here *r, struct parcel *p)
{
	unsigned owner = relay_owner(r, map_hash(&r->seed, p->domain));

	if (owner == r->index) {
		come_home(r, p);
		return;
	}
	p->post.run = home_arrived;
	post_to(owner, &p->post);
}

/* Reading -------------------------------------------------------------------------------------- */

void sched_tail_put(const struct sched_tail *tail, struct out *o)
{
	out_u8(o, tail->flags);
	out_field(o, slice_sub(tail->sender, 0, ADDRESS_KEPT));
	out_field(o, slice_sub(tail->recipient, 0, ADDRESS_KEPT));
	out_field(o, slice_sub(tail->held_by, 0, HELD_BY_KEPT));
}

bool sched_tail_of(slice tail, struct sched_tail *out)
{
	*out = (struct sched_tail){ 0 };
	return take_u8(&tail, &out->flags) && take_field(&tail, &out->sender) &&
		take_field(&tail, &out->recipient) && take_field(&tail, &out->held_by);
}

struct reading {
	struct dest *d;
	struct arena arena;
	msec began;
	wall_ms now, next; /* next: due of the first row not taken; 0: none */
	unsigned given;
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
	if (err || !add_item(rd->d, entry)) {
		if (err)
			hold_lost(rd, entry, err);
		note_next(rd, rd->now + TROUBLE_MS);
		return;
	}
	struct item *it = &rd->open->items[rd->open->count++];

	rd->open->domain = envelope_domain(rd->m->env.rcpts[entry->n].address);
	rd->open->from_disk = true;
	rd->open->lane = lane_of(entry);
	it->n = entry->n;
	it->attempts = entry->attempts;
	it->indexed = true;
	it->warned = sched_tail_of(entry->tail, &tail) && tail.flags & SCHED_WARNED;
	rd->given++;
}

/* A row that a ghost explains: still the old one, or the one that replaced it already. */
static bool is_out(struct reading *rd, const struct schedule_entry *entry)
{
	struct out_item *item = find_item(rd->d->r, entry->ref.id, entry->n);

	if (!item)
		return false;
	if (!list_has(&item->ghost))
		return true;
	if (item->now_due && entry->due == item->now_due && entry->due != item->due) {
		remove_item(rd->d->r, item);
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
		if (rd->d->lane_out[lane_of(entry)] >= OUT_MAX) {
			rd->d->more = true;
			return;
		}
		if (queue_over_limit(rd->d->r, lane_of(entry)) || rd->d->r->draining) {
			note_next(rd, rd->now + BUSY_MS);
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
			remove_item(rd->d->r, item);
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
			.until = rd->now + HORIZON_MS,
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
			note_next(rd, MAX(reached, rd->now + BUSY_MS));
	}
	send_open(rd);
	if (!err)
		lay_ghosts(rd, reached);
	if (rd->d->parked_at && rd->began - rd->d->parked_at < LAG_MS)
		note_next(rd, MAX(rd->d->parked_due, rd->now + BUSY_MS));
	return err;
}

static void read_fiber(void *arg)
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
		arm(d, rd.now + TROUBLE_MS);
	else if (d->again)
		arm(d, rd.now + BUSY_MS);
	else if (rd.next)
		arm(d, rd.next);
	d->again = false;
	free_if_unused(d);
	relay_fiber_end(r);
}

static void dest_fire(struct timer *timer)
{
	struct dest *d = container_of(timer, struct dest, timer);

	d->due = 0;
	if (d->reading) {
		d->again = true;
		return;
	}
	if (d->r->draining)
		return;
	/* Bulk mail has less room: whether it may come is asked row by row. */
	if (queue_over_limit(d->r, ENVELOPE_TRANSACTIONAL)) {
		arm(d, worker_wall(d->r->w) + BUSY_MS);
		return;
	}
	d->reading = true;
	if (relay_fiber(d->r, read_fiber, d)) {
		d->reading = false;
		arm(d, worker_wall(d->r->w) + TROUBLE_MS);
	}
}

/* The scan of all domains ---------------------------------------------------------------------- */

static enum err scan(struct relay_here *r)
{
	struct schedule_cursor from = { 0 };

	while (!r->draining) {
		struct arena a = { 0 };
		struct schedule_domains page = { 0 };
		enum err err = schedule_read_domains(r->st, &from, SCAN_PAGE, &a, &page);

		for (size_t i = 0; !err && i < page.len; i++)
			if (page.domains[i].earliest <= worker_wall(r->w) + HORIZON_MS)
				sched_note(r, page.domains[i].domain, page.domains[i].earliest);
		from = page.next;
		arena_done(&a);
		if (err)
			return err;
		if (page.next.end)
			break;
	}
	return OK;
}

static void scan_fiber(void *arg)
{
	struct relay_here *r = arg;

	while (!r->draining) {
		enum err err = scan(r);

		if (fiber_wait(&r->scan_wait, err ? TROUBLE_MS : SCAN_MS) != ERR_TIMEOUT)
			break;
	}
	r->scanning = false;
	relay_fiber_end(r);
}

void sched_start(struct relay_here *r)
{
	r->scanning = true;
	r->scan_wait = (struct fiber_wait){ 0 };
	if (relay_fiber(r, scan_fiber, r))
		r->scanning = false;
}

static void wake_dest(struct map_link *link, void *arg)
{
	struct relay_here *r = arg;
	struct dest *d = container_of(link, struct dest, link);

	if (d->not_before <= worker_wall(r->w))
		return;
	d->not_before = 0;
	arm(d, worker_wall(r->w));
}

void sched_wake_all(struct relay_here *r)
{
	map_walk(&r->dests, wake_dest, r);
}

static void disarm_dest(struct map_link *link, void *arg)
{
	(void)arg;
	timer_disarm(&container_of(link, struct dest, link)->timer);
}

void sched_disarm_all(struct relay_here *r)
{
	map_walk(&r->dests, disarm_dest, NULL);
}

static void forget_item(struct map_link *link, void *arg)
{
	remove_item(arg, container_of(link, struct out_item, link));
}

static void forget_dest(struct map_link *link, void *arg)
{
	struct relay_here *r = arg;
	struct dest *d = container_of(link, struct dest, link);

	timer_disarm(&d->timer);
	map_remove(&r->dests, link);
	free(d);
}

/* No fiber of ours runs any more. */
void sched_stop(struct relay_here *r)
{
	map_walk(&r->out_items, forget_item, r);
	map_walk(&r->dests, forget_dest, r);
	map_done(&r->out_items);
	map_done(&r->dests);
}
