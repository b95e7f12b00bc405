/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines in every division, arguments of every verb, and their rendering. */
#include "proto/smtp/command.h"

#include "proto/smtp/limits.h"
#include "tests/support/proto_feeds.h"

#include <criterion/criterion.h>

static const size_t line_max = 32;

static const struct {
	slice in;
	const char *want, *why;
} line_rows[] = {
	{ SLICE_INIT("NOOP\r\nQUIT\r\n"), "line NOOP\nline QUIT\nleft 0\n", "two lines" },
	{ SLICE_INIT("NOOP\nQUIT\r\nX"), "bad\nleft 1\n", "a bare LF ends nothing" },
	{ SLICE_INIT("NOOP\rQUIT\r\n"), "bad\nleft 0\n", "nor does a bare CR" },
	{ SLICE_INIT("\r\r\n\r\n"), "bad\nline \nleft 0\n", "CR CR LF" },
	{ SLICE_INIT("NO\0OP\r\nA\r\n"), "bad\nline A\nleft 0\n", "NUL" },
	{ SLICE_INIT("012345678901234567890123456789\r\nA\r\n"),
		"line 012345678901234567890123456789\nline A\nleft 0\n", "exactly the limit" },
	{ SLICE_INIT("0123456789012345678901234567890\r\nA\r\n"), "long\nline A\nleft 0\n",
		"one more" },
	{ SLICE_INIT("0123456789012345678901234567890123456789\n.......\r\r\nA\r\n"),
		"long\nline A\nleft 0\n", "far too long, with bad bytes" },
};

Test(smtp_command, lines_in_every_division)
{
	for (size_t i = 0; i < array_len(line_rows); i++) {
		struct out seen = out_heap(10000);

		cr_assert(feed_all_ways(&feed_smtp_lines, &line_max, line_rows[i].in, &seen), "%s",
			line_rows[i].why);
		cr_assert(slice_eq(out_written(&seen), slice_str(line_rows[i].want)), "%s: %.*s",
			line_rows[i].why, SLICE_ARG(out_written(&seen)));
		out_heap_done(&seen);
	}
}

Test(smtp_command, split)
{
	slice verb, rest;

	smtp_split(SLICE("MAIL  FROM:<>  \t"), &verb, &rest);
	cr_assert(slice_eq(verb, SLICE("MAIL")) && slice_eq(rest, SLICE("FROM:<>")));
	smtp_split(SLICE("quit "), &verb, &rest);
	cr_assert(slice_eq(verb, SLICE("quit")) && !rest.len);
	smtp_split(SLICE(" X"), &verb, &rest);
	cr_assert(!verb.len);
	smtp_split(SLICE(""), &verb, &rest);
	cr_assert(!verb.len && !rest.len);
}

enum { ALL = -1 };
#define NO_DSN ((unsigned)ALL & ~(unsigned)SMTP_P_DSN)

