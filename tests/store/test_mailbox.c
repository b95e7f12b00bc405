/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mailboxes as a session sees them: names, counters, subscriptions, usage. */
#include "store/account.h"
#include "store/check.h"
#include "tests/store/mailbox_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALICE = 7, BOB = 8 };

static struct box box;
static struct arena a;

static void open_box(void)
{
	box_make(&box);
	box_open(&box, &keep_nothing, NULL);
	cr_assert_eq(mailbox_account_init(box.st, ALICE, SLICE("a.test")), OK);
	sync_all(box.st, ALICE);
}

static void close_box(void)
{
	arena_done(&a);
	box_remove(&box);
}

TestSuite(mailbox, .init = open_box, .fini = close_box);

static const char *names(slice under, bool subscribed)
{
	static char buf[1024];
	struct mailbox_page page;
	struct mailbox_query query = { .account = ALICE, .under = under, .limit = 3 };
	struct out o = out_fixed(buf, sizeof(buf) - 1);

	sync_all(box.st, ALICE);
	do {
		cr_assert_eq(mailbox_list(box.st, &query, &a, &page), OK);
		for (size_t i = 0; i < page.len; i++) {
			if (subscribed && !page.rows[i].subscribed)
				continue;
			out_str(&o, o.len ? " " : "");
			out_slice(&o, page.rows[i].name);
			out_str(&o, page.rows[i].id ? "" : "?");
		}
		query.after = page.len ? page.rows[page.len - 1].name : query.after;
	} while (page.more);
	buf[o.len] = 0;
	return buf;
}

static enum err create(const char *name)
{
	struct mailbox_create args = { .account = ALICE, .name = slice_str(name) };

	return mailbox_create(box.st, &args, NULL, NULL);
}

static enum err rename_box(const char *from, const char *to)
{
	struct mailbox_rename args = {
		.account = ALICE, .from = slice_str(from), .to = slice_str(to)
	};

	return mailbox_rename(box.st, &args, NULL);
}

Test(mailbox, a_new_account_has_its_special_ones)
{
	struct mailbox m;
	struct mailbox_usage usage;

	cr_expect_str_eq(names(SLICE(""), true), "Archive Drafts INBOX Junk Sent Trash");
	cr_assert_eq(mailbox_find(box.st, ALICE, SLICE("inbox"), &a, &m), OK);
	cr_expect_eq(m.id, (uint32_t)MAILBOX_INBOX);
	cr_expect_eq(m.uid_next, 1u);
	cr_expect(slice_eq(m.name, SLICE("INBOX")));
	cr_assert_eq(mailbox_find(box.st, ALICE, SLICE("Junk"), &a, &m), OK);
	cr_expect_eq(m.use, (uint32_t)MAILBOX_JUNK);
	cr_expect(m.subscribed);
	cr_assert_eq(mailbox_usage(box.st, ALICE, &usage), OK);
	cr_expect_eq(usage.mailboxes, 6u);
	cr_assert_eq(mailbox_account_init(box.st, ALICE, SLICE("a.test")), OK);
	cr_expect_eq(mailbox_find(box.st, BOB, SLICE("INBOX"), &a, &m), ERR_NOT_FOUND);
}

Test(mailbox, superiors_are_made_and_stay)
{
	cr_expect_eq(create("a/b/c"), OK);
	cr_expect_eq(create("a/b"), ERR_EXISTS);
	cr_expect_eq(create("Inbox/x"), OK);
	cr_expect_str_eq(names(SLICE("a"), false), "a a/b a/b/c");
	cr_expect_str_eq(names(SLICE("INBOX"), false), "INBOX INBOX/x");
	cr_expect_eq(mailbox_delete(box.st, ALICE, SLICE("a"), NULL), OK);
	cr_expect_eq(mailbox_delete(box.st, ALICE, SLICE("a"), NULL), ERR_NOT_FOUND);
	cr_expect_eq(mailbox_delete(box.st, ALICE, SLICE("iNBOX"), NULL), ERR_DENIED);
	cr_expect_str_eq(names(SLICE("a"), false), "a/b a/b/c");
}

