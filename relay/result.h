/* SPDX-License-Identifier: GPL-2.0-or-later */
/* result.h - the end of an attempt: what the sender is told, what is made durable.
 *
 * Consumes parcels whose items all have an outcome. Nothing here fails toward its caller: what
 * cannot be stored now is tried again every second, and the recipient stays until then. */
#ifndef RELAY_RESULT_H
#define RELAY_RESULT_H

#include "core/base/base.h"

struct parcel;
struct relay_here;

/* When the recipients of a parcel fail by their age: as their route says. */
wall_ms result_expires(struct relay_here *r, const struct parcel *p);

/* Make the outcomes durable, then free the parcel or give it to sched.c. Never waits. */
void result_parcel(struct relay_here *r, struct parcel *p);
/* Submit again what the journal refused. */
void result_retry_failed(struct relay_here *r);
/* Results on their way to the journal. */
uint64_t result_open(const struct relay_here *r);
/* (fiber) What was on its way on any worker is durable, and the index shows it: for listings. A disk
 * that fails is not waited for. */
void result_settle(struct relay_here *r);
/* At the very end: nothing is on its way any more. */
void result_free_pool(struct relay_here *r);

/* bounce.c: does any outcome ask for a report? (fiber) Queue those reports; an error means that one
 * which must be sent was not. */
bool bounce_wanted(const struct parcel *p);
enum err bounce_parcel(struct relay_here *r, struct parcel *p) must_use;

#endif
