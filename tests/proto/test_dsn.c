/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_dsn.c - reports have the form of RFC 3464 and 6533, and let nothing foreign out. */
#include "core/base/text.h"
#include "proto/mime/dsn.h"
#include "proto/mime/part.h"

#include <criterion/criterion.h>

static struct arena arena;

static slice render(const struct dsn *d, slice original)
{
	struct out o = out_arena(&arena);

	dsn_put_head(d, &o);
	out_slice(&o, original);
	dsn_put_tail(d, &o);
	cr_assert(out_ok(&o));
	return out_written(&o);
}

static struct dsn base(const struct dsn_rcpt *rcpts, size_t count)
{
	return (struct dsn){ .hostname = SLICE("mx.example.org"),
		.to = SLICE("ann@example.org"),
		.message_id = SLICE("<1@mx.example.org>"),
		.boundary = SLICE("b0"),
		.now = 1700000000000,
		.arrival = 1699990000000,
		.rcpts = rcpts,
		.rcpt_count = count };
}

/* The structure and the bytes of one part. */
static slice walk(slice message, unsigned wanted, struct out *types)
{
	static const struct part_limits none;
	struct part_walker w;
	struct out body = out_arena(&arena);
	slice bytes;
	enum part_event event;

	part_init(&w, &none);
	while ((event = part_next(&w, &message, true, &bytes)) != PART_DONE) {
		cr_assert_neq(event, PART_LIMIT);
		if (event == PART_HEADER)
			out_printf(types, "%.*s/%.*s ", SLICE_ARG(w.part.type.type),
				SLICE_ARG(w.part.type.subtype));
		if (event == PART_BODY && w.part.number == wanted)
			out_slice(&body, bytes);
	}
	part_done(&w);
	return out_written(&body);
}

#define ORIGINAL "From: ann@example.org\r\nSubject: hi\r\n\r\nbody\r\n"

Test(dsn, failed_with_everything)
{
	struct dsn_rcpt rcpt = { .original = SLICE("rfc822;Bob@example.net"),
		.final = SLICE("bob@example.net"),
		.action = DSN_FAILED,
		.status = SLICE("5.1.1"),
		.remote_mta = SLICE("mx.example.net"),
		.diagnostic = SLICE("550-5.1.1 no such\r\n550 5.1.1 user"),
		.last_attempt = 1700000000000 };
	struct dsn d = base(&rcpt, 1);
	char types[256];
	struct out o = out_fixed(types, sizeof(types));

	d.envid = SLICE("QQ314159");
	d.return_full = true;
	slice message = render(&d, SLICE(ORIGINAL));
	slice status = walk(message, 2, &o);

	cr_expect(slice_eq(out_written(&o),
			  SLICE("multipart/report text/plain "
				"message/delivery-status message/rfc822 text/plain ")),
		"%.*s", SLICE_ARG(out_written(&o)));
	cr_expect(slice_eq(status,
			  SLICE("Original-Envelope-Id: QQ314159\r\n"
				"Reporting-MTA: dns; mx.example.org\r\n"
				"Arrival-Date: Tue, 14 Nov 2023 19:26:40 +0000\r\n"
				"\r\n"
				"Original-Recipient: rfc822; Bob@example.net\r\n"
				"Final-Recipient: rfc822; bob@example.net\r\n"
				"Action: failed\r\n"
				"Status: 5.1.1\r\n"
				"Remote-MTA: dns; mx.example.net\r\n"
				"Diagnostic-Code: smtp; 550-5.1.1 no such 550 5.1.1 user\r\n"
				"Last-Attempt-Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n")),
		"%.*s", SLICE_ARG(status));
	cr_expect(slice_search(message, SLICE("\r\n\r\n" ORIGINAL "\r\n--b0--\r\n")) > 0);
	cr_expect(slice_search(message, SLICE("Auto-Submitted: auto-replied\r\n")) > 0);
	cr_expect(slice_search(message, SLICE("From: Mail Delivery System <MAILER-DAEMON@mx.")) ==
		0);
	arena_done(&arena);
}

