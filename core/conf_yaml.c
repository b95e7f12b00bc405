/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conf_yaml.c - YAML text to a tree of nodes with line numbers.
 *
 * A subset on purpose: one document, no anchors (a few bytes could otherwise name gigabytes),
 * scalar keys, bounded depth. The tree is built without recursion. What a scalar means is decided
 * later by its row. */
#include "core/conf_int.h"

#include <stdlib.h>
#include <yaml.h>

struct builder {
	struct conf_load *l;
	struct conf_node *stack[CONF_DEPTH_MAX];
	unsigned depth;
	struct conf_node *root;
	slice key; /* read, its value not yet */
	uint32_t key_line;
	bool has_key;
};

static uint32_t line_of(yaml_mark_t mark)
{
	return (uint32_t)mark.line + 1;
}

static struct conf_node *top(struct builder *b)
{
	return b->depth ? b->stack[b->depth - 1] : NULL;
}

static slice keep(struct conf_load *l, const unsigned char *bytes, size_t len)
{
	return slice_of(arena_str(l->a, slice_of(bytes, len)), len);
}

/* Hang the node where the text stands now. */
static struct conf_node *add(struct builder *b, enum conf_node_kind kind, yaml_mark_t mark)
{
	struct conf_node *n = arena_new(&b->l->tree, struct conf_node), *parent = top(b);

	n->kind = kind;
	n->line = line_of(mark);
	if (b->has_key) {
		n->key = b->key;
		n->line = b->key_line;
		b->has_key = false;
	}
	if (!parent) {
		b->root = n;
		return n;
	}
	if (parent->last)
		parent->last->next = n;
	else
		parent->first = n;
	parent->last = n;
	parent->count++;
	return n;
}

static bool wants_key(struct builder *b)
{
	return top(b) && top(b)->kind == NODE_MAP && !b->has_key;
}

static bool on_scalar(struct builder *b, const yaml_event_t *e)
{
	slice text = keep(b->l, e->data.scalar.value, e->data.scalar.length);

	if (memchr(text.ptr, 0, text.len)) {
		conf_say(b->l, line_of(e->start_mark), "a NUL byte is not allowed");
		return false;
	}
	if (wants_key(b)) {
		b->key = text;
		b->key_line = line_of(e->start_mark);
		b->has_key = true;
		return true;
	}
	struct conf_node *n = add(b, NODE_SCALAR, e->start_mark);

	n->text = text;
	n->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	return true;
}

static bool on_open(struct builder *b, enum conf_node_kind kind, const yaml_event_t *e)
{
	if (wants_key(b)) {
		conf_say(b->l, line_of(e->start_mark), "a key must be a word");
		return false;
	}
	if (b->depth == CONF_DEPTH_MAX) {
		conf_say(b->l, line_of(e->start_mark), "nested deeper than %d levels",
			CONF_DEPTH_MAX);
		return false;
	}
	struct conf_node *n = add(b, kind, e->start_mark);

	b->stack[b->depth++] = n;
	return true;
}

static int by_key(const void *a, const void *b)
{
	const struct conf_node *left = *(struct conf_node *const *)a;
	const struct conf_node *right = *(struct conf_node *const *)b;
	int order = slice_cmp(left->key, right->key);

	return order ? order : (left->line > right->line) - (left->line < right->line);
}

/* Sorted, so that a file of many destinations costs n log n. */
static void check_doubles(struct conf_load *l, const struct conf_node *map)
{
	if (map->count < 2)
		return;
	struct conf_node **nodes = arena_array(&l->tree, struct conf_node *, map->count);
	size_t n = 0;

	for (struct conf_node *c = map->first; c; c = c->next)
		nodes[n++] = c;
	qsort(nodes, n, sizeof(*nodes), by_key);
	for (size_t i = 1; i < n; i++) {
		nodes[i]->doubled = slice_eq(nodes[i - 1]->key, nodes[i]->key);
		if (nodes[i]->doubled)
			conf_say(l, nodes[i]->line,
				"`%.*s` stands here again (the other one is in line %u)",
				SLICE_ARG(nodes[i]->key), nodes[i - 1]->line);
	}
}

static bool on_event(struct builder *b, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return on_scalar(b, e);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(b, NODE_LIST, e);
	case YAML_MAPPING_START_EVENT:
		return on_open(b, NODE_MAP, e);
	case YAML_MAPPING_END_EVENT:
		check_doubles(b->l, top(b));
		b->depth--;
		return true;
	case YAML_SEQUENCE_END_EVENT:
		b->depth--;
		return true;
	case YAML_ALIAS_EVENT:
		conf_say(b->l, line_of(e->start_mark), "anchors and aliases are not supported");
		return false;
	case YAML_DOCUMENT_START_EVENT:
		if (b->root)
			conf_say(b->l, line_of(e->start_mark),
				"only one document is allowed in the file");
		return !b->root;
	default:
		return true;
	}
}

static void say_problem(struct conf_load *l, const yaml_parser_t *p)
{
	uint32_t line = line_of(p->problem_mark);

	if (p->error == YAML_READER_ERROR)
		conf_say(l, line, "not a text in UTF-8: %s", p->problem ? p->problem : "?");
	else
		conf_say(l, line, "not valid YAML: %s%s%s", p->context ? p->context : "",
			p->context ? ", " : "", p->problem ? p->problem : "?");
}

static bool read_events(struct builder *b, yaml_parser_t *p)
{
	for (;;) {
		yaml_event_t e;

		if (!yaml_parser_parse(p, &e)) {
			say_problem(b->l, p);
			return false;
		}
		bool good = on_event(b, &e), end = e.type == YAML_STREAM_END_EVENT;

		yaml_event_delete(&e);
		if (!good || end)
			return good;
	}
}

struct conf_node *conf_yaml_parse(struct conf_load *l, slice text)
{
	struct builder b = { .l = l };
	yaml_parser_t p;

	if (!yaml_parser_initialize(&p)) {
		conf_say(l, 1, "out of memory");
		return NULL;
	}
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p, (const unsigned char *)(text.len ? text.ptr : ""),
		text.len);
	bool good = read_events(&b, &p);

	yaml_parser_delete(&p);
	if (!good)
		return NULL;
	if (!b.root || conf_node_absent(b.root)) {
		b.root = arena_new(&l->tree, struct conf_node);
		b.root->kind = NODE_MAP;
		b.root->line = 1;
	}
	return b.root;
}
