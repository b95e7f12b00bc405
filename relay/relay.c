/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay.c - the relay as a whole: generations of configuration, start, drain, stop.
 *
 * The process has one relay; its parts per worker are found through a worker slot. A configuration
 * is a counted generation: workers take the newest one at a reload, and targets made under an older
 * one keep it until their last connection ended. */
#include "relay/relay.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/entropy.h"
#include "core/tls.h"
#include "proto/mailauth/dkim_sign.h"
#include "relay/deliver.h"
#include "relay/event.h"
#include "relay/outlet.h"
#include "relay/path.h"
#include "relay/relay_int.h"
#include "relay/result.h"
#include "relay/sched.h"
#include "relay/sign_int.h"
#include "relay/site.h"
#include "relay/tlspol.h"

enum { SWEEP_MS = 1000, RESULTS_GRACE_MS = 5000, DRAIN_STEP_MS = 20 };

/* Results that stops had to leave behind, on disks that took no more. */
static _Atomic uint64_t given_up;

static struct {
	struct relay_gen *gen; /* the newest */
	struct map_seed seed;
	unsigned slot;
	_Atomic unsigned started;
	struct relay_here *here[WORKERS_MAX];
} relay;

struct relay_here *relay_here(struct worker *w)
{
	return *worker_slot(w, relay.slot);
}

unsigned relay_owner(const struct relay_here *r, uint64_t hash)
{
	/* The low bits choose buckets; others choose workers. */
	return (unsigned)((hash >> 32) % r->workers);
}

/* Generations ---------------------------------------------------------------------------------- */

struct relay_gen *relay_gen_hold(struct relay_gen *gen)
{
	atomic_fetch_add_explicit(&gen->refs, 1, memory_order_relaxed);
	return gen;
}

void relay_gen_put(struct relay_gen *gen)
{
	if (!gen || atomic_fetch_sub_explicit(&gen->refs, 1, memory_order_acq_rel) > 1)
		return;
	route_table_free(gen->routes);
	tls_client_put(gen->tls);
	conf_put(gen->conf);
	arena_done(&gen->arena);
	free(gen);
}

static void set_times(struct relay_gen *gen)
{
	gen->retry = (struct retry_times){
		.first_ms = gen->o->limits.retry_first_ms,
		.max_ms = gen->o->limits.retry_max_ms,
		.expire_ms = gen->o->limits.expire_ms,
		.factor = gen->o->retry_factor,
		.warn_ms = gen->o->retry_warn_ms,
	};
}

static void copy_own(struct relay_gen *gen, const struct relay_setup *setup)
{
	gen->own = arena_array(&gen->arena, struct addr, setup->own_count + 1);
	for (size_t i = 0; i < setup->own_count; i++) {
		gen->own[i] = setup->own[i];
		gen->own[i].path = NULL;
	}
	gen->own_count = setup->own_count;
}

static enum err gen_new(const struct relay_setup *setup, struct out *why, struct relay_gen **out)
{
	struct relay_gen *gen = calloc(1, sizeof(*gen));

	if (!gen)
		return ERR_NOMEM;
	atomic_init(&gen->refs, 1);
	gen->o = setup->options;
	gen->local = setup->local ? setup->local : &local_options_default;
	gen->hostname = arena_dup(&gen->arena, setup->hostname);
	gen->ehlo = gen->o->ehlo.len > 0 ? gen->o->ehlo : gen->hostname;
	gen->fields = arena_new(&gen->arena, struct dkim_fields);
	set_times(gen);
	copy_own(gen, setup);
	gen->still = setup->still;
	enum err err = route_table_make(&gen->o->routes, &gen->routes, why);

	if (!err && dkim_fields_parse(gen->o->sign.fields, &gen->arena, gen->fields)) {
		out_str(why, "relay.dkim.fields: not a list of header fields with From");
		err = ERR_INVALID;
	}
	/* What is held is let go by relay_gen_put, so hold only now. */
	if (setup->conf)
		gen->conf = conf_hold(setup->conf);
	if (setup->tls)
		gen->tls = tls_client_hold(setup->tls);
	if (err)
		relay_gen_put(gen);
	else
		*out = gen;
	return err;
}

enum err relay_init(const struct relay_setup *setup, struct out *why)
{
	enum err err = gen_new(setup, why, &relay.gen);

	if (err)
		return err;
	worker_slot_take(&relay.slot);
	entropy_fill(&relay.seed, sizeof(relay.seed));
	atomic_store(&relay.started, 0);
	return OK;
}

/* Workers -------------------------------------------------------------------------------------- */

enum err relay_fiber(struct relay_here *r, void (*fn)(void *arg), void *arg)
{
	r->fibers++;
	enum err err = fiber_start(r->w, fn, arg);

	if (err)
		r->fibers--;
	return err;
}

void relay_fiber_end(struct relay_here *r)
{
	must(r->fibers > 0);
	r->fibers--;
}

