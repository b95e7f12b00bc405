/* SPDX-License-Identifier: GPL-2.0-or-later */
/* outlet.c - parcels to connections on one worker.
 *
 * A parcel goes to an idle connection, else a new one is opened while the share allows and fewer are
 * being opened than parcels wait. What ends is reported to the owner in numbers, gathered in two
 * atomics so that a busy outlet sends one post for many parcels. */
#include "relay/outlet.h"

#include <stdlib.h>

#include "relay/deliver.h"
#include "relay/path.h"
#include "relay/shape.h"

static struct outlet *find(struct relay_here *r, const struct target *t)
{
	for (struct map_link *link = map_find(&r->outlets, t->hash); link;
		link = map_find_next(&r->outlets, link)) {
		struct outlet *ot = container_of(link, struct outlet, link);

		if (ot->target == t || slice_eq(ot->target->key, t->key))
			return ot;
	}
	return NULL;
}

static void set_target(struct outlet *ot, struct target *t)
{
	struct target *old = ot->target;

	ot->target = target_hold(t);
	target_put(old);
	ot->share = shape_share(t->limits.connections,
		(struct shape_place){
			.worker = ot->r->index, .owner = t->owner, .workers = ot->r->workers });
}

static struct outlet *add(struct relay_here *r, struct target *t)
{
	struct outlet *ot = calloc(1, sizeof(*ot));

	if (!ot)
		return NULL;
	ot->r = r;
	for (unsigned lane = 0; lane < ENVELOPE_LANE_COUNT; lane++)
		list_init(&ot->lanes[lane]);
	list_init(&ot->idle);
	set_target(ot, t);
	if (!map_insert(&r->outlets, &ot->link, t->hash)) {
		target_put(ot->target);
		free(ot);
		return NULL;
	}
	list_push(&r->outlet_list, &ot->all);
	return ot;
}

static bool free_if_unused(struct outlet *ot)
{
	if (ot->waiting > 0 || ot->conns > 0 || ot->opening > 0 || ot->in_use ||
		atomic_load(&ot->sent))
		return false;
	map_remove(&ot->r->outlets, &ot->link);
	list_remove(&ot->all);
	target_put(ot->target);
	free(ot);
	return true;
}

/* Reports -------------------------------------------------------------------------------------- */

/* Back here, so that the outlet may go when nothing holds it any more. */
static void report_back(struct worker *w, struct post *post)
{
	struct outlet *ot = container_of(post, struct outlet, report);
	unsigned more = atomic_load(&ot->finished);

	(void)w;
	atomic_store(&ot->sent, false);
	if (more > 0)
		outlet_finished(ot, 0);
	else
		free_if_unused(ot);
}

static void report_arrived(struct worker *w, struct post *post)
{
	struct outlet *ot = container_of(post, struct outlet, report);
	unsigned count = atomic_exchange(&ot->finished, 0);
	unsigned from = ot->r->index;

	path_finished(relay_here(w), ot->target, from, count);
	ot->report.run = report_back;
	post_to(from, &ot->report);
}

void outlet_finished(struct outlet *ot, unsigned count)
{
	if (ot->target->owner == ot->r->index) {
		path_finished(ot->r, ot->target, ot->r->index, count);
		return;
	}
	atomic_fetch_add(&ot->finished, count);
	if (!atomic_exchange(&ot->sent, true)) {
		ot->report.run = report_arrived;
		post_to(ot->target->owner, &ot->report);
	}
}

/* Words about connections: a post of their own. */
struct news {
	struct post post;
	struct target *target;
	unsigned worker;
	enum path_news what;
	struct reason why;
};

static void news_arrived(struct worker *w, struct post *post)
{
	struct news *news = container_of(post, struct news, post);

	path_news(relay_here(w), news->target,
		&(struct path_word){
			.what = news->what, .worker = news->worker, .why = &news->why });
	target_put(news->target);
	free(news);
}

static void tell_owner(struct outlet *ot, enum path_news what, const struct reason *why)
{
	struct news *news = calloc(1, sizeof(*news));

	must(news); /* a few hundred bytes, a few times a second */
	news->target = target_hold(ot->target);
	news->what = what;
	news->worker = ot->r->index;
	if (why)
		news->why = *why;
	news->post.run = news_arrived;
	post_to(ot->target->owner, &news->post);
}

/* Parcels -------------------------------------------------------------------------------------- */

static void open_while_needed(struct outlet *ot, unsigned taken)
{
	/* Until one stands a single try speaks for all: a dead host is not knocked at twenty times. */
	unsigned most = ot->conns > 0 ? ot->share : MIN(ot->share, 1u);

	while (ot->opening + taken < ot->waiting && ot->conns + ot->opening < most &&
		!ot->r->draining) {
		ot->opening++;
		if (deliver_start(ot) != OK) {
			ot->opening--;
			return;
		}
	}
}

