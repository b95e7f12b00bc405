/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fibers: start, wait, wake, cancel, and the tools between them. */
#include "core/fiber.h"

#include "core/fiber_int.h"
#include "tests/core/workers.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>

static char trace[64];
static size_t traced;

static void note(const char *text)
{
	trace[traced++] = text[0];
}

struct shared {
	struct worker *w;
	struct fiber_wait wait;
	struct fiber *fiber;
	enum err result;
	msec timeout;
	bool through, done;
};

static void waiter(void *arg)
{
	struct shared *s = arg;

	s->fiber = fiber_self();
	s->result = s->through ? fiber_wait_through(&s->wait) : fiber_wait(&s->wait, s->timeout);
	s->done = true;
}

static void run_until_done(struct shared *s)
{
	while (!s->done)
		check(fiber_sleep(0) == OK);
}

static void body_order(struct worker *w)
{
	struct shared s = { .w = w, .timeout = FIBER_FOREVER };

	note("a");
	check(fiber_start(w, waiter, &s) == OK);
	note("b");
	check(!s.done);
	fiber_wake(&s.wait, ERR_BUSY);
	check(!s.done); /* never inside the waker */
	run_until_done(&s);
	check(s.result == ERR_BUSY);
	check(strcmp(trace, "ab") == 0);
}

Test(fiber, start_runs_to_the_first_wait_and_wake_resumes_from_the_loop)
{
	run_on_workers(1, body_order);
}

static void body_timeout(struct worker *w)
{
	struct shared s = { .w = w, .timeout = 5 };
	msec before = worker_now(w);

	check(fiber_start(w, waiter, &s) == OK);
	run_until_done(&s);
	check(s.result == ERR_TIMEOUT);
	check(worker_now(w) >= before + 5);

	struct fiber_wait woken = { 0 };

	fiber_wake(&woken, ERR_EXISTS);
	check(fiber_wait(&woken, 0) == ERR_EXISTS);
	check(fiber_wait(&woken, 0) == ERR_TIMEOUT);
}

Test(fiber, waits_time_out_and_an_early_wake_counts)
{
	run_on_workers(1, body_timeout);
}

static void body_cancel(struct worker *w)
{
	struct shared s = { .w = w, .timeout = FIBER_FOREVER };

	check(fiber_start(w, waiter, &s) == OK);
	fiber_cancel(s.fiber, ERR_RESET);
	run_until_done(&s);
	check(s.result == ERR_RESET);

	struct shared deaf = { .w = w, .through = true };

	check(fiber_start(w, waiter, &deaf) == OK);
	fiber_cancel(deaf.fiber, ERR_RESET);
	check(fiber_sleep(2) == OK);
	check(!deaf.done);
	fiber_wake(&deaf.wait, OK);
	run_until_done(&deaf);
	check(deaf.result == OK);

	fiber_cancel(fiber_self(), ERR_STOPPED);
	check(fiber_sleep(1000) == ERR_STOPPED);
	check(fiber_sleep(1) == OK);
}

Test(fiber, cancel_interrupts_or_is_remembered)
{
	run_on_workers(1, body_cancel);
}

static unsigned inside, finished;
static struct fiber_mutex mutex;
static struct fiber_sem sem = { .free = 3 };

static void locker(void *arg)
{
	(void)arg;
	check(fiber_mutex_lock(&mutex, FIBER_FOREVER) == OK);
	check(inside++ == 0);
	check(fiber_sleep(1) == OK);
	inside--;
	fiber_mutex_unlock(&mutex);
	finished++;
}

static void taker(void *arg)
{
	unsigned *most = arg;

	check(fiber_sem_take(&sem, FIBER_FOREVER) == OK);
	inside++;
	*most = MAX(*most, inside);
	check(fiber_sleep(1) == OK);
	inside--;
	fiber_sem_give(&sem);
	finished++;
}

static void body_tools(struct worker *w)
{
	unsigned most = 0;

	for (unsigned i = 0; i < 10; i++)
		check(fiber_start(w, locker, NULL) == OK);
	while (finished < 10)
		check(fiber_sleep(0) == OK);
	check(!mutex.held);
	for (unsigned i = 0; i < 10; i++)
		check(fiber_start(w, taker, &most) == OK);
	while (finished < 20)
		check(fiber_sleep(0) == OK);
	check(most == 3 && sem.free == 3);

	struct fiber_gate gate = { 0 };

	check(fiber_gate_wait(&gate, 1) == ERR_TIMEOUT);
	check(fiber_gate_empty(&gate));
	check(!fiber_gate_wake_one(&gate, OK));
}

Test(fiber, mutex_semaphore_and_gate)
{
	run_on_workers(1, body_tools);
}

/* Registers, floating point included, survive switches; deep frames have room. */
static void number_cruncher(void *arg)
{
	double *out = arg, x = *out;
	volatile char deep[16 * 1024];

	deep[0] = 1;
	deep[sizeof(deep) - 1] = 2;
	for (unsigned i = 0; i < 20; i++) {
		x = sqrt(x) + i;
		check(fiber_sleep(0) == OK);
	}
	check(deep[0] == 1 && deep[sizeof(deep) - 1] == 2);
	*out = x;
	finished++;
}

static void body_many(struct worker *w)
{
	static double values[500];

	for (unsigned i = 0; i < array_len(values); i++) {
		values[i] = i * 1.5;
		check(fiber_start(w, number_cruncher, &values[i]) == OK);
	}
	while (finished < array_len(values))
		check(fiber_sleep(0) == OK);
	for (unsigned i = 0; i < array_len(values); i++) {
		double x = i * 1.5;

		for (unsigned k = 0; k < 20; k++)
			x = sqrt(x) + k;
		check(values[i] == x);
	}
}

Test(fiber, five_hundred_side_by_side)
{
	run_on_workers(1, body_many);
}

static void nested_inner(void *arg)
{
	note("2");
	check(fiber_sleep(1) == OK);
	note("5");
	*(bool *)arg = true;
}

static void nested_outer(void *arg)
{
	note("1");
	check(fiber_start(worker_self(), nested_inner, arg) == OK);
	note("3");
}

static void body_nested(struct worker *w)
{
	bool done = false;

	check(fiber_start(w, nested_outer, &done) == OK);
	note("4");
	while (!done)
		check(fiber_sleep(0) == OK);
	check(strcmp(trace, "12345") == 0);
}

Test(fiber, a_fiber_starts_another_and_goes_on)
{
	run_on_workers(1, body_nested);
}

#ifndef FIBER_ASAN
/* Deeper than the stack: the guard page ends the process instead of a neighbour's memory. */
static unsigned dig(unsigned depth)
{
	volatile char frame[1024];

	frame[depth % sizeof(frame)] = (char)depth;
	return depth ? dig(depth - 1) + (unsigned)frame[depth % sizeof(frame)] : 0;
}

static void body_overflow(struct worker *w)
{
	(void)w;
	check(dig(10000) != 12345);
}

Test(fiber, an_overflow_hits_the_guard, .signal = SIGSEGV)
{
	run_on_workers(1, body_overflow);
}
#endif
