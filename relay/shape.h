/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shape.h - how much may go where: the limits of a destination and their split over workers.
 *
 * Pure functions. The owner of a path keeps its limits by lending each worker a fixed share of the
 * connections and a bounded slice of the messages; the shares of all workers sum up to the limit,
 * so nobody has to ask before opening one. */
#ifndef RELAY_SHAPE_H
#define RELAY_SHAPE_H

#include "relay/route.h"

/* The limits in force: the route's own where set, else `general`. Route may be NULL. */
void shape_limits(const struct route_limits *general, const struct route *route,
	struct route_limits *out);

struct shape_place {
	unsigned worker, owner, workers;
};
/* Connections this worker may have open; the owner's share is never less than another's. */
unsigned shape_share(int64_t connections, struct shape_place place);

/* Parcels that may be in a worker's hands with this share: enough that each connection has its
 * next one at hand, few enough that the owner still decides what goes next. */
unsigned shape_slice(unsigned share);
/* With so many in hand a further worker is asked rather than this one. */
unsigned shape_spill(unsigned share);

/* How long a destination that could not be reached at all rests: doubling per failure. */
msec shape_rest(unsigned failures, msec first_ms);

#endif
