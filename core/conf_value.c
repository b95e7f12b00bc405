/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conf_value.c - one value of the file into the member of its row.
 *
 * Every refusal says what was found and what the row allows. Networks are sorted here, so that
 * looking one up stays cheap however long the list is. */
#include "core/conf_int.h"

#include "core/base/text.h"
#include "core/proc.h"

#include <stdlib.h>

enum { PATH_BYTES = 4096 };

static const struct {
	const char *text; /* with its article */
	const char *name; /* in documents */
} types[] = {
	[CONF_STRING] = { "a text", "text" },
	[CONF_PATH] = { "a path", "path" },
	[CONF_BOOL] = { "true or false", "bool" },
	[CONF_INT] = { "a number", "number" },
	[CONF_SIZE] = { "a size (4096, 256K, 50M, 1G)", "size" },
	[CONF_DURATION] = { "a duration (250ms, 30s, 15m, 4h, 5d)", "duration" },
	[CONF_ENUM] = { "one of", "word" },
	[CONF_ADDRESS] = { "an address (192.0.2.1, 192.0.2.1:25, [2001:db8::1]:25, unix:/path)",
		"address" },
	[CONF_STRINGS] = { "a list of texts", "texts" },
	[CONF_ADDRESSES] = { "a list of addresses (192.0.2.1, 192.0.2.1:25, 192.0.2.1@53)",
		"addresses" },
	[CONF_CIDRS] = { "a list of networks (192.0.2.0/24, 2001:db8::/32)", "networks" },
	[CONF_STRUCTS] = { "a list of mappings", "list" },
	[CONF_MAP] = { "a mapping of names to mappings", "map" },
};

static void put_number(struct out *o, const struct conf_row *row, int64_t n)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} times[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" } },
	  sizes[] = { { 1 << 30, "G" }, { 1 << 20, "M" }, { 1 << 10, "K" } };

	if (row->type == CONF_DURATION) {
		for (size_t i = 0; i < array_len(times); i++)
			if (n && n % times[i].ms == 0) {
				out_int(o, n / times[i].ms);
				out_str(o, times[i].unit);
				return;
			}
		out_int(o, n);
		out_str(o, n ? "ms" : "");
		return;
	}
	for (size_t i = 0; row->type == CONF_SIZE && i < array_len(sizes); i++)
		if (n && n % sizes[i].ms == 0) {
			out_int(o, n / sizes[i].ms);
			out_str(o, sizes[i].unit);
			return;
		}
	out_int(o, n);
}

static void put_range(struct out *o, const struct conf_row *row)
{
	bool number = row->type == CONF_INT || row->type == CONF_SIZE || row->type == CONF_DURATION;
	bool text = row->type == CONF_STRING || row->type == CONF_PATH;

	if (number && (row->min || row->max)) {
		out_str(o, row->max ? ", " : ", at least ");
		put_number(o, row, row->min);
		if (row->max) {
			out_str(o, " to ");
			put_number(o, row, row->max);
		}
	} else if (!number && row->max) {
		out_printf(o, ", at most %lld %s", (long long)row->max, text ? "bytes" : "items");
	}
	if (!number && row->min > 0)
		out_printf(o, ", at least %lld", (long long)row->min);
}

void conf_put_allowed(struct out *o, const struct conf_row *row)
{
	out_str(o, types[row->type].text);
	if (row->type != CONF_ENUM) {
		put_range(o, row);
		return;
	}
	for (size_t i = 0; row->words[i]; i++)
		out_printf(o, "%s %s", i ? "," : "", row->words[i]);
}

/* "`relay.retry.first`: `soon` is not allowed here; allowed: a duration (...)". */
static bool refuse(struct conf_load *l, const struct conf_row *row, slice name,
	const struct conf_node *node)
{
	char buf[1024];
	struct out allowed = out_fixed(buf, sizeof(buf));
	slice found = slice_sub(node->text, 0, 80);

	conf_put_allowed(&allowed, row);
	if (node->kind != NODE_SCALAR)
		conf_say(l, node->line, "`%.*s`: a %s is not allowed here; allowed: %.*s",
			SLICE_ARG(name), node->kind == NODE_LIST ? "list" : "mapping",
			(int)allowed.len, buf);
	else
		conf_say(l, node->line, "`%.*s`: `%.*s` is not allowed; allowed: %.*s",
			SLICE_ARG(name), (row->flags & CONF_SECRET) ? 3 : (int)found.len,
			(row->flags & CONF_SECRET) ? "..." : found.ptr, (int)allowed.len, buf);
	return false;
}

