/* SPDX-License-Identifier: GPL-2.0-or-later */
/* queue_find.c - does a recipient fit an operator's filter? In RAM by its parcel, on disk by its row; a
 * row may be in hand, which only the worker of its path knows. */
#include "relay/queue_int.h"

#include "relay/sched.h"

static bool sender_fits(slice want, slice sender)
{
	if (want.len == 0)
		return true;
	if (slice_eq(want, SLICE("<>")))
		return sender.len == 0;
	if (want.ptr[0] == '@')
		return slice_eq_nocase(envelope_domain(sender), slice_skip(want, 1));
	return slice_eq_nocase(want, sender);
}

struct facts {
	queue_id id;
	uint32_t n;
	slice sender, recipient, domain;
	wall_ms received_at;
	enum queue_state state;
};

static bool fits(const struct queue_filter *f, const struct facts *x, wall_ms now)
{
	msec age = now - x->received_at;

	return (!f->id || f->id == x->id) && (f->index == QUEUE_ALL || f->index == x->n) &&
		sender_fits(f->sender, x->sender) &&
		(f->recipient.len == 0 || slice_eq_nocase(f->recipient, x->recipient)) &&
		(f->domain.len == 0 || slice_eq_nocase(f->domain, x->domain)) &&
		age >= f->older_ms && (!f->newer_ms || age <= f->newer_ms) &&
		(f->state < 0 || f->state == (int)x->state);
}

bool queue_item_fits(const struct queue_filter *f, struct relay_here *r, enum queue_state state,
	const struct parcel *p, const struct item *it)
{
	struct facts x = {
		.id = p->m->ref.id,
		.n = it->n,
		.sender = p->m->env.sender,
		.recipient = parcel_rcpt(p, it)->address,
		.domain = p->domain,
		.received_at = p->m->env.received_at,
		.state = state,
	};

	return fits(f, &x, worker_wall(r->w));
}

/* Disk ----------------------------------------------------------------------------------------- */

enum queue_state queue_state_of(const struct schedule_entry *entry)
{
	return entry->state == SCHEDULE_HELD ? QUEUE_HELD : QUEUE_PARKED;
}

struct matching {
	const struct queue_filter *f;
	wall_ms now;
};

/* On a helper thread. */
static bool entry_fits(void *arg, const struct schedule_entry *entry)
{
	const struct matching *match = arg;
	struct sched_tail tail;
	struct facts x = { .id = entry->ref.id,
		.n = entry->n,
		.domain = entry->domain,
		.received_at = entry->first_seen,
		.state = queue_state_of(entry) };

	if (sched_tail_of(entry->tail, &tail)) {
		x.sender = tail.sender;
		x.recipient = tail.recipient;
	}
	if (match->f->state == QUEUE_ACTIVE) {
		struct queue_filter any = *match->f;

		any.state = -1;
		return fits(&any, &x, match->now);
	}
	return fits(match->f, &x, match->now);
}

enum err queue_read(struct relay_here *r, const struct queue_filter *f,
	struct schedule_cursor *from, struct arena *a, struct schedule_page *out)
{
	struct matching match = { .f = f, .now = worker_wall(r->w) };
	struct schedule_filter query = {
		.id = f->id,
		.domain = f->domain,
		.match = entry_fits,
		.arg = &match,
		.limit = QUEUE_PAGE,
		.from = *from,
	};
	enum err err = schedule_read(r->st, &query, a, out);

	if (!err)
		*from = out->next;
	return err;
}

static void ask_here(struct worker *w, void *arg)
{
	struct queue_ask *ask = arg;
	struct relay_here *r = relay_here(w);

	for (size_t i = 0; i < ask->len; i++) {
		const struct schedule_entry *entry = &ask->entries[i];

		if (relay_owner(r, map_hash(&r->seed, entry->domain)) != r->index)
			continue;
		if (ask->touched)
			sched_touched(r, entry);
		else
			ask->in_hand[i] = sched_in_hand(r, entry->ref.id, entry->n);
	}
}

void queue_ask(struct queue_ask *ask)
{
	for (unsigned i = 0; i < workers_count(); i++)
		post_call(i, ask_here, ask);
}