Test(mailbox, bad_names_are_refused)
{
	static const char *const bad[] = { "", "/", "a//b", "/a", "a/", "a\x01", "\xff", NULL };

	for (size_t i = 0; bad[i]; i++)
		cr_expect_eq(create(bad[i]), ERR_INVALID, "%s", bad[i]);
}

Test(mailbox, renaming_takes_inferiors_along)
{
	cr_assert_eq(create("a/b/c"), OK);
	cr_assert_eq(create("a/d"), OK);
	cr_assert_eq(create("z/d"), OK);
	cr_expect_eq(rename_box("a", "a/x"), ERR_INVALID);
	cr_expect_eq(rename_box("no", "x"), ERR_NOT_FOUND);
	cr_expect_eq(rename_box("a", "z"), ERR_EXISTS);
	cr_expect_eq(mailbox_delete(box.st, ALICE, SLICE("z"), NULL), OK);
	cr_expect_eq(rename_box("a", "z"), ERR_EXISTS, "z/d is there");
	cr_expect_eq(rename_box("a", "p/q"), OK);
	cr_expect_str_eq(names(SLICE("a"), false), "");
	cr_expect_str_eq(names(SLICE("p"), false), "p p/q p/q/b p/q/b/c p/q/d");
}

Test(mailbox, a_mere_level_is_renamed)
{
	cr_assert_eq(create("a/b/c"), OK);
	cr_assert_eq(create("a/d"), OK);
	cr_assert_eq(mailbox_delete(box.st, ALICE, SLICE("a"), NULL), OK);
	cr_expect_eq(rename_box("a", "a"), ERR_EXISTS);
	cr_expect_eq(rename_box("a", "a/x"), ERR_INVALID);
	cr_expect_eq(rename_box("a", "p/q"), OK);
	cr_expect_str_eq(names(SLICE("a"), false), "");
	cr_expect_str_eq(names(SLICE("p"), false), "p p/q/b p/q/b/c p/q/d");
	cr_expect_eq(rename_box("a", "z"), ERR_NOT_FOUND);
}

Test(mailbox, a_name_used_again_has_another_validity)
{
	struct mailbox first, second;

	cr_assert_eq(create("a"), OK);
	sync_all(box.st, ALICE);
	cr_assert_eq(mailbox_find(box.st, ALICE, SLICE("a"), &a, &first), OK);
	cr_assert_eq(mailbox_delete(box.st, ALICE, SLICE("a"), NULL), OK);
	cr_assert_eq(create("a"), OK);
	sync_all(box.st, ALICE);
	cr_assert_eq(mailbox_find(box.st, ALICE, SLICE("a"), &a, &second), OK);
	cr_expect_gt(second.uid_validity, first.uid_validity);
	cr_expect_neq(second.id, first.id);
}

Test(mailbox, renaming_the_inbox_moves_its_messages)
{
	struct delivering d = { .account = ALICE, .mailbox = MAILBOX_INBOX, .size = 10 };
	struct mailbox m;

	for (d.seed = 1; d.seed <= 5; d.seed++)
		cr_assert_eq(deliver_one(box.st, &d), OK);
	cr_assert_eq(rename_box("INBOX", "old"), OK);
	sync_all(box.st, ALICE);
	cr_assert_eq(mailbox_find(box.st, ALICE, SLICE("INBOX"), &a, &m), OK);
	cr_expect_eq(m.messages, 0u);
	cr_expect_eq(m.uid_next, 6u);
	cr_assert_eq(mailbox_find(box.st, ALICE, SLICE("old"), &a, &m), OK);
	cr_expect_eq(m.messages, 5u);
}

