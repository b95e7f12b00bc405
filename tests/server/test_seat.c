/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_seat.c - limits and delays of accounts, on the doubles of mailbox_house.h. */
#include <criterion/criterion.h>

#include "server/seat.h"
#include "tests/server/mailbox_house.h"

enum { MINUTE = 60000 };

static void open_house(void)
{
	house_open(SERVICE_POP3, NULL);
}

static void close_house(void)
{
	house_close();
	house_done();
}

TestSuite(seat, .init = open_house, .fini = close_house);

static struct seat *take(uint64_t account, uint64_t max, msec delay_ms, enum fault want)
{
	struct seat_ask ask = { .account = account, .max = max, .delay_ms = delay_ms };
	struct seat *seat = NULL;
	enum fault got = seat_take(&ask, &seat);

	cr_assert_eq(got, want, "%s, not %s", fault_name(got), fault_name(want));
	cr_assert_eq(seat != NULL, got == FAULT_NONE);
	return seat;
}

Test(seat, so_many_and_no_more)
{
	struct seat *one = take(1, 2, 0, FAULT_NONE), *two = take(1, 2, 0, FAULT_NONE);

	take(1, 2, 0, FAULT_SESSIONS);
	seat_leave(take(2, 2, 0, FAULT_NONE));
	seat_leave(one);
	one = take(1, 2, 0, FAULT_NONE);
	struct seat *third = take(1, 0, 0, FAULT_NONE); /* no limit */

	seat_leave(one);
	seat_leave(two);
	seat_leave(third);
	seat_leave(NULL);
}

Test(seat, the_delay_is_counted_from_the_last_seat_taken_with_one)
{
	seat_leave(take(1, 0, 10 * MINUTE, FAULT_NONE));
	house_clock(10 * MINUTE - 1);
	take(1, 0, 10 * MINUTE, FAULT_LOGIN_DELAY); /* does not begin it anew */
	seat_leave(take(1, 0, 0, FAULT_NONE));      /* nor does who has none */
	seat_leave(take(2, 0, 10 * MINUTE, FAULT_NONE));
	house_clock(1);
	seat_leave(take(1, 0, 10 * MINUTE, FAULT_NONE));
	take(2, 0, 10 * MINUTE, FAULT_LOGIN_DELAY);
}

Test(seat, a_login_that_failed_after_all_begins_no_delay)
{
	seat_undo(take(1, 0, MINUTE, FAULT_NONE));
	struct seat *seat = take(1, 0, MINUTE, FAULT_NONE);

	take(1, 0, MINUTE, FAULT_LOGIN_DELAY);
	seat_leave(seat);
	take(1, 0, MINUTE, FAULT_LOGIN_DELAY);
}

Test(seat, a_shorter_delay_counts_at_once)
{
	seat_leave(take(1, 0, 10 * MINUTE, FAULT_NONE));
	house_clock(MINUTE);
	seat_leave(take(1, 0, MINUTE, FAULT_NONE));
}

Test(seat, many_accounts_come_and_go)
{
	for (uint64_t account = 1; account <= 1000; account++) {
		seat_leave(take(account, 1, MINUTE, FAULT_NONE));
		house_clock(100);
		if (account > 300)
			take(account - 300, 1, MINUTE, FAULT_LOGIN_DELAY);
	}
	seat_leave(take(1, 1, MINUTE, FAULT_NONE));
}
