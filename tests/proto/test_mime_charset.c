/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_charset.c - text to UTF-8, whatever the cuts. */
#include "core/base/text.h"
#include "proto/mime/charset.h"
#include "proto/mime/utf8.h"
#include "tests/support/proto_feeds.h"

#include <criterion/criterion.h>

#define BAD "\357\277\275"

Test(mime_charset, decoding_by_table)
{
	static const struct {
		const char *why, *charset;
		slice in;
		const char *want;
	} rows[] = {
		{ "ASCII", "us-ascii", SLICE_INIT("hello"), "hello" },
		{ "UTF-8", "UTF-8", SLICE_INIT("gr\303\274n \342\202\254 \360\237\230\200"),
			"gr\303\274n \342\202\254 \360\237\230\200" },
		{ "none named", "", SLICE_INIT("gr\303\274n"), "gr\303\274n" },
		{ "lone byte", "utf-8", SLICE_INIT("a\374b"), "a" BAD "b" },
		{ "overlong", "utf-8", SLICE_INIT("\300\200"), BAD BAD },
		{ "surrogate", "utf-8", SLICE_INIT("\355\240\200"), BAD BAD BAD },
		{ "too high", "utf-8", SLICE_INIT("\364\220\200\200"), BAD BAD BAD BAD },
		{ "cut at the end", "utf-8", SLICE_INIT("a\342\202"), "a" BAD BAD },
		{ "cut, then text", "utf-8", SLICE_INIT("a\342\202b"), "a" BAD BAD "b" },
		{ "Latin-1", "ISO-8859-1", SLICE_INIT("gr\374n"), "gr\303\274n" },
		{ "Windows", "windows-1252", SLICE_INIT("\200 5"), "\342\202\254 5" },
		{ "shifted", "iso-2022-jp", SLICE_INIT("\33$BF|\33(B x"), "\346\227\245 x" },
		{ "two bytes", "gb18030", SLICE_INIT("\304\343\272\303"),
			"\344\275\240\345\245\275" },
		{ "two bytes, one missing", "shift_jis", SLICE_INIT("a\223"), "a" BAD },
		{ "no such byte", "windows-1253", SLICE_INIT("a\252b"), "a" BAD "b" },
		{ "UTF-16", "utf-16be", SLICE_INIT("\0a\0b"), "ab" },
		{ "UTF-7", "utf-7", SLICE_INIT("gr+APw-n"), "gr\303\274n" },
		{ "UTF-7, all of it", "utf-7", SLICE_INIT("1 +- 2 +2D3eAA.x+2D0-+3gA-"),
			"1 + 2 \360\237\230\200.x" BAD BAD },
		{ "unknown", "x-none", SLICE_INIT("a\374b\303\274"), "a" BAD "b\303\274" },
		{ "options", "utf-16//IGNORE", SLICE_INIT("a"), "a" },
		{ "nothing", "koi8-r", SLICE_INIT(""), "" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[128];
		struct out o = out_fixed(buf, sizeof(buf));
		slice charset = slice_str(rows[i].charset);

		cr_assert(feed_all_ways(&feed_charset, &charset, rows[i].in, &o));
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s: %.*s",
			rows[i].why, SLICE_ARG(out_written(&o)));
		cr_expect(text_is_utf8(out_written(&o)), "%s", rows[i].why);
	}
}

Test(mime_charset, what_is_known)
{
	cr_expect(charset_known(SLICE("UTF-8")) && charset_known(SLICE("Windows-1251")));
	cr_expect(charset_known(SLICE("ISO-2022-KR")) && charset_known(SLICE("")));
	cr_expect_not(charset_known(SLICE("x-none")));
	cr_expect_not(charset_known(SLICE("iso-8859-99")));
	cr_expect_not(charset_known(SLICE("iso-2022-cn-ext")), "not met in mail, and not safe");
	cr_expect_not(charset_known(SLICE("utf-16//TRANSLIT")));
	cr_expect_not(charset_known(SLICE("iso-8859-2\0")));
	cr_expect(charset_is_ascii_based(SLICE("koi8-r")) && charset_is_ascii_based(SLICE("")));
	cr_expect_not(charset_is_ascii_based(SLICE("Shift_JIS")));
	cr_expect_not(charset_is_ascii_based(SLICE("iso-2022-jp")));
}

Test(mime_charset, a_cache_lends_each_descriptor_once)
{
	struct charset_cache cache = { 0 };
	struct charset_decoder all[CHARSET_CACHE + 2];
	char buf[128];
	struct out o = out_fixed(buf, sizeof(buf));

	for (size_t i = 0; i < array_len(all); i++) {
		charset_begin(&all[i], SLICE("windows-1252"), &cache);
		cr_expect(all[i].known);
	}
	for (size_t i = 0; i < array_len(all); i++) {
		charset_add(&all[i], SLICE("\200"), &o);
		charset_end(&all[i], &o);
	}
	cr_expect_eq(o.len, 3 * array_len(all));
	for (int i = 0; i < 20; i++) {
		o.len = 0;
		cr_expect(charset_to_utf8(i % 2 ? SLICE("koi8-r") : SLICE("iso-8859-5"),
			SLICE("\320"), &cache, &o));
		cr_expect_eq(o.len, 2);
	}
	charset_cache_done(&cache);
}

Test(mime_charset, a_full_writer_is_no_trouble)
{
	static const char *const names[] = { "utf-8", "iso-8859-1", "utf-16be", "gb18030" };
	char many[4096], buf[10];

	memset(many, 'a', sizeof(many));
	for (size_t i = 0; i < array_len(names); i++) {
		struct out o = out_fixed(buf, sizeof(buf));

		charset_to_utf8(slice_str(names[i]), slice_of(many, sizeof(many)), NULL, &o);
		cr_expect_not(out_ok(&o));
	}
}

Test(mime_charset, characters_one_by_one)
{
	char buf[4];
	uint32_t c;

	for (uint32_t i = 0; i < 0x110000; i += i < 0x900 ? 1 : 97) {
		size_t len = utf8_put(i, buf);

		if (i >= 0xd800 && i < 0xe000)
			continue;
		cr_assert_eq(utf8_take(slice_of(buf, len), &c), len);
		cr_assert_eq(c, i);
		if (len > 1)
			cr_assert_eq(utf8_take(slice_of(buf, len - 1), &c), 0);
	}
	cr_expect_eq(utf8_ascii_len(SLICE("0123456789\374")), 10);
	cr_expect_eq(utf8_ascii_len(SLICE("\374")), 0);
}