Test(mailbox, subscriptions_need_no_mailbox)
{
	cr_assert_eq(mailbox_subscribe(box.st, ALICE, SLICE("Sent"), false), OK);
	cr_assert_eq(mailbox_subscribe(box.st, ALICE, SLICE("none"), true), OK);
	cr_assert_eq(mailbox_subscribe(box.st, ALICE, SLICE("Aa"), true), OK);
	cr_expect_str_eq(names(SLICE(""), true), "Aa? Archive Drafts INBOX Junk Trash none?");
	cr_expect_str_eq(names(SLICE(""), false), "Aa? Archive Drafts INBOX Junk Sent Trash none?");
}

Test(mailbox, usage_is_counted_for_account_and_domain)
{
	struct delivering d = {
		.account = ALICE, .seed = 1, .size = 1000, .splice = SLICE("X: y\r\n")
	};
	struct mailbox_usage usage;

	cr_assert_eq(deliver_one(box.st, &d), OK);
	d.account = BOB;
	cr_assert_eq(deliver_one(box.st, &d), OK);
	cr_assert_eq(mailbox_account_init(box.st, BOB, SLICE("a.test")), OK);
	sync_all(box.st, ALICE);
	sync_all(box.st, BOB);
	cr_assert_eq(mailbox_usage(box.st, BOB, &usage), OK);
	cr_expect_eq(usage.bytes, 1006u);
	cr_expect_eq(usage.messages, 1u);
	cr_expect_eq(usage.mailboxes, 6u, "made by the delivery");
	cr_assert_eq(mailbox_domain_usage(box.st, SLICE("a.test"), &usage), OK);
	cr_expect_eq(usage.bytes, 2012u);
	cr_assert_eq(mailbox_account_init(box.st, BOB, SLICE("b.test")), OK);
	sync_all(box.st, BOB);
	cr_assert_eq(mailbox_domain_usage(box.st, SLICE("b.test"), &usage), OK);
	cr_expect_eq(usage.messages, 1u);
	cr_assert_eq(mailbox_account_drop(box.st, ALICE), OK);
	sync_all(box.st, ALICE);
	cr_assert_eq(mailbox_domain_usage(box.st, SLICE("a.test"), &usage), OK);
	cr_expect_eq(usage.bytes + usage.messages, 0u);
}

Test(mailbox, a_dropped_account_is_gone_and_stays_so)
{
	struct delivering d = { .account = ALICE, .seed = 1, .size = 100 };
	struct mailbox m;
	struct mailbox_usage usage;
	bool more = true;
	unsigned steps = 0;

	for (; d.seed <= 20; d.seed++)
		cr_assert_eq(deliver_one(box.st, &d), OK);
	cr_assert_eq(mailbox_account_drop(box.st, ALICE), OK);
	cr_expect_eq(mailbox_account_drop(box.st, ALICE), ERR_NOT_FOUND);
	cr_expect_eq(mailbox_account_init(box.st, ALICE, SLICE("a.test")), ERR_NOT_FOUND);
	cr_expect_eq(deliver_one(box.st, &d), ERR_NOT_FOUND);
	sync_all(box.st, ALICE);
	cr_expect_eq(mailbox_find(box.st, ALICE, SLICE("INBOX"), &a, &m), ERR_NOT_FOUND);
	cr_assert_eq(mailbox_usage(box.st, ALICE, &usage), OK);
	cr_expect_eq(usage.mailboxes + usage.messages, 0u);
	for (; more; steps++)
		cr_assert_eq(mailbox_purge_step(box.st, &more), OK);
	cr_expect_eq(steps, 2u);
}

static void open_with_limit(int64_t limit)
{
	box_close(&box);
	box.options.mailboxes_max = limit;
	box_open(&box, &keep_nothing, NULL);
}

