/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim.h - the whole engine on one thread, with a seeded network, clock and disk.
 *
 * Between sim_start and sim_stop workers_start runs its workers on the calling thread, in
 * turns of seeded order, inside sim_run_until; sockets, files, time and entropy are made up
 * here, and the same seed gives the same run, byte by byte. LMDB and whatever else calls the
 * system itself stays real. For tests only; nothing of it is thread-safe. */
#ifndef CORE_SIM_H
#define CORE_SIM_H

#include "core/base/base.h"

struct sim_config {
	uint64_t seed;
	msec delay_max_ms;             /* of one piece of data on the network; 0: 5 ms */
	unsigned reset_per_mille;      /* chance that a connection breaks, rolled at each send */
	unsigned short_per_mille;      /* chance of a short receive, rolled each time; 0: 200 */
	wall_ms wall_start;            /* 0: 2026-01-01 */
	uint64_t disk_bytes;           /* room on the disk; 0: no limit */
	unsigned write_fail_per_mille; /* chance that a file write or sync says ERR_IO */
	/* Paths of the real disk, where others (LMDB) have files that the program copies, renames and
	 * removes; what is done there survives a crash as it is. NULL: none. */
	bool (*is_real)(const char *path);
};

void sim_start(const struct sim_config *config);
/* Also drops the disk. All workers must have ended (workers_stop, sim_run_until,
 * workers_join). */
void sim_stop(void);
bool sim_active(void);

/* Run until done(arg) is true or virtual `limit_ms` have passed. True: done. done may be NULL. */
bool sim_run_until(bool (*done)(void *arg), void *arg, msec limit_ms);
/* Move the wall clock (not the monotonic one). */
void sim_wall_jump(msec by_ms);

/* The process dies here: workers, sockets and fibers are forgotten (their memory is leaked on
 * purpose), and of what was written and not synced each 512-byte sector survives or not by the
 * seed. Then workers_start may be called again: a restart. Call it between two sim_run_until. */
void sim_crash(void);
/* The next n-th file write or sync crashes the disk in the middle: sim_run_until returns,
 * sim_crashed is true. 0: off. */
void sim_crash_at_write(unsigned n);
bool sim_crashed(void);
/* Change the disk's room or failures while running. */
void sim_disk_set(uint64_t disk_bytes, unsigned write_fail_per_mille);
/* And the chance of a reset. */
void sim_net_set(unsigned reset_per_mille);

/* Seeded numbers for scripts of tests. */
uint64_t sim_random(uint64_t below);

#endif
