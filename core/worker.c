/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The workers: their threads, their loop, their start and their end.
 *
 * The end has three steps: the stop callback drains; what is left is aborted; and a worker
 * without fibers, operations and connections stays at hand until all the others are as far,
 * because one of them may still ask it for something. */
#include "core/worker_int.h"

#include "core/bufs.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRIM_MS = 5000, END_POLL_MS = 10 };

struct workers workers;

static _Thread_local struct worker *self;
static _Atomic unsigned slots_used;

/* How far the start and the end are; for the thread that called workers_start. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned opened, started;
	bool open_failed; /* an error of a start callback is no reason not to run */
	enum err err;
	char why[256];
	_Atomic bool stopping;
	struct workers_config config;
} life = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* --- What it is --- */

unsigned workers_count(void)
{
	return workers.count;
}

struct worker *worker_get(unsigned index)
{
	return index < workers.count ? workers.all[index] : NULL;
}

unsigned worker_index(const struct worker *w)
{
	return w->index;
}

struct worker *worker_self(void)
{
	return self;
}

void worker_set_self(struct worker *w)
{
	self = w;
}

msec worker_now(const struct worker *w)
{
	return w->now;
}

void worker_touch_clock(struct worker *w)
{
	w->now = ring_backend->now();
}

wall_ms worker_wall(const struct worker *w)
{
	(void)w;
	return ring_backend->wall();
}

int64_t clock_now_us(void)
{
	return ring_backend->now_us();
}

msec clock_now(void)
{
	return ring_backend->now();
}

wall_ms clock_wall(void)
{
	return ring_backend->wall();
}

void timer_arm(struct worker *w, struct timer *t, msec due)
{
	timer_wheel_arm(&w->wheel, t, due);
}

void timer_arm_in(struct worker *w, struct timer *t, msec ms)
{
	timer_wheel_arm(&w->wheel, t, w->now + ms);
}

void worker_slot_take(unsigned *slot)
{
	if (!*slot)
		*slot = 1 + atomic_fetch_add(&slots_used, 1);
	must(*slot < WORKER_SLOTS);
}

void **worker_slot(struct worker *w, unsigned slot)
{
	must(slot && slot < WORKER_SLOTS);
	return &w->slots[slot];
}

void worker_hook_add(struct worker *w, struct worker_hook *hook)
{
	list_push(&w->hooks, &hook->link);
}

void worker_hook_remove(struct worker_hook *hook)
{
	list_remove(&hook->link);
}

void worker_nap_until(struct worker *w, int64_t us)
{
	w->nap_until_us = w->nap_until_us ? MIN(w->nap_until_us, us) : us;
}

