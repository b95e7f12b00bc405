/* SPDX-License-Identifier: GPL-2.0-or-later */
/* outlet.h - one worker's connections toward one path.
 *
 * Gets parcels from the path's owner, opens connections up to its share, and reports back how many
 * parcels ended. Connections are fibers of deliver.c that take parcels here and rest idle between
 * them. All connections of an outlet satisfy the same policy (TLS, login), which is part of the
 * path's key. Lives on one worker; freed when it has neither parcels nor connections. */
#ifndef RELAY_OUTLET_H
#define RELAY_OUTLET_H

#include "relay/relay_int.h"

struct hop;

struct outlet {
	struct map_link link;
	struct list_link all;
	struct relay_here *r;
	struct target *target;
	struct list lanes[ENVELOPE_LANE_COUNT];
	struct list idle; /* hops that wait for a parcel */
	unsigned waiting, conns, opening, share;
	msec open_after;    /* a failure makes us wait before the next try beside living ones */
	bool in_use;        /* must not be freed now */
	bool accepted_last; /* the last recipients were taken: small bodies need not wait */
	/* The report to the owner: filled here, read there; `sent` says who may touch `post`. */
	struct post report;
	_Atomic bool sent;
	_Atomic unsigned finished;
};

/* A parcel from the path's owner (run of its post, or called on the owner itself). */
void outlet_add(struct relay_here *r, struct parcel *p);

/* The next parcel, or NULL. The hop counts it until outlet_finished. */
struct parcel *outlet_take(struct outlet *ot);
/* The same message for further recipients, waiting right in front: for one transaction. */
struct parcel *outlet_take_same(struct outlet *ot, const struct message *m);
/* Put it back in front: it was not tried, or not all of it. */
void outlet_return(struct outlet *ot, struct parcel *p);
/* The hop is done with `count` parcels; their results are on the way. */
void outlet_finished(struct outlet *ot, unsigned count);

/* A hop's life: it stands; it could not be had (when no other is left, what waits here goes back to
 * the owner, which knows whether others do better); it ended. The last two may free the outlet. */
void outlet_connected(struct outlet *ot);
void outlet_failed(struct outlet *ot, const struct reason *why);
void outlet_closed(struct outlet *ot);
/* On the hop's fiber: wait for a parcel; ERR_TIMEOUT after idle_ms. */
enum err outlet_wait(struct outlet *ot, struct list_link *idle, struct fiber_wait *wait) must_use;

void outlet_stop_all(struct relay_here *r);
/* For listings: every parcel handed to this worker, on a connection or about to be. */
void outlet_walk(struct relay_here *r, bool (*each)(void *arg, struct parcel *p), void *arg);

#endif
