/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rate.h - how often a client may come: events a minute per address, in fixed memory.
 *
 * One table for all workers; rate_take may be called from any thread and costs one atomic word. A
 * client (IPv4 address or IPv6 /64) has credit for one minute that comes back at its rate. Each hash
 * has a few places; when all are taken, the one that has most credit again is reused: a flood of
 * addresses forgets who came least, never refuses the new. Of a hash 26 bits are kept beside
 * its set, so one in some ten million clients shares its credit with another. */
#ifndef SERVER_RATE_H
#define SERVER_RATE_H

#include "core/addr.h"

struct rate;

struct rate *rate_new(void); /* NULL: out of memory */
void rate_free(struct rate *r);
/* Count one. False: over `per_minute` (0: no limit). `now` is monotonic. */
bool rate_take(struct rate *r, const struct addr *client, msec now, unsigned per_minute) must_use;

#endif
