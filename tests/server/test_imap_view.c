/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_imap_view.c - sequence numbers under changes of others: a client's model of the mailbox, kept by
 * the rules of RFC 9051 7.5.1 from what it is told alone, must always be right. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "server/imap/imap_int.h"
#include "store/message.h"
#include "tests/server/mailbox_house.h"

enum { MODEL_MAX = 512, STEPS = 400 };

/* What the client believes. */
static struct {
	uint32_t uids[MODEL_MAX + 1]; /* by number; 0: not told yet */
	uint32_t count;
	bool may_shrink; /* the command at hand allows EXPUNGE */
	unsigned expunges, fetches, vanished;
} model;
static uint32_t seed;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return n ? (seed >> 8) % n : 0;
}

static struct imap_session *session(void)
{
	return house_session();
}

/* --- The client's side -------------------------------------------------------------------------- */

static void hear_expunge(unsigned seq)
{
	cr_assert(model.may_shrink, "EXPUNGE where it is not allowed");
	cr_assert(seq >= 1 && seq <= model.count, "EXPUNGE %u of %u", seq, model.count);
	memmove(&model.uids[seq], &model.uids[seq + 1],
		(model.count - seq) * sizeof(model.uids[0]));
	model.count--;
	model.expunges++;
}

static void hear_fetch(unsigned seq, slice line)
{
	ptrdiff_t at = slice_search(line, SLICE("UID "));
	uint32_t uid = at < 0 ? 0 : (uint32_t)strtoul(line.ptr + at + 4, NULL, 10);

	cr_assert(seq >= 1 && seq <= model.count, "FETCH %u of %u", seq, model.count);
	cr_assert(uid, "a FETCH without its UID: %.*s", SLICE_ARG(line));
	cr_assert(!model.uids[seq] || model.uids[seq] == uid, "%u was %u and is %u", seq,
		model.uids[seq], uid);
	model.uids[seq] = uid;
	model.fetches++;
}

static void hear_vanished(const char *text)
{
	while (*text >= '0' && *text <= '9') {
		char *end;
		uint32_t first = (uint32_t)strtoul(text, &end, 10), last = first;

		if (*end == ':')
			last = (uint32_t)strtoul(end + 1, &end, 10);
		for (uint32_t uid = first; uid <= last; uid++)
			for (unsigned seq = 1; seq <= model.count; seq++)
				if (model.uids[seq] == uid)
					hear_expunge(seq);
		text = *end == ',' ? end + 1 : end;
		model.vanished++;
	}
}

static void hear(slice line)
{
	unsigned number = 0;
	char word[16] = "", text[4096];

	snprintf(text, sizeof(text), "%.*s", SLICE_ARG(line));
	if (!strncmp(text, "* VANISHED ", 11))
		hear_vanished(text + 11);
	if (sscanf(text, "* %u %15s", &number, word) != 2)
		return;
	if (!strcmp(word, "EXPUNGE"))
		hear_expunge(number);
	else if (!strcmp(word, "FETCH"))
		hear_fetch(number, line);
	else if (!strcmp(word, "EXISTS")) {
		cr_assert(number >= model.count && number <= MODEL_MAX);
		memset(&model.uids[model.count + 1], 0,
			(number - model.count) * sizeof(model.uids[0]));
		model.count = number;
	}
}

static void say(const char *command, bool may_shrink)
{
	char text[128];
	slice replies, line;

	model.may_shrink = may_shrink;
	snprintf(text, sizeof(text), "t %s\r\n", command);
	house_send(slice_str(text));
	replies = house_replies();
	while (slice_cut(&replies, '\n', &line)) {
		cr_assert(!slice_starts(line, SLICE("t BAD")), "%s: %.*s", command,
			SLICE_ARG(line));
		hear(line);
	}
	cr_assert_eq(imap_seq_count(session()), model.count, "after %s", command);
	for (unsigned seq = 1; seq <= model.count; seq++) {
		uint32_t uid = imap_seq_to_uid(session(), seq);

		cr_assert_eq(imap_uid_to_seq(session(), uid), seq);
		cr_assert(!model.uids[seq] || model.uids[seq] == uid);
		if (imap_is(session(),
			    IMAP_EN_QRESYNC)) /* who lives by uids asks for them at once */
			model.uids[seq] = uid;
	}
}

/* --- The others' side --------------------------------------------------------------------------- */

static void expunge(uint32_t first, uint32_t last)
{
	mailbox_house_expunge(first, last, NULL);
}

static void flag(uint32_t first, uint32_t last)
{
	struct runs uids = { 0 };
	struct message_store args = { .account = mailbox_house_account(),
		.mailbox = MAILBOX_INBOX,
		.uids = &uids,
		.mode = below(2) ? MESSAGE_ADD : MESSAGE_REMOVE,
		.flags = MESSAGE_SEEN };
	bool good = runs_add_range(&uids, first, last) &&
		message_store(house.door.store, &args, NULL) == OK;

	cr_assert(good);
	runs_done(&uids);
}

