/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small bodies fetched many at a time: the same bytes and the same checks as one by one. */
#include "store/store_int.h"
#include "tests/store/store_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 400, AHEAD = 64 * 1024 };

static struct box box;
static struct blob_coming bodies[COUNT + 1];
static struct blob_ahead ahead;
static unsigned fetched; /* how often `ahead` was filled */

static size_t size_of(unsigned i)
{
	static const size_t odd[] = { 0, 1, 40000, 16384, 16385, 9000 };

	return i % 10 ? 2000 + i * 7919 % 3000 : odd[i / 10 % array_len(odd)];
}

static void put(unsigned i, size_t size)
{
	struct blob_ref ref;

	cr_assert_eq(put_message(box.st, i, size, &ref), OK);
	bodies[i] = (struct blob_coming){ .id = ref.id, .size = size };
}

static void make(size_t (*size)(unsigned i))
{
	box_make(&box);
	box.options.journal_max_bytes = 64 << 20;
	box_open(&box, &keep_nothing, NULL);
	for (unsigned i = 0; i < COUNT; i++)
		put(i, size(i));
	ahead = (struct blob_ahead){ .buf = malloc(AHEAD), .cap = AHEAD };
	fetched = 0;
}

static void done(void)
{
	free(ahead.buf);
	box_remove(&box);
}

static void look_ahead(unsigned i, unsigned count)
{
	if (blob_is_ahead(&ahead, bodies[i].id))
		return;
	blob_read_ahead(&ahead, box.st, &bodies[i], count);
	fetched += ahead.len != 0;
}

static enum err read_near(unsigned i)
{
	static char have[60000], want[60000];
	struct blob_reader r;
	size_t n = 0;
	enum err err = blob_open_near(&r, box.st, bodies[i].id, &ahead);

	if (!err)
		err = blob_read(&r, have, sizeof(have), &n);
	if (err)
		return err;
	body_bytes(i, 0, want, n);
	return n == bodies[i].size && !memcmp(have, want, n) ? OK : ERR_INVALID;
}

static void read_all(void)
{
	for (unsigned i = 0; i < COUNT; i++) {
		look_ahead(i, MIN(32u, COUNT - i));
		cr_expect_eq(read_near(i), OK, "body %u of %zu", i, (size_t)bodies[i].size);
	}
}

Test(ahead, reads_what_is_there)
{
	make(size_of);
	read_all(); /* from the recent writes in RAM */
	cr_expect(fetched > COUNT / 30 && fetched < COUNT / 3, "%u", fetched);
	box_close(&box);
	box_open(&box, &keep_all, NULL);
	ahead.len = 0;
	read_all(); /* from the segments */
	done();
}

Test(ahead, in_parts_too)
{
	char small[600], want[600];

	make(size_of);
	for (unsigned i = 0; i < COUNT; i++) {
		struct blob_reader r;
		size_t n = 1, at = 0;

		look_ahead(i, MIN(32u, COUNT - i));
		cr_assert_eq(blob_open_near(&r, box.st, bodies[i].id, &ahead), OK);
		for (; n; at += n) {
			cr_assert_eq(blob_read(&r, small, 1 + i * 7 % sizeof(small), &n), OK);
			body_bytes(i, at, want, n);
			cr_assert_eq(memcmp(small, want, n), 0, "body %u at %zu", i, at);
		}
		cr_assert_eq(at, bodies[i].size);
	}
	done();
}

static size_t small(unsigned i)
{
	return 3500;
}

/* What is not worth it is left alone, whatever the caller hopes for. */
Test(ahead, only_where_they_lie_side_by_side)
{
	struct blob_coming back[2], far[2], *large;

	make(small);
	blob_read_ahead(&ahead, box.st, bodies, 1);
	cr_expect_eq(ahead.len, 0u);
	back[0] = bodies[8];
	back[1] = bodies[7];
	blob_read_ahead(&ahead, box.st, back, 2);
	cr_expect_eq(ahead.len, 0u);
	far[0] = bodies[0];
	far[1] = bodies[12];
	blob_read_ahead(&ahead, box.st, far, 2);
	cr_expect_eq(ahead.len, 0u);
	large = &bodies[20];
	large->size = 20000;
	blob_read_ahead(&ahead, box.st, large, 5);
	cr_expect_eq(ahead.len, 0u);
	blob_read_ahead(&ahead, box.st, bodies, 5);
	cr_expect(ahead.len > 4 * 3500 && ahead.last == bodies[4].id);
	cr_expect(blob_is_ahead(&ahead, bodies[0].id) && blob_is_ahead(&ahead, bodies[4].id));
	cr_expect(!blob_is_ahead(&ahead, bodies[5].id));
	done();
}

/* Nothing is taken for read that was written later. */
Test(ahead, ends_where_the_journal_does)
{
	make(small);
	blob_read_ahead(&ahead, box.st, &bodies[COUNT - 2], 2);
	cr_expect(ahead.from + ahead.len <= journal_durable(box.st->journal));
	put(COUNT, 100);
	cr_expect(!blob_is_ahead(&ahead, bodies[COUNT].id));
	for (unsigned i = COUNT - 2; i <= COUNT; i++)
		cr_expect_eq(read_near(i), OK, "body %u", i);
	done();
}

/* What the disk gave is checked there as anywhere. */
Test(ahead, damage_is_seen)
{
	make(small);
	look_ahead(0, 8);
	cr_assert(ahead.len);
	ahead.buf[bodies[3].id - ahead.from + 2000] ^= 1;
	for (unsigned i = 0; i < 8; i++)
		cr_expect_eq(read_near(i), i == 3 ? ERR_CORRUPT : OK, "body %u", i);
	ahead.buf[bodies[5].id - ahead.from + 8] ^= 1; /* the record's type */
	cr_expect_eq(read_near(5), ERR_CORRUPT);
	done();
}

/* Moved to the archive between the looking ahead and the reading, or before both. */
Test(ahead, a_body_that_moved_on)
{
	make(small);
	for (unsigned i = 0; i < COUNT; i++) {
		struct schedule_entry e = {
			.ref = { .id = bodies[i].id, .low = bodies[i].id, .size = 3500 },
			.domain = SLICE("a.test")
		};

		cr_assert_eq(schedule_park(box.st, &e), OK);
		store_release(box.st, &e.ref);
	}
	look_ahead(0, 8);
	cr_expect(!blob_is_archived(box.st, bodies[0].id));
	box_close(&box);
	box_open(&box, &keep_nothing, NULL);
	for (unsigned round = 0; round < 10; round++)
		cr_assert_eq(mover_round(box.st, true), OK);
	cr_expect(blob_is_archived(box.st, bodies[0].id));
	for (unsigned i = 0; i < 8; i++)
		cr_expect_eq(read_near(i), OK, "body %u", i);
	blob_read_ahead(&ahead, box.st, bodies, 8);
	cr_expect_eq(ahead.len, 0u);
	for (unsigned i = 0; i < 8; i++)
		cr_expect_eq(read_near(i), OK, "body %u", i);
	done();
}
