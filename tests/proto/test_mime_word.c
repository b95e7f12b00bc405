/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_word.c - encoded words to and fro. */
#include "core/base/text.h"
#include "proto/mime/header.h"
#include "proto/mime/word.h"

#include <criterion/criterion.h>

Test(mime_word, decoding_by_table)
{
	static const struct {
		const char *why, *in, *want;
	} rows[] = {
		{ "plain", "hello world", "hello world" },
		{ "Q", "=?utf-8?Q?J=C3=B6rg_M?=", "J\303\266rg M" },
		{ "B", "=?UTF-8?B?SsO2cmc=?=", "J\303\266rg" },
		{ "other charset", "=?iso-8859-1?q?J=F6rg?=", "J\303\266rg" },
		{ "language", "=?iso-8859-1*de?q?J=F6rg?=", "J\303\266rg" },
		{ "blanks between words vanish", "=?utf-8?q?a?= \t=?utf-8?q?b?=", "ab" },
		{ "blanks to text stay", "x =?utf-8?q?a?= y", "x a y" },
		{ "inside other text", "(=?utf-8?q?a?=)", "(a)" },
		{ "unknown charset stays", "=?x-none?q?a?= b", "=?x-none?q?a?= b" },
		{ "iconv options stay", "=?ascii//IGNORE?q?a?=", "=?ascii//IGNORE?q?a?=" },
		{ "bad bytes are replaced", "=?utf-8?q?=FF?=", "\357\277\275" },
		{ "cut inside a character", "=?utf-8?q?J=C3?= =?UTF-8?b?tnJn?=", "J\303\266rg" },
		{ "cut, then text", "=?utf-8?q?J=C3?= x", "J\357\277\275 x" },
		{ "another charset", "=?utf-8?q?=C3?= =?us-ascii?q?a?=", "\357\277\275a" },
		{ "shifted", "=?iso-2022-jp?B?GyRCRnwbKEI=?=", "\346\227\245" },
		{ "no escape", "=?utf-8?q?=4_=zz=?=", "=4 =zz=" },
		{ "no end", "=?utf-8?q?a", "=?utf-8?q?a" },
		{ "unknown encoding", "=?utf-8?x?a?=", "=?utf-8?x?a?=" },
		{ "nearly", "=? =?= ?=", "=? =?= ?=" },
		{ "empty", "", "" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[128];
		struct out o = out_fixed(buf, sizeof(buf));

		word_decode(slice_str(rows[i].in), &o);
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s: %.*s",
			rows[i].why, SLICE_ARG(out_written(&o)));
	}
}

Test(mime_word, encoding_round_trips)
{
	static const char *const texts[] = { "hello", "J\303\266rg", "", "=?looks like one?=",
		"\342\202\254\342\202\254\342\202\254\342\202\254\342\202\254\342\202\254\342\202"
		"\254"
		"\342\202\254\342\202\254\342\202\254\342\202\254\342\202\254\342\202\254\342\202"
		"\254"
		"\342\202\254\342\202\254\342\202\254\342\202\254\342\202\254\342\202\254\342\202"
		"\254" };
	struct arena a = { 0 };

	for (size_t i = 0; i < array_len(texts); i++) {
		struct out coded = out_arena(&a), flat = out_arena(&a), back = out_arena(&a);
		slice rest, line;

		word_encode(slice_str(texts[i]), &coded);
		cr_expect(text_is_ascii(out_written(&coded)));
		for (rest = out_written(&coded); slice_cut(&rest, '\n', &line);)
			cr_expect_leq(line.len, 78);
		header_unfold(&flat, out_written(&coded));
		word_decode(out_written(&flat), &back);
		cr_expect(slice_eq(out_written(&back), slice_str(texts[i])), "%s", texts[i]);
	}
	arena_done(&a);
}

Test(mime_word, charsets)
{
	char buf[64];
	struct out o = out_fixed(buf, sizeof(buf));

	cr_expect(word_to_utf8(SLICE("windows-1252"), SLICE("\200"), &o));
	cr_expect(slice_eq(out_written(&o), SLICE("\342\202\254")));
	o.len = 0;
	cr_expect_not(word_to_utf8(SLICE("utf-8"), SLICE("\200"), &o));
	cr_expect_not(word_to_utf8(SLICE("utf-16"), SLICE("\330"), &o));
	cr_expect_eq(o.len, 0);
}
