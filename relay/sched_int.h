/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sched_int.h - a destination with parked mail and what of it is out; shared by sched.c and sched_read.c.
 *
 * The rule against double delivery: a recipient that was given out stands in `out_items` until its
 * row is known to be gone or changed. Pages show the index as of their start, which may lag behind
 * what is durable; so an item whose result is durable becomes a ghost and leaves only when a page
 * that began later, and reached past the ghost's old due time, did not show it. */
#ifndef RELAY_SCHED_INT_H
#define RELAY_SCHED_INT_H

#include "relay/relay_int.h"
#include "relay/sched.h"

enum {
	SCHED_HORIZON_MS = 600000, /* what is due within this has a timer */
	SCHED_BUSY_MS = 250,       /* again when memory is full, or only ghosts were seen */
	SCHED_LAG_MS = 5000, /* so long a durable row may stay unseen; then the scan finds it */
	SCHED_TROUBLE_MS = 5000,
};

struct dest {
	struct map_link link;
	struct relay_here *r;
	struct timer timer;
	struct list ghosts;
	wall_ms due; /* the timer's; 0: none */
	wall_ms not_before;
	msec parked_at;     /* rows became durable that pages may not show yet */
	wall_ms parked_due; /* the earliest of them */
	unsigned out, lane_out[ENVELOPE_LANE_COUNT];
	bool reading, again;
	bool more; /* rows are due that were not given out */
	slice domain;
	char name[];
};

struct out_item {
	struct map_link link;
	struct list_link ghost; /* of its dest, when the result is durable */
	uint64_t id;
	uint32_t n;
	wall_ms due;     /* of the row that was given out */
	wall_ms now_due; /* of the row that replaced it; 0: it is gone */
	msec durable_at;
	bool seen;
};

/* One given out, or a ghost; NULL: neither. */
struct out_item *sched_find_item(struct relay_here *r, uint64_t id, uint32_t n);
/* False: no memory. */
bool sched_add_item(struct dest *d, const struct schedule_entry *entry);
void sched_remove_item(struct relay_here *r, struct out_item *item);
uint8_t sched_lane_of(const struct schedule_entry *entry);

/* The timer goes off then, or when it would have anyway, if that is earlier. */
void sched_arm(struct dest *d, wall_ms due);
void sched_free_if_unused(struct dest *d);

/* sched_read.c: reads what is due of a struct dest and gives it out; d->reading is set. */
void sched_read_fiber(void *dest);

#endif
