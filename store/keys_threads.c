/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables that conversations are found in, as bytes: with two hundred threads each, and one or more
 * read for every message, making values of all of them would cost more than the rest. */
#include "store/keys_threads.h"

#include "store/keys_mailbox.h"

enum { VALUE_VERSION = 3 };

void keys_threads(struct keys_buf *out, const struct keys_threads_place *place)
{
	keys_account(out, KEYS_THREAD, place->account);
	keys_add_u8(out, place->level);
	keys_add_u64(out, place->begin);
}

bool keys_parse_threads(slice key, struct keys_threads_place *out)
{
	uint8_t kind;

	return take_u8(&key, &kind) && kind == KEYS_THREAD && take_u64(&key, &out->account) &&
		take_u8(&key, &out->level) && take_u64(&key, &out->begin) && !key.len;
}

/* --- One thread, big-endian --- */

static uint64_t load64(const char *at)
{
	uint64_t n;

	memcpy(&n, at, sizeof(n));
	return __builtin_bswap64(n);
}

static void store64(char *at, uint64_t n)
{
	n = __builtin_bswap64(n);
	memcpy(at, &n, sizeof(n));
}

static struct keys_thread load_thread(const char *at)
{
	uint32_t count;

	memcpy(&count, at + 16, sizeof(count));
	return (struct keys_thread){
		.key = load64(at), .thread = load64(at + 8), .count = __builtin_bswap32(count)
	};
}

static void store_thread(char *at, const struct keys_thread *t)
{
	uint32_t count = __builtin_bswap32(t->count);

	store64(at, t->key);
	store64(at + 8, t->thread);
	memcpy(at + 16, &count, sizeof(count));
}

static unsigned search(const char *threads, unsigned len, uint64_t key)
{
	unsigned low = 0, high = len;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (load64(threads + (size_t)middle * KEYS_THREAD_BYTES) < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static char *place_of(struct keys_threads *t, unsigned i)
{
	return t->bytes + KEYS_THREADS_HEAD + (size_t)i * KEYS_THREAD_BYTES;
}

/* --- A table --- */

void keys_new_threads(struct keys_threads *out)
{
	out->len = 0;
	out->bytes[0] = VALUE_VERSION;
	out->bytes[1] = 0;
}

slice keys_threads_slice(struct keys_threads *t, bool own)
{
	size_t len = KEYS_THREADS_HEAD + (size_t)t->len * KEYS_THREAD_BYTES;

	t->bytes[2] = (char)(t->len >> 8);
	t->bytes[3] = (char)t->len;
	if (!own || len >= KEYS_THREADS_OWN)
		return slice_of(t->bytes, len);
	memset(t->bytes + len, 0, KEYS_THREADS_OWN - len);
	return slice_of(t->bytes, KEYS_THREADS_OWN);
}

/* False: no such row. */
static bool measure(slice value, unsigned *out_len)
{
	if (value.len < KEYS_THREADS_HEAD || value.ptr[0] != VALUE_VERSION)
		return false;
	const unsigned char *head = (const unsigned char *)value.ptr;
	*out_len = (unsigned)(head[2] << 8 | head[3]);
	size_t bytes = KEYS_THREADS_HEAD + (size_t)*out_len * KEYS_THREAD_BYTES;
	return *out_len <= KEYS_THREADS_FULL &&
		(value.len == bytes || (value.len == KEYS_THREADS_OWN && bytes < value.len));
}

bool keys_get_threads(slice value, struct keys_threads *out)
{
	if (!measure(value, &out->len))
		return false;
	memcpy(out->bytes, value.ptr, value.len);
	return true;
}

bool keys_threads_ordered(const struct keys_threads *t)
{
	struct keys_thread before = { 0 };

	for (unsigned i = 0; i < t->len; i++) {
		struct keys_thread here = keys_thread_at(t, i);

		if (!here.count || (i && here.key <= before.key))
			return false;
		before = here;
	}
	return true;
}

struct keys_thread keys_thread_at(const struct keys_threads *t, unsigned i)
{
	must(i < t->len);
	return load_thread(t->bytes + KEYS_THREADS_HEAD + (size_t)i * KEYS_THREAD_BYTES);
}

unsigned keys_threads_position(const struct keys_threads *t, uint64_t key)
{
	return search(t->bytes + KEYS_THREADS_HEAD, t->len, key);
}

void keys_threads_replace(struct keys_threads *t, unsigned i, const struct keys_thread *new)
{
	must(i < t->len);
	store_thread(place_of(t, i), new);
}

void keys_threads_insert(struct keys_threads *t, const struct keys_thread *new)
{
	unsigned at = keys_threads_position(t, new->key);

	must(t->len < KEYS_THREADS_FULL + KEYS_THREADS_MOVED);
	memmove(place_of(t, at + 1), place_of(t, at), (size_t)(t->len - at) * KEYS_THREAD_BYTES);
	store_thread(place_of(t, at), new);
	t->len++;
}

void keys_threads_remove(struct keys_threads *t, unsigned first, unsigned count)
{
	must(first + count <= t->len);
	t->len -= count;
	memmove(place_of(t, first), place_of(t, first + count),
		(size_t)(t->len - first) * KEYS_THREAD_BYTES);
}

/* From the highest down, so that each is copied once. */
void keys_threads_move(struct keys_threads *to, struct keys_threads *from, unsigned first,
	unsigned count)
{
	unsigned old = to->len;

	must(first + count <= from->len && old + count <= KEYS_THREADS_FULL + KEYS_THREADS_MOVED);
	to->len += count;
	for (unsigned left = count; left;) {
		const char *a = place_of(from, first + left - 1);
		const char *b = old ? place_of(to, old - 1) : NULL;
		bool other = b && load64(b) > load64(a);

		memcpy(place_of(to, old + left - 1), other ? b : a, KEYS_THREAD_BYTES);
		old -= other;
		left -= !other;
	}
	keys_threads_remove(from, first, count);
}

bool keys_find_thread(slice value, uint64_t key, struct keys_thread *out, uint8_t *out_children)
{
	unsigned len;

	*out = (struct keys_thread){ .key = key };
	if (!measure(value, &len))
		return false;
	*out_children = (uint8_t)value.ptr[1];
	const char *threads = value.ptr + KEYS_THREADS_HEAD;
	unsigned at = search(threads, len, key);
	if (at == len || load64(threads + (size_t)at * KEYS_THREAD_BYTES) != key)
		return true;
	*out = load_thread(threads + (size_t)at * KEYS_THREAD_BYTES);
	return out->count > 0;
}
