/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Doubles and gaps are found, also across pages and from several threads. */
#include "bench/track.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

static struct track *new_track(void)
{
	struct track *t = calloc(1, sizeof(*t));

	cr_assert(t);
	return t;
}

static void drop(struct track *t)
{
	track_done(t);
	free(t);
}

Test(track, doubles_and_gaps)
{
	struct track *t = new_track();
	uint64_t missing[4];

	for (uint64_t n = 0; n < 1000; n++)
		if (n != 7 && n != 500)
			cr_assert(track_mark(t, n));
	cr_assert_not(track_mark(t, 3));
	cr_assert(atomic_load(&t->seen) == 998 && atomic_load(&t->doubles) == 1);
	cr_assert_eq(track_missing(t, 1000), 2);
	cr_assert(track_list_missing(t, 1000, missing, 4) == 2 && missing[0] == 7 &&
		missing[1] == 500);
	drop(t);
}

Test(track, beyond_its_end_is_counted)
{
	struct track *t = new_track();

	cr_assert(track_mark(t, TRACK_MAX));
	cr_assert(track_mark(t, TRACK_MAX - 1) && !track_mark(t, TRACK_MAX - 1));
	cr_assert(atomic_load(&t->out_of_range) == 1 && atomic_load(&t->doubles) == 1);
	drop(t);
}

static void *mark_all(void *arg)
{
	for (uint64_t n = 0; n < 600000; n++)
		track_mark(arg, n);
	return NULL;
}

Test(track, threads_do_not_lose_marks)
{
	struct track *t = new_track();
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, mark_all, t), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	cr_assert(atomic_load(&t->seen) == 600000 && atomic_load(&t->doubles) == 600000);
	cr_assert_eq(track_missing(t, 600000), 0);
	drop(t);
}
