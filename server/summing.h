/* SPDX-License-Identifier: GPL-2.0-or-later */
/* summing.h - the summary of a message that is being received, within the memory that bodies may have.
 *
 * It is made while the bytes pass. What that takes (mostly a header whose end has not come) counts as the
 * body's own memory does; when the budget is used up the largest is thrown away, and made at the end
 * from what was stored. So nothing is lost by it, and nobody waits for a client. Embedded beside the
 * body's writer, on its worker. */
#ifndef SERVER_SUMMING_H
#define SERVER_SUMMING_H

#include "proto/mime/summary.h"
#include "store/blob.h"

/* Zeroed is "not begun". */
struct summing {
	struct summary_builder *builder; /* NULL: none, or thrown away */
	struct blob_writer *body;        /* NULL: not begun, or ended */
	struct blob_aside memory;
	bool late; /* to be made from the stored bytes */
};

/* The body was begun, and gets the same bytes. */
void summing_begin(struct summing *s, struct blob_writer *body);
void summing_add(struct summing *s, slice piece);
/* (fiber or no worker) All bytes have come: writes the row. Has ended in every outcome; what
 * blob_read_again says. Before the body is appended. */
enum err summing_end(struct summing *s, struct out *row) must_use;
/* Harmless when it has ended. */
void summing_drop(struct summing *s);

#endif
