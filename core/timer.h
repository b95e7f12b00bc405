/* SPDX-License-Identifier: GPL-2.0-or-later */
/* timer.h - deadlines on one worker.
 *
 * A timer is embedded in the object it guards and found again with container_of; zeroed it is
 * "not armed". It belongs to the worker that armed it. Callbacks run from the loop, never from
 * inside a timer_ call, never before `due` and at most a few milliseconds after it (far timers
 * are kept in coarser tiers but fire to the millisecond). Arming and disarming are O(1).
 * Nothing here can fail. */
#ifndef CORE_TIMER_H
#define CORE_TIMER_H

#include "core/base/base.h"

struct worker;

struct timer {
	struct list_link link;
	msec due;
	void (*fire)(struct timer *t);
};

/* Arm or move. The callback runs once, not before `due` (worker_now(w) + delay). */
void timer_arm(struct worker *w, struct timer *t, msec due);
/* The same, `ms` from now. */
void timer_arm_in(struct worker *w, struct timer *t, msec ms);
/* Harmless if not armed. After it returns, fire will not be called. */
static inline void timer_disarm(struct timer *t)
{
	list_remove(&t->link);
}

static inline bool timer_armed(const struct timer *t)
{
	return list_has(&t->link);
}

/* The wheel itself, for workers and tests: level 0 has a slot per millisecond, every further
 * level is 64 times coarser; what lies beyond the last is put back into it until its time
 * comes near. */
enum { WHEEL_LEVELS = 7, WHEEL_SLOTS = 64 };

struct timer_wheel {
	msec now;                    /* everything due up to here has fired */
	uint64_t busy[WHEEL_LEVELS]; /* a set bit: the slot may hold timers */
	struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
	struct list expired; /* due, not yet fired */
};

void timer_wheel_init(struct timer_wheel *wheel, msec now);
void timer_wheel_arm(struct timer_wheel *wheel, struct timer *t, msec due);
/* Move to `now` and fire what is due, in order of the milliseconds. A callback may arm and
 * disarm any timer; what it arms for the past fires in the next run. Returns how many fired. */
unsigned timer_wheel_run(struct timer_wheel *wheel, msec now);
/* Milliseconds from wheel->now until something may have to be done (a lower bound of the next
 * deadline); -1: nothing armed. */
msec timer_wheel_next(struct timer_wheel *wheel);

#endif
