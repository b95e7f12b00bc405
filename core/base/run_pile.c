/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A growing array of runs. It consists of sequences, each in order with a gap between any two runs; in
 * order as a whole it is one of them. Merging takes neighbours together until one is left, and joins
 * what touches. A full array is merged before it grows, and grows only when that freed less than half. */
#include "core/base/run_pile.h"

#include <stdlib.h>

enum { FIRST_CAP = 16 };

/* Where the sequence that begins at `at` ends. */
static size_t sequence_end(const struct run_pile *p, size_t at)
{
	for (at++; at < p->len && p->runs[at].first - 1 > p->runs[at - 1].last; at++)
		continue;
	return at;
}

/* Behind those of the result, which began at `from`. */
static void put(struct run_pile *to, size_t from, struct run run)
{
	struct run *end = to->len > from ? &to->runs[to->len - 1] : NULL;

	if (end && run.first - 1 <= end->last)
		end->last = MAX(end->last, run.last);
	else
		to->runs[to->len++] = run;
}

/* Two sequences side by side, [a, b) and [b, end), into one. */
static void merge(const struct run_pile *p, size_t a, size_t end, struct run_pile *to)
{
	size_t a_end = sequence_end(p, a), b = a_end, from = to->len;

	while (a < a_end || b < end) {
		bool left = b == end || (a < a_end && p->runs[a].first <= p->runs[b].first);

		put(to, from, left ? p->runs[a++] : p->runs[b++]);
	}
}

/* False: no memory, and nothing is changed. */
static bool settle(struct run_pile *p)
{
	struct run_pile other = { .cap = p->cap };

	if (!p->mixed)
		return true;
	other.runs = malloc(p->cap * sizeof(*other.runs));
	if (!other.runs)
		return false;
	while (p->mixed) {
		struct run_pile was = *p;
		size_t merged = 0;

		other.len = 0;
		for (size_t at = 0; at < was.len; merged++) {
			size_t end = sequence_end(&was, at);

			end = end < was.len ? sequence_end(&was, end) : end;
			merge(&was, at, end, &other);
			at = end;
		}
		*p = other;
		p->mixed = merged > 1;
		other = was;
	}
	free(other.runs);
	return true;
}

static bool grow(struct run_pile *p)
{
	if (p->cap && !settle(p))
		return false;
	if (p->cap && p->len <= p->cap / 2)
		return true;
	size_t cap = p->cap ? p->cap * 2 : FIRST_CAP;
	struct run *runs = realloc(p->runs, cap * sizeof(*runs));

	if (!runs)
		return false;
	p->runs = runs;
	p->cap = cap;
	return true;
}

void run_pile_append(struct run_pile *p, uint32_t first, uint32_t last)
{
	must(first && last >= first);
	if (p->failed || (p->len == p->cap && !grow(p))) {
		p->failed = true;
		return;
	}
	p->mixed = p->mixed || (p->len && first <= p->runs[p->len - 1].last);
	p->runs[p->len++] = (struct run){ .first = first, .last = last };
}

void run_pile_done(struct run_pile *p)
{
	free(p->runs);
	*p = (struct run_pile){ 0 };
}

bool run_pile_list(struct run_pile *p, struct run_list *out)
{
	if (p->failed || !settle(p))
		return false;
	*out = (struct run_list){ .runs = p->runs, .len = p->len };
	return true;
}

/* --- With others --- */

/* The pile becomes what was found; false: memory was missing. */
static bool become(struct run_pile *p, struct run_pile *found)
{
	bool failed = found->failed;

	run_pile_done(failed ? found : p);
	if (!failed)
		*p = *found;
	return !failed;
}

bool run_pile_without(struct run_pile *p, struct run_list gone)
{
	struct run_pile found = { 0 };
	struct run_list list;

	if (!run_pile_list(p, &list))
		return false;
	for (size_t i = 0, at = 0; i < list.len; i++) {
		uint32_t first = list.runs[i].first, last = list.runs[i].last;

		while (at < gone.len && gone.runs[at].last < first)
			at++;
		for (; at < gone.len && gone.runs[at].first <= last; at++) {
			if (gone.runs[at].first > first)
				run_pile_add(&found, first, gone.runs[at].first - 1);
			if (gone.runs[at].last >= last)
				break;
			first = gone.runs[at].last + 1;
		}
		if (at == gone.len || gone.runs[at].first > last)
			run_pile_add(&found, first, last);
	}
	return become(p, &found);
}

bool run_pile_within(struct run_pile *p, const struct runs *set)
{
	struct run_pile found = { 0 };
	struct runs_walk walk = { .set = set };
	struct run_list list;
	struct run r;
	size_t i = 0;

	if (!run_pile_list(p, &list))
		return false;
	if (list.len)
		walk.from = list.runs[0].first;
	for (bool there = list.len && runs_walk_next(&walk, &r); there && i < list.len;) {
		uint32_t first = MAX(r.first, list.runs[i].first);
		uint32_t last = MIN(r.last, list.runs[i].last);

		if (first <= last)
			run_pile_add(&found, first, last);
		if (list.runs[i].last < r.last)
			i++;
		else
			there = runs_walk_next(&walk, &r);
	}
	return become(p, &found);
}

bool run_pile_into(struct run_pile *p, struct runs *set)
{
	struct run_list list;

	if (!run_pile_list(p, &list))
		return false;
	if (!set->root)
		return runs_build(set, list);
	for (size_t i = 0; i < list.len; i++)
		if (!runs_add_range(set, list.runs[i].first, list.runs[i].last))
			return false;
	return true;
}
