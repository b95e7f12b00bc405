/* SPDX-License-Identifier: GPL-2.0-or-later */
/* result.c - from outcomes to durable results.
 *
 * A parcel comes here when each of its items has an outcome. What the sender must be told is made
 * durable first, on a fiber; then one record per recipient is appended, lazily (durable within
 * 20 ms), without holding any connection. Only when all of them are durable does the parcel end:
 * so a crash may repeat a report or an attempt, and never loses a recipient. A record that the
 * journal refuses is tried again every second; the recipient stays where it is until then. */
#include "relay/relay_int.h"
#include "relay/result.h"

#include <stdlib.h>

#include "core/entropy.h"
#include "relay/event.h"
#include "relay/sched.h"
#include "relay/shape.h"

enum { RESULTS_POOLED = 1024, RETRY_FAILED_MS = 1000, SETTLE_STEP_MS = 2, SETTLE_MAX_MS = 1000 };

struct result {
	struct schedule_op sop;
	struct list_link link;
	struct relay_here *r;
	struct parcel *p;
	struct item *it;
};

static void submit(struct result *res);

static struct result *result_get(struct relay_here *r)
{
	struct list_link *link = list_pop(&r->free_results);
	struct result *res = link ? container_of(link, struct result, link) : malloc(sizeof(*res));

	if (link)
		r->free_result_count--;
	if (res)
		res->link = (struct list_link){ 0 };
	return res;
}

static void result_put(struct relay_here *r, struct result *res)
{
	if (r->free_result_count >= RESULTS_POOLED) {
		free(res);
		return;
	}
	list_push_front(&r->free_results, &res->link);
	r->free_result_count++;
}

void result_free_pool(struct relay_here *r)
{
	for (struct list_link *link; (link = list_pop(&r->free_results));)
		free(container_of(link, struct result, link));
	for (struct list_link *link; (link = list_pop(&r->failed_results));)
		free(container_of(link, struct result, link));
	r->free_result_count = 0;
}

static bool stays(const struct item *it)
{
	return it->outcome == OUTCOME_DEFERRED || it->outcome == OUTCOME_PARKED ||
		it->outcome == OUTCOME_HELD;
}

/* All its results are durable. */
static void parcel_end(struct relay_here *r, struct parcel *p)
{
	bool back = p->from_disk;

	for (uint32_t i = 0; i < p->count; i++)
		back = back || stays(&p->items[i]);
	if (back)
		sched_send_back(r, p);
	else
		parcel_free(r, p);
}

static void again_later(struct relay_here *r, struct result *res, enum err err)
{
	if (list_empty(&r->failed_results))
		event_emit(&relay_events, RELAY_STORE_TROUBLE, log_err(err));
	list_push(&r->failed_results, &res->link);
	if (!r->draining && !timer_armed(&r->retry_results))
		timer_arm_in(r->w, &r->retry_results, RETRY_FAILED_MS);
}

uint64_t result_open(const struct relay_here *r)
{
	return atomic_load_explicit(&r->results_sent, memory_order_relaxed) -
		atomic_load_explicit(&r->results_back, memory_order_relaxed);
}

struct under_way {
	struct relay_here *r;
	uint64_t sent;
};

static void ask_under_way(struct worker *w, void *arg)
{
	struct under_way *ask = arg;

	ask->r = relay_here(w);
	ask->sent = atomic_load_explicit(&ask->r->results_sent, memory_order_relaxed);
}

void result_settle(struct relay_here *r)
{
	msec until = worker_now(r->w) + SETTLE_MAX_MS;

	for (unsigned i = 0; i < r->workers; i++) {
		struct under_way ask = { 0 };

		post_call(i, ask_under_way, &ask);
		while (atomic_load_explicit(&ask.r->results_back, memory_order_acquire) <
				ask.sent &&
			worker_now(r->w) < until)
			if (fiber_sleep(SETTLE_STEP_MS))
				return;
	}
	/* If the index cannot be written, the listing shows what it has. */
	(void)!store_show(r->st);
}

void result_retry_failed(struct relay_here *r)
{
	struct list failed;

	list_init(&failed);
	for (struct list_link *link; (link = list_pop(&r->failed_results));)
		list_push(&failed, link);
	for (struct list_link *link; (link = list_pop(&failed));)
		submit(container_of(link, struct result, link));
}

static void result_done(struct journal_op *op, enum err err)
{
	struct schedule_op *sop = container_of(op, struct schedule_op, op);
	struct result *res = container_of(sop, struct result, sop);
	struct relay_here *r = res->r;
	struct parcel *p = res->p;

	schedule_op_free(sop);
	atomic_fetch_add_explicit(&r->results_back, 1, memory_order_release);
	if (err) {
		again_later(r, res, err);
		return;
	}
	message_settled(r->st, p->m);
	result_put(r, res);
	if (++p->settled == p->count)
		parcel_end(r, p);
}

