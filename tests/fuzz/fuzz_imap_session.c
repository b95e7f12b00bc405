/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_imap_session.c - dialogues whole, line by line and cut at random, against a session around a
 * real store.
 *
 * The first byte picks the door and what came before (login, SELECT, ENABLE), the second seeds the cuts.
 * Oracle: the answers are the same however the bytes come, but for numbers that a second account has of
 * its own; every answer is made of whole lines; the session holds nothing between two commands; the
 * house checks leaks. */
#include <stdint.h>
#include <stdlib.h>

#include "core/log.h"
#include "server/imap/imap_int.h"
#include "tests/server/mailbox_house.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const ways[] = {
	"",
	"l LOGIN alice@own.test secret\r\n",
	"l LOGIN alice@own.test secret\r\ns SELECT INBOX\r\n",
	"l LOGIN alice@own.test secret\r\ne ENABLE IMAP4rev2 QRESYNC\r\ns SELECT INBOX\r\n",
};

/* Nothing is kept for a session that waits for a command. */
static void check_idle(void)
{
	const struct imap_session *s = house_session();

	if (s && (s->input == IMAP_IN_COMMAND || s->input == IMAP_IN_IDLE) && !s->run)
		must(!s->arena.chunk);
}

/* Digits say when and where, which differs from run to run. */
static void add_plain(struct out *o, slice replies)
{
	for (size_t i = 0; i < replies.len; i++) {
		char c = replies.ptr[i];
		bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');

		if (!hex)
			out_char(o, c);
	}
}

static void look(void *replies, slice more)
{
	check_idle();
	add_plain(replies, more);
}

static void run(const uint8_t *how, slice bytes, enum feed_cut cut, struct out *replies)
{
	struct mailbox_house_play play = {
		.cut = cut, .seed = how[1], .look = look, .arg = replies
	};

	house_open(how[0] & 4 ? SERVICE_IMAPS : SERVICE_IMAP,
		"imap: { plain_login: true, line: 8K, literal: 4K, terms: 100, append: 64K }\n");
	house_deliver(SLICE("Subject: one\r\nFrom: a@b.test\r\n\r\nbody\r\n"));
	house_deliver(SLICE("Subject: two\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
			    "--x\r\n\r\npart\r\n--x--\r\n"));
	house_connect("127.0.0.1");
	house_send(slice_str(ways[how[0] & 3]));
	mailbox_house_play(bytes, &play);
	house_close();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct out replies[3];

	log_set_level(LOG_ERROR);
	if (len < 2 || len > 4096)
		return 0;
	for (int cut = FEED_WHOLE; cut <= FEED_INSIDE_LINES; cut++) {
		slice got;

		replies[cut] = out_heap(64 << 20);
		run(data, slice_of(data + 2, len - 2), (enum feed_cut)cut, &replies[cut]);
		got = out_written(&replies[cut]);
		must(got.len >= 2 && got.ptr[got.len - 1] == '\n' && got.ptr[got.len - 2] == '\r');
	}
	must(slice_eq(out_written(&replies[FEED_LINES]), out_written(&replies[FEED_INSIDE_LINES])));
	for (int cut = FEED_WHOLE; cut <= FEED_INSIDE_LINES; cut++)
		out_heap_done(&replies[cut]);
	return 0;
}
