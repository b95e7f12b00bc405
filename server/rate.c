/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rate.c - one word per client in a set-associative table, keyed by a secret hash of the address.
 *
 * A place holds the time at which its client's credit is whole again (the generic cell rate
 * algorithm), so that one compare-and-swap both refills and takes, whichever worker asks. That time
 * is never more than a minute ahead, so what is further away lies behind us, also when the count of
 * time has wrapped. */
#include "server/rate.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/map.h"
#include "core/entropy.h"

/* A word: tag above, time below in 1/256 ms, which wraps after twelve days. */
enum { SETS = 4096, WAYS = 4, TAG_BITS = 26, TIME_BITS = 64 - TAG_BITS, UNITS = 256, TRIES = 16 };

static const uint64_t minute = UINT64_C(60000) * UNITS;
static const uint64_t time_mask = (UINT64_C(1) << TIME_BITS) - 1;

struct rate {
	struct map_seed seed;
	_Atomic uint64_t places[SETS][WAYS]; /* 0: free */
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

/* How much of its credit a place has used at this time. */
static uint64_t used_of(uint64_t word, uint64_t at)
{
	uint64_t ahead = (word - at) & time_mask;

	return word && ahead <= minute ? ahead : 0;
}

/* The client's place, or the one to be reused for it, and what stands there. */
static _Atomic uint64_t *place_of(struct rate *r, uint64_t hash, uint64_t at, uint64_t *out_word)
{
	_Atomic uint64_t *set = r->places[hash % SETS], *fullest = set;
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < WAYS; i++) {
		uint64_t word = atomic_load_explicit(&set[i], memory_order_relaxed);

		if (word && word >> TIME_BITS == hash >> TIME_BITS) {
			*out_word = word;
			return &set[i];
		}
		if (used_of(word, at) < least) {
			least = used_of(word, at);
			fullest = &set[i];
			*out_word = word;
		}
	}
	return fullest;
}

bool rate_take(struct rate *r, const struct addr *client, msec now, unsigned per_minute)
{
	struct addr key = addr_client_key(client);
	uint64_t hash, at = (uint64_t)now * UNITS;

	if (!per_minute || !r)
		return true;
	hash = map_hash(&r->seed, addr_bytes(&key));
	/* Who loses races tries again; after so many of them it passes uncounted rather than waits. */
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t word, tag = hash >> TIME_BITS;
		_Atomic uint64_t *place = place_of(r, hash, at, &word);
		uint64_t used = word >> TIME_BITS == tag ? used_of(word, at) : 0;

		used += MAX(minute / per_minute, 1u);
		if (used > minute)
			return false;
		if (atomic_compare_exchange_strong_explicit(place, &word,
			    tag << TIME_BITS | ((at + used) & time_mask), memory_order_relaxed,
			    memory_order_relaxed))
			return true;
	}
	return true;
}