static slice tail_of(const struct parcel *p, const struct item *it, struct out *o)
{
	struct sched_tail tail = { .flags = it->warned ? SCHED_WARNED : 0,
		.sender = p->m->env.sender,
		.recipient = parcel_rcpt(p, it)->address };

	if (it->outcome == OUTCOME_HELD && it->reason)
		tail.held_by = slice_of(it->reason->text, it->reason->text_len);
	sched_tail_put(&tail, o);
	return out_written(o);
}

static enum err submit_park(struct result *res)
{
	struct parcel *p = res->p;
	struct item *it = res->it;
	char tail_buf[SCHED_TAIL], reply[SCHEDULE_REPLY_MAX];
	struct out o = out_fixed(reply, sizeof(reply));
	struct out tail = out_fixed(tail_buf, sizeof(tail_buf));

	if (it->reason && it->reason->code)
		out_printf(&o, "%d ", it->reason->code);
	if (it->reason && it->reason->status[0])
		out_printf(&o, "%s ", it->reason->status);
	if (it->reason)
		out_slice(&o, slice_of(it->reason->text, it->reason->text_len));
	struct schedule_entry entry = {
		.ref = p->m->ref,
		.n = it->n,
		.attempts = it->attempts,
		.lane = p->lane,
		.state = it->outcome == OUTCOME_HELD ? SCHEDULE_HELD :
			it->attempts > 0             ? SCHEDULE_DEFERRED :
						       SCHEDULE_READY,
		.domain = p->domain,
		.due = it->due,
		.first_seen = p->m->env.received_at,
		.expires = result_expires(res->r, p),
		.reply = out_written(&o),
		.tail = tail_of(p, it, &tail),
	};

	return schedule_park_submit(res->r->st, &res->sop, &entry);
}

static void submit(struct result *res)
{
	struct item *it = res->it;
	enum err err;

	memset(&res->sop, 0, offsetof(struct schedule_op, small));
	res->sop.op.done = result_done;
	res->sop.op.flags = JOURNAL_LAZY;
	if (stays(it)) {
		err = submit_park(res);
	} else {
		struct schedule_done end = { .id = res->p->m->ref.id,
			.n = it->n,
			.indexed = it->indexed,
			.domain = res->p->domain };

		err = schedule_done_submit(res->r->st, &res->sop, &end);
	}
	if (err)
		again_later(res->r, res, err);
	else
		atomic_fetch_add_explicit(&res->r->results_sent, 1, memory_order_relaxed);
}

static void submit_all(struct relay_here *r, struct parcel *p)
{
	p->settled = 0;
	/* Sequence matters: with the last submit the parcel may already be gone. */
	for (uint32_t i = 0, count = p->count; i < count; i++) {
		struct result *res = result_get(r);

		if (!res) {
			/* Not even this much memory: the recipients stay in the journal. */
			event_emit(&relay_events, RELAY_STORE_TROUBLE, log_err(ERR_NOMEM));
			return;
		}
		res->r = r;
		res->p = p;
		res->it = &p->items[i];
		submit(res);
	}
}

/* What an outcome means -------------------------------------------------------------------------*/

/* Those of the domain's route, also while it is not yet known where that leads. */
static struct retry_times times_of(struct relay_here *r, const struct parcel *p)
{
	struct retry_times times = r->gen->retry;
	struct route_limits limits;

	if (p->target)
		limits = p->target->limits;
	else
		shape_limits(&r->gen->o->limits, route_find(r->gen->routes, p->domain), &limits);
	times.first_ms = limits.retry_first_ms;
	times.max_ms = limits.retry_max_ms;
	times.expire_ms = limits.expire_ms;
	return times;
}

wall_ms result_expires(struct relay_here *r, const struct parcel *p)
{
	return envelope_began(&p->m->env) + times_of(r, p).expire_ms;
}

static void settle_deferred(struct relay_here *r, struct parcel *p, struct item *it)
{
	const struct envelope_rcpt *rcpt = parcel_rcpt(p, it);
	const struct retry_times times = times_of(r, p);
	wall_ms now = worker_wall(r->w), received = envelope_began(&p->m->env);

	if (!it->no_attempt)
		it->attempts++;
	if (!it->no_attempt && retry_expired(&times, received, now)) {
		it->outcome = OUTCOME_FAILED;
		it->expired = true;
		relay_count(r, expired, 1);
		return;
	}
	if (!it->due || !it->no_attempt)
		it->due = retry_due(&times, received, now,
			retry_backoff(&times, MAX(it->attempts, 1u), entropy_u64()));
	if (!it->warned && retry_warns(&times, received, now) && p->m->env.sender.len > 0 &&
		(rcpt->notify == 0 || rcpt->notify & ENVELOPE_NOTIFY_DELAY))
		it->notify_warn = it->warned = true;
}

