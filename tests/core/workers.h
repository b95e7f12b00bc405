/* SPDX-License-Identifier: GPL-2.0-or-later */
/* workers.h - run the body of a test on a fiber of worker 0, with real workers around it.
 *
 * Criterion's assertions leave by longjmp, which a fiber cannot: inside, use check(), which
 * prints and remembers; run_on_workers asserts at the end that nothing was remembered. */
#ifndef TESTS_CORE_WORKERS_H
#define TESTS_CORE_WORKERS_H

#include "core/worker.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>

static _Atomic unsigned checks_failed;
static void (*test_body)(struct worker *w);
/* What else a test wants of its workers. */
static struct workers_config test_config;

#define check(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			atomic_fetch_add(&checks_failed, 1);                       \
		}                                                                  \
	} while (0)

static enum err start_body(struct worker *w, void *arg)
{
	(void)arg;
	if (worker_index(w) == 0) {
		test_body(w);
		workers_stop();
	}
	return OK;
}

/* Ends when the body returned and everything it left has been drained. */
static inline void run_on_workers(unsigned count, void (*body)(struct worker *w))
{
	struct workers_config config = test_config;
	char why[256];

	config.count = count;
	config.start = start_body;
	config.job_threads = 2;
	test_body = body;
	enum err err = workers_start(&config, why, sizeof(why));

	cr_assert_eq(err, OK, "%s", why);
	workers_join();
	cr_assert_eq(checks_failed, 0u);
}

#endif
