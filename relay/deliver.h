/* SPDX-License-Identifier: GPL-2.0-or-later */
/* deliver.h - one connection to a next hop, from dialling to QUIT, on a fiber.
 *
 * Started by an outlet that has parcels waiting. The fiber connects (next exchanger or address on
 * failure), then takes parcels as long as there are any, keeps the next transaction behind the
 * body of the one before, and rests idle in the outlet between them. Outcomes go to result_parcel.
 * ERR_NOMEM is all that starting can say; everything else is told to the outlet. */
#ifndef RELAY_DELIVER_H
#define RELAY_DELIVER_H

#include "core/base/base.h"

struct list_link;
struct outlet;
struct parcel;
struct relay_here;

/* The outlet counted it as `opening` already. */
enum err deliver_start(struct outlet *ot) must_use;
/* A parcel is there for the connection that idles by this link (removed already). */
void deliver_wake(struct list_link *idle);
/* Say goodbye and end; for a connection that idles. */
void deliver_stop(struct list_link *idle);
/* Break every connection of this worker off: what was under way is deferred, or delivered twice. */
void deliver_abort_all(struct relay_here *r);
/* For listings: every parcel in a transaction of this worker. */
void deliver_walk(struct relay_here *r, bool (*each)(void *arg, struct parcel *p), void *arg);

#endif