Test(dsn, actions_have_their_fields)
{
	static const struct {
		enum dsn_action action;
		const char *name, *subject, *status;
		bool until;
	} rows[] = {
		{ DSN_FAILED, "failed", "Undelivered mail", "5.0.0", false },
		{ DSN_DELAYED, "delayed", "Delayed mail", "4.0.0", true },
		{ DSN_DELIVERED, "delivered", "Delivered mail", "2.0.0", false },
		{ DSN_RELAYED, "relayed", "Relayed mail", "2.0.0", false },
		{ DSN_EXPANDED, "expanded", "Delivered mail", "2.0.0", false },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct dsn_rcpt rcpt = { .final = SLICE("b@x"),
			.action = rows[i].action,
			.will_retry_until = 1700000000000 };
		struct dsn d = base(&rcpt, 1);
		slice m = render(&d, SLICE("From: a\r\n\r\n"));
		slice action = arena_printf(&arena, "\r\nAction: %s\r\nStatus: %s\r\n",
			rows[i].name, rows[i].status);
		slice subject = arena_printf(&arena, "\r\nSubject: %s\r\n", rows[i].subject);

		cr_expect(slice_search(m, action) > 0, "%s", rows[i].name);
		cr_expect(slice_search(m, subject) > 0, "%s", rows[i].name);
		cr_expect_eq(slice_search(m, SLICE("\r\nWill-Retry-Until: ")) > 0, rows[i].until);
		cr_expect(slice_search(m, SLICE("Content-Type: text/rfc822-headers\r\n")) > 0);
	}
	arena_done(&arena);
}

Test(dsn, worst_news_gives_the_subject)
{
	struct dsn_rcpt rcpts[] = { { .final = SLICE("a@x"), .action = DSN_DELIVERED },
		{ .final = SLICE("b@x"), .action = DSN_FAILED } };
	struct dsn d = base(rcpts, 2);
	slice m = render(&d, SLICE(""));

	cr_expect(slice_search(m, SLICE("Subject: Undelivered mail\r\n")) > 0);
	cr_expect(slice_search(m, SLICE("Action: delivered")) > 0);
	cr_expect(slice_search(m, SLICE("Action: failed")) > 0);
	arena_done(&arena);
}

Test(dsn, utf8_form_of_rfc6533)
{
	struct dsn_rcpt rcpt = { .final = SLICE("j\303\266@x.example"),
		.action = DSN_FAILED,
		.diagnostic = SLICE("550 nicht m\303\266glich") };
	struct dsn d = base(&rcpt, 1);
	char types[256];
	struct out o = out_fixed(types, sizeof(types));

	d.utf8 = d.return_full = true;
	slice m = render(&d, SLICE(ORIGINAL)), status = walk(m, 2, &o);

	cr_expect(slice_eq(out_written(&o),
			  SLICE("multipart/report text/plain "
				"message/global-delivery-status message/global ")),
		"%.*s", SLICE_ARG(out_written(&o)));
	cr_expect(slice_search(status, SLICE("Final-Recipient: utf-8; j\303\266@x.example\r\n")) >
		0);
	cr_expect(slice_search(status, SLICE("smtp; 550 nicht m\303\266glich\r\n")) > 0);
	cr_expect(dsn_is_8bit(&d));
	arena_done(&arena);
}

Test(dsn, ascii_report_stays_ascii)
{
	struct dsn_rcpt rcpt = { .original = SLICE("utf-8;j\303\266@x"),
		.final = SLICE("j\303\266@x"),
		.action = DSN_FAILED,
		.diagnostic = SLICE("550 m\303\266glich\001\r\nX: y"),
		.remote_mta = SLICE("mx\r\nEvil: yes"),
		.explanation = SLICE("\303\266") };
	struct dsn d = base(&rcpt, 1);

	d.subject = SLICE(" =?utf-8?q?J=C3=B6rg?=");
	slice m = render(&d, SLICE(ORIGINAL));

	cr_expect(text_is_ascii(m));
	cr_expect(slice_search(m, SLICE("Original-Recipient: utf-8; j\\x{F6}@x\r\n")) > 0);
	cr_expect(slice_search(m, SLICE("Final-Recipient: utf-8; j\\x{F6}@x\r\n")) > 0);
	cr_expect(slice_search(m, SLICE("Diagnostic-Code: smtp; 550 m??glich  X: y\r\n")) > 0,
		"%.*s", SLICE_ARG(m));
	cr_expect(slice_search(m, SLICE("\nEvil:")) < 0);
	cr_expect(slice_search(m, SLICE("J=C3=B6rg")) > 0);
	arena_done(&arena);
}

/* A server that talks for ever makes no line too long for SMTP. */
Test(dsn, long_replies_are_folded)
{
	static char words[20000], one[20000];
	struct dsn_rcpt rcpts[] = { { .final = SLICE("b@x"), .action = DSN_FAILED },
		{ .final = SLICE("c@x"), .action = DSN_FAILED } };
	struct dsn d = base(rcpts, 2);
	slice rest, line;

	memset(words, 'w', sizeof(words));
	memset(one, 'o', sizeof(one));
	for (size_t i = 7; i < sizeof(words); i += 8)
		words[i] = ' ';
	rcpts[0].diagnostic = slice_of(words, sizeof(words));
	rcpts[1].diagnostic = slice_of(one, sizeof(one));
	for (rest = render(&d, SLICE(ORIGINAL)); slice_cut(&rest, '\n', &line);)
		cr_assert_leq(line.len, 999);
	arena_done(&arena);
}
