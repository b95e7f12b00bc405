/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dkim_int.h - what the files of the dkim module share; nobody else includes it.
 *
 * Memory is the caller's arena; slices point into the header block. Nothing fails. */
#ifndef PROTO_MAILAUTH_DKIM_INT_H
#define PROTO_MAILAUTH_DKIM_INT_H

#include "core/base/base.h"

/* The fields of a header block in the order DKIM takes them: by name, the lowest one first (RFC 6376
 * 5.4.2). Sorted, so that a header of many thousand fields costs no quadratic search. */
struct dkim_index {
	struct dkim_index_row {
		slice name, whole;
		size_t order; /* from the top */
		size_t taken; /* in the first row of a name: how many of them were */
	} * rows;
	size_t count;
};

void dkim_index_init(struct dkim_index *x, slice block, struct arena *a);
/* How many fields of this name. */
size_t dkim_index_count(const struct dkim_index *x, slice name);
/* The next one of this name from the bottom; false when all are taken. */
bool dkim_index_take(struct dkim_index *x, slice name, slice *out);
/* Nothing is taken. */
void dkim_index_reset(struct dkim_index *x);

/* Without blanks and line ends at both ends. */
slice dkim_trim(slice s);

#endif
