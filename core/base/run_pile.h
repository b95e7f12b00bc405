/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run_pile.h - runs as they come, made a list or a set at once.
 *
 * For many: a set looks for its place for each run that is added, a pile only remembers it. What comes in
 * order stays so; else it is merged, a few ascending sequences in as many passes as they halve. What
 * comes again and again takes no memory again and again. The pile owns heap memory until run_pile_done.
 * Adding never fails by itself: whoever asks for the result is told that memory was missing. */
#ifndef CORE_BASE_RUN_PILE_H
#define CORE_BASE_RUN_PILE_H

#include "core/base/runs.h"

/* A zeroed one is empty. All of it is private. */
struct run_pile {
	struct run *runs;
	size_t len, cap;
	bool mixed;  /* not in order */
	bool failed; /* no memory: something is missing */
};

void run_pile_done(struct run_pile *p);

/* Behind what is there, and not touching it; see run_pile_add. */
void run_pile_append(struct run_pile *p, uint32_t first, uint32_t last);

/* 1 <= first <= last. */
static inline void run_pile_add(struct run_pile *p, uint32_t first, uint32_t last)
{
	struct run *end = p->len ? p->runs + p->len - 1 : NULL;

	if (end && first >= end->first && first - 1 <= end->last)
		end->last = MAX(end->last, last);
	else
		run_pile_append(p, first, last);
}

/* All of it in order. The runs are the pile's, until it is next changed. */
bool run_pile_list(struct run_pile *p, struct run_list *out) must_use;
/* Takes away what the list has, which is not this pile's own. */
bool run_pile_without(struct run_pile *p, struct run_list gone) must_use;
/* Leaves only what the set has, too. */
bool run_pile_within(struct run_pile *p, const struct runs *set) must_use;
/* Adds all of it to the set: quick when that is empty. */
bool run_pile_into(struct run_pile *p, struct runs *set) must_use;

#endif
