/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store inside the engine: several workers append, read, wait for the index; the mover runs. */
#include "tests/core/workers.h"
#include "core/fiber.h"
#include "core/file.h"
#include "core/post.h"
#include "store/account.h"
#include "store/check.h"
#include "store/index.h"
#include "store/mailbox.h"
#include "store/message.h"
#include "tests/store/store_support.h"

enum { FIBERS = 20, EACH = 40 };

static struct box box;
static _Atomic unsigned finished;

static void append_some(void *arg)
{
	unsigned base = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		struct blob_ref ref;
		size_t size = 100 + (base * 131 + i * 977) % 40000;

		check(put_message(box.st, base + i, size, &ref) == OK);
		check(message_is(box.st, ref.id, base + i, size));
		struct schedule_entry e = { .ref = ref,
			.domain = i % 2 ? SLICE("one.test") : SLICE("two.test"),
			.due = 1000 + i };
		check(schedule_park(box.st, &e) == OK);
		store_release(box.st, &ref);
		if (i % 4 == 0) {
			struct schedule_done end = {
				.id = ref.id, .indexed = true, .domain = e.domain
			};
			check(schedule_finish(box.st, &end) == OK);
		}
	}
	atomic_fetch_add(&finished, 1);
}

static void start_fibers(struct worker *w, void *arg)
{
	for (unsigned i = 0; i < FIBERS / 2; i++)
		check(fiber_start(w, append_some,
			      (void *)(uintptr_t)((worker_index(w) * 1000 + i) * EACH)) == OK);
}

static void work(struct worker *w)
{
	struct schedule_totals totals;
	struct arena a = { 0 };

	box_open(&box, &keep_nothing, NULL);
	post_call(0, start_fibers, NULL);
	post_call(1, start_fibers, NULL);
	while (atomic_load(&finished) < FIBERS)
		check(fiber_sleep(5) == OK);
	struct domain d = { .name = SLICE("one.test") };
	check(domain_put(box.st, &d, ROW_CREATE) == OK); /* also waits for all before */
	check(domain_put(box.st, &d, ROW_CREATE) == ERR_EXISTS);
	check(domain_find(box.st, d.name, NULL) != NULL);
	check(store_snapshot(box.st) == OK);
	check(schedule_totals(box.st, &totals) == OK);
	check(totals.waiting == FIBERS * EACH * 3 / 4);
	check(totals.domains == 2);
	struct schedule_due query = {
		.domain = SLICE("one.test"), .until = 1 << 20, .limit = 4096
	};
	struct schedule_page page;
	check(schedule_read_due(box.st, &query, &a, &page) == OK);
	check(page.len == FIBERS * EACH / 2);
	arena_done(&a);
	box_close(&box);
}

Test(engine, workers_share_one_journal)
{
	box_make(&box);
	box.options.journal_max_bytes = 256 << 20;
	run_on_workers(2, work);
	box_open(&box, &keep_nothing, NULL);
	struct schedule_totals totals;
	cr_assert_eq(schedule_totals(box.st, &totals), OK);
	cr_assert_eq(totals.waiting, FIBERS * EACH * 3u / 4);
	box_remove(&box);
}

/* Bodies over the budget wait, nobody starves, all arrive. */
static void large_bodies(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	struct blob_ref ref;

	check(put_message(box.st, seed, 900000, &ref) == OK);
	check(message_is(box.st, ref.id, seed, 900000));
	store_release(box.st, &ref);
	atomic_fetch_add(&finished, 1);
}

static void over_budget(struct worker *w)
{
	box_open(&box, &keep_nothing, NULL);
	for (unsigned i = 0; i < 16; i++)
		check(fiber_start(w, large_bodies, (void *)(uintptr_t)i) == OK);
	while (atomic_load(&finished) < 16)
		check(fiber_sleep(5) == OK);
	struct store_stats s;
	store_stats(box.st, &s);
	check(s.bodies_spilled > 16);
	check(s.body_ram_bytes == 0);
	check(s.held_messages == 0);
	box_close(&box);
}

Test(engine, bodies_share_a_budget)
{
	box_make(&box);
	box.options.body_ram_bytes = 1 << 20;
	box.options.journal_max_bytes = 64 << 20;
	run_on_workers(1, over_budget);
	box_remove(&box);
}

