/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fields sorted by name, and by place from the bottom within a name. */
#include "proto/mailauth/dkim_int.h"

#include "core/base/text.h"
#include "proto/mime/header.h"

#include <stdlib.h>

static int cmp_nocase(slice a, slice b)
{
	size_t shared = MIN(a.len, b.len);

	for (size_t i = 0; i < shared; i++) {
		int diff =
			(unsigned char)text_lower(a.ptr[i]) - (unsigned char)text_lower(b.ptr[i]);

		if (diff)
			return diff;
	}
	return (a.len > b.len) - (a.len < b.len);
}

static int by_name_from_below(const void *left, const void *right)
{
	const struct dkim_index_row *a = left, *b = right;
	int diff = cmp_nocase(a->name, b->name);

	return diff ? diff : (a->order < b->order) - (a->order > b->order);
}

void dkim_index_init(struct dkim_index *x, slice block, struct arena *a)
{
	struct header_field field;
	slice rest = block;
	size_t count = 0;

	while (header_next(&rest, &field))
		count++;
	*x = (struct dkim_index){ .rows = arena_array(a, struct dkim_index_row, count) };
	for (rest = block; header_next(&rest, &field); x->count++)
		x->rows[x->count] = (struct dkim_index_row){
			.name = field.name, .whole = field.whole, .order = x->count
		};
	if (count)
		qsort(x->rows, count, sizeof(x->rows[0]), by_name_from_below);
}

/* The first row of a name, or where it would stand. */
static size_t first_of(const struct dkim_index *x, slice name)
{
	size_t low = 0, high = x->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (cmp_nocase(x->rows[mid].name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_named(const struct dkim_index *x, size_t at, slice name)
{
	return at < x->count && slice_eq_nocase(x->rows[at].name, name);
}

size_t dkim_index_count(const struct dkim_index *x, slice name)
{
	size_t first = first_of(x, name), at = first;

	while (is_named(x, at, name))
		at++;
	return at - first;
}

bool dkim_index_take(struct dkim_index *x, slice name, slice *out)
{
	size_t first = first_of(x, name);

	if (!is_named(x, first, name) || !is_named(x, first + x->rows[first].taken, name))
		return false;
	*out = x->rows[first + x->rows[first].taken++].whole;
	return true;
}

void dkim_index_reset(struct dkim_index *x)
{
	for (size_t i = 0; i < x->count; i++)
		x->rows[i].taken = 0;
}
