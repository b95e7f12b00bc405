/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters summed over threads, histograms and their percentiles, and the three ways to show
 * them. */
#include "core/metric.h"

#include "core/base/histogram.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

enum { M_TAKEN, M_REPLY_2, M_REPLY_5, M_OPEN, M_DELAY, M_END_WELL, M_END_BADLY };
static const struct metric_row rows[] = {
	[M_TAKEN] = { "taken_total", METRIC_COUNTER, "Messages taken" },
	[M_REPLY_2] = { "replies_total{class=\"2\"}", METRIC_COUNTER, "Replies by class" },
	[M_REPLY_5] = { "replies_total{class=\"5\"}", METRIC_COUNTER, "Replies by class" },
	[M_OPEN] = { "open", METRIC_GAUGE, "Open sessions" },
	[M_DELAY] = { "delay_us", METRIC_HISTOGRAM, "Delay in microseconds" },
	[M_END_WELL] = { "ends_total{how=\"well\"}", METRIC_COUNTER, "Good ends" },
	[M_END_BADLY] = { "ends_total{how=\"badly\"}", METRIC_COUNTER, "Bad ends" },
};
static struct metric_table first = METRIC_TABLE("first", rows);
static struct metric_table table = METRIC_TABLE("test", rows);

static void *count(void *arg)
{
	if (metric_thread_start())
		return NULL;
	for (int i = 0; i < 10000; i++) {
		metric_add(&table, M_TAKEN, 1);
		metric_record(&table, M_DELAY, (uint64_t)i);
	}
	metric_add(&table, M_OPEN, 3);
	metric_set(&first, M_OPEN, 5);
	/* A reader in the middle sees whole numbers. */
	if (metric_value(&table, M_TAKEN) < 10000)
		return NULL;
	metric_add(&table, M_OPEN, -1);
	/* The end of the thread does what metric_thread_stop would. */
	return arg;
}

static slice shown(void (*put)(struct out *o), struct out *o)
{
	o->len = 0;
	put(o);
	return out_written(o);
}

#define has(text, part) \
	cr_expect(slice_search(text, SLICE(part)) >= 0, "%s in\n%.*s", part, SLICE_ARG(text))

Test(metric, sums_over_threads_also_ended_ones)
{
	pthread_t threads[4];
	struct out o = out_heap(1 << 20);

	metric_register(&first);
	metric_register(&table);
	metric_register(&table);
	/* Without cells nothing happens. */
	metric_add(&table, M_TAKEN, 1);
	metric_record(&table, M_DELAY, 1);
	cr_expect_eq(metric_value(&table, M_TAKEN), 0);
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_create(&threads[i], NULL, count, &table);
	for (size_t i = 0; i < array_len(threads); i++) {
		void *result = NULL;

		cr_expect_eq(pthread_join(threads[i], &result), 0);
		cr_expect_neq(result, NULL);
	}
	cr_expect_eq(metric_value(&table, M_TAKEN), 40000);
	cr_expect_eq(metric_value(&first, M_TAKEN), 0);
	cr_expect_eq(metric_value(&table, M_OPEN), 8);
	slice text = shown(metric_put_prometheus, &o);

	has(text, "ringpost_test_delay_us_sum 199980000\nringpost_test_delay_us_count 40000\n");
	out_heap_done(&o);
}

Test(metric, shows_rows)
{
	struct out o = out_heap(1 << 20);

	metric_register(&table);
	cr_assert_eq(metric_thread_start(), OK);
	metric_add(&table, M_REPLY_2, 7);
	metric_add(&table, M_REPLY_5, 8);
	for (int i = 1; i <= 100; i++)
		metric_record(&table, M_DELAY, (uint64_t)i);
	slice text = shown(metric_put_prometheus, &o);

	has(text,
		"# HELP ringpost_test_taken_total Messages taken\n"
		"# TYPE ringpost_test_taken_total counter\nringpost_test_taken_total 0\n");
	/* One head for the family. */
	has(text,
		"# TYPE ringpost_test_replies_total counter\n"
		"ringpost_test_replies_total{class=\"2\"} 7\n"
		"ringpost_test_replies_total{class=\"5\"} 8\n");
	has(text, "# HELP ringpost_test_replies_total Replies by class\n");
	has(text, "# HELP ringpost_test_ends_total By label, see docs/metrics.md\n");
	has(text,
		"# TYPE ringpost_test_delay_us summary\n"
		"ringpost_test_delay_us{quantile=\"0.5\"} 50\n");
	has(text, "ringpost_test_delay_us_sum 5050\nringpost_test_delay_us_count 100\n");
	text = shown(metric_print_markdown, &o);
	has(text, "| `ringpost_test_open` | gauge | Open sessions |\n");
	metric_thread_stop();
	out_heap_done(&o);
}

/* --- Histograms --- */

Test(histogram, percentiles_are_right_to_one_percent)
{
	struct histogram *h = calloc(1, sizeof(*h));
	static const double percents[] = { 1, 50, 90, 99, 99.9, 99.99, 100 };

	cr_expect_eq(histogram_percentile(h, 50), 0);
	cr_expect_eq(histogram_min(h), 0);
	for (uint64_t v = 1; v <= 1000000; v++)
		histogram_record(h, v);
	for (size_t i = 0; i < array_len(percents); i++) {
		double want = percents[i] * 10000;
		double got = (double)histogram_percentile(h, percents[i]);

		cr_expect(got >= want && got <= want * 1.008 + 1, "p%g: %g", percents[i], got);
	}
	cr_expect_eq(histogram_max(h), 1000000);
	cr_expect_eq(histogram_min(h), 1);
	cr_expect(histogram_mean(h) > 500000.4 && histogram_mean(h) < 500000.6);
	free(h);
}

Test(histogram, small_values_are_exact)
{
	struct histogram *h = calloc(1, sizeof(*h));

	histogram_record(h, 0);
	histogram_record_many(h, 3, 98);
	histogram_record(h, 100);
	histogram_record_many(h, 100, 0);
	cr_expect_eq(histogram_count(h), 100);
	cr_expect_eq(histogram_percentile(h, 1), 0);
	cr_expect_eq(histogram_percentile(h, 1.01), 3);
	cr_expect_eq(histogram_percentile(h, 99), 3);
	cr_expect_eq(histogram_percentile(h, 99.5), 100);
	free(h);
}

Test(histogram, what_is_over_the_range_counts_as_the_maximum)
{
	struct histogram *h = calloc(1, sizeof(*h));

	histogram_record(h, UINT64_C(1) << 50);
	cr_expect_eq(histogram_percentile(h, 50), UINT64_C(1) << 50);
	histogram_record(h, UINT64_MAX);
	cr_expect_eq(histogram_max(h), UINT64_MAX);
	free(h);
}

Test(histogram, merging_is_recording_both)
{
	struct histogram *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b)),
			 *both = calloc(1, sizeof(*both));

	for (uint64_t i = 0; i < 5000; i++) {
		uint64_t v = i * i * 2654435761 % 100000007;

		histogram_record(i % 2 ? a : b, v);
		histogram_record(both, v);
	}
	histogram_merge(a, b);
	cr_expect_eq(memcmp(a, both, sizeof(*a)), 0);
	free(a);
	free(b);
	free(both);
}
