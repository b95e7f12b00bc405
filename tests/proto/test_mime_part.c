/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_part.c - the structure of messages, whatever the cuts. */
#include "proto/mime/part.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>

struct walk {
	struct part_walker w;
	enum part_event event;
	char text[16384];
	struct out copy;
	bool open; /* BODY or RAW text is being shown */
};

static void init_walk(void *state, const void *arg)
{
	static const struct part_limits none;
	struct walk *walk = state;

	part_init(&walk->w, arg ? arg : &none);
	walk->copy = out_fixed(walk->text, sizeof(walk->text));
	walk->event = PART_MORE;
}

static void done_walk(void *state)
{
	part_done(&((struct walk *)state)->w);
}

static void show_header(const struct part *p, struct out *o)
{
	static const char *const kinds[] = { "", "*", "@" };

	out_printf(o, "[%u.%u %.*s/%.*s%s%s", p->depth, p->index, SLICE_ARG(p->type.type),
		SLICE_ARG(p->type.subtype), kinds[p->kind], p->implied ? "!" : "");
}

/* Neighbouring pieces of one kind are shown as one: where they are cut is no promise. */
static void show(struct walk *walk, enum part_event event, slice bytes, struct out *o)
{
	const struct part *p = &walk->w.part;

	out_slice(&walk->copy, bytes);
	if (event == PART_HEADER)
		show_header(p, o);
	else if (event == PART_END)
		out_str(o, "]");
	else if (event == PART_LIMIT)
		out_str(o, "LIMIT");
	else if (event == PART_BODY || event == PART_RAW) {
		if (event != walk->event)
			out_str(o, event == PART_BODY ? " " : " ~");
		for (size_t i = 0; i < bytes.len; i++)
			out_char(o,
				bytes.ptr[i] == '\r'         ? '<' :
					bytes.ptr[i] == '\n' ? '>' :
							       bytes.ptr[i]);
	}
	walk->event = event;
}

static size_t take_walk(void *state, slice in, bool last, struct out *o)
{
	struct walk *walk = state;
	slice rest = in, bytes;

	for (;;) {
		enum part_event event = part_next(&walk->w, &rest, last, &bytes);

		if (event == PART_MORE)
			return in.len - rest.len;
		show(walk, event, bytes, o);
		if (event == PART_LIMIT || event == PART_DONE)
			break;
	}
	if (walk->w.limited)
		out_str(o, " limited");
	out_printf(o, "\n%.*s", SLICE_ARG(out_written(&walk->copy)));
	return FEED_STOP;
}

static const struct feed_parser parser = { .name = "part",
	.init = init_walk,
	.take = take_walk,
	.done = done_walk,
	.state_size = sizeof(struct walk) };

#define MULTI "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define INNER "Content-Type: multipart/alternative; boundary=bb\r\n\r\n"

