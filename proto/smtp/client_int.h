/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client_int.h - between client.c (session states) and client_flight.c (transactions).
 *
 * A session has one state; each of at most two transactions has a place on the sending side and one
 * on the answering side. Replies come in the order of commands, so they always belong to
 * flight[0]. */
#ifndef PROTO_SMTP_CLIENT_INT_H
#define PROTO_SMTP_CLIENT_INT_H

#include "proto/smtp/client.h"

enum client_state {
	CLIENT_GREETING,
	CLIENT_EHLO,
	CLIENT_HELO,
	CLIENT_STARTTLS,
	CLIENT_TLS,
	CLIENT_AUTH,
	CLIENT_AUTH_CANCELED,
	CLIENT_READY,
	CLIENT_QUIT,
	CLIENT_DOWN,
};

/* What is written next, and what is answered next. */
enum flight_send { SEND_MAIL, SEND_RCPT, SEND_DATA, SEND_WAIT, SEND_BODY, SEND_END };
enum flight_recv { RECV_MAIL, RECV_RCPT, RECV_DATA, RECV_FINAL, RECV_END };

static inline bool pipelining(const struct smtp_client *c)
{
	return c->caps.flags & SMTP_CAP_PIPELINING;
}

/* The session ends; with the reply just read as its cause, or without. */
void client_down(struct smtp_client *c, enum err why, bool by_reply);

/* All commands that may be written now. */
void flight_write(struct smtp_client *c, struct out *o);
/* The reply to the oldest command without one. SMTP_EV_WAIT: nothing to tell. */
enum smtp_event flight_reply(struct smtp_client *c, struct out *o, struct smtp_client_event *ev);
/* Events that wait to be told, whatever is received. SMTP_EV_WAIT: none. */
enum smtp_event flight_due(struct smtp_client *c, struct smtp_client_event *ev);
/* The session is down: tell what becomes of each transaction, one a call. */
enum smtp_event flight_lost(struct smtp_client *c, struct smtp_client_event *ev);
bool flight_body_open(const struct smtp_client *c);

#endif