static const struct {
	const char *in, *out; /* rendered; NULL: refused */
	enum smtp_syntax want;
	unsigned allowed;
} mail_rows[] = {
	{ "FROM:<>", "FROM:<>", SMTP_SYNTAX_OK, ALL },
	{ "from: <a@x>", "FROM:<a@x>", SMTP_SYNTAX_OK, ALL },
	{ "FROM:<a@x> size=1000 body=8bitmime", "FROM:<a@x> SIZE=1000 BODY=8BITMIME",
		SMTP_SYNTAX_OK, ALL },
	{ "FROM:<a@x> BODY=BINARYMIME SMTPUTF8", "FROM:<a@x> BODY=BINARYMIME SMTPUTF8",
		SMTP_SYNTAX_OK, ALL },
	{ "FROM:<a@x>   RET=HDRS  ENVID=QQ314159", "FROM:<a@x> RET=HDRS ENVID=QQ314159",
		SMTP_SYNTAX_OK, ALL },
	{ "FROM:<e=mc2@example.com> AUTH=e+3Dmc2@example.com",
		"FROM:<e=mc2@example.com> AUTH=e+3Dmc2@example.com", SMTP_SYNTAX_OK, ALL },
	{ "FROM:<a@x> AUTH=<>", "FROM:<a@x> AUTH=<>", SMTP_SYNTAX_OK, ALL },
	{ "FROM:<a@x> HOLDFOR=86400", "FROM:<a@x> HOLDFOR=86400", SMTP_SYNTAX_OK, ALL },
	{ "FROM:<a@x> HOLDUNTIL=2026-11-21T09:55:06Z",
		"FROM:<a@x> HOLDUNTIL=2026-11-21T09:55:06.000Z", SMTP_SYNTAX_OK, ALL },
	{ "FROM:<a@x> MT-PRIORITY=-9", "FROM:<a@x> MT-PRIORITY=-9", SMTP_SYNTAX_OK, ALL },
	{ "FROM:<a@x> REQUIRETLS BY=120;R", "FROM:<a@x> REQUIRETLS BY=120;R", SMTP_SYNTAX_OK, ALL },
	{ "FROM:<a@x> BY=-60;nt", "FROM:<a@x> BY=-60;NT", SMTP_SYNTAX_OK, ALL },
	{ "TO:<a@x>", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM <a@x>", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@>", NULL, SMTP_SYNTAX_ADDRESS, ALL },
	{ "FROM:<postmaster>", NULL, SMTP_SYNTAX_ADDRESS, ALL },
	{ "FROM:<a@x>SIZE=1", NULL, SMTP_SYNTAX_ADDRESS, ALL },
	{ "FROM:<a@x> SIZE=1 SIZE=1", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> SIZE", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> SIZE=", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> SIZE=-1", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> SIZE=99999999999999999999", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> SMTPUTF8=1", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> BODY=9BIT", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> BODY=BINARYMIME", NULL, SMTP_SYNTAX_UNKNOWN, SMTP_P_8BIT },
	{ "FROM:<a@x> BODY=7BIT", NULL, SMTP_SYNTAX_UNKNOWN, SMTP_P_SIZE },
	{ "FROM:<a@x> XYZ=1", NULL, SMTP_SYNTAX_UNKNOWN, ALL },
	{ "FROM:<a@x> RET=HDRS", NULL, SMTP_SYNTAX_UNKNOWN, NO_DSN },
	{ "FROM:<a@x> RET=ALL", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> ENVID=+0A", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> ENVID=a+3", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> AUTH=x", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> X_Y=1", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> HOLDFOR=1 HOLDUNTIL=2026-11-21T09:55:06Z", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> MT-PRIORITY=10", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> BY=0;R", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> BY=5;X", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> BY=;R", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "FROM:<a@x> NOTIFY=NEVER", NULL, SMTP_SYNTAX_UNKNOWN, ALL },
};

static struct arena arena;

Test(smtp_command, mail)
{
	for (size_t i = 0; i < array_len(mail_rows); i++) {
		struct out o = out_arena(&arena);
		struct smtp_mail mail;
		enum smtp_syntax got = smtp_parse_mail(&arena, slice_str(mail_rows[i].in),
			mail_rows[i].allowed, &mail);

		cr_assert_eq(got, mail_rows[i].want, "%s: %d", mail_rows[i].in, (int)got);
		if (got != SMTP_SYNTAX_OK)
			continue;
		smtp_put_mail(&o, &mail, ALL);
		slice want = arena_printf(&arena, "MAIL %s\r\n", mail_rows[i].out);

		cr_assert(slice_eq(out_written(&o), want), "%.*s", SLICE_ARG(out_written(&o)));
	}
	arena_done(&arena);
}

static const struct {
	const char *in, *out;
	enum smtp_syntax want;
	unsigned allowed;
} rcpt_rows[] = {
	/* RFC 3461 10.2 */
	{ "TO:<Bob@Example.COM> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Example.COM",
		"TO:<Bob@Example.COM> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Example.COM", SMTP_SYNTAX_OK,
		ALL },
	{ "TO:<Dana@x> NOTIFY=success,FAILURE ORCPT=rfc822;Dana+2Bx@x",
		"TO:<Dana@x> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana+2Bx@x", SMTP_SYNTAX_OK, ALL },
	{ "TO:<postmaster>", "TO:<postmaster>", SMTP_SYNTAX_OK, ALL },
	{ "TO:<a@x> NOTIFY=NEVER", "TO:<a@x> NOTIFY=NEVER", SMTP_SYNTAX_OK, ALL },
	{ "TO:<a@x> ORCPT=utf-8;\\x{20AC}@x", "TO:<a@x> ORCPT=utf-8;\xe2\x82\xac@x", SMTP_SYNTAX_OK,
		ALL },
	{ "TO:<>", NULL, SMTP_SYNTAX_ADDRESS, ALL },
	{ "TO:<a@x> NOTIFY=NEVER,SUCCESS", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "TO:<a@x> NOTIFY=SUCCESS,SUCCESS", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "TO:<a@x> NOTIFY=SUCCESS,", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "TO:<a@x> NOTIFY=", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "TO:<a@x> ORCPT=bob@x", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "TO:<a@x> ORCPT=rfc822;", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "TO:<a@x> ORCPT=rfc822;a+0Ab", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "TO:<a@x> ORCPT=rfc822;a@x ORCPT=rfc822;a@x", NULL, SMTP_SYNTAX_BAD, ALL },
	{ "TO:<a@x> SIZE=1", NULL, SMTP_SYNTAX_UNKNOWN, ALL },
	{ "TO:<a@x> NOTIFY=NEVER", NULL, SMTP_SYNTAX_UNKNOWN, NO_DSN },
};

Test(smtp_command, rcpt)
{
	for (size_t i = 0; i < array_len(rcpt_rows); i++) {
		struct out o = out_arena(&arena);
		struct smtp_rcpt rcpt;
		enum smtp_syntax got = smtp_parse_rcpt(&arena, slice_str(rcpt_rows[i].in),
			rcpt_rows[i].allowed, &rcpt);

		cr_assert_eq(got, rcpt_rows[i].want, "%s: %d", rcpt_rows[i].in, (int)got);
		if (got != SMTP_SYNTAX_OK)
			continue;
		smtp_put_rcpt(&o, &rcpt, ALL);
		slice want = arena_printf(&arena, "RCPT %s\r\n", rcpt_rows[i].out);

		cr_assert(slice_eq(out_written(&o), want), "%.*s", SLICE_ARG(out_written(&o)));
	}
	arena_done(&arena);
}

Test(smtp_command, what_a_hop_does_not_offer_is_left_out)
{
	struct out o = out_arena(&arena);
	struct smtp_mail mail;
	struct smtp_rcpt rcpt;

	cr_assert_eq(smtp_parse_mail(&arena, SLICE("FROM:<a@x> SIZE=5 BODY=8BITMIME RET=FULL"), ALL,
			     &mail),
		SMTP_SYNTAX_OK);
	smtp_put_mail(&o, &mail, SMTP_P_SIZE);
	cr_assert(slice_eq(out_written(&o), SLICE("MAIL FROM:<a@x> SIZE=5\r\n")));
	o.len = 0;
	cr_assert_eq(smtp_parse_rcpt(&arena, SLICE("TO:<a@x> ORCPT=utf-8;\xe2\x82\xac@x"), ALL,
			     &rcpt),
		SMTP_SYNTAX_OK);
	smtp_put_rcpt(&o, &rcpt, SMTP_P_DSN);
	cr_assert(slice_eq(out_written(&o), SLICE("RCPT TO:<a@x> ORCPT=utf-8;\\x{20AC}@x\r\n")));
	arena_done(&arena);
}

Test(smtp_command, bdat)
{
	static const char *const bad[] = { "", "LAST", "-1", "1 FIRST", "1 LAST X",
		"99999999999999999999", "0x10" };
	struct smtp_bdat bdat;
	char buf[64];
	struct out o = out_fixed(buf, sizeof(buf));

	cr_assert_eq(smtp_parse_bdat(SLICE("86"), &bdat), SMTP_SYNTAX_OK);
	cr_assert(bdat.size_bytes == 86 && !bdat.last);
	smtp_put_bdat(&o, &bdat);
	cr_assert_eq(smtp_parse_bdat(SLICE("0 last"), &bdat), SMTP_SYNTAX_OK);
	cr_assert(bdat.size_bytes == 0 && bdat.last);
	smtp_put_bdat(&o, &bdat);
	cr_assert(slice_eq(out_written(&o), SLICE("BDAT 86\r\nBDAT 0 LAST\r\n")));
	for (size_t i = 0; i < array_len(bad); i++)
		cr_assert_eq(smtp_parse_bdat(slice_str(bad[i]), &bdat), SMTP_SYNTAX_BAD, "%s",
			bad[i]);
}

Test(smtp_command, auth)
{
	struct smtp_auth auth;

	cr_assert_eq(smtp_parse_auth(SLICE("PLAIN"), &auth), SMTP_SYNTAX_OK);
	cr_assert(slice_eq(auth.mechanism, SLICE("PLAIN")) && !auth.has_initial);
	cr_assert_eq(smtp_parse_auth(SLICE("SCRAM-SHA-256 biws"), &auth), SMTP_SYNTAX_OK);
	cr_assert(auth.has_initial && slice_eq(auth.initial, SLICE("biws")));
	cr_assert_eq(smtp_parse_auth(SLICE("EXTERNAL ="), &auth), SMTP_SYNTAX_OK);
	cr_assert(auth.has_initial && !auth.initial.len);
	cr_assert_eq(smtp_parse_auth(SLICE(""), &auth), SMTP_SYNTAX_BAD);
	cr_assert_eq(smtp_parse_auth(SLICE("PLAIN a b"), &auth), SMTP_SYNTAX_BAD);
	cr_assert_eq(smtp_parse_auth(SLICE("PL*IN a"), &auth), SMTP_SYNTAX_BAD);
}

Test(smtp_command, words)
{
	slice name;

	cr_assert_eq(smtp_parse_hello(SLICE("[192.0.2.1]"), &name), SMTP_SYNTAX_OK);
	cr_assert_eq(smtp_parse_hello(SLICE("my pc"), &name), SMTP_SYNTAX_OK);
	cr_assert(slice_eq(name, SLICE("my")));
	cr_assert_eq(smtp_parse_hello(SLICE(""), &name), SMTP_SYNTAX_BAD);
	cr_assert_eq(smtp_parse_hello(SLICE("a\x01"), &name), SMTP_SYNTAX_BAD);
	cr_assert_eq(smtp_parse_hello(SLICE("a\xff"), &name), SMTP_SYNTAX_BAD);
	cr_assert_eq(smtp_parse_none(SLICE("")), SMTP_SYNTAX_OK);
	cr_assert_eq(smtp_parse_none(SLICE("x")), SMTP_SYNTAX_BAD);
	cr_assert_eq(smtp_parse_string(SLICE("bob"), &name), SMTP_SYNTAX_OK);
	cr_assert_eq(smtp_parse_string(SLICE(""), &name), SMTP_SYNTAX_BAD);
}
