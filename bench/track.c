/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A page table of bitmaps, filled by compare-and-swap. */
#include "bench/track.h"

#include <stdlib.h>

enum { WORDS = TRACK_PAGE_BITS / 64 };

static _Atomic uint64_t *page_of(struct track *t, uint64_t number, bool make)
{
	_Atomic(_Atomic uint64_t *) *slot = &t->pages[number / TRACK_PAGE_BITS];
	_Atomic uint64_t *page = atomic_load_explicit(slot, memory_order_acquire), *none = NULL;

	if (page || !make)
		return page;
	page = calloc(WORDS, sizeof(*page));
	must(page);
	if (atomic_compare_exchange_strong(slot, &none, page))
		return page;
	free(page);
	return none;
}

static void raise_highest(struct track *t, uint64_t end)
{
	uint_fast64_t had = atomic_load_explicit(&t->highest, memory_order_relaxed);

	while (had < end && !atomic_compare_exchange_weak(&t->highest, &had, end))
		;
}

bool track_mark(struct track *t, uint64_t number)
{
	if (number >= TRACK_MAX) {
		atomic_fetch_add(&t->out_of_range, 1);
		return true;
	}
	_Atomic uint64_t *word = page_of(t, number, true) + number % TRACK_PAGE_BITS / 64;
	uint64_t bit = (uint64_t)1 << number % 64;
	bool first = !(atomic_fetch_or(word, bit) & bit);

	atomic_fetch_add_explicit(first ? &t->seen : &t->doubles, 1, memory_order_relaxed);
	raise_highest(t, number + 1);
	return first;
}

static bool is_marked(struct track *t, uint64_t number)
{
	_Atomic uint64_t *page = page_of(t, number, false);

	return page && atomic_load(page + number % TRACK_PAGE_BITS / 64) >> number % 64 & 1;
}

size_t track_list_missing(struct track *t, uint64_t end, uint64_t *out, size_t max)
{
	size_t found = 0;

	for (uint64_t n = 0; n < MIN(end, TRACK_MAX) && found < max; n++)
		if (!is_marked(t, n))
			out[found++] = n;
	return found;
}

uint64_t track_missing(struct track *t, uint64_t end)
{
	uint64_t missing = 0;

	for (uint64_t n = 0; n < MIN(end, TRACK_MAX); n++)
		missing += !is_marked(t, n);
	return missing;
}

void track_done(struct track *t)
{
	for (size_t i = 0; i < TRACK_PAGES; i++) {
		free((void *)atomic_load(&t->pages[i]));
		atomic_store(&t->pages[i], NULL);
	}
}
