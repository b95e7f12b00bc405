/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_section.c - the example of RFC 3501 6.4.5 and what else numbers may name. */
#include "core/base/text.h"
#include "proto/mime/section.h"

#include <criterion/criterion.h>

/* "1.2.MIME" */
static struct section section_of(const char *text)
{
	struct section section = { 0 };
	slice rest = slice_str(text), word;
	uint64_t n;

	while (slice_cut(&rest, '.', &word)) {
		if (text_parse_uint(word, 1000, &n))
			section.path[section.depth++] = (unsigned)n;
		else
			section.what = slice_eq(word, SLICE("MIME")) ? SECTION_MIME :
				slice_eq(word, SLICE("TEXT"))        ? SECTION_TEXT :
								       SECTION_HEADER;
	}
	return section;
}

static void expect_section(slice message, const char *name, const char *want)
{
	struct arena a = { 0 };
	struct out row = out_arena(&a);
	struct section section = section_of(name);
	struct section_span span = { 0 };
	struct summary s;
	slice got;

	summary_make(message, &row);
	cr_assert(summary_open(out_written(&row), &s));
	cr_expect_eq(section_find(&s, &section, &span), want != NULL, "%s", name);
	got = slice_sub(message, span.at, span.at + span.len);
	if (want)
		cr_expect(slice_eq(got, slice_str(want)), "%s: %.*s", name, SLICE_ARG(got));
	arena_done(&a);
}

#define H1 "Content-Type: multipart/mixed; boundary=a\r\n\r\n"
#define P1 "Content-ID: <1>\r\n\r\n"
#define P2 "Content-Type: message/rfc822\r\n\r\n"
#define H2 "Subject: in\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
#define P21 "Content-Type: image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\n"
#define T2 "--b\r\n" P21 "R0lG\r\n--b\r\n\r\nsecond\r\n--b--"
#define T1 "--a\r\n" P1 "one\r\n--a\r\n" P2 H2 T2 "\r\n--a--\r\n"

Test(mime_section, of_a_multipart_with_a_message)
{
	static const struct {
		const char *name, *want;
	} rows[] = {
		{ "", H1 T1 },
		{ "HEADER", H1 },
		{ "TEXT", T1 },
		{ "MIME", NULL },
		{ "1", "one" },
		{ "1.MIME", P1 },
		{ "1.HEADER", NULL },
		{ "1.TEXT", NULL },
		{ "1.1", NULL },
		{ "2", H2 T2 },
		{ "2.MIME", P2 },
		{ "2.HEADER", H2 },
		{ "2.TEXT", T2 },
		{ "2.1", "R0lG" },
		{ "2.1.MIME", P21 },
		{ "2.2", "second" },
		{ "2.3", NULL },
		{ "2.2.1", NULL },
		{ "3", NULL },
		{ "0", NULL },
	};

	for (size_t i = 0; i < array_len(rows); i++)
		expect_section(SLICE(H1 T1), rows[i].name, rows[i].want);
}

Test(mime_section, of_a_plain_message)
{
	slice plain = SLICE("A: b\r\n\r\nhello\r\n");

	expect_section(plain, "1", "hello\r\n");
	expect_section(plain, "TEXT", "hello\r\n");
	expect_section(plain, "1.MIME", "A: b\r\n\r\n");
	expect_section(plain, "1.1", NULL);
	expect_section(plain, "2", NULL);
	expect_section(plain, "1.TEXT", NULL);
}

Test(mime_section, of_a_message_in_a_message)
{
	slice nested = SLICE(P2 P2 "Subject: x\r\n\r\nhello\r\n");

	expect_section(nested, "1", P2 "Subject: x\r\n\r\nhello\r\n");
	expect_section(nested, "1.HEADER", P2);
	expect_section(nested, "1.1", "Subject: x\r\n\r\nhello\r\n");
	expect_section(nested, "1.1.HEADER", "Subject: x\r\n\r\n");
	expect_section(nested, "1.1.1", "hello\r\n");
	expect_section(nested, "1.1.1.1", NULL);
}

Test(mime_section, what_binary_has_to_undo)
{
	struct arena a = { 0 };
	struct out row = out_arena(&a);
	struct section section = section_of("2.1");
	struct section_span span;
	struct summary s;

	summary_make(SLICE(H1 T1), &row);
	cr_assert(summary_open(out_written(&row), &s));
	cr_assert(section_find(&s, &section, &span));
	cr_expect(span.leaf && span.coding == PART_BASE64);
	section = section_of("2");
	cr_assert(section_find(&s, &section, &span));
	cr_expect_not(span.leaf);
	arena_done(&a);
}
