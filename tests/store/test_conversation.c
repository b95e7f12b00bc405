/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tree that conversations are found in, beside a model of them; the filter in front of it; the
 * layout of its tables. Most keys have forty bits in common, so the tree grows deep. */
#include "store/absent.h"
#include "store/check.h"
#include "store/conversation.h"
#include "store/store_int.h"
#include "tests/store/mailbox_support.h"

#include "core/base/map.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALICE = 7, POOL = 4000, MESSAGES = 2000, KEYS = 6 };

static struct box box;
static struct arena a;
static struct scanned all;

/* What it should be. */
static struct {
	uint64_t thread;
	unsigned count;
} known[POOL];
static struct {
	bool there;
	uint64_t thread;
	unsigned keys[KEYS], len;
} sent[MESSAGES + 1]; /* by uid */

static void open_box(void)
{
	box_make(&box);
	box.options.journal_max_bytes = 64 << 20;
	box_open(&box, &keep_nothing, NULL);
	cr_assert_eq(mailbox_account_init(box.st, ALICE, SLICE("a.test")), OK);
}

static void close_box(void)
{
	arena_done(&a);
	box_remove(&box);
}

TestSuite(conversation, .init = open_box, .fini = close_box);

static unsigned roll(unsigned n)
{
	return (unsigned)rand() % n;
}

static uint64_t key_of(unsigned i)
{
	return i % 4 == 0 ? map_hash_u64(i) : UINT64_C(0x5555555555000000) + i * 8;
}

/* Each once, as the record's applier has it. */
static void choose_keys(uint32_t uid)
{
	for (unsigned want = roll(KEYS + 1); want; want--) {
		unsigned key = roll(POOL), n = 0;

		while (n < sent[uid].len && sent[uid].keys[n] != key)
			n++;
		if (n == sent[uid].len)
			sent[uid].keys[sent[uid].len++] = key;
	}
}

static void join(uint32_t uid, uint64_t blob)
{
	uint64_t thread = 0;

	for (unsigned i = 0; i < sent[uid].len && !thread; i++)
		thread = known[sent[uid].keys[i]].count ? known[sent[uid].keys[i]].thread : 0;
	sent[uid].thread = thread ? thread : blob;
	for (unsigned i = 0; i < sent[uid].len; i++)
		if (!known[sent[uid].keys[i]].count++)
			known[sent[uid].keys[i]].thread = sent[uid].thread;
}

static void deliver(uint32_t uid)
{
	struct delivering d = { .account = ALICE, .seed = uid, .size = 1 };

	choose_keys(uid);
	for (unsigned i = 0; i < sent[uid].len; i++)
		d.thread_keys[i] = key_of(sent[uid].keys[i]);
	d.thread_key_count = sent[uid].len;
	cr_assert_eq(deliver_one(box.st, &d), OK);
	cr_assert_eq(d.at.uid, uid);
	sent[uid].there = true;
	join(uid, d.ref.id);
}

static void expunge(const struct runs *uids)
{
	struct runs gone = { 0 };
	struct message_expunge args = {
		.account = ALICE, .mailbox = MAILBOX_INBOX, .uids = uids, .any = true
	};
	struct message_gone out = { .gone = &gone, .more = true };

	while (out.more)
		cr_assert_eq(message_expunge(box.st, &args, &out), OK);
	for (uint32_t uid = 1; uid <= MESSAGES; uid++) {
		if (!sent[uid].there || !runs_has(uids, uid))
			continue;
		cr_assert(runs_has(&gone, uid));
		sent[uid].there = false;
		for (unsigned i = 0; i < sent[uid].len; i++)
			known[sent[uid].keys[i]].count--;
	}
	runs_done(&gone);
}

