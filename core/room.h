/* SPDX-License-Identifier: GPL-2.0-or-later */
/* room.h - how many connections the process may have: one purse of descriptors for all workers.
 *
 * What comes in and what goes out share it. A number of places is kept for outgoing ones, so that
 * whoever fills the house from outside does not stop deliveries; beyond it they may take whatever
 * is free, and then what comes in waits. Counts are atomic: any worker, no lock, no wait. Until
 * room_set there is no limit. Accepts in flight may overshoot a little; who sets the limit keeps
 * descriptors for them. */
#ifndef CORE_ROOM_H
#define CORE_ROOM_H

#include "core/base/base.h"

enum room_side { ROOM_IN, ROOM_OUT };

/* `most` in all, 0: no limit; `kept` of them for outgoing ones only. Also while some are open. */
void room_set(unsigned most, unsigned kept);
/* How many more may come in now; UINT32_MAX: any. */
unsigned room_left_in(void);
/* Count one, whatever the limit: it is here. */
void room_enter(enum room_side side);
/* False: nothing is left, and nothing was counted. */
bool room_enter_out(void);
void room_leave(enum room_side side);

struct room_stats {
	unsigned most, kept, in, out;
};
void room_stats(struct room_stats *out);

#endif
