/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_session.h - one client's dialogue on 110 or 995 (RFC 1939, 2449, 2595, 5034, 6856).
 *
 * A session is made for an accepted connection and frees itself with it. After the login it works on
 * a snapshot of INBOX: numbers and sizes stay, several sessions go side by side, nothing is locked.
 * Between two commands it is this struct, a timer and, when there is one, the TLS state: no fiber, no
 * buffer; the set of uids is shared by those who saw the same. */
#ifndef SERVER_POP3_POP3_SESSION_H
#define SERVER_POP3_POP3_SESSION_H

#include "core/addr.h"
#include "core/event.h"
#include "server/door.h"

struct worker;

/* What the sessions of a worker share: before the workers, and on each of them. */
void pop3_init(void);
enum err pop3_worker_start(struct worker *w) must_use;
/* Its sessions are gone. */
void pop3_worker_stop(struct worker *w);

/* Takes the descriptor over, whatever happens. From the loop. */
void pop3_session_start(struct door *door, int fd, const struct addr *peer);

enum {
	POP3_METRIC_CONNECTIONS,
	POP3_METRIC_OPEN,
	POP3_METRIC_LOGINS,
	POP3_METRIC_RETRIEVED,
	POP3_METRIC_BYTES,
	POP3_METRIC_DELETED,
	POP3_METRIC_REFUSED,
};
extern struct event_table pop3_events;
extern struct metric_table pop3_metrics;

#endif