/* A journal that is full refuses mail, takes results, frees itself, and lets mail in again. */
static void fill_and_drain(struct worker *w)
{
	struct blob_ref refs[128];
	unsigned count = 0;
	enum err err;

	box_open(&box, &keep_nothing, NULL);
	while (count < array_len(refs) &&
		(err = put_message(box.st, count, 200000, &refs[count])) == OK)
		count++;
	check(err == ERR_NOSPACE);
	check(count > 10);
	for (unsigned i = 0; i < count; i++) {
		struct schedule_done end = { .id = refs[i].id };

		check(schedule_finish(box.st, &end) == OK);
		store_release(box.st, &refs[i]);
	}
	while (!store_accepting(box.st, NULL))
		check(fiber_sleep(20) == OK);
	for (unsigned i = 0; i < 12; i++) {
		check(put_message(box.st, i, 100000, &refs[i]) == OK);
		check(message_is(box.st, refs[i].id, i, 100000));
		store_release(box.st, &refs[i]);
	}
	box_close(&box);
}

Test(engine, a_full_journal_drains)
{
	box_make(&box);
	box.options.journal_max_bytes = 8 << 20;
	run_on_workers(1, fill_and_drain);
	box_remove(&box);
}

/* While the disk fails mail is refused and a result waits; both go on when it is back. */
static struct blob_ref failing_ref;

static void result_waits(void *arg)
{
	struct schedule_done end = { .id = failing_ref.id };

	check(schedule_finish(box.st, &end) == OK);
	atomic_fetch_add(&finished, 1);
}

static void fail_and_recover(struct worker *w)
{
	struct blob_ref ref;

	box_open(&box, &keep_nothing, NULL);
	check(put_message(box.st, 1, 5000, &failing_ref) == OK);
	box.disk.fail_from = box.disk.writes + 1;
	box.disk.fail_to = UINT32_MAX;
	check(put_message(box.st, 2, 5000, &ref) == ERR_IO);
	check(put_message(box.st, 3, 5000, &ref) == ERR_IO);
	check(fiber_start(w, result_waits, NULL) == OK);
	check(fiber_sleep(50) == OK);
	check(atomic_load(&finished) == 0);
	box.disk.fail_from = 0;
	while (!atomic_load(&finished))
		check(fiber_sleep(10) == OK);
	while (!store_accepting(box.st, NULL))
		check(fiber_sleep(10) == OK);
	check(put_message(box.st, 4, 5000, &ref) == OK);
	check(message_is(box.st, failing_ref.id, 1, 5000));
	box_close(&box);
}

Test(engine, a_failing_disk_comes_back)
{
	box_make(&box);
	run_on_workers(1, fail_and_recover);
	box_remove(&box);
}

/* Deferred mail is moved to the archive when the journal fills, read from there, compacted away. */
static void defer_and_move(struct worker *w)
{
	struct blob_ref refs[60];
	struct store_stats s;

	box_open(&box, &keep_nothing, NULL);
	for (unsigned i = 0; i < array_len(refs); i++) {
		/* Where there is no room it waits: what stands first may go. */
		check(put_message(box.st, i, 150000, &refs[i]) == OK);
		struct schedule_entry e = { .ref = refs[i], .domain = SLICE("a.test"), .due = 5 };
		check(schedule_park(box.st, &e) == OK);
		store_release(box.st, &refs[i]);
	}
	for (unsigned i = 0; i < array_len(refs); i++)
		check(message_is(box.st, refs[i].id, i, 150000));
	store_stats(box.st, &s);
	check(s.moved_bodies > 5);
	check(s.segments_freed > 1);
	for (unsigned i = 0; i < array_len(refs); i++) {
		struct schedule_done end = {
			.id = refs[i].id, .indexed = true, .domain = SLICE("a.test")
		};
		check(schedule_finish(box.st, &end) == OK);
	}
	do {
		check(fiber_sleep(50) == OK);
		store_stats(box.st, &s);
	} while (s.archive_live_bytes);
	box_close(&box);
}

Test(engine, deferred_mail_moves_to_the_archive)
{
	box_make(&box);
	box.options.journal_max_bytes = 8 << 20;
	run_on_workers(1, defer_and_move);
	box_remove(&box);
}

