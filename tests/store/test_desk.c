/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The budget of bodies over two workers: what one holds for clients that do not go on makes no one wait on the
 * other. Nothing on the worker that holds it moves by itself in these tests. */
#include "core/fiber.h"
#include "core/file.h"
#include "core/post.h"
#include "store/blob.h"
#include "tests/core/workers.h"
#include "tests/store/store_support.h"

enum { BUDGET = 1 << 20, LARGE = 100000, SMALL = 4000, MOST = 300 };

static struct box box;

struct thing {
	struct blob_aside aside;
	unsigned given_up;
};

/* What worker 1 holds. */
static struct blob_writer held[MOST];
static struct thing things[MOST];
static size_t held_count, each;

static void hold_bodies(struct worker *w, void *arg)
{
	static char bytes[LARGE];

	for (size_t i = 0; i < held_count; i++) {
		held[i] = (struct blob_writer){ .store = NULL };
		blob_begin(&held[i], box.st);
		check(blob_write(&held[i], slice_of(bytes, each)) == OK);
	}
}

static void drop_bodies(struct worker *w, void *arg)
{
	for (size_t i = 0; i < held_count; i++)
		blob_drop(&held[i]);
}

static uint64_t counted(void)
{
	struct store_stats s;

	store_stats(box.st, &s);
	return s.body_ram_bytes;
}

static uint64_t spilled(void)
{
	struct store_stats s;

	store_stats(box.st, &s);
	return s.bodies_spilled;
}

static void deliver(unsigned seed, size_t size)
{
	struct blob_ref ref;

	check(put_message(box.st, seed, size, &ref) == OK);
	check(message_is(box.st, ref.id, seed, size));
	store_release(box.st, &ref);
}

static void open_and_hold(size_t count, size_t bytes)
{
	box_open(&box, &keep_nothing, NULL);
	held_count = count;
	each = bytes;
	post_call(1, hold_bodies, NULL);
	check(counted() == count * bytes);
	check(spilled() == 0);
}

static void let_go_and_close(void)
{
	post_call(1, drop_bodies, NULL);
	while (counted()) /* on its way to the disk */
		check(fiber_sleep(1) == OK);
	box_close(&box);
}

static void run(void (*body)(struct worker *w))
{
	box_make(&box);
	box.options.body_ram_bytes = BUDGET;
	box.options.journal_max_bytes = 64 << 20;
	run_on_workers(2, body);
	box_remove(&box);
}

/* It is the other one's largest that goes, not what is here. */
static void large_ones(struct worker *w)
{
	open_and_hold(BUDGET / LARGE, LARGE);
	deliver(1, 60000);
	check(spilled() == 1);
	for (unsigned i = 0; i < 5; i++) {
		deliver(i, 3000);
		deliver(i, 60000);
	}
	check(spilled() == 1); /* that was room enough for one after another */
	let_go_and_close();
}

Test(desk, another_worker_makes_room)
{
	run(large_ones);
}

/* They are not worth a write each: who is here writes what it has itself, and goes on. */
static void small_ones(struct worker *w)
{
	open_and_hold(BUDGET / SMALL, SMALL);
	for (unsigned i = 0; i < 5; i++) {
		deliver(i, 3000);
		deliver(i, 60000);
		deliver(i, 600000);
	}
	check(counted() == held_count * each);
	let_go_and_close();
}

Test(desk, many_small_ones_make_nobody_wait)
{
	run(small_ones);
}

static void give_up(struct blob_aside *a)
{
	container_of(a, struct thing, aside)->given_up++;
	blob_aside_count(a, 0);
}

static void hold_asides(struct worker *w, void *arg)
{
	for (size_t i = 0; i < held_count; i++) {
		things[i] = (struct thing){ .aside = { .store = box.st, .give_up = give_up } };
		blob_aside_count(&things[i].aside, each);
	}
}

static void drop_asides(struct worker *w, void *arg)
{
	for (size_t i = 0; i < held_count; i++)
		blob_aside_count(&things[i].aside, 0);
}

static void count_given_up(struct worker *w, void *arg)
{
	for (size_t i = 0; i < held_count; i++)
		*(unsigned *)arg += things[i].given_up;
}

static unsigned given_up(void)
{
	unsigned n = 0;

	post_call(1, count_given_up, &n);
	return n;
}

/* The largest of all workers is given up, and among equals that of the worker that holds most. */
static void asides(struct worker *w)
{
	struct thing here = { .aside = { .give_up = give_up } };

	box_open(&box, NULL, NULL);
	here.aside.store = box.st;
	held_count = BUDGET / 5000;
	each = 5000;
	post_call(1, hold_asides, NULL);
	blob_aside_count(&here.aside, 6000);
	check(given_up() == 1);
	blob_aside_count(&here.aside, 7000);
	check(given_up() == 1);
	check(here.given_up == 0);
	blob_aside_count(&here.aside, 30000);
	check(here.given_up == 1);
	check(given_up() == 1);
	post_call(1, drop_asides, NULL);
	check(counted() == 0);
	box_close(&box);
}

Test(desk, the_largest_of_all_is_given_up)
{
	run(asides);
}

/* A writer that was told to pause is told to go on, whoever made the room. */
static unsigned resumed;

static void count_resumed(struct blob_writer *b)
{
	resumed++;
}

static void hold_what_cannot_be_had(struct worker *w, void *arg)
{
	things[0] = (struct thing){ .aside = { .store = box.st } };
	blob_aside_count(&things[0].aside, 2 * BUDGET);
}

static void paused_one(struct worker *w)
{
	static char bytes[20000];
	struct blob_writer b = { .resume = count_resumed };

	open_and_hold(2, LARGE);
	blob_begin(&b, box.st);
	check(blob_write(&b, slice_of(bytes, sizeof(bytes))) == OK);
	post_call(1, hold_what_cannot_be_had, NULL); /* takes all that there is meanwhile */
	check(blob_write(&b, slice_of(bytes, sizeof(bytes))) == ERR_BUSY);
	while (!resumed)
		check(fiber_sleep(1) == OK);
	check(resumed == 1 && b.chunk_count);
	held_count = 2;
	blob_drop(&b);
	post_call(1, drop_bodies, NULL);
	held_count = 1;
	post_call(1, drop_asides, NULL);
	held_count = 0;
	let_go_and_close();
}

Test(desk, who_paused_goes_on)
{
	run(paused_one);
}

/* Many fibers on both workers, far more than there is room for. */
static _Atomic unsigned finished;

static void deliver_some(void *arg)
{
	unsigned base = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < 10; i++)
		deliver(base + i, (size_t)1000 << (base + i) % 9);
	atomic_fetch_add(&finished, 1);
}

static void start_some(struct worker *w, void *arg)
{
	for (unsigned i = 0; i < 20; i++)
		check(fiber_start(w, deliver_some,
			      (void *)(uintptr_t)(1000 * worker_index(w) + i)) == OK);
}

static void both(struct worker *w)
{
	open_and_hold(2 * BUDGET / LARGE / 3, LARGE);
	post_call(0, start_some, NULL);
	post_call(1, start_some, NULL);
	while (atomic_load(&finished) < 40)
		check(fiber_sleep(5) == OK);
	let_go_and_close();
}

Test(desk, both_workers_at_once)
{
	run(both);
}
