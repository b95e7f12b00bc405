/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_preview.c - the first words of a part, whatever the cuts. */
#include "core/base/text.h"
#include "proto/mime/preview.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>

struct about {
	bool html;
	enum part_encoding coding;
	const char *charset;
};

struct state {
	struct preview p;
	struct arena a;
};

static void init_preview(void *state, const void *arg)
{
	const struct about *about = arg;

	preview_begin(&((struct state *)state)->p, about->html, about->coding,
		slice_str(about->charset));
}

static void done_preview(void *state)
{
	arena_done(&((struct state *)state)->a);
}

static size_t take_preview(void *state, slice in, bool last, struct out *o)
{
	struct state *s = state;

	preview_add(&s->p, &s->a, in);
	if (!last)
		return in.len;
	preview_end(&s->p, &s->a, 20, o);
	return FEED_STOP;
}

static const struct feed_parser parser = { .name = "preview",
	.init = init_preview,
	.take = take_preview,
	.done = done_preview,
	.state_size = sizeof(struct state) };

#define HTML                 \
	{                    \
		.html = true \
	}

Test(mime_preview, by_table)
{
	static const struct {
		const char *why;
		struct about about;
		slice in;
		const char *want;
	} rows[] = {
		{ "blanks", { 0 }, SLICE_INIT(" \r\n a  b\tc\r\n\r\nd "), "a b c d" },
		{ "cut", { 0 }, SLICE_INIT("0123456789 0123456789 x"), "0123456789 012345678" },
		{ "no blank at the end", { 0 }, SLICE_INIT("0123456789012345678 x"),
			"0123456789012345678" },
		{ "quoted-printable", { .coding = PART_QP, .charset = "utf-8" },
			SLICE_INIT("gr=C3=BC=\r\nn"), "gr\303\274n" },
		{ "base64", { .coding = PART_BASE64 }, SLICE_INIT("aGVs\r\nbG8="), "hello" },
		{ "charset", { .charset = "iso-8859-1" }, SLICE_INIT("gr\374n"), "gr\303\274n" },
		{ "charset of two bytes", { .html = true, .charset = "iso-2022-jp" },
			SLICE_INIT("<p>\33$BF|\33(B</p> x"), "\346\227\245 x" },
		{ "not markup", { 0 }, SLICE_INIT("a<b>&amp;"), "a<b>&amp;" },
		{ "unseen", { .charset = "utf-8" }, SLICE_INIT("a\342\200\213\302\255b\302\240c"),
			"ab c" },
		{ "tags", HTML, SLICE_INIT("<p>a</p><p>b <b>c</b>d"), "a b cd" },
		{ "style, script", HTML,
			SLICE_INIT("<STYLE x='>'>p{<}</style><script>a</b</scr</script >x"), "x" },
		{ "comment", HTML, SLICE_INIT("a<!-- > - -- x -->b<!doctype x>c"), "ab c" },
		{ "quotes in tags", HTML, SLICE_INIT("<a title=\"x > y\" b='>'>z"), "z" },
		{ "no tag", HTML, SLICE_INIT("1 < 2 <3 <"), "1 < 2 <3" },
		{ "references", HTML, SLICE_INIT("&lt;&amp;&#65;&#x42;&nbsp;&auml;&x;&"),
			"<&AB \303\244&x;&" },
		{ "bad numbers", HTML, SLICE_INIT("&#xd800;&#9999999;&#x;"),
			"\357\277\275\357\277\275&#x;" },
		{ "title and head", HTML, SLICE_INIT("<head><title>t</title></head><body>b"), "b" },
		{ "nothing", HTML, SLICE_INIT("<p></p>"), "" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[128];
		struct out o = out_fixed(buf, sizeof(buf));

		cr_assert(feed_all_ways(&parser, &rows[i].about, rows[i].in, &o));
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s: %.*s",
			rows[i].why, SLICE_ARG(out_written(&o)));
		cr_expect(text_is_utf8(out_written(&o)), "%s", rows[i].why);
	}
}
