/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables that conversations are found in, as bytes: with two hundred threads each, and one or more
 * read for every message, making values of all of them would cost more than the rest. */
#include "store/keys_threads.h"

#include "store/keys_mailbox.h"

enum { VALUE_VERSION = 4, CHILDREN = 1, LEN = 2, THREAD_BYTES = 4, COUNT_BYTES = 5 };

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

/* --- Bytes --- */

/* How long thread ids and counts are, in one table. */
struct widths {
	unsigned thread, count;
};

static unsigned stride_of(struct widths w)
{
	return 8 + w.thread + w.count;
}

static unsigned bytes_of(uint64_t n)
{
	return n ? (71 - (unsigned)__builtin_clzll(n)) / 8 : 1;
}

static struct widths wider(struct widths w, const struct keys_thread *t)
{
	return (struct widths){ .thread = MAX(w.thread, bytes_of(t->thread)),
		.count = MAX(w.count, bytes_of(t->count)) };
}

static uint64_t load_key(const char *at)
{
	uint64_t n;

	memcpy(&n, at, sizeof(n));
	return __builtin_bswap64(n);
}

static uint64_t load(const char *at, unsigned bytes)
{
	uint64_t n = 0;

	while (bytes--)
		n = n << 8 | (unsigned char)*at++;
	return n;
}

static void store(char *at, uint64_t n, unsigned bytes)
{
	for (; bytes--; n >>= 8)
		at[bytes] = (char)n;
}

static struct keys_thread load_thread(const char *at, struct widths w)
{
	return (struct keys_thread){ .key = load_key(at),
		.thread = load(at + 8, w.thread),
		.count = (uint32_t)load(at + 8 + w.thread, w.count) };
}

static void store_thread(char *at, const struct keys_thread *t, struct widths w)
{
	store(at, t->key, 8);
	store(at + 8, t->thread, w.thread);
	store(at + 8 + w.thread, t->count, w.count);
}

