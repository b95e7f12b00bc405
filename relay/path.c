/* SPDX-License-Identifier: GPL-2.0-or-later */
/* path.c - the owner's side: lanes, slices for the workers, rest after failure, the sweep.
 *
 * The invariant: every ready parcel is in exactly one lane, `ready` counts recipients in lanes, and
 * `hands[k].held` counts parcels given to worker k and not reported back, never more than its
 * slice. Parcels from disk that find the path resting or full go back untouched; fresh ones are
 * parked, because only rows on disk survive without RAM. */
#include "relay/path.h"

#include <stdlib.h>

#include "core/entropy.h"
#include "relay/event.h"
#include "relay/outlet.h"
#include "relay/relay_int.h"
#include "relay/result.h"
#include "relay/shape.h"

enum { FULL_WAIT_MS = 250 };

struct hand {
	unsigned held, share, conns;
	msec shut_until; /* no connection can be had there while others have some */
};

struct path {
	struct map_link link;
	struct list_link all;
	struct relay_here *r;
	struct target *target; /* the newest one that came */
	struct list lanes[ENVELOPE_LANE_COUNT];
	int64_t lane_ready[ENVELOPE_LANE_COUNT]; /* recipients in each lane */
	int64_t ready, held;                     /* in all lanes; parcels in hands */
	unsigned failures;
	msec rests_until; /* 0: not resting */
	struct timer wake;
	char why[96];
	struct reason *down; /* of the last failure */
	struct hand hands[];
};

static void dispatch(struct path *p);

static void path_free(struct path *p)
{
	timer_disarm(&p->wake);
	map_remove(&p->r->paths, &p->link);
	list_remove(&p->all);
	relay_count(p->r, paths, -1);
	target_put(p->target);
	free(p->down);
	free(p);
}

static unsigned conns_of(const struct path *p)
{
	unsigned conns = 0;

	for (unsigned k = 0; k < p->r->workers; k++)
		conns += p->hands[k].conns;
	return conns;
}

static void free_if_unused(struct path *p)
{
	if (p->ready == 0 && p->held == 0 && !p->rests_until && conns_of(p) == 0)
		path_free(p);
}

static struct path *find(struct relay_here *r, const struct target *t)
{
	for (struct map_link *link = map_find(&r->paths, t->hash); link;
		link = map_find_next(&r->paths, link)) {
		struct path *p = container_of(link, struct path, link);

		if (slice_eq(p->target->key, t->key))
			return p;
	}
	return NULL;
}

static void set_shares(struct path *p)
{
	for (unsigned k = 0; k < p->r->workers; k++)
		p->hands[k].share = shape_share(p->target->limits.connections,
			(struct shape_place){
				.worker = k, .owner = p->r->index, .workers = p->r->workers });
}

static void rest_over(struct timer *timer)
{
	struct path *p = container_of(timer, struct path, wake);

	p->rests_until = 0;
	dispatch(p);
	free_if_unused(p);
}

static struct path *add(struct relay_here *r, struct target *t)
{
	struct path *p = calloc(1, sizeof(*p) + r->workers * sizeof(struct hand));

	if (!p)
		return NULL;
	p->r = r;
	p->target = target_hold(t);
	p->wake.fire = rest_over;
	for (unsigned lane = 0; lane < ENVELOPE_LANE_COUNT; lane++)
		list_init(&p->lanes[lane]);
	if (!map_insert(&r->paths, &p->link, t->hash)) {
		target_put(p->target);
		free(p);
		return NULL;
	}
	list_push(&r->path_list, &p->all);
	relay_count(r, paths, 1);
	set_shares(p);
	return p;
}

static void unlink_ready(struct path *p, struct parcel *parcel)
{
	list_remove(&parcel->link);
	p->ready -= parcel->count;
	p->lane_ready[parcel->lane] -= parcel->count;
	relay_count(p->r, ready, -(int64_t)parcel->count);
	relay_count(p->r, ram_bytes, -(int64_t)parcel->m->bytes);
}

/* Its link stands in its lane already. */
static void count_ready(struct path *p, const struct parcel *parcel)
{
	p->ready += parcel->count;
	p->lane_ready[parcel->lane] += parcel->count;
	relay_count(p->r, ready, parcel->count);
	relay_count(p->r, ram_bytes, (int64_t)parcel->m->bytes);
}

/* Handing out ---------------------------------------------------------------------------------- */

static void arrive_at_outlet(struct worker *w, struct post *post)
{
	outlet_add(relay_here(w), container_of(post, struct parcel, post));
}

static void give(struct path *p, struct parcel *parcel, unsigned worker)
{
	p->hands[worker].held++;
	p->held++;
	if (worker == p->r->index) {
		outlet_add(p->r, parcel);
		return;
	}
	parcel->post.run = arrive_at_outlet;
	post_to(worker, &parcel->post);
}

