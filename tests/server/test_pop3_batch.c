/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_pop3_batch.c - commands pipelined in any mix are answered byte for byte as one at a time: over
 * the ends of lookups, pieces and batches, with dots, long bodies, marks and messages that went. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/runs.h"
#include "core/log.h"
#include "store/message.h"
#include "store/store.h"
#include "tests/server/mailbox_house.h"

enum { MESSAGES = 90, MIXES = 40, COMMANDS_MAX = 600, LONG = 200 * 1000 };

static uint32_t seed;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(seed >> 8) * n) >> 24);
}

/* Lines of letters, dots and bare line ends. */
static slice make_message(struct out *o, size_t len)
{
	static const char *const bits[] = { "abcdefgh", ".", "\r\n", "\r\n.", "\n.", "\r",
		"..\r\n" };

	o->len = 0;
	out_str(o, "Subject: x\r\nFrom: a@b.test\r\n\r\n");
	while (o->len < len)
		out_str(o, bits[below(3) ? 0 : below(array_len(bits))]);
	if (below(2))
		out_str(o, "\r\n");
	return out_written(o);
}

static void furnish(void)
{
	struct out o = out_heap(LONG * 2);

	log_set_level(LOG_ERROR);
	house_open(SERVICE_POP3, "pop3: { plain_login: true, errors: 10000 }\n");
	for (unsigned i = 0; i < MESSAGES; i++)
		house_deliver(make_message(&o, i % 30 == 7 ? LONG : 10 + below(i % 3 ? 6000 : 60)));
	out_heap_done(&o);
}

static void log_in(void)
{
	house_connect("127.0.0.1");
	house_send(SLICE("USER alice@own.test\r\nPASS secret\r\n"));
	house_replies();
}

/* One in eight names no message. */
static void put_command(struct out *o)
{
	static const char *const verbs[] = { "RETR %u", "RETR %u", "RETR %u", "TOP %u 3",
		"TOP %u 0", "DELE %u", "LIST %u", "UIDL %u", "UIDL", "LIST", "NOOP", "STAT", "RSET",
		"RETR", "DELE x", "CAPA", "FOO" };
	uint32_t kind = below(6) ? below(3) : below(array_len(verbs));
	uint32_t number = below(8) ? 1 + below(MESSAGES) : MESSAGES + below(3);

	for (const char *p = verbs[kind]; *p; p++)
		if (p[0] == '%' && p[1] == 'u') {
			out_uint(o, number);
			p++;
		} else {
			out_char(o, *p);
		}
	out_str(o, "\r\n");
}

/* What is said to `dialogue`, in pieces of `at_once` lines. */
static void play(slice dialogue, uint32_t at_once, struct out *replies)
{
	struct out piece = out_heap(1 << 20);
	uint32_t lines = 0;
	slice line;

	replies->len = 0;
	log_in();
	while (slice_cut(&dialogue, '\n', &line)) {
		out_slice(&piece, line);
		out_char(&piece, '\n');
		if (++lines % at_once && dialogue.len)
			continue;
		house_send(out_written(&piece));
		piece.len = 0;
		out_slice(replies, house_replies());
		cr_assert(!house_closed());
	}
	house_hang_up();
	out_heap_done(&piece);
}

Test(pop3_batch, any_mix_is_answered_as_one_at_a_time, .timeout = 100)
{
	static const uint32_t sizes[] = { COMMANDS_MAX, 7, 64, 257 };
	struct out dialogue = out_heap(1 << 20), one = out_heap(64 << 20),
		   many = out_heap(64 << 20);

	seed = 4711;
	furnish();
	for (unsigned mix = 0; mix < MIXES; mix++) {
		uint32_t count = 1 + below(mix % 4 ? 40 : COMMANDS_MAX / 2);

		dialogue.len = 0;
		while (count--)
			put_command(&dialogue);
		play(out_written(&dialogue), 1, &one);
		play(out_written(&dialogue), sizes[mix % array_len(sizes)], &many);
		cr_assert(one.len > 0);
		cr_assert(slice_eq(out_written(&one), out_written(&many)), "mix %u:\n%.*s", mix,
			SLICE_ARG(out_written(&dialogue)));
	}
	out_heap_done(&dialogue);
	out_heap_done(&one);
	out_heap_done(&many);
	house_close();
	house_done();
}

static void remove_message(uint32_t uid)
{
	modseq pos;

	cr_assert_eq(mailbox_house_expunge(uid, uid, &pos), 1u);
	cr_assert_eq(store_sync(house.door.store, mailbox_house_account(), pos), OK);
}

static slice next_line(slice *replies)
{
	slice line = { 0 };

	cr_assert(slice_cut(replies, '\n', &line));
	return line;
}

Test(pop3_batch, what_another_session_removed_is_refused_in_its_place)
{
	slice got;

	furnish();
	log_in();
	remove_message(2);
	house_send(
		SLICE("LIST 1\r\nRETR 2\r\nDELE 2\r\nUIDL 2\r\nSTAT\r\nDELE 1\r\nRETR 1\r\nRSET\r\n"
		      "LIST 1\r\nDELE 3\r\nQUIT\r\n"));
	got = house_replies();
	cr_expect(slice_starts(next_line(&got), SLICE("+OK 1 ")));
	for (int i = 0; i < 3; i++)
		cr_expect(slice_starts(next_line(&got), SLICE("-ERR [SYS/PERM] ")));
	cr_expect(slice_starts(next_line(&got), SLICE("+OK 90 ")));
	cr_expect(slice_eq(next_line(&got), SLICE("+OK\r")));
	cr_expect(slice_eq(next_line(&got), SLICE("-ERR No such message\r")));
	cr_expect(slice_eq(next_line(&got), SLICE("+OK\r")));
	cr_expect(slice_starts(next_line(&got), SLICE("+OK 1 ")));
	cr_expect(slice_eq(next_line(&got), SLICE("+OK\r")));
	cr_expect(slice_starts(next_line(&got), SLICE("+OK Goodbye")));
	log_in();
	house_send(SLICE("STAT\r\n"));
	got = house_replies();
	cr_expect(slice_starts(got, SLICE("+OK 88 ")), "%.*s", SLICE_ARG(got));
	house_close();
	house_done();
}
