/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages: delivery, flags, copies, removal, scans, what changed since. */
#include "tests/store/mailbox_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALICE = 7, BOB = 8, SENT = 3 };

static struct box box;
static struct arena a;
static struct scanned all;

static void open_box(void)
{
	box_make(&box);
	box.options.journal_max_bytes = 64 << 20; /* nobody frees segments here */
	box_open(&box, &keep_nothing, NULL);
	cr_assert_eq(mailbox_account_init(box.st, ALICE, SLICE("a.test")), OK);
}

static void close_box(void)
{
	arena_done(&a);
	box_remove(&box);
}

TestSuite(message, .init = open_box, .fini = close_box);

static void fill(unsigned count)
{
	for (unsigned i = 1; i <= count; i++) {
		struct delivering d = {
			.account = ALICE, .seed = i, .size = 10 * i, .summary = SLICE("summary")
		};

		cr_assert_eq(deliver_one(box.st, &d), OK);
		cr_assert_eq(d.at.uid, i);
	}
}

static enum err store_flags(const char *uids, enum message_store_mode mode, uint32_t flags,
	const char *keyword, modseq *out_pos)
{
	struct runs set = runs_of(uids);
	struct message_store args = { .account = ALICE,
		.mailbox = MAILBOX_INBOX,
		.uids = &set,
		.mode = mode,
		.flags = flags,
		.keywords = slice_of(keyword, *keyword ? strlen(keyword) + 1 : 0) };
	enum err err = message_store(box.st, &args, out_pos);

	runs_done(&set);
	return err;
}

static struct mailbox inbox(void)
{
	struct mailbox m;

	sync_all(box.st, ALICE);
	cr_assert_eq(mailbox_find(box.st, ALICE, SLICE("INBOX"), &a, &m), OK);
	return m;
}

/* At least so many, by copies of those that are there. */
static void fill_more(uint32_t count)
{
	for (uint32_t have = inbox().messages; have < count; have = inbox().messages)
		cr_assert_eq(copy_some(box.st, ALICE, "1:4294967295", MAILBOX_INBOX), OK);
}

static void scan(uint32_t mailbox, modseq since)
{
	struct message_scan s = { .account = ALICE,
		.mailbox = mailbox,
		.changed_since = since,
		.want = MESSAGE_WANT_SUMMARY };

	sync_all(box.st, ALICE);
	cr_assert_eq(scan_all(box.st, &s, &all), OK);
	cr_assert_eq(s.next, 0u);
}

static const char *expunge(const char *uids, bool any)
{
	static char buf[256];
	struct runs set = runs_of(uids), gone = { 0 };
	struct message_expunge args = {
		.account = ALICE, .mailbox = MAILBOX_INBOX, .uids = *uids ? &set : NULL, .any = any
	};
	struct message_gone out = { .gone = &gone };

	cr_assert_eq(message_expunge(box.st, &args, &out), OK);
	cr_expect(!out.more);
	runs_text(&gone, buf);
	runs_done(&set);
	runs_done(&gone);
	return buf;
}

static const char *live(void)
{
	static char buf[256];
	struct runs uids = { 0 };
	struct mailbox_opened opened;

	sync_all(box.st, ALICE);
	cr_assert_eq(mailbox_open(box.st, ALICE, MAILBOX_INBOX, &a, &opened, &uids), OK);
	cr_expect_eq(opened.mailbox.messages, uids.count);
	runs_text(&uids, buf);
	runs_done(&uids);
	return buf;
}

