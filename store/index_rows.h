/* SPDX-License-Identifier: GPL-2.0-or-later */
/* index_rows.h - what the appliers of the index itself share: rows of the queue and the directory.
 * Nobody else includes it. */
#ifndef STORE_INDEX_ROWS_H
#define STORE_INDEX_ROWS_H

#include "store/apply.h"
#include "store/keys.h"

enum { ROW_BYTES = INDEX_VALUE_MAX + 64 };

/* The shard's totals, written at the commit. */
struct keys_counts *apply_totals(struct apply *ap);
/* Accounts, domains, keys or settings changed. */
void apply_directory_changed(struct apply *ap);

/* index_queue.c */
enum err apply_park(struct apply *ap, slice payload) must_use;
enum err apply_done(struct apply *ap, slice payload) must_use;
enum err apply_state(struct apply *ap, slice payload) must_use;
/* index_directory.c */
enum err apply_row(struct apply *ap, slice payload) must_use;

#endif
