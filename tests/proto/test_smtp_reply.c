/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies in every division, enhanced codes, rendering, and EHLO capabilities. */
#include "proto/smtp/reply.h"

#include "proto/sasl/sasl.h"
#include "proto/smtp/command.h"
#include "proto/smtp/limits.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>

struct reader {
	struct smtp_replies replies;
	char text[64];
};

static void begin(void *state, const void *arg)
{
	struct reader *r = state;

	(void)arg;
	smtp_replies_init(&r->replies, r->text, sizeof(r->text));
}

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct reader *r = state;
	struct smtp_reply_line line;
	struct smtp_reply reply;
	size_t used = 0;
	enum step step = last ? STEP_MORE : smtp_reply_line(in, &used, &line);

	if (step == STEP_MORE)
		return last ? FEED_STOP : 0;
	if (step == STEP_DONE) {
		step = smtp_replies_add(&r->replies, &line, &reply);
		if (step == STEP_MORE)
			return used;
	}
	if (step != STEP_DONE) {
		out_str(o, step == STEP_BAD ? "bad" : "long");
		return FEED_STOP;
	}
	out_printf(o, "%d %d.%d.%d [%.*s]%s ", reply.code, reply.status.class, reply.status.subject,
		reply.status.detail, SLICE_ARG(reply.text), reply.cut ? " cut" : "");
	return used;
}

static const struct feed_parser parser = {
	.name = "smtp_reply",
	.state_size = sizeof(struct reader),
	.init = begin,
	.take = take,
};

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

		cr_assert(feed_all_ways(&parser, NULL, rows[i].in, &seen), "%zu", i);
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

Test(smtp_reply, status)
{
	struct smtp_status s;

	cr_assert(smtp_status_parse(SLICE("5.7.26"), &s) && s.class == 5 && s.subject == 7 &&
		s.detail == 26);
	static const char *const bad[] = { "", "5", "5.7", "5.7.", "3.0.0", "1.0.0", "5.7.26 ",
		"5.7.1000", "55.0.0", "5..0" };

	for (size_t i = 0; i < array_len(bad); i++)
		cr_assert_not(smtp_status_parse(slice_str(bad[i]), &s), "%s", bad[i]);
}

Test(smtp_reply, rendering)
{
	struct out o = out_heap(10000);

	smtp_put_reply(&o, 250, SMTP_STATUS(2, 1, 5), SLICE("fine"));
	smtp_put_reply(&o, 250, (struct smtp_status){ 0 }, SLICE("mx\nPIPELINING\nSIZE 10"));
	smtp_put_reply(&o, 550, SMTP_STATUS(5, 7, 1), SLICE("a\r\nb\tc"));
	smtp_put_reply(&o, 354, (struct smtp_status){ 0 }, SLICE(""));
	cr_assert(slice_eq(out_written(&o),
			  SLICE("250 2.1.5 fine\r\n250-mx\r\n250-PIPELINING\r\n250 SIZE 10\r\n"
				"550-5.7.1 a \r\n550 5.7.1 b c\r\n354 \r\n")),
		"%.*s", SLICE_ARG(out_written(&o)));
	out_heap_done(&o);
}

Test(smtp_reply, long_text_is_parted_below_512_bytes)
{
	struct out o = out_heap(100000);
	char text[3000];
	slice in, line;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa4", 2);
	smtp_put_reply(&o, 550, SMTP_STATUS(5, 1, 1), slice_of(text, sizeof(text)));
	in = out_written(&o);
	while (slice_cut(&in, '\n', &line)) {
		cr_assert_leq(line.len + 1, SMTP_REPLY_MAX);
		cr_assert_eq(line.ptr[3], in.len ? '-' : ' ');
		cr_assert_eq((line.len - sizeof("550-5.1.1 \r") + 1) % 2, 0, "no character is cut");
		n++;
	}
	cr_assert_gt(n, 5);
	out_heap_done(&o);
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