Test(message, a_delivery_is_found_as_it_came)
{
	struct delivering d = { .account = ALICE,
		.seed = 3,
		.size = 5000,
		.flags = MESSAGE_FLAGGED,
		.keywords = SLICE("$one\0two\0"),
		.splice = SLICE("Return-Path: <>\r\n"),
		.summary = SLICE("what it says") };
	struct message_row row;
	struct mailbox_keywords words;
	struct message_scan where = { .account = ALICE, .mailbox = MAILBOX_INBOX };

	cr_assert_eq(deliver_one(box.st, &d), OK);
	sync_all(box.st, ALICE);
	cr_assert_eq(message_get(box.st, &where, 1, &a, &row), OK);
	cr_expect_eq(message_get(box.st, &where, 2, &a, &row), ERR_NOT_FOUND);
	cr_expect_eq(row.m.blob, d.ref.id);
	cr_expect_eq(row.m.created, d.ref.id);
	cr_expect_eq(row.m.changed, d.ref.id);
	cr_expect_eq(row.m.thread, d.ref.id);
	cr_expect_eq(row.m.flags, (uint32_t)MESSAGE_FLAGGED);
	cr_expect_eq(row.m.keywords, 3u);
	cr_expect_eq(row.m.size, 5017u);
	cr_expect_eq(row.m.received, 1700000000003);
	cr_expect(slice_eq(row.summary, d.summary));
	cr_expect(slice_eq(row.splice, d.splice));
	cr_assert_eq(mailbox_keywords(box.st, ALICE, MAILBOX_INBOX, &a, &words), OK);
	cr_assert_eq(words.len, 2u);
	cr_expect(slice_eq(words.names[1], SLICE("two")));
	cr_expect(message_is(box.st, row.m.blob, 3, 5000));
}

