/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of runs: small ones by hand, large ones against what arithmetic says. */
#include "core/base/runs.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct arena arena;

static slice shown(const struct runs *r)
{
	struct out o = out_arena(&arena);
	struct run run;

	for (uint32_t n = 1; n && runs_next(r, n, &run); n = run.last + 1)
		out_printf(&o, run.first == run.last ? "%u " : "%u-%u ", run.first, run.last);
	return out_written(&o);
}

#define shows(r, text) \
	cr_assert(slice_eq(shown(r), SLICE(text)), "%.*s, not %s", SLICE_ARG(shown(r)), text)

static bool remove_one(struct runs *r, uint32_t n)
{
	return runs_remove_range(r, n, n);
}

Test(runs, empty)
{
	struct runs r = { 0 };

	shows(&r, "");
	cr_assert(!runs_has(&r, 1) && !runs_rank(&r, 7) && !runs_nth(&r, 1) && !runs_nth(&r, 0));
	cr_assert(!runs_first(&r) && !runs_last(&r));
	cr_assert(remove_one(&r, 5) && runs_remove_range(&r, 1, UINT32_MAX));
	cr_assert(runs_add(&r, 0) && !r.count);
	runs_done(&r);
}

Test(runs, adding_joins_what_touches)
{
	struct runs r = { 0 };

	cr_assert(runs_add(&r, 5) && runs_add(&r, 7) && runs_add(&r, 2));
	shows(&r, "2 5 7 ");
	cr_assert(runs_add(&r, 6));
	shows(&r, "2 5-7 ");
	cr_assert(runs_add_range(&r, 3, 4) && runs_add_range(&r, 6, 9));
	shows(&r, "2-9 ");
	cr_assert(runs_add_range(&r, 20, 30) && runs_add_range(&r, 40, 50));
	cr_assert(runs_add_range(&r, 15, 60) && runs_add_range(&r, 1, 3));
	shows(&r, "1-9 15-60 ");
	cr_assert_eq(r.count, 9 + 46);
	cr_assert_eq(r.runs, 2);
	runs_done(&r);
}

Test(runs, removing_splits)
{
	struct runs r = { 0 };

	cr_assert(runs_add_range(&r, 1, 10) && remove_one(&r, 4) && remove_one(&r, 1));
	shows(&r, "2-3 5-10 ");
	cr_assert(remove_one(&r, 10) && remove_one(&r, 10) && runs_remove_range(&r, 3, 6));
	shows(&r, "2 7-9 ");
	cr_assert(runs_remove_range(&r, 8, UINT32_MAX));
	shows(&r, "2 7 ");
	cr_assert(runs_remove_range(&r, 1, UINT32_MAX) && !r.count && !r.root);
	runs_done(&r);
}

Test(runs, the_ends_of_the_numbers)
{
	struct runs r = { 0 };

	cr_assert(runs_add_range(&r, 1, UINT32_MAX));
	cr_assert_eq(r.count, UINT32_MAX);
	cr_assert_eq(runs_nth(&r, UINT32_MAX), UINT32_MAX);
	cr_assert_eq(runs_rank(&r, UINT32_MAX), UINT32_MAX);
	cr_assert(remove_one(&r, UINT32_MAX) && runs_add(&r, UINT32_MAX));
	cr_assert(runs_remove_range(&r, 1, UINT32_MAX - 1));
	shows(&r, "4294967295 ");
	cr_assert(runs_add(&r, UINT32_MAX - 1) && runs_add(&r, 1));
	cr_assert_eq(r.count, 3);
	runs_done(&r);
}

Test(runs, rank_and_nth_are_inverse)
{
	struct runs r = { 0 };

	cr_assert(runs_add_range(&r, 10, 12) && runs_add(&r, 20) && runs_add_range(&r, 30, 31));
	static const struct {
		uint32_t n, rank;
	} rows[] = { { 1, 0 }, { 10, 1 }, { 12, 3 }, { 15, 3 }, { 20, 4 }, { 29, 4 }, { 30, 5 },
		{ 31, 6 }, { 99, 6 } };

	for (size_t i = 0; i < array_len(rows); i++)
		cr_assert_eq(runs_rank(&r, rows[i].n), rows[i].rank, "%u", rows[i].n);
	for (uint32_t i = 1; i <= r.count; i++)
		cr_assert_eq(runs_rank(&r, runs_nth(&r, i)), i);
	cr_assert_eq(runs_nth(&r, 7), 0);
	runs_done(&r);
}

enum { MANY = 300000 };

/* Odd numbers only: a hole between any two. */
static void check_odd(const struct runs *r, uint32_t count)
{
	cr_assert_eq(r->count, count);
	cr_assert_eq(r->runs, count);
	for (uint32_t i = 1; i <= count; i += 97) {
		cr_assert_eq(runs_nth(r, i), 2 * i - 1);
		cr_assert_eq(runs_rank(r, 2 * i - 1), i);
		cr_assert_eq(runs_rank(r, 2 * i), i);
		cr_assert(runs_has(r, 2 * i - 1) && !runs_has(r, 2 * i));
	}
	cr_assert_eq(runs_last(r), 2 * count - 1);
}

