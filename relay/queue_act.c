/* SPDX-License-Identifier: GPL-2.0-or-later */
/* queue_act.c - what an operator does to the queue: hold, release, retry, return, remove.
 *
 * What waits in RAM ends through result.c; rows are changed through the store, so it all survives a crash. */
#include "relay/queue_int.h"

#include "relay/path.h"
#include "relay/result.h"
#include "relay/sched.h"
#include "relay/site.h"

/* RAM ------------------------------------------------------------------------------------------ */

/* How what waits in RAM ends. Parcels of which all recipients fit are taken out; of others a part cannot
 * be taken, so those beside it are parked. */
static const struct {
	enum outcome outcome;
	const char *status, *words;
} ends[] = {
	[QUEUE_HOLD] = { OUTCOME_HELD, "", "held by an operator" },
	[QUEUE_BOUNCE] = { OUTCOME_FAILED, "5.0.0", "returned by an operator" },
	[QUEUE_REMOVE] = { OUTCOME_REMOVED, "", "removed by an operator" },
};

/* Of one worker's parcels, on that worker. */
struct change {
	const struct queue_filter *f;
	enum queue_action action;
	struct relay_here *r;
	void (*take)(struct relay_here *r, struct parcel *p); /* out of what is being walked */
	struct list taken;
	uint64_t changed;
};

static bool take_parcel(void *arg, struct parcel *p)
{
	struct change *change = arg;
	uint32_t count = 0;

	for (uint32_t i = 0; i < p->count; i++)
		count += queue_item_fits(change->f, change->r, QUEUE_READY, p, &p->items[i]);
	if (count > 0) {
		change->take(change->r, p);
		list_push(&change->taken, &p->link);
		change->changed += count;
	}
	return true;
}

static void change_parcel(struct change *change, struct parcel *p)
{
	struct reason why, parked;

	reason_words(&why, OK, ends[change->action].status, slice_str(ends[change->action].words));
	reason_words(&parked, OK, "", SLICE("beside one that an operator changed"));
	for (uint32_t i = 0; i < p->count; i++) {
		bool hit = queue_item_fits(change->f, change->r, QUEUE_READY, p, &p->items[i]);

		p->items[i].outcome =
			(uint8_t)(hit ? ends[change->action].outcome : OUTCOME_PARKED);
		p->items[i].no_attempt = true;
		p->items[i].due = worker_wall(change->r->w);
		item_reason(&p->items[i], hit ? &why : &parked);
	}
	result_parcel(change->r, p);
}

/* First everything is taken out, then it ends: a report may bring new mail into what is walked. */
static void change_here(struct worker *w, void *arg)
{
	struct change *change = arg;

	change->r = relay_here(w);
	list_init(&change->taken);
	change->take = site_take;
	site_walk_resting(change->r, take_parcel, change);
	site_walk(change->r, take_parcel, change);
	change->take = path_take;
	path_walk(change->r, take_parcel, change);
	for (struct list_link *link; (link = list_pop(&change->taken));)
		change_parcel(change, container_of(link, struct parcel, link));
}

/* Disk ----------------------------------------------------------------------------------------- */

/* A parked recipient ends: as a parcel of its own, so that a report can be made. */
static enum err end_entry(struct relay_here *r, const struct schedule_entry *entry,
	enum queue_action action)
{
	struct arena a = { 0 };
	struct message *m = NULL;
	struct parcel *p = NULL;
	struct reason why;
	slice meta;
	enum err err = store_message_meta(r->st, entry->ref.id, &a, &meta);

	if (!err)
		m = message_new(&entry->ref, meta, &err);
	if (!err && entry->n < m->env.rcpt_count)
		p = parcel_new(r, m, 1);
	if (p) {
		p->domain = envelope_domain(m->env.rcpts[entry->n].address);
		p->items[0].n = entry->n;
		p->items[0].indexed = true;
		p->items[0].attempts = entry->attempts;
		p->items[0].no_attempt = true;
		reason_words(&why, OK, ends[action].status, slice_str(ends[action].words));
		parcel_all(p, ends[action].outcome, &why);
		result_parcel(r, p);
	} else if (action == QUEUE_REMOVE) {
		/* Even what cannot be read can be removed. */
		struct schedule_done end = {
			.id = entry->ref.id, .n = entry->n, .indexed = true, .domain = entry->domain
		};

		err = schedule_finish(r->st, &end);
	}
	message_put(m);
	arena_done(&a);
	return err;
}

