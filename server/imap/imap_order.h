/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_order.h - rows in the order of several keys: the sorting of SORT (RFC 5256 3).
 *
 * Pure. A row has a number and keys, numbers or texts; rows whose keys are the same stay in the order in
 * which they were added, lane by lane. Each lane is added to by one thread at a time, different ones by
 * different threads. Memory is the heap's: some 50 bytes a row and one for each of a
 * text; without it rows are left out, and order_sort says so. */
#ifndef SERVER_IMAP_IMAP_ORDER_H
#define SERVER_IMAP_IMAP_ORDER_H

#include "core/base/base.h"

enum { ORDER_LANES = 4 };

/* What is moved: the word to compare now, and where the row's words are. */
struct order_item {
	uint64_t word;
	uint32_t at;
	uint32_t number;
};

/* Alone on its cache lines: its neighbours are another thread's. */
struct order_lane {
	_Alignas(64) struct order_item *items;
	size_t len, cap;
	uint64_t *words; /* of all rows */
	size_t words_len, words_cap;
	uint32_t tag; /* which lane it is */
	bool full;    /* out of memory */
};

struct order {
	struct order_lane lanes[ORDER_LANES];
	struct order_item *items; /* behind order_sort: `number` in order */
	size_t len;
};
void order_init(struct order *o);
void order_done(struct order *o);

/* A row: begun, its keys as many as the others have, of the same kinds, ended. */
void order_begin(struct order_lane *l, uint32_t number);
void order_add_number(struct order_lane *l, uint64_t key, bool reverse);
/* Texts compare as bytes, a text before those it begins. */
void order_add_text(struct order_lane *l, slice key, bool reverse);
void order_end(struct order_lane *l);

/* False: no memory, here or before. Reads each text at most once, however many begin alike. */
bool order_sort(struct order *o) must_use;

#endif
