/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_log.c - what an operator reads and counts of the POP3 doors. */
#include "server/pop3/pop3_int.h"

#include "core/log.h"
#include "core/metric.h"

static const struct event_row event_rows[] = {
	[POP3_E_CONNECT] = { "connect", LOG_DEBUG, "A client connected" },
	[POP3_E_DISCONNECT] = { "disconnect", LOG_DEBUG, "A connection ended" },
	[POP3_E_LOGIN] = { "login", LOG_INFO, "A client logged in" },
	[POP3_E_REFUSED] = { "refused", LOG_INFO, "A login or a connection was refused" },
};
struct event_table pop3_events = EVENT_TABLE("pop3", event_rows);

static const struct metric_row metric_rows[] = {
	[POP3_METRIC_CONNECTIONS] = { "connections_total", METRIC_COUNTER, "Connections accepted" },
	[POP3_METRIC_OPEN] = { "connections", METRIC_GAUGE, "Connections open now" },
	[POP3_METRIC_LOGINS] = { "logins_total", METRIC_COUNTER, "Logins" },
	[POP3_METRIC_RETRIEVED] = { "retrieved_total", METRIC_COUNTER, "Messages sent by RETR" },
	[POP3_METRIC_BYTES] = { "bytes_total", METRIC_COUNTER,
		"Bytes of listings and messages sent" },
	[POP3_METRIC_DELETED] = { "deleted_total", METRIC_COUNTER, "Messages removed by QUIT" },
	[POP3_METRIC_REFUSED] = { "refusals_total", METRIC_COUNTER,
		"Logins and connections refused" },
};
struct metric_table pop3_metrics = METRIC_TABLE("pop3", metric_rows);

static struct log_field some(const char *name, slice text)
{
	return log_slice(text.len ? name : NULL, text);
}

void pop3_log_connect(struct pop3_session *s)
{
	metric_add(&pop3_metrics, POP3_METRIC_CONNECTIONS, 1);
	metric_add(&pop3_metrics, POP3_METRIC_OPEN, 1);
	s->logged = true;
	event_emit(&pop3_events, POP3_E_CONNECT, log_uint("session", s->head.id),
		log_str("service", service_words[s->head.door->service]),
		log_addr("client", conn_peer(s->head.conn)));
}

void pop3_log_disconnect(struct pop3_session *s, enum err why)
{
	if (s->logged)
		metric_add(&pop3_metrics, POP3_METRIC_OPEN, -1);
	event_emit(&pop3_events, POP3_E_DISCONNECT, log_uint("session", s->head.id),
		log_addr("client", conn_peer(s->head.conn)), some("account", s->account),
		log_uint("retrieved", s->retrieved), log_uint("removed", s->removed), log_err(why));
}

void pop3_log_login(struct pop3_session *s, slice mechanism)
{
	event_emit(&pop3_events, POP3_E_LOGIN, log_uint("session", s->head.id),
		log_slice("account", s->account), log_slice("mechanism", mechanism),
		log_addr("client", conn_peer(s->head.conn)));
}

void pop3_log_refused(struct pop3_session *s, enum fault fault, slice what)
{
	metric_add(&pop3_metrics, POP3_METRIC_REFUSED, 1);
	if (fault == FAULT_SHUTDOWN)
		return;
	event_emit(&pop3_events, POP3_E_REFUSED, log_uint("session", s->head.id),
		log_str("fault", fault_name(fault)), some("what", what),
		log_addr("client", conn_peer(s->head.conn)));
}
