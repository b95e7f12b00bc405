/* SPDX-License-Identifier: GPL-2.0-or-later */
/* map.h - a chained hash map of embedded links.
 *
 * The link lives in its object with its full hash; the map owns only the bucket array, which doubles
 * as it fills and moves a few buckets a call, so no single insert is slow. Keys may come from
 * outside: hash them with map_hash and a secret seed. map_insert is false when memory ran out. */
#ifndef CORE_BASE_MAP_H
#define CORE_BASE_MAP_H

#include "core/base/base.h"

struct map_link {
	struct map_link *next;
	uint64_t hash;
};

struct map {
	struct map_link **buckets, **old;
	size_t bucket_count, old_count; /* powers of two */
	size_t moved;                   /* of the old buckets: these are empty */
	size_t len;
};

/* SipHash-1-3 of the bytes under a 128-bit secret. */
struct map_seed {
	uint64_t k0, k1;
};
uint64_t map_hash(const struct map_seed *seed, slice key);
/* A mixer for numbers that nobody outside chooses. */
uint64_t map_hash_u64(uint64_t n);

/* A zeroed struct map is ready; map_done frees the buckets, and touches no member. */
void map_done(struct map *m);
bool map_insert(struct map *m, struct map_link *link, uint64_t hash) must_use;
/* The link must be in this map. */
void map_remove(struct map *m, struct map_link *link);
/* The first link with this hash, then the next one after it; the caller compares the keys. */
struct map_link *map_find(const struct map *m, uint64_t hash);
struct map_link *map_find_next(const struct map *m, const struct map_link *link);
/* Calls `each` for every link; it may remove and free the link it is given, no other. */
void map_walk(struct map *m, void (*each)(struct map_link *link, void *arg), void *arg);

#endif
