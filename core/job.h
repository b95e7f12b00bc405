/* SPDX-License-Identifier: GPL-2.0-or-later */
/* job.h - helper threads for what would block: password hashes, LMDB, opening files, cold reads.
 *
 * A job is a function run on a helper thread; its end comes back to the worker that sent it.
 * Jobs of one queue run one after the other, in the order sent (by any worker); jobs without a
 * queue run side by side. A job may call file_ functions, which block there. Threads start
 * with workers_start and end in workers_join after the last job. In the simulation a job runs
 * inline from the loop, in seeded order. */
#ifndef CORE_JOB_H
#define CORE_JOB_H

#include "core/fiber.h"
#include "core/post.h"

struct job_thread;
struct worker;

/* How the pool sees what it runs. */
struct job_item {
	struct job_item *next;
	void (*run)(struct job_item *item);
};

/* Zeroed is ready; empty when workers_join is called, and not freed before that returned or
 * job_queue_stop did. */
struct job_queue {
	struct job_item item; /* first member */
	struct job_item *_Atomic sent;
	struct job_item *taken; /* by whichever thread runs the queue */
	_Atomic unsigned pending;
	struct job_thread *own; /* NULL: it is run by the helper threads */
};

/* Gives a queue a thread of its own, for what may not change threads between its jobs (a
 * transaction of LMDB). Before its first job. In the simulation nothing changes. ERR_NOMEM. */
enum err job_queue_start(struct job_queue *queue) must_use;
/* When nothing of it is under way any more: ends the thread and waits for that. Also for queues
 * without one: no helper thread touches the queue any more when it returns. */
void job_queue_stop(struct job_queue *queue);

/* Callback form: set run and done, then send from a worker. `done` runs on that worker's loop
 * and may free or send the job again. Never fails. */
struct job {
	struct job_item item;
	struct post back;
	unsigned worker;
	struct job_queue *queue;
	void (*run)(struct job *job); /* on a helper thread */
	void (*done)(struct worker *w, struct job *job);
};
void job_send(struct job *job, struct job_queue *queue); /* NULL: no queue */

/* Fiber form: returns when fn(arg) has run; uninterruptible, so arg may live on the stack.
 * Outside a worker (start of the program, tools, inside a job) fn is simply called. */
void job_run(void (*fn)(void *arg), void *arg);
void job_run_in(struct job_queue *queue, void (*fn)(void *arg), void *arg);

/* The same in two halves, for a fiber that has something to do meanwhile. Every fork is joined, by the
 * same fiber; until then it and what arg names stay. Outside a worker job_fork itself calls fn. */
struct job_fork {
	struct job job;
	void (*fn)(void *arg);
	void *arg;
	struct fiber_wait wait;
	bool sent; /* and not joined */
};
void job_fork(struct job_fork *f, void (*fn)(void *arg), void *arg);
void job_join(struct job_fork *f);

#endif
