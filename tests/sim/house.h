/* SPDX-License-Identifier: GPL-2.0-or-later */
/* house.h - the server of a simulated run: its configuration, its folder, its life and death.
 *
 * The whole of server/ runs in the simulation: listeners, sessions, queue, relay, store. Its files
 * are the simulated disk's; only LMDB's are real, below the folder the house was made with. Every
 * commit of theirs is synced, so a crash keeps just those that were made. One house per process. */
#ifndef TESTS_SIM_HOUSE_H
#define TESTS_SIM_HOUSE_H

#include "core/base/base.h"

/* Configurations to choose from; made before a seed begins, outside the simulation. */
enum { HOUSE_VARIANTS = 3 };
void house_make(void);
void house_remove(void);
/* Empty the folder for another run. */
void house_clean(void);
/* For sim_config: LMDB's folders are no part of the simulation. */
bool house_is_real(const char *path);

/* Both ends of TLS in the town use the server's own options. */
struct tls_client *house_tls_client(void);
struct tls_server *house_tls_server(void);

/* sim_start was called. False: crashed on the way (or it did not start, which is complained of). */
bool house_open(unsigned variant);
/* Let time pass until done(), at most `ms`. False: not done. */
bool house_run(bool (*done)(void *arg), msec ms);
/* Stop as SIGTERM does. False: crashed on the way. */
bool house_close(void);
/* The process dies; the disk keeps what it had to keep. */
void house_crash(void);
/* With the house closed or crashed: lose a part of the index and make it anew, perhaps dying on the way.
 * Complains. */
void house_rebuild(void);
/* Nothing waits in the queue, nothing is held in the journal. */
bool house_idle(void *arg);
void house_say_queue(void);
/* With the house closed: fsck. Complains; `emptied`: of entries too. */
void house_check(bool emptied);

#endif