static bool has_room(const struct path *p, unsigned k, unsigned most)
{
	return p->hands[k].held < most && p->hands[k].shut_until <= worker_now(p->r->w);
}

/* Our own outlet while it has room to breathe (no post, no wake), then whoever holds least. */
static bool choose(struct path *p, unsigned *out)
{
	unsigned own = p->r->index, n = p->r->workers, least = UINT32_MAX;

	if (has_room(p, own, shape_spill(p->hands[own].share))) {
		*out = own;
		return true;
	}
	for (unsigned i = 1; i <= n; i++) {
		unsigned k = (own + i) % n;

		if (has_room(p, k, shape_slice(p->hands[k].share)) && p->hands[k].held < least) {
			least = p->hands[k].held;
			*out = k;
		}
	}
	return least != UINT32_MAX;
}

static struct parcel *first_ready(struct path *p)
{
	for (unsigned lane = 0; lane < ENVELOPE_LANE_COUNT; lane++) {
		struct list_link *link = list_first(&p->lanes[lane]);

		if (link)
			return container_of(link, struct parcel, link);
	}
	return NULL;
}

static void dispatch(struct path *p)
{
	unsigned worker;

	while (p->ready > 0 && !p->rests_until && !p->r->draining && choose(p, &worker)) {
		struct parcel *parcel = first_ready(p);

		unlink_ready(p, parcel);
		give(p, parcel, worker);
	}
}

/* Coming in ------------------------------------------------------------------------------------ */

static void give_back(struct relay_here *r, struct parcel *parcel, msec wait_ms)
{
	parcel->not_before = worker_wall(r->w) + wait_ms;
	parcel_all(parcel, OUTCOME_RETURNED, NULL);
	result_parcel(r, parcel);
}

/* It may not stay in RAM now. */
static void turn_away(struct relay_here *r, struct parcel *parcel, msec wait_ms, const char *why)
{
	if (parcel->from_disk)
		give_back(r, parcel, wait_ms);
	else
		queue_park(r, parcel, worker_wall(r->w) + wait_ms, why);
}

void path_add(struct relay_here *r, struct parcel *parcel)
{
	struct path *p = find(r, parcel->target);

	if (!p)
		p = add(r, parcel->target);
	if (!p || r->draining) {
		turn_away(r, parcel, FULL_WAIT_MS, "the server is stopping");
		return;
	}
	if (p->target != parcel->target && p->target->gen != parcel->target->gen) {
		target_put(p->target);
		p->target = target_hold(parcel->target);
		set_shares(p);
	}
	if (p->rests_until) {
		msec rest = MAX(p->rests_until - worker_now(r->w), (msec)1);

		turn_away(r, parcel, rest + (msec)entropy_below((uint64_t)rest / 8 + 1), p->why);
		return;
	}
	/* Each lane has its own measure: a campaign must not fill that of the other. */
	if (p->lane_ready[parcel->lane] >= r->gen->o->path_ready_max) {
		turn_away(r, parcel, FULL_WAIT_MS, "the destination has enough waiting");
		return;
	}
	list_push(&p->lanes[parcel->lane], &parcel->link);
	count_ready(p, parcel);
	dispatch(p);
}

void path_finished(struct relay_here *r, struct target *t, unsigned worker, unsigned count)
{
	struct path *p = find(r, t);

	must(p && p->hands[worker].held >= count);
	p->hands[worker].held -= count;
	p->held -= count;
	dispatch(p);
	free_if_unused(p);
}

static void defer_ready(struct path *p, const struct reason *why)
{
	for (struct parcel *parcel; (parcel = first_ready(p));) {
		unlink_ready(p, parcel);
		parcel_all(parcel, why->final ? OUTCOME_FAILED : OUTCOME_DEFERRED, why);
		result_parcel(p->r, parcel);
	}
}

static void rest(struct path *p, const struct reason *why)
{
	msec rest = shape_rest(++p->failures, p->target->limits.retry_first_ms);
	struct out o = out_fixed(p->why, sizeof(p->why) - 1);
	slice text = slice_of(why->text, why->text_len);

	out_str(&o, "resting: ");
	out_slice(&o, slice_sub(text, 0, 80));
	p->why[o.len] = 0;
	p->rests_until = worker_now(p->r->w) + rest;
	timer_arm(p->r->w, &p->wake, p->rests_until);
	event_emit(&relay_events, RELAY_SUSPENDED, log_slice("path", p->target->key),
		log_ms("for", rest), log_slice("reason", text), log_int("waiting", p->ready));
	defer_ready(p, why);
}

static void down(struct path *p, unsigned worker, const struct reason *why)
{
	if (!p->down)
		p->down = malloc(sizeof(*p->down));
	if (p->down)
		*p->down = *why;
	if (p->r->draining)
		return;
	if (conns_of(p) > 0) {
		p->hands[worker].shut_until =
			worker_now(p->r->w) + shape_rest(1, p->target->limits.retry_first_ms);
		dispatch(p);
	} else if (!p->rests_until) {
		rest(p, why);
	}
}

