/* SPDX-License-Identifier: GPL-2.0-or-later */
/* worker_int.h - what a worker is made of; for the files of the engine only (worker, ring_*,
 * fiber, post, job, bufs, conn, listen, dial, file, sim).
 *
 * Everything here is touched by its own thread only, but for the atomic members, which are how
 * other threads reach a worker. */
#ifndef CORE_WORKER_INT_H
#define CORE_WORKER_INT_H

#include "core/fiber.h"
#include "core/fiber_int.h"
#include "core/op.h"
#include "core/post.h"
#include "core/ring.h"
#include "core/timer.h"
#include "core/worker.h"

#include <pthread.h>
#include <stdatomic.h>

struct listener;

/* The back end of the reactor: everything that differs between the kernel and the simulation. */
struct ring_backend {
	enum err (*open)(struct worker *w, const struct workers_config *config, char *why,
		size_t size);
	void (*close)(struct worker *w);
	/* What other threads may touch; when all threads are joined. */
	void (*forget)(struct worker *w);
	/* Take a filled op; it reaches the kernel in the next turn. */
	void (*stage)(struct worker *w, struct op *op);
	void (*cancel)(struct worker *w, struct op *op);
	/* Submit, sleep until a completion, a wake or the time-out (-1: none, 0: do not), set the
	 * clock, then run what completed. */
	void (*turn)(struct worker *w, msec timeout);
	void (*wake)(struct worker *w); /* from any thread */
	slice (*recv_bytes)(struct worker *w, const struct op *op, int res);
	void (*recv_return)(struct worker *w, struct op *op);

	enum err (*socket)(const struct addr *like, enum ring_socket_kind kind, int *out_fd);
	enum err (*bind)(int fd, const struct addr *to, bool share_port);
	enum err (*listen)(int fd, int backlog);
	void (*nodelay)(int fd);
	void (*shutdown)(int fd, int how);
	void (*close_fd)(int fd);
	struct addr (*local)(int fd);
	void (*say)(int fd, slice text); /* best effort, without waiting */

	msec (*now)(void);
	int64_t (*now_us)(void);
	wall_ms (*wall)(void);
};
extern const struct ring_backend ring_uring, ring_sim;
/* Chosen before workers start. */
extern const struct ring_backend *ring_backend;

/* Which op a completion belongs to: a slot names it, its generation tells old from new. */
struct ring_slot {
	struct op *op; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct ring {
	struct ring_slot *slots; /* [0] is unused */
	uint32_t slot_count, free_slot;
	unsigned in_flight;
	struct list staged;
	struct list failed; /* could not be staged; told in the next turn */
	struct ring_faults faults;
	void *impl; /* the back end's */
};
/* What the kernel gives back with the op's completion. */
uint64_t ring_user_data(const struct ring *r, const struct op *op);
/* The op this completion belongs to, NULL for a stale one. */
struct op *ring_slot_find(const struct ring *r, uint64_t user_data);
/* Frees the slot and calls done. */
void ring_complete(struct worker *w, struct op *op, int res);
/* Completes what could not be staged. True: there was some. */
bool ring_run_failed(struct worker *w);

struct fiber_pool {
	struct list free; /* last used first */
	struct list all;
	struct list ready;
	struct fiber *current;
	struct fiber_ctx loop; /* where the loop itself is suspended */
	size_t stack_bytes;
	unsigned alive, pooled, made;
	void *tsan_loop;
	const void *loop_stack; /* for ASan: the thread's own stack */
	size_t loop_stack_bytes;
};
void fiber_pool_init(struct worker *w, size_t stack_bytes);
void fiber_pool_done(struct worker *w);
/* The simulated crash: unmap every stack, whoever is on it. */
void fiber_pool_forget(struct worker *w);
/* Resume everybody who was ready when the call began. */
void fiber_run_ready(struct worker *w);
/* Give stacks back that nobody used for long. */
void fiber_pool_trim(struct worker *w);

struct bufs_class {
	void *free;
	unsigned free_count, low_count; /* low: fewest free since the last trim */
};
struct bufs {
	struct bufs_class classes[3];
	size_t used_bytes, max_bytes;
};
void bufs_done(struct worker *w);

enum { WORKER_SLOTS = 64 };

enum worker_state {
	WORKER_RUNNING,
	WORKER_STOPPING, /* the stop callback runs */
	WORKER_DRAINED,  /* it returned: connections are aborted, waiting for the last op */
	WORKER_IDLE,     /* nothing left; waiting for the other workers */
};

struct worker {
	unsigned index;
	enum worker_state state;
	const struct workers_config *config;
	msec now;
	int64_t nap_until_us; /* 0: no hook asked */
	struct timer_wheel wheel;
	struct ring ring;
	struct fiber_pool fibers;
	struct bufs bufs;
	struct list hooks;
	struct list conns, conns_dirty, listeners;
	unsigned conn_count, listener_conns, jobs_in_flight;
	size_t cached_bytes;          /* read from the page cache in this turn (file.c) */
	unsigned packers;             /* compressors in use by connections */
	struct conn_state *states[2]; /* conn_deflate.c's: blocks to be used again */
	unsigned states_len[2];
	void *slots[WORKER_SLOTS];
	struct post *own_posts, **own_posts_end; /* from itself: no atomics needed */
	struct worker_stats stats;
	struct post stop_post;
	struct timer trim;
	pthread_t thread;

	/* Touched by others. */
	_Alignas(64) struct post *_Atomic posts; /* newest first */
	_Atomic bool sleeping;
	_Atomic bool idle;
};

/* Run what was posted. True: there was something. */
bool post_run(struct worker *w);
bool post_pending(const struct worker *w);
/* Flush connections written to in this turn. */
void conn_flush_dirty(struct worker *w);
/* Gives the blocks back; there are no connections any more. */
void conn_states_done(struct worker *w);
void conn_abort_all(struct worker *w, enum err err);
void listener_stop_all(struct worker *w);
/* Limits count clients by this hash, whatever a PROXY header says later. */
uint64_t listener_client_hash(const struct listener *l, const struct addr *peer);
void listener_release(struct listener *l, uint64_t client_hash);
/* The simulation: run all workers until done(arg), or, without it, until all have ended. */
void sim_run_workers(bool (*done)(void *arg), void *arg);

enum err job_threads_start(unsigned count);
void job_threads_stop(void);
/* In the simulation: run one waiting job. False: none. And: forget them all. */
bool job_run_one_inline(void);
bool job_waiting_inline(void);
void job_forget_inline(void);

/* The workers as a whole, for the back ends. */
struct workers {
	struct worker *all[WORKERS_MAX];
	unsigned count;
};
extern struct workers workers;
/* One turn of the loop. False: this worker may end. */
bool worker_turn(struct worker *w, msec timeout);
/* How long the next turn may sleep. */
msec worker_may_sleep(struct worker *w);
/* That sleep in microseconds, cut short by a nap. */
int64_t worker_sleep_us(const struct worker *w, msec timeout);
void worker_close(struct worker *w);
/* A thread that leaves all signals to the main one, but those that a fault of its own raises. */
bool worker_thread_start(pthread_t *out, void *(*run)(void *), void *arg) must_use;
void worker_set_self(struct worker *w);
/* The simulated crash: there are no workers any more. */
void workers_forget(void);
/* Counters are read by other threads. */
#define stat_add(w, name, n) \
	__atomic_store_n(&(w)->stats.name, (w)->stats.name + (uint64_t)(n), __ATOMIC_RELAXED)
#define stat_set(w, name, n) __atomic_store_n(&(w)->stats.name, (uint64_t)(n), __ATOMIC_RELAXED)

#endif