static const struct {
	const char *why, *in, *want;
} rows[] = {
	{ "one leaf", "A: b\r\n\r\nhi\r\n", "[0.1 text/plain hi<>]" },
	{ "empty", "", "[0.1 text/plain!]" },
	{ "no body", "A: b\r\n\r\n", "[0.1 text/plain]" },
	{ "header alone", "A: b\r\n", "[0.1 text/plain!]" },
	{ "no header", "hi there\r\n", "[0.1 text/plain! hi there<>]" },
	{ "two parts", MULTI "pre\r\n--b\r\n\r\none\r\n--b\r\nA: c\r\n\r\ntwo\r\n--b--\r\npost",
		"[0.1 multipart/mixed* ~pre<>--b<>[1.1 text/plain one] ~<>--b<>[1.2 text/plain two]"
		" ~<>--b--<>post]" },
	{ "empty part", MULTI "--b\r\n\r\n--b\r\n\r\n\r\n--b--",
		"[0.1 multipart/mixed* ~--b<>[1.1 text/plain] ~--b<>[1.2 text/plain] ~<>--b--]" },
	{ "nested", MULTI "--b\r\n" INNER "--bb\r\n\r\nx\r\n--bb--\r\n--b--\r\n",
		"[0.1 multipart/mixed* ~--b<>[1.1 multipart/alternative* ~--bb<>[2.1 text/plain x]"
		" ~<>--bb--] ~<>--b--<>]" },
	{ "outer ends inner", MULTI "--b\r\n" INNER "--bb\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--",
		"[0.1 multipart/mixed* ~--b<>[1.1 multipart/alternative* ~--bb<>[2.1 text/plain x]]"
		" ~<>--b<>[1.2 text/plain y] ~<>--b--]" },
	{ "boundary is no more after its end", MULTI "--b--\r\n--b\r\nx",
		"[0.1 multipart/mixed* ~--b--<>--b<>x]" },
	{ "never closed", MULTI "--b\r\n\r\nx\r\n",
		"[0.1 multipart/mixed* ~--b<>[1.1 text/plain x<>]]" },
	{ "never opened", MULTI "x\r\n", "[0.1 multipart/mixed* ~x<>]" },
	{ "padding behind a boundary", MULTI "--b \t\r\n\r\nx\r\n--b--  \r\n",
		"[0.1 multipart/mixed* ~--b \t<>[1.1 text/plain x] ~<>--b--  <>]" },
	{ "nearly a boundary", MULTI "--b\r\n\r\n-x\r\n--\r\n--x\r\n --b\r\n--b--",
		"[0.1 multipart/mixed* ~--b<>[1.1 text/plain -x<>--<>--x<> --b] ~<>--b--]" },
	{ "lone LF lines", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n",
		"[0.1 multipart/mixed* ~--b>[1.1 text/plain x] ~>--b-->]" },
	{ "lone CR before a boundary", MULTI "--b\r\n\r\nx\r\r\n--b--",
		"[0.1 multipart/mixed* ~--b<>[1.1 text/plain x<] ~<>--b--]" },
	{ "boundary in a header", MULTI "--b\r\nA: c\r\n--b\r\n\r\nx\r\n--b--",
		"[0.1 multipart/mixed* ~--b<>[1.1 text/plain!] ~--b<>[1.2 text/plain x] "
		"~<>--b--]" },
	{ "part without blank line", MULTI "--b\r\nhello you\r\n--b--",
		"[0.1 multipart/mixed* ~--b<>[1.1 text/plain! hello you] ~<>--b--]" },
	{ "message inside",
		MULTI "--b\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx\r\n--b--",
		"[0.1 multipart/mixed* ~--b<>[1.1 message/rfc822@[2.1 text/plain x]] ~<>--b--]" },
	{ "digest",
		"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nA: "
		"b\r\n\r\nx\r\n--b--",
		"[0.1 multipart/digest* ~--b<>[1.1 message/rfc822@[2.1 text/plain x]] ~<>--b--]" },
	{ "encoded message is a leaf",
		"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==",
		"[0.1 message/rfc822 QQ==]" },
	{ "multipart without boundary", "Content-Type: multipart/mixed\r\n\r\n--b\r\n",
		"[0.1 multipart/mixed --b<>]" },
	{ "boundary with blanks",
		"Content-Type: multipart/mixed; boundary=\"b c \"\r\n\r\n--b c\r\n\r\nx",
		"[0.1 multipart/mixed* ~--b c<>[1.1 text/plain x]]" },
	{ "boundary at the very end", MULTI "--b", "[0.1 multipart/mixed* ~--b]" },
};

static slice first_line(slice text)
{
	slice line = { 0 };

	slice_cut(&text, '\n', &line);
	return line;
}

Test(mime_part, structures_by_table)
{
	static char buf[32768];

	for (size_t i = 0; i < array_len(rows); i++) {
		struct out o = out_fixed(buf, sizeof(buf));

		cr_assert(feed_all_ways(&parser, NULL, slice_str(rows[i].in), &o), "%s",
			rows[i].why);
		slice shown = first_line(out_written(&o));

		cr_expect(slice_eq(shown, slice_str(rows[i].want)), "%s: %.*s", rows[i].why,
			SLICE_ARG(shown));
		/* The bytes of all events are the bytes of the message. */
		cr_expect(slice_eq(slice_skip(out_written(&o), shown.len + 1),
				  slice_str(rows[i].in)),
			"%s", rows[i].why);
	}
}

#define LONG "A: bbbbbbbbbbbbbbbbbbbbbbbbb"
#define PASS(max)                                       \
	{                                               \
		.header_max = max, .long_headers = true \
	}
#define STRAY(max)                                                     \
	{                                                              \
		.header_max = max, .long_headers = true, .stray = true \
	}