static bool parse_bool(slice text, bool *out)
{
	static const char *const words[][2] = { { "false", "true" }, { "no", "yes" },
		{ "off", "on" } };

	for (size_t i = 0; i < array_len(words); i++)
		for (int yes = 0; yes < 2; yes++)
			if (slice_eq_nocase(text, slice_str(words[i][yes]))) {
				*out = yes;
				return true;
			}
	return false;
}

static bool parse_int(slice text, int64_t *out)
{
	bool minus = text.len > 0 && text.ptr[0] == '-';
	uint64_t n;

	if (!text_parse_uint(slice_skip(text, minus), INT64_MAX, &n))
		return false;
	*out = minus ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool parse_number(const struct conf_row *row, slice text, int64_t *out)
{
	int64_t n;
	uint64_t bytes;

	switch (row->type) {
	case CONF_INT:
		if (!parse_int(text, &n))
			return false;
		break;
	case CONF_SIZE:
		if (!text_parse_size(text, &bytes) || bytes > INT64_MAX)
			return false;
		n = (int64_t)bytes;
		break;
	default:
		if (!text_parse_duration(text, &n))
			return false;
	}
	if (n < row->min || (row->max && n > row->max))
		return false;
	*out = n;
	return true;
}

static bool parse_enum(const struct conf_row *row, slice text, int *out)
{
	for (int i = 0; row->words[i]; i++)
		if (slice_eq(text, slice_str(row->words[i]))) {
			*out = i;
			return true;
		}
	return false;
}

/* "credential:NAME" is a file that systemd hands over. Commands have no such folder and need none:
 * for them it stays a name that nobody opens. */
static slice make_absolute(struct conf_load *l, slice path)
{
	const slice tag = SLICE("credential:");
	char buf[PATH_BYTES];

	if (slice_starts(path, tag) &&
		proc_credential(arena_str(l->a, slice_skip(path, tag.len)), buf, sizeof(buf)))
		return slice_of(arena_str(l->a, slice_str(buf)), strlen(buf));
	if (path.len > 0 && path.ptr[0] == '/')
		return slice_of(arena_str(l->a, path), path.len);
	return arena_printf(l->a, "%.*s/%.*s", SLICE_ARG(l->folder), SLICE_ARG(path));
}

/* Also address@port, as resolvers are written, and a path without its leading slash. */
static bool parse_address(struct conf_load *l, slice text, struct addr *out)
{
	ptrdiff_t at = slice_rfind(text, '@');
	uint64_t port;

	if (addr_parse_ip(text, out))
		return true;
	if (slice_starts(text, SLICE("unix:"))) {
		slice path = make_absolute(l, slice_skip(text, 5));

		return text.len > 5 && addr_parse(l->a, path, out);
	}
	if (at < 0)
		return addr_parse(l->a, text, out);
	struct addr addr;

	if (!addr_parse_ip(slice_sub(text, 0, (size_t)at), &addr) ||
		!text_parse_uint(slice_skip(text, (size_t)at + 1), 65535, &port))
		return false;
	addr.port = (uint16_t)port;
	*out = addr;
	return true;
}

static bool set_text(struct conf_load *l, const struct conf_row *row, slice text, slice *out)
{
	if ((int64_t)text.len < row->min || (row->max && (int64_t)text.len > row->max))
		return false;
	if (row->type == CONF_PATH && text.len == 0)
		return false;
	*out = row->type == CONF_PATH ? make_absolute(l, text) :
					slice_of(arena_str(l->a, text), text.len);
	return true;
}

static bool set_scalar(struct conf_load *l, const struct conf_row *row, slice text, void *at)
{
	switch (row->type) {
	case CONF_STRING:
	case CONF_PATH:
		return set_text(l, row, text, at);
	case CONF_BOOL:
		return parse_bool(text, at);
	case CONF_INT:
	case CONF_SIZE:
	case CONF_DURATION:
		return parse_number(row, text, at);
	case CONF_ENUM:
		return parse_enum(row, text, at);
	case CONF_ADDRESS:
		return parse_address(l, text, at);
	default:
		must(0);
		return false;
	}
}

static bool set_item(struct conf_load *l, enum conf_type type, slice text, void *item)
{
	switch (type) {
	case CONF_STRINGS:
		*(slice *)item = slice_of(arena_str(l->a, text), text.len);
		return text.len > 0;
	case CONF_ADDRESSES:
		return parse_address(l, text, item);
	default:
		return addr_parse_net(text, item);
	}
}

/* One scalar is a list of one. */
static bool set_list(struct conf_load *l, const struct conf_row *row, slice name,
	const struct conf_node *node, struct conf_list *out)
{
	size_t bytes = row->type == CONF_STRINGS ? sizeof(slice) :
		row->type == CONF_ADDRESSES      ? sizeof(struct addr) :
						   sizeof(struct addr_net);
	size_t count = node->kind == NODE_LIST ? node->count : 1;
	char *items = arena_calloc(l->a, count, bytes);
	bool good = true;

	if (node->kind == NODE_MAP || (int64_t)count < row->min ||
		(row->max && (int64_t)count > row->max))
		return refuse(l, row, name, node);
	const struct conf_node *n = node->kind == NODE_LIST ? node->first : node;

	for (size_t i = 0; i < count; i++, n = n->next)
		if (n->kind != NODE_SCALAR || !set_item(l, row->type, n->text, items + i * bytes))
			good = refuse(l, row, name, n);
	if (good)
		*out = (struct conf_list){ items, count };
	return good;
}

/* The three lists have the layout of conf_list: a pointer and a count. */
_Static_assert(sizeof(struct conf_strings) == sizeof(struct conf_list), "same layout");
_Static_assert(sizeof(struct conf_addresses) == sizeof(struct conf_list), "same layout");
_Static_assert(sizeof(struct conf_cidrs) == sizeof(struct conf_list), "same layout");

/* --- Networks --- */

static int by_start(const void *a, const void *b)
{
	const struct addr_net *left = a, *right = b;

	if (left->addr.kind != right->addr.kind)
		return left->addr.kind < right->addr.kind ? -1 : 1;
	int order = memcmp(left->addr.ip, right->addr.ip, sizeof(left->addr.ip));

	return order ? order : (left->bits > right->bits) - (left->bits < right->bits);
}

/* Sort and drop what another network contains, so that a look-up can be binary. */
static void normalise_cidrs(struct conf_cidrs *cidrs)
{
	size_t kept = 0;

	if (cidrs->count == 0)
		return;
	qsort(cidrs->at, cidrs->count, sizeof(*cidrs->at), by_start);
	for (size_t i = 1; i < cidrs->count; i++)
		if (!addr_in_net(&cidrs->at[i].addr, &cidrs->at[kept]))
			cidrs->at[++kept] = cidrs->at[i];
	cidrs->count = kept + 1;
}

bool conf_value_set(struct conf_load *l, const struct conf_row *row, slice name,
	const struct conf_node *node, void *at)
{
	struct conf_list list;

	switch (row->type) {
	case CONF_STRINGS:
	case CONF_ADDRESSES:
	case CONF_CIDRS:
		if (!set_list(l, row, name, node, &list))
			return false;
		memcpy(at, &list, sizeof(list));
		if (row->type == CONF_CIDRS)
			normalise_cidrs(at);
		return true;
	default:
		if (node->kind == NODE_SCALAR && set_scalar(l, row, node->text, at))
			return true;
		return refuse(l, row, name, node);
	}
}

void conf_value_unset(const struct conf_row *row, void *at)
{
	if (row->type == CONF_INT || row->type == CONF_SIZE || row->type == CONF_DURATION)
		*(int64_t *)at = CONF_UNSET;
	else if (row->type == CONF_ENUM)
		*(int *)at = -1;
}

bool conf_cidrs_have(const struct conf_cidrs *cidrs, const struct addr *addr)
{
	struct addr_net key = { .addr = *addr, .bits = 128 };
	size_t low = 0, high = cidrs->count;

	/* The last network that begins at or before the address. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (by_start(&cidrs->at[mid], &key) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low > 0 && addr_in_net(addr, &cidrs->at[low - 1]);
}
