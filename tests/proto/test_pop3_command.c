/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keywords, numbers, TOP and AUTH arguments of POP3. */
#include "proto/pop3/command.h"

#include <criterion/criterion.h>

Test(pop3_command, one_space_divides_and_the_rest_is_kept)
{
	slice verb, rest;

	pop3_split(SLICE("PASS  two spaces "), &verb, &rest);
	cr_assert(slice_eq(verb, SLICE("PASS")));
	cr_assert(slice_eq(rest, SLICE(" two spaces ")));
	pop3_split(SLICE("QUIT"), &verb, &rest);
	cr_assert(slice_eq(verb, SLICE("QUIT")) && rest.len == 0);
	pop3_split(SLICE(""), &verb, &rest);
	cr_assert(verb.len == 0 && rest.len == 0);
}

static const struct {
	slice in;
	uint32_t want; /* 0: refused */
	const char *why;
} numbers[] = {
	{ SLICE_INIT("1"), 1, "plain" },
	{ SLICE_INIT(" 12 "), 12, "blanks are forgiven" },
	{ SLICE_INIT("4294967295"), 4294967295u, "largest" },
	{ SLICE_INIT("4294967296"), 0, "too large" },
	{ SLICE_INIT("0"), 0, "messages count from 1" },
	{ SLICE_INIT("-1"), 0, "sign" },
	{ SLICE_INIT("1 2"), 0, "two" },
	{ SLICE_INIT(""), 0, "none" },
	{ SLICE_INIT("1x"), 0, "trailing" },
};

Test(pop3_command, numbers)
{
	for (size_t i = 0; i < array_len(numbers); i++) {
		uint32_t n = 0;
		bool good = pop3_number(numbers[i].in, &n);

		cr_expect_eq(good, numbers[i].want != 0, "%s", numbers[i].why);
		cr_expect_eq(n, numbers[i].want, "%s", numbers[i].why);
	}
}

Test(pop3_command, top_takes_two_numbers)
{
	struct pop3_top top = { 0 };

	cr_assert(pop3_top(SLICE("3 0"), &top));
	cr_assert(top.number == 3 && top.lines == 0);
	cr_assert(pop3_top(SLICE(" 3   10 "), &top));
	cr_assert(top.lines == 10);
	cr_assert_not(pop3_top(SLICE("3"), &top));
	cr_assert_not(pop3_top(SLICE("0 1"), &top));
	cr_assert_not(pop3_top(SLICE("3 -1"), &top));
	cr_assert_not(pop3_top(SLICE("1 2 3"), &top));
}

Test(pop3_command, auth_takes_a_mechanism_and_maybe_a_response)
{
	struct pop3_auth auth = { 0 };

	cr_assert(pop3_auth(SLICE("PLAIN"), &auth));
	cr_assert(slice_eq(auth.mechanism, SLICE("PLAIN")) && !auth.initial.ptr);
	cr_assert(pop3_auth(SLICE("PLAIN ="), &auth));
	cr_assert(slice_eq(auth.initial, SLICE("=")));
	cr_assert_not(pop3_auth(SLICE("PLAIN a b"), &auth));
	cr_assert_not(pop3_auth(SLICE(""), &auth));
}
