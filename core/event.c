/* SPDX-License-Identifier: GPL-2.0-or-later */
/* event.c - one call: a line and a count.
 *
 * The counters of a table are ordinary metric rows made at registration; they live as long as
 * the program, like the table itself. */
#include "core/event.h"

#include <stdlib.h>

/* Everything made by event_register, so that a leak check sees it. */
static struct arena made;

static const char *counter_name(const char *event)
{
	return arena_printf(&made, "events_total{event=\"%s\"}", event).ptr;
}

void event_register(struct event_table *table)
{
	if (table->metrics.rows) {
		metric_register(&table->metrics);
		return;
	}
	struct metric_row *rows = arena_array(&made, struct metric_row, table->count);

	for (uint32_t i = 0; i < table->count; i++)
		rows[i] = (struct metric_row){
			.name = counter_name(table->rows[i].name),
			.kind = METRIC_COUNTER,
			.doc = table->rows[i].doc,
		};
	table->metrics = (struct metric_table){
		.area = table->area,
		.rows = rows,
		.count = table->count,
	};
	metric_register(&table->metrics);
}

void event_write(const struct event_table *table, unsigned event, const struct log_field *fields,
	size_t count)
{
	const struct event_row *row = &table->rows[event];

	metric_add(&table->metrics, event, 1);
	if (log_on(row->level))
		log_write(row->level, row->name, fields, count);
}
