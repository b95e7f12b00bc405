/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_session.h - one client's dialogue on 143 or 993.
 *
 * A session is made for an accepted connection and frees itself with it. Between two commands, and
 * in IDLE, it is this struct, a timer and, when there are, its TLS and compression states: no fiber,
 * no buffer, no arena. Sequence numbers are kept once for all sessions of a worker that have the same
 * mailbox open (imap_view.h). */
#ifndef SERVER_IMAP_IMAP_SESSION_H
#define SERVER_IMAP_IMAP_SESSION_H

#include "core/addr.h"
#include "core/event.h"
#include "server/door.h"

/* Takes the descriptor over, whatever happens. From the loop. */
void imap_session_start(struct door *door, int fd, const struct addr *peer);

/* Once, before the workers; a second time is harmless. */
void imap_init(void);
/* On each worker, around its doors. ERR_NOMEM. */
enum err imap_worker_start(struct worker *w) must_use;
void imap_worker_stop(struct worker *w);

enum {
	IMAP_METRIC_CONNECTIONS,
	IMAP_METRIC_OPEN,
	IMAP_METRIC_LOGGED_IN,
	IMAP_METRIC_IDLE,
	IMAP_METRIC_VIEWS,
	IMAP_METRIC_COMMANDS,
	IMAP_METRIC_BAD,
	IMAP_METRIC_BYTES_OUT,
	IMAP_METRIC_PARSED,
	IMAP_METRIC_HEADERS,
	IMAP_METRIC_COMPRESSED,
};
extern struct event_table imap_events;
extern struct metric_table imap_metrics;

#endif
