/* SPDX-License-Identifier: GPL-2.0-or-later */
/* path.h - what waits for one destination from one source address, and who may send it.
 *
 * A path lives on the worker its key hashes to. It keeps ready parcels in lanes, first in first
 * out within a lane, and hands slices of them to outlets: its own first, those of other workers when
 * that has enough. A destination that cannot be reached rests; what arrives meanwhile is parked
 * or given back. Nothing here waits or fails: a parcel that finds no room ends in result_parcel. */
#ifndef RELAY_PATH_H
#define RELAY_PATH_H

#include "core/base/base.h"

struct parcel;
struct relay_here;
struct target;
struct reason;

/* The parcel (its target set) on its owner's worker. Consumes it. */
void path_add(struct relay_here *r, struct parcel *p);

/* An outlet on `worker` is done with so many parcels. */
void path_finished(struct relay_here *r, struct target *t, unsigned worker, unsigned count);
/* What an outlet says about its connections. DOWN: none could be had there; if no other worker has one
 * either the path rests, and all that is ready shares the attempt and its reason. */
enum path_news { PATH_OPENED, PATH_CLOSED, PATH_DOWN };
struct path_word {
	enum path_news what;
	unsigned worker;
	const struct reason *why;
};
void path_news(struct relay_here *r, struct target *t, const struct path_word *word);
/* A parcel that an outlet (parcel->from_worker) could not send behind PATH_DOWN. Consumes it. */
void path_returned(struct relay_here *r, struct parcel *p);

/* Park what waits for longer than allowed, or is older in the journal than `pressure` (0: none). */
void path_sweep(struct relay_here *r, uint64_t pressure);
/* At the end: no timer is left armed; then, without a worker, forget all that is ready (it is in the
 * journal). */
void path_disarm_all(struct relay_here *r);
void path_stop_all(struct relay_here *r);

/* An operator wants tries now: resting destinations are asked again. */
void path_wake_all(struct relay_here *r);

/* For listings: every ready parcel of this worker until `each` says stop. */
void path_walk(struct relay_here *r, bool (*each)(void *arg, struct parcel *p), void *arg);
/* Take a ready parcel out, to end it otherwise. Only from inside path_walk's `each`. */
void path_take(struct relay_here *r, struct parcel *p);
/* "" or why nothing goes there now. */
slice path_waits_for(struct relay_here *r, const struct parcel *p, struct arena *a);

#endif