static void publish(struct relay_here *r)
{
	metric_set(&relay_metrics, RELAY_M_READY, r->counts.ready);
	metric_set(&relay_metrics, RELAY_M_ACTIVE, r->counts.active);
	metric_set(&relay_metrics, RELAY_M_CONNECTIONS, r->counts.connections);
	metric_set(&relay_metrics, RELAY_M_CONNECTS, (int64_t)r->counts.connections_opened);
	metric_set(&relay_metrics, RELAY_M_CONNECT_FAILURES, (int64_t)r->counts.connections_failed);
}

static void sweep(struct timer *timer)
{
	struct relay_here *r = container_of(timer, struct relay_here, sweep);

	if (r->draining)
		return;
	path_sweep(r, store_oldest_pressure(r->st));
	publish(r);
	/* Tests park after milliseconds. */
	timer_arm_in(r->w, &r->sweep, MIN((msec)SWEEP_MS, r->gen->o->park_after_ms));
}

static void retry_results(struct timer *timer)
{
	result_retry_failed(container_of(timer, struct relay_here, retry_results));
}

static void here_free(struct relay_here *r)
{
	relay.here[r->index] = NULL;
	map_done(&r->paths);
	map_done(&r->outlets);
	host_memory_free(r->hosts);
	sign_ring_free(r->sign);
	result_free_pool(r);
	relay_gen_put(r->gen);
	free(r);
}

static struct relay_here *here_new(struct worker *w, struct store *st)
{
	struct relay_here *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->w = w;
	r->st = st;
	r->index = worker_index(w);
	r->workers = workers_count();
	r->gen = relay_gen_hold(relay.gen);
	r->seed = relay.seed;
	list_init(&r->path_list);
	list_init(&r->outlet_list);
	list_init(&r->hop_list);
	list_init(&r->free_results);
	list_init(&r->failed_results);
	list_init(&r->resting);
	r->sweep.fire = sweep;
	r->retry_results.fire = retry_results;
	r->hosts = host_memory_new();
	r->sign = sign_ring_new();
	if (!r->hosts || !r->sign || resolver_open(w, &r->gen->o->resolver, &r->resolver)) {
		host_memory_free(r->hosts);
		sign_ring_free(r->sign);
		relay_gen_put(r->gen);
		free(r);
		return NULL;
	}
	return r;
}

static void replay_fiber(void *arg)
{
	struct relay_here *r = arg;

	queue_distribute_replay(r);
	relay_fiber_end(r);
}

/* Posts reach a worker only after its own start, so the last one to start begins. */
static enum err begin(struct relay_here *r)
{
	return relay_fiber(r, replay_fiber, r);
}

static enum err start_scan(struct worker *w, void *arg)
{
	(void)arg;
	sched_start(relay_here(w));
	return OK;
}

void local_begin(struct local *l, struct worker *w, struct arena *a)
{
	struct relay_here *r = relay_here(w);

	*l = (struct local){ .store = r->st,
		.options = r->gen->local,
		.routes = r->gen->routes,
		.arena = a,
		.secret = slice_of(r->secret, sizeof(r->secret)),
		.now = worker_wall(w) };
}

enum err relay_start(struct worker *w, struct store *st)
{
	struct relay_here *r = here_new(w, st);
	enum err err = OK;

	if (!r)
		return ERR_NOMEM;
	*worker_slot(w, relay.slot) = r;
	relay.here[r->index] = r;
	err = local_read_secret(st, r->secret);
	if (err)
		return err;
	if (!r->gen->still)
		timer_arm_in(w, &r->sweep, MIN((msec)SWEEP_MS, r->gen->o->park_after_ms));
	if (atomic_fetch_add(&relay.started, 1) + 1 == r->workers) {
		err = begin(r);
		if (!err && !r->gen->still)
			err = post_call_fiber(0, start_scan, NULL);
	}
	return err;
}

/* Reload --------------------------------------------------------------------------------------- */

static void take_gen(struct worker *w, void *arg)
{
	struct relay_here *r = relay_here(w);

	relay_gen_put(r->gen);
	r->gen = relay_gen_hold(arg);
	site_trim(r, true);
}

enum err relay_reload(struct worker *w, const struct relay_setup *setup, struct out *why)
{
	struct relay_gen *gen, *old = relay.gen;
	enum err err = gen_new(setup, why, &gen);

	(void)w;
	if (err)
		return err;
	relay.gen = gen;
	for (unsigned i = 0; i < workers_count(); i++)
		post_call(i, take_gen, gen);
	relay_gen_put(old);
	return OK;
}

/* The end -------------------------------------------------------------------------------------- */

static bool busy(const struct relay_here *r)
{
	return r->fibers > 0 || result_open(r) > 0;
}

enum err relay_settle(struct worker *w)
{
	struct relay_here *r = relay_here(w);
	enum err err = OK;

