/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option rows: every kind is read in both spellings, and wrong ones are refused. */
#include "bench/args.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct options {
	bool flag;
	const char *text;
	uint64_t count, size;
	msec wait;
	struct arg_list list;
};

#define AT(member) offsetof(struct options, member)
static const struct arg_row rows[] = {
	{ "flag", ARG_FLAG, AT(flag), 0, 0, NULL, "" },
	{ "text", ARG_STRING, AT(text), 0, 0, "TEXT", "" },
	{ "count", ARG_COUNT, AT(count), 2, 9, "N", "" },
	{ "size", ARG_SIZE, AT(size), 0, 0, "SIZE", "" },
	{ "wait", ARG_DURATION, AT(wait), 0, 0, "TIME", "" },
	{ "list", ARG_LIST, AT(list), 0, 0, "TEXT", "" },
	{ 0 },
};

Test(args, every_kind_is_read)
{
	char *argv[] = { "--flag", "--text", "a=b", "--count=3", "--size", "4K", "--wait=2m",
		"--list", "x", "--list=y", NULL };
	struct options o = { 0 };
	bool help;

	cr_assert(args_parse(rows, argv, &o, &help) && !help);
	cr_assert(o.flag && o.count == 3 && o.size == 4096 && o.wait == 120000);
	cr_assert_str_eq(o.text, "a=b");
	cr_assert(o.list.len == 2);
	cr_assert_str_eq(o.list.items[1], "y");
	free(o.list.items);
}

Test(args, wrong_ones_are_refused)
{
	static const struct {
		char *word, *why;
	} bad[] = {
		{ "--nothing", "unknown" },
		{ "word", "no dashes" },
		{ "--count=1", "below" },
		{ "--count=10", "above" },
		{ "--count=x", "no number" },
		{ "--size=4Q", "no size" },
		{ "--text", "value missing" },
	};

	for (size_t i = 0; i < array_len(bad); i++) {
		char *argv[] = { bad[i].word, NULL };
		struct options o = { 0 };
		bool help;

		cr_assert_not(args_parse(rows, argv, &o, &help), "%s", bad[i].why);
	}
}

Test(args, help_wins)
{
	char *argv[] = { "--count=3", "--help", NULL };
	struct options o = { 0 };
	bool help;

	cr_assert(args_parse(rows, argv, &o, &help) && help);
}