static unsigned search(const char *threads, unsigned len, unsigned stride, uint64_t key)
{
	unsigned low = 0, high = len;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (load_key(threads + (size_t)middle * stride) < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* --- A row --- */

static struct widths widths_of(const char *row)
{
	return (struct widths){ .thread = (unsigned char)row[THREAD_BYTES],
		.count = (unsigned char)row[COUNT_BYTES] };
}

static size_t row_bytes(size_t len, struct widths w)
{
	return KEYS_THREADS_HEAD + len * stride_of(w);
}

/* False: no such row. */
static bool measure(slice value, unsigned *out_len)
{
	if (value.len < KEYS_THREADS_HEAD || value.ptr[0] != VALUE_VERSION)
		return false;
	struct widths w = widths_of(value.ptr);
	if (!w.thread || w.thread > 8 || !w.count || w.count > 4)
		return false;
	*out_len = (unsigned)load(value.ptr + LEN, 2);
	size_t bytes = row_bytes(*out_len, w);
	return value.len <= INDEX_PAGE_MAX &&
		(value.len == bytes || (value.len == KEYS_THREADS_OWN && bytes < value.len));
}

bool keys_find_thread(slice value, uint64_t key, struct keys_thread *out, uint8_t *out_children)
{
	unsigned len;

	*out = (struct keys_thread){ .key = key };
	if (!measure(value, &len))
		return false;
	*out_children = (uint8_t)value.ptr[CHILDREN];
	struct widths w = widths_of(value.ptr);
	const char *threads = value.ptr + KEYS_THREADS_HEAD;
	unsigned at = search(threads, len, stride_of(w), key);
	if (at == len || load_key(threads + (size_t)at * stride_of(w)) != key)
		return true;
	*out = load_thread(threads + (size_t)at * stride_of(w), w);
	return out->count > 0;
}

/* --- A table --- */

static char *place_of(struct keys_threads *t, unsigned i)
{
	return t->bytes + KEYS_THREADS_HEAD + (size_t)i * stride_of(widths_of(t->bytes));
}

void keys_new_threads(struct keys_threads *out)
{
	out->bytes[0] = VALUE_VERSION;
	*keys_threads_children(out) = 0;
	keys_threads_fill(out, NULL, 0);
}

slice keys_threads_slice(struct keys_threads *t, bool own)
{
	size_t len = row_bytes(t->len, widths_of(t->bytes));

	store(t->bytes + LEN, t->len, 2);
	if (!own || len >= KEYS_THREADS_OWN)
		return slice_of(t->bytes, len);
	memset(t->bytes + len, 0, KEYS_THREADS_OWN - len);
	return slice_of(t->bytes, KEYS_THREADS_OWN);
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
	struct widths w = widths_of(t->bytes);

	must(i < t->len);
	return load_thread(t->bytes + KEYS_THREADS_HEAD + (size_t)i * stride_of(w), w);
}

unsigned keys_threads_position(const struct keys_threads *t, uint64_t key)
{
	return search(t->bytes + KEYS_THREADS_HEAD, t->len, stride_of(widths_of(t->bytes)), key);
}

/* --- Changing --- */

static struct widths widest(const struct keys_thread *threads, size_t count)
{
	struct widths w = { .thread = 1, .count = 1 };

	for (size_t i = 0; i < count; i++)
		w = wider(w, &threads[i]);
	return w;
}

bool keys_threads_fit(const struct keys_thread *threads, size_t count)
{
	return count <= KEYS_THREADS_MAX &&
		row_bytes(count, widest(threads, count)) <= INDEX_PAGE_MAX;
}

void keys_threads_fill(struct keys_threads *t, const struct keys_thread *threads, size_t count)
{
	struct widths w = widest(threads, count);

	must(row_bytes(count, w) <= INDEX_PAGE_MAX);
	t->bytes[THREAD_BYTES] = (char)w.thread;
	t->bytes[COUNT_BYTES] = (char)w.count;
	t->len = (unsigned)count;
	for (unsigned i = 0; i < count; i++)
		store_thread(place_of(t, i), &threads[i], w);
}

/* Makes fields wide enough for one more, or one instead of another. False: then no room is left. */
static bool widen(struct keys_threads *t, const struct keys_thread *new, unsigned len)
{
	struct keys_thread all[KEYS_THREADS_MAX];
	struct widths was = widths_of(t->bytes), w = wider(was, new);

	if (row_bytes(len, w) > INDEX_PAGE_MAX)
		return false;
	if (stride_of(w) == stride_of(was))
		return true;
	for (unsigned i = 0; i < t->len; i++)
		all[i] = keys_thread_at(t, i);
	t->bytes[THREAD_BYTES] = (char)w.thread;
	t->bytes[COUNT_BYTES] = (char)w.count;
	for (unsigned i = 0; i < t->len; i++)
		store_thread(place_of(t, i), &all[i], w);
	return true;
}

bool keys_threads_replace(struct keys_threads *t, unsigned i, const struct keys_thread *new)
{
	must(i < t->len);
	if (!widen(t, new, t->len))
		return false;
	store_thread(place_of(t, i), new, widths_of(t->bytes));
	return true;
}

bool keys_threads_insert(struct keys_threads *t, const struct keys_thread *new)
{
	if (!widen(t, new, t->len + 1))
		return false;
	unsigned at = keys_threads_position(t, new->key);
	memmove(place_of(t, at + 1), place_of(t, at),
		(size_t)(place_of(t, t->len) - place_of(t, at)));
	store_thread(place_of(t, at), new, widths_of(t->bytes));
	t->len++;
	return true;
}

void keys_threads_remove(struct keys_threads *t, unsigned i)
{
	must(i < t->len);
	memmove(place_of(t, i), place_of(t, i + 1),
		(size_t)(place_of(t, t->len) - place_of(t, i + 1)));
	t->len--;
}
