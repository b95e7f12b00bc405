/* SPDX-License-Identifier: GPL-2.0-or-later */
/* event.h - what happens to mail and sessions: a log line and a counter in one call.
 *
 * A module declares a table of events, named by its own enum in the same order; main registers
 * it before threads start. event_emit logs the row's name with the fields and adds one to
 * ringpost_<area>_events_total{event="name"}. Any thread. Nothing here fails. */
#ifndef CORE_EVENT_H
#define CORE_EVENT_H

#include "core/log.h"
#include "core/metric.h"

struct event_row {
	const char *name; /* as in the log */
	enum log_level level;
	const char *doc; /* one line */
};

struct event_table {
	const char *area;
	const struct event_row *rows;
	uint32_t count;
	struct metric_table metrics; /* made by event_register */
};
#define EVENT_TABLE(area_name, rows_array)                                                \
	{                                                                                 \
		.area = (area_name), .rows = (rows_array), .count = array_len(rows_array) \
	}

/* Once per table, before the first metric_thread_start. */
void event_register(struct event_table *table);

/* event_emit(&smtp_events, SMTP_ACCEPTED, log_str("id", id), ...): at least one field, always
 * evaluated. */
#define event_emit(table, event, ...)                                               \
	do {                                                                        \
		const struct log_field event_fields_[] = { __VA_ARGS__ };           \
		event_write(table, event, event_fields_, array_len(event_fields_)); \
	} while (0)
void event_write(const struct event_table *table, unsigned event, const struct log_field *fields,
	size_t count);

#endif