static void compare(void)
{
	struct message_scan s = { .account = ALICE, .mailbox = MAILBOX_INBOX };

	sync_all(box.st, ALICE);
	cr_assert_eq(scan_all(box.st, &s, &all), OK);
	for (size_t i = 0; i < all.len; i++)
		cr_assert_eq(all.rows[i].thread, sent[all.rows[i].uid].thread, "uid %u",
			all.rows[i].uid);
}

struct tables {
	unsigned count, deepest;
};

static enum err count_tables(struct index_txn *txn, void *arg)
{
	struct tables *t = arg;
	struct keys_threads_place at;
	struct index_cursor c = { 0 };

	for (enum err err = index_seek(txn, &c, SLICE("H"), SLICE("H")); !err;
		err = index_next(&c)) {
		cr_assert(keys_parse_threads(c.key, &at));
		t->count++;
		t->deepest = MAX(t->deepest, at.level);
	}
	index_cursor_done(&c);
	return OK;
}

static struct tables tables(void)
{
	struct tables t = { 0 };

	for (unsigned i = 0; i < index_shard_count(box.st->index); i++)
		cr_assert_eq(index_read_here(box.st->index, i, count_tables, &t), OK);
	return t;
}

static void say(void *arg, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

/* The folder is in order, and a new index from its records has the same tables. */
static void check(void)
{
	struct check_run run = { .options = &box.options, .say = say };
	struct check_report report;
	struct out before = index_rows(box.st);

	box_close(&box);
	cr_assert_eq(check_store(&run, &report), OK);
	cr_assert_eq(report.result, CHECK_CLEAN);
	run.rebuild = true;
	cr_assert_eq(check_store(&run, &report), OK);
	cr_assert_eq(report.result, CHECK_REPAIRED);
	box_open(&box, &keep_nothing, NULL);
	sync_all(box.st, ALICE);
	struct out after = index_rows(box.st);
	cr_expect(slice_eq(out_written(&before), out_written(&after)));
	out_heap_done(&before);
	out_heap_done(&after);
}

Test(conversation, the_tree_agrees_with_a_model)
{
	struct runs some = { 0 };

	srand(11);
	for (uint32_t uid = 1; uid <= MESSAGES; uid++) {
		deliver(uid);
		if (roll(40))
			continue;
		uint32_t first = 1 + roll(uid), last = MIN(first + roll(16), uid);
		cr_assert(runs_add_range(&some, first, last));
		expunge(&some);
		runs_done(&some);
		some = (struct runs){ 0 };
	}
	compare();
	cr_expect_gt(tables().deepest, 7u);
	check();
	cr_assert(runs_add_range(&some, 1, MESSAGES));
	expunge(&some);
	runs_done(&some);
	sync_all(box.st, ALICE);
	cr_expect_eq(tables().count, 0u, "a tree without keys leaves no row");
}

/* Each with one key, which none had before. */
static void deliver_alone(uint32_t uid, uint64_t key)
{
	struct delivering d = { .account = ALICE,
		.seed = uid,
		.size = 1,
		.thread_keys = { key },
		.thread_key_count = 1 };

	cr_assert_eq(deliver_one(box.st, &d), OK);
	cr_assert_eq(d.at.uid, uid);
}

/* 280 keys stand in a page until the count of one needs a byte more. */
Test(conversation, a_long_count_makes_room_for_itself)
{
	enum { TOP = 170, GONE = 60, OFTEN = 80, LAST = 2 * TOP + 1 };
	struct runs some = { 0 };
	uint32_t uid = 0;

	while (uid < TOP + 1) {
		uid++;
		deliver_alone(uid, map_hash_u64(uid));
	}
	cr_assert(runs_add_range(&some, 1, GONE));
	expunge(&some);
	runs_done(&some);
	while (uid < LAST) {
		uid++;
		deliver_alone(uid, map_hash_u64(uid));
	}
	sync_all(box.st, ALICE);
	cr_assert_eq(tables().deepest, 1u);
	for (unsigned i = 0; i < 256; i++)
		deliver_alone(++uid, map_hash_u64(OFTEN));
	sync_all(box.st, ALICE);
	cr_expect_eq(tables().deepest, 2u);
	struct message_scan s = { .account = ALICE, .mailbox = MAILBOX_INBOX };
	cr_assert_eq(scan_all(box.st, &s, &all), OK);
	for (size_t i = LAST - GONE; i < all.len; i++)
		cr_assert_eq(all.rows[i].thread, all.rows[OFTEN - GONE - 1].thread);
	check();
}

/* --- The filter --- */

Test(absent, a_key_that_is_there_is_never_absent)
{
	struct absent f = { 0 };
	unsigned wrong = 0;

	cr_expect(!absent_says(&f, ALICE, 1), "without a filter nothing is known");
	cr_expect(!absent_wanted(&f, ALICE, 1));
	for (unsigned i = 0; !absent_wanted(&f, ALICE, 3); i++)
		cr_assert_lt(i, 100u);
	cr_assert(absent_make(&f, ALICE, 10000));
	for (uint64_t i = 0; i < 20000; i++)
		absent_add(&f, ALICE, i * 77);
	for (uint64_t i = 0; i < 20000; i++)
		cr_assert(!absent_says(&f, ALICE, i * 77));
	for (uint64_t i = 0; i < 20000; i++)
		wrong += !absent_says(&f, ALICE, i * 77 + 1);
	cr_expect_lt(wrong, 2000u);
	cr_expect(!absent_says(&f, ALICE + 1, 1));
	absent_add(&f, ALICE, 1);
	cr_expect(!absent_says(&f, ALICE, 2), "full: it is forgotten");
	absent_done(&f);
}

Test(absent, filters_of_others_make_room)
{
	struct absent f = { 0 };
	unsigned kept = 0;

	for (uint64_t account = 1; account <= 5000; account++) {
		while (!absent_wanted(&f, account, 2))
			continue;
		cr_assert(absent_make(&f, account, account % 100 ? 100 : 200000));
		absent_add(&f, account, 5);
		cr_assert(absent_says(&f, account, 6) && !absent_says(&f, account, 5));
		cr_assert_leq(f.bytes, (uint64_t)ABSENT_BYTES_MAX);
	}
	for (uint64_t account = 1; account <= 5000; account++)
		kept += absent_says(&f, account, 6);
	cr_expect(kept > 100 && kept <= ABSENT_SETS * ABSENT_WAYS);
	absent_forget(&f, 5000);
	cr_expect(!absent_says(&f, 5000, 6));
	absent_done(&f);
}

/* --- Tables --- */

static const struct keys_thread threads[] = { { 5, 50, 1 }, { 1, 10, 2 },
	{ UINT64_MAX, 7, UINT32_MAX }, { 3, 30, 3 } };

Test(keys_threads, stay_in_order)
{
	struct keys_threads t, back;
	struct keys_thread found;
	uint8_t children;

	keys_new_threads(&t);
	for (size_t i = 0; i < array_len(threads); i++)
		cr_assert(keys_threads_insert(&t, &threads[i]));
	*keys_threads_children(&t) = 0x81;
	cr_expect_eq(t.len, 4u);
	cr_expect(keys_threads_ordered(&t));
	for (size_t i = 0; i < array_len(threads); i++) {
		cr_assert(keys_find_thread(keys_threads_slice(&t, false), threads[i].key, &found,
			&children));
		cr_expect_eq(found.thread, threads[i].thread);
		cr_expect_eq(found.count, threads[i].count);
		cr_expect_eq(children, 0x81);
	}
	cr_assert(keys_find_thread(keys_threads_slice(&t, false), 4, &found, &children));
	cr_expect_eq(found.count, 0u);
	cr_assert(keys_get_threads(keys_threads_slice(&t, false), &back));
	keys_threads_remove(&back, 1);
	keys_threads_remove(&back, 1);
	cr_expect_eq(back.len, 2u);
	cr_expect_eq(keys_thread_at(&back, 1).key, UINT64_MAX);
	cr_expect_eq(keys_threads_position(&back, 4), 1u);
}

/* Up to a full page, with fields as long as can be and as short. */
Test(keys_threads, a_page_holds_as_many_as_their_lengths_let)
{
	static struct keys_thread rows[KEYS_THREADS_MAX];
	struct keys_threads t;

	keys_new_threads(&t);
	for (unsigned i = 0; i < KEYS_THREADS_MAX; i++) {
		rows[i] = (struct keys_thread){ .key = i * 3, .thread = i % 200, .count = 1 };
		cr_assert(keys_threads_insert(&t, &rows[i]));
	}
	cr_expect(keys_threads_fit(rows, KEYS_THREADS_MAX));
	cr_expect_leq(keys_threads_slice(&t, true).len, (size_t)INDEX_PAGE_MAX);
	cr_expect(!keys_threads_insert(&t, &(struct keys_thread){ 1, 1, 1 }), "one too many");
	cr_expect(!keys_threads_replace(&t, 5, &(struct keys_thread){ 15, 1, 256 }), "too long");
	cr_expect_eq(keys_thread_at(&t, 5).count, 1u);
	rows[5].count = 256;
	cr_expect(!keys_threads_fit(rows, KEYS_THREADS_MAX));
	keys_threads_fill(&t, rows, 200);
	cr_assert(keys_threads_replace(&t, 7, &(struct keys_thread){ 21, UINT64_MAX, UINT32_MAX }));
	cr_expect_eq(keys_thread_at(&t, 7).thread, UINT64_MAX);
	cr_expect_eq(keys_thread_at(&t, 7).count, UINT32_MAX);
	for (unsigned i = 0; i < 200; i++) {
		struct keys_thread at = keys_thread_at(&t, i);

		cr_expect_eq(at.key, rows[i].key);
		cr_expect(i == 7 || (at.thread == rows[i].thread && at.count == rows[i].count));
	}
}

Test(keys_threads, damage_is_noticed)
{
	struct keys_threads t, back;
	struct keys_thread found;
	uint8_t children;

	keys_new_threads(&t);
	cr_assert(keys_threads_insert(&t, &threads[0]));
	slice row = keys_threads_slice(&t, false);
	for (size_t len = 0; len < row.len; len++)
		cr_expect(!keys_get_threads(slice_sub(row, 0, len), &back) &&
			!keys_find_thread(slice_sub(row, 0, len), 5, &found, &children));
	cr_expect(keys_get_threads(keys_threads_slice(&t, true), &back));
	cr_expect_eq(back.len, 1u);
	cr_assert(keys_threads_replace(&t, 0, &(struct keys_thread){ .key = 5 }));
	cr_expect(!keys_threads_ordered(&t), "nobody has it");
	cr_expect(!keys_find_thread(row, 5, &found, &children));
	cr_assert(keys_threads_insert(&t, &threads[0]));
	cr_expect(!keys_threads_ordered(&t), "twice");
	for (unsigned at = 0; at < KEYS_THREADS_HEAD; at++) {
		if (at == 1) /* its children; others look at them */
			continue;
		char was = t.bytes[at];
		t.bytes[at] = 9;
		cr_expect(!keys_get_threads(row, &back), "byte %u", at);
		t.bytes[at] = was;
	}
}

Test(keys_threads, a_key_goes_one_way_down)
{
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t key = i ? map_hash_u64(i) : UINT64_MAX;

		cr_expect_eq(conversation_begin(key, 0), 0u);
		for (unsigned level = 0; level + 1 < KEYS_THREADS_LEVELS; level++)
			cr_assert_eq(conversation_begin(key, level + 1),
				conversation_begin(key, level) |
					conversation_nth(conversation_child(key, level), level));
	}
}
