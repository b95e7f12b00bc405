/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store in the simulated engine: crashes in the middle of writes, failing writes, restarts.
 * What was acknowledged survives; nothing is doubled; the disk's faults never end the process. */
#include "core/fiber.h"
#include "core/sim.h"
#include "core/worker.h"
#include "store/journal_int.h"
#include "store/store_int.h"
#include "tests/store/mailbox_support.h"
#include "tests/store/store_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { FIBERS = 6, RECORDS_MAX = 4096 };

struct acked {
	uint64_t id;
	unsigned seed;
	size_t size;
	bool parked;
	uint64_t account; /* delivered: where to, and what the outcome was */
	uint32_t uid;
};

static struct world {
	struct box box;
	struct acked acked[RECORDS_MAX];
	size_t count, found;
	unsigned seed, running, crashes;
	bool ready, quit, bad;
} world;

static struct acked *find(uint64_t id)
{
	for (size_t i = 0; i < world.count; i++)
		if (world.acked[i].id == id)
			return &world.acked[i];
	return NULL;
}

static bool replayed(void *arg, const struct blob_ref *ref, wall_ms at, slice meta)
{
	const struct acked *a = find(ref->id);

	world.bad = world.bad || (a && a->account); /* what has no meta is nothing for the queue */
	world.found += a && !a->parked;
	return a && !a->parked;
}

static const struct store_replay_ops ops = { .message = replayed };

static bool put_one(unsigned seed)
{
	struct blob_ref ref;
	size_t size = (size_t)sim_random(30000);
	enum err err = put_message(world.box.st, seed, size, &ref);

	if (err || world.count == RECORDS_MAX)
		return err != ERR_STOPPED;
	struct acked *a = &world.acked[world.count++];
	*a = (struct acked){ .id = ref.id, .seed = seed, .size = size };
	if (sim_random(3) == 0) {
		struct schedule_entry e = { .ref = ref, .domain = SLICE("a.test"), .due = seed };

		if (schedule_park(world.box.st, &e) == OK) {
			a->parked = true;
			store_release(world.box.st, &ref);
		}
	}
	return true;
}

/* What a client was told stays so: the outcome, before anything was committed. */
static bool deliver_next(unsigned seed)
{
	struct delivering d = { .account = 1 + sim_random(2),
		.seed = seed,
		.size = (size_t)sim_random(20000),
		.summary = SLICE("summary") };
	enum err err = deliver_one(world.box.st, &d);

	if (err || world.count == RECORDS_MAX)
		return err != ERR_STOPPED;
	world.acked[world.count++] = (struct acked){
		.id = d.ref.id, .seed = seed, .size = d.size, .account = d.account, .uid = d.at.uid
	};
	if (sim_random(4) == 0)
		(void)!store_sync(world.box.st, d.account, d.ref.id);
	return true;
}

static bool put_next(unsigned seed)
{
	return sim_random(3) ? put_one(seed) : deliver_next(seed);
}

static void appending(void *arg)
{
	while (!world.quit && put_next(++world.seed))
		(void)!fiber_sleep((msec)sim_random(20));
	world.running--;
}

static bool delivered_is(const struct acked *a)
{
	static struct scanned all;
	struct runs one = { 0 };
	struct message_scan scan = { .account = a->account,
		.mailbox = MAILBOX_INBOX,
		.uids = &one,
		.want = MESSAGE_WANT_SUMMARY };

	must(runs_add(&one, a->uid));
	bool good = scan_all(world.box.st, &scan, &all) == OK && all.len == 1 &&
		all.rows[0].blob == a->id && all.rows[0].uid == a->uid;
	runs_done(&one);
	return good;
}

/* Everything acknowledged so far is there, from wherever it is now. */
static void look(void)
{
	/* A disk that fails just now may keep the last of it from being read yet. */
	bool visible =
		store_sync_all(world.box.st, 1) == OK && store_sync_all(world.box.st, 2) == OK;

	for (size_t i = 0; i < world.count; i++) {
		const struct acked *a = &world.acked[i];

		if (!message_is(world.box.st, a->id, a->seed, a->size) ||
			(visible && a->account && !delivered_is(a)))
			world.bad = true;
	}
}

static enum err start(struct worker *w, void *arg)
{
	struct store_open args = { .options = &world.box.options, .ops = &ops };

