/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes with bodies while they come: counted with them, given up for them, and made from them. */
#include "core/fiber.h"
#include "core/file.h"
#include "store/blob.h"
#include "tests/core/workers.h"
#include "tests/store/store_support.h"

enum { BUDGET = 1 << 20, ASIDES = 64, EACH = 40000, BODY = 700000 };

static struct box box;

struct thing {
	struct blob_aside aside;
	unsigned given_up;
};

static void give_up(struct blob_aside *a)
{
	container_of(a, struct thing, aside)->given_up++;
	blob_aside_count(a, 0);
}

static uint64_t counted(void)
{
	struct store_stats s;

	store_stats(box.st, &s);
	return s.body_ram_bytes;
}

static void make_box(void)
{
	box_make(&box);
	box.options.body_ram_bytes = BUDGET;
	box.options.journal_max_bytes = 64 << 20;
}

static struct thing thing(void (*how)(struct blob_aside *))
{
	return (struct thing){ .aside = { .store = box.st, .give_up = how } };
}

Test(aside, the_largest_is_given_up)
{
	struct thing things[ASIDES], large, small;
	unsigned given_up = 0;

	make_box();
	box_open(&box, NULL, NULL);
	large = thing(give_up);
	small = thing(give_up);
	blob_aside_count(&small.aside, 3000);
	blob_aside_count(&large.aside, 200000);
	for (unsigned i = 0; i < ASIDES; i++) {
		things[i] = thing(give_up);
		for (size_t bytes = 1000; bytes <= EACH; bytes += 1000) {
			if (things[i].given_up)
				break;
			blob_aside_count(&things[i].aside, bytes);
			cr_assert_leq(counted(), (uint64_t)BUDGET);
		}
	}
	for (unsigned i = 0; i < ASIDES; i++)
		given_up += things[i].given_up;
	cr_expect_eq(large.given_up, 1u);
	cr_expect_eq(small.given_up, 0u);
	cr_expect_geq(given_up, (unsigned)(ASIDES - BUDGET / EACH));
	cr_expect_lt(given_up, (unsigned)ASIDES);
	cr_expect_geq(counted(), (uint64_t)BUDGET - 2 * EACH);
	for (unsigned i = 0; i < ASIDES; i++)
		blob_aside_count(&things[i].aside, 0);
	blob_aside_count(&small.aside, 0);
	cr_expect_eq(counted(), 0u);
	box_close(&box);
	box_remove(&box);
}

/* A body goes to the journal, and loses nothing by it. */
Test(aside, bodies_make_room_first)
{
	struct blob_writer body = { 0 };
	struct thing one;
	static char bytes[100000];

	make_box();
	box_open(&box, NULL, NULL);
	one = thing(give_up);
	blob_begin(&body, box.st);
	cr_assert_eq(blob_write(&body, slice_of(bytes, sizeof(bytes))), OK);
	blob_aside_count(&one.aside, BUDGET - 110000);
	cr_expect_eq(body.chunk_count, 0u);
	blob_aside_count(&one.aside, BUDGET - 50000);
	cr_expect_eq(one.given_up, 1u, "it was much the larger one");
	blob_aside_count(&one.aside, 60000);
	cr_expect_eq(body.chunk_count, 0u);
	one.aside.give_up = NULL;
	blob_aside_count(&one.aside, BUDGET - 50000);
	cr_expect_eq(one.given_up, 1u);
	cr_expect_eq(body.chunk_count, 1u);
	blob_aside_count(&one.aside, 0);
	blob_drop(&body);
	cr_expect_eq(counted(), 0u);
	box_close(&box);
	box_remove(&box);
}

struct reading {
	unsigned seed;
	size_t at;
	bool wrong;
};

static void compare(void *arg, slice bytes)
{
	struct reading *r = arg;
	static char want[64 * 1024];

	must(bytes.len <= sizeof(want));
	body_bytes(r->seed, r->at, want, bytes.len);
	r->wrong |= memcmp(want, bytes.ptr, bytes.len) != 0;
	r->at += bytes.len;
}

