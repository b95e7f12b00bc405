/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_health.c - what an operator reads about a store in trouble. */
#include <criterion/criterion.h>

#include "server/health.h"

struct told {
	char bad[512], good[128];
};

static struct told tell(struct health *h, struct health_look look)
{
	struct told t = { 0 };
	struct out bad = out_fixed(t.bad, sizeof(t.bad) - 1);
	struct out good = out_fixed(t.good, sizeof(t.good) - 1);

	health_tell(h, &look, &bad, &good);
	return t;
}

Test(health, nothing_is_said_of_a_healthy_store)
{
	struct health h = { 0 };

	for (msec now = 1; now < 100000; now += 1000) {
		struct told t = tell(&h, (struct health_look){ .now = now });

		cr_assert(!*t.bad && !*t.good);
	}
}

Test(health, a_full_disk_is_told_once_and_its_end_too)
{
	struct health h = { 0 };
	struct health_look look = {
		.now = 1000, .refusing = ERR_NOSPACE, .disk_free_bytes = 7 << 20
	};
	struct told t = tell(&h, look);

	cr_assert_str_eq(t.bad,
		"new mail is refused: the disk or the journal is full, 7 MB are free\n");
	for (look.now = 2000; look.now < 200000; look.now += 1000)
		cr_assert(!*tell(&h, look).bad);
	look.refusing = OK;
	cr_assert(!*tell(&h, look).good, "not at once");
	look.now += 6000;
	t = tell(&h, look);
	cr_assert_str_eq(t.good, "new mail is taken again after 199 s\n");
	look.now += 6000;
	cr_assert(!*tell(&h, look).good);
}

/* What fails is tried again every second and looks well in between. */
Test(health, what_flickers_is_one_complaint)
{
	struct health h = { 0 };
	unsigned lines = 0;

	for (msec now = 1000; now < 50000; now += 1000) {
		struct health_look look = { .now = now,
			.refusing = now / 1000 % 2 ? ERR_IO : OK,
			.write_errors = (uint64_t)now / 1000 };
		struct told t = tell(&h, look);

		for (const char *p = t.bad; *p; p++)
			lines += *p == '\n';
		cr_assert(!*t.good);
	}
	cr_assert_eq(lines, 2, "one of the errors, one of the mail");
}

Test(health, errors_that_go_on_are_told_every_minute)
{
	struct health h = { 0 };
	unsigned lines = 0;

	for (msec now = 1000; now <= 241000; now += 1000)
		lines += *tell(&h,
				 (struct health_look){
					 .now = now, .index_errors = (uint64_t)now / 1000 })
				  .bad != '\0';
	cr_assert_eq(lines, 5);
}
