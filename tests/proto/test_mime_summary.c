/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_summary.c - rows: what they say, whatever the cuts, and what damage does to readers. */
#include "core/base/map.h"
#include "core/base/text.h"
#include "proto/mime/summary.h"
#include "tests/support/proto_feeds.h"

#include <criterion/criterion.h>

/* A message and the row of it, made in all ways. */
struct made {
	struct arena a;
	struct summary s;
	struct summary_envelope e;
};

static void make(struct made *m, slice message)
{
	struct out row = out_arena(&m->a);

	cr_assert(feed_all_ways(&feed_summary, NULL, message, &row));
	cr_assert(summary_open(out_written(&row), &m->s));
	cr_assert(summary_envelope(&m->s, &m->e));
}

static void done(struct made *m)
{
	arena_done(&m->a);
}

static void expect_text(const struct summary_text *text, const char *want)
{
	cr_expect(slice_eq(text->text, slice_str(want)), "%.*s, not %s", SLICE_ARG(text->text),
		want);
}

/* "depth type/subtype kind children header+len body+len lines;" */
static slice tree_of(struct made *m)
{
	struct out o = out_arena(&m->a);
	struct summary_part p;
	slice parts = summary_parts(&m->s);

	while (summary_part_next(&parts, &p))
		out_printf(&o, "%u %.*s/%.*s %d/%u %d+%d %d+%d %d%s;", p.depth,
			SLICE_ARG(p.type.text), SLICE_ARG(p.subtype.text), p.kind, p.children,
			(int)p.header_at, (int)(p.body_at - p.header_at), (int)p.body_at,
			(int)p.body_len, (int)p.lines, p.root ? " root" : "");
	cr_expect_eq(parts.len, 0, "the whole tree is read");
	return out_written(&o);
}

#define MULTI "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define HEAD                                                    \
	"From: \"Doe, Jane\" <jane@example.org>\r\n"            \
	"Sender: <s@example.org>\r\n"                           \
	"To: friends: a@b.example, \"x y\"@c.example;, d@e\r\n" \
	"Cc: undisclosed:;\r\n"                                 \
	"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=,\r\n more\r\n"    \
	"Message-ID: <1@x>\r\n"                                 \
	"Date: Tue, 1 Jul 2003 10:52:37 +0200\r\n"

Test(mime_summary, envelope)
{
	struct made m = { 0 };
	struct summary_address item;
	slice list;

	make(&m, SLICE(HEAD "List-Id: <l.x>\r\nReferences: <a@x>\r\n <b@x>\r\n\r\nhi\r\n"));
	expect_text(&m.e.subject, "=?utf-8?q?Gr=C3=BC=C3=9Fe?=, more");
	cr_expect_eq(m.e.subject.safe, SUMMARY_QUOTED);
	expect_text(&m.e.date, "Tue, 1 Jul 2003 10:52:37 +0200");
	expect_text(&m.e.message_id, "<1@x>");
	expect_text(&m.e.references, "<a@x> <b@x>");
	expect_text(&m.e.list_id, "<l.x>");
	cr_expect_null(m.e.in_reply_to.text.ptr);
	cr_expect_null(m.e.lists[SUMMARY_BCC].ptr);
	list = m.e.lists[SUMMARY_FROM];
	cr_assert(summary_address_next(&list, &item));
	expect_text(&item.name, "Doe, Jane");
	expect_text(&item.local, "jane");
	expect_text(&item.host, "example.org");
	cr_expect_null(item.route.text.ptr);
	cr_expect_not(summary_address_next(&list, &item));
	list = m.e.lists[SUMMARY_SENDER];
	cr_assert(summary_address_next(&list, &item));
	cr_expect_null(item.name.text.ptr);
	done(&m);
}

/* "A name route:local@host|", "G name|", "E|". */
static slice addresses_of(struct made *m, slice list)
{
	struct summary_address item;
	struct out o = out_arena(&m->a);

	while (summary_address_next(&list, &item)) {
		bool route = item.route.text.ptr;

		if (item.kind == SUMMARY_GROUP_END)
			out_str(&o, "E|");
		else if (item.kind == SUMMARY_GROUP)
			out_printf(&o, "G %.*s|", SLICE_ARG(item.name.text));
		else
			out_printf(&o, "A %.*s %.*s%s%.*s@%.*s|", SLICE_ARG(item.name.text),
				SLICE_ARG(item.route.text), route ? ":" : "",
				SLICE_ARG(item.local.text), SLICE_ARG(item.host.text));
	}
	cr_expect_eq(list.len, 0, "the whole list is read");
	return out_written(&o);
}

