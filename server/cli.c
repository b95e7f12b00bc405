/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cli.c - finds the row of a command, reads its arguments, prints help.
 *
 * Everything a user types is checked here against the rows, so that handlers see only what their
 * row names. Common flags (--config, --json, --timeout, --help) belong to every command. */
#include "server/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/text.h"

enum { ERROR_BYTES = 8 * 1024 };

static const struct cli_flag common_flags[] = {
	{ "config", "FILE", "configuration (./ringpost.yaml, then /etc/ringpost/ringpost.yaml)" },
	{ "json", NULL, "print JSON" },
	{ "timeout", "TIME", "give up on a server that is silent for so long (30s)" },
	{ "help", NULL, "print this help" },
	{ NULL, NULL, NULL },
};

/* Set once, from argv, before anything can fail. */
static bool json_errors;

/* Standard output has an answer or nothing, so what failed stands on the other one. */
static void put_error(char *text)
{
	json_t *error = json_errors ? json_pack("{s:s}", "error", text) : NULL;

	/* An argument may be no UTF-8. */
	for (char *byte = text; json_errors && !error && *byte; byte++)
		*byte = *byte & 0x80 ? '?' : *byte;
	if (json_errors && !error)
		error = json_pack("{s:s}", "error", text);
	fflush(stdout);
	if (error) {
		json_dumpf(error, stderr, 0);
		fputc('\n', stderr);
	} else {
		fprintf(stderr, "ringpost: %s\n", text);
	}
	json_decref(error);
}

int cli_fail(const char *fmt, ...)
{
	char text[ERROR_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	put_error(text);
	return CLI_FAILED;
}

const char *cli_flag(const struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->given_count; i++)
		if (!strcmp(cli->given[i].name, name))
			return cli->given[i].value;
	return NULL;
}

const char *cli_config_path(const struct cli *cli)
{
	if (cli->config)
		return cli->config;
	return access("ringpost.yaml", F_OK) == 0 ? "ringpost.yaml" : "/etc/ringpost/ringpost.yaml";
}

static void put_synopsis(FILE *file, const struct cli_command *cmd)
{
	fprintf(file, "ringpost %s", cmd->noun);
	if (cmd->verb)
		fprintf(file, " %s", cmd->verb);
	if (cmd->operand)
		fprintf(file, " %s", cmd->operand);
}

static void print_all(const struct cli_command *table, FILE *file, const char *noun)
{
	fputs("usage:\n", file);
	for (; table->noun; table++) {
		if (noun && strcmp(noun, table->noun))
			continue;
		fputs("  ", file);
		put_synopsis(file, table);
		fprintf(file, "\n        %s\n", table->help);
	}
	fputs("Every command takes --config FILE, --json, --timeout TIME and --help.\n", file);
}

static void print_flags(const struct cli_flag *flags)
{
	for (; flags && flags->name; flags++)
		printf("  --%s%s%-*s %s\n", flags->name, flags->arg ? " " : "",
			(int)(20 - MIN(strlen(flags->name), 19u)), flags->arg ? flags->arg : "",
			flags->help);
}

static int print_help(const struct cli_command *cmd)
{
	fputs("usage: ", stdout);
	put_synopsis(stdout, cmd);
	printf(" [flags]\n%s\n\nflags:\n", cmd->help);
	print_flags(cmd->flags);
	print_flags(common_flags);
	return CLI_OK;
}

