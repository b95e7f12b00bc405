/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_word.c - encoded words read. */
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
