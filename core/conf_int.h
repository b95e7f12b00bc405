/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conf_int.h - between the files of conf: the tree that YAML became, and the load in progress.
 *
 * Nobody else includes it. Nodes live in the arena of the load, or of the conf. */
#ifndef CORE_CONF_INT_H
#define CORE_CONF_INT_H

#include "core/conf.h"

enum {
	CONF_FILE_MAX = 1024 * 1024,
	CONF_DEPTH_MAX = 16,
	CONF_ERRORS_MAX = 200,
	CONF_ROW_NAME_MAX = 128,
};

enum conf_node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct conf_node {
	enum conf_node_kind kind;
	uint32_t line;  /* 1-based; of the key when there is one */
	uint32_t count; /* children */
	bool plain;     /* an unquoted scalar: ~, null and nothing mean "absent" */
	bool doubled;   /* an earlier sibling has the same key, and a complaint told so */
	slice key;      /* inside a mapping */
	slice text;     /* NODE_SCALAR; NUL behind it */
	struct conf_node *first, *last, *next;
};

struct conf_load {
	struct arena *a; /* the conf's: what values point into */
	struct arena tree;
	const char *path; /* as complaints name the file */
	slice folder;     /* absolute */
	struct out *errors;
	unsigned error_count;
};

void conf_say(struct conf_load *l, uint32_t line, const char *fmt, ...) printf_like(3, 4);

/* NULL after a complaint; an empty file is an empty mapping. */
struct conf_node *conf_yaml_parse(struct conf_load *l, slice text);

static inline bool conf_node_absent(const struct conf_node *n)
{
	return n->kind == NODE_SCALAR && n->plain &&
		(n->text.len == 0 || slice_eq(n->text, SLICE("~")) ||
			slice_eq(n->text, SLICE("null")));
}

/* Any type but CONF_STRUCTS and CONF_MAP. False after a complaint. `name` is for complaints. */
bool conf_value_set(struct conf_load *l, const struct conf_row *row, slice name,
	const struct conf_node *node, void *at);
/* What a row without default and without value holds. */
void conf_value_unset(const struct conf_row *row, void *at);
/* "a duration (30s, 15m, 4h, 5d), 1s to 1d": what the row allows, for complaints and documents. */
void conf_put_allowed(struct out *o, const struct conf_row *row);

/* The items of a list of structs, whatever the row. */
static inline void *conf_list_at(const struct conf_list *list, uint32_t bytes, size_t i)
{
	return (char *)list->items + (size_t)bytes * i;
}

const struct conf_schema *conf_schema_of(const struct conf *conf);
const void *conf_struct_at(const struct conf *conf, size_t table);

#endif
