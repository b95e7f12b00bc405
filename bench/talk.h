/* SPDX-License-Identifier: GPL-2.0-or-later */
/* talk.h - a client's dialogue in straight lines, on a fiber.
 *
 * The generator's own small client: it measures each step and never retries, because what a server
 * does wrong is the result. A talk belongs to its fiber and is used there only; talk_close ends it.
 * Steps are false when the reply was not the wanted one or the connection is gone: talk->code is the
 * reply (0: none) and talk->text its words. */
#ifndef BENCH_TALK_H
#define BENCH_TALK_H

#include "core/addr.h"
#include "core/base/base.h"

struct conn;
struct tls_client;
struct worker;

enum talk_tls { TALK_PLAIN, TALK_STARTTLS, TALK_IMPLICIT };

struct talk_target {
	struct addr addr;
	const char *host; /* for SNI */
	enum talk_tls tls;
	struct tls_client *client;
	slice user, password; /* user empty: no AUTH */
	unsigned mechanism;   /* enum sasl_mech; 0 in protocols that have another way: that */
	bool lmtp;
	msec timeout_ms;
};

struct talk {
	const struct talk_target *target;
	struct worker *worker;
	struct conn *conn; /* NULL: not open */
	const char *verb;  /* which step the last reply answered; static */
	unsigned code;
	char text[512];                       /* a challenge of SCRAM must fit */
	uint64_t connect_us, tls_us, auth_us; /* of the last talk_open */
	unsigned caps;                        /* SMTP_CAP_* */
};

/* Connect, greet, EHLO, TLS and AUTH as the target says. */
bool talk_open(struct talk *t);
/* The first steps of it, for other protocols: connect, and implicit TLS where the target says so; begin TLS now. */
bool talk_connect(struct talk *t);
bool talk_start_tls(struct talk *t);
/* The last one: close, when a farewell was answered, else tear down. */
void talk_end(struct talk *t, bool answered);
/* The connection is of no more use: code 0 and the error's words; false. */
bool talk_broken(struct talk *t, enum err err);
/* Wait for more than *in, as conn_wait_data does, for as long as the target says. */
bool talk_receive(struct talk *t, slice *in);
/* Read one whole reply; true when its first digit is `want`. */
bool talk_expect(struct talk *t, const char *verb, char want);
/* Write bytes, waiting while the connection is congested. */
bool talk_send(struct talk *t, slice bytes);
/* QUIT when `polite`, then close. Harmless when not open. */
void talk_close(struct talk *t, bool polite);

/* The initial response of AUTH PLAIN, in other protocols (RFC 4616). */
void talk_put_plain(struct talk *t, slice user, slice password);

/* What answers came to, where a command is counted by itself; the caller zeroes it before. */
struct talk_cost {
	uint64_t bytes, items;
	uint64_t first_ns; /* when the first of them arrived */
};

uint64_t talk_now_ns(void);

#endif
