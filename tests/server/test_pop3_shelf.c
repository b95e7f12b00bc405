/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_pop3_shelf.c - sessions that saw the same share it, others do not; marks against a plain array. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/log.h"
#include "server/pop3/pop3_int.h"
#include "store/message.h"
#include "tests/server/mailbox_house.h"

static struct pop3_snapshot *look(void)
{
	struct pop3_snapshot *snap = NULL;
	enum err err = pop3_snapshot_get(&house.door, mailbox_house_account(), &snap);

	cr_assert_eq(err, OK);
	return snap;
}

static void deliver(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		cr_assert(house_deliver(SLICE("Subject: x\r\n\r\ny\r\n")));
}

static void furnish(unsigned count)
{
	log_set_level(LOG_ERROR);
	house_open(SERVICE_POP3, "pop3: { plain_login: true }\n");
	deliver(count);
}

static void mark_seen(uint32_t uid)
{
	struct runs uids = { 0 };
	struct message_store args = { .account = mailbox_house_account(),
		.mailbox = MAILBOX_INBOX,
		.uids = &uids,
		.mode = MESSAGE_ADD,
		.flags = MESSAGE_SEEN };
	enum err err;

	cr_assert(runs_add(&uids, uid));
	err = message_store(house.door.store, &args, NULL);
	cr_assert_eq(err, OK);
	runs_done(&uids);
}

Test(pop3_shelf, the_same_is_shared)
{
	struct pop3_snapshot *first, *again, *flagged;

	furnish(20);
	first = look();
	again = look();
	cr_expect_eq(first, again);
	cr_expect_eq(first->uids.count, 20u);
	mark_seen(3); /* no number and no size of it is another */
	flagged = look();
	cr_expect_eq(first, flagged);
	cr_expect_eq(first->refs, 3u);
	pop3_snapshot_put(first);
	pop3_snapshot_put(again);
	cr_expect_eq(flagged->uids.count, 20u);
	pop3_snapshot_put(flagged);
	house_close();
}

Test(pop3_shelf, another_state_is_another_one)
{
	struct pop3_snapshot *before, *more, *fewer, *moved;

	furnish(20);
	before = look();
	deliver(1);
	more = look();
	cr_assert_eq(mailbox_house_expunge(7, 7, NULL), 1u);
	fewer = look();
	deliver(1); /* as many as `more` */
	moved = look();
	cr_expect(before != more && more != fewer && fewer != moved && more != moved);
	cr_expect_eq(before->uids.count, 20u);
	cr_expect_eq(more->uids.count, 21u);
	cr_expect_eq(fewer->uids.count, 20u);
	cr_expect_eq(moved->uids.count, 21u);
	cr_expect(runs_has(&more->uids, 7) && !runs_has(&fewer->uids, 7));
	cr_expect(!runs_has(&moved->uids, 7) && runs_has(&moved->uids, 22));
	cr_expect_eq(before->bytes, fewer->bytes);
	pop3_snapshot_put(before);
	pop3_snapshot_put(more);
	pop3_snapshot_put(moved);
	pop3_snapshot_put(fewer);
	house_close();
}

/* The sessions of an account cost its holes once. */
Test(pop3_shelf, sessions_share_it)
{
	struct pop3_snapshot *snap;
	struct pop3_session *s;

	furnish(100);
	for (uint32_t uid = 2; uid <= 100; uid += 2)
		cr_assert_eq(mailbox_house_expunge(uid, uid, NULL), 1u);
	house_connect("127.0.0.1");
	house_send(SLICE("USER alice@own.test\r\nPASS secret\r\nDELE 50\r\n"));
	house_replies();
	s = house_session();
	snap = look();
	cr_expect_eq(s->drop->snap, snap);
	cr_expect_eq(snap->refs, 2u);
	cr_expect_eq(snap->uids.runs, 50u);
	cr_expect_eq(pop3_drop_count(s->drop), 49u);
	house_hang_up();
	cr_expect_eq(snap->refs, 1u);
	cr_expect_eq(snap->uids.count, 50u); /* not marked for others, nor removed without QUIT */
	pop3_snapshot_put(snap);
	house_close();
}

enum { MOST = 20000 };

Test(pop3_shelf, marks)
{
	static bool model[MOST + 1];
	struct pop3_marks m = { 0 };
	uint32_t count = 0, seed = 5;

	cr_expect_eq(pop3_marks_next(&m, 1), 0u);
	cr_expect_not(pop3_marks_has(&m, MOST));
	for (unsigned i = 0; i < 3000; i++) {
		seed = seed * 1664525 + 1013904223;
		uint32_t n = i < 3 ? MOST : i < 200 ? i : 1 + (seed >> 8) % (MOST - 4097);

		cr_assert(pop3_marks_add(&m, n, MOST));
		count += !model[n];
		model[n] = true;
	}
	cr_expect_eq(m.count, count);
	for (uint32_t n = 1, next = pop3_marks_next(&m, 1); n <= MOST; n++) {
		cr_assert_eq(pop3_marks_has(&m, n), model[n], "%u", n);
		if (!model[n])
			continue;
		cr_assert_eq(next, n);
		next = n < MOST ? pop3_marks_next(&m, n + 1) : 0;
		count--;
	}
	cr_expect_eq(count, 0u);
	cr_expect_eq(pop3_marks_next(&m, MOST), (uint32_t)MOST);
	pop3_marks_done(&m);
	cr_expect_eq(pop3_marks_next(&m, 1), 0u);
	for (uint32_t n = 1; n <= 4096; n += 4095) /* the ends of a block */
		cr_assert(pop3_marks_add(&m, n, 4096));
	cr_expect_eq(pop3_marks_next(&m, 2), 4096u);
	pop3_marks_done(&m);
}