/* Much logged since the last copy of the index: another is made long before its time. */
static void park_again(void *arg)
{
	static char tail[SCHEDULE_TAIL_MAX];
	struct schedule_entry e = { .ref = failing_ref,
		.n = (uint32_t)(uintptr_t)arg,
		.domain = SLICE("a.test"),
		.tail = slice_of(tail, sizeof(tail)) };

	for (unsigned i = 0; i < 100; i++)
		check(schedule_park(box.st, &e) == OK);
	atomic_fetch_add(&finished, 1);
}

static void log_much(struct worker *w)
{
	char path[512];
	struct store_stats s;

	box_open(&box, &keep_nothing, NULL);
	check(put_message(box.st, 1, 5000, &failing_ref) == OK);
	for (unsigned i = 0; i < 120; i++)
		check(fiber_start(w, park_again, (void *)(uintptr_t)i) == OK);
	store_release(box.st, &failing_ref);
	while (atomic_load(&finished) < 120)
		check(fiber_sleep(20) == OK);
	/* Nothing is logged any more; what is not yet copied can only shrink. */
	snprintf(path, sizeof(path), "%s/snapshot", box.dir.path);
	do {
		check(fiber_sleep(20) == OK);
		store_stats(box.st, &s);
	} while (file_exists(path) != OK || s.history_bytes + (6 << 20) > s.bytes_appended);
	check(s.last_snapshot > 0);
	box_close(&box);
}

Test(engine, a_long_history_is_cut_by_a_snapshot)
{
	box_make(&box);
	box.options.journal_max_bytes = 8 << 20;
	box.options.history_max_bytes = 1 << 20;
	run_on_workers(1, log_much);
	box_remove(&box);
}

/* Without memory for what the index is to apply, mail is refused until it was read again. */
#ifdef RP_FAULTS
static void park_later(void *arg)
{
	struct schedule_entry e = { .ref = failing_ref,
		.n = (uint32_t)(uintptr_t)arg,
		.domain = (uintptr_t)arg % 2 ? SLICE("a.test") : SLICE("two.test") };

	for (unsigned i = 0; i < 20; i++, e.n += 100)
		check(schedule_park(box.st, &e) == OK);
	atomic_fetch_add(&finished, 1);
}

static void miss_and_catch_up(struct worker *w)
{
	struct schedule_totals totals;
	struct blob_ref ref;
	enum err why = OK;

	box_open(&box, &keep_nothing, NULL);
	check(put_message(box.st, 1, 5000, &failing_ref) == OK);
	for (unsigned i = 0; i < 50; i++) {
		if (i % 10 == 5)
			index_fault_feed(1 + i / 10);
		check(fiber_start(w, park_later, (void *)(uintptr_t)i) == OK);
	}
	while (store_accepting(box.st, &why))
		check(fiber_sleep(1) == OK);
	check(why == ERR_BUSY);
	check(put_message(box.st, 2, 10, &ref) == ERR_BUSY);
	while (atomic_load(&finished) < 50)
		check(fiber_sleep(5) == OK);
	struct domain d = { .name = SLICE("one.test") };
	check(domain_put(box.st, &d, ROW_CREATE) == OK); /* waits until it is applied */
	check(domain_put(box.st, &d, ROW_CREATE) == ERR_EXISTS);
	while (!store_accepting(box.st, NULL))
		check(fiber_sleep(5) == OK);
	check(store_snapshot(box.st) == OK); /* waits for all before */
	check(schedule_totals(box.st, &totals) == OK);
	check(totals.waiting == 50 * 20);
	store_release(box.st, &failing_ref);
	box_close(&box);
}

Test(engine, an_index_without_memory_catches_up)
{
	box_make(&box);
	run_on_workers(1, miss_and_catch_up);
	box_open(&box, &keep_nothing, NULL);
	struct schedule_totals totals;
	cr_assert_eq(schedule_totals(box.st, &totals), OK);
	cr_assert_eq(totals.waiting, 1000u);
	box_remove(&box);
}

Test(engine, without_a_worker_it_catches_up_at_once)
{
	struct schedule_totals totals;
	struct blob_ref ref;

	box_make(&box);
	box_open(&box, &keep_nothing, NULL);
	cr_assert_eq(put_message(box.st, 1, 5000, &ref), OK);
	for (uint32_t n = 0; n < 200; n++) {
		struct schedule_entry e = { .ref = ref, .n = n, .domain = SLICE("a.test") };

		/* The second failure is that of reading again. */
		if (n % 7 == 0)
			index_fault_feed(n % 2 + 1);
		cr_assert_eq(schedule_park(box.st, &e), OK);
	}
	cr_assert_eq(store_snapshot(box.st), OK); /* waits for all before */
	cr_assert_eq(schedule_totals(box.st, &totals), OK);
	cr_expect_eq(totals.waiting, 200u);
	box_remove(&box);
}
#endif

