/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conf.c - binding the tree of the file to the rows, and the life of what came out.
 *
 * A scope is the set of tables that share one mapping: all modules at the top of the file, one
 * table in an item of a list. Recursion here follows the rows (sub tables, dots in names), never
 * the file. */
#include "core/conf_int.h"

#include "core/proc.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct conf {
	atomic_uint refs;
	struct arena a;
	struct conf_schema schema;
	void **structs; /* one per table */
	const char *path;
};

struct scope {
	const struct conf_schema *schema;
	void **structs;
	const struct conf_node ***seen; /* [table][row]: where it stood in the file */
	const struct conf_node *node;
	slice name; /* "listen" in complaints; empty at the top */
};

struct conf_check {
	struct conf_load *l;
	const struct scope *scope;
	size_t table;
};

static void bind_scope(struct conf_load *l, struct scope *s, const struct conf_node *map);

void conf_say(struct conf_load *l, uint32_t line, const char *fmt, ...)
{
	char text[1500];
	va_list args;

	if (++l->error_count > CONF_ERRORS_MAX) {
		if (l->error_count == CONF_ERRORS_MAX + 1)
			out_printf(l->errors, "%s: and more\n", l->path);
		return;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	out_printf(l->errors, "%s:%u: %s\n", l->path, line, text);
}

/* --- Names --- */

static slice join(struct conf_load *l, slice prefix, slice key)
{
	if (prefix.len == 0)
		return key;
	return arena_printf(&l->tree, "%.*s.%.*s", SLICE_ARG(prefix), SLICE_ARG(key));
}

static bool find_row(const struct conf_schema *schema, slice name, size_t *out_table,
	size_t *out_row)
{
	for (size_t t = 0; t < schema->count; t++)
		for (size_t r = 0; r < schema->tables[t]->count; r++)
			if (slice_eq(slice_str(schema->tables[t]->rows[r].name), name)) {
				*out_table = t;
				*out_row = r;
				return true;
			}
	return false;
}

static bool has_rows_below(const struct conf_schema *schema, slice name)
{
	for (size_t t = 0; t < schema->count; t++)
		for (size_t r = 0; r < schema->tables[t]->count; r++) {
			slice full = slice_str(schema->tables[t]->rows[r].name);

			if (full.len > name.len && full.ptr[name.len] == '.' &&
				slice_starts(full, name))
				return true;
		}
	return false;
}

/* Edit distance; `cap` where it is at least that. */
static unsigned distance(slice a, slice b, unsigned cap)
{
	unsigned row[CONF_ROW_NAME_MAX + 1];

	if (a.len > CONF_ROW_NAME_MAX || b.len > CONF_ROW_NAME_MAX)
		return cap;
	for (size_t j = 0; j <= b.len; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b.len; j++) {
			unsigned change = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);

			diagonal = row[j];
			row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return MIN(row[b.len], cap);
}

/* The known name at this place that is most like it, or nothing. */
static slice nearest(const struct conf_schema *schema, slice prefix, slice key)
{
	unsigned best = (unsigned)MAX(key.len / 2, 2u) + 1;
	slice found = { 0 };

	for (size_t t = 0; t < schema->count; t++)
		for (size_t r = 0; r < schema->tables[t]->count; r++) {
			slice full = slice_str(schema->tables[t]->rows[r].name), head;

			if (prefix.len &&
				(!slice_starts(full, prefix) || full.len <= prefix.len ||
					full.ptr[prefix.len] != '.'))
				continue;
			full = slice_skip(full, prefix.len ? prefix.len + 1 : 0);
			if (!slice_cut(&full, '.', &head))
				continue;
			unsigned far = distance(key, head, best);

			if (far < best) {
				best = far;
				found = head;
			}
		}
	return found;
}

static void say_unknown(struct conf_load *l, const struct scope *s, slice prefix,
	const struct conf_node *node)
{
	slice near = nearest(s->schema, prefix, node->key);
	slice name = join(l, s->name, join(l, prefix, slice_sub(node->key, 0, 80)));

	if (near.len)
		conf_say(l, node->line, "`%.*s` is not known; did you mean `%.*s`?",
			SLICE_ARG(name), SLICE_ARG(near));
	else
		conf_say(l, node->line, "`%.*s` is not known", SLICE_ARG(name));
}

/* --- Values --- */

static void bind_item(struct conf_load *l, const struct conf_row *row, slice name,
	const struct conf_node *node, void *item)
{
	struct conf_schema schema = { &row->sub, 1 };
	struct scope s = {
		.schema = &schema,
		.structs = &item,
		.node = node,
		.name = name,
	};

	if (row->type == CONF_MAP)
		*(slice *)item = slice_of(arena_str(l->a, node->key), node->key.len);
	bind_scope(l, &s, node);
}

/* The absent value of an entry like "example.com:" is an empty mapping. */
static bool is_mapping(const struct conf_row *row, const struct conf_node *node)
{
	return node->kind == NODE_MAP || (row->type == CONF_MAP && conf_node_absent(node));
}

static void set_structs(struct conf_load *l, const struct conf_row *row, slice name,
	const struct conf_node *node, struct conf_list *out)
{
	char buf[512];
	struct out allowed = out_fixed(buf, sizeof(buf));

	conf_put_allowed(&allowed, row);
	if (node->kind != (row->type == CONF_MAP ? NODE_MAP : NODE_LIST) ||
		(int64_t)node->count < row->min || (row->max && node->count > row->max)) {
		conf_say(l, node->line, "`%.*s` must be %.*s", SLICE_ARG(name), (int)allowed.len,
			buf);
		return;
	}
	out->items = arena_calloc(l->a, MAX(node->count, (size_t)1), row->sub->bytes);
	out->count = node->count;
	size_t i = 0;

	for (const struct conf_node *n = node->first; n; n = n->next, i++) {
		if (is_mapping(row, n))
			bind_item(l, row, name, n, conf_list_at(out, row->sub->bytes, i));
		else
			conf_say(l, n->line, "`%.*s`: each item must be a mapping { key: value }",
				SLICE_ARG(name));
	}
}

static void set_row(struct conf_load *l, const struct scope *s, const struct conf_row *row,
	const struct conf_node *node, void *at)
{
	slice name = join(l, s->name, slice_str(row->name));

	if (row->type == CONF_STRUCTS || row->type == CONF_MAP)
		set_structs(l, row, name, node, at);
	else
		conf_value_set(l, row, name, node, at);
}

/* A default is written as it would stand in the file; a wrong one is our own mistake. */
static void set_default(struct conf_load *l, const struct conf_row *row, void *at)
{
	struct conf_node node = { .kind = NODE_SCALAR, .text = slice_str(row->def) };
	bool list = row->type == CONF_STRUCTS || row->type == CONF_MAP;

	if (row->def && !list)
		must(conf_value_set(l, row, slice_str(row->name), &node, at));
	else
		conf_value_unset(row, at);
}

/* --- A mapping --- */

/* The walk goes down only where rows with this prefix exist. */
static void bind_map(struct conf_load *l, struct scope *s, const struct conf_node *map,
	slice prefix)
{
	size_t t, r;

	for (const struct conf_node *n = map->first; n; n = n->next) {
		slice name = join(l, prefix, n->key);

		if (n->key.len > CONF_ROW_NAME_MAX) {
			say_unknown(l, s, prefix, n);
		} else if (find_row(s->schema, name, &t, &r)) {
			const struct conf_row *row = &s->schema->tables[t]->rows[r];

			if (conf_node_absent(n) || n->doubled)
				continue;
			/* "a.b: 1" beside "a: { b: 1 }". */
			if (s->seen[t][r])
				conf_say(l, n->line,
					"`%s` stands here again (the other one is in line %u)",
					row->name, s->seen[t][r]->line);
			s->seen[t][r] = n;
			set_row(l, s, row, n, (char *)s->structs[t] + row->at);
		} else if (!has_rows_below(s->schema, name)) {
			say_unknown(l, s, prefix, n);
		} else if (n->kind == NODE_MAP) {
			bind_map(l, s, n, name);
		} else if (!conf_node_absent(n)) {
			conf_say(l, n->line, "`%.*s` must be a mapping { key: value }",
				SLICE_ARG(name));
		}
	}
}

static void finish_table(struct conf_load *l, const struct scope *s, size_t t)
{
	const struct conf_table *table = s->schema->tables[t];

	for (size_t r = 0; r < table->count; r++) {
		const struct conf_row *row = &table->rows[r];
		slice name = join(l, s->name, slice_str(row->name));

		if (s->seen[t][r])
			continue;
		if (row->flags & CONF_REQUIRED)
			conf_say(l, s->node->line, "`%.*s` is missing (%s)", SLICE_ARG(name),
				row->doc);
		else
			set_default(l, row, (char *)s->structs[t] + row->at);
	}
}

static void bind_scope(struct conf_load *l, struct scope *s, const struct conf_node *map)
{
	unsigned errors = l->error_count;

	s->seen = arena_array(&l->tree, const struct conf_node **, s->schema->count);
	for (size_t t = 0; t < s->schema->count; t++)
		s->seen[t] = arena_array(&l->tree, const struct conf_node *,
			s->schema->tables[t]->count);
	bind_map(l, s, map, (slice){ 0 });
	for (size_t t = 0; t < s->schema->count; t++)
		finish_table(l, s, t);
	for (size_t t = 0; t < s->schema->count; t++) {
		struct conf_check check = { l, s, t };

		if (s->schema->tables[t]->check && l->error_count == errors)
			s->schema->tables[t]->check(&check, s->structs[t]);
	}
}

void conf_complain(struct conf_check *check, const char *row, const char *fmt, ...)
{
	const struct scope *s = check->scope;
	const struct conf_node *node = s->node;
	char text[1024];
	va_list args;
	size_t t, r;

	if (find_row(s->schema, slice_str(row), &t, &r) && s->seen[t][r])
		node = s->seen[t][r];
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	slice name = join(check->l, s->name, slice_str(row));

	conf_say(check->l, node->line, "`%.*s`: %s", SLICE_ARG(name), text);
}

/* --- Life --- */

static struct conf *conf_new(const struct conf_schema *schema, const char *path)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	char absolute[PATH_MAX];

	if (!conf)
		return NULL;
	conf->refs = 1;
	conf->schema = *schema;
	conf->structs = arena_array(&conf->a, void *, schema->count);
	for (size_t t = 0; t < schema->count; t++)
		conf->structs[t] = arena_alloc(&conf->a, MAX(schema->tables[t]->bytes, (size_t)1));
	/* A path that does not exist (a test, standard input) stays as it is. */
	if (realpath(path, absolute))
		conf->path = arena_str(&conf->a, slice_str(absolute));
	else
		conf->path = arena_str(&conf->a, slice_str(path));
	return conf;
}

