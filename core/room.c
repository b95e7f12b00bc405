/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counting connections in and out. The two limits stand in one word, so that nobody sees the one
 * of before a reload beside the other of after it. */
#include "core/room.h"

#include <stdatomic.h>

static _Atomic uint64_t limits; /* most << 32 | kept */
static _Atomic uint32_t counts[2];

static unsigned most_of(uint64_t both)
{
	return (unsigned)(both >> 32);
}

static unsigned kept_of(uint64_t both)
{
	return (unsigned)both;
}

void room_set(unsigned most, unsigned kept)
{
	atomic_store(&limits, (uint64_t)most << 32 | kept);
}

unsigned room_left_in(void)
{
	uint64_t both = atomic_load(&limits);
	uint64_t taken = (uint64_t)atomic_load(&counts[ROOM_IN]) +
		MAX(atomic_load(&counts[ROOM_OUT]), kept_of(both));

	if (!both)
		return UINT32_MAX;
	return most_of(both) - (unsigned)MIN(taken, (uint64_t)most_of(both));
}

void room_enter(enum room_side side)
{
	atomic_fetch_add(&counts[side], 1);
}

bool room_enter_out(void)
{
	uint64_t both = atomic_load(&limits);
	uint32_t out = atomic_fetch_add(&counts[ROOM_OUT], 1);

	/* What is kept for us is ours, also when accepts overshot. */
	if (!both || out < kept_of(both) ||
		(uint64_t)out + atomic_load(&counts[ROOM_IN]) < most_of(both))
		return true;
	room_leave(ROOM_OUT);
	return false;
}

void room_leave(enum room_side side)
{
	must(atomic_fetch_sub(&counts[side], 1) > 0);
}

void room_stats(struct room_stats *out)
{
	uint64_t both = atomic_load(&limits);

	*out = (struct room_stats){ .most = most_of(both),
		.kept = kept_of(both),
		.in = atomic_load(&counts[ROOM_IN]),
		.out = atomic_load(&counts[ROOM_OUT]) };
}
