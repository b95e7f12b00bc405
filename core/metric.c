/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metric.c - the arrays of cells, and how they are summed and shown.
 *
 * A thread's block is only written by that thread; the list of blocks is guarded by a mutex that
 * only readers and starting or ending threads take. What an ended thread counted is
 * folded into `past`, so no counter ever falls. */
#include "core/metric.h"

#include "core/base/histogram.h"
#include "core/base/text.h"

#include <pthread.h>
#include <stdlib.h>

struct block {
	struct list_link link;
	union metric_cell *cells;
};

static struct {
	pthread_mutex_t lock;
	struct metric_table *tables, *last;
	uint32_t count; /* cells in all */
	struct list blocks;
	union metric_cell *past;
} all = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.blocks = { { &all.blocks.head, &all.blocks.head } },
};

_Thread_local union metric_cell *metric_cells;
static _Thread_local struct block *own;
/* Only for its destructor: what a thread that ends counted is folded into `past`. */
static pthread_key_t own_key;
static pthread_once_t own_once = PTHREAD_ONCE_INIT;

void metric_register(struct metric_table *table)
{
	pthread_mutex_lock(&all.lock);
	bool known = table->next || all.last == table;

	if (!known) {
		must(list_empty(&all.blocks) && !all.past);
		table->first = all.count;
		all.count += table->count;
		if (all.last)
			all.last->next = table;
		else
			all.tables = table;
		all.last = table;
	}
	pthread_mutex_unlock(&all.lock);
}

static void free_cells(union metric_cell *cells)
{
	for (const struct metric_table *t = all.tables; t && cells; t = t->next)
		for (unsigned i = 0; i < t->count; i++)
			if (t->rows[i].kind == METRIC_HISTOGRAM)
				free(cells[t->first + i].histogram);
	free(cells);
}

/* Whole cache lines, so that no two threads write to the same one. */
static union metric_cell *new_cells(void)
{
	size_t bytes = (all.count * sizeof(union metric_cell) + 127) / 64 * 64;
	union metric_cell *cells = aligned_alloc(64, bytes);

	if (!cells)
		return NULL;
	memset(cells, 0, bytes);
	for (const struct metric_table *t = all.tables; t; t = t->next)
		for (unsigned i = 0; i < t->count; i++) {
			if (t->rows[i].kind != METRIC_HISTOGRAM)
				continue;
			cells[t->first + i].histogram = calloc(1, sizeof(struct histogram));
			if (!cells[t->first + i].histogram) {
				free_cells(cells);
				return NULL;
			}
		}
	return cells;
}

static enum err start_locked(void)
{
	struct block *block = calloc(1, sizeof(*block));

	if (!all.past)
		all.past = new_cells();
	if (block && all.past)
		block->cells = new_cells();
	if (!block || !block->cells) {
		free(block);
		return ERR_NOMEM;
	}
	list_push(&all.blocks, &block->link);
	own = block;
	metric_cells = block->cells;
	pthread_setspecific(own_key, block);
	return OK;
}

static void thread_ends(void *block)
{
	own = block;
	metric_thread_stop();
}

static void make_key(void)
{
	must(pthread_key_create(&own_key, thread_ends) == 0);
}

enum err metric_thread_start(void)
{
	enum err err = OK;

	if (own)
		return OK;
	pthread_once(&own_once, make_key);
	pthread_mutex_lock(&all.lock);
	err = start_locked();
	pthread_mutex_unlock(&all.lock);
	return err;
}

static void fold(const struct metric_table *t, const union metric_cell *cells)
{
	for (unsigned i = t->first; i < t->first + t->count; i++) {
		if (t->rows[i - t->first].kind == METRIC_HISTOGRAM)
			histogram_merge(all.past[i].histogram, cells[i].histogram);
		/* Gauges too: what this thread added and others will take away must not be lost. */
		else
			all.past[i].number += cells[i].number;
	}
}

void metric_thread_stop(void)
{
	if (!own)
		return;
	pthread_mutex_lock(&all.lock);
	for (const struct metric_table *t = all.tables; t; t = t->next)
		fold(t, own->cells);
	list_remove(&own->link);
	free_cells(own->cells);
	pthread_mutex_unlock(&all.lock);
	free(own);
	own = NULL;
	metric_cells = NULL;
	pthread_setspecific(own_key, NULL);
}

void metric_record(const struct metric_table *table, unsigned row, uint64_t value)
{
	if (metric_cells)
		histogram_record(metric_cells[table->first + row].histogram, value);
}

static int64_t value_locked(unsigned cell)
{
	int64_t sum = all.past ? all.past[cell].number : 0;

	list_each(&all.blocks, link)
	{
		const struct block *b = container_of(link, struct block, link);

		sum += __atomic_load_n(&b->cells[cell].number, __ATOMIC_RELAXED);
	}
	return sum;
}

