/* SPDX-License-Identifier: GPL-2.0-or-later */
/* event.h - what happens to mail and sessions: a log line, a counter and a fan-out in one call.
 *
 * A module declares a table of events, named by its own enum in the same order; main registers
 * it before threads start. event_emit logs the row's name with the fields, adds one to
 * ringpost_<area>_events_total{event="name"}, and hands exported events to the hook. Any
 * thread. */
#ifndef CORE_EVENT_H
#define CORE_EVENT_H

#include "core/log.h"
#include "core/metric.h"

enum { EVENT_EXPORT = 1 }; /* goes to the hook too */

struct event_row {
	const char *name; /* as in the log */
	enum log_level level;
	uint32_t flags;
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

struct event {
	const struct event_table *table;
	const struct event_row *row;
	const struct log_field *fields; /* borrowed for the call of the hook */
	size_t count;
};

/* event_emit(&smtp_events, SMTP_ACCEPTED, log_str("id", id), ...): at least one field, always
 * evaluated. */
#define event_emit(table, event, ...)                                               \
	do {                                                                        \
		const struct log_field event_fields_[] = { __VA_ARGS__ };           \
		event_write(table, event, event_fields_, array_len(event_fields_)); \
	} while (0)
void event_write(const struct event_table *table, unsigned event, const struct log_field *fields,
	size_t count);

/* The consumer of exported events (webhooks, the stream); set before threads start. It is
 * called on the emitting thread and must not wait. NULL: none. */
void event_set_hook(void (*hook)(const struct event *event, void *arg), void *arg);

#endif
