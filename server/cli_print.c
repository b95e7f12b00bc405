/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cli_print.c - answers as tables for people, or as JSON for programs.
 *
 * Rows come page by page and are printed as they come: a queue of millions passes through here, so
 * nothing is kept but the widths of the columns, which only grow. */
#include "server/cli.h"

#include <stdio.h>

enum { WIDTH_MAX = 48, CELL_BYTES = 256 };

/* Strings with blanks between, as many as fit. */
static const char *words_text(const json_t *list, char *buf, size_t bytes)
{
	struct out o = out_fixed(buf, bytes - 1);
	const json_t *word;
	size_t i;

	json_array_foreach((json_t *)list, i, word)
	{
		if (i)
			out_char(&o, ' ');
		out_str(&o, json_is_string(word) ? json_string_value(word) : "-");
	}
	buf[o.len] = '\0';
	return buf;
}

/* The value as text; `buf` is for numbers. Control characters are not passed to a terminal. */
static const char *value_text(const json_t *value, char *buf, size_t bytes)
{
	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_array(value))
		return words_text(value, buf, bytes);
	if (json_is_integer(value))
		snprintf(buf, bytes, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		snprintf(buf, bytes, "%.2f", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(buf, bytes, "%s", json_is_true(value) ? "yes" : "no");
	else
		snprintf(buf, bytes, "-");
	return buf;
}

static void put_cell(const char *text, int width)
{
	int len = 0;

	for (; *text; text++, len++)
		putchar((unsigned char)*text < 32 || *text == 127 ? '?' : *text);
	for (; len < width; len++)
		putchar(' ');
}

static size_t widths(const struct cli_column *columns, const json_t *rows, int *out)
{
	size_t count = 0;

	for (; columns && columns[count].member && count < CLI_COLUMNS_MAX; count++) {
		size_t i, width = strlen(columns[count].title);
		const json_t *row;
		char buf[CELL_BYTES];

		json_array_foreach((json_t *)rows, i, row)
		{
			const json_t *value = json_object_get(row, columns[count].member);

			width = MAX(width, strlen(value_text(value, buf, sizeof(buf))));
		}
		out[count] = MAX(out[count], (int)MIN(width, (size_t)WIDTH_MAX));
	}
	return count;
}

static void print_table(struct cli_printer *p, const json_t *rows)
{
	const struct cli_column *columns = p->cli->command->columns;
	int *width = p->width;
	size_t count = widths(columns, rows, width), i;
	const json_t *row;
	char buf[CELL_BYTES];

	/* Columns without titles are for pasting elsewhere: DNS records into a zone. */
	if (p->rows == 0 && json_array_size(rows) > 0 && columns[0].title[0]) {
		for (size_t col = 0; col < count; col++)
			put_cell(columns[col].title, col + 1 < count ? width[col] + 2 : 0);
		putchar('\n');
	}
	json_array_foreach((json_t *)rows, i, row)
	{
		for (size_t col = 0; col < count; col++) {
			const json_t *value = json_object_get(row, columns[col].member);

			put_cell(value_text(value, buf, sizeof(buf)),
				col + 1 < count ? width[col] + 2 : 0);
		}
		putchar('\n');
	}
}

void cli_print_rows(struct cli_printer *p, const json_t *rows)
{
	size_t i;
	const json_t *row;

	if (!p->cli->json) {
		print_table(p, rows);
		p->rows += json_array_size(rows);
		return;
	}
	json_array_foreach((json_t *)rows, i, row)
	{
		fputs(p->rows++ ? ",\n" : "[\n", stdout);
		json_dumpf(row, stdout, JSON_COMPACT);
	}
}

void cli_print_end(struct cli_printer *p)
{
	if (p->cli->json)
		puts(p->rows ? "\n]" : "[]");
}

static void print_member(const char *key, const json_t *value, int indent)
{
	char buf[CELL_BYTES];
	const char *sub;
	json_t *member;
	size_t i;

	printf("%*s%s: ", indent, "", key);
	if (json_is_object(value)) {
		putchar('\n');
		json_object_foreach((json_t *)value, sub, member)
			print_member(sub, member, indent + 2);
	} else if (json_is_array(value)) {
		putchar('\n');
		json_array_foreach((json_t *)value, i, member)
		{
			printf("%*s- ", indent + 2, "");
			put_cell(value_text(member, buf, sizeof(buf)), 0);
			putchar('\n');
		}
	} else {
		put_cell(value_text(value, buf, sizeof(buf)), 0);
		putchar('\n');
	}
}

void cli_print_object(const struct cli *cli, const json_t *object)
{
	const json_t *text = json_object_get(object, "text");
	const char *key;
	json_t *value;

	if (cli->json) {
		json_dumpf(object, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (json_is_string(text)) {
		puts(json_string_value(text));
	} else {
		json_object_foreach((json_t *)object, key, value) print_member(key, value, 0);
	}
}
