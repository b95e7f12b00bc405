/* SPDX-License-Identifier: GPL-2.0-or-later */
/* house.h - the server of a simulated run: its configuration, its folder, its life and death.
 *
 * The whole of server/ runs in the simulation: listeners, sessions, queue, relay, store. Its files
 * are the simulated disk's; only LMDB's are real, below the folder the house was made with. Every
 * commit of theirs is synced, so a crash keeps just those that were made. One house per process; who
 * lives in it is town.h's. */
#ifndef TESTS_SIM_HOUSE_H
#define TESTS_SIM_HOUSE_H

#include "core/base/base.h"

struct check_report;
struct setup;
struct store;
struct store_options;

/* Configurations to choose from; made before a seed begins, outside the simulation. */
enum { HOUSE_VARIANTS = 3 };
void house_make(void);
void house_remove(void);
/* Empty the folder for another run. */
void house_clean(void);
/* For sim_config: LMDB's folders are no part of the simulation. */
bool house_is_real(const char *path);

/* sim_start was called. False: crashed on the way (or it did not start, which is complained of). */
bool house_open(unsigned variant);
/* Let time pass until done(), at most `ms`. False: not done. */
bool house_run(bool (*done)(void *arg), msec ms);
/* Stop as SIGTERM does. False: crashed on the way. */
bool house_close(void);
/* The process dies; the disk keeps what it had to keep. */
void house_crash(void);

/* With the house closed or crashed: fsck. False: nothing to count, or it complained. `young`: it may
 * have died while its store was being made, so parts may be missing. */
bool house_fsck(bool young, struct check_report *out);
/* It died before its store was made. */
bool house_never_was(void);

/* What the town may want to look at: the first variant's options, the open store. */
struct setup *house_setup(void);
struct store *house_store(void);
struct store_options house_store_options(void);
enum { HOUSE_PATH = 512 };
const char *house_path(char path[HOUSE_PATH], const char *name);

#endif
