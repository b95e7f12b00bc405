/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations: results come from the loop, cancelled ones end once, faults hit the n-th. */
#include "core/ring.h"

#include "core/addr.h"
#include "core/fiber.h"
#include "tests/core/workers.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

struct waited {
	struct op op;
	struct fiber_wait wait;
	unsigned calls;
	int res;
};

static void finished(struct op *op, int res)
{
	struct waited *x = container_of(op, struct waited, op);

	x->calls++;
	x->res = res;
	fiber_wake(&x->wait, OK);
}

static void body_poll(struct worker *w)
{
	struct waited x = { .op.done = finished };
	int fds[2];

	check(pipe(fds) == 0);
	ring_poll(w, &x.op, fds[0], POLLIN);
	check(op_busy(&x.op));
	check(fiber_sleep(2) == OK);
	check(x.calls == 0);
	check(write(fds[1], "x", 1) == 1);
	check(fiber_wait(&x.wait, 1000) == OK);
	check(x.calls == 1 && x.res & POLLIN && !op_busy(&x.op));
	close(fds[0]);
	close(fds[1]);
}

Test(ring, poll_waits_for_a_foreign_descriptor)
{
	run_on_workers(1, body_poll);
}

static void body_cancel(struct worker *w)
{
	struct waited x = { .op.done = finished };
	int fds[2];

	check(pipe(fds) == 0);
	/* Before the kernel saw it. */
	ring_poll(w, &x.op, fds[0], POLLIN);
	ring_cancel(w, &x.op);
	ring_cancel(w, &x.op);
	check(x.calls == 0);
	check(fiber_wait(&x.wait, 1000) == OK);
	check(x.calls == 1 && x.res == ERR_CANCELED);
	/* And after. */
	ring_poll(w, &x.op, fds[0], POLLIN);
	check(fiber_sleep(2) == OK);
	ring_cancel(w, &x.op);
	ring_cancel(w, &x.op);
	check(fiber_wait(&x.wait, 1000) == OK);
	check(x.calls == 2 && x.res == ERR_CANCELED);
	ring_cancel(w, &x.op);
	close(fds[0]);
	close(fds[1]);
}

Test(ring, a_cancelled_operation_ends_once)
{
	run_on_workers(1, body_cancel);
}

/* More than the submission queue and the slot table hold at first. */
static void body_many(struct worker *w)
{
	enum { MANY = 5000 };
	struct waited *all = calloc(MANY, sizeof(*all));
	int fds[2];

	check(pipe(fds) == 0);
	for (unsigned i = 0; i < MANY; i++) {
		all[i].op.done = finished;
		ring_poll(w, &all[i].op, fds[0], POLLIN);
	}
	check(ring_in_flight(w) == MANY);
	check(fiber_sleep(2) == OK);
	check(write(fds[1], "x", 1) == 1);
	for (unsigned i = 0; i < MANY; i++) {
		check(fiber_wait(&all[i].wait, 5000) == OK);
		check(all[i].calls == 1 && all[i].res > 0);
	}
	check(ring_in_flight(w) == 0);
	free(all);
	close(fds[0]);
	close(fds[1]);
}

Test(ring, five_thousand_at_once)
{
	run_on_workers(1, body_many);
}

#ifdef RP_FAULTS
static void body_faults(struct worker *w)
{
	struct waited x = { .op.done = finished };
	int fds[2];

	check(pipe(fds) == 0);
	check(write(fds[1], "x", 1) == 1);
	ring_set_faults(w, &(struct ring_faults){ .fail_submission = 2, .fail_with = ERR_IO });
	ring_poll(w, &x.op, fds[0], POLLIN);
	check(fiber_wait(&x.wait, 1000) == OK && x.res > 0);
	ring_poll(w, &x.op, fds[0], POLLIN);
	check(x.calls == 1);
	check(fiber_wait(&x.wait, 1000) == OK && x.res == ERR_IO);
	ring_poll(w, &x.op, fds[0], POLLIN);
	check(fiber_wait(&x.wait, 1000) == OK && x.res > 0);
	close(fds[0]);
	close(fds[1]);
}

Test(ring, the_nth_submission_fails)
{
	run_on_workers(1, body_faults);
}
#endif

Test(ring, errno_is_translated)
{
	cr_assert_eq(ring_err(0), OK);
	cr_assert_eq(ring_err(ECONNREFUSED), ERR_REFUSED);
	cr_assert_eq(ring_err(-ENOSPC), ERR_NOSPACE);
	cr_assert_eq(ring_err(EDQUOT), ERR_NOSPACE);
	cr_assert_eq(ring_err(EIO), ERR_IO);
	cr_assert_eq(ring_err(-EMFILE), ERR_NOFILES);
	cr_assert_eq(ring_err(9999), ERR_IO);
}