static void write_body(struct blob_writer *b, unsigned seed, size_t size)
{
	char buf[3000];

	blob_begin(b, box.st);
	for (size_t at = 0; at < size; at += sizeof(buf)) {
		size_t n = MIN(size - at, sizeof(buf));

		body_bytes(seed, at, buf, n);
		check(blob_write_wait(b, slice_of(buf, n)) == OK);
	}
}

static void read_twice(unsigned seed, size_t size)
{
	struct blob_writer b = { 0 };
	struct blob_ref ref;
	struct store_message msg = { .meta = SLICE("m"), .body = &b, .at = 1 };

	write_body(&b, seed, size);
	for (unsigned i = 0; i < 2; i++) {
		struct reading r = { .seed = seed };
		struct blob_again again = { .take = compare, .arg = &r };

		check(blob_read_again(&b, &again) == OK);
		check(!r.wrong && r.at == size);
	}
	check(store_message_append(box.st, &msg, &ref) == OK);
	check(message_is(box.st, ref.id, seed, size));
	store_release(box.st, &ref);
}

static unsigned finished;

static void read_on_fiber(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	read_twice(seed, 1 + seed % 3 * BODY / 2);
	finished++;
}

static void read_many(struct worker *w)
{
	box_open(&box, &keep_nothing, NULL);
	for (unsigned i = 0; i < 9; i++)
		check(fiber_start(w, read_on_fiber, (void *)(uintptr_t)i) == OK);
	while (finished < 9)
		check(fiber_sleep(5) == OK);
	check(counted() == 0);
	box_close(&box);
}

Test(aside, an_unfinished_body_is_read_again)
{
	make_box();
	run_on_workers(1, read_many);
	box_remove(&box);
}

Test(aside, without_a_worker_too)
{
	make_box();
	box_open(&box, &keep_nothing, NULL);
	read_twice(3, BODY);
	read_twice(4, 100);
	box_close(&box);
	box_remove(&box);
}

Test(aside, a_failing_disk_is_told)
{
	struct blob_writer b = { 0 };
	struct reading r = { .seed = 1 };
	struct blob_again again = { .take = compare, .arg = &r };

	make_box();
	box_open(&box, &keep_nothing, NULL);
	box.disk.fail_from = box.disk.writes + 1;
	box.disk.fail_to = UINT32_MAX;
	blob_begin(&b, box.st);
	cr_assert_eq(blob_write(&b, SLICE("some bytes")), OK);
	cr_expect_eq(blob_read_again(&b, &again), ERR_IO);
	blob_drop(&b);
	cr_expect_eq(counted(), 0u);
	box.disk.fail_from = 0;
	box_close(&box);
	box_remove(&box);
}

/* A body whose record is on its way is written once, whatever else happens meanwhile. */
static void append_one(void *arg)
{
	struct blob_writer b = { 0 };
	struct blob_ref ref;
	struct store_message msg = { .meta = SLICE("m"), .body = &b, .at = 1 };

	write_body(&b, 5, 100000);
	check(store_message_append(box.st, &msg, &ref) == OK);
	check(ref.low == ref.id);
	check(message_is(box.st, ref.id, 5, 100000));
	store_release(box.st, &ref);
	finished++;
}

static void press(struct worker *w)
{
	struct store_stats s;
	struct thing one;

	finished = 0;
	box_open(&box, &keep_nothing, NULL);
	one = thing(NULL);
	check(fiber_start(w, append_one, NULL) == OK);
	check(!finished);
	blob_aside_count(&one.aside, 2 * BUDGET);
	while (!finished)
		check(fiber_sleep(5) == OK);
	blob_aside_count(&one.aside, 0);
	store_stats(box.st, &s);
	check(s.bodies_spilled == 0);
	check(s.held_messages == 0);
	box_close(&box);
}

Test(aside, what_is_being_appended_is_let_be)
{
	make_box();
	run_on_workers(1, press);
	box_remove(&box);
}
