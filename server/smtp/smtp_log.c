/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_log.c - what an operator reads and counts of the SMTP doors.
 *
 * One line per message taken or rejected, with the queue id that every later line of its life
 * carries; one per refused command; connections at debug level. A counter per fault. */
#include "server/smtp/smtp_int.h"

#include "core/log.h"
#include "core/metric.h"
#include "relay/queue.h"

static const struct event_row event_rows[] = {
	[SMTP_E_RECEIVED] = { "received", LOG_INFO,
		"A message is on disk, and its client is being told" },
	[SMTP_E_REJECTED] = { "rejected", LOG_INFO, "A message was refused at its end" },
	[SMTP_E_REFUSED] = { "refused", LOG_INFO, "A command was refused by a rule" },
	[SMTP_E_CONNECT] = { "connect", LOG_DEBUG, "A client connected" },
	[SMTP_E_DISCONNECT] = { "disconnect", LOG_DEBUG, "A connection ended" },
	[SMTP_E_LOGIN] = { "login", LOG_INFO, "A client logged in" },
};
struct event_table smtp_events = EVENT_TABLE("smtp", event_rows);

static const struct metric_row metric_rows[] = {
	[SMTP_METRIC_CONNECTIONS] = { "connections_total", METRIC_COUNTER, "Connections accepted" },
	[SMTP_METRIC_OPEN] = { "connections", METRIC_GAUGE, "Connections open now" },
	[SMTP_METRIC_MESSAGES] = { "messages_total", METRIC_COUNTER, "Messages accepted" },
	[SMTP_METRIC_BYTES] = { "bytes_total", METRIC_COUNTER, "Bytes of them as stored" },
	[SMTP_METRIC_RCPTS] = { "recipients_total", METRIC_COUNTER, "Recipients of them" },
#define X(name, code, enhanced, text)                                                      \
	[SMTP_METRIC_FAULTS + FAULT_##name - 1] = { "refusals_total{fault=\"" #name "\"}", \
		METRIC_COUNTER, text },
	FAULT_TABLE(X)
#undef X
};
struct metric_table smtp_metrics = METRIC_TABLE("smtp", metric_rows);

/* Left out when empty. */
static struct log_field some(const char *name, slice text)
{
	return log_slice(text.len ? name : NULL, text);
}

static void count_fault(enum fault fault)
{
	metric_add(&smtp_metrics, SMTP_METRIC_FAULTS + fault - 1, 1);
}

static const char *service_name(const struct smtp_session *s)
{
	return service_words[s->head.door->service];
}

void smtp_log_connect(struct smtp_session *s)
{
	metric_add(&smtp_metrics, SMTP_METRIC_CONNECTIONS, 1);
	metric_add(&smtp_metrics, SMTP_METRIC_OPEN, 1);
	s->logged = true;
	event_emit(&smtp_events, SMTP_E_CONNECT, log_uint("session", s->head.id),
		log_str("service", service_name(s)), log_addr("client", conn_peer(s->head.conn)));
}

void smtp_log_disconnect(struct smtp_session *s, enum err why)
{
	if (s->logged)
		metric_add(&smtp_metrics, SMTP_METRIC_OPEN, -1);
	event_emit(&smtp_events, SMTP_E_DISCONNECT, log_uint("session", s->head.id),
		log_addr("client", conn_peer(s->head.conn)), log_uint("messages", s->messages),
		log_err(why));
}

void smtp_log_refused(struct smtp_session *s, enum fault fault, slice what)
{
	count_fault(fault);
	if (fault == FAULT_SHUTDOWN) /* a line for each idle session would hide the rest */
		return;
	event_emit(&smtp_events, SMTP_E_REFUSED, log_uint("session", s->head.id),
		log_str("fault", fault_name(fault)), some("what", what),
		log_addr("client", conn_peer(s->head.conn)), some("helo", s->helo),
		some("account", s->account));
}

void smtp_log_message(struct smtp_session *s, enum fault fault)
{
	const struct envelope *env = &s->mail->env;
	char id_buf[QUEUE_ID_TEXT + 1], trace_buf[QUEUE_ID_TEXT + 1];
	struct out id = out_fixed(id_buf, sizeof(id_buf));
	struct out trace = out_fixed(trace_buf, sizeof(trace_buf));

	queue_id_put(&id, env->id);
	queue_id_put(&trace, env->trace);
	if (fault) {
		count_fault(fault);
		event_emit(&smtp_events, SMTP_E_REJECTED, log_slice("trace", out_written(&trace)),
			log_str("fault", fault_name(fault)), log_slice("from", env->sender),
			log_uint("rcpts", env->rcpt_count),
			log_addr("client", conn_peer(s->head.conn)), some("account", s->account));
		return;
	}
	metric_add(&smtp_metrics, SMTP_METRIC_MESSAGES, 1);
	metric_add(&smtp_metrics, SMTP_METRIC_BYTES, (int64_t)env->size);
	metric_add(&smtp_metrics, SMTP_METRIC_RCPTS, env->rcpt_count);
	event_emit(&smtp_events, SMTP_E_RECEIVED, log_slice("id", out_written(&id)),
		log_slice("trace", out_written(&trace)), log_slice("from", env->sender),
		log_uint("rcpts", env->rcpt_count), log_uint("size", env->size),
		log_str("service", service_name(s)), log_addr("client", conn_peer(s->head.conn)),
		some("helo", s->helo), some("account", s->account));
}

void smtp_log_login(struct smtp_session *s, slice mechanism)
{
	event_emit(&smtp_events, SMTP_E_LOGIN, log_uint("session", s->head.id),
		some("account", s->account), log_slice("mechanism", mechanism),
		log_addr("client", conn_peer(s->head.conn)));
}