static void change(void)
{
	uint32_t top = session()->box->view->uid_next;
	uint32_t first = 1 + below(top), last = first + below(4);

	switch (below(5)) {
	case 0:
		expunge(first, last);
		break;
	case 1:
		flag(first, last);
		break;
	default:
		if (model.count < MODEL_MAX / 2)
			house_deliver(SLICE("Subject: x\r\n\r\n"));
	}
	cr_assert_eq(store_sync_all(house.door.store, mailbox_house_account()), OK);
	session()->box->view->stale = true; /* no worker calls the watch here */
}

static void ask(void)
{
	char text[64];

	switch (below(4)) {
	case 0:
		say("NOOP", true);
		break;
	case 1:
		say("UID FETCH 1:* (UID)", true);
		break;
	default:
		if (!model.count)
			return;
		snprintf(text, sizeof(text), "FETCH %u (UID)", 1 + below(model.count));
		say(text, false);
	}
}

static void run(uint32_t from, const char *enable)
{
	seed = from;
	memset(&model, 0, sizeof(model));
	house_open(SERVICE_IMAP, "imap: { plain_login: true }\n");
	house_connect("127.0.0.1");
	house_send(SLICE("l LOGIN alice@own.test secret\r\n"));
	house_send(slice_str(enable));
	house_replies();
	model.may_shrink = true;
	say("SELECT INBOX", true);
	for (int i = 0; i < STEPS; i++) {
		for (uint32_t changes = below(4); changes; changes--)
			change();
		ask();
	}
	/* With all told, both sides agree to the last number. */
	say("NOOP", true);
	say("UID FETCH 1:* (UID)", true);
	cr_assert_eq(session()->box->pending.count, 0u);
	for (unsigned seq = 1; seq <= model.count; seq++)
		cr_assert_eq(model.uids[seq], runs_nth(&session()->box->view->uids, seq));
	cr_assert(model.expunges > 10 && model.fetches > 10);
	house_close();
}

Test(imap_view, a_client_that_hears_all_is_never_wrong)
{
	log_set_level(LOG_ERROR);
	for (uint32_t i = 1; i <= 4; i++)
		run(i, "e ENABLE CONDSTORE\r\n");
	house_done();
}

Test(imap_view, the_same_by_vanished)
{
	log_set_level(LOG_ERROR);
	run(5, "e ENABLE QRESYNC\r\n");
	cr_assert(model.vanished > 10);
	house_done();
}

/* --- QRESYNC at SELECT (RFC 7162 3.2.5) --- */

Test(imap_view, resync_tells_what_happened_since)
{
	unsigned long long highest = 0, validity = 0;
	char text[128];
	slice got;
	ptrdiff_t at;

	log_set_level(LOG_ERROR);
	house_open(SERVICE_IMAP, "imap: { plain_login: true }\n");
	for (int i = 0; i < 10; i++)
		house_deliver(SLICE("Subject: x\r\n\r\n"));
	house_connect("127.0.0.1");
	house_send(
		SLICE("l LOGIN alice@own.test secret\r\ne ENABLE QRESYNC\r\ns SELECT INBOX\r\n"));
	got = house_replies();
	at = slice_search(got, SLICE("HIGHESTMODSEQ "));
	cr_assert(at > 0 && sscanf(got.ptr + at, "HIGHESTMODSEQ %llu", &highest) == 1);
	at = slice_search(got, SLICE("UIDVALIDITY "));
	cr_assert(at > 0 && sscanf(got.ptr + at, "UIDVALIDITY %llu", &validity) == 1);
	house_send(SLICE("u UNSELECT\r\n"));
	expunge(3, 4);
	flag(7, 7);
	seed = 1;
	flag(8, 8);
	house_deliver(SLICE("Subject: x\r\n\r\n"));
	house_replies();
	snprintf(text, sizeof(text), "r SELECT INBOX (QRESYNC (%llu %llu))\r\n", validity, highest);
	house_send(slice_str(text));
	got = house_replies();
	cr_assert(slice_search(got, SLICE("* VANISHED (EARLIER) 3:4\r\n")) > 0, "%.*s",
		SLICE_ARG(got));
	cr_assert(slice_search(got, SLICE("* 9 EXISTS\r\n")) >= 0);
	cr_assert(slice_search(got, SLICE("* 9 FETCH (UID 11 MODSEQ (")) > 0);
	cr_assert(slice_search(got, SLICE("* 1 FETCH")) < 0);
	snprintf(text, sizeof(text), "q SELECT INBOX (QRESYNC (%llu %llu 1:3))\r\n", validity,
		highest);
	house_send(slice_str(text));
	got = house_replies();
	cr_assert(slice_search(got, SLICE("* VANISHED (EARLIER) 3\r\n")) > 0);
	cr_assert(slice_search(got, SLICE("FETCH (UID")) < 0);
	snprintf(text, sizeof(text), "v SELECT INBOX (QRESYNC (%llu %llu))\r\n", validity + 1,
		highest);
	house_send(slice_str(text));
	cr_assert(slice_search(house_replies(), SLICE("VANISHED")) < 0, "another mailbox");
	house_close();
	house_done();
}
