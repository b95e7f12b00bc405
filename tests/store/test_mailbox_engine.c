/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mailboxes inside the engine: many fibers of two workers change the same ones, each sees its own
 * changes, what was dropped goes by itself, and fsck finds nothing. */
#include "tests/core/workers.h"
#include "core/fiber.h"
#include "core/post.h"
#include "store/check.h"
#include "tests/store/mailbox_support.h"

enum { FIBERS = 12, EACH = 25, SHARED = 1, DROPPED = 2 };

static struct box box;
static _Atomic unsigned finished, removed;

static modseq flag(uint64_t account, uint32_t uid, uint32_t flags)
{
	struct runs one = { 0 };
	modseq pos = 0;

	check(runs_add(&one, uid));
	struct message_store args = { .account = account,
		.mailbox = MAILBOX_INBOX,
		.uids = &one,
		.mode = MESSAGE_ADD,
		.flags = flags,
		.keywords = { "", 0 } };
	check(message_store(box.st, &args, &pos) == OK);
	runs_done(&one);
	return pos;
}

/* Its own change is seen as soon as store_sync says so. */
static void look(uint64_t account, uint32_t uid, modseq pos)
{
	struct message_scan where = { .account = account, .mailbox = MAILBOX_INBOX };
	struct message_row row;
	struct arena a = { 0 };

	check(store_sync(box.st, account, pos) == OK);
	check(message_get(box.st, &where, uid, &a, &row) == OK);
	check(row.m.changed == pos && row.m.flags & MESSAGE_FLAGGED);
	arena_done(&a);
}

static void expunge(uint64_t account, uint32_t uid)
{
	struct runs one = { 0 }, gone = { 0 };
	struct message_expunge args = {
		.account = account, .mailbox = MAILBOX_INBOX, .uids = &one, .any = true
	};
	struct message_gone out = { .gone = &gone };

	check(runs_add(&one, uid));
	check(message_expunge(box.st, &args, &out) == OK);
	check(gone.count == 1 && runs_has(&gone, uid) && !out.more);
	atomic_fetch_add(&removed, 1);
	runs_done(&one);
	runs_done(&gone);
}

static void change_some(void *arg)
{
	unsigned base = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		struct delivering d = { .account = SHARED + i % 2,
			.seed = base + i,
			.size = 100 + i * 37,
			.keywords = { "", 0 },
			.splice = { "", 0 },
			.summary = SLICE("summary") };

		check(deliver_one(box.st, &d) == OK);
		look(d.account, d.at.uid, flag(d.account, d.at.uid, MESSAGE_FLAGGED));
		if (i % 5 == 0)
			expunge(d.account, d.at.uid);
	}
	atomic_fetch_add(&finished, 1);
}

static void start_fibers(struct worker *w, void *arg)
{
	for (unsigned i = 0; i < FIBERS / 2; i++)
		check(fiber_start(w, change_some,
			      (void *)(uintptr_t)((worker_index(w) * 1000 + i) * EACH)) == OK);
}

static void wait_for_purge(void)
{
	struct out rows;
	bool left = true;

	for (unsigned i = 0; left && i < 1000; i++) {
		check(fiber_sleep(10) == OK);
		check(store_sync_all(box.st, DROPPED) == OK);
		rows = index_rows(box.st);
		left = slice_search(out_written(&rows), SLICE("\x0dZ\0\0\0\0\0\0\0\x02")) >= 0;
		out_heap_done(&rows);
	}
	check(!left);
}

/* Reading ahead changes nothing, whatever the set says. */
static void read_ahead(uint64_t account)
{
	struct runs uids = { 0 };
	struct arena a = { 0 };
	struct mailbox_opened opened;
	static struct scanned all;
	struct message_scan scan = { .account = account,
		.mailbox = MAILBOX_INBOX,
		.uids = &uids,
		.want = MESSAGE_WANT_SUMMARY };

	message_warm(box.st, &scan);
	check(mailbox_open(box.st, account, MAILBOX_INBOX, &a, &opened, &uids) == OK);
	for (scan.from = 0; scan.from < 200; scan.from += 70)
		message_warm(box.st, &scan);
	scan.from = 0;
	check(scan_all(box.st, &scan, &all) == OK);
	check(all.len == uids.count && all.len == opened.mailbox.messages);
	runs_done(&uids);
	arena_done(&a);
}

static void work(struct worker *w)
{
	struct mailbox_usage usage, domain;

	box_open(&box, &keep_nothing, NULL);
	check(mailbox_account_init(box.st, SHARED, SLICE("a.test")) == OK);
	post_call(0, start_fibers, NULL);
	post_call(1, start_fibers, NULL);
	while (atomic_load(&finished) < FIBERS)
		check(fiber_sleep(5) == OK);
	check(store_sync_all(box.st, SHARED) == OK);
	check(store_sync_all(box.st, DROPPED) == OK);
	check(mailbox_usage(box.st, SHARED, &usage) == OK);
	check(mailbox_domain_usage(box.st, SLICE("a.test"), &domain) == OK);
	check(domain.bytes == usage.bytes && domain.messages == usage.messages);
	uint64_t messages = usage.messages;
	read_ahead(SHARED);
	check(mailbox_usage(box.st, DROPPED, &usage) == OK);
	check(messages + usage.messages == FIBERS * EACH - atomic_load(&removed));
	check(mailbox_account_drop(box.st, DROPPED) == OK);
	wait_for_purge();
	box_close(&box);
}

Test(mailbox_engine, workers_share_mailboxes)
{
	struct check_run run = { .options = &box.options };
	struct check_report report;

	box_make(&box);
	box.options.journal_max_bytes = 64 << 20;
	run_on_workers(2, work);
	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, CHECK_CLEAN);
	cr_expect(report.kept_messages > 0);
	box_remove(&box);
}
