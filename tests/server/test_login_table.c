/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_login_table.c - what is remembered of logins, for how long, and in how much memory. */
#include <criterion/criterion.h>

#include "server/login_table.h"

static const struct map_seed seed = { 11, 22 };

static struct addr ip(const char *text)
{
	struct addr addr;

	cr_assert(addr_parse_ip(slice_str(text), &addr));
	return addr;
}

Test(login_table, remembers_until_its_time)
{
	struct login_table t;
	login_mark mark = login_mark_of(SLICE("k"), SLICE("a"), SLICE("h"), SLICE("p"));
	login_mark other = login_mark_of(SLICE("k"), SLICE("a"), SLICE("h2"), SLICE("p"));

	login_table_init(&t, &seed, 10);
	login_table_add(&t, &mark, 1000);
	cr_assert(login_table_until(&t, &mark, 999));
	cr_assert_not(login_table_until(&t, &other, 999),
		"another stored hash is another password");
	cr_assert_not(login_table_until(&t, &mark, 1000));
	login_table_done(&t);
}

Test(login_table, parts_cannot_be_shifted)
{
	login_mark x = login_mark_of(SLICE("k"), SLICE("ab"), SLICE("c"), SLICE("p"));
	login_mark y = login_mark_of(SLICE("k"), SLICE("a"), SLICE("bc"), SLICE("p"));

	cr_assert(memcmp(&x, &y, sizeof(x)) != 0);
}

Test(login_table, is_bounded_and_forgets_the_oldest)
{
	struct login_table t;
	login_mark first = { { 0 } }, mark;

	login_table_init(&t, &seed, 8);
	for (unsigned char i = 0; i < 50; i++) {
		mark = (login_mark){ { i } };
		login_table_add(&t, &mark, 1000);
		cr_assert_leq(t.map.len, 8u);
	}
	cr_assert_not(login_table_until(&t, &first, 1));
	cr_assert(login_table_until(&t, &mark, 1));
	login_table_done(&t);
}

Test(login_table, failures_delay_and_lock)
{
	struct login_table t;
	struct addr here = ip("192.0.2.1"), there = ip("192.0.2.2");
	struct login_who who = { SLICE("alice"), &here }, elsewhere = { SLICE("alice"), &there };
	struct login_limits limits = { .lock_after = 4,
		.window_ms = 10000,
		.lock_ms = 5000,
		.delay_ms = 100,
		.delay_max_ms = 300 };
	bool locked;

	login_table_init(&t, &seed, 8);
	cr_assert_eq(login_table_fail(&t, &who, &limits, 0, &locked), 100);
	cr_assert_eq(login_table_fail(&t, &who, &limits, 1, &locked), 200);
	cr_assert_eq(login_table_fail(&t, &who, &limits, 2, &locked), 300);
	cr_assert_not(locked);
	cr_assert_not(login_table_locked(&t, &who, 2));
	login_table_fail(&t, &who, &limits, 3, &locked);
	cr_assert(locked);
	cr_assert(login_table_locked(&t, &who, 5002));
	cr_assert_not(login_table_locked(&t, &elsewhere, 10), "another client is not punished");
	cr_assert_not(login_table_locked(&t, &who, 5003));
	cr_assert_eq(login_table_fail(&t, &elsewhere, &limits, 20, &locked), 100);
	login_table_forget(&t, &elsewhere);
	cr_assert_eq(login_table_fail(&t, &elsewhere, &limits, 21, &locked), 100);
	cr_assert_eq(login_table_fail(&t, &elsewhere, &limits, 99999, &locked), 100, "forgotten");
	login_table_done(&t);
}

Test(login_table, an_ipv6_network_is_one_client)
{
	struct login_table t;
	struct addr one = ip("2001:db8::1"), two = ip("2001:db8::2");
	struct login_who x = { SLICE("a"), &one }, y = { SLICE("a"), &two };
	struct login_limits limits = { .lock_after = 1, .window_ms = 1000, .lock_ms = 1000 };
	bool locked;

	login_table_init(&t, &seed, 8);
	login_table_fail(&t, &x, &limits, 5, &locked);
	cr_assert(login_table_locked(&t, &y, 6));
	login_table_done(&t);
}
