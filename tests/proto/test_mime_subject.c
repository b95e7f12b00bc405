/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_subject.c - base subjects (RFC 5256 2.1). */
#include "proto/mime/subject.h"

#include <criterion/criterion.h>

Test(mime_subject, by_table)
{
	static const struct {
		const char *why, *in, *want;
		bool reply;
	} rows[] = {
		{ "plain", "Hello", "Hello", false },
		{ "empty", "", "", false },
		{ "blanks", "  a \t\r\n  b ", "a b", false },
		{ "reply", "Re: Hello", "Hello", true },
		{ "case and blank", "rE : Hello", "Hello", true },
		{ "forward", "Fw: a", "a", true },
		{ "forwarded", "FWD: a", "a", true },
		{ "many", "Re: Fwd: re: a", "a", true },
		{ "counted", "Re[2]: a", "a", true },
		{ "counted apart", "re [2] : a", "a", true },
		{ "list", "[list] a", "a", false },
		{ "list and reply", "[list] Re: [list] a", "a", true },
		{ "blobs before a reply", "[a] [b] Re: c", "c", true },
		{ "only a blob", "[list]", "[list]", false },
		{ "the last blob stays", "[a] [b]", "[b]", false },
		{ "reply to nothing", "Re:", "", true },
		{ "trailer", "a (fwd)", "a", true },
		{ "trailers", "a (fwd) (FWD) ", "a", true },
		{ "forward in brackets", "[Fwd: a]", "a", true },
		{ "twice", "[fwd: [fwd: Re: a (fwd)]]", "a", true },
		{ "not closed", "[fwd: a", "[fwd: a", false },
		{ "a word that begins so", "Regarding: x", "Regarding: x", false },
		{ "no colon", "Re a", "Re a", false },
		{ "blob without end", "[a b", "[a b", false },
		{ "blob in a blob", "[[a]] b", "[[a]] b", false },
		{ "encoded", "=?utf-8?q?Re=3A_gr=C3=BC=C3=9Fe?=", "gr\303\274\303\237e", true },
		{ "bytes that are no UTF-8", "Re: gr\374n", "gr\357\277\275n", true },
		{ "colon alone", ":", ":", false },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct arena a = { 0 };
		struct subject got = subject_base(slice_str(rows[i].in), &a);

		cr_expect(slice_eq(got.base, slice_str(rows[i].want)), "%s: \"%.*s\"", rows[i].why,
			SLICE_ARG(got.base));
		cr_expect_eq(got.reply, rows[i].reply, "%s", rows[i].why);
		arena_done(&a);
	}
}

Test(mime_subject, long_ones_are_cut)
{
	struct arena a = { 0 };
	struct out o = out_arena(&a);
	struct subject got;

	out_fill(&o, 'x', SUBJECT_MAX * 2);
	got = subject_base(out_written(&o), &a);
	cr_expect_eq(got.base.len, SUBJECT_MAX);
	arena_done(&a);
}
