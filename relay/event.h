/* SPDX-License-Identifier: GPL-2.0-or-later */
/* event.h - what the relay tells the log and the counters.
 *
 * Rows of relay_events by name. Every event about mail carries `id` (or `id.n`). */
#ifndef RELAY_EVENT_H
#define RELAY_EVENT_H

#include "core/event.h"

struct parcel;
struct item;

enum relay_event {
	RELAY_ACCEPTED,
	RELAY_DELIVERED,
	RELAY_DEFERRED,
	RELAY_BOUNCED,
	RELAY_EXPIRED,
	RELAY_REMOVED,
	RELAY_HELD,
	RELAY_PARKED,
	RELAY_DSN_MADE,
	RELAY_DSN_DROPPED,
	RELAY_CONNECT_FAILED,
	RELAY_SUSPENDED,
	RELAY_TLS_FAILED,
	RELAY_REPLAYED,
	RELAY_DAMAGED,
	RELAY_STORE_TROUBLE,
	RELAY_EVENT_COUNT
};
extern struct event_table relay_events;

enum relay_metric {
	RELAY_M_READY,
	RELAY_M_ACTIVE,
	RELAY_M_CONNECTIONS,
	RELAY_M_CONNECTS,
	RELAY_M_CONNECT_FAILURES,
	RELAY_M_DELIVERY_MS,
	RELAY_METRIC_COUNT
};
extern struct metric_table relay_metrics;

#endif
