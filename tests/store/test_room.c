/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Room: whoever asks at the same time, on whatever worker, what is taken in the end is the limit. */
#include "store/room.h"

#include "core/fiber.h"
#include "core/post.h"
#include "store/check.h"
#include "tests/core/workers.h"
#include "tests/store/mailbox_support.h"

enum { ALICE = 1, BOB, CAROL, DAVE, FIBERS = 40, EACH = 4, SIZE = 100 };

static const slice domain_a = SLICE_INIT("a.test"), domain_b = SLICE_INIT("b.test");
static struct box box;

/* --- One after the other ---------------------------------------------------------------------------- */

static enum err take(uint64_t account, struct room_ask ask, struct room_sum limit,
	struct room **out)
{
	struct room_want want = {
		.account = account, .limit = limit, .add = { .bytes = SIZE, .messages = 1 }
	};

	ask.wants = &want;
	ask.len = 1;
	if (!ask.domain.len)
		ask.domain = domain_a;
	return room_take(box.st, &ask, out);
}

static enum err deliver(uint64_t account, modseq *out)
{
	static _Atomic unsigned seed;
	struct delivering d = { .account = account,
		.seed = atomic_fetch_add(&seed, 1),
		.size = SIZE,
		.keywords = { "", 0 },
		.splice = { "", 0 },
		.summary = SLICE("summary") };
	enum err err = deliver_one(box.st, &d);

	*out = err ? 0 : d.ref.id;
	return err;
}

static void open_box(void)
{
	box_make(&box);
	box_open(&box, NULL, NULL);
	cr_assert_eq(mailbox_account_init(box.st, ALICE, domain_a), OK);
	cr_assert_eq(mailbox_account_init(box.st, BOB, domain_a), OK);
}

static void close_box(void)
{
	box_close(&box);
	box_remove(&box);
}

static enum err bring(uint64_t account, struct room_ask ask, struct room_sum limit)
{
	struct room *room;
	modseq pos = 0;
	enum err err = take(account, ask, limit, &room);

	if (err)
		return err;
	err = deliver(account, &pos);
	room_end(room, pos);
	return err;
}

static void remove_all(uint64_t account)
{
	struct runs gone = { 0 };
	struct message_expunge args = { .account = account, .mailbox = MAILBOX_INBOX, .any = true };
	struct message_gone out = { .gone = &gone };

	cr_assert_eq(message_expunge(box.st, &args, &out), OK);
	runs_done(&gone);
}

Test(room, one_message_may_go_over, .init = open_box, .fini = close_box)
{
	struct room_ask ask = { .len = 0 };
	struct room_sum bytes = { .bytes = 2 * SIZE + 1 }, messages = { .messages = 3 };

	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(bring(ALICE, ask, bytes), OK);
	cr_expect_eq(bring(ALICE, ask, bytes), ERR_QUOTA);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(bring(BOB, ask, messages), OK);
	cr_expect_eq(bring(BOB, ask, messages), ERR_QUOTA);
	/* What was freed counts at once. */
	remove_all(BOB);
	cr_expect_eq(bring(BOB, ask, messages), OK);
	ask.always = true;
	cr_expect_eq(bring(ALICE, ask, bytes), OK);
}

Test(room, a_domain_is_full_for_all_its_accounts, .init = open_box, .fini = close_box)
{
	struct room_ask ask = { .limit = { .messages = 2 } };
	struct room_sum none = { 0 };

	cr_expect_eq(bring(ALICE, ask, none), OK);
	cr_expect_eq(bring(BOB, ask, none), OK);
	cr_expect_eq(bring(ALICE, ask, none), ERR_QUOTA);
	cr_expect_eq(bring(BOB, ask, none), ERR_QUOTA);
}

Test(room, what_comes_before_the_last_message_must_fit, .init = open_box, .fini = close_box)
{
	struct room_ask ask = { .before = { .messages = 2, .bytes = 2 * SIZE } };
	struct room *room;

	cr_expect_eq(take(ALICE, ask, (struct room_sum){ .messages = 2 }, &room), ERR_QUOTA);
	cr_expect_null(room);
	cr_expect_eq(take(ALICE, ask, (struct room_sum){ .messages = 3 }, &room), OK);
	room_end(room, 0);
	cr_expect_eq(take(ALICE, ask, (struct room_sum){ .bytes = 2 * SIZE }, &room), ERR_QUOTA);
	cr_expect_eq(take(ALICE, ask, (struct room_sum){ 0 }, &room), OK);
	cr_expect_null(room);
}

/* Several accounts: who has none is marked, the others have theirs. */
Test(room, accounts_are_answered_one_by_one, .init = open_box, .fini = close_box)
{
	struct room_sum one = { .messages = 1 };
	struct room_want wants[] = { { .account = ALICE, .limit = one, .add = one },
		{ .account = BOB, .limit = one, .add = one } };
	struct room_ask ask = { .domain = domain_a, .wants = wants, .len = 2 };
	struct room *room, *other;

	cr_assert_eq(bring(BOB, (struct room_ask){ .len = 0 }, one), OK);
	cr_assert_eq(room_take(box.st, &ask, &room), OK);
	cr_expect(!wants[0].full && wants[1].full);
	cr_expect_eq(room_take(box.st, &ask, &other), ERR_QUOTA);
	cr_expect(wants[0].full && wants[1].full);
	room_end(room, 0);
	cr_assert_eq(room_take(box.st, &ask, &room), OK);
	cr_expect(!wants[0].full && wants[1].full);
	room_end(room, 0);
}