/* Bodies that come slowly do not keep the journal, which is far smaller than what comes meanwhile. */
static void begin_slow(struct blob_writer *b, unsigned seed)
{
	char buf[3000];

	blob_begin(b, box.st);
	for (size_t at = 0; at < 300000; at += sizeof(buf)) {
		body_bytes(seed, at, buf, sizeof(buf));
		check(blob_write_wait(b, slice_of(buf, sizeof(buf))) == OK);
	}
	while (b->in_flight)
		check(fiber_sleep(1) == OK);
	check(b->chunk_count);
}

static void pass_by(unsigned count, msec pause)
{
	for (unsigned i = 0; i < count;) {
		struct blob_ref ref;

		if (put_message(box.st, i, 200000, &ref) != OK) {
			check(fiber_sleep(10) == OK);
			continue;
		}
		check(message_is(box.st, ref.id, i, 200000));
		store_release(box.st, &ref);
		i++;
		if (pause)
			check(fiber_sleep(pause) == OK);
	}
}

static uint64_t slow_id;

static void come_slowly(struct worker *w)
{
	struct blob_writer slow[3] = { 0 };
	struct blob_ref ref;
	struct deliver_target target = { .account = 7, .mailbox = MAILBOX_INBOX };
	struct deliver deliver = { .targets = &target, .target_count = 1 };
	struct store_message msg = {
		.meta = SLICE(""), .body = &slow[0], .deliver = &deliver, .at = 1
	};
	struct store_stats s;

	box_open(&box, &keep_nothing, NULL);
	for (unsigned i = 0; i < array_len(slow); i++)
		begin_slow(&slow[i], i);
	pass_by(80, 20);
	blob_drop(&slow[1]);
	pass_by(80, 20);
	check(store_message_append(box.st, &msg, &ref) == OK);
	check(message_is(box.st, ref.id, 0, 300000));
	slow_id = ref.id;
	store_release(box.st, &ref);
	blob_drop(&slow[2]);
	store_stats(box.st, &s);
	check(s.held_messages == 0);
	check(s.body_ram_bytes == 0);
	box_close(&box);
}

static void slow_body_is_kept(bool rebuild, enum check_result result)
{
	struct check_run run = { .options = &box.options, .rebuild = rebuild };
	struct check_report report;

	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, result);
	box_open(&box, &keep_nothing, NULL);
	cr_expect(message_is(box.st, slow_id, 0, 300000));
	box_close(&box);
}

Test(engine, slow_bodies_do_not_keep_the_journal)
{
	box_make(&box);
	box.options.journal_max_bytes = 8 << 20;
	run_on_workers(1, come_slowly);
	slow_body_is_kept(false, CHECK_CLEAN);
	slow_body_is_kept(true, CHECK_REPAIRED);
	box_remove(&box);
}

/* Nor when there is no time to move them: they fail then, and nobody else. */
static void come_too_slowly(struct worker *w)
{
	struct blob_writer slow[20] = { 0 };
	struct store_stats s;

	box_open(&box, &keep_nothing, NULL);
	for (unsigned i = 0; i < array_len(slow); i++)
		begin_slow(&slow[i], i);
	pass_by(80, 0);
	for (unsigned i = 0; i < array_len(slow); i++) {
		struct blob_ref ref;
		struct store_message msg = { .meta = SLICE("m"), .body = &slow[i], .at = 1 };

		if (store_message_append(box.st, &msg, &ref) != OK)
			continue;
		check(message_is(box.st, ref.id, i, 300000));
		store_release(box.st, &ref);
	}
	store_stats(box.st, &s);
	check(s.held_messages == 0);
	check(s.body_ram_bytes == 0);
	box_close(&box);
}

Test(engine, bodies_too_slow_for_the_journal_fail_alone)
{
	box_make(&box);
	box.options.journal_max_bytes = 8 << 20;
	run_on_workers(1, come_too_slowly);
	box_remove(&box);
}
