/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metric.h - counters, gauges and histograms, declared as rows and kept per thread.
 *
 * A module declares a table; main registers the tables before any thread starts. Each thread
 * that called metric_thread_start owns an array of cells, the only one it writes: no atomic
 * read-modify-write and no shared cache line on the way. A reader sums the arrays at any time,
 * from any thread. A gauge is a sum as well: threads add and subtract, or each sets its own
 * share. On a thread without cells (tests, tools) writing does nothing. */
#ifndef CORE_METRIC_H
#define CORE_METRIC_H

#include "core/base/base.h"

enum metric_kind {
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_HISTOGRAM, /* of microseconds or bytes; exported with quantiles */
};

struct metric_row {
	const char *name; /* may end in {label="value"}; exported as ringpost_<area>_<name> */
	enum metric_kind kind;
	const char *doc; /* one line */
};

/* Rows are named by the module's own enum, in the same order. */
struct metric_table {
	const char *area; /* "smtp", "queue"... */
	const struct metric_row *rows;
	uint32_t count;
	uint32_t first; /* set by metric_register */
	struct metric_table *next;
};
#define METRIC_TABLE(area_name, rows_array)                                               \
	{                                                                                 \
		.area = (area_name), .rows = (rows_array), .count = array_len(rows_array) \
	}

/* Once per table, before the first metric_thread_start. A second time is harmless. */
void metric_register(struct metric_table *table);
/* Workers call start from their start function; stop happens by itself when the thread ends. What
 * a thread counted stays. ERR_NOMEM. */
enum err metric_thread_start(void) must_use;
void metric_thread_stop(void);

struct histogram;
union metric_cell {
	int64_t number;
	struct histogram *histogram;
};
extern _Thread_local union metric_cell *metric_cells;

static inline void metric_add(const struct metric_table *table, unsigned row, int64_t n)
{
	if (!metric_cells)
		return;
	int64_t *cell = &metric_cells[table->first + row].number;

	__atomic_store_n(cell, __atomic_load_n(cell, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
/* This thread's share of a gauge. */
static inline void metric_set(const struct metric_table *table, unsigned row, int64_t n)
{
	if (metric_cells)
		__atomic_store_n(&metric_cells[table->first + row].number, n, __ATOMIC_RELAXED);
}
/* One value of a histogram. */
void metric_record(const struct metric_table *table, unsigned row, uint64_t value);

/* Sum over all threads, living and ended. */
int64_t metric_value(const struct metric_table *table, unsigned row);

/* Everything registered: Prometheus text format 0.0.4; a Markdown table for docs/metrics.md. */
void metric_put_prometheus(struct out *o);
void metric_print_markdown(struct out *o);

#endif