Test(mime_part, limits_hold)
{
	static char buf[32768];
	static const struct {
		const char *why, *in, *want;
		struct part_limits limits;
	} limited[] = {
		{ "depth",
			"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n" INNER
			"--bb\r\n\r\nx\r\n--a--",
			"[0.1 multipart/mixed* ~--a<>[1.1 multipart/alternative --bb<><>x]"
			" ~<>--a--] limited",
			{ .depth_max = 2 } },
		{ "parts", MULTI "--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--",
			"[0.1 multipart/mixed* ~--b<>[1.1 text/plain x] ~<>--b<><>y<>--b--] "
			"limited",
			{ .count_max = 2 } },
		{ "header", "A: bbbbbbbbbbbbbbbbbbbbb\r\n\r\n", "LIMIT", { .header_max = 10 } },
		{ "header of a part",
			MULTI "--b\r\nX: 0123456789012345678901234567890123456789012345\r\n",
			"[0.1 multipart/mixed* ~--b<>LIMIT", { .header_max = 45 } },
		{ "one line", LONG "\r\n\r\nx", "[0.1 text/plain x]", PASS(10) },
		{ "many lines", "A: b\r\n" LONG "\r\n more\r\nC: d\r\n\r\nx", "[0.1 text/plain x]",
			PASS(10) },
		{ "no blank line", LONG "\r\nC: d\r\nno field\r\n", "[0.1 text/plain! no field<>]",
			PASS(10) },
		{ "the end in a line", LONG "\r\nC: d", "[0.1 text/plain!]", PASS(10) },
		{ "the end behind a line", LONG "\r\nC: d\r\n", "[0.1 text/plain!]", PASS(10) },
		{ "the end in no field", LONG "\r\nC", "[0.1 text/plain! C]", PASS(10) },
		{ "a name over the limit", "Abcdefghijklm: x\r\n\r\nx", "[0.1 text/plain x]",
			PASS(10) },
		{ "text over the limit", "Abcdefghijklm\r\n\r\nx",
			"[0.1 text/plain! Abcdefghijklm<><>x]", PASS(10) },
		{ "a stray line", " abc\r\n" LONG "\r\n\r\nx", "[0.1 text/plain x]", STRAY(10) },
		{ "a stray line that is text", " abc\r\nno field at all\r\nx",
			"[0.1 text/plain!  abc<>no field at all<>x]", STRAY(10) },
		{ "folding behind a stray line", " abc\r\n and so on\r\n",
			"[0.1 text/plain!  abc<> and so on<>]", STRAY(10) },
		{ "its type",
			"Content-Type: multipart/mixed; boundary=b\r\n" LONG
			"\r\n\r\n--b\r\n" LONG LONG "\r\nC: d\r\n\r\nx\r\n--b--",
			"[0.1 multipart/mixed* ~--b<>[1.1 text/plain x] ~<>--b--]", PASS(45) },
		{ "a boundary ends it",
			MULTI "--b\r\n" LONG LONG "\r\nC: d\r\n--b\r\n\r\ny\r\n--b--",
			"[0.1 multipart/mixed* ~--b<>[1.1 text/plain!] ~--b<>[1.2 text/plain y] "
			"~<>--b--]",
			PASS(45) },
	};

	for (size_t i = 0; i < array_len(limited); i++) {
		struct out o = out_fixed(buf, sizeof(buf));

		cr_assert(feed_all_ways(&parser, &limited[i].limits, slice_str(limited[i].in), &o),
			"%s", limited[i].why);
		slice shown = first_line(out_written(&o));

		cr_expect(slice_eq(shown, slice_str(limited[i].want)), "%s: %.*s", limited[i].why,
			SLICE_ARG(shown));
	}
}

Test(mime_part, encodings_have_names)
{
	cr_expect_eq(part_encoding_of(SLICE(" 8BIT ")), PART_8BIT);
	cr_expect_eq(part_encoding_of(SLICE("\r\n base64 (x)")), PART_BASE64);
	cr_expect_eq(part_encoding_of(SLICE("quoted-printable;")), PART_QP);
	cr_expect_eq(part_encoding_of(SLICE("x-uuencode")), PART_UNKNOWN_ENCODING);
	cr_expect_eq(part_encoding_of(SLICE("")), PART_7BIT);
}
