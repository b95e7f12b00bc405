/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_iterations.c - made-up names are no more constant, and no more fickle, than accounts. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "server/iterations.h"

enum { NAMES = 2000, OLD = 4096, NEW = 10000 };
static const wall_ms day = INT64_C(86400) * 1000;
static const slice secret = SLICE_INIT("0123456789abcdef");

static slice name_of(unsigned i)
{
	static char buf[32];

	return slice_of(buf, (size_t)snprintf(buf, sizeof(buf), "u%u@own.test", i));
}

static unsigned with_new(const struct iterations *h, wall_ms now)
{
	unsigned count = 0;

	for (unsigned i = 0; i < NAMES; i++) {
		uint32_t got = iterations_of(h, secret, name_of(i), now);

		cr_assert(got == OLD || got == NEW);
		count += got == NEW;
	}
	return count;
}

Test(iterations, nothing_changes_at_the_moment_of_a_change)
{
	struct iterations h = { 0 };

	cr_assert(iterations_note(&h, OLD, 0));
	cr_assert_not(iterations_note(&h, OLD, day));
	cr_assert_eq(with_new(&h, day), 0u);
	cr_assert(iterations_note(&h, NEW, 100 * day));
	cr_assert_eq(with_new(&h, 100 * day), 0u);
	unsigned later = with_new(&h, 190 * day), end = with_new(&h, 280 * day);

	cr_assert(later > NAMES / 5 && later < NAMES / 10 * 3, "%u after 90 days", later);
	cr_assert(end > NAMES / 5 * 2 && end < NAMES / 5 * 3, "%u after 180 days", end);
	cr_assert_eq(with_new(&h, 9999 * day), end, "then no more");
}

Test(iterations, a_name_goes_over_once)
{
	struct iterations h = { 0 };

	(void)iterations_note(&h, OLD, 0);
	(void)iterations_note(&h, NEW, day);
	for (unsigned i = 0; i < 200; i++) {
		bool gone = false;

		for (unsigned at = 1; at < 400; at += 3) {
			bool is = iterations_of(&h, secret, name_of(i), at * day) == NEW;

			cr_assert(is || !gone);
			gone = is;
		}
	}
}

Test(iterations, comes_back_as_text)
{
	struct iterations h = { 0 }, back = { 0 };
	char buf[400];
	struct out o = out_fixed(buf, sizeof(buf));

	for (uint32_t i = 0; i < ITERATIONS_MAX + 3; i++)
		cr_assert(iterations_note(&h, 5000 + i, (wall_ms)i * day));
	iterations_put(&h, &o);
	cr_assert(out_ok(&o) && iterations_parse(out_written(&o), &back));
	cr_assert_eq(memcmp(&h, &back, sizeof(h)), 0);
	cr_assert_eq(back.rows[ITERATIONS_MAX - 1].value, 5000 + ITERATIONS_MAX + 2u);
	cr_assert_not(iterations_parse(SLICE(""), &back));
	cr_assert_not(iterations_parse(SLICE("10000"), &back));
	cr_assert_not(iterations_parse(SLICE("10000@x"), &back));
	cr_assert_not(iterations_parse(SLICE("1@2 1@2 1@2 1@2 1@2 1@2 1@2 1@2 1@2"), &back));
}
