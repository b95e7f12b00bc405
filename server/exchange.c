/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exchange.c - SASL_NEED_KEYS, SASL_CHECK and what else the machines ask for, answered by login.h. */
#include "server/exchange.h"

#include <stdlib.h>

#include "core/addr.h"
#include "core/conn.h"
#include "core/entropy.h"
#include "core/tls.h"
#include "server/login.h"

enum { NONCE_BYTES = 24 };

struct exchange {
	struct door_session *ds;
	const struct exchange_ops *ops;
	struct arena arena;
	struct sasl_server sasl;
	slice response; /* decoded, to be fed on the fiber */
	slice name;     /* the account, once it is known */
	bool begun, has_response, scram, known;
};

unsigned exchange_mechs(const struct door_session *ds, bool clear)
{
	unsigned mechs = SASL_PLAIN | SASL_LOGIN | SASL_SCRAM_SHA_256;

	if (!ds->tls && !(clear && addr_is_loopback(conn_peer(ds->conn))))
		return 0;
	if (conn_is_tls(ds->conn) && tls_exporter(conn_tls(ds->conn)).len)
		mechs |= SASL_SCRAM_SHA_256_PLUS;
	return mechs;
}

void exchange_drop(struct exchange *x)
{
	if (!x)
		return;
	if (x->begun)
		sasl_server_end(&x->sasl);
	arena_done(&x->arena);
	free(x);
}

static void end(struct exchange *x, enum fault fault)
{
	struct exchange_result result = { .name = x->name, .mech = x->sasl.conf.mech };

	x->ds->exchange = NULL;
	x->ops->end(x->ds->conn, fault, &result);
	exchange_drop(x);
}

static struct login_try try_of(const struct exchange *x)
{
	return (struct login_try){ .options = x->ds->setup->auth,
		.peer = conn_peer(x->ds->conn),
		.name = x->sasl.user,
		.password = x->sasl.password };
}

static enum fault find_keys(struct exchange *x, slice *challenge, enum sasl_step *step)
{
	struct door *door = x->ds->door;
	struct login_try try = try_of(x);
	struct login_scram found;
	enum fault fault = login_admit(door->login, door->w, &try);

	if (!fault)
		fault = login_scram_keys(door->login, &try, &x->arena, &found);
	if (fault)
		return fault;
	x->scram = true;
	x->known = found.known;
	x->name = found.name;
	*step = sasl_server_keys(&x->sasl, &found.keys, challenge);
	return FAULT_NONE;
}

static enum fault check_password(struct exchange *x, enum sasl_step *step)
{
	struct door *door = x->ds->door;
	struct login_try try = try_of(x);
	enum fault fault = login_password(door->login, door->w, &try, &x->arena, &x->name);

	*step = sasl_server_checked(&x->sasl, fault == FAULT_NONE);
	return fault;
}

/* The proof of a SCRAM client was right or wrong. */
static enum fault scram_end(struct exchange *x, bool right)
{
	struct login_try try = try_of(x);

	return login_scram_end(x->ds->door->login, x->ds->door->w, &try, right);
}

static enum fault act(struct exchange *x, enum sasl_step *step, slice *challenge)
{
	switch (*step) {
	case SASL_NEED_KEYS:
		return find_keys(x, challenge, step);
	case SASL_CHECK:
		return check_password(x, step);
	case SASL_OK:
		return x->scram ? scram_end(x, x->known) : FAULT_NONE;
	case SASL_FAIL:
		return scram_end(x, false);
	case SASL_BAD:
		return FAULT_AUTH_SYNTAX;
	default:
		return FAULT_NONE;
	}
}

/* On a fiber: one response, up to the next challenge or the end. */
static void respond(struct exchange *x)
{
	slice challenge = SLICE("");
	enum sasl_step step = SASL_MORE;
	enum fault fault;

	if (x->has_response)
		step = sasl_server_feed(&x->sasl, x->response, &challenge);
	else
		challenge = sasl_server_challenge(&x->sasl);
	fault = act(x, &step, &challenge);
	if (!fault && step == SASL_MORE)
		x->ops->challenge(x->ds->conn, x, challenge);
	else if (fault || step != SASL_OK)
		end(x, fault ? fault : FAULT_AUTH_FAILED);
	else if (x->sasl.authzid.len && !slice_eq_nocase(x->sasl.authzid, x->name))
		end(x, FAULT_AUTH_FAILED); /* acting as somebody else is nobody's right here */
	else
		end(x, FAULT_NONE);
}

static void respond_here(struct conn *c)
{
	struct door_session *ds = conn_owner(c);

	respond(ds->exchange);
}

bool exchange_respond(struct exchange *x, const slice *line)
{
	x->has_response = line != NULL;
	if (line && !sasl_wire_get(&x->arena, *line, &x->response)) {
		end(x, FAULT_AUTH_SYNTAX);
		return true;
	}
	return conn_run(x->ds->conn, respond_here);
}

struct exchange *exchange_start(struct door_session *ds, const struct exchange_ops *ops,
	enum sasl_mech mech, unsigned offered)
{
	struct exchange *x = calloc(1, sizeof(*x));
	char raw[NONCE_BYTES], nonce[NONCE_BYTES * 2];
	struct out o = out_fixed(nonce, sizeof(nonce));

	if (!x)
		return NULL;
	x->ds = ds;
	x->ops = ops;
	arena_init(&x->arena, 1024);
	entropy_fill(raw, sizeof(raw));
	sasl_wire_put(&o, slice_of(raw, sizeof(raw)));
	struct sasl_server_conf conf = { .mech = mech,
		.nonce = out_written(&o),
		.plus_offered = offered & SASL_SCRAM_SHA_256_PLUS };
	if (conn_is_tls(ds->conn))
		conf.binding = tls_exporter(conn_tls(ds->conn));
	sasl_server_start(&x->sasl, &x->arena, &conf);
	x->begun = true;
	ds->exchange = x;
	return x;
}
