/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bloom filters in lines of the processor's cache: all bits of a key are in one line, so asking for
 * it costs one miss. With four bits a key and ten to twenty of room some two keys of a hundred look
 * as if they were there. */
#include "store/absent.h"

#include "core/base/map.h"

#include <stdlib.h>
#include <sys/mman.h>

enum {
	LINE_BYTES = 64,
	LINE_BITS = LINE_BYTES * 8,
	WORDS = LINE_BYTES / 8,
	PROBES = 4,
	BITS_A_KEY = 10,
	ROOM_MIN = 4096,
	HUGE_PAGE = 2 << 20
};

static void forget(struct absent *a, struct absent_filter *f)
{
	free(f->bits);
	a->bytes -= f->lines * LINE_BYTES;
	*f = (struct absent_filter){ 0 };
}

/* As full as it may be: the next look in vain makes a larger one. */
static void outgrown(struct absent *a, struct absent_filter *f)
{
	struct absent_filter old = *f;

	forget(a, f);
	*f = (struct absent_filter){
		.account = old.account, .used = old.used, .cost = UINT64_MAX / 2
	};
}

void absent_done(struct absent *a)
{
	for (size_t i = 0; a->filters && i < (size_t)ABSENT_SETS * ABSENT_WAYS; i++)
		free(a->filters[i].bits);
	free(a->filters);
	*a = (struct absent){ 0 };
}

static struct absent_filter *set_of(const struct absent *a, uint64_t account)
{
	return a->filters + map_hash_u64(account) % ABSENT_SETS * ABSENT_WAYS;
}

/* NULL: the account has none. */
static struct absent_filter *filter_of(struct absent *a, uint64_t account)
{
	if (!a->filters)
		return NULL;
	struct absent_filter *set = set_of(a, account);
	for (unsigned i = 0; i < ABSENT_WAYS; i++)
		if (set[i].used && set[i].account == account) {
			set[i].used = ++a->clock;
			return set + i;
		}
	return NULL;
}

/* In the place of the one of its set that was asked longest ago. */
static struct absent_filter *filter_new(struct absent *a, uint64_t account)
{
	if (!a->filters)
		a->filters = calloc((size_t)ABSENT_SETS * ABSENT_WAYS, sizeof(*a->filters));
	if (!a->filters)
		return NULL;
	struct absent_filter *set = set_of(a, account), *oldest = set;
	for (unsigned i = 1; i < ABSENT_WAYS; i++)
		if (set[i].used < oldest->used)
			oldest = set + i;
	forget(a, oldest);
	oldest->account = account;
	oldest->used = ++a->clock;
	return oldest;
}

static uint64_t *line_of(const struct absent_filter *f, uint64_t hash)
{
	return f->bits + (hash & (f->lines - 1)) * WORDS;
}

void absent_soon(struct absent *a, uint64_t account, uint64_t key)
{
	const struct absent_filter *f = filter_of(a, account);

	if (f && f->bits)
		__builtin_prefetch(line_of(f, map_hash_u64(key)), 1);
}

bool absent_says(struct absent *a, uint64_t account, uint64_t key)
{
	const struct absent_filter *f = filter_of(a, account);
	uint64_t hash = map_hash_u64(key), probes = hash >> 28;

	if (!f || !f->bits)
		return false;
	const uint64_t *line = line_of(f, hash);
	for (unsigned i = 0; i < PROBES; i++) {
		unsigned bit = (unsigned)(probes >> (i * 9)) % LINE_BITS;

		if (!(line[bit / 64] >> (bit % 64) & 1))
			return true;
	}
	return false;
}

/* Reading every table must cost less than was read in vain; a tree of this depth has about
 * 4^(level - 1) of them or more. */
bool absent_wanted(struct absent *a, uint64_t account, unsigned level)
{
	if (level < 2)
		return false;
	struct absent_filter *f = filter_of(a, account);
	if (!f)
		f = filter_new(a, account);
	if (!f || f->bits)
		return false;
	f->cost += level;
	return f->cost >= UINT64_C(1) << (2 * MIN(level - 1, 30U));
}

/* Makes room by forgetting others, in turn. */
static void shrink_to(struct absent *a, uint64_t bytes, const struct absent_filter *but)
{
	while (a->bytes > bytes) {
		struct absent_filter *f = a->filters + a->hand;

		a->hand = (a->hand + 1) % ((size_t)ABSENT_SETS * ABSENT_WAYS);
		if (f != but && f->bits)
			forget(a, f);
	}
}

bool absent_make(struct absent *a, uint64_t account, uint64_t keys)
{
	struct absent_filter *f = filter_of(a, account);
	uint64_t room = MAX(keys * 2, (uint64_t)ROOM_MIN), lines = 1;

	if (!f)
		return false;
	f->cost = 0;
	while (lines * LINE_BITS < room * BITS_A_KEY && lines * LINE_BYTES < ABSENT_BYTES_MAX)
		lines *= 2;
	free(f->bits);
	a->bytes -= f->lines * LINE_BYTES;
	f->lines = 0;
	shrink_to(a, ABSENT_BYTES_MAX - lines * LINE_BYTES, f);
	size_t bytes = lines * LINE_BYTES;
	f->bits = aligned_alloc(bytes < HUGE_PAGE ? LINE_BYTES : HUGE_PAGE, bytes);
	if (!f->bits)
		return false;
	if (bytes >= HUGE_PAGE) /* every line is on another small page than the last */
		(void)madvise(f->bits, bytes, MADV_HUGEPAGE);
	memset(f->bits, 0, bytes);
	f->lines = lines;
	f->room = room;
	a->bytes += bytes;
	return true;
}

void absent_forget(struct absent *a, uint64_t account)
{
	struct absent_filter *f = filter_of(a, account);

	if (f)
		forget(a, f);
}

void absent_add(struct absent *a, uint64_t account, uint64_t key)
{
	struct absent_filter *f = filter_of(a, account);
	uint64_t hash = map_hash_u64(key), probes = hash >> 28;

	if (!f || !f->bits)
		return;
	if (!f->room--) {
		outgrown(a, f);
		return;
	}
	uint64_t *line = line_of(f, hash);
	for (unsigned i = 0; i < PROBES; i++) {
		unsigned bit = (unsigned)(probes >> (i * 9)) % LINE_BITS;

		line[bit / 64] |= UINT64_C(1) << (bit % 64);
	}
}
