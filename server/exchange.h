/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exchange.h - one login on a connection: the SASL machines, the accounts, the counters of failures.
 *
 * The exchange has memory of its own, wiped and freed at its end. Each response runs on the
 * connection's fiber, because looking a password up takes a helper thread and failing takes a while on
 * purpose. The protocol keeps its own words: how a challenge is sent and what the end is answered. The
 * owner of the connection begins with struct door_session. Calls on its worker. */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include "proto/sasl/sasl.h"
#include "server/door.h"
#include "server/errmap.h"

struct conn;
struct exchange;

struct exchange_result {
	slice name; /* the account as stored; dies with the call */
	enum sasl_mech mech;
};
struct exchange_ops {
	/* Send it, and give the client's next line to exchange_respond. */
	void (*challenge)(struct conn *c, struct exchange *x, slice challenge);
	/* FAULT_NONE: logged in. The exchange is gone when this returns. */
	void (*end)(struct conn *c, enum fault fault, const struct exchange_result *result);
};

/* SASL_* set that may be used now; 0: none. `clear`: passwords may be sent without TLS. */
unsigned exchange_mechs(const struct door_session *ds, bool clear);
/* NULL: out of memory. It stands in ds->exchange until its end. `offered` must contain `mech`. */
struct exchange *exchange_start(struct door_session *ds, const struct exchange_ops *ops,
	enum sasl_mech mech, unsigned offered);
/* An initial response or a line, in base64; NULL: none came, the first challenge is sent. The lone "*" is
 * for the caller to see. As conn_run returns. */
bool exchange_respond(struct exchange *x, const slice *line);
/* Forget it, without `end`: the owner's `closed`, if ds->exchange is still there. NULL is harmless. */
void exchange_drop(struct exchange *x);

#endif
