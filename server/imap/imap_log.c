/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_log.c - what an operator reads and counts of the IMAP doors. */
#include "server/imap/imap_int.h"

#include "core/log.h"
#include "core/metric.h"

static const struct event_row event_rows[] = {
	[IMAP_E_CONNECT] = { "imap.connect", LOG_DEBUG, "A client connected" },
	[IMAP_E_DISCONNECT] = { "imap.disconnect", LOG_DEBUG, "A connection ended" },
	[IMAP_E_LOGIN] = { "imap.login", LOG_INFO, "A client logged in" },
	[IMAP_E_REFUSED] = { "imap.refused", LOG_INFO, "A client was refused by a rule" },
};
struct event_table imap_events = EVENT_TABLE("imap", event_rows);

static const struct metric_row metric_rows[] = {
	[IMAP_METRIC_CONNECTIONS] = { "connections_total", METRIC_COUNTER, "Connections accepted" },
	[IMAP_METRIC_OPEN] = { "connections", METRIC_GAUGE, "Connections open now" },
	[IMAP_METRIC_LOGGED_IN] = { "sessions", METRIC_GAUGE, "Of them, logged in" },
	[IMAP_METRIC_IDLE] = { "idle", METRIC_GAUGE, "Of them, in IDLE" },
	[IMAP_METRIC_VIEWS] = { "views", METRIC_GAUGE,
		"Mailboxes open, each counted once a worker" },
	[IMAP_METRIC_COMMANDS] = { "commands_total", METRIC_COUNTER, "Commands begun" },
	[IMAP_METRIC_BAD] = { "bad_total", METRIC_COUNTER, "Commands answered BAD" },
	[IMAP_METRIC_BYTES_OUT] = { "big_bytes_total", METRIC_COUNTER,
		"Bytes of answers that were sent in pieces" },
	[IMAP_METRIC_PARSED] = { "bodies_parsed_total", METRIC_COUNTER,
		"Bodies read by FETCH because their summary was too long to be kept" },
	[IMAP_METRIC_HEADERS] = { "header_bytes_total", METRIC_COUNTER,
		"Bytes of headers read by FETCH to tell some of their fields" },
	[IMAP_METRIC_COMPRESSED] = { "compressed", METRIC_GAUGE, "Connections with COMPRESS" },
};
struct metric_table imap_metrics = METRIC_TABLE("imap", metric_rows);

/* Left out when empty. */
static struct log_field some(const char *name, slice text)
{
	return log_slice(text.len ? name : NULL, text);
}

void imap_log_connect(struct imap_session *s)
{
	metric_add(&imap_metrics, IMAP_METRIC_CONNECTIONS, 1);
	metric_add(&imap_metrics, IMAP_METRIC_OPEN, 1);
	s->logged = true;
	event_emit(&imap_events, IMAP_E_CONNECT, log_uint("session", s->head.id),
		log_str("service", service_words[s->head.door->service]),
		log_addr("client", conn_peer(s->head.conn)));
}

void imap_log_disconnect(struct imap_session *s, enum err why)
{
	if (s->logged)
		metric_add(&imap_metrics, IMAP_METRIC_OPEN, -1);
	if (s->state != IMAP_NEW)
		metric_add(&imap_metrics, IMAP_METRIC_LOGGED_IN, -1);
	if (s->idle_tag)
		metric_add(&imap_metrics, IMAP_METRIC_IDLE, -1);
	event_emit(&imap_events, IMAP_E_DISCONNECT, log_uint("session", s->head.id),
		log_addr("client", conn_peer(s->head.conn)), some("account", slice_str(s->name)),
		log_uint("commands", s->commands), log_err(why));
}

void imap_log_login(struct imap_session *s, slice mechanism)
{
	metric_add(&imap_metrics, IMAP_METRIC_LOGGED_IN, 1);
	event_emit(&imap_events, IMAP_E_LOGIN, log_uint("session", s->head.id),
		log_str("account", s->name), log_slice("mechanism", mechanism),
		log_bool("tls", s->head.tls), log_addr("client", conn_peer(s->head.conn)));
}

void imap_log_refused(struct imap_session *s, const char *what, slice detail)
{
	event_emit(&imap_events, IMAP_E_REFUSED, log_uint("session", s->head.id),
		log_str("why", what), some("what", detail),
		log_addr("client", conn_peer(s->head.conn)), some("account", slice_str(s->name)));
}
