/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits and their split over workers. */
#include "relay/shape.h"

#include <criterion/criterion.h>

Test(shape, shares_sum_up_to_the_limit)
{
	for (unsigned workers = 1; workers <= 9; workers++)
		for (int64_t limit = 1; limit <= 40; limit++)
			for (unsigned owner = 0; owner < workers; owner++) {
				unsigned sum = 0, least = UINT32_MAX;

				for (unsigned k = 0; k < workers; k++) {
					unsigned share = shape_share(limit,
						(struct shape_place){ k, owner, workers });

					sum += share;
					least = share < least ? share : least;
				}
				cr_assert_eq(sum, (unsigned)limit);
				cr_assert_geq(shape_share(limit,
						      (struct shape_place){
							      owner, owner, workers }),
					least + (limit % workers ? 1u : 0u));
			}
}

Test(shape, own_limits_win_where_set)
{
	struct route_limits general = { .connections = 20, .idle_ms = 5000 }, got;
	struct route route = { .limits = { .connections = 3,
				       .messages_per_connection = CONF_UNSET,
				       .idle_ms = CONF_UNSET } };

	route.limits.recipients_per_message = CONF_UNSET;
	shape_limits(&general, &route, &got);
	cr_assert_eq(got.connections, 3);
	cr_assert_eq(got.idle_ms, 5000);
	shape_limits(&general, NULL, &got);
	cr_assert_eq(got.connections, 20);
}

Test(shape, rest_doubles_and_ends)
{
	cr_assert_eq(shape_rest(1, 900000), 60000);
	cr_assert_eq(shape_rest(2, 900000), 120000);
	cr_assert_eq(shape_rest(100, 900000), 30 * 60000);
	cr_assert_eq(shape_rest(1, 1000), 1000);
}