void worker_stats(const struct worker *w, struct worker_stats *out)
{
	const uint64_t *from = (const uint64_t *)&w->stats;
	uint64_t *to = (uint64_t *)out;

	_Static_assert(sizeof(*out) % sizeof(uint64_t) == 0, "only counters");
	for (size_t i = 0; i < sizeof(*out) / sizeof(uint64_t); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

/* --- The loop --- */

static void trim(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, trim);

	bufs_trim(w);
	fiber_pool_trim(w);
	timer_arm_in(w, t, TRIM_MS);
}

static bool has_nothing(const struct worker *w)
{
	return w->fibers.alive == 0 && w->ring.in_flight == 0 && w->conn_count == 0 &&
		w->jobs_in_flight == 0 && list_empty(&w->listeners) && !post_pending(w);
}

static bool all_idle(void)
{
	for (unsigned i = 0; i < workers.count; i++)
		if (!atomic_load(&workers.all[i]->idle))
			return false;
	return true;
}

static void run_hooks(struct worker *w)
{
	list_each(&w->hooks, link) container_of(link, struct worker_hook, link)
		->run(w, container_of(link, struct worker_hook, link));
}

/* Connections may make work for hooks and hooks may write to connections; hooks come last, so that
 * nothing they wait for is left when the worker goes to sleep. */
static void end_turn(struct worker *w)
{
	for (unsigned round = 0; round < 4; round++) {
		conn_flush_dirty(w);
		run_hooks(w);
		if (list_empty(&w->conns_dirty))
			return;
	}
}

msec worker_may_sleep(struct worker *w)
{
	if (!list_empty(&w->fibers.ready) || !list_empty(&w->conns_dirty) || w->own_posts)
		return 0;
	if (w->nap_until_us && ring_backend->now_us() >= w->nap_until_us)
		return 0;
	msec next = timer_wheel_next(&w->wheel);

	if (next > 0)
		next = MAX(0, next + w->wheel.now - w->now);
	if (w->nap_until_us)
		next = next < 0 ? 1 : MIN(next, 1);
	if (w->state >= WORKER_DRAINED)
		next = next < 0 ? END_POLL_MS : MIN(next, END_POLL_MS);
	return next;
}

int64_t worker_sleep_us(const struct worker *w, msec timeout)
{
	if (!w->nap_until_us)
		return timeout * 1000;
	return MAX(0, MIN(timeout * 1000, w->nap_until_us - ring_backend->now_us()));
}

bool worker_turn(struct worker *w, msec timeout)
{
	if (timeout != 0) {
		atomic_store(&w->sleeping, true);
		if (atomic_load(&w->posts)) {
			atomic_store(&w->sleeping, false);
			timeout = 0;
		}
	}
	ring_backend->turn(w, timeout);
	stat_add(w, turns, 1);
	w->cached_bytes = 0;
	post_run(w);
	timer_wheel_run(&w->wheel, w->now);
	fiber_run_ready(w);
	w->nap_until_us = 0;
	end_turn(w);
	stat_set(w, conns, w->conn_count);
	stat_set(w, fibers, w->fibers.alive);
	stat_set(w, fibers_pooled, w->fibers.pooled);
	if (w->state < WORKER_DRAINED)
		return true;
	bool nothing = has_nothing(w);

	atomic_store(&w->idle, nothing);
	return !(nothing && all_idle());
}

/* --- Start --- */

static void tell(unsigned *counter, enum err err)
{
	pthread_mutex_lock(&life.lock);
	++*counter;
	if (err && !life.err)
		life.err = err;
	if (err && counter == &life.opened)
		life.open_failed = true;
	pthread_cond_broadcast(&life.changed);
	pthread_mutex_unlock(&life.lock);
}

static void run_start(void *arg)
{
	struct worker *w = arg;
	enum err err = w->config->start ? w->config->start(w, w->config->arg) : OK;

	if (err) {
		pthread_mutex_lock(&life.lock);
		if (!life.why[0])
			snprintf(life.why, sizeof(life.why), "worker %u could not start: %s",
				w->index, err_text(err));
		pthread_mutex_unlock(&life.lock);
	}
	tell(&life.started, err);
}

static void launch(struct worker *w)
{
	enum err err = fiber_start(w, run_start, w);

	if (err)
		tell(&life.started, err);
}

static struct worker *make_worker(unsigned index, const struct workers_config *config)
{
	struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->index = index;
	w->config = config;
	w->own_posts_end = &w->own_posts;
	list_init(&w->ring.staged);
	list_init(&w->ring.failed);
	list_init(&w->hooks);
	list_init(&w->conns);
	list_init(&w->conns_dirty);
	list_init(&w->listeners);
	w->bufs.max_bytes = config->bufs_max_bytes ? config->bufs_max_bytes : (size_t)256 << 20;
	return w;
}

static enum err open_worker(struct worker *w, char *why, size_t size)
{
	worker_touch_clock(w);
	timer_wheel_init(&w->wheel, w->now);
	fiber_pool_init(w, w->config->fiber_stack_bytes);
	w->trim.fire = trim;
	timer_arm_in(w, &w->trim, TRIM_MS);
	return ring_backend->open(w, w->config, why, size);
}

void worker_close(struct worker *w)
{
	ring_backend->close(w);
	fiber_pool_done(w);
	bufs_done(w);
	conn_states_done(w);
	free(w->ring.slots);
	w->ring.slots = NULL;
}

static void pin_to_core(unsigned index)
{
	cpu_set_t usable, one;

	if (sched_getaffinity(0, sizeof(usable), &usable) != 0)
		return;
	unsigned want = index % (unsigned)MAX(1, CPU_COUNT(&usable));

	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &usable) || want--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

/* True when every worker has its ring. */
static bool wait_all_open(void)
{
	pthread_mutex_lock(&life.lock);
	while (life.opened < workers.count)
		pthread_cond_wait(&life.changed, &life.lock);
	bool ok = !life.open_failed;

	pthread_mutex_unlock(&life.lock);
	return ok;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	char why[sizeof(life.why)] = "", name[16];

	self = w;
	snprintf(name, sizeof(name), "worker-%u", w->index);
	pthread_setname_np(pthread_self(), name);
	if (w->config->pin)
		pin_to_core(w->index);
	enum err err = open_worker(w, why, sizeof(why));

	if (err) {
		pthread_mutex_lock(&life.lock);
		memcpy(life.why, why, sizeof(why));
		pthread_mutex_unlock(&life.lock);
	}
	tell(&life.opened, err);
	if (wait_all_open()) {
		launch(w);
		while (worker_turn(w, worker_may_sleep(w)))
			;
	}
	worker_close(w);
	return NULL;
}

bool worker_thread_start(pthread_t *out, void *(*run)(void *), void *arg)
{
	static const int faults[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP };
	sigset_t all, old;

	sigfillset(&all);
	for (size_t i = 0; i < array_len(faults); i++)
		sigdelset(&all, faults[i]); /* one that is blocked ends us without its handler */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	bool ok = pthread_create(out, NULL, run, arg) == 0;

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ok;
}

static unsigned usable_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	return (unsigned)MAX(1, CPU_COUNT(&set));
}

