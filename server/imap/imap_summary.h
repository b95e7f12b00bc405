/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_summary.h - the summary of a message, also when it was too long to be kept.
 *
 * On helper threads: it may read the body. */
#ifndef SERVER_IMAP_IMAP_SUMMARY_H
#define SERVER_IMAP_IMAP_SUMMARY_H

#include "proto/mime/summary.h"

struct store;

/* From the row the store has of it, or made anew from the body, in the arena. ERR_CORRUPT and what
 * blob_read says. */
enum err imap_summary_open(struct store *st, slice stored, uint64_t blob, struct arena *a,
	struct summary *out) must_use;
/* Only the latter; the row that was made. */
enum err imap_summary_make(struct store *st, uint64_t blob, struct arena *a, slice *out) must_use;

/* The envelope of a `truncated` one as the message has it, from at most SUMMARY_LONG_MAX bytes of its
 * header. In the arena, in `s`. */
enum err imap_summary_whole_envelope(struct store *st, uint64_t blob, struct arena *a,
	struct summary *s) must_use;
/* A kept row is what the body gives. True also for a body that cannot be read, which is no fault of the
 * row's. */
bool imap_summary_is(struct store *st, slice stored, uint64_t blob);

#endif
