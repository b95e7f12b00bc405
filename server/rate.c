/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rate.c - token buckets in a set-associative table, keyed by a secret hash of the address. */
#include "server/rate.h"

#include <stdlib.h>

#include "core/base/map.h"
#include "core/entropy.h"

enum { SETS = 4096, WAYS = 4, MINUTE_MS = 60000 };

struct bucket {
	uint64_t hash; /* 0: free */
	msec seen;
	int64_t tokens; /* in thousandths */
};

struct rate {
	struct map_seed seed;
	struct bucket buckets[SETS][WAYS];
};

struct rate *rate_new(void)
{
	struct rate *r = calloc(1, sizeof(*r));

	if (r)
		r->seed = (struct map_seed){ entropy_u64(), entropy_u64() };
	return r;
}

void rate_free(struct rate *r)
{
	free(r);
}

/* The client's bucket, or the one to be reused for it. */
static struct bucket *bucket_of(struct rate *r, uint64_t hash)
{
	struct bucket *set = r->buckets[hash % SETS], *oldest = set;

	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].hash == hash)
			return &set[i];
		if (set[i].seen < oldest->seen || (!set[i].hash && oldest->hash))
			oldest = &set[i];
	}
	return oldest;
}

bool rate_take(struct rate *r, const struct addr *client, msec now, unsigned per_minute)
{
	struct addr key = addr_client_key(client);
	int64_t full = (int64_t)per_minute * 1000;
	struct bucket *b;
	uint64_t hash;

	if (!per_minute || !r)
		return true;
	hash = map_hash(&r->seed, addr_bytes(&key)) | 1;
	b = bucket_of(r, hash);
	if (b->hash != hash)
		*b = (struct bucket){ .hash = hash, .tokens = full };
	else
		b->tokens = MIN(full, b->tokens + (now - b->seen) * full / MINUTE_MS);
	b->seen = now;
	if (b->tokens < 1000)
		return false;
	b->tokens -= 1000;
	return true;
}
