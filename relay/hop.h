/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hop.h - the connection under deliver.c: dialling, TLS, login, and the machine's next event.
 *
 * A hop belongs to the fiber that opened it. hop_open tries exchangers by preference (equal ones
 * in random order) and their addresses until one session is ready for mail; what failed last is
 * in hop->why. Memory is the hop's arena and the connection's buffers. */
#ifndef RELAY_HOP_H
#define RELAY_HOP_H

#include "proto/sasl/sasl.h"
#include "proto/smtp/client.h"
#include "relay/ship.h"

enum { HOP_SHIPS = 2 }; /* transactions under way at once, as the machine allows */

struct hop {
	struct list_link all; /* of the worker */
	struct list_link idle;
	struct fiber *fiber;
	struct fiber_wait wait;
	struct relay_here *r;
	struct outlet *ot;
	struct target *target;
	struct conn *c; /* NULL: none stands */
	struct smtp_client client;
	struct smtp_client_conf conf;
	struct sasl_client_conf login;
	struct arena arena;
	slice in;
	struct ship ships[HOP_SHIPS];
	unsigned sent; /* transactions offered in this session */
	slice host;    /* name of the exchanger */
	struct addr peer;
	struct reason why;
	struct tls_info *tls; /* NULL: clear */
	bool greeted, is_unix, said_421, stopping;
	char text[2048]; /* of replies */
};

/* OK: ready for mail. Otherwise hop->why says what happened. */
enum err hop_open(struct hop *h) must_use;
/* Drive the machine to its next event but SMTP_EV_WAIT; waits at most `timeout_ms` for each
 * whole reply, however many pieces it comes in. */
enum smtp_event hop_step(struct hop *h, msec timeout_ms, struct smtp_client_event *ev);
/* The session is over: QUIT when it can still be said, then close. */
void hop_close(struct hop *h);

/* What happened, for results: a reply, or an err and where. */
void hop_reason_reply(struct hop *h, const struct smtp_reply *reply, struct reason *out);
void hop_reason_err(struct hop *h, enum err err, const char *where, struct reason *out);

#endif
