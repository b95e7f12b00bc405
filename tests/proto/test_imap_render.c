/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Strings, envelopes and structures as clients read them, from messages summarised here. */
#include "proto/imap/render.h"

#include "proto/imap/lexer.h"
#include "proto/mime/summary.h"

#include <criterion/criterion.h>

static struct arena arena;

#define wrote(o, text) \
	cr_assert(slice_eq(out_written(o), slice_str(text)), "%.*s", SLICE_ARG(out_written(o)))

Test(imap_render, strings)
{
	static const struct {
		slice in;
		const char *ascii, *utf8, *astring;
	} rows[] = {
		{ SLICE_INIT("abc"), "\"abc\"", "\"abc\"", "abc" },
		{ SLICE_INIT(""), "\"\"", "\"\"", "\"\"" },
		{ SLICE_INIT("nil"), "\"nil\"", "\"nil\"", "\"nil\"" },
		{ SLICE_INIT("a b"), "\"a b\"", "\"a b\"", "\"a b\"" },
		{ SLICE_INIT("\"\\"), "\"\\\"\\\\\"", "\"\\\"\\\\\"", "\"\\\"\\\\\"" },
		{ SLICE_INIT("a\r\nb"), "{4}\r\na\r\nb", "{4}\r\na\r\nb", "{4}\r\na\r\nb" },
		{ SLICE_INIT("\xc3\xa4"), "{2}\r\n\xc3\xa4", "\"\xc3\xa4\"", "{2}\r\n\xc3\xa4" },
		{ SLICE_INIT("\xc3"), "{1}\r\n\xc3", "{1}\r\n\xc3", "{1}\r\n\xc3" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[100];
		struct out o = out_fixed(buf, sizeof(buf));

		imap_put_string(&o, rows[i].in, false);
		wrote(&o, rows[i].ascii);
		o.len = 0;
		imap_put_string(&o, rows[i].in, true);
		wrote(&o, rows[i].utf8);
		o.len = 0;
		imap_put_astring(&o, rows[i].in, false);
		wrote(&o, rows[i].astring);
	}
	char buf[2000], text[1001];
	struct out o = out_fixed(buf, sizeof(buf));

	memset(text, 'x', sizeof(text));
	imap_put_literal_head(&o, 5, true);
	wrote(&o, "~{5}\r\n");
	o.len = 0;
	imap_put_string(&o, slice_of(text, sizeof(text)), false);
	cr_assert(slice_starts(out_written(&o), SLICE("{1001}\r\nxx")));
}

Test(imap_render, names_of_mailboxes)
{
	char buf[200];
	struct out o = out_fixed(buf, sizeof(buf));

	imap_put_mailbox(&o, SLICE("Entw\xc3\xbcrfe"), false);
	out_char(&o, ' ');
	imap_put_mailbox(&o, SLICE("Entw\xc3\xbcrfe"), true);
	out_char(&o, ' ');
	imap_put_mailbox(&o, SLICE("A&B C"), false);
	out_char(&o, ' ');
	imap_put_mailbox(&o, SLICE("INBOX/x"), false);
	wrote(&o, "Entw&APw-rfe \"Entw\xc3\xbcrfe\" \"A&-B C\" INBOX/x");
}

static struct summary summary_of(const char *message)
{
	struct out row = out_arena(&arena);
	struct summary s;

	summary_make(slice_str(message), &row);
	cr_assert(summary_open(out_written(&row), &s));
	return s;
}

/* RFC 9051 7.5.2's example, as far as a header can say it. */
static const char example[] = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
			      "From: Terry Gray <gray@cac.washington.edu>\r\n"
			      "Subject: IMAP4rev2 WG mtg summary and minutes\r\n"
			      "To: imap@cac.washington.edu\r\n"
			      "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
			      "Message-Id: <B27397-0100000@cac.washington.ed>\r\n"
			      "\r\n"
			      "one\r\ntwo\r\n";

Test(imap_render, envelope_of_the_rfc)
{
	struct summary s = summary_of(example);
	struct out o = out_arena(&arena);

	imap_put_envelope(&o, &s, false);
	wrote(&o,
		"(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" "
		"\"IMAP4rev2 WG mtg summary and minutes\" "
		"((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
		"((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
		"((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
		"((NIL NIL \"imap\" \"cac.washington.edu\")) "
		"((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")"
		"(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL "
		"\"<B27397-0100000@cac.washington.ed>\")");
	o.len = 0;
	imap_put_body(&o, &s, false, false);
	wrote(&o, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 2)");
	arena_done(&arena);
}

Test(imap_render, envelope_of_odd_headers)
{
	struct summary s = summary_of("From: \"A \\\"B\\\" C\" <a@x>\r\n"
				      "Sender: s@x\r\nReply-To:\r\n"
				      "To: Team: b@x, c@x;, d@x\r\nBcc:\r\n"
				      "Subject: \xc3\xa4\r\n\r\n");
	struct out o = out_arena(&arena);

	imap_put_envelope(&o, &s, false);
	slice got = out_written(&o);

	cr_assert(slice_starts(got, SLICE("(NIL {2}\r\n\xc3\xa4 ((\"A \\\"B\\\" C\" NIL ")), "%.*s",
		SLICE_ARG(got));
	cr_assert(slice_search(got, SLICE(" ((NIL NIL \"s\" \"x\")) ((\"A ")) > 0, "%.*s",
		SLICE_ARG(got));
	cr_assert(slice_search(got,
			  SLICE(" ((NIL NIL \"Team\" NIL)(NIL NIL \"b\" \"x\")(NIL NIL "
				"\"c\" \"x\")(NIL NIL NIL NIL)(NIL NIL \"d\" \"x\")) "
				"NIL NIL NIL NIL)")) > 0,
		"%.*s", SLICE_ARG(got));
	o.len = 0;
	imap_put_envelope(&o, &s, true);
	cr_assert(slice_starts(out_written(&o), SLICE("(NIL \"\xc3\xa4\" ")));
	arena_done(&arena);
}

