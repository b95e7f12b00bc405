/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner.h - a program that runs a town (town.h) in the simulation, seed after seed.
 *
 * A seed is several lives over one disk: troubled ones, whose process crashes or is stopped, then a
 * good one. Each seed runs in a process of its own, over the emptied folder of house.h, and leaves what
 * it counted in shared memory; ten seeds make a test. The first ones are run twice and must come to
 * the same trace, to the millisecond of the log. The environment says what is run:
 *
 *   SIM_SEED=N       this one only, and say more
 *   SIM_FIRST=N      begin with this one, not with 0
 *   SIM_SEEDS=N      so many seeds, without the limit of time
 *   SIM_SECONDS=N    stop after so long
 *   SIM_LOG=1        the server's log on standard error */
#ifndef TESTS_SIM_RUNNER_H
#define TESTS_SIM_RUNNER_H

#include "core/base/base.h"

/* How a troubled life ends, if it gets that far. */
enum life_end { LIFE_CRASH, LIFE_CRASH_AT_WRITE, LIFE_STOP };

/* What a seed decides whichever town it is; rates are per mille. */
struct life_plan {
	unsigned variant, lives, resets, disk_faults;
};

/* What is counted in every town; a town's own counts follow. */
enum { COUNT_CRASHES, COUNT_STOPS, COUNT_TOWN, COUNTS_MAX = 12 };

struct runner {
	const char *program;        /* as its seeds are run again */
	unsigned seeds, seconds;    /* unless the environment says otherwise */
	unsigned twice;             /* so many seeds are run twice */
	const char *const *counted; /* names of the counts, NULL behind the last */

	/* All of these run in the seed's process, in this order. */
	bool (*is_real)(const char *path); /* sim_config's */
	void (*decide)(void);              /* the rest of the plan; sets `town` */
	void (*troubled_life)(const struct life_plan *plan);
	void (*good_life)(const struct life_plan *plan);
	void (*judge)(void); /* it all went well so far: complain, count */
};

/* The whole program: the status to exit with. */
int runner_main(const struct runner *r);

/* In a life. */
void runner_count(unsigned what, unsigned more);
/* The process dies: the simulation crashes, and what it leaves on the disk is checked and counted. */
void runner_crash(void);

#endif
