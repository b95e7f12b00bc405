/* SPDX-License-Identifier: GPL-2.0-or-later */
/* local_report.c - the sender asked to be told (NOTIFY=SUCCESS), and the message is in the mailbox.
 *
 * The report is made as for a next hop that was the last one (relay/bounce.c), by a fiber of its own, so
 * that no client waits for it. It is lost when the process dies first: delivery is never undone, and
 * RFC 3461 6.2 lets a success go unreported sooner than twice. */
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

static void fill_items(struct parcel *p)
{
	struct reason why;

	reason_words(&why, OK, "2.1.5", SLICE("delivered to the mailbox"));
	why.last_hop = true;
	for (uint32_t i = 0; i < p->count; i++) {
		p->items[i].n = i;
		p->items[i].notify_ok = true;
	}
	parcel_all(p, OUTCOME_DELIVERED, &why);
}

static struct parcel *make_parcel(struct relay_here *r, const struct envelope *env, uint64_t id)
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
		fill_items(p);
	message_put(m);
	out_heap_done(&meta);
	return p;
}

void local_report(struct worker *w, const struct envelope *env, uint64_t id)
{
	struct relay_here *r = relay_here(w);
	struct report_job *job = calloc(1, sizeof(*job));

	if (job)
		*job = (struct report_job){ .r = r, .p = make_parcel(r, env, id) };
	if (job && job->p && !relay_fiber(r, run_report, job))
		return;
	event_emit(&relay_events, RELAY_DSN_DROPPED, log_slice("to", env->sender),
		log_err(ERR_NOMEM));
	if (job && job->p)
		parcel_free(r, job->p);
	free(job);
}
