/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs: a queue's run one at a time in the order sent, on a thread of its own if it has one, and come
 * home to whoever sent them. */
#include "core/job.h"

#include "core/fiber.h"
#include "tests/core/workers.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

enum { SENDERS = 3, EACH = 2000 };

static struct job_queue queue;

/* Touched by the queue's jobs only, so plain: the thread sanitizer looks whether that is so. */
static unsigned next_number[SENDERS];
static unsigned ran;
static pthread_t on;
static bool other_thread;

static _Atomic unsigned came_home;

struct numbered {
	struct job job;
	unsigned sender, number;
};

static void take(struct job *job)
{
	struct numbered *n = container_of(job, struct numbered, job);

	check(next_number[n->sender]++ == n->number);
	other_thread |= ran++ && !pthread_equal(on, pthread_self());
	on = pthread_self();
}

static void home(struct worker *w, struct job *job)
{
	struct numbered *n = container_of(job, struct numbered, job);

	check(worker_index(w) == n->sender);
	free(n);
	atomic_fetch_add(&came_home, 1);
}

static void send_many(struct worker *w, void *arg)
{
	for (unsigned i = 0; i < EACH; i++) {
		struct numbered *n = calloc(1, sizeof(*n));

		*n = (struct numbered){
			.job = { .run = take, .done = home }, .sender = worker_index(w), .number = i
		};
		job_send(&n->job, &queue);
	}
}

static void from_all_workers(void)
{
	for (unsigned i = 1; i < SENDERS; i++)
		post_call(i, send_many, NULL);
	send_many(worker_self(), NULL);
	while (atomic_load(&came_home) < SENDERS * EACH)
		check(fiber_sleep(1) == OK);
}

static void body_shared(struct worker *w)
{
	(void)w;
	from_all_workers();
	job_queue_stop(&queue);
}

Test(job, a_queue_keeps_the_order_and_runs_one_at_a_time)
{
	run_on_workers(SENDERS, body_shared);
	cr_expect_eq(ran, (unsigned)SENDERS * EACH);
}

static void body_own(struct worker *w)
{
	(void)w;
	check(job_queue_start(&queue) == OK);
	from_all_workers();
	job_queue_stop(&queue);
	check(!queue.own);
}

Test(job, a_queue_with_a_thread_of_its_own_stays_on_it)
{
	run_on_workers(SENDERS, body_own);
	cr_expect_eq(ran, (unsigned)SENDERS * EACH);
	cr_expect(!other_thread);
	for (unsigned i = 0; i < SENDERS; i++)
		cr_expect_eq(next_number[i], (unsigned)EACH);
}

/* --- Side by side --- */

static sem_t gate;

static void wait_at_gate(void *arg)
{
	(void)arg;
	while (sem_wait(&gate) != 0)
		;
}

static void open_gate(void *arg)
{
	(void)arg;
	sem_post(&gate);
}

static void blocked(void *arg)
{
	bool *done = arg;

	job_run_in(&queue, wait_at_gate, NULL);
	*done = true;
}

/* While the queue's thread is stuck all helper threads serve others, and sending waits for nobody. */
static void body_stuck(struct worker *w)
{
	bool done = false;

	sem_init(&gate, 0, 0);
	check(job_queue_start(&queue) == OK);
	check(fiber_start(w, blocked, &done) == OK);
	for (unsigned i = 0; i < 10; i++)
		check(fiber_sleep(0) == OK);
	check(!done);
	job_run(open_gate, NULL);
	while (!done)
		check(fiber_sleep(1) == OK);
	job_queue_stop(&queue);
	sem_destroy(&gate);
}

Test(job, a_stuck_queue_of_its_own_keeps_nobody_else)
{
	run_on_workers(1, body_stuck);
}

/* --- Ends --- */

struct again {
	struct job job;
	unsigned left;
	struct fiber_wait ended;
};

static void nothing(struct job *job)
{
	(void)job;
}

static void once_more(struct worker *w, struct job *job)
{
	struct again *a = container_of(job, struct again, job);

	(void)w;
	if (--a->left)
		job_send(job, &queue);
	else
		fiber_wake(&a->ended, OK);
}

static void one_after_the_other(struct again *a)
{
	*a = (struct again){ .job = { .run = nothing, .done = once_more }, .left = 500 };
	job_send(&a->job, &queue);
	check(fiber_wait_through(&a->ended) == OK);
}

/* Started and stopped again and again; what it lay in may be freed at once. */
static void body_ends(struct worker *w)
{
	static struct again a;

	(void)w;
	for (unsigned i = 0; i < 20; i++) {
		queue = (struct job_queue){ 0 };
		if (i % 2)
			check(job_queue_start(&queue) == OK);
		one_after_the_other(&a);
		job_queue_stop(&queue);
		memset(&queue, 0xa5, sizeof(queue));
	}
}

Test(job, done_may_send_it_again_and_stop_waits_for_the_last)
{
	run_on_workers(1, body_ends);
}

/* Ends only when the fiber went on after the fork. */
static void wait_for(void *arg)
{
	while (sem_wait(arg))
		;
}

static void body_fork(struct worker *w)
{
	struct job_fork forks[2];
	sem_t there;

	(void)w;
	sem_init(&there, 0, 0);
	for (size_t i = 0; i < array_len(forks); i++)
		job_fork(&forks[i], wait_for, &there);
	for (size_t i = 0; i < array_len(forks); i++)
		sem_post(&there);
	for (size_t i = 0; i < array_len(forks); i++)
		job_join(&forks[i]);
	job_join(&forks[0]);
	sem_destroy(&there);
}

Test(job, a_fork_runs_beside_its_fiber)
{
	run_on_workers(1, body_fork);
}

static void mark(void *arg)
{
	*(bool *)arg = true;
}

Test(job, outside_of_workers_it_is_a_call)
{
	bool did = false;
	struct job_fork f;

	job_run_in(&queue, mark, &did);
	cr_expect(did);
	did = false;
	job_fork(&f, mark, &did);
	cr_expect(did);
	job_join(&f);
}
