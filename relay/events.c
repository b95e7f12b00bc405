/* SPDX-License-Identifier: GPL-2.0-or-later */
/* events.c - the rows of the relay's events and metrics. */
#include "relay/event.h"

static const struct event_row rows[RELAY_EVENT_COUNT] = {
	[RELAY_ACCEPTED] = { "accepted", LOG_DEBUG, "a message is on disk" },
	[RELAY_DELIVERED] = { "delivered", LOG_INFO, "a next hop took a recipient" },
	[RELAY_DEFERRED] = { "deferred", LOG_INFO, "an attempt failed for now" },
	[RELAY_BOUNCED] = { "bounced", LOG_INFO, "a recipient failed for good" },
	[RELAY_EXPIRED] = { "expired", LOG_INFO, "a recipient failed by its age" },
	[RELAY_REMOVED] = { "removed", LOG_INFO, "an operator removed a recipient" },
	[RELAY_HELD] = { "held", LOG_WARN, "a recipient waits for a release" },
	[RELAY_PARKED] = { "parked", LOG_DEBUG, "a recipient left memory without an attempt" },
	[RELAY_DSN_MADE] = { "dsn", LOG_INFO, "a report to a sender was queued" },
	[RELAY_DSN_DROPPED] = { "dsn_failed", LOG_WARN, "a report could not be queued" },
	[RELAY_CONNECT_FAILED] = { "connect_failed", LOG_INFO, "a next hop gave no session" },
	[RELAY_SUSPENDED] = { "suspended", LOG_INFO, "a destination rests" },
	[RELAY_TLS_FAILED] = { "tls_failed", LOG_INFO, "a handshake failed" },
	[RELAY_REPLAYED] = { "replayed", LOG_INFO, "unfinished messages after a start" },
	[RELAY_DAMAGED] = { "damaged", LOG_ERROR, "messages in the journal cannot be read" },
	[RELAY_STORE_TROUBLE] = { "store_trouble", LOG_ERROR, "a result was not stored yet" },
};
struct event_table relay_events = EVENT_TABLE("relay", rows);

static const struct metric_row metrics[RELAY_METRIC_COUNT] = {
	[RELAY_M_READY] = { "ready", METRIC_GAUGE, "recipients ready in memory" },
	[RELAY_M_ACTIVE] = { "active", METRIC_GAUGE, "recipients with a connection's worker" },
	[RELAY_M_CONNECTIONS] = { "connections", METRIC_GAUGE, "open to next hops" },
	[RELAY_M_CONNECTS] = { "connects_total", METRIC_COUNTER, "sessions opened" },
	[RELAY_M_CONNECT_FAILURES] = { "connect_failures_total", METRIC_COUNTER,
		"rounds over all exchangers without a session" },
	[RELAY_M_DELIVERY_MS] = { "delivery_ms", METRIC_HISTOGRAM,
		"from acceptance to delivery, in milliseconds" },
};
struct metric_table relay_metrics = METRIC_TABLE("relay", metrics);
