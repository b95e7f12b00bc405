/* SPDX-License-Identifier: GPL-2.0-or-later */
/* While the map grows it has two bucket arrays. An insert first moves the old bucket its hash belongs
 * to, so the links of one hash are always all in the old array or all in the new one: that is why
 * map_find_next needs to follow one chain only. */
#include "core/base/map.h"

#include <stdlib.h>

enum { FIRST_BUCKETS = 16, MOVES_PER_INSERT = 4 };

static inline uint64_t rotl(uint64_t n, int bits)
{
	return n << bits | n >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

/* Little-endian, whatever the machine. */
static inline uint64_t load(const char *bytes, size_t n)
{
	uint64_t word = 0;

	for (size_t i = 0; i < n; i++)
		word |= (uint64_t)(unsigned char)bytes[i] << (8 * i);
	return word;
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

uint64_t map_hash(const struct map_seed *seed, slice key)
{
	uint64_t v[4] = { seed->k0 ^ 0x736f6d6570736575, seed->k1 ^ 0x646f72616e646f6d,
		seed->k0 ^ 0x6c7967656e657261, seed->k1 ^ 0x7465646279746573 };
	size_t whole = key.len & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8)
		sip_word(v, load(key.ptr + i, 8));
	uint64_t tail = key.len > whole ? load(key.ptr + whole, key.len - whole) : 0;

	sip_word(v, tail | (uint64_t)key.len << 56);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t map_hash_u64(uint64_t n)
{
	n = (n ^ n >> 32) * 0xd6e8feb86659fd93;
	n = (n ^ n >> 32) * 0xd6e8feb86659fd93;
	return n ^ n >> 32;
}

void map_done(struct map *m)
{
	free(m->buckets);
	free(m->old);
	*m = (struct map){ 0 };
}

static void move_bucket(struct map *m, size_t index)
{
	struct map_link *link = m->old[index];

	m->old[index] = NULL;
	while (link) {
		struct map_link *next = link->next;
		struct map_link **bucket = &m->buckets[link->hash & (m->bucket_count - 1)];

		link->next = *bucket;
		*bucket = link;
		link = next;
	}
}

static void move_some(struct map *m, size_t n)
{
	while (m->old && n--) {
		move_bucket(m, m->moved++);
		if (m->moved == m->old_count) {
			free(m->old);
			m->old = NULL;
			m->old_count = m->moved = 0;
		}
	}
}

static bool grow(struct map *m)
{
	size_t count = m->bucket_count ? m->bucket_count * 2 : FIRST_BUCKETS;
	struct map_link **buckets = calloc(count, sizeof(*buckets));

	if (!buckets)
		return m->bucket_count > 0; /* longer chains serve until memory is back */
	move_some(m, SIZE_MAX);
	m->old = m->buckets;
	m->old_count = m->bucket_count;
	m->buckets = buckets;
	m->bucket_count = count;
	return true;
}

bool map_insert(struct map *m, struct map_link *link, uint64_t hash)
{
	if (m->len >= m->bucket_count && !grow(m))
		return false;
	if (m->old) {
		move_bucket(m, hash & (m->old_count - 1));
		move_some(m, MOVES_PER_INSERT);
	}
	struct map_link **bucket = &m->buckets[hash & (m->bucket_count - 1)];

	link->hash = hash;
	link->next = *bucket;
	*bucket = link;
	m->len++;
	return true;
}

static bool unlink_from(struct map_link **at, const struct map_link *link)
{
	while (*at && *at != link)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = link->next;
	return true;
}

void map_remove(struct map *m, struct map_link *link)
{
	bool found = m->bucket_count &&
		unlink_from(&m->buckets[link->hash & (m->bucket_count - 1)], link);

	if (!found && m->old)
		found = unlink_from(&m->old[link->hash & (m->old_count - 1)], link);
	must(found);
	link->next = NULL;
	m->len--;
}

static struct map_link *first_of(struct map_link *link, uint64_t hash)
{
	while (link && link->hash != hash)
		link = link->next;
	return link;
}

struct map_link *map_find(const struct map *m, uint64_t hash)
{
	struct map_link *hit = NULL;

	if (m->bucket_count)
		hit = first_of(m->buckets[hash & (m->bucket_count - 1)], hash);
	if (!hit && m->old)
		hit = first_of(m->old[hash & (m->old_count - 1)], hash);
	return hit;
}

struct map_link *map_find_next(const struct map *m, const struct map_link *link)
{
	(void)m;
	return first_of(link->next, link->hash);
}

static void walk_chain(struct map_link *link, void (*each)(struct map_link *link, void *arg),
	void *arg)
{
	while (link) {
		struct map_link *next = link->next;

		each(link, arg);
		link = next;
	}
}

void map_walk(struct map *m, void (*each)(struct map_link *link, void *arg), void *arg)
{
	for (size_t i = 0; i < m->old_count; i++)
		walk_chain(m->old[i], each, arg);
	for (size_t i = 0; i < m->bucket_count; i++)
		walk_chain(m->buckets[i], each, arg);
}
