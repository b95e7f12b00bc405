/* SPDX-License-Identifier: GPL-2.0-or-later */
/* absent.h - which conversation keys an account certainly does not have.
 *
 * The key of a new message is nearly always new, and only the whole way down the tree of
 * conversation.h tells. So for accounts that are asked often a shard's writer keeps a filter of the
 * keys that are there: bits, some twenty a key. A filter is made from the rows and follows what is
 * added. Keys that went, or whose transaction was undone, stay in it, which costs a look but is
 * never wrong; so results follow from the rows alone, as they must. Any filter may be forgotten at
 * any time: for want of memory, or for another account's.
 *
 * One thread at a time: the shard's writer. Zeroed is ready. */
#ifndef STORE_ABSENT_H
#define STORE_ABSENT_H

#include "core/base/base.h"

enum { ABSENT_SETS = 256, ABSENT_WAYS = 4, ABSENT_BYTES_MAX = 16 * 1024 * 1024 };

struct absent_filter {
	uint64_t account, used;
	uint64_t cost; /* tables read for nothing so far */
	uint64_t room; /* for so many more keys */
	uint64_t lines;
	uint64_t *bits; /* NULL: not made */
};
struct absent {
	struct absent_filter *filters; /* in sets; NULL: none was wanted yet */
	uint64_t clock, bytes;
	size_t hand; /* goes round to find one to forget */
};
void absent_done(struct absent *a);

/* It will be asked for this key: has what it takes come from memory meanwhile. */
void absent_soon(struct absent *a, uint64_t account, uint64_t key);
/* True: the account has no such key. */
bool absent_says(struct absent *a, uint64_t account, uint64_t key);
/* A look down to this level found nothing. True: a filter would pay, make one. */
bool absent_wanted(struct absent *a, uint64_t account, unsigned level);
/* An empty one for twice as many keys: add all there are before anybody asks, or forget it. False:
 * there is no memory. */
bool absent_make(struct absent *a, uint64_t account, uint64_t keys) must_use;
void absent_forget(struct absent *a, uint64_t account);
/* The account has this key too; nothing happens without a filter. */
void absent_add(struct absent *a, uint64_t account, uint64_t key);

#endif
