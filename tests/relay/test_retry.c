/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decision table and the back-off. */
#include "relay/retry.h"

#include <criterion/criterion.h>

static const struct {
	enum retry_phase phase;
	unsigned code;
	enum retry_action action;
	const char *why;
} rows[] = {
	{ RETRY_CONNECT, 554, RETRY_NEXT_HOST, "a greeting speaks for one host" },
	{ RETRY_MAIL, 421, RETRY_AGAIN, "421 before MAIL's reply is no attempt" },
	{ RETRY_MAIL, 550, RETRY_FAIL, "refused for good" },
	{ RETRY_RCPT, 452, RETRY_DEFER, "later" },
	{ RETRY_RCPT, 421, RETRY_DEFER, "an attempt from RCPT on" },
	{ RETRY_RCPT, 550, RETRY_FAIL, "no such user" },
	{ RETRY_DOT, 250, RETRY_DELIVERED, "the only way to be delivered" },
	{ RETRY_DOT, 451, RETRY_DEFER, "later" },
	{ RETRY_DOT, 554, RETRY_FAIL, "refused content" },
};

Test(retry, table_decides_by_phase_and_class)
{
	for (size_t i = 0; i < array_len(rows); i++)
		cr_expect_eq(retry_action(rows[i].phase, retry_class_of_code(rows[i].code)),
			rows[i].action, "%s", rows[i].why);
}

Test(retry, nothing_is_delivered_before_the_dot)
{
	for (int phase = RETRY_ROUTE; phase < RETRY_DOT; phase++)
		for (int class = 0; class < RETRY_CLASSES; class ++)
			cr_assert_neq(retry_action((enum retry_phase)phase,
					      (enum retry_class) class),
				RETRY_DELIVERED);
}

static const struct retry_times times = {
	.first_ms = 1000, .max_ms = 5000, .expire_ms = 60000, .factor = 2, .warn_ms = 30000
};

Test(retry, waits_grow_up_to_the_limit)
{
	static const msec nominal[] = { 1000, 2000, 4000, 5000, 5000 };

	for (uint32_t i = 0; i < array_len(nominal); i++) {
		for (uint64_t random = 0; random < 4000; random += 37) {
			msec wait = retry_backoff(&times, i + 1, random);

			cr_assert_geq(wait, nominal[i] * 85 / 100);
			cr_assert_leq(wait, nominal[i] * 115 / 100);
		}
	}
	cr_assert_leq(retry_backoff(&times, UINT32_MAX, 0), 5750);
}

Test(retry, last_attempt_falls_on_the_expiry)
{
	cr_assert_eq(retry_due(&times, 0, 59000, 5000), 60000);
	cr_assert_eq(retry_due(&times, 0, 10000, 5000), 15000);
	cr_assert_not(retry_expired(&times, 0, 59999));
	cr_assert(retry_expired(&times, 0, 60000));
	cr_assert(retry_warns(&times, 0, 30000));
	cr_assert_not(retry_warns(&times, 0, 29999));
}
