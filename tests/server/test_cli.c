/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_cli.c - arguments against the rows of a table, and the exit status each gives. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "server/cli.h"

static struct cli seen;
static unsigned calls;

static int remember(struct cli *cli)
{
	seen = *cli;
	calls++;
	return CLI_OK;
}

static const struct cli_flag flags[] = { { "size", "N", "a size" }, { "fast", NULL, "quick" },
	{ NULL, NULL, NULL } };
static const struct cli_command table[] = {
	{ "box", "add", "NAME", "make one", flags, NULL, remember },
	{ "box", "list", "[NAME]", "all", NULL, NULL, remember },
	{ "top", NULL, NULL, "screen", NULL, NULL, remember },
	{ NULL, NULL, NULL, NULL, NULL, NULL, NULL },
};

static int run(const char *line)
{
	static char copy[256]; /* what is given points into it */
	char *argv[16];
	int argc = 0;

	snprintf(copy, sizeof(copy), "ringpost %s", line);
	for (char *at = copy; at && argc < 15; argc++) {
		argv[argc] = at;
		at = strchr(at, ' ');
		if (at)
			*at++ = '\0';
	}
	argv[argc] = NULL;
	return cli_main(table, argc, argv);
}

Test(cli, statuses)
{
	static const struct {
		const char *line, *why;
		int status;
		unsigned calls;
	} rows[] = {
		{ "box add x", "operand", CLI_OK, 1 },
		{ "box add", "operand missing", CLI_USAGE, 0 },
		{ "box add x y", "one operand only", CLI_USAGE, 0 },
		{ "box list", "operand is optional", CLI_OK, 1 },
		{ "box add x --size 3 --fast", "flags", CLI_OK, 1 },
		{ "box add --size=3 x", "value behind =", CLI_OK, 1 },
		{ "box add x --size", "value missing", CLI_USAGE, 0 },
		{ "box add x --fast=1", "no value wanted", CLI_USAGE, 0 },
		{ "box add x --slow", "unknown flag", CLI_USAGE, 0 },
		{ "box list --size 3", "flag of another command", CLI_USAGE, 0 },
		{ "box frob", "unknown verb", CLI_USAGE, 0 },
		{ "frob", "unknown noun", CLI_USAGE, 0 },
		{ "top extra", "no operand", CLI_USAGE, 0 },
		{ "box add --help", "help", CLI_OK, 0 },
		{ "box --help", "help of a noun", CLI_OK, 0 },
		{ "--help", "help of all", CLI_OK, 0 },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		calls = 0;
		cr_assert_eq(run(rows[i].line), rows[i].status, "%s", rows[i].why);
		cr_assert_eq(calls, rows[i].calls, "%s", rows[i].why);
	}
}

Test(cli, what_was_given_arrives)
{
	cr_assert_eq(run("box add x --json --config c.yaml --size=12 --fast"), CLI_OK);
	cr_assert(seen.json);
	cr_assert_str_eq(seen.config, "c.yaml");
	cr_assert_str_eq(cli_flag(&seen, "size"), "12");
	cr_assert_str_eq(cli_flag(&seen, "fast"), "");
	cr_assert_null(cli_flag(&seen, "slow"));
}