static const char mixed[] =
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	"--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
	"Content-Language: de, en\r\nContent-Id: <i@x>\r\n\r\nYQ==\r\n"
	"--b\r\nContent-Type: message/rfc822\r\nContent-Description: \"d\"\r\n\r\n"
	"Subject: in\r\nFrom: a@x\r\n\r\nbody\r\n"
	"--b\r\nContent-Type: image/png; name=\"a b.png\"\r\n"
	"Content-Disposition: attachment; filename=x\r\nContent-Md5: m5\r\n"
	"Content-Location: loc\r\n\r\npng\r\n"
	"--b--\r\n";

Test(imap_render, structures)
{
	struct summary s = summary_of(mixed);
	struct out o = out_arena(&arena);

	imap_put_body(&o, &s, false, false);
	wrote(&o,
		"((\"text\" \"html\" (\"charset\" \"utf-8\") \"<i@x>\" NIL \"base64\" 4 0)"
		"(\"message\" \"rfc822\" NIL NIL \"\\\"d\\\"\" \"7bit\" 30 "
		"(NIL \"in\" ((NIL NIL \"a\" \"x\")) ((NIL NIL \"a\" \"x\")) "
		"((NIL NIL \"a\" \"x\")) NIL NIL NIL NIL NIL) "
		"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 0) 3)"
		"(\"image\" \"png\" (\"name\" \"a b.png\") NIL NIL \"7bit\" 3) \"mixed\")");
	o.len = 0;
	imap_put_body(&o, &s, true, false);
	wrote(&o,
		"((\"text\" \"html\" (\"charset\" \"utf-8\") \"<i@x>\" NIL \"base64\" 4 0 "
		"NIL NIL (\"de\" \"en\") NIL)"
		"(\"message\" \"rfc822\" NIL NIL \"\\\"d\\\"\" \"7bit\" 30 "
		"(NIL \"in\" ((NIL NIL \"a\" \"x\")) ((NIL NIL \"a\" \"x\")) "
		"((NIL NIL \"a\" \"x\")) NIL NIL NIL NIL NIL) "
		"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 0 "
		"NIL NIL NIL NIL) 3 NIL NIL NIL NIL)"
		"(\"image\" \"png\" (\"name\" \"a b.png\") NIL NIL \"7bit\" 3 "
		"\"m5\" (\"attachment\" (\"filename\" \"x\")) NIL \"loc\") "
		"\"mixed\" (\"boundary\" \"b\") NIL NIL NIL)");
	arena_done(&arena);
}

/* Parentheses balance outside of strings, and nothing else is wrong: lists of lists, strings, NIL and
 * numbers, one space or none between. */
static bool well_formed(slice text)
{
	static const struct imap_limits limits = { .terms_max = 1 };
	struct imap_lex x = imap_lex_of(&arena, text, &limits);
	size_t depth = 0;
	slice token;

	do {
		if (imap_lex_skip(&x, '(')) {
			depth++;
		} else if (imap_lex_skip(&x, ')')) {
			if (!depth--)
				return false;
		} else if (!imap_lex_skip(&x, ' ') && !imap_lex_astring(&x, &token)) {
			return false;
		}
	} while (!imap_lex_at_end(&x) && depth);
	return !depth && imap_lex_at_end(&x);
}

Test(imap_render, whatever_the_message_the_answer_is_well_formed)
{
	static const char *const messages[] = {
		"",
		"\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\nno parts\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n",
		"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
		"Content-Type: message/rfc822\r\n\r\n",
		"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n",
		"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\n",
		"Content-Type: \"; x\r\nFrom: <<>>\r\nTo: a:b:c;;,\r\n\r\n",
		"Content-Disposition: ;\r\nContent-Language: ,\r\nSubject: a\0b\r\n\r\n",
	};

	for (size_t i = 0; i < array_len(messages); i++)
		for (int way = 0; way < 4; way++) {
			struct summary s = summary_of(messages[i]);
			struct out o = out_arena(&arena);

			imap_put_body(&o, &s, way & 1, way & 2);
			cr_assert(well_formed(out_written(&o)), "%zu: %.*s", i,
				SLICE_ARG(out_written(&o)));
			o.len = 0;
			imap_put_envelope(&o, &s, way & 2);
			cr_assert(well_formed(out_written(&o)), "%zu: %.*s", i,
				SLICE_ARG(out_written(&o)));
		}
	arena_done(&arena);
}

/* Deeper than a summary follows. */
Test(imap_render, nesting_bomb)
{
	struct out message = out_arena(&arena), o = out_arena(&arena), row = out_arena(&arena);
	struct summary s;

	for (int i = 0; i < 200; i++)
		out_printf(&message, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n",
			i, i);
	summary_make(out_written(&message), &row);
	cr_assert(summary_open(out_written(&row), &s));
	imap_put_body(&o, &s, true, false);
	cr_assert(well_formed(out_written(&o)), "%.*s", SLICE_ARG(out_written(&o)));
	o.len = row.len = message.len = 0;
	for (int i = 0; i < 200; i++)
		out_str(&message, "Content-Type: message/rfc822\r\n\r\n");
	summary_make(out_written(&message), &row);
	cr_assert(summary_open(out_written(&row), &s));
	imap_put_body(&o, &s, false, false);
	cr_assert(well_formed(out_written(&o)), "%.*s", SLICE_ARG(out_written(&o)));
	arena_done(&arena);
}
