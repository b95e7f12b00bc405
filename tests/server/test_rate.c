/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_rate.c - credit per client and minute, in fixed memory. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

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

Test(rate, a_long_uptime_changes_nothing)
{
	struct rate *r = rate_new();
	struct addr a = ip("192.0.2.1");
	msec wrap = (msec)1 << 30; /* where the count of time begins again */

	for (msec now = wrap - 30000; now < wrap + 90000; now += 60000)
		for (int i = 0; i < 10; i++)
			cr_assert(rate_take(r, &a, now, 10));
	cr_assert_not(rate_take(r, &a, wrap + 30000, 10));
	cr_assert(rate_take(r, &a, wrap + 36000, 10));
	rate_free(r);
}

Test(rate, none_means_any)
{
	struct addr a = ip("192.0.2.1");

	cr_assert(rate_take(NULL, &a, 0, 0));
}

/* --- Many workers at once --- */

enum { THREADS = 4, TRIES_EACH = 20000, PER_MINUTE = 1000 };

static struct rate *shared;
static atomic_uint taken;

static void *take_many(void *arg)
{
	struct addr a = ip("2001:db8::1");

	(void)arg;
	for (unsigned i = 0; i < TRIES_EACH; i++)
		atomic_fetch_add(&taken, rate_take(shared, &a, 1000 + i / 5000, PER_MINUTE));
	return NULL;
}

Test(rate, workers_share_one_credit)
{
	pthread_t threads[THREADS];

	shared = rate_new();
	for (size_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, take_many, NULL), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	/* A minute's worth; a race that was lost too often lets one pass. */
	cr_assert_geq(atomic_load(&taken), PER_MINUTE);
	cr_assert_leq(atomic_load(&taken), PER_MINUTE + THREADS);
	rate_free(shared);
}
