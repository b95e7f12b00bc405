/* SPDX-License-Identifier: GPL-2.0-or-later */
/* town.h - everybody around the server in a simulated run, whichever town it is.
 *
 * All of it runs on the server's own workers inside the simulation and dies with them; only `town` and
 * what was promised (oracle.h, ledger.h) outlive a crash. What goes wrong is drawn from the seed
 * while town.faults. relay_town.h and mail_town.h say who lives there; a program has one of them. */
#ifndef TESTS_SIM_TOWN_H
#define TESTS_SIM_TOWN_H

#include "core/sim.h"
#include "relay/resolver.h"

#include <stdio.h>

#define TOWN_SERVER "198.51.100.1" /* where it listens */

struct store;
struct worker;

struct town {
	bool faults;      /* clients break off; next hops and names misbehave */
	bool stopping;    /* clients start nothing new */
	bool furnished;   /* the accounts were made in this life; where clients wait for them */
	unsigned left;    /* messages still to be handed in during this life */
	unsigned clients; /* to start */
	unsigned busy;    /* running now */
	unsigned large_per_mille;
	msec pause_ms;
};
extern struct town town;

/* True so often while things may go wrong. */
static inline bool town_bad(unsigned per_mille)
{
	return town.faults && sim_random(1000) < per_mille;
}

/* --- What each town gives: relay_house.c or mail_house.c --- */

/* Lines for the house's configuration. */
void town_write_config(FILE *f, unsigned variant);
/* On a fiber of each worker: accounts and next hops. False: the process ends before that is done. */
bool town_move_in(struct worker *w, struct store *st);
/* Then: client number n of this life. */
void client_start(struct worker *w, unsigned n);
/* Nothing is left to be done. */
bool town_idle(void *arg);
/* With the house closed or crashed: is the disk as it must be? Complains; `emptied`: of what should
 * be gone, too. */
void town_check(bool emptied);
/* Names, in the place of DNS. */
resolver_hook_fn town_resolve;

#endif
