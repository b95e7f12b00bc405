/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulated reactor. */
#include "core/file_int.h"
#include "core/sim.h"
#include "core/worker_int.h"

const struct ring_backend ring_sim;

bool sim_active(void)
{
	return ring_backend == &ring_sim;
}

void sim_run_workers(bool (*done)(void *arg), void *arg)
{
	(void)done;
	(void)arg;
}

void sim_file_call(struct file_call *call)
{
	call->err = ERR_UNSUPPORTED;
}
