/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Piles of runs: small ones by hand, random ones against a table of bits. */
#include "core/base/run_pile.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { NUMBERS = 3000 };

static struct arena arena;

static slice shown(struct run_pile *p)
{
	struct out o = out_arena(&arena);
	struct run_list list;

	cr_assert(run_pile_list(p, &list));
	for (size_t i = 0; i < list.len; i++)
		out_printf(&o, "%u-%u ", list.runs[i].first, list.runs[i].last);
	return out_written(&o);
}

#define shows(p, text) \
	cr_assert(slice_eq(shown(p), SLICE(text)), "%.*s, not %s", SLICE_ARG(shown(p)), text)

Test(run_pile, empty)
{
	struct run_pile p = { 0 };
	struct runs set = { 0 };

	shows(&p, "");
	cr_assert(run_pile_without(&p, (struct run_list){ 0 }) && run_pile_within(&p, &set));
	cr_assert(run_pile_into(&p, &set));
	cr_assert(!set.count);
	run_pile_done(&p);
}

Test(run_pile, what_touches_or_overlaps_is_one_run)
{
	struct run_pile p = { 0 };

	run_pile_add(&p, 5, 6);
	run_pile_add(&p, 7, 7);
	run_pile_add(&p, 6, 9);
	run_pile_add(&p, 20, 30);
	shows(&p, "5-9 20-30 ");
	run_pile_add(&p, 10, 12);
	run_pile_add(&p, 14, 19);
	run_pile_add(&p, 3, 3);
	run_pile_add(&p, 1, 1);
	shows(&p, "1-1 3-3 5-12 14-30 ");
	run_pile_add(&p, 2, UINT32_MAX);
	shows(&p, "1-4294967295 ");
	run_pile_add(&p, 1, 1);
	run_pile_add(&p, UINT32_MAX, UINT32_MAX);
	shows(&p, "1-4294967295 ");
	run_pile_done(&p);
}

/* The log of a mailbox whose messages are changed over and over: its last state alone takes memory. */
Test(run_pile, what_comes_again_takes_no_memory_again)
{
	struct run_pile p = { 0 };

	for (unsigned round = 0; round < 1000; round++)
		for (uint32_t n = 1; n < 200; n += 2)
			run_pile_add(&p, n, n);
	cr_expect_leq(p.cap, 512u);
	struct run_list list;
	cr_assert(run_pile_list(&p, &list));
	cr_expect_eq(list.len, 100u);
	run_pile_done(&p);
}

static void mark(bool *bits, uint32_t first, uint32_t last, bool on)
{
	for (uint32_t n = first; n <= last; n++)
		bits[n] = on;
}

static struct run any_run(void)
{
	uint32_t first = 1 + (uint32_t)random() % (NUMBERS - 1);
	uint32_t last = first + (uint32_t)random() % 4;

	return (struct run){ first, MIN(last, (uint32_t)NUMBERS - 1) };
}

/* Sometimes ascending, sometimes not at all. */
static void add_some(struct run_pile *p, bool *bits)
{
	for (unsigned i = (unsigned)random() % 300; i > 0; i--) {
		struct run r = any_run();
		unsigned more = (unsigned)random() % 20;

		for (; more && r.last < NUMBERS - 10; more--) {
			run_pile_add(p, r.first, r.last);
			mark(bits, r.first, r.last, true);
			r.first = r.last + 1 + (uint32_t)random() % 3;
			r.last = r.first + (uint32_t)random() % 3;
		}
	}
}

static void same(struct run_pile *p, const bool *bits, unsigned seed)
{
	struct run_list list;
	size_t at = 0;

	cr_assert(run_pile_list(p, &list));
	for (uint32_t n = 1; n < NUMBERS; n++) {
		while (at < list.len && list.runs[at].last < n)
			at++;
		bool has = at < list.len && list.runs[at].first <= n;

		cr_assert_eq(has, bits[n], "%u, seed %u", n, seed);
	}
	for (size_t i = 1; i < list.len; i++)
		cr_assert_gt(list.runs[i].first, list.runs[i - 1].last + 1, "seed %u", seed);
}

Test(run_pile, whatever_comes_in_whatever_order)
{
	for (unsigned seed = 1; seed <= 200; seed++) {
		struct run_pile p = { 0 }, gone = { 0 };
		bool bits[NUMBERS] = { false }, gone_bits[NUMBERS] = { false };
		struct runs set = { 0 };
		struct run_list list;

		srandom(seed);
		add_some(&p, bits);
		same(&p, bits, seed);
		add_some(&p, bits);
		add_some(&gone, gone_bits);
		cr_assert(run_pile_list(&gone, &list));
		cr_assert(run_pile_into(&gone, &set));
		if (seed % 2) {
			cr_assert(run_pile_without(&p, list));
			for (uint32_t n = 1; n < NUMBERS; n++)
				bits[n] = bits[n] && !gone_bits[n];
		} else {
			cr_assert(run_pile_within(&p, &set));
			for (uint32_t n = 1; n < NUMBERS; n++)
				bits[n] = bits[n] && gone_bits[n];
		}
		same(&p, bits, seed);
		cr_assert(run_pile_into(&p, &set)); /* which has something */
		for (uint32_t n = 1; n < NUMBERS; n++)
			cr_assert_eq(runs_has(&set, n), bits[n] || gone_bits[n], "seed %u", seed);
		run_pile_done(&p);
		run_pile_done(&gone);
		runs_done(&set);
	}
}