static int usage(const struct cli_command *cmd, const char *fmt, const char *what)
{
	char text[ERROR_BYTES];

	/* The formats are ours, each with one %s. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), fmt, what);
#pragma GCC diagnostic pop
	put_error(text);
	if (json_errors)
		return CLI_USAGE;
	fputs("usage: ", stderr);
	put_synopsis(stderr, cmd);
	fputs(" [flags]   (--help lists them)\n", stderr);
	return CLI_USAGE;
}

/* Common flags are tried too. The name may be followed by "=value". */
static const struct cli_flag *find_flag(const struct cli_flag *flags, const char *name, size_t len)
{
	for (; flags && flags->name; flags++)
		if (strlen(flags->name) == len && !memcmp(flags->name, name, len))
			return flags;
	return NULL;
}

static const struct cli_command *find_command(const struct cli_command *table, int argc,
	char **argv, int *out_used)
{
	for (; table->noun; table++) {
		if (strcmp(table->noun, argv[1]))
			continue;
		if (!table->verb) {
			*out_used = 2;
			return table;
		}
		if (argc > 2 && !strcmp(table->verb, argv[2])) {
			*out_used = 3;
			return table;
		}
	}
	return NULL;
}

/* One flag at argv[i]; *i moves over a separate value. CLI_OK, or the status to end with. */
static int take_flag(struct cli *cli, int argc, char **argv, int *i)
{
	const char *text = argv[*i] + 2, *equals = strchr(text, '='), *value = "";
	size_t len = equals ? (size_t)(equals - text) : strlen(text);
	const struct cli_flag *flag = find_flag(cli->command->flags, text, len);

	if (!flag)
		flag = find_flag(common_flags, text, len);
	if (!flag)
		return usage(cli->command, "no such flag: %s", argv[*i]);
	if (!flag->arg && equals)
		return usage(cli->command, "--%s takes no value", flag->name);
	if (flag->arg && !equals && *i + 1 >= argc)
		return usage(cli->command, "--%s needs a value", flag->name);
	if (flag->arg)
		value = equals ? equals + 1 : argv[++*i];
	if (!strcmp(flag->name, "config"))
		cli->config = value;
	else if (!strcmp(flag->name, "json"))
		cli->json = true;
	else if (!strcmp(flag->name, "timeout")) {
		if (!text_parse_duration(slice_str(value), &cli->timeout_ms) || !cli->timeout_ms)
			return usage(cli->command, "--timeout: a time is wanted, not %s", value);
	} else if (cli->given_count == CLI_GIVEN_MAX)
		return usage(cli->command, "too many flags at %s", argv[*i]);
	else {
		cli->given[cli->given_count].name = flag->name;
		cli->given[cli->given_count++].value = value;
	}
	return CLI_OK;
}

/* With its brackets, if it has any. */
static bool operand_word(const struct cli_command *cmd, size_t n, slice *out)
{
	slice rest = slice_str(cmd->operand);

	for (size_t i = 0; i < CLI_OPERANDS_MAX && slice_cut(&rest, ' ', out); i++)
		if (i == n)
			return true;
	return false;
}

bool cli_operand_name(const struct cli_command *cmd, size_t n, slice *out)
{
	slice word;

	if (!operand_word(cmd, n, &word))
		return false;
	*out = word.ptr[0] == '[' ? slice_sub(word, 1, word.len - 1) : word;
	return true;
}

static int missing_operand(const struct cli *cli)
{
	char text[64];
	slice word;

	if (!operand_word(cli->command, cli->operand_count, &word) || word.ptr[0] == '[')
		return CLI_OK;
	snprintf(text, sizeof(text), "%.*s", SLICE_ARG(word));
	return usage(cli->command, "%s is missing", text);
}

static int take_args(struct cli *cli, int first, int argc, char **argv)
{
	slice word;

	for (int i = first; i < argc; i++) {
		if (!strncmp(argv[i], "--", 2) && argv[i][2]) {
			int status = take_flag(cli, argc, argv, &i);

			if (status != CLI_OK)
				return status;
		} else if (!operand_word(cli->command, cli->operand_count, &word)) {
			return usage(cli->command, "unexpected argument: %s", argv[i]);
		} else {
			cli->operands[cli->operand_count++] = argv[i];
			cli->operand = cli->operands[0];
		}
	}
	return CLI_OK;
}

int cli_main(const struct cli_command *table, int argc, char **argv)
{
	struct cli cli = { .timeout_ms = 30000 };
	int used = 0, status;

	for (int i = 1; i < argc; i++)
		json_errors |= !strcmp(argv[i], "--json");
	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		print_all(table, argc < 2 ? stderr : stdout, NULL);
		return argc < 2 ? CLI_USAGE : CLI_OK;
	}
	cli.command = find_command(table, argc, argv, &used);
	if (!cli.command) {
		bool help = argc > 2 && !strcmp(argv[2], "--help");

		if (json_errors && !help)
			return usage(NULL, "no such command: %s", argv[1]);
		print_all(table, help ? stdout : stderr, argv[1]);
		return help ? CLI_OK : CLI_USAGE;
	}
	status = take_args(&cli, used, argc, argv);
	if (status != CLI_OK)
		return status;
	if (cli_flag(&cli, "help"))
		return print_help(cli.command);
	status = missing_operand(&cli);
	return status == CLI_OK ? cli.command->run(&cli) : status;
}