/* `taken` of the parcels will be taken by connections that stand. The outlet may be gone afterwards:
 * what fails without a wait fails inside this call. */
static void open_more(struct outlet *ot, unsigned taken)
{
	if (ot->conns > 0 && worker_now(ot->r->w) < ot->open_after)
		return;
	ot->in_use = true;
	open_while_needed(ot, taken);
	ot->in_use = false;
	free_if_unused(ot);
}

void outlet_add(struct relay_here *r, struct parcel *p)
{
	struct outlet *ot = find(r, p->target);

	if (!ot)
		ot = add(r, p->target);
	must(ot);
	if (ot->target->gen != p->target->gen)
		set_target(ot, p->target);
	list_push(&ot->lanes[p->lane], &p->link);
	ot->waiting++;
	relay_count(r, active, p->count);
	struct list_link *idle = list_pop(&ot->idle);

	if (idle)
		deliver_wake(idle);
	else
		open_more(ot, 0);
}

static struct parcel *take(struct outlet *ot, struct list_link *link)
{
	list_remove(link);
	ot->waiting--;
	return container_of(link, struct parcel, link);
}

struct parcel *outlet_take(struct outlet *ot)
{
	for (unsigned lane = 0; lane < ENVELOPE_LANE_COUNT; lane++) {
		struct list_link *link = list_first(&ot->lanes[lane]);

		if (link)
			return take(ot, link);
	}
	return NULL;
}

struct parcel *outlet_take_same(struct outlet *ot, const struct message *m)
{
	struct list_link *link = list_first(&ot->lanes[m->env.lane]);

	if (!link || container_of(link, struct parcel, link)->m != m)
		return NULL;
	return take(ot, link);
}

void outlet_return(struct outlet *ot, struct parcel *p)
{
	struct list_link *idle = list_pop(&ot->idle);

	list_push_front(&ot->lanes[p->lane], &p->link);
	ot->waiting++;
	if (idle)
		deliver_wake(idle);
}

void outlet_connected(struct outlet *ot)
{
	must(ot->opening > 0);
	ot->opening--;
	ot->conns++;
	relay_count(ot->r, connections, 1);
	relay_count(ot->r, connections_opened, 1);
	tell_owner(ot, PATH_OPENED, NULL);
	open_more(ot, 1);
}

static void back_at_owner(struct worker *w, struct post *post)
{
	path_returned(relay_here(w), container_of(post, struct parcel, post));
}

/* Nobody is left to take what waits here. Posts keep their order: the owner hears of the failure
 * before it gets the parcels, and lets them share it or gives them to others. */
static void hand_back(struct outlet *ot, const struct reason *why)
{
	tell_owner(ot, PATH_DOWN, why);
	for (struct parcel *p; (p = outlet_take(ot));) {
		relay_count(ot->r, active, -(int64_t)p->count);
		p->from_worker = (uint16_t)ot->r->index;
		p->post.run = back_at_owner;
		post_to(ot->target->owner, &p->post);
	}
}

enum { OPEN_PAUSE_MS = 1000 };

void outlet_failed(struct outlet *ot, const struct reason *why)
{
	ot->opening--;
	ot->open_after = worker_now(ot->r->w) + OPEN_PAUSE_MS;
	relay_count(ot->r, connections_failed, 1);
	if (ot->conns + ot->opening == 0)
		hand_back(ot, why);
	free_if_unused(ot);
}

void outlet_closed(struct outlet *ot)
{
	ot->conns--;
	relay_count(ot->r, connections, -1);
	tell_owner(ot, PATH_CLOSED, NULL);
	open_more(ot, 0);
}

enum err outlet_wait(struct outlet *ot, struct list_link *idle, struct fiber_wait *wait)
{
	list_push_front(&ot->idle, idle);
	enum err err = fiber_wait(wait, ot->target->limits.idle_ms);

	list_remove(idle);
	return err;
}

void outlet_stop_all(struct relay_here *r)
{
	list_each(&r->outlet_list, link)
	{
		struct outlet *ot = container_of(link, struct outlet, all);

		list_each(&ot->idle, idle) deliver_stop(idle);
	}
}

void outlet_walk(struct relay_here *r, bool (*each)(void *arg, struct parcel *p), void *arg)
{
	list_each(&r->outlet_list, link)
	{
		struct outlet *ot = container_of(link, struct outlet, all);

		for (unsigned lane = 0; lane < ENVELOPE_LANE_COUNT; lane++)
			list_each(&ot->lanes[lane],
				waiting) if (!each(arg,
						     container_of(waiting, struct parcel,
							     link))) return;
	}
	deliver_walk(r, each, arg);
}
