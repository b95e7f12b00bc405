/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sched.h - parked mail: what is due when, by domain.
 *
 * Rows live in the store. In RAM there is one `dest` per domain that has something due soon or in
 * hand, owned by one worker, with one timer; what is due is read in pages, made into parcels and
 * given to the paths, never more than a bounded number at a time. Recipients given out are
 * remembered until the index has forgotten their rows, so none is given out twice. A scan of all
 * domains, page by page, finds what comes due within the horizon. Nothing here can fail: what
 * cannot be read now is read later. */
#ifndef RELAY_SCHED_H
#define RELAY_SCHED_H

#include "core/base/base.h"

struct parcel;
struct relay_here;
struct schedule_entry;

enum { SCHED_WARNED = 1 }; /* first byte of an entry's tail */

struct sched_tail {
	uint8_t flags;
	slice sender, recipient, held_by;
};
/* What stands behind an entry, so that a listing need not open the message: appended to `o`, long
 * strings cut; SCHED_TAIL bytes always suffice. The inverse is false when it is foreign. */
enum { SCHED_TAIL = 800 };
void sched_tail_put(const struct sched_tail *tail, struct out *o);
bool sched_tail_of(slice tail, struct sched_tail *out) must_use;

/* The parcel comes home: its results are durable, or it was given back. Consumes it. */
void sched_send_back(struct relay_here *r, struct parcel *p);
/* Something of this domain is due then; from any worker. */
void sched_note(struct relay_here *r, slice domain, wall_ms due);
/* The same wish: no destination waits for a rest to end. */
void sched_wake_all(struct relay_here *r);
/* One scan of all domains now, and then at intervals; on worker 0. */
void sched_start(struct relay_here *r);
/* At the end: no timer is left armed; then, without a worker, forget everything. */
void sched_disarm_all(struct relay_here *r);
void sched_stop(struct relay_here *r);
/* Is this entry in RAM at this moment? Owner of the domain only. */
bool sched_in_hand(struct relay_here *r, uint64_t id, uint32_t n);
/* This row was changed by hand, and the change is applied: no longer wait for it to appear. What
 * was given out since then is another matter. Owner of the domain. */
void sched_touched(struct relay_here *r, const struct schedule_entry *seen);

#endif
