/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_session.h - one client's dialogue on 25, 587, 465 or LMTP.
 *
 * A session is made for an accepted connection and frees itself with it. What its listener allows is
 * read from the door; one table of verbs serves all services. Between two commands it is this
 * struct, a timer and, when there is one, the TLS state: no fiber, no buffer. */
#ifndef SERVER_SMTP_SMTP_SESSION_H
#define SERVER_SMTP_SMTP_SESSION_H

#include "core/addr.h"
#include "core/event.h"
#include "server/door.h"

/* Takes the descriptor over, whatever happens. From the loop. */
void smtp_session_start(struct door *door, int fd, const struct addr *peer);

enum {
	SMTP_METRIC_CONNECTIONS,
	SMTP_METRIC_OPEN,
	SMTP_METRIC_MESSAGES,
	SMTP_METRIC_BYTES,
	SMTP_METRIC_RCPTS,
	SMTP_METRIC_FAULTS
};
extern struct event_table smtp_events;
extern struct metric_table smtp_metrics;

#endif
