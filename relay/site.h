/* SPDX-License-Identifier: GPL-2.0-or-later */
/* site.h - from a recipient domain to its target: route row or mail exchangers.
 *
 * Each worker keeps the targets of the domains it met, for the TTL of the answer, and parcels whose
 * domain is being resolved wait there. Domains with the same exchangers (and the same policy) get
 * equal keys and so share a path. */
#ifndef RELAY_SITE_H
#define RELAY_SITE_H

#include "core/base/base.h"

struct parcel;
struct relay_here;
struct relay_gen;
struct route;
struct resolver_mx_set;
struct target;

/* Drop what the cache holds and nobody waits for: at reload, and when it grows. */
void site_trim(struct relay_here *r, bool all);
/* Every parcel that waits for an answer; site_take may be called from inside `each`. */
void site_walk(struct relay_here *r, bool (*each)(void *arg, struct parcel *p), void *arg);

/* When the relay stands still (struct relay_setup) a parcel goes nowhere: into a list, and out. */
void site_rest(struct relay_here *r, struct parcel *p);
void site_walk_resting(struct relay_here *r, bool (*each)(void *arg, struct parcel *p), void *arg);
/* Out of either: to end it otherwise. */
void site_take(struct relay_here *r, struct parcel *p);

#endif
