/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cli.h - the command line: rows of commands, their arguments, and what they print.
 *
 * A command is a row; the frame finds it, checks its arguments against the row, prints --help and
 * usage errors, and calls its handler with what was given. Strings belong to argv. Handlers return the exit
 * status: 0 done, 1 failed, 2 used wrongly. */
#ifndef SERVER_CLI_H
#define SERVER_CLI_H

#include "core/base/base.h"

#include <jansson.h>

struct cli;

struct cli_flag {
	const char *name; /* without the dashes */
	const char *arg;  /* what its value is called; NULL: it takes none */
	const char *help;
};

/* A column of a list: the member of the row object, and its heading. */
struct cli_column {
	const char *member, *title;
};

struct cli_command {
	const char *noun, *verb; /* "queue", "list"; verb NULL: the noun alone */
	/* "USER@DOMAIN", or several: "USER@DOMAIN MAILBOX [UIDS]"; in brackets when optional, the last
	 * ones only; NULL: none. */
	const char *operand;
	const char *help;
	const struct cli_flag *flags;     /* ends with a NULL name; may be NULL */
	const struct cli_column *columns; /* likewise: how rows are printed */
	int (*run)(struct cli *cli);
};

enum { CLI_GIVEN_MAX = 16, CLI_OPERANDS_MAX = 4 };

struct cli {
	const struct cli_command *command;
	const char *config;  /* --config, or NULL */
	const char *operand; /* the first; NULL when absent */
	const char *operands[CLI_OPERANDS_MAX];
	size_t operand_count;
	bool json;
	msec timeout_ms; /* --timeout, for one silence of the server */
	size_t given_count;
	struct {
		const char *name, *value;
	} given[CLI_GIVEN_MAX];
};

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* Find the row and run it. The table ends with a row without a noun. */
int cli_main(const struct cli_command *table, int argc, char **argv);

/* The value of a flag ("" for one without a value), or NULL when it was not given. */
const char *cli_flag(const struct cli *cli, const char *name);
/* What the row calls operand `n`, without brackets; false: it has not so many. */
bool cli_operand_name(const struct cli_command *cmd, size_t n, slice *out);
/* The configuration file: --config, else ./ringpost.yaml, else /etc/ringpost/ringpost.yaml. */
const char *cli_config_path(const struct cli *cli);
/* "ringpost: ..." on standard error, or {"error": ...} with --json; returns CLI_FAILED. */
int cli_fail(const char *fmt, ...) printf_like(1, 2);

/* Printing of answers: rows page by page, then the end; or one object. */
enum { CLI_COLUMNS_MAX = 12 };
struct cli_printer {
	const struct cli *cli;
	size_t rows;
	int width[CLI_COLUMNS_MAX];
};
void cli_print_rows(struct cli_printer *p, const json_t *rows);
void cli_print_end(struct cli_printer *p);
void cli_print_object(const struct cli *cli, const json_t *object);

#endif
