/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_pop3_session.c - dialogues whole, line by line and cut at random, against a session around a
 * real store.
 *
 * The first byte picks the door, the options and what came before; the second seeds the cuts. Oracle:
 * the answers are the same however the bytes come, but for the ids of a second account's messages
 * and STLS, which nothing may stand behind; every answer is made of whole lines and begins
 * as RFC 1939 3 says; the session holds nothing between two commands; the house checks leaks. */
#include <stdint.h>
#include <stdlib.h>

#include "core/log.h"
#include "server/pop3/pop3_int.h"
#include "tests/server/mailbox_house.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_idle(void)
{
	const struct pop3_session *s = house_session();

	must(!s || !s->work);
	must(!s || s->input != POP3_IN_LINE || !s->head.exchange);
	must(!s || !s->drop || s->drop->deleted_bytes <= s->drop->snap->bytes);
}

/* Ids say where something lies, which differs from run to run. */
static void add_plain(struct out *o, slice replies)
{
	slice line;

	while (slice_cut(&replies, '\n', &line)) {
		size_t space = (size_t)MAX(slice_rfind(line, ' '), (ptrdiff_t)0);
		bool id = space && line.len - space >= 17;

		out_slice(o, id ? slice_sub(line, 0, space) : line);
		out_str(o, id ? "\r\n" : "\n");
	}
}

static void look(void *replies, slice more)
{
	check_idle();
	add_plain(replies, more);
}

static void run(const uint8_t *how, slice bytes, enum feed_cut cut, struct out *replies)
{
	static const char *const options[] = { "pop3: { plain_login: true, line: 300 }\n", "",
		"pop3: { plain_login: true, errors: 3 }\n",
		"pop3: { plain_login: true, login_delay: 1h }\n" };
	struct mailbox_house_play play = {
		.cut = cut, .seed = how[1], .look = look, .arg = replies
	};

	house_open(how[0] & 4 ? SERVICE_POP3S : SERVICE_POP3, options[how[0] & 3]);
	house_deliver(SLICE("Subject: one\r\n\r\n.\r\n..x\r\nbody\r\n"));
	house_deliver(SLICE("Subject: two\r\n\r\nno end"));
	house_deliver(SLICE("three\r\n"));
	house_connect("127.0.0.1");
	if (how[0] & 8)
		house_send(SLICE("USER alice@own.test\r\nPASS secret\r\n"));
	mailbox_house_play(bytes, &play);
	house_close();
}

/* Nothing may stand behind STLS in its segment, so with it segments make a difference. */
static bool has_stls(slice bytes)
{
	slice line;

	while (slice_cut(&bytes, '\n', &line))
		if (line.len >= 4 && slice_eq_nocase(slice_sub(line, 0, 4), SLICE("STLS")))
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct out replies[3];
	slice bytes = slice_of(data + 2, len < 2 ? 0 : len - 2);

	log_set_level(LOG_ERROR);
	if (len < 2 || len > 4096)
		return 0;
	for (int cut = FEED_WHOLE; cut <= FEED_INSIDE_LINES; cut++) {
		slice got;

		replies[cut] = out_heap(64 << 20);
		run(data, bytes, (enum feed_cut)cut, &replies[cut]);
		got = out_written(&replies[cut]);
		must(slice_starts(got, SLICE("+OK ")));
		must(got.ptr[got.len - 1] == '\n' && got.ptr[got.len - 2] == '\r');
	}
	must(slice_eq(out_written(&replies[FEED_LINES]), out_written(&replies[FEED_INSIDE_LINES])));
	if (!has_stls(bytes))
		must(slice_eq(out_written(&replies[FEED_LINES]),
			out_written(&replies[FEED_WHOLE])));
	for (int cut = FEED_WHOLE; cut <= FEED_INSIDE_LINES; cut++)
		out_heap_done(&replies[cut]);
	return 0;
}
