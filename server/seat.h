/* SPDX-License-Identifier: GPL-2.0-or-later */
/* seat.h - how many sessions an account has, and when it came last, over all workers and protocols.
 *
 * One worker, which follows from the account, keeps the count; others ask it by post, so a limit holds
 * exactly however sessions are spread. A seat is the session's from the login until it ends, and is
 * heap memory taken at the login, so that leaving cannot fail. What is known is forgotten at a restart. */
#ifndef SERVER_SEAT_H
#define SERVER_SEAT_H

#include "server/errmap.h"

struct seat;
struct worker;

/* Once a process, before the workers start. */
void seat_init(void);
/* On each worker, before its first session. ERR_NOMEM. */
enum err seat_worker_start(struct worker *w) must_use;
void seat_worker_stop(struct worker *w);

struct seat_ask {
	uint64_t account;
	uint64_t max;  /* sessions; 0: any number */
	msec delay_ms; /* since the last seat that was taken with a delay (RFC 2449 6.5); 0: none */
};
/* (fiber) FAULT_NONE, FAULT_SESSIONS, FAULT_LOGIN_DELAY, FAULT_BUSY. */
enum fault seat_take(const struct seat_ask *ask, struct seat **out) must_use;
/* Never waits. NULL is harmless. */
void seat_leave(struct seat *seat);
/* The same for a login that failed after all: the delay does not begin with it. */
void seat_undo(struct seat *seat);

#endif
