/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulation's clock, events and scheduler. Time stands still while any worker has
 * something to do; whose turn it is is drawn from the seed. When nobody has, time jumps to the
 * next event or timer. Nothing here looks at an address or a real clock, so a seed always
 * gives the same run. */
#include "core/sim_int.h"

#include "core/entropy.h"

#include <stdlib.h>
#ifdef FIBER_ASAN
#include <sanitizer/lsan_interface.h>
#endif

enum { SEQUENCE_BITS = 20, TURN_US_MAX = 20 };

struct sim sim;

uint64_t sim_random(uint64_t below)
{
	uint64_t z = sim.random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (z ^ (z >> 31)) % (below ? below : 1);
}

bool sim_chance(unsigned per_mille)
{
	return per_mille && sim_random(1000) < per_mille;
}

bool sim_active(void)
{
	return sim.active;
}

void *sim_alloc(size_t bytes)
{
	void *p = calloc(1, bytes);

	must(p);
	return p;
}

int64_t sim_at(int64_t us_from_now, struct sim_event *event)
{
	int64_t at = sim.now_us + us_from_now;
	/* Events of one moment happen in the order they were made. */
	int64_t key =
		at << SEQUENCE_BITS | (int64_t)(sim.event_count++ & ((1u << SEQUENCE_BITS) - 1));

	must(heap_push(&sim.events, &event->node, key));
	return at;
}

static int64_t event_time(const struct heap_node *node)
{
	return node->key >> SEQUENCE_BITS;
}

static void fire_due(void)
{
	struct heap_node *node;

	while ((node = heap_min(&sim.events)) && event_time(node) <= sim.now_us) {
		struct sim_event *event = container_of(node, struct sim_event, node);

		heap_remove(&sim.events, node);
		event->fire(event);
	}
}

/* --- Start and end --- */

void sim_start(const struct sim_config *config)
{
	must(!sim.active);
	sim = (struct sim){
		.config = *config, .active = true, .random = config->seed, .now_us = 1000000000
	};
	if (!sim.config.delay_max_ms)
		sim.config.delay_max_ms = 5;
	if (!sim.config.short_per_mille)
		sim.config.short_per_mille = 200;
	wall_ms start = config->wall_start ? config->wall_start : 1767225600000;

	sim.wall_base = start - sim.now_us / 1000;
	entropy_seed(config->seed ^ 0x5eed);
	ring_backend = &ring_sim;
#ifdef FIBER_ASAN
	/* A crash leaks by design. */
	__lsan_disable();
#endif
}

static void drop_events(void)
{
	struct heap_node *node;

	while ((node = heap_min(&sim.events))) {
		heap_remove(&sim.events, node);
		free(container_of(node, struct sim_event, node));
	}
}

void sim_stop(void)
{
	must(sim.active && workers.count == 0);
	drop_events();
	heap_done(&sim.events);
	sim_net_reset();
	sim_disk_drop();
	entropy_unseed();
	ring_backend = &ring_uring;
	sim.active = false;
#ifdef FIBER_ASAN
	__lsan_enable();
#endif
}

void sim_wall_jump(msec by_ms)
{
	sim.wall_base += by_ms;
}

/* --- Turns --- */

static bool has_work(struct worker *w)
{
	worker_touch_clock(w);
	return worker_may_sleep(w) == 0 || post_pending(w) || !list_empty(&w->ring.staged) ||
		!list_empty(&w->ring.failed) || sim_has_results(w);
}

static void run_turn(struct worker *w)
{
	worker_set_self(w);
	sim.ended[w->index] = !worker_turn(w, 0);
	worker_set_self(NULL);
}

/* One step of somebody who has something to do. False: nobody. */
static bool step(void)
{
	unsigned ready[WORKERS_MAX], count = 0;
	unsigned jobs = job_waiting_inline();

	for (unsigned i = 0; i < workers.count; i++)
		if (!sim.ended[i] && has_work(workers.all[i]))
			ready[count++] = i;
	if (count + jobs == 0)
		return false;
	unsigned pick = (unsigned)sim_random(count + jobs);

	if (pick < count)
		run_turn(workers.all[ready[pick]]);
	else
		job_run_one_inline();
	sim.now_us += (int64_t)sim_random(TURN_US_MAX);
	fire_due();
	return true;
}

/* When something will happen next, at most `limit_us`. */
static int64_t next_moment(int64_t limit_us)
{
	struct heap_node *node = heap_min(&sim.events);
	int64_t next = node ? MIN(limit_us, event_time(node)) : limit_us;

	for (unsigned i = 0; i < workers.count; i++) {
		msec sleep = sim.ended[i] ? -1 : worker_may_sleep(workers.all[i]);

		if (sleep > 0)
			next = MIN(next, (workers.all[i]->now + sleep) * 1000);
	}
	return MAX(next, sim.now_us);
}

static bool all_ended(void)
{
	for (unsigned i = 0; i < workers.count; i++)
		if (!sim.ended[i])
			return false;
	return true;
}

/* An idle worker waits for the others, who may just have ended. */
static void poke_idle(void)
{
	for (unsigned i = 0; i < workers.count; i++)
		if (!sim.ended[i] && workers.all[i]->state >= WORKER_DRAINED)
			run_turn(workers.all[i]);
}

static bool run(bool (*done)(void *arg), void *arg, int64_t limit_us)
{
	fire_due();
	while (!sim.crashed) {
		if (done && done(arg))
			return true;
		if (workers.count && all_ended())
			return !done;
		if (step())
			continue;
		if (sim.now_us >= limit_us)
			return false;
		sim.now_us = next_moment(limit_us);
		fire_due();
		poke_idle();
	}
	return false;
}

bool sim_run_until(bool (*done)(void *arg), void *arg, msec limit_ms)
{
	must(sim.active);
	return run(done, arg, sim.now_us + limit_ms * 1000);
}

/* A start or an end that takes a virtual year hangs. */
void sim_run_workers(bool (*done)(void *arg), void *arg)
{
	if (workers.count == 0)
		return;
	if (done)
		memset(sim.ended, 0, sizeof(sim.ended));
	bool ok = run(done, arg, sim.now_us + 365 * 86400000000);

	if (!done && !sim.crashed) {
		must(ok);
		for (unsigned i = 0; i < workers.count; i++)
			worker_close(workers.all[i]);
	}
}

/* --- Crashes --- */

void sim_crash_at_write(unsigned n)
{
	sim.crash_at = n;
}

bool sim_crashed(void)
{
	return sim.crashed;
}

bool sim_count_write(void)
{
	if (sim.crash_at && --sim.crash_at == 0)
		sim.crashed = true;
	return sim.crashed;
}

void sim_crash(void)
{
	must(sim.active && !worker_self());
	for (unsigned i = 0; i < workers.count; i++)
		fiber_pool_forget(workers.all[i]);
	workers_forget();
	job_forget_inline();
	drop_events();
	sim_net_reset();
	sim_disk_crash();
	sim.crash_at = 0;
	sim.crashed = false;
}

void sim_disk_set(uint64_t disk_bytes, unsigned write_fail_per_mille)
{
	sim.config.disk_bytes = disk_bytes;
	sim.config.write_fail_per_mille = write_fail_per_mille;
}

void sim_net_set(unsigned reset_per_mille)
{
	sim.config.reset_per_mille = reset_per_mille;
}
