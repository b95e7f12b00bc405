/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and explaining option rows. `--name value` and `--name=value` are the same. */
#include "bench/args.h"

#include "core/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct arg_row *find_row(const struct arg_row *rows, slice name)
{
	for (; rows->name; rows++)
		if (slice_eq(slice_str(rows->name), name))
			return rows;
	return NULL;
}

static bool read_number(const struct arg_row *row, slice value, uint64_t *out)
{
	msec duration;

	switch (row->kind) {
	case ARG_SIZE:
		return text_parse_size(value, out);
	case ARG_DURATION:
		if (!text_parse_duration(value, &duration))
			return false;
		*out = (uint64_t)duration;
		return true;
	default:
		return text_parse_uint(value, UINT64_MAX, out);
	}
}

static bool store_number(const struct arg_row *row, const char *value, void *at)
{
	uint64_t n, max = row->max ? row->max : INT64_MAX;

	if (!read_number(row, slice_str(value), &n) || n < row->min || n > max) {
		fprintf(stderr, "--%s %s: wants %s from %" PRIu64 " to %" PRIu64 "\n", row->name,
			value, row->value, row->min, max);
		return false;
	}
	if (row->kind == ARG_DURATION)
		*(msec *)at = (msec)n;
	else
		*(uint64_t *)at = n;
	return true;
}

static void add_item(struct arg_list *list, const char *value)
{
	const char **items = realloc(list->items, (list->len + 1) * sizeof(*items));

	must(items);
	items[list->len++] = value;
	list->items = items;
}

static bool store(const struct arg_row *row, const char *value, void *opt)
{
	void *at = (char *)opt + row->offset;

	switch (row->kind) {
	case ARG_FLAG:
		*(bool *)at = true;
		return true;
	case ARG_STRING:
		*(const char **)at = value;
		return true;
	case ARG_LIST:
		add_item(at, value);
		return true;
	default:
		return store_number(row, value, at);
	}
}

/* Takes one option off the front of *argv, its value with it. */
static bool take_option(const struct arg_row *rows, char ***argv, void *opt)
{
	slice word = slice_str(*(*argv)++), name;
	const char *value = NULL;

	if (!slice_starts(word, SLICE("--"))) {
		fprintf(stderr, "%.*s: options begin with --\n", SLICE_ARG(word));
		return false;
	}
	word = slice_skip(word, 2);
	ptrdiff_t equals = slice_find(word, '=');

	name = equals < 0 ? word : slice_sub(word, 0, (size_t)equals);
	const struct arg_row *row = find_row(rows, name);

	if (!row) {
		fprintf(stderr, "--%.*s: no such option (see --help)\n", SLICE_ARG(name));
		return false;
	}
	if (row->kind != ARG_FLAG)
		value = equals >= 0 ? word.ptr + equals + 1 : **argv ? *(*argv)++ : NULL;
	if (row->kind != ARG_FLAG && !value) {
		fprintf(stderr, "--%s: wants %s\n", row->name, row->value);
		return false;
	}
	return store(row, value, opt);
}

bool args_parse(const struct arg_row *rows, char **argv, void *opt, bool *help)
{
	bool good = true;

	*help = false;
	while (*argv) {
		if (slice_eq(slice_str(*argv), SLICE("--help"))) {
			*help = true;
			return true;
		}
		good &= take_option(rows, &argv, opt);
	}
	return good;
}

bool args_wrong(const char *option, const char *value, const char *allowed)
{
	fprintf(stderr, "--%s %s: wants %s\n", option, value, allowed);
	return false;
}

void args_help(const char *command, const char *summary, const struct arg_row *rows)
{
	printf("ringpost-bench %s - %s\n\n", command, summary);
	for (; rows->name; rows++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s %s", rows->name, rows->value ? rows->value : "");
		printf("  %-30s %s\n", left, rows->help);
	}
	printf("  %-30s %s\n", "--help", "this text");
}
