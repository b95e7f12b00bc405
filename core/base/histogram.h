/* SPDX-License-Identifier: GPL-2.0-or-later */
/* histogram.h - how values are spread, at a fixed relative error.
 *
 * Buckets grow with the value (log-linear, as in HdrHistogram): up to 2^40, 128 per power of two,
 * so a percentile is right to 0.8 %; what is larger counts as the largest. 36 KB each, too much
 * for the stack of a fiber: on the heap or embedded. One thread records; others may read and merge
 * at the same time and see a slightly older state. Recording costs a few nanoseconds and never
 * fails. */
#ifndef CORE_BASE_HISTOGRAM_H
#define CORE_BASE_HISTOGRAM_H

#include "core/base/base.h"

enum {
	HISTOGRAM_SUB_BITS = 7, /* buckets per power of two: 128 */
	HISTOGRAM_MAX_BITS = 40,
	HISTOGRAM_BUCKETS = (HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS,
};

/* Zeroed is empty and ready. */
struct histogram {
	uint64_t count, sum, max, min; /* min is kept as its complement, so that zero means none */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *h, uint64_t value);
void histogram_record_many(struct histogram *h, uint64_t value, uint64_t times);
/* Adds what `from` holds. */
void histogram_merge(struct histogram *into, const struct histogram *from);
void histogram_reset(struct histogram *h);

uint64_t histogram_count(const struct histogram *h);
uint64_t histogram_max(const struct histogram *h);
uint64_t histogram_min(const struct histogram *h); /* 0 when empty */
double histogram_mean(const struct histogram *h);
/* The smallest value that `percent` (0 to 100, e.g. 99.99) of the values do not exceed; 0 when
 * empty; never over the maximum. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

#endif
