/* SPDX-License-Identifier: GPL-2.0-or-later */
/* world.h - run the body of a test inside the simulation.
 *
 * world_run() starts workers, runs the body on a fiber of worker 0 until it returns, stops the
 * workers and says whether all came to a clean end; or, after sim_crash_at_write(), false at
 * the crash, with everything but the disk forgotten: the next world_run is the restart.
 * Everything is on one thread, so the body may use Criterion's assertions only through
 * check(). */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "core/sim.h"
#include "core/worker.h"

#include <criterion/criterion.h>
#include <stdio.h>

static unsigned world_failed;

#define check(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			world_failed++;                                            \
		}                                                                  \
	} while (0)

struct world {
	unsigned workers;
	void (*body)(struct worker *w, void *arg);
	void *arg;
	bool done;
};

static inline enum err world_start(struct worker *w, void *arg)
{
	struct world *world = arg;

	if (worker_index(w) == 0) {
		world->body(w, world->arg);
		world->done = true;
	}
	return OK;
}

/* sim_start was called. False: crashed. */
static inline bool world_run(struct world *world)
{
	struct workers_config config = {
		.count = world->workers, .start = world_start, .arg = world
	};
	char why[256];

	world->done = false;
	enum err err = workers_start(&config, why, sizeof(why));

	if (sim_crashed()) {
		sim_crash();
		return false;
	}
	cr_assert_eq(err, OK, "%s", why);
	cr_assert(world->done);
	workers_stop();
	workers_join();
	if (sim_crashed()) {
		sim_crash();
		return false;
	}
	return true;
}

#endif
