/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Posts between workers and from foreign threads: all arrive, in order, and sleepers wake. */
#include "core/post.h"

#include "core/fiber.h"
#include "core/job.h"
#include "tests/core/workers.h"

#include <pthread.h>
#include <stdlib.h>

enum { SENDERS = 3, EACH = 5000 };

struct numbered {
	struct post post;
	unsigned sender, number;
};

/* Touched by worker 1 only, until the end. */
static unsigned next_number[SENDERS];
static _Atomic unsigned arrived;

static void take_numbered(struct worker *w, struct post *post)
{
	struct numbered *n = container_of(post, struct numbered, post);

	check(worker_index(w) == 1);
	check(next_number[n->sender]++ == n->number);
	free(n);
	atomic_fetch_add(&arrived, 1);
}

static void *send_many(void *arg)
{
	unsigned sender = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		struct numbered *n = calloc(1, sizeof(*n));

		*n = (struct numbered){ .post.run = take_numbered, .sender = sender, .number = i };
		post_to(1, &n->post);
	}
	return NULL;
}

static void body_many(struct worker *w)
{
	pthread_t threads[SENDERS - 1];

	(void)w;
	for (unsigned i = 0; i < SENDERS - 1; i++)
		check(pthread_create(&threads[i], NULL, send_many, (void *)(uintptr_t)i) == 0);
	send_many((void *)(uintptr_t)(SENDERS - 1));
	while (atomic_load(&arrived) < SENDERS * EACH)
		check(fiber_sleep(1) == OK);
	for (unsigned i = 0; i < SENDERS - 1; i++)
		pthread_join(threads[i], NULL);
}

Test(post, many_senders_each_in_order)
{
	run_on_workers(2, body_many);
}

static void square(struct worker *w, void *arg)
{
	unsigned *n = arg;

	check(worker_index(w) == 1);
	*n *= *n;
}

static enum err slow_square(struct worker *w, void *arg)
{
	check(worker_index(w) == 1);
	check(fiber_sleep(1) == OK);
	square(w, arg);
	return ERR_HELD;
}

static void body_call(struct worker *w)
{
	unsigned n = 3;

	(void)w;
	post_call(1, square, &n);
	check(n == 9);
	check(post_call_fiber(1, slow_square, &n) == ERR_HELD);
	check(n == 81);
	for (unsigned i = 0; i < 200; i++) {
		unsigned small = i;

		post_call(1, square, &small);
		check(small == i * i);
	}
}

Test(post, a_call_runs_there_and_comes_back)
{
	run_on_workers(2, body_call);
}

static unsigned own_runs;

static void run_own(struct worker *w, struct post *post)
{
	if (++own_runs < 3)
		post_to(worker_index(w), post);
}

static void body_self(struct worker *w)
{
	static struct post post = { .run = run_own };

	post_to(worker_index(w), &post);
	check(own_runs == 0);
	while (own_runs < 3)
		check(fiber_sleep(0) == OK);
}

Test(post, to_oneself_runs_later)
{
	run_on_workers(1, body_self);
}

static struct job_queue queue;
static unsigned queued_sum, order[100], order_len;
static bool running;

static void queued(void *arg)
{
	/* No lock: the queue is the lock, which TSan confirms. */
	check(!running);
	running = true;
	order[order_len++] = (unsigned)(uintptr_t)arg;
	queued_sum += (unsigned)(uintptr_t)arg;
	running = false;
}

static _Atomic unsigned job_fibers;

static void job_fiber(void *arg)
{
	job_run_in(&queue, queued, arg);
	atomic_fetch_add(&job_fibers, 1);
}

static void body_jobs(struct worker *w)
{
	for (unsigned i = 0; i < 100; i++)
		check(fiber_start(w, job_fiber, (void *)(uintptr_t)i) == OK);
	while (atomic_load(&job_fibers) < 100)
		check(fiber_sleep(1) == OK);
	check(queued_sum == 99 * 100 / 2);
	for (unsigned i = 0; i < 100; i++)
		check(order[i] == i);
}

Test(job, a_queue_runs_one_at_a_time_in_order)
{
	run_on_workers(2, body_jobs);
}
