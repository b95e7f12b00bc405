/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conversation.h - the conversations of an account, found by the keys of their messages.
 *
 * Keys are hashes, so a row for each would stand anywhere: with a million of them every new message
 * would change, write and sync a page of its own. They stand in a tree of sorted tables instead, one
 * table a row, all but the top one with a page to itself. A new key goes into the
 * table at the top; a full one sends the keys of its most crowded child down together, and what that
 * child cannot hold goes on down likewise. So a page deep in the tree is changed once for some fifty
 * keys, a change touches one table a level at most, and new keys, which replies ask for most, are
 * near the top.
 *
 * A table of level L holds keys with the same 2 L highest bits; the next two choose among its four
 * children. A key is in one table only. A full table's most crowded child has at least
 * KEYS_THREADS_MOVED of its keys; with 32 levels the last cannot fill up.
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
enum err conversation_find(struct changing *ch, uint64_t key, struct conversation *out) must_use;
/* A key that was not there. */
enum err conversation_add(struct changing *ch, const struct keys_thread *row) must_use;
/* Another count of what was found, and nothing was added since; 0: forgets it. */
enum err conversation_set(struct changing *ch, const struct conversation *c) must_use;

/* Where a key's table of a level begins, and which child of that table the key belongs to. */
uint64_t conversation_begin(uint64_t key, unsigned level);
unsigned conversation_child(uint64_t key, unsigned level);
/* What the keys of a child have in common beyond the begin of its parent's table. */
uint64_t conversation_nth(unsigned child, unsigned level);

#endif