static enum err change_entry(struct relay_here *r, const struct schedule_entry *entry,
	enum queue_action action)
{
	wall_ms now = worker_wall(r->w);
	bool held = entry->state == SCHEDULE_HELD;
	struct schedule_change change = { .id = entry->ref.id,
		.n = entry->n,
		.domain = entry->domain,
		.hold = action == QUEUE_HOLD,
		.due = now };
	enum err err;

	if (action == QUEUE_BOUNCE || action == QUEUE_REMOVE)
		return end_entry(r, entry, action);
	if (held != (action == QUEUE_RELEASE))
		return ERR_NOT_FOUND;
	err = schedule_set_hold(r->st, &change);
	if (!err && !change.hold)
		sched_note(r, entry->domain, now);
	return err;
}

/* The changes of a page wait for the index, so a crew of fibers makes them side by side. */
enum { CREW = 64 };

struct crew {
	struct relay_here *r;
	const struct schedule_page *page;
	const bool *in_hand;
	enum queue_action action;
	size_t next;
	unsigned at_work;
	uint64_t changed;
	enum err err;
	struct fiber_wait done;
};

static void crew_work(void *arg)
{
	struct crew *crew = arg;

	while (!crew->err && crew->next < crew->page->len) {
		size_t at = crew->next++;

		if (crew->in_hand[at])
			continue;
		enum err err = change_entry(crew->r, &crew->page->entries[at], crew->action);

		if (!err)
			crew->changed++;
		else if (err != ERR_NOT_FOUND)
			crew->err = err;
	}
	relay_fiber_end(crew->r);
	if (--crew->at_work == 0)
		fiber_wake(&crew->done, OK);
}

static enum err act_on_page(struct relay_here *r, const struct schedule_page *page,
	enum queue_action action, uint64_t *changed)
{
	bool in_hand[QUEUE_PAGE] = { 0 };
	struct queue_ask ask = { .entries = page->entries, .len = page->len, .in_hand = in_hand };
	struct crew crew = {
		.r = r, .page = page, .in_hand = in_hand, .action = action, .at_work = 1
	};

	must(page->len <= QUEUE_PAGE);
	queue_ask(&ask);
	for (size_t i = 0; i < CREW && crew.next < page->len; i++) {
		crew.at_work++;
		if (relay_fiber(r, crew_work, &crew)) {
			crew.at_work--;
			crew.err = i == 0 ? ERR_NOMEM : crew.err;
			break;
		}
	}
	if (--crew.at_work > 0)
		fiber_wait_through(&crew.done);
	/* What was remembered of these rows is void, now that the changes are applied. */
	ask.touched = true;
	queue_ask(&ask);
	*changed += crew.changed;
	return crew.err;
}

static void wake_here(struct worker *w, void *arg)
{
	(void)arg;
	path_wake_all(relay_here(w));
	sched_wake_all(relay_here(w));
}

/* Twice: what was on its way from one worker to another during the first round is there by now. */
static uint64_t change_ram(struct relay_here *r, const struct queue_filter *f,
	enum queue_action action)
{
	uint64_t changed = 0;

	for (unsigned i = 0; i < 2 * r->workers; i++) {
		struct change change = { .f = f, .action = action };

		post_call(i % r->workers, change_here, &change);
		changed += change.changed;
	}
	return changed;
}

enum err queue_act(struct worker *w, const struct queue_filter *f, enum queue_action action,
	uint64_t *out)
{
	struct relay_here *r = relay_here(w);
	struct schedule_cursor from = { 0 };
	enum err err = OK;

	*out = 0;
	/* What is ready in RAM is on its way already: retry and release have nothing to do there. */
	if (action != QUEUE_RETRY && action != QUEUE_RELEASE)
		*out = change_ram(r, f, action);
	result_settle(r);
	for (unsigned i = 0; action == QUEUE_RETRY && i < r->workers; i++)
		post_call(i, wake_here, NULL);
	while (!err && !from.end) {
		struct arena a = { 0 };
		struct schedule_page page = { 0 };

		err = queue_read(r, f, &from, &a, &page);
		if (!err)
			err = act_on_page(r, &page, action, out);
		arena_done(&a);
	}
	return err;
}
