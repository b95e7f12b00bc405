/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sched.c - destinations with parked mail: their timers, what is out, what comes home. What is due is
 * read by sched_read.c. */
#include "relay/sched.h"

#include <stdlib.h>

#include "relay/sched_int.h"

enum {
	OUT_LOW = 50,     /* of a domain in hand: fewer, and more is read */
	SCAN_MS = 240000, /* how often all domains are looked through */
	SCAN_PAGE = 1000,
	ADDRESS_KEPT = 320,
	HELD_BY_KEPT = 120,
};

/* What is out ---------------------------------------------------------------------------------- */

static uint64_t item_hash(uint64_t id, uint32_t n)
{
	return map_hash_u64(id * 31 + n);
}

struct out_item *sched_find_item(struct relay_here *r, uint64_t id, uint32_t n)
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
	struct out_item *item = sched_find_item(r, id, n);

	return item && !list_has(&item->ghost);
}

uint8_t sched_lane_of(const struct schedule_entry *entry)
{
	return entry->lane < ENVELOPE_LANE_COUNT ? entry->lane : ENVELOPE_BULK;
}

bool sched_add_item(struct dest *d, const struct schedule_entry *entry)
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
	d->lane_out[sched_lane_of(entry)]++;
	return true;
}

void sched_remove_item(struct relay_here *r, struct out_item *item)
{
	map_remove(&r->out_items, &item->link);
	list_remove(&item->ghost);
	free(item);
}

void sched_touched(struct relay_here *r, const struct schedule_entry *seen)
{
	struct out_item *item = sched_find_item(r, seen->ref.id, seen->n);

	if (item && list_has(&item->ghost) && item->now_due == seen->due)
		sched_remove_item(r, item);
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

static void dest_fire(struct timer *timer);

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

void sched_free_if_unused(struct dest *d)
{
	if (d->reading || d->out > 0 || d->due || !list_empty(&d->ghosts))
		return;
	timer_disarm(&d->timer);
	map_remove(&d->r->dests, &d->link);
	free(d);
}

/* The earlier of what is armed and this. */
void sched_arm(struct dest *d, wall_ms due)
{
	wall_ms now = worker_wall(d->r->w);

	due = MAX(MAX(due, d->not_before), (wall_ms)1);
	if (d->r->draining || d->r->gen->still ||
		(d->due && d->due <= due && timer_armed(&d->timer)))
		return;
	d->due = due;
	timer_arm_in(d->r->w, &d->timer, MAX(due - now, (wall_ms)0));
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
		sched_arm(d, worker_wall(d->r->w) + SCHED_BUSY_MS);
		return;
	}
	d->reading = true;
	if (relay_fiber(d->r, sched_read_fiber, d)) {
		d->reading = false;
		sched_arm(d, worker_wall(d->r->w) + SCHED_TROUBLE_MS);
	}
}

static void note_here(struct relay_here *r, slice domain, wall_ms due)
{
	struct dest *d;

	if (r->draining || r->gen->still || due > worker_wall(r->w) + SCHED_HORIZON_MS)
		return;
	d = get_dest(r, domain);
	if (d && d->reading)
		d->again = true;
	if (d)
		sched_arm(d, due);
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
	struct out_item *item = p->from_disk ? sched_find_item(d->r, p->m->ref.id, it->n) : NULL;

	if (item) {
		d->out--;
		d->lane_out[p->lane]--;
		if (it->outcome == OUTCOME_RETURNED) {
			sched_remove_item(d->r, item);
			d->more = true;
		} else {
			item->durable_at = worker_now(d->r->w);
			item->now_due = parked(it) ? it->due : 0;
			list_push(&d->ghosts, &item->ghost);
		}
	}
	if (!parked(it) || it->due > worker_wall(d->r->w) + SCHED_HORIZON_MS)
		return;
	if (worker_now(d->r->w) - d->parked_at > SCHED_LAG_MS || it->due < d->parked_due)
		d->parked_due = it->due;
	d->parked_at = worker_now(d->r->w);
	sched_arm(d, it->due);
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
		sched_arm(d, worker_wall(r->w));
	parcel_free(r, p);
	sched_free_if_unused(d);
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

/* What stands behind a row --------------------------------------------------------------------- */

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

/* The scan of all domains ---------------------------------------------------------------------- */

static enum err scan(struct relay_here *r)
{
	struct schedule_cursor from = { 0 };

	while (!r->draining) {
		struct arena a = { 0 };
		struct schedule_domains page = { 0 };
		enum err err = schedule_read_domains(r->st, &from, SCAN_PAGE, &a, &page);

		for (size_t i = 0; !err && i < page.len; i++)
			if (page.domains[i].earliest <= worker_wall(r->w) + SCHED_HORIZON_MS)
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

		if (fiber_wait(&r->scan_wait, err ? SCHED_TROUBLE_MS : SCAN_MS) != ERR_TIMEOUT)
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
	sched_arm(d, worker_wall(r->w));
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
	sched_remove_item(arg, container_of(link, struct out_item, link));
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
