/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keys_threads.h - rows of conversations (kind H): tables of what conversation.h finds by keys.
 *
 * A table is read, searched and changed as the bytes it is stored as: version, children (a bit each),
 * how many threads, then these in order of their keys, each in as many bytes, then zeros. What is read
 * back may be damaged. */
#ifndef STORE_KEYS_THREADS_H
#define STORE_KEYS_THREADS_H

#include "store/keys.h"

/* A conversation by one of its keys: how many bodies have that key. */
struct keys_thread {
	uint64_t key, thread;
	uint32_t count;
};
enum {
	KEYS_THREADS_FULL = 203, /* a row has no more; see conversation.h for the others */
	KEYS_THREADS_MOVED = 51, /* go down together, or more */
	KEYS_THREADS_LEVELS = 32,
	KEYS_THREAD_BYTES = 8 + 8 + 4,
	KEYS_THREADS_HEAD = 4,
	KEYS_THREADS_OWN = 2016 /* bytes for which LMDB takes a page of its own */
};
struct keys_threads_place {
	uint64_t account;
	uint8_t level;
	uint64_t begin; /* the lowest key that may stand there */
};
void keys_threads(struct keys_buf *out, const struct keys_threads_place *place);
bool keys_parse_threads(slice key, struct keys_threads_place *out) must_use;
struct keys_threads {
	unsigned len; /* threads */
	char bytes[KEYS_THREADS_HEAD +
		(KEYS_THREADS_FULL + KEYS_THREADS_MOVED) * KEYS_THREAD_BYTES];
};
void keys_new_threads(struct keys_threads *out);
/* Trusts the order of keys; keys_threads_ordered looks. */
bool keys_get_threads(slice value, struct keys_threads *out) must_use;
bool keys_threads_ordered(const struct keys_threads *t) must_use;
/* As a row; with `own` its length says that it wants a page of its own. */
slice keys_threads_slice(struct keys_threads *t, bool own);
static inline unsigned char *keys_threads_children(struct keys_threads *t)
{
	return (unsigned char *)t->bytes + 1;
}
struct keys_thread keys_thread_at(const struct keys_threads *t, unsigned i);
/* The first that is not before the key; len: all are. */
unsigned keys_threads_position(const struct keys_threads *t, uint64_t key);
void keys_threads_replace(struct keys_threads *t, unsigned i, const struct keys_thread *new);
/* While there is room: less than FULL + MOVED. */
void keys_threads_insert(struct keys_threads *t, const struct keys_thread *new);
/* So many of another's, none of which is there, while there is room: they go from one to the other. */
void keys_threads_move(struct keys_threads *to, struct keys_threads *from, unsigned first,
	unsigned count);
void keys_threads_remove(struct keys_threads *t, unsigned first, unsigned count);
/* One thread of a row where it stands; count 0: it is not there. False: no such row. */
bool keys_find_thread(slice value, uint64_t key, struct keys_thread *out,
	uint8_t *out_children) must_use;

#endif
