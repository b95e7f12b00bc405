/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_ctype.c - types, parameters, RFC 2231. */
#include "proto/mime/ctype.h"

#include <criterion/criterion.h>

static const struct {
	const char *why, *in, *want;
} rows[] = {
	{ "plain", "text/html", "text/html" },
	{ "parameter", "text/plain; charset=utf-8", "text/plain;charset=utf-8" },
	{ "quoted", "a/b; x=\"1; 2\"", "a/b;x=1; 2" },
	{ "escaped", "a/b; x=\"1\\\"2\"", "a/b;x=1\"2" },
	{ "folded", "multipart/mixed;\r\n\tboundary=\"a b\"", "multipart/mixed;boundary=a b" },
	{ "comments", "text (c) / (d) plain (e) ; (f) x (g) = (h) y (i)", "text/plain;x=y" },
	{ "value with specials", "a/b; boundary=----=_Part/1", "a/b;boundary=----=_Part/1" },
	{ "no blank", "a/b;x=1;y=2", "a/b;x=1;y=2" },
	{ "empty parameter", "a/b;;x=1;", "a/b;x=1" },
	{ "no equals", "a/b; foo; x=1", "a/b;x=1" },
	{ "open quote", "a/b; x=\"abc", "a/b;x=abc" },
	{ "first of two counts", "a/b; x=1; x=2", "a/b;x=1" },
	{ "RFC 2231 4", "a/b; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
		"a/b;title=This is ***fun***(us-ascii)[en-us]" },
	{ "RFC 2231 3", "a/b; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu\"", "a/b;URL=ftp://cs.utk.edu" },
	{ "RFC 2231 4.1",
		"a/b; t*0*=us-ascii'en'This%20is%20even%20; t*1*=%2A%2A; t*2=\"isn't it!\"",
		"a/b;t=This is even **isn't it!(us-ascii)[en]" },
	{ "language alone", "a/b; t*0*='en'x; t*1=\"'y\"", "a/b;t=x'y[en]" },
	{ "sections out of order", "a/b; t*1=b; t*0=a", "a/b;t=ab" },
	{ "extended beats plain", "a/b; n=x; n*=utf-8''%C3%A4", "a/b;n=\303\244(utf-8)" },
	{ "bad percent", "a/b; n*=utf-8''%zz%4", "a/b;n=%zz%4(utf-8)" },
	{ "no type", "", "none text/plain" },
	{ "no subtype", "text", "none text/plain" },
	{ "no subtype but slash", "text/", "none text/plain" },
	{ "garbage", "@@/;=", "none text/plain" },
};

Test(mime_ctype, types_by_table)
{
	struct arena a = { 0 };

	for (size_t i = 0; i < array_len(rows); i++) {
		struct ctype t;
		struct out o = out_arena(&a);

		if (!ctype_parse(slice_str(rows[i].in), &a, &t))
			out_str(&o, "none ");
		out_printf(&o, "%.*s/%.*s", SLICE_ARG(t.type), SLICE_ARG(t.subtype));
		for (size_t k = 0; k < t.count; k++) {
			out_printf(&o, ";%.*s=%.*s", SLICE_ARG(t.params[k].name),
				SLICE_ARG(t.params[k].value));
			if (t.params[k].charset.len)
				out_printf(&o, "(%.*s)", SLICE_ARG(t.params[k].charset));
			if (t.params[k].language.len)
				out_printf(&o, "[%.*s]", SLICE_ARG(t.params[k].language));
		}
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s: %.*s",
			rows[i].why, SLICE_ARG(out_written(&o)));
	}
	arena_done(&a);
}

Test(mime_ctype, lookups_are_without_case)
{
	struct arena a = { 0 };
	struct ctype t;
	slice value;

	cr_assert(ctype_parse(SLICE("Multipart/MIXED; BOUNDARY=x"), &a, &t));
	cr_expect(ctype_is(&t, "multipart", "mixed"));
	cr_expect(ctype_param(&t, "boundary", &value) && slice_eq(value, SLICE("x")));
	cr_expect_not(ctype_param(&t, "charset", &value));
	arena_done(&a);
}

Test(mime_ctype, dispositions)
{
	struct arena a = { 0 };
	struct ctype t;
	slice value;

	cr_assert(ctype_parse_disposition(SLICE("inline; filename=a.txt"), &a, &t));
	cr_expect(slice_eq(t.type, SLICE("inline")));
	cr_expect(ctype_param(&t, "filename", &value) && slice_eq(value, SLICE("a.txt")));
	cr_expect_not(ctype_parse_disposition(SLICE("; filename=b"), &a, &t));
	cr_expect(slice_eq(t.type, SLICE("attachment")));
	arena_done(&a);
}

Test(mime_ctype, parameters_are_bounded)
{
	struct arena a = { 0 };
	struct out o = out_arena(&a);
	struct ctype t;

	out_str(&o, "a/b");
	for (int i = 0; i < 500; i++)
		out_printf(&o, ";p%d=%d", i, i);
	cr_assert(ctype_parse(out_written(&o), &a, &t));
	cr_expect_eq(t.count, CTYPE_PARAMS_MAX);
	arena_done(&a);
}