static slice folder_of(const char *path)
{
	slice all = slice_str(path);
	ptrdiff_t slash = slice_rfind(all, '/');

	return slash < 0 ? SLICE(".") : slice_sub(all, 0, (size_t)slash);
}

enum err conf_parse(const struct conf_schema *schema, slice text, const char *path,
	struct out *errors, struct conf **out)
{
	struct conf *conf = conf_new(schema, path);

	if (!conf)
		return ERR_NOMEM;
	struct conf_load l = {
		.a = &conf->a,
		.path = path,
		.folder = folder_of(conf->path),
		.errors = errors,
	};
	struct scope s = { .schema = &conf->schema, .structs = conf->structs };

	if (text.len > CONF_FILE_MAX)
		conf_say(&l, 1, "the file is larger than %d bytes", CONF_FILE_MAX);
	else
		s.node = conf_yaml_parse(&l, text);
	if (s.node && s.node->kind != NODE_MAP)
		conf_say(&l, s.node->line, "the file must be a mapping { key: value }");
	else if (s.node)
		bind_scope(&l, &s, s.node);
	arena_done(&l.tree);
	if (l.error_count) {
		conf_put(conf);
		return ERR_INVALID;
	}
	*out = conf;
	return OK;
}

enum err conf_load(const struct conf_schema *schema, const char *path, struct out *errors,
	struct conf **out)
{
	struct out text = out_heap(CONF_FILE_MAX + 1);
	enum err err = proc_read_file(path, CONF_FILE_MAX + 1, &text);

	if (err)
		out_printf(errors, "%s: cannot be read: %s\n", path, err_text(err));
	else
		err = conf_parse(schema, out_written(&text), path, errors, out);
	out_heap_done(&text);
	return err;
}

struct conf *conf_hold(struct conf *conf)
{
	atomic_fetch_add_explicit(&conf->refs, 1, memory_order_relaxed);
	return conf;
}

void conf_put(struct conf *conf)
{
	if (!conf || atomic_fetch_sub_explicit(&conf->refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_done(&conf->a);
	free(conf);
}

const void *conf_options(const struct conf *conf, const struct conf_table *table)
{
	for (size_t t = 0; t < conf->schema.count; t++)
		if (conf->schema.tables[t] == table)
			return conf->structs[t];
	must(!"the table is in the schema");
	return NULL;
}

slice conf_path(const struct conf *conf)
{
	return slice_str(conf->path);
}

const struct conf_schema *conf_schema_of(const struct conf *conf)
{
	return &conf->schema;
}

const void *conf_struct_at(const struct conf *conf, size_t table)
{
	return conf->structs[table];
}