static const struct {
	enum relay_event event;
	const char *what;
} tellings[] = {
	[OUTCOME_DEFERRED] = { RELAY_DEFERRED, "deferred" },
	[OUTCOME_FAILED] = { RELAY_BOUNCED, "failed" },
	[OUTCOME_HELD] = { RELAY_HELD, "held" },
	[OUTCOME_REMOVED] = { RELAY_REMOVED, "removed" },
	[OUTCOME_PARKED] = { RELAY_PARKED, "parked" },
};

static void tell(struct relay_here *r, const struct parcel *p, const struct item *it)
{
	const struct reason none = { 0 }, *why = it->reason ? it->reason : &none;
	char id[48];
	struct out o = out_fixed(id, sizeof(id));
	wall_ms now = worker_wall(r->w);
	/* Counted for those that stay; a host's last word was an attempt all the same. */
	unsigned last = it->outcome == OUTCOME_FAILED && !it->expired && why->mta[0] && why->code;

	if (it->outcome == OUTCOME_DELIVERED || it->outcome >= array_len(tellings))
		return;
	queue_id_put_rcpt(&o, p->m->ref.id, it->n);
	event_emit(&relay_events, it->expired ? RELAY_EXPIRED : tellings[it->outcome].event,
		log_slice("id", out_written(&o)), log_slice("from", p->m->env.sender),
		log_slice("to", parcel_rcpt(p, it)->address),
		log_str("mx", why->mta[0] ? why->mta : NULL),
		log_int(why->code ? "code" : NULL, why->code),
		log_str("status", why->status[0] ? why->status : NULL),
		log_slice(why->text_len ? "reply" : NULL, slice_of(why->text, why->text_len)),
		log_err(why->err), log_ms("delay", now - p->m->env.received_at),
		log_uint("attempts", it->attempts + last),
		log_ms(stays(it) && it->outcome != OUTCOME_HELD ? "retry_in" : NULL,
			MAX(it->due - now, 0)));
}

static void settle(struct relay_here *r, struct parcel *p, struct item *it)
{
	const struct envelope_rcpt *rcpt = parcel_rcpt(p, it);

	must(it->outcome != OUTCOME_NONE);
	if (it->outcome == OUTCOME_DEFERRED)
		settle_deferred(r, p, it);
	if (it->outcome == OUTCOME_FAILED) {
		relay_count(r, bounced, 1);
		it->notify_fail = p->m->env.sender.len > 0 &&
			(rcpt->notify == 0 || rcpt->notify & ENVELOPE_NOTIFY_FAILURE);
	} else if (it->outcome == OUTCOME_DEFERRED) {
		relay_count(r, deferred, 1);
	} else if (it->outcome == OUTCOME_REMOVED) {
		relay_count(r, removed, 1);
	} else if (it->outcome == OUTCOME_DELIVERED) {
		/* RFC 3461 5.2.2: the next hop reports itself when it can. */
		it->notify_ok = p->m->env.sender.len > 0 &&
			rcpt->notify & ENVELOPE_NOTIFY_SUCCESS && it->reason &&
			!it->reason->dsn_capable;
	}
	tell(r, p, it);
}

/* The report could not be stored: nobody may be left without one, so a failure is tried again. */
static void postpone_reports(struct relay_here *r, struct parcel *p)
{
	for (uint32_t i = 0; i < p->count; i++) {
		struct item *it = &p->items[i];

		if (it->notify_fail) {
			it->outcome = OUTCOME_DEFERRED;
			it->due = worker_wall(r->w) + 60000;
		} else if (it->notify_warn) {
			it->warned = false;
		}
	}
}

struct report_job {
	struct relay_here *r;
	struct parcel *p;
};

static void report_and_submit(void *arg)
{
	struct report_job job = *(struct report_job *)arg;
	enum err err;

	free(arg);
	err = bounce_parcel(job.r, job.p);
	if (err)
		postpone_reports(job.r, job.p);
	submit_all(job.r, job.p);
	relay_fiber_end(job.r);
}

void result_parcel(struct relay_here *r, struct parcel *p)
{
	if (p->from_disk && p->items[0].outcome == OUTCOME_RETURNED) {
		sched_send_back(r, p);
		return;
	}
	for (uint32_t i = 0; i < p->count; i++)
		settle(r, p, &p->items[i]);
	if (!bounce_wanted(p)) {
		submit_all(r, p);
		return;
	}
	struct report_job *job = malloc(sizeof(*job));

	if (job) {
		*job = (struct report_job){ .r = r, .p = p };
		if (relay_fiber(r, report_and_submit, job) == OK)
			return;
		free(job);
	}
	postpone_reports(r, p);
	submit_all(r, p);
}
