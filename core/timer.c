/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hierarchical timer wheel. Level k has 64 slots of 64^k milliseconds; a timer sits on the
 * lowest level whose span reaches its due time and moves down when the wheel enters its slot.
 * A bit per slot says "may hold timers": disarming only unlinks and leaves the bit, which is
 * cleared when the slot is next looked at. */
#include "core/timer.h"

enum { SLOT_BITS = 6, SLOT_MASK = WHEEL_SLOTS - 1 };

void timer_wheel_init(struct timer_wheel *wheel, msec now)
{
	*wheel = (struct timer_wheel){ .now = now };
	list_init(&wheel->expired);
	for (unsigned level = 0; level < WHEEL_LEVELS; level++)
		for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
			list_init(&wheel->slots[level][slot]);
}

/* The highest group of six bits in which now and due differ tells the level: below it they agree
 * to be in the same slot of everything coarser. */
static unsigned level_of(msec now, msec due)
{
	uint64_t differ = (uint64_t)now ^ (uint64_t)due;
	unsigned level = differ ? (63 - (unsigned)__builtin_clzll(differ)) / SLOT_BITS : 0;

	return MIN(level, WHEEL_LEVELS - 1u);
}

void timer_wheel_arm(struct timer_wheel *wheel, struct timer *t, msec due)
{
	list_remove(&t->link);
	t->due = due;
	if (due <= wheel->now) {
		list_push(&wheel->expired, &t->link);
		return;
	}
	unsigned level = level_of(wheel->now, due);
	unsigned slot = (unsigned)(due >> (SLOT_BITS * level)) & SLOT_MASK;

	list_push(&wheel->slots[level][slot], &t->link);
	wheel->busy[level] |= 1ull << slot;
}

/* Empty one slot: what is due goes to `expired`, the rest finds its place anew, further down. */
static void cascade(struct timer_wheel *wheel, unsigned level, unsigned slot)
{
	struct list *from = &wheel->slots[level][slot];
	struct list moving;
	struct list_link *link;

	list_init(&moving);
	wheel->busy[level] &= ~(1ull << slot);
	/* Off first: a timer beyond the last level may come back to this very slot. */
	while ((link = list_pop(from)))
		list_push(&moving, link);
	while ((link = list_pop(&moving))) {
		struct timer *t = container_of(link, struct timer, link);

		timer_wheel_arm(wheel, t, t->due);
	}
}

/* The next moment after wheel->now at which a slot must be looked at, by level; INT64_MAX:
 * none. */
static msec next_on_level(struct timer_wheel *wheel, unsigned level)
{
	unsigned shift = SLOT_BITS * level;
	unsigned here = (unsigned)(wheel->now >> shift) & SLOT_MASK;

	while (wheel->busy[level]) {
		/* Rotate so that the slot after ours is bit 0; our own slot is a full turn
		 * away. */
		unsigned turn = (here + 1) & SLOT_MASK;
		uint64_t bits = turn ?
			wheel->busy[level] >> turn | wheel->busy[level] << (64 - turn) :
			wheel->busy[level];
		unsigned ahead = (unsigned)__builtin_ctzll(bits) + 1;
		unsigned slot = (here + ahead) & SLOT_MASK;

		if (!list_empty(&wheel->slots[level][slot]))
			return ((wheel->now >> shift) + ahead) << shift;
		wheel->busy[level] &= ~(1ull << slot);
	}
	return INT64_MAX;
}

static msec next_event(struct timer_wheel *wheel)
{
	msec next = INT64_MAX;

	for (unsigned level = 0; level < WHEEL_LEVELS; level++)
		next = MIN(next, next_on_level(wheel, level));
	return next;
}

/* Step to the moment `at` (the next event) and empty the slots that begin there, coarse first. */
static void enter(struct timer_wheel *wheel, msec at)
{
	wheel->now = at;
	for (unsigned level = WHEEL_LEVELS; level-- > 0;) {
		unsigned shift = SLOT_BITS * level;

		if (at & ((1ll << shift) - 1))
			continue;
		unsigned slot = (unsigned)(at >> shift) & SLOT_MASK;

		if (wheel->busy[level] & 1ull << slot)
			cascade(wheel, level, slot);
	}
}

unsigned timer_wheel_run(struct timer_wheel *wheel, msec now)
{
	unsigned fired = 0;
	struct list due;
	struct list_link *link;

	for (msec at; (at = next_event(wheel)) <= now;)
		enter(wheel, at);
	wheel->now = MAX(wheel->now, now);

	list_init(&due);
	while ((link = list_pop(&wheel->expired)))
		list_push(&due, link);
	while ((link = list_pop(&due))) {
		struct timer *t = container_of(link, struct timer, link);

		fired++;
		t->fire(t);
	}
	return fired;
}

msec timer_wheel_next(struct timer_wheel *wheel)
{
	if (!list_empty(&wheel->expired))
		return 0;
	msec next = next_event(wheel);

	return next == INT64_MAX ? -1 : next - wheel->now;
}
