/* SPDX-License-Identifier: GPL-2.0-or-later */
/* histogram.c - log-linear buckets.
 *
 * The first 128 values have a bucket each; from there every power of two is cut in 128. All
 * members are written by one thread with relaxed stores, so that a reader on another thread is
 * no data race; on the machines we build for they are plain moves. */
#include "core/base/histogram.h"

enum { SUB = 1 << HISTOGRAM_SUB_BITS };

static const uint64_t value_max = ((uint64_t)1 << HISTOGRAM_MAX_BITS) - 1;

static uint64_t load(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void store(uint64_t *at, uint64_t n)
{
	__atomic_store_n(at, n, __ATOMIC_RELAXED);
}

static unsigned bucket_of(uint64_t value)
{
	if (value < SUB)
		return (unsigned)value;
	unsigned shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;

	return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift) - SUB;
}

/* The largest value that falls into the bucket. */
static uint64_t upto(unsigned bucket)
{
	if (bucket < SUB)
		return bucket;
	unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
	uint64_t top = SUB + (bucket & (SUB - 1));

	return ((top + 1) << shift) - 1;
}

void histogram_record(struct histogram *h, uint64_t value)
{
	histogram_record_many(h, value, 1);
}

void histogram_record_many(struct histogram *h, uint64_t value, uint64_t times)
{
	if (times == 0)
		return;
	uint64_t *bucket = &h->buckets[bucket_of(MIN(value, value_max))];

	store(bucket, load(bucket) + times);
	store(&h->sum, load(&h->sum) + value * times);
	if (value > load(&h->max))
		store(&h->max, value);
	if (~value > load(&h->min))
		store(&h->min, ~value);
	store(&h->count, load(&h->count) + times);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t n = load(&from->buckets[i]);

		if (n == 0)
			continue;
		store(&into->buckets[i], load(&into->buckets[i]) + n);
		count += n;
	}
	/* What the buckets hold is what percentiles are taken of; the writer may be between two
	 * stores. */
	store(&into->count, load(&into->count) + count);
	store(&into->sum, load(&into->sum) + load(&from->sum));
	store(&into->max, MAX(load(&into->max), load(&from->max)));
	store(&into->min, MAX(load(&into->min), load(&from->min)));
}

void histogram_reset(struct histogram *h)
{
	*h = (struct histogram){ 0 };
}

uint64_t histogram_count(const struct histogram *h)
{
	return load(&h->count);
}

uint64_t histogram_max(const struct histogram *h)
{
	return load(&h->max);
}

uint64_t histogram_min(const struct histogram *h)
{
	return load(&h->count) ? ~load(&h->min) : 0;
}

double histogram_mean(const struct histogram *h)
{
	uint64_t count = load(&h->count);

	return count ? (double)load(&h->sum) / (double)count : 0;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
	uint64_t count = load(&h->count), seen = 0;
	double exact = percent / 100 * (double)count;
	uint64_t wanted = (uint64_t)exact;

	if (count == 0)
		return 0;
	if ((double)wanted < exact || wanted == 0)
		wanted++;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += load(&h->buckets[i]);
		/* What was over the range counts as its end: only the maximum knows better. */
		if (seen >= wanted && i + 1 < HISTOGRAM_BUCKETS)
			return MAX(MIN(upto(i), load(&h->max)), histogram_min(h));
	}
	return load(&h->max);
}
