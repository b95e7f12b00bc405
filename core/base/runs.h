/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runs.h - an ordered set of numbers, kept as runs: 1 to 9, 12, 20 to 4000.
 *
 * Made for the uids of a mailbox: a number's rank is its sequence number, and both ways are quick
 * however large the set is. A counted tree of small leaves, so each call costs O(log runs); a set
 * without holes takes some 50 bytes. The set owns heap memory until runs_done. Numbers are 1 to
 * UINT32_MAX; 0 is never a member. Calls that may need memory are false, changing nothing, when
 * there is none; nothing else fails. */
#ifndef CORE_BASE_RUNS_H
#define CORE_BASE_RUNS_H

#include "core/base/base.h"

/* All numbers from `first` to `last`, both included. */
struct run {
	uint32_t first, last;
};

/* Runs in order, with at least one number missing between any two. Owns nothing. */
struct run_list {
	const struct run *runs;
	size_t len;
};

struct runs_node;

/* A zeroed one is the empty set. */
struct runs {
	struct runs_node *root;
	uint32_t count;  /* members */
	uint32_t runs;   /* runs they make */
	uint32_t height; /* of the tree; 0: root is a leaf */
};

void runs_done(struct runs *r);

/* Adding what is there, and removing what is not, is harmless. */
bool runs_add(struct runs *r, uint32_t n) must_use;
bool runs_add_range(struct runs *r, uint32_t first, uint32_t last) must_use;
/* Removing from the middle of a run makes two of it, hence memory. */
bool runs_remove_range(struct runs *r, uint32_t first, uint32_t last) must_use;
/* *r must be empty: becomes the list, in time that its length alone decides. */
bool runs_build(struct runs *r, struct run_list list) must_use;

bool runs_has(const struct runs *r, uint32_t n);
/* How many members are <= n: the sequence number of n, if it is a member. */
uint32_t runs_rank(const struct runs *r, uint32_t n);
/* The member with that rank, counted from 1; 0 when there are not so many. */
uint32_t runs_nth(const struct runs *r, uint32_t rank);
/* 0 when empty. */
uint32_t runs_first(const struct runs *r);
uint32_t runs_last(const struct runs *r);

/* The first run that has a member >= from, cut so that it begins there; false: there is none.
 * To see all: from = 1, then out->last + 1 (until that is 0). The set may change in between. */
bool runs_next(const struct runs *r, uint32_t from, struct run *out);

/* The same for a set that does not change in between: a step costs the same however large the set is.
 * Zeroed but for the set, and where to begin: as `from` above. */
struct runs_walk {
	const struct runs *set;
	uint32_t from;
	/* private */
	const struct run *at, *end; /* what is left of a leaf */
};
bool runs_walk_next(struct runs_walk *w, struct run *out);

/* runs_rank for numbers that ascend, mostly by small steps: again of a set that does not change.
 * Zeroed but for the set. */
struct runs_climb {
	const struct runs *set;
	/* private */
	struct runs_walk walk;
	struct run run;  /* the first that ends at or behind the last number, perhaps cut */
	uint32_t before; /* members before it */
	bool begun, there;
};
uint32_t runs_climb_rank(struct runs_climb *c, uint32_t n);

#endif