int64_t metric_value(const struct metric_table *table, unsigned row)
{
	pthread_mutex_lock(&all.lock);
	int64_t sum = value_locked(table->first + row);

	pthread_mutex_unlock(&all.lock);
	return sum;
}

static void histogram_locked(unsigned cell, struct histogram *out)
{
	histogram_reset(out);
	if (all.past)
		histogram_merge(out, all.past[cell].histogram);
	list_each(&all.blocks, link)
		histogram_merge(out, container_of(link, struct block, link)->cells[cell].histogram);
}

/* --- Showing them --- */

/* The name without labels, and the labels with their braces (or nothing). */
static slice base_name(const struct metric_row *row, slice *out_labels)
{
	slice name = slice_str(row->name);
	ptrdiff_t brace = slice_find(name, '{');
	size_t end = brace < 0 ? name.len : (size_t)brace;

	*out_labels = slice_skip(name, end);
	return slice_sub(name, 0, end);
}

static bool same_family(const struct metric_row *a, const struct metric_row *b)
{
	slice labels;

	return slice_eq(base_name(a, &labels), base_name(b, &labels));
}

static void put_name(struct out *o, const struct metric_table *t, slice name)
{
	out_printf(o, "ringpost_%s_%.*s", t->area, SLICE_ARG(name));
}

/* A family has one line of help; its members' own are in the Markdown table. */
static const char *family_doc(const struct metric_table *t, unsigned i)
{
	bool more = i + 1 < t->count && same_family(&t->rows[i], &t->rows[i + 1]);

	return more && strcmp(t->rows[i].doc, t->rows[i + 1].doc) ?
		"By label, see docs/metrics.md" :
		t->rows[i].doc;
}

static void put_head(struct out *o, const struct metric_table *t, unsigned i)
{
	static const char *const types[] = { "counter", "gauge", "summary" };
	slice labels, name = base_name(&t->rows[i], &labels);

	if (i > 0 && same_family(&t->rows[i - 1], &t->rows[i]))
		return;
	out_str(o, "# HELP ");
	put_name(o, t, name);
	out_printf(o, " %s\n# TYPE ", family_doc(t, i));
	put_name(o, t, name);
	out_printf(o, " %s\n", types[t->rows[i].kind]);
}

static const struct {
	double percent;
	const char *text;
} quantiles[] = {
	{ 50, "0.5" },
	{ 90, "0.9" },
	{ 99, "0.99" },
	{ 99.9, "0.999" },
	{ 99.99, "0.9999" },
};

static void put_summary(struct out *o, const struct metric_table *t, unsigned i,
	struct histogram *h)
{
	slice labels, name = base_name(&t->rows[i], &labels);
	/* "{a="b"}" opens for one more label. */
	slice inner = labels.len ? slice_sub(labels, 1, labels.len - 1) : labels;

	for (size_t q = 0; q < array_len(quantiles); q++) {
		put_name(o, t, name);
		out_printf(o, "{%.*s%squantile=\"%s\"} ", SLICE_ARG(inner), inner.len ? "," : "",
			quantiles[q].text);
		out_uint(o, histogram_percentile(h, quantiles[q].percent));
		out_char(o, '\n');
	}
	put_name(o, t, name);
	out_printf(o, "_sum%.*s %llu\n", SLICE_ARG(labels), (unsigned long long)h->sum);
	put_name(o, t, name);
	out_printf(o, "_count%.*s %llu\n", SLICE_ARG(labels), (unsigned long long)h->count);
}

static void put_row(struct out *o, const struct metric_table *t, unsigned i, struct histogram *h)
{
	put_head(o, t, i);
	if (t->rows[i].kind == METRIC_HISTOGRAM) {
		histogram_locked(t->first + i, h);
		put_summary(o, t, i, h);
		return;
	}
	put_name(o, t, slice_str(t->rows[i].name));
	out_char(o, ' ');
	out_int(o, value_locked(t->first + i));
	out_char(o, '\n');
}

void metric_put_prometheus(struct out *o)
{
	struct histogram *h = calloc(1, sizeof(*h));

	if (!h)
		return;
	pthread_mutex_lock(&all.lock);
	for (const struct metric_table *t = all.tables; t; t = t->next)
		for (unsigned i = 0; i < t->count; i++)
			put_row(o, t, i, h);
	pthread_mutex_unlock(&all.lock);
	free(h);
}

void metric_print_markdown(struct out *o)
{
	static const char *const kinds[] = { "counter", "gauge", "summary" };

	out_str(o, "| metric | kind | meaning |\n|---|---|---|\n");
	for (const struct metric_table *t = all.tables; t; t = t->next)
		for (unsigned i = 0; i < t->count; i++)
			out_printf(o, "| `ringpost_%s_%s` | %s | %s |\n", t->area, t->rows[i].name,
				kinds[t->rows[i].kind], t->rows[i].doc);
}
