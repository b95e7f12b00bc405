/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conf_print.c - the rows as a document, and two configurations compared.
 *
 * Both walk the rows, so neither can forget an option. Recursion follows the sub tables. */
#include "core/conf_int.h"

/* --- Comparing --- */

static bool equal_struct(const struct conf_table *table, const char *a, const char *b);

static bool equal_addrs(const struct conf_list *a, const struct conf_list *b)
{
	const struct addr *left = a->items, *right = b->items;

	for (size_t i = 0; i < a->count; i++)
		if (!addr_eq(&left[i], &right[i]))
			return false;
	return true;
}

static bool equal_nets(const struct conf_list *a, const struct conf_list *b)
{
	const struct addr_net *left = a->items, *right = b->items;

	for (size_t i = 0; i < a->count; i++)
		if (left[i].bits != right[i].bits || !addr_eq(&left[i].addr, &right[i].addr))
			return false;
	return true;
}

static bool equal_texts(const struct conf_list *a, const struct conf_list *b)
{
	const slice *left = a->items, *right = b->items;

	for (size_t i = 0; i < a->count; i++)
		if (!slice_eq(left[i], right[i]))
			return false;
	return true;
}

static bool equal_items(const struct conf_row *row, const struct conf_list *a,
	const struct conf_list *b)
{
	for (size_t i = 0; i < a->count; i++) {
		const void *left = conf_list_at(a, row->sub->bytes, i);
		const void *right = conf_list_at(b, row->sub->bytes, i);

		if (row->type == CONF_MAP && !slice_eq(*(const slice *)left, *(const slice *)right))
			return false;
		if (!equal_struct(row->sub, left, right))
			return false;
	}
	return true;
}

static bool equal_list(const struct conf_row *row, const void *a, const void *b)
{
	struct conf_list left, right;

	memcpy(&left, a, sizeof(left));
	memcpy(&right, b, sizeof(right));
	if (left.count != right.count)
		return false;
	if (row->type == CONF_STRINGS)
		return equal_texts(&left, &right);
	if (row->type == CONF_ADDRESSES)
		return equal_addrs(&left, &right);
	if (row->type == CONF_CIDRS)
		return equal_nets(&left, &right);
	return equal_items(row, &left, &right);
}

static bool equal_value(const struct conf_row *row, const void *a, const void *b)
{
	switch (row->type) {
	case CONF_STRING:
	case CONF_PATH:
		return slice_eq(*(const slice *)a, *(const slice *)b);
	case CONF_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case CONF_INT:
	case CONF_SIZE:
	case CONF_DURATION:
		return *(const int64_t *)a == *(const int64_t *)b;
	case CONF_ENUM:
		return *(const int *)a == *(const int *)b;
	case CONF_ADDRESS:
		return addr_eq(a, b);
	default:
		return equal_list(row, a, b);
	}
}

static bool equal_struct(const struct conf_table *table, const char *a, const char *b)
{
	for (size_t r = 0; r < table->count; r++)
		if (!equal_value(&table->rows[r], a + table->rows[r].at, b + table->rows[r].at))
			return false;
	return true;
}

size_t conf_compare(const struct conf *old, const struct conf *new, struct out *o)
{
	const struct conf_schema *schema = conf_schema_of(old);
	size_t changed = 0;

	must(conf_schema_of(new)->tables == schema->tables);
	for (size_t t = 0; t < schema->count; t++) {
		const char *a = conf_struct_at(old, t), *b = conf_struct_at(new, t);

		for (size_t r = 0; r < schema->tables[t]->count; r++) {
			const struct conf_row *row = &schema->tables[t]->rows[r];

			if ((row->flags & CONF_RELOAD) ||
				equal_value(row, a + row->at, b + row->at))
				continue;
			out_printf(o, "%s\n", row->name);
			changed++;
		}
	}
	return changed;
}

/* --- The document --- */

/* A table cell must not hold a bar. */
static void put_cell(struct out *o, slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '|')
			out_char(o, '\\');
		out_char(o, text.ptr[i]);
	}
}

static void put_row(struct out *o, const struct conf_row *row)
{
	char buf[512];
	struct out allowed = out_fixed(buf, sizeof(buf));

	conf_put_allowed(&allowed, row);
	out_printf(o, "| `%s` | ", row->name);
	put_cell(o, out_written(&allowed));
	if (row->flags & CONF_REQUIRED)
		out_str(o, " | required | ");
	else if (row->def)
		out_printf(o, " | `%s` | ", *row->def ? row->def : "\"\"");
	else
		out_str(o, " | - | ");
	out_str(o, (row->flags & CONF_RELOAD) ? "yes | " : "no | ");
	put_cell(o, slice_str(row->doc));
	out_str(o, " |\n");
}

static void put_table(struct out *o, const struct conf_table *table, slice name);

static void put_sub_tables(struct out *o, const struct conf_table *table, slice name)
{
	for (size_t r = 0; r < table->count; r++) {
		const struct conf_row *row = &table->rows[r];
		char buf[CONF_ROW_NAME_MAX * 2];
		struct out sub = out_fixed(buf, sizeof(buf));

		if (!row->sub)
			continue;
		if (name.len)
			out_printf(&sub, "%.*s.", SLICE_ARG(name));
		out_printf(&sub, "%s%s", row->name, row->type == CONF_MAP ? ".NAME" : "[]");
		out_printf(o, "\n### `%.*s`\n\n", (int)sub.len, buf);
		put_table(o, row->sub, out_written(&sub));
	}
}

static void put_table(struct out *o, const struct conf_table *table, slice name)
{
	out_str(o, "| option | value | default | reloads | meaning |\n|---|---|---|---|---|\n");
	for (size_t r = 0; r < table->count; r++)
		put_row(o, &table->rows[r]);
	put_sub_tables(o, table, name);
}

/* Tables follow one another under the first word of their first row. */
void conf_print_markdown(const struct conf_schema *schema, struct out *o)
{
	for (size_t t = 0; t < schema->count; t++) {
		slice rest, head = { 0 };

		if (schema->tables[t]->count == 0)
			continue;
		rest = slice_str(schema->tables[t]->rows[0].name);
		if (slice_find(rest, '.') < 0 && !schema->tables[t]->rows[0].sub)
			head = SLICE("general");
		else
			slice_cut(&rest, '.', &head);
		out_printf(o, "%s## %.*s\n\n", t ? "\n" : "", SLICE_ARG(head));
		put_table(o, schema->tables[t], (slice){ 0 });
	}
}
