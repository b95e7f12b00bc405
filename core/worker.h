/* SPDX-License-Identifier: GPL-2.0-or-later */
/* worker.h - one thread per core, its loop, and what belongs to it.
 *
 * A worker owns its ring, timers, buffers, fibers, listeners and connections; nobody else
 * touches them. One turn of its loop: completions, posts, timers, woken fibers, end-of-turn
 * hooks, then one system call that submits everything and sleeps until there is something to
 * do. All functions taking `w` are called on that worker unless said otherwise. */
#ifndef CORE_WORKER_H
#define CORE_WORKER_H

#include "core/base/base.h"

struct worker;

struct workers_config {
	unsigned count;           /* 0: one per usable core */
	unsigned ring_entries;    /* submissions per system call; 0: 512 */
	unsigned recv_bufs;       /* power of two; 0: 256 */
	unsigned recv_buf_bytes;  /* 0: 16 KB + a TLS record's overhead */
	unsigned job_threads;     /* helper threads of the process; 0: 4 */
	size_t fiber_stack_bytes; /* 0: 64 KB (256 KB under sanitizers) */
	size_t bufs_max_bytes;    /* pooled memory per worker; accepting pauses above; 0: 256 MB */
	bool pin;                 /* bind worker i to the i-th usable core */
	/* Runs on a fiber of each worker, all at the same time; an error stops the whole
	 * start. */
	enum err (*start)(struct worker *w, void *arg);
	/* Runs on a fiber of each worker when workers_stop() was called: drain here. After it
	 * returned, listeners are closed and connections still open are aborted with
	 * ERR_STOPPED. May be NULL. */
	void (*stop)(struct worker *w, void *arg);
	void *arg;
};

enum { WORKERS_MAX = 256 };

/* Returns when start() ended well on every worker. On failure nothing runs any more, and `why`
 * (when not NULL) says in one line what is missing and what to do about it. Called once at a
 * time, from a thread that is no worker. In the simulation (sim.h) the workers run inside
 * sim_run_until(). */
enum err workers_start(const struct workers_config *config, char *why, size_t why_bytes) must_use;
/* From any thread, also a worker; returns at once, further calls do nothing. */
void workers_stop(void);
/* Wait until all have ended: their fibers finished, nothing in flight. Not on a worker. */
void workers_join(void);

unsigned workers_count(void);
struct worker *worker_get(unsigned index); /* from any thread; for post_to and counters only */
unsigned worker_index(const struct worker *w);
/* NULL on a thread that is no worker. */
struct worker *worker_self(void);

/* Monotonic time, read once per turn (and by worker_touch_clock after long work). */
msec worker_now(const struct worker *w);
void worker_touch_clock(struct worker *w);
wall_ms worker_wall(const struct worker *w);
/* The same clocks for other threads: a system call, or the simulation's time. */
msec clock_now(void);
wall_ms clock_wall(void);
/* clock_now() to the microsecond. */
int64_t clock_now_us(void);

/* Per-worker storage of other modules. A slot is taken before workers_start (or from start()), once: of
 * a number that is not 0 any more nothing is done. *worker_slot() is NULL until somebody sets it. */
void worker_slot_take(unsigned *slot);
void **worker_slot(struct worker *w, unsigned slot);

/* Called at the end of every turn, before the system call, in the order they were added. A
 * hook may write to connections, wake fibers and submit operations, not wait. */
struct worker_hook {
	struct list_link link;
	void (*run)(struct worker *w, struct worker_hook *hook);
};
void worker_hook_add(struct worker *w, struct worker_hook *hook);
void worker_hook_remove(struct worker_hook *hook);
/* From a hook: be there again by that moment of clock_now_us(), which timers are too coarse for.
 * Holds for one turn. */
void worker_nap_until(struct worker *w, int64_t us);

/* Counters, written by the worker, read by anybody (relaxed). */
struct worker_stats {
	uint64_t turns, ops, posts, wakes, fibers_started, accepted, accept_pauses;
	uint64_t accept_errors, refused; /* refused: a client over its limit */
	uint64_t conns, fibers, fibers_pooled, bufs_bytes, recv_empty;
};
void worker_stats(const struct worker *w, struct worker_stats *out);

#endif
