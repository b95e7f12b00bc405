/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rate.h - how often a client may come: events a minute per address, in fixed memory.
 *
 * One table per worker. A client (IPv4 address or IPv6 /64) has a bucket that fills by its rate
 * and holds one minute's worth. Each hash has a few places; when all are taken the one
 * longest unseen is reused, so a flood of addresses forgets the oldest, never refuses the new. */
#ifndef SERVER_RATE_H
#define SERVER_RATE_H

#include "core/addr.h"

struct rate;

struct rate *rate_new(void); /* NULL: out of memory */
void rate_free(struct rate *r);
/* Count one. False: over `per_minute` (0: no limit). */
bool rate_take(struct rate *r, const struct addr *client, msec now, unsigned per_minute) must_use;

#endif