Test(message, long_summaries_come_back_whole)
{
	static const size_t sizes[] = { 0, 1, 1900, 1960, 1990, 2100, 4000, 20000, 49152, 49153 };
	char *bytes = malloc(50000);
	struct message_row row;
	struct message_scan where = { .account = ALICE, .mailbox = MAILBOX_INBOX };

	for (size_t i = 0; i < 50000; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	for (uint32_t i = 0; i < array_len(sizes); i++) {
		struct delivering d = {
			.account = ALICE, .seed = i, .size = 1, .summary = { bytes, sizes[i] }
		};

		cr_assert_eq(deliver_one(box.st, &d), OK);
		sync_all(box.st, ALICE);
		cr_assert_eq(message_get(box.st, &where, i + 1, &a, &row), OK);
		size_t want = sizes[i] > MESSAGE_SUMMARY_MAX ? 0 : sizes[i];
		cr_expect(slice_eq(row.summary, slice_of(bytes, want)), "%zu", sizes[i]);
	}
	scan(MAILBOX_INBOX, 0);
	cr_expect_eq(all.len, array_len(sizes));
	free(bytes);
}

/* --- Looking ahead --- */

struct looking {
	uint32_t announced, told; /* uids */
	unsigned stop_at;         /* so many rows are taken, and the scan is ended */
	unsigned taken;
	size_t sizes[64];
	char first[64]; /* bytes of the summaries */
};

static void look_ahead(void *arg, const struct message_row *row)
{
	struct looking *l = arg;

	cr_assert(row->m.uid > l->announced);
	cr_assert(l->announced <= l->told + 1, "one row ahead, not more");
	l->announced = row->m.uid;
}

static bool look_at(void *arg, const struct message_row *row)
{
	struct looking *l = arg;

	cr_assert_eq(row->m.uid, l->told + 1);
	cr_assert(l->announced >= row->m.uid);
	if (l->taken == l->stop_at)
		return false;
	l->taken++;
	l->told = row->m.uid;
	l->sizes[row->m.uid] = row->summary.len;
	l->first[row->m.uid] = row->summary.len ? row->summary.ptr[row->summary.len - 1] : 0;
	return true;
}

/* Summaries of one row and of several in turns; the scan is ended behind every row, and goes on. */
Test(message, a_scan_that_looks_ahead_tells_the_same)
{
	enum { COUNT = 24 };
	static char bytes[6000];

	for (unsigned i = 1; i <= COUNT; i++) {
		struct delivering d = { .account = ALICE,
			.seed = i,
			.size = i,
			.summary = { bytes, i % 3 ? 10 + i : 1800 + 170 * i } };

		memset(bytes, 'a' + (int)i, sizeof(bytes));
		cr_assert_eq(deliver_one(box.st, &d), OK);
	}
	sync_all(box.st, ALICE);
	for (unsigned step = 1; step <= COUNT + 1; step++) {
		struct looking l = { .stop_at = step };
		struct message_scan s = { .account = ALICE,
			.mailbox = MAILBOX_INBOX,
			.want = MESSAGE_WANT_SUMMARY,
			.each = look_at,
			.ahead = look_ahead,
			.arg = &l };

		do {
			l.taken = 0;
			l.announced = l.told;
			cr_assert_eq(message_scan(box.st, &s), OK);
			s.from = s.next;
			cr_assert(!s.next || s.next == l.told + 1);
		} while (s.next);
		cr_assert_eq(l.told, (uint32_t)COUNT, "in steps of %u", step);
		for (unsigned i = 1; i <= COUNT; i++) {
			cr_expect_eq(l.sizes[i], i % 3 ? 10 + i : 1800 + 170 * i);
			cr_expect_eq(l.first[i], (char)('a' + (int)i));
		}
	}
}

Test(message, flags_change_and_count)
{
	modseq first, second;

	fill(10);
	cr_expect_eq(inbox().unseen, 10u);
	cr_assert_eq(store_flags("2:4,6,99", MESSAGE_ADD, MESSAGE_SEEN, "", &first), OK);
	cr_expect_eq(inbox().unseen, 6u);
	cr_expect_eq(inbox().highest, first);
	cr_assert_eq(store_flags("2:4", MESSAGE_ADD, MESSAGE_SEEN, "", &second), OK);
	cr_expect_eq(inbox().highest, first, "nothing was altered");
	cr_assert_eq(store_flags("2", MESSAGE_REPLACE, MESSAGE_SEEN, "", &second), OK);
	cr_expect_eq(inbox().highest, second, "replacing counts");
	cr_assert_eq(store_flags("3:5", MESSAGE_REMOVE, MESSAGE_SEEN, "", NULL), OK);
	cr_expect_eq(inbox().unseen, 8u);
	cr_assert_eq(store_flags("1", MESSAGE_ADD, MESSAGE_DELETED, "", NULL), OK);
	scan(MAILBOX_INBOX, 0);
	cr_assert_eq(all.len, 10u);
	cr_expect_eq(all.rows[1].changed, second);
	cr_expect_eq(all.rows[5].changed, first);
	scan(MAILBOX_INBOX, first);
	cr_expect_eq(all.len, 4u, "1 was marked, 2 replaced, 3 and 4 taken back: %zu", all.len);
}

Test(message, a_condition_holds_back_what_changed_later)
{
	struct runs set = runs_of("1:5");
	modseq first, second;
	struct message_store args = { .account = ALICE,
		.mailbox = MAILBOX_INBOX,
		.uids = &set,
		.mode = MESSAGE_ADD,
		.flags = MESSAGE_FLAGGED,
		.conditional = true };

	fill(5);
	cr_assert_eq(store_flags("2", MESSAGE_ADD, MESSAGE_SEEN, "", &first), OK);
	args.unchanged_since = first - 1;
	cr_assert_eq(message_store(box.st, &args, &second), OK);
	scan(MAILBOX_INBOX, 0);
	for (size_t i = 0; i < 5; i++)
		cr_expect_eq(all.rows[i].changed, i == 1 ? first : second, "%zu", i);
	args.mailbox = 99;
	cr_expect_eq(message_store(box.st, &args, NULL), ERR_NOT_FOUND);
	runs_done(&set);
}

Test(message, what_changed_later_is_told_and_with_a_condition_left_alone)
{
	struct runs set = runs_of("1:9"), later = { 0 };
	modseq first, second;
	struct message_store args = { .account = ALICE,
		.mailbox = MAILBOX_INBOX,
		.uids = &set,
		.mode = MESSAGE_ADD,
		.flags = MESSAGE_FLAGGED,
		.later = &later };

	fill(9);
	cr_assert_eq(store_flags("2:3,5,8:9", MESSAGE_ADD, MESSAGE_SEEN, "", &first), OK);
	for (int conditional = 1; conditional >= 0; conditional--) {
		args.conditional = conditional;
		args.unchanged_since = first - 1;
		cr_assert_eq(message_store(box.st, &args, &second), OK);
		cr_expect_eq(later.count, conditional ? 5u : 9u);
		cr_expect(runs_has(&later, 5) && runs_has(&later, 9));
		scan(MAILBOX_INBOX, 0);
		cr_expect_eq(all.rows[4].changed, conditional ? first : second);
		runs_done(&later);
		later = (struct runs){ 0 };
		args.flags = MESSAGE_ANSWERED;
	}
	args.unchanged_since = second;
	cr_assert_eq(message_store(box.st, &args, NULL), OK);
	cr_expect_eq(later.count, 0u);
	runs_done(&set);
}

static size_t keyword_count(void)
{
	struct mailbox_keywords names;

	sync_all(box.st, ALICE);
	cr_assert_eq(mailbox_keywords(box.st, ALICE, MAILBOX_INBOX, &a, &names), OK);
	return names.len;
}

Test(message, a_keyword_that_no_message_gets_is_not_made)
{
	struct runs set = runs_of("1:2");
	modseq first;
	struct message_store args = { .account = ALICE,
		.mailbox = MAILBOX_INBOX,
		.uids = &set,
		.mode = MESSAGE_ADD,
		.keywords = { "new", 4 },
		.conditional = true };

	fill(2);
	cr_assert_eq(store_flags("2", MESSAGE_ADD, MESSAGE_SEEN, "", &first), OK);
	cr_assert_eq(message_store(box.st, &args, NULL), OK);
	cr_expect_eq(keyword_count(), 0u, "all are newer than the condition");
	cr_assert_eq(store_flags("7", MESSAGE_ADD, 0, "new", NULL), OK);
	cr_expect_eq(keyword_count(), 0u, "there is no such message");
	args.unchanged_since = first - 1;
	cr_assert_eq(message_store(box.st, &args, NULL), OK);
	cr_expect_eq(keyword_count(), 1u, "one passes");
	runs_done(&set);
}

/* Each record names so many runs and no more, whatever the set; what is left is looked at by the next. */
Test(message, a_large_set_is_expunged_by_several_records)
{
	enum { RUNS = MESSAGE_CHANGE_MAX + 900 };
	struct runs set = { 0 }, gone = { 0 };
	struct message_expunge args = {
		.account = ALICE, .mailbox = MAILBOX_INBOX, .uids = &set, .any = true
	};
	struct message_gone out = { .gone = &gone };
	char buf[256];

	fill(9);
	for (uint32_t i = 0; i < RUNS; i++) /* most are of no message */
		cr_assert(runs_add(&set, i < 4 ? 2 + 2 * i : 100 + 2 * i));
	cr_assert_eq(message_expunge(box.st, &args, &out), OK);
	cr_expect(out.more);
	cr_expect_eq(out.next, 100u + 2 * MESSAGE_CHANGE_MAX, "%u", out.next);
	cr_assert_eq(message_expunge(box.st, &args, &out), OK);
	cr_expect(!out.more && !out.next);
	cr_expect_str_eq(runs_text(&gone, buf), "2,4,6,8");
	cr_expect_str_eq(live(), "1,3,5,7,9");
	/* More messages than one record removes, in one run of the set. */
	runs_done(&gone);
	runs_done(&set);
	gone = set = (struct runs){ 0 };
	fill_more(2 * MESSAGE_EXPUNGE_MAX + 1);
	uint32_t count = inbox().messages;
	cr_assert(runs_add_range(&set, 1, UINT32_MAX));
	out = (struct message_gone){ .gone = &gone };
	cr_assert_eq(message_expunge(box.st, &args, &out), OK);
	cr_expect(out.more);
	cr_expect_eq(gone.count, (uint32_t)MESSAGE_EXPUNGE_MAX);
	while (out.more)
		cr_assert_eq(message_expunge(box.st, &args, &out), OK);
	cr_expect_eq(gone.count, count);
	cr_expect_str_eq(live(), "");
	runs_done(&gone);
	runs_done(&set);
}

static bool take_two(void *arg, const struct message_row *row)
{
	struct scanned *out = arg;

	if (out->len == 2)
		return false;
	out->rows[out->len++] = row->m;
	return true;
}

/* A million changed messages are told a thousand at a time: the log is read for the first thousand only. So
 * what is written to it meanwhile is not found by the calls that go on, and is by a new scan. */
Test(message, a_scan_of_changes_that_goes_on_does_not_read_the_log_again)
{
	struct runs changed = { 0 };
	struct message_found found = { .uids = &changed };
	modseq first;

	fill(9);
	cr_assert_eq(store_flags("1", MESSAGE_ADD, MESSAGE_SEEN, "", &first), OK);
	cr_assert_eq(store_flags("2,4:6,8", MESSAGE_ADD, MESSAGE_SEEN, "", NULL), OK);
	sync_all(box.st, ALICE);
	scan(MAILBOX_INBOX, 0); /* makes room for rows */
	struct message_scan s = { .account = ALICE,
		.mailbox = MAILBOX_INBOX,
		.changed_since = first,
		.found = &found,
		.each = take_two,
		.arg = &all };
	const uint32_t want[][2] = { { 2, 4 }, { 5, 6 }, { 8, 0 } };
	for (size_t i = 0; i < array_len(want); i++) {
		all.len = 0;
		cr_assert_eq(message_scan(box.st, &s), OK);
		cr_assert_eq(all.len, want[i][1] ? 2u : 1u);
		for (size_t n = 0; n < all.len; n++)
			cr_expect_eq(all.rows[n].uid, want[i][n]);
		s.from = s.next;
		cr_assert_eq(store_flags("7,9", i % 2 ? MESSAGE_REMOVE : MESSAGE_ADD, MESSAGE_DRAFT,
				     "", NULL),
			OK);
		sync_all(box.st, ALICE);
	}
	cr_expect_eq(s.next, 0u);
	cr_expect_eq(changed.count, 5u);
	runs_done(&changed);
	scan(MAILBOX_INBOX, first);
	cr_expect_eq(all.len, 7u);
}

Test(message, keywords_end_at_a_limit)
{
	char name[16];

	fill(1);
	for (unsigned i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
		snprintf(name, sizeof(name), "k%u", i);
		cr_assert_eq(store_flags("1", MESSAGE_ADD, 0, name, NULL), OK);
	}
	cr_expect_eq(store_flags("1", MESSAGE_ADD, 0, "more", NULL), ERR_LIMIT);
	cr_expect_eq(store_flags("1", MESSAGE_REMOVE, 0, "more", NULL), OK);
	cr_expect_eq(store_flags("1", MESSAGE_REMOVE, 0, "K0", NULL), OK);
	scan(MAILBOX_INBOX, 0);
	cr_expect_eq(all.rows[0].keywords, UINT64_MAX - 1);
}

Test(message, removed_ones_leave_holes)
{
	fill(20);
	cr_assert_eq(store_flags("3:5,9", MESSAGE_ADD, MESSAGE_DELETED, "", NULL), OK);
	cr_expect_str_eq(expunge("4:20", false), "4:5,9");
	cr_expect_str_eq(live(), "1:3,6:8,10:20");
	cr_expect_str_eq(expunge("", false), "3");
	cr_expect_str_eq(expunge("6:8,1", true), "1,6:8");
	cr_expect_str_eq(live(), "2,10:20");
	cr_expect_str_eq(expunge("20,50", true), "20");
	cr_expect_str_eq(expunge("2", true), "2");
	cr_expect_str_eq(live(), "10:19");
	cr_expect_eq(inbox().uid_next, 21u);
	cr_expect_eq(inbox().deleted, 0u);
	cr_expect_str_eq(expunge("", true), "10:19");
	cr_expect_str_eq(live(), "");
	cr_expect_eq(inbox().bytes, 0u);
}

Test(message, copies_share_the_body_and_keep_what_is_theirs)
{
	struct runs set = runs_of("1,3:4,8"), source = { 0 };
	struct message_copied out = { .source = &source };
	struct message_copy args = {
		.account = ALICE, .from = MAILBOX_INBOX, .to = SENT, .uids = &set
	};
	char buf[256];

	fill(5);
	cr_assert_eq(store_flags("3", MESSAGE_ADD, MESSAGE_SEEN, "other", NULL), OK);
	cr_assert_eq(store_flags("4", MESSAGE_ADD, 0, "word", NULL), OK);
	cr_assert_eq(message_copy(box.st, &args, &out), OK);
	cr_expect_str_eq(runs_text(&source, buf), "1,3:4");
	cr_expect_eq(out.first_uid, 1u);
	scan(SENT, 0);
	cr_assert_eq(all.len, 3u);
	cr_expect_eq(all.rows[1].flags, (uint32_t)MESSAGE_SEEN);
	cr_expect_eq(all.rows[1].keywords, 1u);
	cr_expect_eq(all.rows[2].keywords, 2u);
	cr_expect_eq(all.rows[1].created, out.pos);
	cr_expect_eq(all.rows[1].received, 1700000000003);
	cr_expect_str_eq(expunge("", true), "1:5");
	scan(SENT, 0);
	cr_expect_eq(all.summary_len, 7u);
	args.to = 77;
	cr_expect_eq(message_copy(box.st, &args, &out), ERR_NOT_FOUND);
	runs_done(&set);
	runs_done(&source);
}

Test(message, a_move_is_a_copy_and_a_removal)
{
	struct runs set = runs_of("2:3"), source = { 0 };
	struct message_copied out = { .source = &source };
	struct message_copy args = {
		.account = ALICE, .from = MAILBOX_INBOX, .to = SENT, .uids = &set, .move = true
	};

	fill(4);
	cr_assert_eq(message_copy(box.st, &args, &out), OK);
	cr_expect_str_eq(live(), "1,4");
	scan(SENT, 0);
	cr_expect_eq(all.len, 2u);
	args.from = args.to = MAILBOX_INBOX;
	runs_done(&set);
	set = runs_of("1:9");
	cr_assert_eq(message_copy(box.st, &args, &out), OK);
	cr_expect_str_eq(live(), "5:6");
	runs_done(&set);
	runs_done(&source);
}

Test(message, changes_are_told_since_a_time)
{
	struct runs changed = { 0 }, gone = { 0 };
	struct message_changes ch = {
		.account = ALICE, .mailbox = MAILBOX_INBOX, .changed = &changed, .gone = &gone
	};
	modseq t1, t2;
	char buf[256];

	fill(10);
	cr_assert_eq(store_flags("2", MESSAGE_ADD, MESSAGE_SEEN, "", &t1), OK);
	cr_assert_eq(store_flags("3:4", MESSAGE_ADD, MESSAGE_SEEN, "key", &t2), OK);
	expunge("4,7", true);
	struct delivering d = { .account = ALICE, .seed = 1, .size = 1 };
	cr_assert_eq(deliver_one(box.st, &d), OK);
	sync_all(box.st, ALICE);
	ch.since = t1;
	cr_assert_eq(message_changes(box.st, &ch), OK);
	cr_expect_str_eq(runs_text(&changed, buf), "3,11");
	cr_expect_str_eq(runs_text(&gone, buf), "4,7");
	cr_expect(ch.exact && ch.keywords);
	cr_expect_gt(ch.as_of, t2);
	cr_expect_eq(ch.now.messages, 9u);
	ch.since = d.ref.id;
	runs_done(&changed);
	runs_done(&gone);
	changed = gone = (struct runs){ 0 };
	cr_assert_eq(message_changes(box.st, &ch), OK);
	cr_expect_eq(changed.count + gone.count, 0u);
	ch.since = 0;
	cr_assert_eq(message_changes(box.st, &ch), OK);
	cr_expect_str_eq(runs_text(&changed, buf), "1:3,5:6,8:11");
	runs_done(&changed);
	runs_done(&gone);
}

Test(message, the_log_is_forgotten_behind_a_horizon)
{
	struct runs changed = { 0 }, gone = { 0 };
	struct message_changes ch = {
		.account = ALICE, .mailbox = MAILBOX_INBOX, .changed = &changed, .gone = &gone
	};
	modseq first;
	char buf[256];

	fill(3);
	expunge("3", true);
	cr_assert_eq(store_flags("1", MESSAGE_ADD, MESSAGE_SEEN, "", &first), OK);
	for (unsigned i = 0; i < 4200; i++)
		cr_assert_eq(store_flags("2", i % 2 ? MESSAGE_ADD : MESSAGE_REMOVE, MESSAGE_SEEN,
				     i ? "" : "k", NULL),
			OK);
	cr_expect_gt(inbox().horizon, first);
	ch.since = first - 1;
	cr_assert_eq(message_changes(box.st, &ch), OK);
	cr_expect(!ch.exact);
	cr_expect_str_eq(runs_text(&changed, buf), "1:2");
	cr_expect_str_eq(runs_text(&gone, buf), "3");
	scan(MAILBOX_INBOX, first);
	cr_expect_eq(all.len, 1u);
	runs_done(&changed);
	runs_done(&gone);
}

Test(message, conversations_follow_their_keys)
{
	static const struct {
		uint64_t keys[3];
		size_t count, of; /* the message whose thread it joins */
	} rows[] = {
		{ { 100 }, 1, 0 },
		{ { 101, 100 }, 2, 0 },
		{ { 102 }, 1, 2 },
		{ { 103, 999, 102 }, 3, 2 },
		{ { 104, 999 }, 2, 2 },
		{ { 0 }, 0, 5 },
		{ { 999, 999 }, 2, 2 },
	};

	for (unsigned i = 0; i < array_len(rows); i++) {
		struct delivering d = { .account = ALICE,
			.seed = i,
			.size = 1,
			.thread_keys = { rows[i].keys[0], rows[i].keys[1], rows[i].keys[2] },
			.thread_key_count = rows[i].count };

		cr_assert_eq(deliver_one(box.st, &d), OK);
	}
	scan(MAILBOX_INBOX, 0);
	for (unsigned i = 0; i < array_len(rows); i++)
		cr_expect_eq(all.rows[i].thread, all.rows[rows[i].of].blob, "%u", i);
	/* With the last message that has a key the key is forgotten. */
	expunge("1:2", true);
	struct delivering d = {
		.account = ALICE, .seed = 1, .size = 1, .thread_keys = { 105, 100 }
	};
	d.thread_key_count = 2;
	cr_assert_eq(deliver_one(box.st, &d), OK);
	scan(MAILBOX_INBOX, 0);
	cr_expect_eq(all.rows[all.len - 1].thread, d.ref.id);
}

Test(message, one_record_serves_many_accounts_each_once)
{
	struct blob_writer b = { 0 };
	struct deliver_target targets[] = {
		{ .account = ALICE, .uidl = { "", 0 } },
		{ .account = BOB, .mailbox = 99 },
		{ .account = ALICE, .mailbox = SENT },
	};
	struct deliver deliver = { .targets = targets, .target_count = 3, .summary = SLICE("s") };
	struct store_message msg = { .body = &b, .deliver = &deliver, .ask = true, .at = 5 };
	struct blob_ref ref;
	struct delivered at;

	blob_begin(&b, box.st);
	cr_assert_eq(blob_write_wait(&b, SLICE("hello")), OK);
	cr_assert_eq(store_message_append(box.st, &msg, &ref), OK);
	cr_expect_eq(message_delivered(box.st, ref.id, ALICE, &at), OK);
	cr_expect_eq(at.mailbox, (uint32_t)MAILBOX_INBOX);
	cr_expect_eq(message_delivered(box.st, ref.id, BOB, &at), OK);
	cr_expect_eq(at.mailbox, (uint32_t)MAILBOX_INBOX, "a mailbox that is gone: INBOX");
	cr_expect_eq(message_delivered(box.st, ref.id, 9, &at), ERR_NOT_FOUND);
	scan(SENT, 0);
	cr_expect_eq(all.len, 0u);
	cr_expect_eq(inbox().messages, 1u);
}

Test(message, stored_bodies_are_delivered_together)
{
	struct blob_ref refs[3];
	struct deliver_target target = { .account = ALICE, .mailbox = SENT, .received = 9 };
	struct deliver messages[3];
	struct deliver_many many = { .messages = messages, .len = 3 };
	struct delivered first;

	for (unsigned i = 0; i < 3; i++) {
		/* The last one begins before its record. */
		cr_assert_eq(put_message(box.st, i, i == 2 ? 500000 : 100, &refs[i]), OK);
		messages[i] = (struct deliver){ .blob = refs[i].id,
			.low = refs[i].low,
			.size = refs[i].size,
			.targets = &target,
			.target_count = 1 };
	}
	cr_assert_eq(message_deliver_many(box.st, &many, &first, NULL), OK);
	cr_expect_eq(first.uid, 1u);
	scan(SENT, 0);
	cr_assert_eq(all.len, 3u);
	cr_expect_eq(all.rows[2].blob, refs[2].id);
	cr_expect_eq(all.rows[2].size, 500000u);
	target.mailbox = 99;
	cr_expect_eq(message_deliver_many(box.st, &many, &first, NULL), ERR_NOT_FOUND);
}

static unsigned asked, with_summary;
static char ids[4][8];

static bool keep_id(void *arg, const struct message_row *row)
{
	snprintf(ids[asked++ % array_len(ids)], sizeof(ids[0]), "%.*s", SLICE_ARG(row->uidl));
	with_summary += row->summary.len != 0;
	return true;
}

static void deliver_with_id(slice uidl, bool open_end)
{
	struct blob_writer b = { 0 };
	struct deliver_target target = {
		.account = ALICE, .mailbox = MAILBOX_INBOX, .uidl = uidl, .open_end = open_end
	};
	struct deliver deliver = { .targets = &target, .target_count = 1, .summary = SLICE("s") };
	struct store_message msg = { .body = &b, .deliver = &deliver, .at = 5 };
	struct blob_ref ref;

	blob_begin(&b, box.st);
	cr_assert_eq(blob_write_wait(&b, SLICE("hello")), OK);
	cr_assert_eq(store_message_append(box.st, &msg, &ref), OK);
	store_release(box.st, &ref);
}

/* Only of a message that came with an id what is kept of its body is read. */
Test(message, ids_are_read_without_summaries)
{
	struct message_scan query = { .account = ALICE,
		.mailbox = MAILBOX_INBOX,
		.want = MESSAGE_WANT_UIDL,
		.each = keep_id };

	deliver_with_id(SLICE(""), false);
	deliver_with_id(SLICE("abc"), false);
	deliver_with_id(SLICE(""), false);
	/* The rows are written anew. */
	cr_assert_eq(store_flags("1:3", MESSAGE_ADD, MESSAGE_SEEN, "", NULL), OK);
	cr_assert_eq(store_sync_all(box.st, ALICE), OK);
	cr_assert_eq(message_scan(box.st, &query), OK);
	cr_expect_eq(asked, 3u);
	cr_expect_eq(with_summary, 1u);
	cr_expect_str_eq(ids[0], "");
	cr_expect_str_eq(ids[1], "abc");
	cr_expect_str_eq(ids[2], "");
}

static char ends[16];

static bool keep_end(void *arg, const struct message_row *row)
{
	size_t len = strlen(ends);

	snprintf(ends + len, sizeof(ends) - len, "%c%.*s", row->open_end ? '!' : '.',
		SLICE_ARG(row->uidl));
	return true;
}

static bool may_have_open_ends(slice name)
{
	struct arena memory = { 0 };
	struct mailbox m;

	cr_assert_eq(mailbox_find(box.st, ALICE, name, &memory, &m), OK);
	arena_done(&memory);
	return m.open_ends;
}

Test(message, open_ends_are_known_without_summaries)
{
	struct message_scan query = { .account = ALICE,
		.mailbox = MAILBOX_INBOX,
		.want = MESSAGE_WANT_UIDL,
		.each = keep_end };
	slice longest =
		SLICE("0123456789012345678901234567890123456789012345678901234567890123456789");

	deliver_with_id(SLICE(""), false);
	cr_assert_eq(store_sync_all(box.st, ALICE), OK);
	cr_expect_not(may_have_open_ends(SLICE("INBOX")));
	deliver_with_id(SLICE(""), true);
	deliver_with_id(SLICE("abc"), true);
	deliver_with_id(SLICE("de"), false);
	cr_assert_eq(store_flags("1:4", MESSAGE_ADD, MESSAGE_SEEN, "", NULL), OK);
	cr_assert_eq(store_sync_all(box.st, ALICE), OK);
	cr_assert_eq(message_scan(box.st, &query), OK);
	cr_expect_str_eq(ends, ".!!abc.de");
	cr_expect(may_have_open_ends(SLICE("INBOX")));
	cr_expect_not(may_have_open_ends(SLICE("Sent")));
	deliver_with_id(longest, true);
}
