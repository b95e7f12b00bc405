/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keys_threads.h - rows of conversations (kind H): tables of what conversation.h finds by keys.
 *
 * A table is read, searched and changed as the bytes it is stored as: version, children (a bit each),
 * how many threads, how many bytes a thread id and a count take here, then the threads in order of
 * their keys, then zeros. With five bytes for an id and one for a count, as is usual, a page holds
 * 291 of them. What is read back may be damaged. */
#ifndef STORE_KEYS_THREADS_H
#define STORE_KEYS_THREADS_H

#include "store/index.h"
#include "store/keys.h"

/* A conversation by one of its keys: how many bodies have that key. */
struct keys_thread {
	uint64_t key, thread;
	uint32_t count;
};
enum {
	KEYS_THREADS_LEVELS = 33,
	KEYS_THREADS_HEAD = 6,
	KEYS_THREAD_BYTES = 8 + 8 + 4, /* at most */
	KEYS_THREAD_LEAST = 8 + 1 + 1,
	KEYS_THREADS_MAX = (INDEX_PAGE_MAX - KEYS_THREADS_HEAD) / KEYS_THREAD_LEAST,
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
	char bytes[INDEX_PAGE_MAX];
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
/* Of a key that is not there, or of the i-th. False: a page does not hold it, and nothing changed. */
bool keys_threads_insert(struct keys_threads *t, const struct keys_thread *new) must_use;
bool keys_threads_replace(struct keys_threads *t, unsigned i,
	const struct keys_thread *new) must_use;
void keys_threads_remove(struct keys_threads *t, unsigned i);
/* So many threads are a row. */
bool keys_threads_fit(const struct keys_thread *threads, size_t count) must_use;
/* These, in order, which fit, in place of all that is there; the children stay. */
void keys_threads_fill(struct keys_threads *t, const struct keys_thread *threads, size_t count);
/* One thread of a row where it stands; count 0: it is not there. False: no such row. */
bool keys_find_thread(slice value, uint64_t key, struct keys_thread *out,
	uint8_t *out_children) must_use;

#endif
