/* SPDX-License-Identifier: GPL-2.0-or-later */
/* track.h - which sequence numbers of a run arrived, how often, and which are missing.
 *
 * One bit a number in pages that are made when first touched; several workers mark at once without
 * a lock. Numbers from TRACK_MAX on are counted as out of range, never dropped in silence. Nothing
 * fails but memory, which ends the program. */
#ifndef BENCH_TRACK_H
#define BENCH_TRACK_H

#include "core/base/base.h"

#include <stdatomic.h>

enum { TRACK_PAGE_BITS = 1 << 18, TRACK_PAGES = 1 << 13 };
#define TRACK_MAX ((uint64_t)TRACK_PAGE_BITS * TRACK_PAGES)

struct track {
	_Atomic(_Atomic uint64_t *) pages[TRACK_PAGES];
	atomic_uint_fast64_t seen, doubles, out_of_range, highest; /* highest: number + 1 */
};

/* True when the number had not been seen before. Any thread. */
bool track_mark(struct track *t, uint64_t number);
/* How many numbers below `end` never came. */
uint64_t track_missing(struct track *t, uint64_t end);
/* Writes up to `max` of the missing numbers, returns how many. */
size_t track_list_missing(struct track *t, uint64_t end, uint64_t *out, size_t max);
void track_done(struct track *t);

#endif
