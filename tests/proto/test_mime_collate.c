/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_collate.c - keys, order, and finding text in text whatever the cuts. */
#include "proto/mime/collate.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>

static void expect_key(const char *text, const char *want)
{
	char buf[128];
	struct out o = out_fixed(buf, sizeof(buf));

	collate_key(&o, slice_str(text));
	cr_expect(slice_eq(out_written(&o), slice_str(want)), "%s: %.*s", text,
		SLICE_ARG(out_written(&o)));
}

Test(mime_collate, keys)
{
	expect_key("", "");
	expect_key("Hello [x]", "HELLO [X]");
	expect_key("\303\274", "U\314\210"); /* u umlaut: U, combining diaeresis */
	expect_key("\303\234", "U\314\210");
	expect_key("\357\254\201x",
		"fiX"); /* fi ligature: decomposed last, so RFC 5051 has it lower */
	expect_key("\307\206", "Dz\314\214");   /* title case, not upper case */
	expect_key("\303\237", "\341\272\236"); /* sharp s */
	expect_key("a\374b",
		"A\357\277\275"
		"B"); /* no UTF-8 */
	expect_key("\342\202", "\357\277\275\357\277\275");
}

static void init_find(void *state, const void *arg)
{
	*(struct collate_find *)state = (struct collate_find){ .needle = arg };
}

static size_t take_find(void *state, slice in, bool last, struct out *o)
{
	bool found = collate_find_add(state, in);

	if (!found && !last)
		return in.len;
	out_printf(o, "%d", found || collate_find_end(state));
	return FEED_STOP;
}

static const struct feed_parser parser = { .name = "find",
	.init = init_find,
	.take = take_find,
	.state_size = sizeof(struct collate_find) };

Test(mime_collate, finding_by_table)
{
	static const struct {
		const char *why, *needle, *text;
		bool want;
	} rows[] = {
		{ "empty in empty", "", "", true },
		{ "empty in all", "", "x", true },
		{ "in empty", "x", "", false },
		{ "case", "HeLLo", "say hello", true },
		{ "not there", "hello", "hell o", false },
		{ "begins again", "aab", "aaab", true },
		{ "begins again, often", "abcabd", "abcabcabcabd", true },
		{ "at the end", "b", "ab", true },
		{ "not whole", "abc", "ab", false },
		{ "accents", "CAF\303\211", "un caf\303\251!", true },
		{ "bare letter in an accented one", "cafe", "caf\303\251", true },
		{ "not the other way", "caf\303\251", "cafe", false },
		{ "ligature", "\357\254\201", "x\357\254\201ne", true },
		{ "other writing", "\346\227\245\346\234\254", "x\346\227\245\346\234\254y", true },
		{ "Greek sigma", "\316\243", "\317\203", true },
		{ "no UTF-8 around", "word", "\374word\374", true },
		{ "cut character at the end", "x\357\277\275", "x\342", true },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct arena a = { 0 };
		struct collate_needle n;
		char buf[8];
		struct out o = out_fixed(buf, sizeof(buf));

		collate_needle_init(&n, slice_str(rows[i].needle), &a);
		cr_expect_eq(collate_has(&n, slice_str(rows[i].text)), rows[i].want, "%s",
			rows[i].why);
		cr_assert(feed_all_ways(&parser, &n, slice_str(rows[i].text), &o));
		cr_expect_eq(buf[0] == '1', rows[i].want, "%s", rows[i].why);
		arena_done(&a);
	}
}