Test(runs, many_holes_made_from_the_front)
{
	struct runs r = { 0 };

	cr_assert(runs_add_range(&r, 1, 2 * MANY));
	for (uint32_t i = 1; i <= MANY; i++)
		cr_assert(remove_one(&r, 2 * i));
	check_odd(&r, MANY);
	for (uint32_t i = MANY; i > 0; i--)
		cr_assert(remove_one(&r, 2 * i - 1));
	cr_assert(!r.root && !r.count && !r.runs);
	runs_done(&r);
}

Test(runs, many_holes_made_from_the_end_and_filled)
{
	struct runs r = { 0 };

	cr_assert(runs_add_range(&r, 1, 2 * MANY - 1));
	for (uint32_t i = MANY - 1; i > 0; i--)
		cr_assert(remove_one(&r, 2 * i));
	check_odd(&r, MANY);
	for (uint32_t i = 1; i < MANY; i++) /* in an order that jumps about */
		cr_assert(runs_add(&r, 2 * (uint32_t)((uint64_t)i * 7919 % MANY)));
	cr_assert_eq(r.runs, 1);
	cr_assert_eq(r.count, 2 * MANY - 1);
	cr_assert_eq(r.height, 0);
	runs_done(&r);
}

/* Walked and built anew, from everywhere, a set is what runs_next says of it. */
static void check_walk(const struct runs *r, uint32_t from)
{
	struct runs_walk walk = { .set = r, .from = from };
	struct run run, want;
	uint32_t at = MAX(from, 1u);

	while (runs_walk_next(&walk, &run)) {
		cr_assert(at && runs_next(r, at, &want));
		cr_assert(run.first == want.first && run.last == want.last, "%u-%u, not %u-%u",
			run.first, run.last, want.first, want.last);
		at = run.last + 1;
	}
	cr_assert(!at || !runs_next(r, at, &want));
}

static void check_build(uint32_t len, bool to_the_end)
{
	struct run *list = calloc(len + 1, sizeof(*list));
	struct runs built = { 0 }, added = { 0 };

	for (uint32_t i = 0; i < len; i++) {
		list[i] = (struct run){ .first = 3 + 10 * i, .last = 3 + 10 * i + i % 7 };
		if (to_the_end && i == len - 1)
			list[i].last = UINT32_MAX;
		cr_assert(runs_add_range(&added, list[i].first, list[i].last));
	}
	cr_assert(runs_build(&built, (struct run_list){ .runs = list, .len = len }));
	cr_assert(built.count == added.count && built.runs == len);
	check_walk(&built, 0);
	for (uint32_t n = 1; n < 10 * len + 20; n += 1 + n / 97) {
		cr_assert_eq(runs_rank(&built, n), runs_rank(&added, n), "%u of %u", n, len);
		cr_assert_eq(runs_nth(&built, n), runs_nth(&added, n));
		if (n % 50 < 10)
			check_walk(&built, n);
	}
	/* It is a set like any other. */
	for (uint32_t i = 0; i < len; i += 3)
		cr_assert(runs_remove_range(&built, list[i].first, list[i].first + i % 7) &&
			runs_add(&built, 1 + 10 * i) && runs_has(&built, 1 + 10 * i));
	runs_done(&built);
	runs_done(&added);
	free(list);
}

Test(runs, built_in_one_go_and_walked)
{
	const uint32_t lens[] = { 0, 1, 3, 63, 64, 65, 126, 127, 128, 190, 4000, 4033, 9000 };

	for (size_t i = 0; i < array_len(lens); i++)
		for (int end = 0; end < 2; end++)
			check_build(lens[i], end);
}

Test(runs, appending_fills_its_leaves)
{
	struct runs r = { 0 };

	for (uint32_t i = 1; i <= MANY; i++)
		cr_assert(runs_add(&r, 2 * i - 1));
	check_odd(&r, MANY);
	cr_assert_leq(r.height, 3);
	runs_done(&r);
}

/* By steps small and large, into runs, between them and behind all. */
Test(runs, climbing_gives_the_rank_of_each)
{
	for (uint32_t step = 1; step < 100; step += step / 2 + 1) {
		struct runs r = { 0 };
		struct runs_climb c = { .set = &r };

		cr_assert_eq(runs_climb_rank(&c, 7), 0);
		for (uint32_t n = 5; n < 4000; n += 1 + n % 5)
			cr_assert(runs_add_range(&r, n, n + n % 3));
		cr_assert(runs_add_range(&r, UINT32_MAX - 1, UINT32_MAX));
		c = (struct runs_climb){ .set = &r };
		for (uint32_t n = step - 1; n < 4100; n += step)
			cr_assert_eq(runs_climb_rank(&c, n), runs_rank(&r, n), "%u", n);
		cr_assert_eq(runs_climb_rank(&c, UINT32_MAX), r.count);
		runs_done(&r);
	}
}
