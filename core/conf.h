/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conf.h - the configuration file, bound to structs by option rows.
 *
 * A module declares a struct and a table of rows (name, type, default, range, doc, offset);
 * main gathers the tables into a schema. The YAML file is read into one immutable,
 * reference-counted `struct conf`, which owns every value in it and is swapped whole at
 * reload. What is wrong comes out as "file:line: what is wrong, what is allowed" lines, all of
 * them at once, and then there is no conf. conf_load blocks (files): start, command line or a
 * helper thread. The rest may be called anywhere. */
#ifndef CORE_CONF_H
#define CORE_CONF_H

#include "core/base/base.h"
#include "core/addr.h"

/* What stands at `at` in the struct, and in the file. */
enum conf_type {
	CONF_STRING,   /* slice with a NUL behind it: a scalar */
	CONF_PATH,     /* the same, made absolute from the folder of the file; or credential:NAME */
	CONF_BOOL,     /* bool: true/false, yes/no, on/off */
	CONF_INT,      /* int64_t: decimal */
	CONF_SIZE,     /* int64_t, bytes: 50M 256K 1G 10 */
	CONF_DURATION, /* int64_t, milliseconds: 250ms 30s 15m 4h 5d, or bare seconds */
	CONF_ENUM,     /* int, index in `words`: one of the words */
	CONF_ADDRESS,  /* struct addr: 192.0.2.1 192.0.2.1:25 192.0.2.1@25 [::1]:25 unix:/path */
	CONF_STRINGS,  /* struct conf_strings: a list of scalars, or one */
	CONF_ADDRESSES, /* struct conf_addresses: a list of addresses, or one */
	CONF_CIDRS,     /* struct conf_cidrs: a list of networks, or one */
	CONF_STRUCTS,   /* struct conf_list: a list of mappings, each bound by `sub` */
	/* struct conf_list: name: {mapping bound by `sub`}, in the file's order; the first member
	 * of the item struct is `slice name`. */
	CONF_MAP,
};

enum {
	CONF_RELOAD = 1,   /* may change at reload; otherwise a change waits for a restart */
	CONF_REQUIRED = 2, /* must stand in the file */
	CONF_SECRET = 4,   /* never printed */
};

/* A row without a default (.def = NULL) that is not in the file is "unset": numbers
 * CONF_UNSET, enum -1, slices with ptr NULL, ADDR_NONE, empty lists, bool false. Sub rows
 * overriding a default elsewhere use it. */
#define CONF_UNSET INT64_MIN

struct conf_row {
	const char *name; /* dotted: "relay.retry.first"; inside `sub` it starts anew: "cert" */
	enum conf_type type;
	uint32_t at; /* offsetof(struct x_options, member) */
	uint32_t flags;
	const char *def;          /* as it would stand in the file (scalars and one-item lists) */
	int64_t min, max;         /* numbers; length of strings; items of lists. max 0: no limit */
	const char *const *words; /* CONF_ENUM: NULL-terminated */
	const struct conf_table *sub; /* CONF_STRUCTS, CONF_MAP */
	const char *doc;              /* one line */
};

struct conf_check;

/* One module's options. */
struct conf_table {
	const struct conf_row *rows;
	uint32_t count;
	uint32_t bytes; /* sizeof(struct x_options); a struct of zeroes is valid memory for it */
	/* May be NULL. Called for each filled struct (each item of a list too) when its own
	 * rows were right: complain about what rows cannot say, with conf_complain(). */
	void (*check)(struct conf_check *check, const void *options);
};
#define CONF_TABLE(rows_array, type) \
	.rows = (rows_array), .count = array_len(rows_array), .bytes = sizeof(type)

struct conf_schema {
	const struct conf_table *const *tables;
	size_t count;
};

struct conf_strings {
	slice *at;
	size_t count;
};
struct conf_addresses {
	struct addr *at;
	size_t count;
};
struct conf_cidrs {
	struct addr_net *at;
	size_t count;
};
struct conf_list {
	void *items; /* count structs of sub->bytes */
	size_t count;
};
#define conf_item(list, type, i) (&((const type *)(list)->items)[i])

struct conf;

/* Reads the file; complaints are appended to `errors`, one a line. ERR_INVALID: complaints say
 * why. ERR_NOT_FOUND, ERR_DENIED, ERR_IO: the file could not be read (a complaint says so
 * too). */
enum err conf_load(const struct conf_schema *schema, const char *path, struct out *errors,
	struct conf **out) must_use;
/* The same from memory; `path` names the file in complaints, and its folder is where paths
 * start. */
enum err conf_parse(const struct conf_schema *schema, slice text, const char *path,
	struct out *errors, struct conf **out) must_use;

/* A load starts with one reference. The last put frees everything that was reached through it. */
struct conf *conf_hold(struct conf *conf);
void conf_put(struct conf *conf); /* NULL is harmless */

/* The filled struct of that table; must be one of the schema. */
const void *conf_options(const struct conf *conf, const struct conf_table *table);
/* Absolute path of the file. */
slice conf_path(const struct conf *conf);

/* Names of rows without CONF_RELOAD whose values differ, one a line; how many they are. */
size_t conf_compare(const struct conf *old, const struct conf *new, struct out *o);

/* Inside table->check only: one complaint about the named row of the struct being checked,
 * with its line. */
void conf_complain(struct conf_check *check, const char *row, const char *fmt, ...)
	printf_like(3, 4);

/* Is the address in one of the networks? Binary search: lists are kept sorted and without
 * overlap. */
bool conf_cidrs_have(const struct conf_cidrs *cidrs, const struct addr *addr);

/* Every row as Markdown tables, for docs/configuration.md. */
void conf_print_markdown(const struct conf_schema *schema, struct out *o);

#endif
