/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_rate.c - credit per client and minute, in fixed memory. */
#include <criterion/criterion.h>

#include "server/rate.h"

static struct addr ip(const char *text)
{
	struct addr addr;

	cr_assert(addr_parse_ip(slice_str(text), &addr));
	return addr;
}

Test(rate, a_minute_of_credit_then_a_trickle)
{
	struct rate *r = rate_new();
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.2");

	for (int i = 0; i < 10; i++)
		cr_assert(rate_take(r, &a, 0, 10));
	cr_assert_not(rate_take(r, &a, 0, 10));
	cr_assert(rate_take(r, &b, 0, 10), "another client");
	cr_assert(rate_take(r, &a, 6000, 10), "one more after a tenth of a minute");
	cr_assert_not(rate_take(r, &a, 6000, 10));
	rate_free(r);
}

Test(rate, a_flood_of_addresses_refuses_nobody_new)
{
	struct rate *r = rate_new();

	for (uint32_t i = 0; i < 100000; i++) {
		struct addr a = addr_ip4(0x0a000000 + i, 0);

		cr_assert(rate_take(r, &a, i, 1));
	}
	rate_free(r);
}

Test(rate, none_means_any)
{
	struct addr a = ip("192.0.2.1");

	cr_assert(rate_take(NULL, &a, 0, 0));
}