static void opened(struct path *p, unsigned worker)
{
	p->hands[worker].conns++;
	p->hands[worker].shut_until = 0;
	p->failures = 0;
	if (!p->rests_until)
		return;
	p->rests_until = 0;
	timer_disarm(&p->wake);
	dispatch(p);
}

void path_news(struct relay_here *r, struct target *t, const struct path_word *word)
{
	struct path *p = find(r, t);

	if (!p)
		return;
	switch (word->what) {
	case PATH_OPENED:
		opened(p, word->worker);
		break;
	case PATH_CLOSED:
		if (p->hands[word->worker].conns > 0)
			p->hands[word->worker].conns--;
		break;
	case PATH_DOWN:
		down(p, word->worker, word->why);
		break;
	}
	free_if_unused(p);
}

void path_returned(struct relay_here *r, struct parcel *parcel)
{
	struct path *p = find(r, parcel->target);

	/* What was split off is not counted, so its path may have gone meanwhile. */
	must(parcel->extra || (p && p->held > 0));
	if (!parcel->extra) {
		p->held--;
		p->hands[parcel->from_worker].held--;
	}
	parcel->extra = false;
	if (r->draining) {
		turn_away(r, parcel, 0, "the server is stopping");
	} else if (!p) {
		path_add(r, parcel);
		return;
	} else if (p->rests_until && p->down) {
		parcel_all(parcel, p->down->final ? OUTCOME_FAILED : OUTCOME_DEFERRED, p->down);
		result_parcel(r, parcel);
	} else {
		list_push_front(&p->lanes[parcel->lane], &parcel->link);
		count_ready(p, parcel);
		dispatch(p);
	}
	if (p)
		free_if_unused(p);
}

/* The sweep ------------------------------------------------------------------------------------ */

static bool must_park(struct relay_here *r, const struct parcel *p, uint64_t pressure)
{
	return !p->from_disk &&
		(worker_now(r->w) - p->born >= r->gen->o->park_after_ms ||
			p->m->ref.low < pressure);
}

/* Lanes are in order of arrival, so what need not go yet ends the search. */
static void sweep_lane(struct path *p, struct list *lane, uint64_t pressure)
{
	list_each(lane, link)
	{
		struct parcel *parcel = container_of(link, struct parcel, link);

		if (parcel->from_disk)
			continue;
		if (!must_park(p->r, parcel, pressure))
			return;
		unlink_ready(p, parcel);
		queue_park(p->r, parcel, worker_wall(p->r->w), "waited for its turn");
	}
}

void path_sweep(struct relay_here *r, uint64_t pressure)
{
	list_each(&r->path_list, link)
	{
		struct path *p = container_of(link, struct path, all);

		for (unsigned lane = 0; lane < ENVELOPE_LANE_COUNT; lane++)
			sweep_lane(p, &p->lanes[lane], pressure);
		free_if_unused(p);
	}
}

void path_disarm_all(struct relay_here *r)
{
	list_each(&r->path_list, link) timer_disarm(&container_of(link, struct path, all)->wake);
}

void path_stop_all(struct relay_here *r)
{
	list_each(&r->path_list, link)
	{
		struct path *p = container_of(link, struct path, all);

		for (struct parcel *parcel; (parcel = first_ready(p));) {
			unlink_ready(p, parcel);
			parcel_free(r, parcel);
		}
		path_free(p);
	}
}

void path_wake_all(struct relay_here *r)
{
	list_each(&r->path_list, link)
	{
		struct path *p = container_of(link, struct path, all);

		if (p->rests_until) {
			timer_disarm(&p->wake);
			rest_over(&p->wake);
		}
	}
}

/* Looking -------------------------------------------------------------------------------------- */

void path_walk(struct relay_here *r, bool (*each)(void *arg, struct parcel *p), void *arg)
{
	list_each(&r->path_list, link)
	{
		struct path *p = container_of(link, struct path, all);

		for (unsigned lane = 0; lane < ENVELOPE_LANE_COUNT; lane++)
			list_each(&p->lanes[lane],
				ready) if (!each(arg,
						   container_of(ready, struct parcel,
							   link))) return;
	}
}

void path_take(struct relay_here *r, struct parcel *parcel)
{
	struct path *p = find(r, parcel->target);

	must(p);
	unlink_ready(p, parcel);
}

slice path_waits_for(struct relay_here *r, const struct parcel *parcel, struct arena *a)
{
	struct path *p = parcel->target ? find(r, parcel->target) : NULL;

	if (!p)
		return SLICE("");
	if (p->rests_until)
		return arena_dup(a, slice_str(p->why));
	return arena_printf(a, "its turn among %lld ready, %lld in hand", (long long)p->ready,
		(long long)p->held);
}