	world.found = 0;
	enum err err = store_open(&args, &world.box.st);
	if (err)
		return err;
	look();
	for (unsigned i = 0; i < FIBERS; i++) {
		world.running++;
		err = fiber_start(w, appending, NULL);
		if (err)
			return err;
	}
	world.ready = true;
	return OK;
}

static void stop(struct worker *w, void *arg)
{
	world.quit = true;
	while (world.running)
		(void)!fiber_sleep(1);
	look();
	store_close(world.box.st);
}

static const struct workers_config config = { .count = 1, .start = start, .stop = stop };

/* Faults begin when the store is open: a disk that fails while opening ends the start, rightly. */
static void one_life(unsigned crash_at, unsigned fail_per_mille)
{
	char why[256] = "";

	world.ready = world.quit = false;
	world.box.st = NULL;
	world.running = 0;
	cr_assert_eq(workers_start(&config, why, sizeof(why)), OK, "%s", why);
	cr_assert(world.ready);
	sim_disk_set(0, fail_per_mille);
	sim_crash_at_write(crash_at);
	sim_run_until(NULL, NULL, 3000);
	if (sim_crashed()) {
		world.crashes++;
		sim_crash();
		store_abandon(world.box.st);
	} else {
		sim_crash_at_write(0);
		workers_stop();
		workers_join();
	}
	cr_assert_not(world.bad);
}

static void run_seed(uint64_t seed, unsigned fail_per_mille)
{
	struct sim_config sim = { .seed = seed };

	memset(&world, 0, sizeof(world));
	sim_start(&sim);
	box_make(&world.box);
	world.box.options.home = NULL;
	world.box.options.journal_max_bytes = 12 << 20;
	world.box.options.snapshot_interval_ms = 0;
	for (unsigned life = 0; life < 4; life++) {
		one_life(5 + (unsigned)sim_random(60), fail_per_mille);
		sim_disk_set(0, 0);
	}
	cr_expect_gt(world.count, 20u);
	cr_expect_gt(world.crashes, 1u);
	size_t delivered = 0;
	for (size_t i = 0; i < world.count; i++)
		delivered += world.acked[i].account != 0;
	cr_expect_gt(delivered, 5u);
	sim_stop();
	tmpdir_remove(&world.box.dir);
}

Test(sim, crashes_in_the_middle_of_writes)
{
	for (uint64_t seed = 1; seed <= 8; seed++)
		run_seed(seed, 0);
}

Test(sim, crashes_on_a_failing_disk)
{
	for (uint64_t seed = 1; seed <= 8; seed++)
		run_seed(seed, 30);
}

/* --- A write that finds every buffer being read goes on when one is free --- */

static struct {
	struct box box;
	msec freed, written;
} reading;

static void append_late(void *arg)
{
	struct blob_ref ref;

	if (put_message(reading.box.st, 1, 1000, &ref) == OK)
		reading.written = worker_now(worker_self());
}

static void use_windows(struct journal *j, uint32_t by)
{
	for (size_t i = 0; i < j->window_count; i++)
		atomic_fetch_add(&j->windows[i].users, by);
}

static enum err start_reading(struct worker *w, void *arg)
{
	struct store_open args = { .options = &reading.box.options, .ops = &ops };
	enum err err = store_open(&args, &reading.box.st);

	if (err)
		return err;
	use_windows(reading.box.st->journal, 1);
	err = fiber_start(w, append_late, NULL);
	if (err)
		return err;
	(void)!fiber_sleep(50);
	must(!reading.written);
	use_windows(reading.box.st->journal, UINT32_MAX);
	reading.freed = worker_now(w);
	return OK;
}

static void stop_reading(struct worker *w, void *arg)
{
	store_close(reading.box.st);
}

static bool has_written(void *arg)
{
	return reading.written != 0;
}

Test(sim, a_write_waits_no_longer_than_its_buffers_are_read)
{
	static const struct workers_config one = {
		.count = 1, .start = start_reading, .stop = stop_reading
	};
	struct sim_config sim = { .seed = 1 };
	char why[256] = "";

	memset(&world, 0, sizeof(world));
	sim_start(&sim);
	box_make(&reading.box);
	reading.box.options.home = NULL;
	cr_assert_eq(workers_start(&one, why, sizeof(why)), OK, "%s", why);
	sim_run_until(has_written, NULL, 5000);
	cr_expect_gt(reading.written, 0);
	cr_expect_lt(reading.written - reading.freed, 100);
	workers_stop();
	workers_join();
	sim_stop();
	tmpdir_remove(&reading.box.dir);
}
