/* SPDX-License-Identifier: GPL-2.0-or-later */
/* args.h - command-line options of the bench as rows.
 *
 * A command declares its options in a table: name, kind, where the value goes, one line of help. One
 * parser reads them, one printer makes --help of them. Values point into argv, which outlives
 * everything. Errors are worded here, on standard error, all of them in one run. */
#ifndef BENCH_ARGS_H
#define BENCH_ARGS_H

#include "core/base/base.h"

enum arg_kind {
	ARG_FLAG,     /* bool */
	ARG_STRING,   /* const char * */
	ARG_COUNT,    /* uint64_t, plain number */
	ARG_SIZE,     /* uint64_t bytes: 4K, 1M */
	ARG_DURATION, /* msec: 10s, 2m */
	ARG_LIST,     /* struct arg_list: may be given several times */
};

struct arg_list {
	const char **items;
	size_t len;
};

struct arg_row {
	const char *name; /* without the dashes */
	enum arg_kind kind;
	size_t offset; /* into the command's option struct */
	uint64_t min, max;
	const char *value; /* what stands for the value in --help */
	const char *help;
};

/* Reads argv into *opt. False: something was wrong and has been said. `--help` prints and sets *help. */
bool args_parse(const struct arg_row *rows, char **argv, void *opt, bool *help) must_use;
/* "--option value: wants what"; returns false. */
bool args_wrong(const char *option, const char *value, const char *allowed);
void args_help(const char *command, const char *summary, const struct arg_row *rows);

#endif
