/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store on the simulated disk: the process dies at a seeded write, and what was acknowledged by
 * then is there after the restart, whole; what was not is there whole or not at all. The index is real
 * LMDB in a temporary folder, where every commit is synced: it may be behind the journal, never ahead. */
#include "core/fiber.h"
#include "store/schedule.h"
#include "tests/sim/world.h"
#include "tests/store/store_support.h"

enum { FIBERS = 6, EACH = 5, MESSAGES = FIBERS * EACH };

static struct tmpdir dir;
static struct store *st;
static unsigned finished, verified, crashes, crashes_again;
static uint64_t confirmed[MESSAGES]; /* id by seed; 0: not acknowledged */

static size_t body_size(unsigned seed)
{
	return 100 + seed * 7919 % 30000;
}

static struct store_options options(void)
{
	struct store_options o = store_options_default();

	o.path = dir.path;
	o.shards = 1;
	o.segment_bytes = 1 << 20;
	o.journal_max_bytes = 16 << 20;
	o.reserve_bytes = 0;
	return o;
}

static void open_store(const struct store_replay_ops *ops)
{
	struct store_options o = options();
	char why[256] = "";
	struct store_open args = {
		.options = &o, .ops = ops, .why = why, .why_bytes = sizeof(why)
	};
	enum err err = store_open(&args, &st);

	if (err)
		fprintf(stderr, "store_open: %s %s\n", err_name(err), why);
	check(err == OK);
}

static void put_some(void *arg)
{
	unsigned first = (unsigned)(uintptr_t)arg * EACH;

	for (unsigned seed = first; seed < first + EACH; seed++) {
		struct blob_ref ref;

		if (put_message(st, seed, body_size(seed), &ref) || sim_crashed())
			break;
		confirmed[seed] = ref.id;
	}
	finished++;
}

static void body_put(struct worker *w, void *arg)
{
	(void)arg;
	open_store(&keep_all);
	for (unsigned i = 0; i < FIBERS; i++)
		check(fiber_start(w, put_some, (void *)(uintptr_t)i) == OK);
	while (finished < FIBERS)
		check(fiber_sleep(1) == OK);
	store_close(st);
}

static void body_verify(struct worker *w, void *arg)
{
	(void)w;
	(void)arg;
	open_store(&keep_all);
	for (unsigned seed = 0; seed < MESSAGES; seed++) {
		if (!confirmed[seed])
			continue;
		verified++;
		check(message_is(st, confirmed[seed], seed, body_size(seed)));
	}
	store_close(st);
}

static void crash_and_restart(unsigned seed)
{
	struct world put = { .workers = 1, .body = body_put };
	struct world verify = { .workers = 1, .body = body_verify };

	tmpdir_make(&dir);
	finished = 0;
	memset(confirmed, 0, sizeof(confirmed));
	sim_start(&(struct sim_config){ .seed = seed });
	sim_crash_at_write(1 + (unsigned)sim_random(45));
	crashes += !world_run(&put);
	/* And sometimes again, while it recovers. */
	sim_crash_at_write(seed % 2 ? 1 + (unsigned)sim_random(2) : 0);
	crashes_again += seed % 2 && !world_run(&verify);
	sim_crash_at_write(0);
	cr_assert(world_run(&verify), "seed %u", seed);
	sim_stop();
	tmpdir_remove(&dir);
	cr_assert_eq(world_failed, 0u, "seed %u", seed);
}

Test(sim_store, what_was_acknowledged_survives)
{
	for (unsigned seed = 1; seed <= 60; seed++)
		crash_and_restart(seed);
	fprintf(stderr, "verified %u, crashes %u, again %u\n", verified, crashes, crashes_again);
	cr_assert_gt(verified, 100u);
	cr_assert_gt(crashes, 20u);
	cr_assert_gt(crashes_again, 10u);
}

/* --- Results are durable within 20 ms, whatever else is written --- */

enum { LAZY = 200, LAZY_MAX_MS = 20 };

struct lazy {
	struct schedule_op sop;
	msec at, took;
};
static struct lazy lazies[LAZY];
static unsigned lazy_done;

static void lazy_is_durable(struct journal_op *op, enum err err)
{
	struct lazy *l = container_of(container_of(op, struct schedule_op, op), struct lazy, sop);

	check(err == OK);
	l->took = worker_now(worker_self()) - l->at;
	lazy_done++;
	schedule_op_free(&l->sop);
}

/* Alone or in company, and sometimes while somebody else's write is under way. */
static void body_lazy(struct worker *w, void *arg)
{
	(void)arg;
	open_store(&keep_all);
	finished = 0;
	check(fiber_start(w, put_some, NULL) == OK);
	for (unsigned i = 0; i < LAZY; i++) {
		struct lazy *l = &lazies[i];
		struct schedule_done end = { .id = 1000 + i, .domain = SLICE("d.test") };

		l->at = worker_now(w);
		l->sop.op.done = lazy_is_durable;
		l->sop.op.flags = JOURNAL_LAZY;
		check(schedule_done_submit(st, &l->sop, &end) == OK);
		check(fiber_sleep((msec)sim_random(i < LAZY / 2 ? 3 : 40)) == OK);
	}
	while (lazy_done < LAZY || !finished)
		check(fiber_sleep(1) == OK);
	store_close(st);
}

Test(sim_store, results_are_durable_in_time)
{
	struct world world = { .workers = 1, .body = body_lazy };
	msec longest = 0;

	tmpdir_make(&dir);
	sim_start(&(struct sim_config){ .seed = 7 });
	cr_assert(world_run(&world));
	sim_stop();
	tmpdir_remove(&dir);
	for (unsigned i = 0; i < LAZY; i++)
		longest = MAX(longest, lazies[i].took);
	cr_assert_leq(longest, LAZY_MAX_MS, "%lld ms of the simulation", (long long)longest);
	cr_assert_geq(longest, 1, "none was lazy: nothing was tested");
	cr_assert_eq(world_failed, 0u);
}