static enum err make_workers(const struct workers_config *config)
{
	unsigned count = config->count ? config->count : usable_cores();

	life.config = *config;
	life.opened = life.started = 0;
	life.open_failed = false;
	life.err = OK;
	life.why[0] = '\0';
	atomic_store(&life.stopping, false);
	count = MIN(count, (unsigned)WORKERS_MAX);
	for (unsigned i = 0; i < count; i++) {
		workers.all[i] = make_worker(i, &life.config);
		if (!workers.all[i])
			return ERR_NOMEM;
		workers.count = i + 1;
	}
	return job_threads_start(config->job_threads ? config->job_threads : 4);
}

static enum err wait_all_started(void)
{
	pthread_mutex_lock(&life.lock);
	while (life.opened < workers.count || (!life.err && life.started < workers.count))
		pthread_cond_wait(&life.changed, &life.lock);
	enum err err = life.err;

	pthread_mutex_unlock(&life.lock);
	return err;
}

static bool sim_all_started(void *arg)
{
	(void)arg;
	return life.started == workers.count || life.err;
}

static enum err launch_sim(void)
{
	for (unsigned i = 0; i < workers.count; i++) {
		struct worker *w = workers.all[i];

		self = w;
		enum err err = open_worker(w, life.why, sizeof(life.why));

		if (!err)
			launch(w);
		self = NULL;
		tell(&life.opened, err);
	}
	sim_run_workers(sim_all_started, NULL);
	return life.err;
}

static enum err launch_threads(void)
{
	for (unsigned i = 0; i < workers.count; i++) {
		if (worker_thread_start(&workers.all[i]->thread, worker_main, workers.all[i]))
			continue;
		workers.all[i]->thread = 0;
		tell(&life.opened, ERR_NOMEM);
	}
	return wait_all_started();
}

enum err workers_start(const struct workers_config *config, char *why, size_t why_bytes)
{
	must(workers.count == 0 && !self);
	if (why && why_bytes)
		why[0] = '\0';
	enum err err = make_workers(config);

	if (!err)
		err = ring_backend == &ring_sim ? launch_sim() : launch_threads();
	if (!err)
		return OK;
	if (why && why_bytes)
		snprintf(why, why_bytes, "%s", life.why[0] ? life.why : err_text(err));
	workers_stop();
	workers_join();
	return err;
}

/* --- End --- */

static void run_stop(void *arg)
{
	struct worker *w = arg;

	if (w->config->stop)
		w->config->stop(w, w->config->arg);
	w->state = WORKER_DRAINED;
	listener_stop_all(w);
	conn_abort_all(w, ERR_STOPPED);
	timer_disarm(&w->trim);
}

static void begin_stop(struct worker *w, struct post *post)
{
	(void)post;
	w->state = WORKER_STOPPING;
	/* Without memory for a fiber there is no draining either. */
	if (fiber_start(w, run_stop, w) != OK) {
		w->state = WORKER_DRAINED;
		listener_stop_all(w);
		conn_abort_all(w, ERR_STOPPED);
	}
}

void workers_stop(void)
{
	if (workers.count == 0 || atomic_exchange(&life.stopping, true))
		return;
	for (unsigned i = 0; i < workers.count; i++) {
		workers.all[i]->stop_post.run = begin_stop;
		post_to(i, &workers.all[i]->stop_post);
	}
}

void workers_forget(void)
{
	self = NULL;
	workers.count = 0;
}

void workers_join(void)
{
	must(!self);
	if (ring_backend == &ring_sim)
		sim_run_workers(NULL, NULL);
	for (unsigned i = 0; i < workers.count; i++)
		if (workers.all[i]->thread)
			pthread_join(workers.all[i]->thread, NULL);
	job_threads_stop();
	for (unsigned i = 0; i < workers.count; i++) {
		ring_backend->forget(workers.all[i]);
		free(workers.all[i]);
	}
	workers.count = 0;
}