Test(mime_summary, groups_routes_and_wrecks)
{
	static const struct {
		const char *why, *to, *want;
	} rows[] = {
		{ "group", "f: a@b, c@d;, e@f", "G f|A  a@b|A  c@d|E|A  e@f|" },
		{ "empty group", "undisclosed-recipients:;", "G undisclosed-recipients|E|" },
		{ "open group", "f: a@b", "G f|A  a@b|E|" },
		{ "group in a group", "f: a@b, g: c@d;", "G f|A  a@b|E|G g|A  c@d|E|" },
		{ "route", "<@x,@y:a@b>", "A  @x,@y:a@b|" },
		{ "no host", "root", "A  root@|" },
		{ "no address", "Jane Doe", "A Jane Doe @|" },
		{ "one of two", "Jane Doe, a@b", "A  a@b|" },
		{ "no comma", "A <a@x> B <b@y>", "A A a@x|" },
		{ "empty", "", "" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct made m = { 0 };
		slice found;

		make(&m, arena_printf(&m.a, "To: %s\r\n\r\n", rows[i].to));
		found = addresses_of(&m, m.e.lists[SUMMARY_TO]);
		cr_expect(slice_eq(found, slice_str(rows[i].want)), "%s: %.*s", rows[i].why,
			SLICE_ARG(found));
		cr_expect_not_null(m.e.lists[SUMMARY_TO].ptr);
		done(&m);
	}
}

Test(mime_summary, address_fields_of_one_name_are_put_together)
{
	static const struct {
		const char *why, *head, *want;
		enum summary_list list;
	} rows[] = {
		{ "two", "To: a@b\r\nCc: x@y\r\nTO: c@d, e@f", "A  a@b|A  c@d|A  e@f|",
			SUMMARY_TO },
		{ "Cc", "Cc: a@b\r\nSubject: x\r\nCc: c@d\r\nCc: e@f", "A  a@b|A  c@d|A  e@f|",
			SUMMARY_CC },
		{ "Bcc", "Bcc: a@b\r\nBcc: c@d", "A  a@b|A  c@d|", SUMMARY_BCC },
		{ "Reply-To", "Reply-To: a@b\r\nReply-To: c@d", "A  a@b|A  c@d|",
			SUMMARY_REPLY_TO },
		{ "From", "From: a@b\r\nFrom: c@d", "A  a@b|A  c@d|", SUMMARY_FROM },
		{ "one Sender", "Sender: a@b\r\nSender: c@d", "A  a@b|", SUMMARY_SENDER },
		{ "a group ends with its field", "To: f: a@b\r\nTo: c@d", "G f|A  a@b|E|A  c@d|",
			SUMMARY_TO },
		{ "the first is empty", "To:\r\nTo: c@d", "A  c@d|", SUMMARY_TO },
		{ "the first is none", "To: Jane Doe\r\nTo: c@d", "A  c@d|", SUMMARY_TO },
		{ "none is one", "To: Jane Doe\r\nTo: Joe", "A  Joe@|", SUMMARY_TO },
		{ "nor here", "To: Jane Doe\r\nTo: Joe Roe", "A Jane Doe @|", SUMMARY_TO },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct made m = { 0 };
		slice found;

		make(&m, arena_printf(&m.a, "%s\r\n\r\n", rows[i].head));
		found = addresses_of(&m, m.e.lists[rows[i].list]);
		cr_expect(slice_eq(found, slice_str(rows[i].want)), "%s: %.*s", rows[i].why,
			SLICE_ARG(found));
		done(&m);
	}
}

Test(mime_summary, many_address_fields_keep_to_the_limit)
{
	struct arena a = { 0 };
	struct out message = out_arena(&a), row = out_arena(&a);
	struct summary s;
	struct summary_envelope e;
	struct summary_address item;
	unsigned count = 0;

	for (unsigned i = 0; i < SUMMARY_ADDRESSES_MAX; i++)
		out_str(&message, "To: a@b\r\nTo: f: c@d;\r\n");
	summary_make(out_written(&message), &row);
	cr_assert(summary_open(out_written(&row), &s) && summary_envelope(&s, &e));
	cr_expect(s.truncated);
	while (summary_address_next(&e.lists[SUMMARY_TO], &item))
		count++;
	cr_expect_eq(count, SUMMARY_ADDRESSES_MAX);
	arena_done(&a);
}

/* The line of a mailbox file, or one that folds nothing, in front of the first field. */
Test(mime_summary, stray_first_line)
{
	static const struct {
		const char *why, *in, *tree, *subject;
	} rows[] = {
		{ "mbox", "From a@b Fri Nov 21 1997\r\nSubject: x\r\n\r\nhi\r\n",
			"0 text/plain 0/0 0+40 40+4 1 root;", "x" },
		{ "typed", "From a@b\nSubject: x\nContent-Type: a/b\n\nhi\n",
			"0 a/b 0/0 0+39 39+3 1 root;", "x" },
		{ "parts", "From a@b\r\nSubject: x\r\n" MULTI "--b\r\n\r\none\r\n--b--\r\n",
			"0 multipart/mixed 1/1 0+67 67+19 4 root;1 text/plain 0/0 72+2 74+3 0;",
			"x" },
		{ "folds nothing", " \tabc\r\nSubject: x\r\n\r\nhi\r\n",
			"0 text/plain 0/0 0+21 21+4 1 root;", "x" },
		{ "no body", "From a@b\r\nSubject: x", "0 text/plain 0/0 0+20 20+0 0 root;", "x" },
		{ "a field after all", "From : a@b\r\nSubject: x\r\n\r\n",
			"0 text/plain 0/0 0+26 26+0 0 root;", "x" },
		{ "no field behind", "From here on\r\nall is text\r\nSubject: x\r\n\r\n",
			"0 text/plain 0/0 0+0 0+41 4 root;", NULL },
		{ "folded in vain", "From a@b\r\n c\r\nSubject: x\r\n\r\n",
			"0 text/plain 0/0 0+0 0+28 4 root;", NULL },
		{ "nothing behind", "From a@b\r\n", "0 text/plain 0/0 0+0 0+10 1 root;", NULL },
		{ "not even a line end", "From a@b", "0 text/plain 0/0 0+0 0+8 0 root;", NULL },
		{ "blank line behind", "From a@b\r\n\r\nSubject: x\r\n\r\n",
			"0 text/plain 0/0 0+0 0+26 4 root;", NULL },
		{ "twice", "From a@b\r\nFrom a@b\r\nSubject: x\r\n\r\n",
			"0 text/plain 0/0 0+0 0+34 4 root;", NULL },
		{ "not the first", "Subject: x\r\nFrom a@b\r\nA: b\r\n\r\n",
			"0 text/plain 0/0 0+12 12+18 3 root;", "x" },
		{ "not of a message inside",
			"Content-Type: message/rfc822\r\n\r\nFrom a@b\r\nSubject: x\r\n\r\n",
			"0 message/rfc822 2/1 0+32 32+24 3 root;1 text/plain 0/0 32+0 32+24 3 "
			"root;",
			NULL },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct made m = { 0 };
		slice tree;

		make(&m, slice_str(rows[i].in));
		tree = tree_of(&m);
		cr_expect(slice_eq(tree, slice_str(rows[i].tree)), "%s: %.*s", rows[i].why,
			SLICE_ARG(tree));
		cr_expect(slice_eq(m.e.subject.text, slice_str(rows[i].subject)), "%s: %.*s",
			rows[i].why, SLICE_ARG(m.e.subject.text));
		cr_expect_not(m.s.truncated, "%s", rows[i].why);
		done(&m);
	}
}

Test(mime_summary, quick_part)
{
	struct made m = { 0 };

	make(&m,
		SLICE("Subject: Re: Hello\r\nMessage-ID: <1@x>\r\nReferences: <a@x> <b@x>\r\n"
		      "Date: Thu, 01 Jan 1970 01:00:01 +0100\r\n\r\none\r\ntwo"));
	cr_expect(m.s.reply && m.s.has_sent && !m.s.truncated && !m.s.has_attachment);
	cr_expect_eq(m.s.sent, 1000);
	cr_expect_eq(m.s.sent_zone, 60);
	cr_expect_eq(m.s.lines, 6);
	cr_expect_eq(m.s.size, m.s.header_len + 8);
	cr_expect_eq(m.s.id_hash, summary_hash_id(SLICE("<1@x>")));
	cr_assert_eq(m.s.refs, 2);
	cr_expect_eq(summary_ref(&m.s, 1), summary_hash_id(SLICE("<b@x>")));
	cr_expect(slice_eq(m.s.base_key, SLICE("HELLO")));
	cr_expect(slice_eq(m.s.preview, SLICE("one two")));
	done(&m);
}

Test(mime_summary, conversations_share_a_key)
{
	struct made one = { 0 }, two = { 0 }, other = { 0 };
	uint64_t a[SUMMARY_REFS_MAX + 1], b[SUMMARY_REFS_MAX + 1];

	make(&one, SLICE("Subject: Hello\r\nMessage-ID: <1@x>\r\n\r\n"));
	make(&two,
		SLICE("Subject: AW: [l] re: hello\r\nMessage-ID: <2@x>\r\nIn-Reply-To: <1@\r\n "
		      "x>\r\n\r\n"));
	make(&other,
		SLICE("Subject: Re: HELLO\r\nMessage-ID: <2@x>\r\nIn-Reply-To: <1@\r\n "
		      "x>\r\n\r\n"));
	cr_assert_eq(summary_thread_keys(&one.s, a), 1);
	cr_assert_eq(summary_thread_keys(&other.s, b), 2);
	cr_expect_eq(a[0], b[1]);
	cr_assert_eq(summary_thread_keys(&two.s, b), 2);
	cr_expect_neq(a[0], b[1], "a new subject begins a new conversation");
	done(&one);
	done(&two);
	done(&other);
}

Test(mime_summary, first_and_last_references)
{
	struct made m = { 0 };
	struct out o = out_arena(&m.a);

	out_str(&o, "References:");
	for (int i = 0; i < 40; i++)
		out_printf(&o, " <%d@x>", i);
	out_str(&o, "\r\n\r\n");
	make(&m, out_written(&o));
	cr_assert_eq(m.s.refs, SUMMARY_REFS_MAX);
	cr_expect_eq(summary_ref(&m.s, 0), summary_hash_id(SLICE("<0@x>")));
	cr_expect_eq(summary_ref(&m.s, 1), summary_hash_id(SLICE("<25@x>")));
	cr_expect_eq(summary_ref(&m.s, 15), summary_hash_id(SLICE("<39@x>")));
	done(&m);
}

Test(mime_summary, trees)
{
	static const struct {
		const char *why, *in, *want;
	} rows[] = {
		{ "leaf", "A: b\r\n\r\nhi\r\n", "0 text/plain 0/0 0+8 8+4 1 root;" },
		{ "empty", "", "0 text/plain 0/0 0+0 0+0 0 root;" },
		{ "two",
			MULTI
			"--b\r\n\r\none\r\n--b\r\nContent-Type: a/b\r\n\r\ntwo\r\n\r\n--b--\r\n",
			"0 multipart/mixed 1/2 0+45 45+52 9 root;1 text/plain 0/0 50+2 52+3 0;"
			"1 a/b 0/0 62+21 83+5 1;" },
		{ "never opened", MULTI "x\r\n",
			"0 multipart/mixed 1/1 0+45 45+3 1 root;1 text/plain 0/0 48+0 48+0 0;" },
		{ "no boundary", "Content-Type: multipart/mixed\r\n\r\nx",
			"0 text/plain 0/0 0+33 33+1 0 root;" },
		{ "message", "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nhi\r\n",
			"0 message/rfc822 2/1 0+32 32+18 3 root;1 text/plain 0/0 32+14 46+4 1 "
			"root;" },
		{ "empty message", "Content-Type: message/rfc822\r\n\r\n",
			"0 message/rfc822 2/1 0+32 32+0 0 root;1 text/plain 0/0 32+0 32+0 0 "
			"root;" },
		{ "encoded message",
			"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: "
			"base64\r\n\r\neA==",
			"0 application/octet-stream 0/0 0+67 67+4 0 root;" },
		{ "digest",
			"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nA: "
			"b\r\n\r\n--b--",
			"0 multipart/digest 1/1 0+46 46+20 4 root;1 message/rfc822 2/1 51+2 53+8 2;"
			"2 text/plain 0/0 53+8 61+0 0 root;" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct made m = { 0 };
		slice tree;

		make(&m, slice_str(rows[i].in));
		tree = tree_of(&m);
		cr_expect(slice_eq(tree, slice_str(rows[i].want)), "%s: %.*s", rows[i].why,
			SLICE_ARG(tree));
		cr_expect_not(m.s.truncated, "%s", rows[i].why);
		done(&m);
	}
}

Test(mime_summary, all_that_a_part_says)
{
	struct made m = { 0 };
	struct summary_part p;
	struct summary_text text;
	slice parts;

	make(&m,
		SLICE("Content-Type: Image/PNG; name=\"a \\\"b\\\".png\"; x*=utf-8'de'%C3%A4\r\n"
		      "Content-Transfer-Encoding: BASE64 (x)\r\nContent-ID: <i@x>\r\n"
		      "Content-Description: a pic\r\nContent-MD5: Q2hlY2s=\r\n"
		      "Content-Disposition: Attachment; filename=a.png\r\n"
		      "Content-Language: de, en\r\nContent-Location: http://x/\r\n\r\nAAAA"));
	parts = summary_parts(&m.s);
	cr_assert(summary_part_next(&parts, &p));
	expect_text(&p.type, "Image");
	expect_text(&p.subtype, "PNG");
	expect_text(&p.encoding, "BASE64");
	cr_expect_eq(p.coding, PART_BASE64);
	expect_text(&p.id, "<i@x>");
	expect_text(&p.description, "a pic");
	expect_text(&p.md5, "Q2hlY2s=");
	expect_text(&p.disposition, "Attachment");
	expect_text(&p.location, "http://x/");
	cr_assert(summary_param(p.params, SLICE("NAME"), &text));
	expect_text(&text, "a \"b\".png");
	cr_expect_eq(text.safe, SUMMARY_ESCAPED);
	cr_assert(summary_param(p.params, SLICE("x"), &text));
	expect_text(&text, "utf-8'de'%C3%A4");
	cr_assert(summary_param(p.disposition_params, SLICE("filename"), &text));
	cr_expect_not(summary_param(p.params, SLICE("y"), &text));
	cr_assert(summary_text_next(&p.languages, &text));
	expect_text(&text, "de");
	cr_assert(summary_text_next(&p.languages, &text));
	expect_text(&text, "en");
	cr_expect_not(summary_text_next(&p.languages, &text));
	cr_expect(m.s.has_attachment);
	done(&m);
}

Test(mime_summary, how_strings_may_be_sent)
{
	static const struct {
		const char *why, *in;
		enum summary_safe want;
	} rows[] = {
		{ "plain", "hello", SUMMARY_QUOTED },
		{ "quote", "say \"hi\"", SUMMARY_ESCAPED },
		{ "backslash", "a\\b", SUMMARY_ESCAPED },
		{ "UTF-8", "gr\303\274n", SUMMARY_UTF8 },
		{ "Latin-1", "gr\374n", SUMMARY_LITERAL },
		{ "empty", "", SUMMARY_QUOTED },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct made m = { 0 };

		make(&m, arena_printf(&m.a, "Subject: %s\r\n\r\n", rows[i].in));
		expect_text(&m.e.subject, rows[i].in);
		cr_expect_eq(m.e.subject.safe, rows[i].want, "%s", rows[i].why);
		cr_expect_not_null(m.e.subject.text.ptr);
		done(&m);
	}
}

Test(mime_summary, no_string_holds_a_line_end_or_nul)
{
	struct made m = { 0 };

	make(&m, SLICE("Subject: a\r\n b\0c\rd\r\n\r\n"));
	expect_text(&m.e.subject, "a bcd");
	done(&m);
}

Test(mime_summary, attachments)
{
	static const struct {
		const char *why, *head;
		bool want;
	} rows[] = {
		{ "text", "Content-Type: text/plain", false },
		{ "named", "Content-Type: application/pdf; name=a.pdf", true },
		{ "said so", "Content-Disposition: attachment", true },
		{ "shown inside html",
			"Content-Type: image/png; name=a.png\r\nContent-ID: <a>\r\n"
			"Content-Disposition: inline",
			false },
		{ "signature", "Content-Type: application/pgp-signature; name=signature.asc",
			false },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct made m = { 0 };

		make(&m, arena_printf(&m.a, MULTI "--b\r\n%s\r\n\r\nx\r\n--b--\r\n", rows[i].head));
		cr_expect_eq(m.s.has_attachment, rows[i].want, "%s", rows[i].why);
		done(&m);
	}
}

Test(mime_summary, which_part_is_previewed)
{
	static const struct {
		const char *why, *parts, *want;
	} rows[] = {
		{ "the first", "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n", "one" },
		{ "not an empty one",
			"--b\r\n\r\n \r\n--b\r\nContent-Type: text/html\r\n\r\n<p>two\r\n", "two" },
		{ "not an attached one",
			"--b\r\nContent-Disposition: attachment\r\n\r\none\r\n--b\r\n\r\ntwo\r\n",
			"two" },
		{ "not of a message inside",
			"--b\r\nContent-Type: message/rfc822\r\n\r\n\r\none\r\n--b\r\n\r\ntwo\r\n",
			"two" },
		{ "none", "--b\r\nContent-Type: image/png\r\n\r\none\r\n", "" },
		{ "charset and encoding",
			"--b\r\nContent-Type: text/plain; charset=koi8-r\r\n"
			"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C4=C1\r\n",
			"\320\264\320\260" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct made m = { 0 };

		make(&m, arena_printf(&m.a, MULTI "%s--b--\r\n", rows[i].parts));
		cr_expect(slice_eq(m.s.preview, slice_str(rows[i].want)), "%s: %.*s", rows[i].why,
			SLICE_ARG(m.s.preview));
		done(&m);
	}
}

static bool same_text(const struct summary_text *a, const struct summary_text *b)
{
	return a->text.ptr == b->text.ptr && a->text.len == b->text.len && a->safe == b->safe;
}

/* One field alone is what all of them together say it is; of a damaged row it lies inside at least. */
static void read_fields(const struct summary *s, slice row)
{
	struct summary_envelope e;
	bool good = summary_envelope(s, &e);
	const struct summary_text *const texts[SUMMARY_FIELDS] = {
		[SUMMARY_DATE] = &e.date,
		[SUMMARY_SUBJECT] = &e.subject,
		[SUMMARY_MESSAGE_ID] = &e.message_id,
		[SUMMARY_IN_REPLY_TO] = &e.in_reply_to,
		[SUMMARY_REFERENCES] = &e.references,
		[SUMMARY_LIST_ID] = &e.list_id,
	};
	struct summary_text text;
	slice list;

	for (int i = 0; i < SUMMARY_FIELDS; i++) {
		bool got = summary_get_text(s, (enum summary_field)i, &text);

		cr_assert(got ? feed_inside(text.text, row) : !good, "field %d", i);
		cr_assert(!good || same_text(&text, texts[i]), "field %d", i);
	}
	for (int i = 0; i < SUMMARY_LISTS; i++) {
		bool got = summary_get_list(s, (enum summary_list)i, &list);

		cr_assert(got ? feed_inside(list, row) : !good, "list %d", i);
		cr_assert(!good || (list.ptr == e.lists[i].ptr && list.len == e.lists[i].len),
			"list %d", i);
	}
}

/* Every prefix, and every byte changed: never a read outside, and the end is always reached. */
static void read_all(slice row)
{
	struct summary s;
	struct summary_envelope e;
	struct summary_part p;
	struct summary_address item;
	struct summary_text text;
	slice parts;

	if (!summary_open(row, &s))
		return;
	for (unsigned i = 0; i < s.refs; i++)
		cr_assert(feed_inside(s.ref_bytes, row) && (summary_ref(&s, i) || true));
	read_fields(&s, row);
	if (summary_envelope(&s, &e))
		while (summary_address_next(&e.lists[SUMMARY_TO], &item))
			cr_assert(feed_inside(item.name.text, row));
	for (parts = summary_parts(&s); summary_part_next(&parts, &p);)
		while (summary_text_next(&p.params, &text))
			cr_assert(feed_inside(text.text, row));
}

Test(mime_summary, damaged_rows_are_never_overread)
{
	struct made m = { 0 };
	struct out row = out_arena(&m.a);

	summary_make(SLICE(HEAD MULTI "--b\r\nContent-Type: a/b; c=d\r\n\r\nx\r\n--b--\r\n"), &row);
	for (size_t len = 0; len < row.len; len++) {
		struct summary s;
		char *copy = malloc(len ? len : 1);

		memcpy(copy, row.buf, len);
		cr_expect_not(summary_open(slice_of(copy, len), &s), "a prefix is no row");
		free(copy);
	}
	for (size_t at = 0; at < row.len; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			char *copy = malloc(row.len);

			memcpy(copy, row.buf, row.len);
			copy[at] ^= (char)(1 << bit);
			read_all(slice_of(copy, row.len));
			free(copy);
		}
	}
	done(&m);
}

/* Fields of any length, some missing: those whose length takes one byte, two and three. */
Test(mime_summary, a_field_alone_is_as_in_the_envelope)
{
	static const char *const names[] = { "Date", "Subject", "Message-ID", "In-Reply-To",
		"References", "List-Id", "From", "Sender", "Reply-To", "To", "Cc", "Bcc" };
	static const size_t sizes[] = { 0, 1, 30, 31, 32, 62, 100, 4090, 4096, 8000 };
	uint64_t seed = 7;

	for (unsigned run = 0; run < 300; run++) {
		struct made m = { 0 };
		struct out head = out_arena(&m.a), row = out_arena(&m.a);
		struct summary s;

		for (size_t i = 0; i < array_len(names); i++) {
			uint64_t dice = map_hash_u64(seed++);

			if (dice % 3 == 0)
				continue;
			out_printf(&head, "%s: ", names[i]);
			for (size_t n = sizes[dice / 3 % array_len(sizes)]; n; n--)
				out_char(&head, i >= 6 && n % 9 == 0 ? ',' : 'x');
			out_str(&head, "\r\n");
		}
		out_str(&head, "\r\nbody\r\n");
		summary_make(out_written(&head), &row);
		cr_assert(summary_open(out_written(&row), &s));
		read_fields(&s, out_written(&row));
		done(&m);
	}
}

/* A builder's memory does not grow with it, but fields beyond the limit are not known. */
static void check_long_header(const char *why, slice line, size_t times)
{
	struct made m = { 0 };
	struct out row = out_arena(&m.a);
	struct summary_builder *b = summary_begin();
	slice first = SLICE("Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n");
	slice rest = SLICE("To: a@x\r\n\r\n--b\r\nContent-Type: a/b\r\n\r\nhi\r\n--b--\r\n");
	size_t memory = 0, header = first.len + line.len * times + sizeof("To: a@x\r\n\r\n") - 1;
	struct summary_part part;
	struct summary_envelope env;
	slice parts;

	summary_add(b, first);
	for (size_t i = 0; i < times; i++) {
		summary_add(b, line);
		memory = MAX(memory, summary_memory(b));
	}
	summary_add(b, rest);
	summary_end(b, &row);
	cr_assert(summary_open(out_written(&row), &m.s), "%s", why);
	cr_expect(memory < 3 * SUMMARY_HEADER_MAX, "%s: %zu", why, memory);
	cr_expect_eq(m.s.header_len, header, "%s: %u", why, m.s.header_len);
	cr_expect(m.s.truncated, "%s", why);
	cr_expect(summary_envelope(&m.s, &env) && slice_eq(env.subject.text, SLICE("s")), "%s",
		why);
	parts = summary_parts(&m.s);
	cr_assert(summary_part_next(&parts, &part), "%s", why);
	cr_expect_eq(part.body_at, header, "%s", why);
	cr_expect_eq(part.children, 1u, "%s", why);
	cr_assert(summary_part_next(&parts, &part), "%s", why);
	cr_expect_eq(part.body_len, 2u, "%s", why);
	cr_expect_eq(part.body_at, header + sizeof("--b\r\nContent-Type: a/b\r\n\r\n") - 1, "%s",
		why);
	/* What an older one says of it may be wrong. */
	row.buf[0] = SUMMARY_VERSION_BORDERS - 1;
	cr_expect_not(summary_open(out_written(&row), &m.s), "%s", why);
	cr_expect(summary_agrees(out_written(&row), out_written(&row)), "%s", why);
	done(&m);
}

Test(mime_summary, long_headers_end_where_they_end)
{
	check_long_header("300 KB", SLICE("X-Field: some text\r\n"), 15000);
	check_long_header("10 MB", SLICE("X-Field: some text\r\n"), 500000);
	check_long_header("folded", SLICE("X-Field: some\r\n text\r\n"), 50000);
	static char line[400000] = "X-Line: ";

	memset(line + 8, 'x', sizeof(line) - 10);
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	check_long_header("a line of 400 KB", slice_of(line, sizeof(line)), 1);
	check_long_header("more of them", slice_of(line, sizeof(line)), 5);
}

/* A row of an older version is read, and right if its numbers are; one of a newer is no row. */
Test(mime_summary, versions)
{
	struct made m = { 0 };
	struct out row = out_arena(&m.a), same = out_arena(&m.a);
	slice mail = SLICE("Subject: s\r\nMessage-ID: <i@x>\r\nTo: a@x <b@y>\r\n"
			   "Content-Type: a/b; c*=utf-8'en'd\r\n\r\nbody\r\n");

	summary_make(mail, &same);
	summary_make(mail, &row);
	cr_expect(summary_agrees(out_written(&row), out_written(&same)));
	row.buf[row.len - 1] ^= 1;
	cr_expect_not(summary_agrees(out_written(&row), out_written(&same)));
	for (row.buf[0] = SUMMARY_VERSION_FIRST; row.buf[0] < SUMMARY_VERSION; row.buf[0]++) {
		cr_expect(summary_open(out_written(&row), &m.s));
		cr_expect_eq(m.s.size, mail.len);
		cr_expect(summary_agrees(out_written(&row), out_written(&same)));
		for (size_t at = 8; at < 32; at += 8) { /* header and its end, date, size */
			row.buf[at - 1] ^= 1;
			cr_expect_not(summary_agrees(out_written(&row), out_written(&same)));
			row.buf[at - 1] ^= 1;
		}
	}
	row.buf[0] = 0;
	cr_expect_not(summary_open(out_written(&row), &m.s));
	row.buf[0] = SUMMARY_VERSION + 1;
	cr_expect_not(summary_open(out_written(&row), &m.s));
	cr_expect_not(summary_agrees(out_written(&row), out_written(&same)));
	done(&m);
}

/* Memory of one builder for a message that is `times` the same piece behind a beginning. */
static size_t memory_of(slice begin, slice piece, size_t times, bool *truncated)
{
	struct arena a = { 0 };
	struct out row = out_arena(&a);
	struct summary_builder *b = summary_begin();
	struct summary s;
	size_t used;

	summary_add(b, begin);
	for (size_t i = 0; i < times; i++)
		summary_add(b, piece);
	used = summary_memory(b);
	summary_end(b, &row);
	cr_assert(summary_open(out_written(&row), &s));
	cr_expect_eq(s.size, begin.len + piece.len * times);
	*truncated = s.truncated;
	arena_done(&a);
	return used;
}

Test(mime_summary, memory_is_bounded)
{
	static const struct {
		const char *why;
		slice begin, piece;
		size_t times, most;
		bool truncated;
	} rows[] = {
		{ "a body costs nothing", SLICE_INIT("A: b\r\n\r\n"), SLICE_INIT("some words\r\n"),
			200000, 32 << 10, false },
		{ "nor does that of a part", SLICE_INIT(MULTI "--b\r\n\r\n"),
			SLICE_INIT("-words\r\n"), 200000, 32 << 10, false },
		{ "parts", SLICE_INIT(MULTI), SLICE_INIT("--b\r\n\r\nx\r\n"), 100000, 1 << 20,
			true },
		{ "parts without text", SLICE_INIT(MULTI), SLICE_INIT("--b\r\n\r\n \r\n"), 100000,
			1 << 20, true },
		{ "header fields", SLICE_INIT("A: b\r\n"), SLICE_INIT("X: y\r\n"), 30000, 288 << 10,
			false },
		{ "more of them", SLICE_INIT("A: b\r\n"), SLICE_INIT("X: y\r\n"), 100000, 288 << 10,
			true },
		{ "a header line", SLICE_INIT("A: b"), SLICE_INIT("yyyyyyyyy"), 100000, 288 << 10,
			true },
		{ "messages in messages", SLICE_INIT(""),
			SLICE_INIT("Content-Type: message/rfc822\r\n\r\n"), 10000, 1 << 20, true },
		{ "big headers of parts", SLICE_INIT(MULTI),
			SLICE_INIT("--b\r\nContent-Type: a/b; a1=1; a2=2; a3=3; a4=4; a5=5; "
				   "a6=6\r\n\r\n"),
			100000, 4 << 20, true },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		bool truncated;
		size_t used = memory_of(rows[i].begin, rows[i].piece, rows[i].times, &truncated);

		cr_expect_leq(used, rows[i].most, "%s: %zu", rows[i].why, used);
		cr_expect_eq(truncated, rows[i].truncated, "%s", rows[i].why);
	}
}

/* A large header is kept until it is whole, and no longer: its body may take long. */
Test(mime_summary, a_header_is_given_back_with_its_body)
{
	struct summary_builder *b = summary_begin();
	struct arena a = { 0 };
	struct out row = out_arena(&a);
	size_t before;

	for (unsigned i = 0; i < 20000; i++)
		summary_add(b, SLICE("X-A: bcdef\r\n"));
	before = summary_memory(b);
	cr_expect_geq(before, 20000 * 12u);
	summary_add(b, SLICE("Subject: s\r\n\r\n"));
	summary_add(b, SLICE("a body"));
	cr_expect_leq(summary_memory(b), 16u << 10);
	summary_end(b, &row);
	arena_done(&a);
}