Test(mailbox, there_are_only_so_many)
{
	struct mailbox_usage usage;

	open_with_limit(10);
	cr_expect_eq(create("a/b/c/d/e"), ERR_LIMIT, "with its superiors it is one too many");
	cr_expect_eq(create("a"), OK);
	cr_expect_eq(create("a"), ERR_EXISTS);
	cr_expect_eq(create("a/b/c/d"), OK);
	cr_expect_eq(create("b"), ERR_LIMIT);
	cr_expect_eq(create("a"), ERR_EXISTS, "also when it is full");
	cr_expect_eq(rename_box("a/b/c/d", "d"), OK);
	cr_expect_eq(rename_box("d", "e/d"), ERR_LIMIT);
	cr_expect_eq(rename_box("inbox", "old"), ERR_LIMIT);
	cr_expect_eq(mailbox_delete(box.st, ALICE, SLICE("a/b"), NULL), OK);
	cr_expect_eq(rename_box("d", "e/d"), OK);
	sync_all(box.st, ALICE);
	cr_assert_eq(mailbox_usage(box.st, ALICE, &usage), OK);
	cr_expect_eq(usage.mailboxes, 10u);
	open_with_limit(10000);
	cr_expect_eq(create("b"), OK);
	open_with_limit(10);
	cr_expect_eq(rename_box("b", "c"), OK, "what needs no more may change");
}

Test(mailbox, subscriptions_are_limited_too)
{
	char name[16];

	open_with_limit(10);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		cr_expect_eq(mailbox_subscribe(box.st, ALICE, slice_str(name), true), OK);
		cr_expect_eq(mailbox_subscribe(box.st, ALICE, slice_str(name), true), OK);
	}
	cr_expect_eq(mailbox_subscribe(box.st, ALICE, SLICE("n4"), true), ERR_LIMIT);
	cr_expect_eq(mailbox_subscribe(box.st, ALICE, SLICE("n3"), true), OK, "it is already");
	cr_expect_eq(mailbox_subscribe(box.st, ALICE, SLICE("none"), false), OK);
	cr_expect_eq(mailbox_subscribe(box.st, ALICE, SLICE("n4"), true), ERR_LIMIT);
	cr_expect_eq(mailbox_subscribe(box.st, ALICE, SLICE("n0"), false), OK);
	cr_expect_eq(mailbox_subscribe(box.st, ALICE, SLICE("n4"), true), OK);
}

/* More names than one record drops; a second account stays. */
Test(mailbox, many_names_are_dropped_in_steps)
{
	struct check_run run = { .options = &box.options };
	struct check_report report;
	char name[16];
	modseq before;

	cr_assert_eq(mailbox_account_init(box.st, BOB, SLICE("a.test")), OK);
	for (unsigned i = 0; i < 1100; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		cr_assert_eq(create(name), OK);
	}
	before = store_durable(box.st);
	cr_assert_eq(mailbox_account_drop(box.st, ALICE), OK);
	cr_expect_gt(store_durable(box.st), before + 4096, "more than one record");
	cr_expect_str_eq(names(SLICE(""), false), "");
	box_close(&box);
	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, CHECK_CLEAN);
	cr_expect_eq(report.mailboxes, 6u);
	box_open(&box, &keep_nothing, NULL);
}

/* --- fsck --- */

static bool summary_ok(void *arg, struct store *st, const struct check_summary *s)
{
	return slice_eq(s->summary, SLICE("as it was made"));
}

/* Every copy of a run of bytes in the index files; how many there were. */
static unsigned overwrite(slice what, slice with)
{
	unsigned found = 0;

	for (unsigned shard = 0; shard < 2; shard++) {
		char path[512], *bytes = malloc(8 << 20);

		snprintf(path, sizeof(path), "%s/index/%02u/data.mdb", box.dir.path, shard);
		FILE *f = fopen(path, "r+b");
		slice all = slice_of(bytes, fread(bytes, 1, 8 << 20, f));
		ptrdiff_t at;
		for (size_t from = 0; (at = slice_search(slice_skip(all, from), what)) >= 0;) {
			from += (size_t)at;
			fseek(f, (long)from, SEEK_SET);
			fwrite(with.ptr, 1, with.len, f);
			from += what.len;
			found++;
		}
		fclose(f);
		free(bytes);
	}
	return found;
}

