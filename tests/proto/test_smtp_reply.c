/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies in every division, enhanced codes, and EHLO capabilities. */
#include "proto/smtp/reply.h"

#include "proto/sasl/sasl.h"
#include "proto/smtp/command.h"
#include "proto/smtp/limits.h"
#include "tests/support/proto_feeds.h"

#include <criterion/criterion.h>

static const struct {
	slice in;
	const char *want;
} rows[] = {
	{ SLICE_INIT("250 ok\r\n"), "250 0.0.0 [ok] " },
	{ SLICE_INIT("250\r\n250 \r\n250-\r\n250\r\n"),
		"250 0.0.0 [] 250 0.0.0 [] 250 0.0.0 [\n] " },
	{ SLICE_INIT("250 2.1.5 fine\n"), "250 2.1.5 [fine] " },
	{ SLICE_INIT("550-5.7.26 a\r\n550-5.7.26  b\r\n550 5.7.26 c\r\n421 4.4.2 bye\r\n"),
		"550 5.7.26 [a\nb\nc] 421 4.4.2 [bye] " },
	{ SLICE_INIT("250 4.1.5 not ours\r\n"), "250 0.0.0 [4.1.5 not ours] " },
	{ SLICE_INIT("550 5.1.1234 no\r\n"), "550 0.0.0 [5.1.1234 no] " },
	{ SLICE_INIT("550 5.1.1\r\n"), "550 5.1.1 [] " },
	{ SLICE_INIT("550 a\rb\0c\x7f\r\n"), "550 0.0.0 [a b c ] " },
	{ SLICE_INIT("250-a\r\n251 b\r\n"), "bad" },
	{ SLICE_INIT("199 a\r\n"), "bad" },
	{ SLICE_INIT("600 a\r\n"), "bad" },
	{ SLICE_INIT("25 a\r\n"), "bad" },
	{ SLICE_INIT("250ok\r\n"), "bad" },
	{ SLICE_INIT("\r\n"), "bad" },
	{ SLICE_INIT(
		  "250 0123456789012345678901234567890123456789012345678901234567890123456789\r\n"),
		"250 0.0.0 [0123456789012345678901234567890123456789012345678901234567890123] "
		"cut " },
};

Test(smtp_reply, reading_in_every_division)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		struct out seen = out_heap(10000);

		cr_assert(feed_all_ways(&feed_smtp_replies, NULL, rows[i].in, &seen), "%zu", i);
		cr_assert(slice_eq(out_written(&seen), slice_str(rows[i].want)), "%zu: %.*s", i,
			SLICE_ARG(out_written(&seen)));
		out_heap_done(&seen);
	}
}

Test(smtp_reply, lines_and_their_number_are_bounded)
{
	static char text[SMTP_REPLY_ACCEPT_MAX + 10];
	struct smtp_reply_line line = { .code = 250, .last = false };
	struct smtp_replies r;
	struct smtp_reply reply;
	size_t used;
	int n = 0;

	memset(text, '2', sizeof(text));
	cr_assert_eq(smtp_reply_line(slice_of(text, SMTP_REPLY_ACCEPT_MAX - 1), &used, &line),
		STEP_MORE);
	cr_assert_eq(smtp_reply_line(slice_of(text, sizeof(text)), &used, &line), STEP_TOO_LONG);
	smtp_replies_init(&r, NULL, 0);
	while (smtp_replies_add(&r, &line, &reply) == STEP_MORE)
		n++;
	cr_assert_eq(n, SMTP_REPLY_LINES_MAX);
}

Test(smtp_reply, capabilities)
{
	static const char *const lines[] = { "PIPELINING", "size 52428800", "8bitmime",
		"AUTH PLAIN XOAUTH2 LOGIN", "AUTH=SCRAM-SHA-256", "STARTTLS", "CHUNKING",
		"BINARYMIME", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES",
		"LIMITS MAILMAX=100 RCPTMAX=50 FOO=1 RCPTDOMAINMAX=x", "X-WHATEVER", "" };
	struct smtp_caps caps = { 0 };

	for (size_t i = 0; i < array_len(lines); i++)
		smtp_caps_add(&caps, slice_str(lines[i]));
	cr_assert(caps.size_bytes == 52428800 && caps.mail_max == 100 && caps.rcpt_max == 50);
	cr_assert_eq(caps.rcpt_domain_max, 0);
	cr_assert_eq(caps.mechanisms, SASL_PLAIN | SASL_LOGIN | SASL_SCRAM_SHA_256);
	cr_assert_eq(caps.flags & SMTP_CAP_REQUIRETLS, 0);
	cr_assert_eq(smtp_caps_params(&caps),
		SMTP_P_SIZE | SMTP_P_8BIT | SMTP_P_BINARY | SMTP_P_DSN | SMTP_P_SMTPUTF8 |
			SMTP_P_AUTH);
	caps.flags &= ~(unsigned)SMTP_CAP_CHUNKING;
	cr_assert_eq(smtp_caps_params(&caps) & SMTP_P_BINARY, 0);
}
