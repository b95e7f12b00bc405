/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random bytes. The seeded stream is SplitMix64: good enough to vary a simulation, useless as a
 * secret, which is why only tests can turn it on. */
#include "core/entropy.h"

#include <errno.h>
#include <sys/random.h>

static struct {
	bool seeded;
	uint64_t state;
} stream;

static uint64_t next_seeded(void)
{
	uint64_t z = stream.state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void fill_seeded(unsigned char *at, size_t len)
{
	while (len) {
		uint64_t word = next_seeded();
		size_t n = MIN(len, sizeof(word));

		memcpy(at, &word, n);
		at += n;
		len -= n;
	}
}

void entropy_fill(void *bytes, size_t len)
{
	unsigned char *at = bytes;

	if (stream.seeded) {
		fill_seeded(at, len);
		return;
	}
	while (len) {
		ssize_t got = getrandom(at, len, 0);

		must(got > 0 || errno == EINTR);
		if (got > 0) {
			at += got;
			len -= (size_t)got;
		}
	}
}

uint64_t entropy_u64(void)
{
	uint64_t word;

	entropy_fill(&word, sizeof(word));
	return word;
}

uint64_t entropy_below(uint64_t n)
{
	/* Reject the ragged end of the range, so that no remainder is likelier than another. */
	uint64_t word, limit = UINT64_MAX - UINT64_MAX % n;

	must(n > 0);
	do
		word = entropy_u64();
	while (word >= limit);
	return word % n;
}

void entropy_seed(uint64_t seed)
{
	stream.state = seed;
	stream.seeded = true;
}

void entropy_unseed(void)
{
	stream.seeded = false;
}