	while (!err && busy(r) && list_empty(&r->failed_results))
		err = fiber_sleep(1);
	return err || list_empty(&r->failed_results) ? err : ERR_IO;
}

static void forget_resting(struct relay_here *r)
{
	for (struct list_link *link; (link = list_first(&r->resting));) {
		struct parcel *p = container_of(link, struct parcel, link);

		site_take(r, p);
		parcel_free(r, p);
	}
}

static void forget_outlets(struct relay_here *r)
{
	for (struct list_link *link; (link = list_pop(&r->outlet_list));) {
		struct outlet *ot = container_of(link, struct outlet, all);

		for (struct parcel *p; (p = outlet_take(ot));)
			parcel_free(r, p);
		target_put(ot->target);
		free(ot);
	}
}

void relay_drain(struct worker *w, msec ms)
{
	struct relay_here *r = relay_here(w);
	msec until = worker_now(w) + ms;

	if (!r)
		return;
	r->draining = true;
	timer_disarm(&r->sweep);
	if (r->scanning)
		fiber_wake(&r->scan_wait, ERR_STOPPED);
	outlet_stop_all(r);
	/* Only what is being sent is worth the wait; who looks for an address has sent nothing. */
	resolver_stop(r->resolver);
	while (busy(r) && worker_now(w) < until)
		if (fiber_sleep(DRAIN_STEP_MS))
			break;
	/* Whoever still waits for a name or a reply is told to go. */
	resolver_close(r->resolver);
	r->resolver = NULL;
	deliver_abort_all(r);
	/* Results wait for as long as the disk is full or fails. A stop gives it a few tries more; then the
	 * journal tells them at its close, and the recipients are tried again after the next start. */
	until = worker_now(w) + RESULTS_GRACE_MS;
	while (r->fibers > 0 || (result_open(r) > 0 && worker_now(w) < until))
		(void)!fiber_sleep(DRAIN_STEP_MS);
	uint64_t open = result_open(r);

	for (const struct list_link *at = list_first(&r->failed_results); at;
		at = list_next(&r->failed_results, at))
		open++;
	atomic_fetch_add(&given_up, open);
	if (open)
		log_text(LOG_WARN,
			"%llu results are not on disk; these recipients will be tried again",
			(unsigned long long)open);
	timer_disarm(&r->retry_results);
	path_disarm_all(r);
	sched_disarm_all(r);
}

uint64_t relay_given_up(void)
{
	return atomic_load(&given_up);
}

/* Workers and their wheels are gone: only memory is left to give back. */
static void stop_here(struct relay_here *r)
{
	path_stop_all(r);
	forget_resting(r);
	forget_outlets(r);
	sched_stop(r);
	site_forget_all(r);
	here_free(r);
}

void relay_done(void)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (relay.here[i])
			stop_here(relay.here[i]);
	queue_forget_replay();
	relay_gen_put(relay.gen);
	relay.gen = NULL;
}

void relay_forget(void)
{
	memset(relay.here, 0, sizeof(relay.here));
	queue_forget_replay();
	relay.gen = NULL;
}

/* Asked from outside --------------------------------------------------------------------------- */

const struct route_table *relay_routes(struct worker *w)
{
	return relay_here(w)->gen->routes;
}

static uint64_t peek(const void *number)
{
	return __atomic_load_n((const uint64_t *)number, __ATOMIC_RELAXED);
}

static void add_counts(struct relay_stats *sum, const struct relay_counts *c)
{
	sum->accepted_messages += peek(&c->accepted_messages);
	sum->accepted_rcpts += peek(&c->accepted_rcpts);
	sum->delivered += peek(&c->delivered);
	sum->deferred += peek(&c->deferred);
	sum->bounced += peek(&c->bounced);
	sum->expired += peek(&c->expired);
	sum->removed += peek(&c->removed);
	sum->stored += peek(&c->stored);
	sum->dsns += peek(&c->dsns);
	sum->attempts += peek(&c->attempts);
	sum->connections_opened += peek(&c->connections_opened);
	sum->connections_failed += peek(&c->connections_failed);
	sum->tls_failed += peek(&c->tls_failed);
	sum->dns_failed += peek(&c->dns_failed);
	sum->signatures += peek(&c->signatures);
	sum->rcpts_ready += peek(&c->ready);
	sum->rcpts_active += peek(&c->active);
	sum->connections += peek(&c->connections);
	sum->paths += peek(&c->paths);
	sum->ram_bytes += peek(&c->ram_bytes);
}

void relay_stats(struct relay_stats *out)
{
	struct schedule_totals totals = { 0 };
	struct store *st = NULL;

	*out = (struct relay_stats){ 0 };
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct relay_here *r = relay.here[i];

		if (!r)
			continue;
		add_counts(out, &r->counts);
		st = r->st;
	}
	if (st && schedule_totals(st, &totals) == OK) {
		out->rcpts_parked = totals.waiting;
		out->rcpts_held = totals.held;
	}
}
