/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conversation.h - the conversations of an account, found by the keys of their messages.
 *
 * Keys are hashes, so a row for each would stand anywhere: with a million of them every new message
 * would change, write and sync a page of its own. They stand in a tree of sorted tables instead, one
 * table a row, all but the top one with a page to itself. A new key goes into the table at the top;
 * when that is full, all of its keys go down together. A table which cannot hold what comes sends its
 * most crowded child all the keys of that. So as many keys as filled the top travel together at every
 * level, each child waiting for its turn with another quarter of them: a page deep in the tree is
 * changed once for some 160 keys, and new keys, which replies ask for most, are near the top.
 *
 * The table at the top has one child; one of level L > 0 holds keys with the same 2 (L - 1) highest
 * bits, and the next two choose among its four. A key is in one table only. The lowest have four keys
 * at most.
 *
 * Used by appliers: what store/apply.h says of rows and errors holds here too. */
#ifndef STORE_CONVERSATION_H
#define STORE_CONVERSATION_H

#include "store/keys_threads.h"
#include "store/mailbox_int.h"

struct conversation {
	struct keys_thread row; /* count 0: nobody has the key */
	uint8_t level;          /* of its table */
};
/* These will be looked for. */
void conversation_soon(const struct changing *ch, const uint64_t *keys, size_t count);
enum err conversation_find(struct changing *ch, uint64_t key, struct conversation *out) must_use;
/* A key that was not there. */
enum err conversation_add(struct changing *ch, const struct keys_thread *row) must_use;
/* Another count of what was found; 0: forgets it. */
enum err conversation_set(struct changing *ch, struct conversation *c) must_use;

/* A body fewer has each of these keys, which are sorted; some may stand there more than once. Quicker
 * than one by one: tables that many of them stand in are changed once. Uses the array up. */
enum err conversation_leave(struct changing *ch, uint64_t *keys, size_t len) must_use;

/* Where a key's table of a level begins, and which child of that table the key belongs to. */
uint64_t conversation_begin(uint64_t key, unsigned level);
unsigned conversation_child(uint64_t key, unsigned level);
/* What the keys of a child have in common beyond the begin of its parent's table. */
uint64_t conversation_nth(unsigned child, unsigned level);

#endif
