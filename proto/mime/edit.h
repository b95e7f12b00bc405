/* SPDX-License-Identifier: GPL-2.0-or-later */
/* edit.h - a plan of changes to a header block, and the changed block piece by piece.
 *
 * Made at submission (drop Bcc, add Date and Message-ID) and at delivery (add Received). The plan
 * takes its memory from the caller's arena; texts handed in must live as long as the plan. Applying
 * copies nothing: the pieces are the added texts and the runs of kept fields, fit for an iovec.
 * Nothing here can fail. */
#ifndef PROTO_MIME_EDIT_H
#define PROTO_MIME_EDIT_H

#include "core/base/base.h"

struct edit_text;

/* Initialise with { .arena = a }. */
struct edit {
	struct arena *arena;
	/* private */
	struct edit_text *removed, *front, *back, **back_end;
};

/* Every field of this name goes. */
void edit_remove(struct edit *e, slice name);
/* Whole fields, each ended by CRLF, put before everything else: the last call stands first. */
void edit_prepend(struct edit *e, slice fields);
/* The same behind the last field: the last call stands last. */
void edit_append(struct edit *e, slice fields);

/* The changed block, the blank line at its end included, also when `block` has none. */
struct edit_run {
	const struct edit *plan;
	const struct edit_text *text;
	slice rest;
	unsigned char stage;
};
struct edit_run edit_run(const struct edit *e, slice block);
/* Next piece, never empty; false at the end. */
bool edit_next(struct edit_run *r, slice *out);
/* All of them at once. */
void edit_apply(const struct edit *e, slice block, struct out *o);

#endif
