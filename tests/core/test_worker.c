/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workers: start, storage, hooks, the end; and what they say where io_uring is forbidden. */
#include "core/worker.h"

#include "core/entropy.h"
#include "core/fiber.h"
#include "core/post.h"
#include "tests/core/workers.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static unsigned hook_runs, slot;

static void count_hook(struct worker *w, struct worker_hook *hook)
{
	(void)w;
	(void)hook;
	hook_runs++;
}

static void read_slot(struct worker *w, void *arg)
{
	*(void **)arg = *worker_slot(w, slot);
}

static void body_parts(struct worker *w)
{
	static struct worker_hook hook = { .run = count_hook };
	struct worker_stats stats;
	void *theirs = w;

	check(workers_count() == 2 && worker_get(0) == w && worker_self() == w);
	check(!worker_get(2));
	worker_slot_take(&slot);
	unsigned taken = slot;
	worker_slot_take(&slot);
	check(slot == taken);
	check(*worker_slot(w, slot) == NULL);
	*worker_slot(w, slot) = &hook;
	post_call(1, read_slot, &theirs);
	check(theirs == NULL);

	worker_hook_add(w, &hook);
	for (unsigned i = 0; i < 5; i++)
		check(fiber_sleep(0) == OK);
	check(hook_runs == 5);
	worker_hook_remove(&hook);
	check(fiber_sleep(1) == OK);
	check(hook_runs == 5);
	worker_stats(w, &stats);
	check(stats.turns > 5 && stats.fibers == 1);
}

Test(worker, storage_hooks_and_counters)
{
	run_on_workers(2, body_parts);
}

static enum err fail_on_one(struct worker *w, void *arg)
{
	(void)arg;
	return worker_index(w) == 1 ? ERR_DENIED : OK;
}

Test(worker, one_failed_start_stops_all)
{
	struct workers_config config = { .count = 3, .start = fail_on_one };
	char why[256];

	cr_assert_eq(workers_start(&config, why, sizeof(why)), ERR_DENIED);
	cr_assert_not_null(strstr(why, "worker 1"), "%s", why);
	cr_assert_eq(workers_count(), 0u);
	/* And the next start finds a clean house. */
	config.count = 1;
	cr_assert_eq(workers_start(&config, why, sizeof(why)), OK);
	workers_stop();
	workers_join();
}

static _Atomic unsigned stopped;

static void slow_stop(struct worker *w, void *arg)
{
	(void)w;
	(void)arg;
	check(fiber_sleep(5) == OK);
	atomic_fetch_add(&stopped, 1);
}

Test(worker, the_stop_callback_may_wait)
{
	struct workers_config config = { .count = 2, .stop = slow_stop };

	cr_assert_eq(workers_start(&config, NULL, 0), OK);
	workers_stop();
	workers_stop();
	workers_join();
	cr_assert_eq(stopped, 2u);
	cr_assert_eq(checks_failed, 0u);
}

/* --- Where io_uring is not to be had --- */

static void forbid_io_uring(unsigned number)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | number),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = array_len(filter), .filter = filter };

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void expect_why(unsigned number, const char *expected)
{
	struct workers_config config = { .count = 2 };
	char why[256];

	forbid_io_uring(number);
	cr_assert_neq(workers_start(&config, why, sizeof(why)), OK);
	cr_assert_not_null(strstr(why, expected), "%s", why);
	cr_assert_null(strchr(why, '\n'));
	cr_assert_eq(workers_count(), 0u);
}

Test(worker, says_that_the_kernel_lacks_it)
{
	expect_why(ENOSYS, "6.1");
}

Test(worker, says_who_forbids_it)
{
	expect_why(EPERM, "forbidden");
}

Test(worker, says_that_memory_is_short)
{
	expect_why(ENOMEM, "LimitMEMLOCK");
}

/* --- Entropy, which has no file of its own to test --- */

Test(entropy, seeded_repeats_and_below_stays_below)
{
	entropy_seed(5);
	uint64_t first = entropy_u64();

	entropy_seed(5);
	cr_assert_eq(entropy_u64(), first);
	for (unsigned i = 0; i < 1000; i++)
		cr_assert_lt(entropy_below(7), 7u);
	entropy_unseed();
	cr_assert_neq(entropy_u64(), first);
}