Test(mailbox, fsck_counts_and_compares)
{
	struct delivering d = {
		.account = ALICE, .seed = 1, .size = 100, .summary = SLICE("as it was made")
	};
	struct check_run run = { .options = &box.options, .summary_ok = summary_ok };
	struct check_report report;
	char was[16], is[16];
	struct out o = out_fixed(was, sizeof(was)), p = out_fixed(is, sizeof(is));

	cr_assert_eq(deliver_one(box.st, &d), OK);
	box_close(&box);
	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, CHECK_CLEAN);
	cr_expect_eq(report.mailboxes, 6u);
	cr_expect_eq(report.kept_messages, 1u);
	cr_assert_gt(overwrite(d.summary, SLICE("AS IT WAS MADE")), 0u);
	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, CHECK_DAMAGED);
	cr_expect_eq(report.bad_rows, 1u);
	cr_expect_eq(report.bad_counters, 0u);
	/* The message's row: version, flags (and that no unique id came with it), blob. */
	out_u8(&o, 1);
	out_u8(&o, 128);
	out_u64(&o, d.ref.id);
	out_u8(&p, 1);
	out_u8(&p, 128 | MESSAGE_SEEN);
	cr_assert_gt(overwrite(out_written(&o), out_written(&p)), 0u);
	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.bad_counters, 1u);
	run.rebuild = true;
	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, CHECK_REPAIRED);
	box_open(&box, &keep_nothing, NULL);
}

/* One row is wrong, and a rebuild makes it anew. */
static void is_found(slice what, slice with)
{
	struct check_run run = { .options = &box.options };
	struct check_report report;

	box_close(&box);
	cr_assert_gt(overwrite(what, with), 0u, "%.*s", SLICE_ARG(what));
	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, CHECK_DAMAGED, "%.*s", SLICE_ARG(with));
	cr_expect_geq(report.bad_rows, 1u, "%.*s", SLICE_ARG(with));
	run.rebuild = true;
	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, CHECK_REPAIRED, "%.*s", SLICE_ARG(with));
	box_open(&box, &keep_nothing, NULL);
}

/* A row's value stands behind its key; its first byte is a version. */
Test(mailbox, fsck_reads_the_directory)
{
	struct domain d = { .name = SLICE("own.test") };
	struct account acc = { .local = SLICE("bob"), .domain = d.name, .id = ALICE + 7 };
	struct alias alias = {
		.local = SLICE("all"), .domain = d.name, .targets = SLICE("bob@own.test")
	};

	cr_assert_eq(domain_put(box.st, &d, ROW_CREATE), OK);
	cr_assert_eq(account_put(box.st, &acc, ROW_CREATE), OK);
	cr_assert_eq(alias_put(box.st, &alias, ROW_CREATE), OK);
	is_found(SLICE("Down.test\2"), SLICE("Down.test\x77"));
	is_found(SLICE("Aown.test\0bob\2"), SLICE("Aown.test\0bob\x77"));
	is_found(SLICE("Oown.test\0all\2"), SLICE("Oown.test\0all\x77"));
	is_found(SLICE("Down.test\2"), SLICE("Down.tesu\2")); /* the others' domain */
}

Test(mailbox, fsck_reads_keywords)
{
	struct delivering d = { .account = ALICE, .seed = 1, .size = 100 };
	struct runs uids = { 0 };
	struct message_store store = { .account = ALICE,
		.mailbox = MAILBOX_INBOX,
		.uids = &uids,
		.mode = MESSAGE_ADD,
		.keywords = SLICE("first\0second\0") };

	cr_assert_eq(deliver_one(box.st, &d), OK);
	cr_assert(runs_add(&uids, 1));
	cr_assert_eq(message_store(box.st, &store, NULL), OK);
	is_found(SLICE("first\0second\0"), SLICE("first\0second."));
	is_found(SLICE("first\0second\0"), SLICE("firstXsecond\0")); /* one name less */
	runs_done(&uids);
}
