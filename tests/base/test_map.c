/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The map: everything inserted is found through all growth, equal hashes included. */
#include "core/base/map.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct item {
	struct map_link link;
	unsigned key;
};

static struct item *find(const struct map *m, uint64_t hash, unsigned key)
{
	for (struct map_link *l = map_find(m, hash); l; l = map_find_next(m, l))
		if (container_of(l, struct item, link)->key == key)
			return container_of(l, struct item, link);
	return NULL;
}

/* Few distinct hashes, so that chains hold equal ones. */
static uint64_t hash_of(unsigned key)
{
	return map_hash_u64(key / 3);
}

Test(map, finds_all_at_every_size)
{
	enum { N = 5000 };
	struct item *items = calloc(N, sizeof(*items));
	struct map m = { 0 };

	unsigned missing = 0;

	cr_assert_null(map_find(&m, 1));
	for (unsigned i = 0; i < N; i++) {
		items[i].key = i;
		missing += !map_insert(&m, &items[i].link, hash_of(i));
		for (unsigned j = i > 40 ? i - 40 : 0; j <= i; j++)
			missing += find(&m, hash_of(j), j) != &items[j];
		missing += find(&m, hash_of(i / 2), i / 2) != &items[i / 2];
	}
	cr_assert_eq(m.len, N);
	for (unsigned i = 0; i < N; i += 2)
		map_remove(&m, &items[i].link);
	for (unsigned i = 0; i < N; i++)
		missing += find(&m, hash_of(i), i) != (i % 2 ? &items[i] : NULL);
	cr_assert_eq(missing, 0);
	map_done(&m);
	free(items);
}

static void free_item(struct map_link *link, void *arg)
{
	struct map *m = arg;

	map_remove(m, link);
	free(container_of(link, struct item, link));
}

Test(map, walk_may_free_each)
{
	for (unsigned n = 0; n < 200; n += 7) {
		struct map m = { 0 };

		for (unsigned i = 0; i < n; i++) {
			struct item *item = calloc(1, sizeof(*item));

			cr_assert(map_insert(&m, &item->link, hash_of(i)));
		}
		map_walk(&m, free_item, &m);
		cr_assert_eq(m.len, 0);
		map_done(&m);
	}
}

Test(map, hash_depends_on_every_byte_and_on_the_seed)
{
	struct map_seed a = { 1, 2 }, b = { 1, 3 };
	char text[20] = "abcdefghijklmnopqr";
	slice s = slice_of(text, 18);
	uint64_t whole = map_hash(&a, s);

	cr_assert_neq(whole, map_hash(&b, s));
	for (size_t i = 0; i < 18; i++) {
		text[i] ^= 1;
		cr_assert_neq(whole, map_hash(&a, s));
		text[i] ^= 1;
		cr_assert_neq(whole, map_hash(&a, slice_sub(s, 0, i)));
	}
	cr_assert_eq(whole, map_hash(&a, s));
}

/* The reference key 00..0f and messages 00, 01, ... of the SipHash authors. */
Test(map, siphash_vectors)
{
	static const struct {
		size_t len;
		uint64_t want;
	} rows[] = { { 0, 0xabac0158050fc4dc }, { 1, 0xc9f49bf37d57ca93 },
		{ 8, 0x369095118d299a8e }, { 15, 0xd320d86d2a519956 } };
	struct map_seed seed = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	char bytes[16];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	for (size_t i = 0; i < array_len(rows); i++)
		cr_assert_eq(map_hash(&seed, slice_of(bytes, rows[i].len)), rows[i].want);
}
