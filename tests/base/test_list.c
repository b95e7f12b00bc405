/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists: order, removal during a walk, removal twice. */
#include "core/base/base.h"

#include <criterion/criterion.h>

struct item {
	int n;
	struct list_link link;
};

static int number(const struct list_link *link)
{
	return link ? container_of(link, struct item, link)->n : -1;
}

Test(list, keeps_order_at_both_ends)
{
	struct item items[4] = { { .n = 0 }, { .n = 1 }, { .n = 2 }, { .n = 3 } };
	struct list l;

	list_init(&l);
	cr_assert(list_empty(&l));
	cr_assert_null(list_first(&l));
	list_push(&l, &items[1].link);
	list_push(&l, &items[3].link);
	list_push_front(&l, &items[0].link);
	list_insert_after(&items[1].link, &items[2].link);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(number(list_pop(&l)), i);
	cr_assert_null(list_pop(&l));
}

Test(list, members_may_go_during_a_walk)
{
	struct item items[5] = { { .n = 0 }, { .n = 1 }, { .n = 2 }, { .n = 3 }, { .n = 4 } };
	struct list l;
	int sum = 0;

	list_init(&l);
	for (int i = 0; i < 5; i++)
		list_push(&l, &items[i].link);
	list_each(&l, link) if (number(link) % 2) list_remove(link);
	list_each(&l, link) sum += number(link);
	cr_assert_eq(sum, 0 + 2 + 4);
	cr_assert_eq(number(list_next(&l, &items[0].link)), 2);
	cr_assert_null(list_next(&l, &items[4].link));
}

Test(list, removing_twice_is_harmless)
{
	struct item item = { .n = 1 };
	struct list l;

	list_init(&l);
	list_remove(&item.link);
	list_push(&l, &item.link);
	cr_assert(list_has(&item.link));
	list_remove(&item.link);
	list_remove(&item.link);
	cr_assert_not(list_has(&item.link));
	cr_assert(list_empty(&l));
}
