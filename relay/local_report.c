/* SPDX-License-Identifier: GPL-2.0-or-later */
/* local_report.c - what a sender is told of a message that went into mailboxes.
 *
 * The one of success, which the sender asked for (NOTIFY=SUCCESS), is made as for a next hop that was the last one (relay/bounce.c), by a fiber of its own, so
 * that no client waits for it. It is lost when the process dies first: delivery is never undone, and
 * RFC 3461 6.2 lets a success go unreported sooner than twice. The one of failure, of a member of an alias
 * who is full, is durable before the client gets its answer. */
#include "relay/local.h"

#include <stdlib.h>

#include "relay/event.h"
#include "relay/relay_int.h"
#include "relay/result.h"

struct report_job {
	struct relay_here *r;
	struct parcel *p;
};

static void run_report(void *arg)
{
	struct report_job *job = arg;
	struct relay_here *r = job->r;

	(void)!bounce_parcel(r, job->p); /* which logs it */
	parcel_free(r, job->p);
	free(job);
	relay_fiber_end(r);
}

static void fill_items(struct parcel *p, bool full)
{
	struct reason why;

	if (full)
		reason_words(&why, ERR_QUOTA, "5.2.2",
			SLICE("a mailbox that this address leads to is full; others have it"));
	else
		reason_words(&why, OK, "2.1.5", SLICE("delivered to the mailbox"));
	why.last_hop = true;
	for (uint32_t i = 0; i < p->count; i++) {
		p->items[i].n = i;
		p->items[i].notify_ok = p->items[i].notify_fail = true;
	}
	parcel_all(p, full ? OUTCOME_FAILED : OUTCOME_DELIVERED, &why);
}

static struct parcel *make_parcel(struct relay_here *r, const struct envelope *env, uint64_t id,
	bool full)
{
	struct out meta = out_heap(STORE_META_MAX);
	struct blob_ref ref = { .id = id, .low = id, .size = env->size };
	struct message *m = NULL;
	struct parcel *p = NULL;
	enum err err = OK;

	envelope_encode(env, &meta);
	if (out_ok(&meta))
		m = message_new(&ref, out_written(&meta), &err);
	if (m)
		p = parcel_new(r, m, m->env.rcpt_count);
	if (p)
		fill_items(p, full);
	message_put(m);
	out_heap_done(&meta);
	return p;
}

void local_report(struct worker *w, const struct envelope *env, uint64_t id)
{
	struct relay_here *r = relay_here(w);
	struct report_job *job = calloc(1, sizeof(*job));

	if (job)
		*job = (struct report_job){ .r = r, .p = make_parcel(r, env, id, false) };
	if (job && job->p && !relay_fiber(r, run_report, job))
		return;
	event_emit(&relay_events, RELAY_DSN_DROPPED, log_slice("to", env->sender),
		log_err(ERR_NOMEM));
	if (job && job->p)
		parcel_free(r, job->p);
	free(job);
}

void local_report_full(struct worker *w, const struct envelope *env, uint64_t id)
{
	struct relay_here *r = relay_here(w);
	struct parcel *p = make_parcel(r, env, id, true);

	if (p)
		(void)!bounce_parcel(r, p); /* which logs it */
	else
		event_emit(&relay_events, RELAY_DSN_DROPPED, log_slice("to", env->sender),
			log_err(ERR_NOMEM));
	if (p)
		parcel_free(r, p);
}