/* --- At the same time ------------------------------------------------------------------------------- */

static _Atomic unsigned finished, taken[DAVE + 1], refused, given_up;
static struct room_sum account_limit;
static struct room_sum domain_limit;

/* Every fifth message is not stored in the end; its place goes to another one. */
static void bring_some(void *arg)
{
	unsigned base = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		uint64_t account = ALICE + (base + i) % 2;
		struct room_ask ask = { .limit = domain_limit };
		struct room *room;
		modseq pos = 0;
		enum err err = take(account, ask, account_limit, &room);

		check(!err || err == ERR_QUOTA);
		if (err) {
			atomic_fetch_add(&refused, 1);
			continue;
		}
		if ((base + i) % 5 == 0) {
			check(fiber_sleep(base % 7) == OK);
			atomic_fetch_add(&given_up, 1);
		} else {
			check(deliver(account, &pos) == OK);
			atomic_fetch_add(&taken[account], 1);
		}
		room_end(room, pos);
	}
	atomic_fetch_add(&finished, 1);
}

static void start_bringing(struct worker *w, void *arg)
{
	for (unsigned i = 0; i < FIBERS / 2; i++)
		check(fiber_start(w, bring_some,
			      (void *)(uintptr_t)(i * 2 + worker_index(w) + 1)) == OK);
}

static void bring_on_both(void)
{
	atomic_store(&finished, 0);
	post_call(0, start_bringing, NULL);
	post_call(1, start_bringing, NULL);
	while (atomic_load(&finished) < FIBERS)
		check(fiber_sleep(5) == OK);
}

static uint64_t usage_of(uint64_t account)
{
	struct mailbox_usage usage;

	check(store_sync_all(box.st, account) == OK);
	check(mailbox_usage(box.st, account, &usage) == OK);
	check(usage.messages == atomic_load(&taken[account]));
	return usage.messages;
}

static void open_accounts(void)
{
	box_open(&box, &keep_nothing, NULL);
	check(mailbox_account_init(box.st, ALICE, domain_a) == OK);
	check(mailbox_account_init(box.st, BOB, domain_a) == OK);
	check(mailbox_account_init(box.st, CAROL, domain_b) == OK);
	check(mailbox_account_init(box.st, DAVE, domain_b) == OK);
}

static void work_accounts(struct worker *w)
{
	open_accounts();
	account_limit = (struct room_sum){ .messages = 31, .bytes = 29 * SIZE - 1 };
	bring_on_both();
	check(usage_of(ALICE) == 29);
	check(usage_of(BOB) == 29);
	check(atomic_load(&refused) && atomic_load(&given_up));
	box_close(&box);
}

Test(room, the_limit_is_met_exactly)
{
	box_make(&box);
	run_on_workers(2, work_accounts);
	box_remove(&box);
}

static void work_domain(struct worker *w)
{
	open_accounts();
	domain_limit = (struct room_sum){ .messages = 61 };
	bring_on_both();
	check(usage_of(ALICE) + usage_of(BOB) == 61);
	/* A limit that is set later counts what came before. */
	domain_limit.messages = 64;
	bring_on_both();
	check(usage_of(ALICE) + usage_of(BOB) == 64);
	box_close(&box);
}

Test(room, a_domain_is_met_exactly_over_its_accounts)
{
	box_make(&box);
	box.options.shards = 2;
	run_on_workers(2, work_domain);
	box_remove(&box);
}

/* One message to somebody in each of two domains: all or nothing, in one order. */
static void bring_to_two(void *arg)
{
	struct room_ask first = { .domain = domain_a, .limit = domain_limit },
			second = { .domain = domain_b, .limit = domain_limit };
	unsigned n = (unsigned)(uintptr_t)arg;
	struct room *a, *b;
	modseq pos = 0, other = 0;

	for (unsigned i = 0; i < EACH; i++) {
		uint64_t to_a = ALICE + (n + i) % 2, to_b = CAROL + (n + i) % 2;

		if (take(to_a, first, (struct room_sum){ 0 }, &a))
			continue;
		if (take(to_b, second, (struct room_sum){ 0 }, &b)) {
			room_end(a, 0);
			continue;
		}
		check(deliver(to_a, &pos) == OK);
		check(deliver(to_b, &other) == OK);
		atomic_fetch_add(&taken[to_a], 1);
		atomic_fetch_add(&taken[to_b], 1);
		room_end(a, pos);
		room_end(b, other);
	}
	atomic_fetch_add(&finished, 1);
}

static void start_two(struct worker *w, void *arg)
{
	for (unsigned i = 0; i < FIBERS / 2; i++)
		check(fiber_start(w, bring_to_two, (void *)(uintptr_t)(i + worker_index(w))) == OK);
}

static void work_two(struct worker *w)
{
	open_accounts();
	domain_limit = (struct room_sum){ .messages = 50 };
	atomic_store(&finished, 0);
	post_call(0, start_two, NULL);
	post_call(1, start_two, NULL);
	while (atomic_load(&finished) < FIBERS)
		check(fiber_sleep(5) == OK);
	check(usage_of(ALICE) + usage_of(BOB) == 50);
	check(usage_of(CAROL) + usage_of(DAVE) == 50);
	box_close(&box);
}

Test(room, several_domains_never_wait_for_each_other)
{
	box_make(&box);
	run_on_workers(2, work_two);
	box_remove(&box);
}
