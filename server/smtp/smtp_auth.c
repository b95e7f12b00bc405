/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_auth.c - AUTH: the exchange of RFC 4954 around the SASL machines.
 *
 * The exchange has memory of its own, wiped and freed at its end. Each response runs on a fiber,
 * because looking a password up takes a helper thread and failing takes a while on purpose. Offered
 * are only mechanisms that may be used now: nothing in clear, -PLUS only with a channel binding. */
#include "server/smtp/smtp_int.h"

#include <stdlib.h>

#include "core/entropy.h"
#include "core/tls.h"
#include "proto/sasl/sasl.h"
#include "proto/smtp/limits.h"
#include "server/login.h"

enum { NONCE_BYTES = 24 };

struct smtp_exchange {
	struct arena arena;
	struct sasl_server sasl;
	slice response; /* decoded, to be fed on the fiber */
	slice name;     /* the account, once it is known */
	bool begun, has_response, admitted, scram, known;
};

static bool may_use_password(const struct smtp_session *s)
{
	return s->tls || (s->setup->smtp->plain_login && addr_is_loopback(conn_peer(s->conn)));
}

unsigned smtp_auth_mechs(const struct smtp_session *s)
{
	unsigned mechs = SASL_PLAIN | SASL_LOGIN | SASL_SCRAM_SHA_256;

	if (!smtp_is_submission(s) || !may_use_password(s))
		return 0;
	if (conn_is_tls(s->conn) && tls_exporter(conn_tls(s->conn)).len)
		mechs |= SASL_SCRAM_SHA_256_PLUS;
	return mechs;
}

void smtp_auth_drop(struct smtp_session *s)
{
	struct smtp_exchange *x = s->auth;

	s->auth = NULL;
	if (!x)
		return;
	if (x->begun)
		sasl_server_end(&x->sasl);
	arena_done(&x->arena);
	free(x);
}

static void end(struct smtp_session *s, enum fault fault)
{
	smtp_auth_drop(s);
	s->input = SMTP_IN_LINE;
	if (fault) {
		smtp_log_refused(s, fault, SLICE("AUTH"));
		if (smtp_refuse(s, fault) == CLOSE)
			smtp_close(s);
	}
}

static struct login_try try_of(struct smtp_session *s, const struct smtp_exchange *x)
{
	return (struct login_try){ .options = s->setup->auth,
		.peer = conn_peer(s->conn),
		.name = x->sasl.user,
		.password = x->sasl.password };
}

static void logged_in(struct smtp_session *s)
{
	struct smtp_exchange *x = s->auth;
	slice authzid = x->sasl.authzid;

	/* Acting as somebody else is nobody's right here. */
	if (authzid.len && !slice_eq_nocase(authzid, x->name)) {
		end(s, FAULT_AUTH_FAILED);
		return;
	}
	s->account = arena_dup(&s->arena, x->name);
	smtp_log_login(s, sasl_mech_name(x->sasl.conf.mech));
	smtp_reply(s, "235 2.7.0 Authentication successful\r\n");
	end(s, FAULT_NONE);
}

static void send_challenge(struct smtp_session *s, slice challenge)
{
	struct out *o = conn_out(s->conn);

	out_str(o, "334 ");
	sasl_wire_put(o, challenge);
	out_str(o, "\r\n");
	s->input = SMTP_IN_AUTH;
}

static enum fault find_keys(struct smtp_session *s, slice *challenge, enum sasl_step *step)
{
	struct smtp_exchange *x = s->auth;
	struct door *door = s->head.door;
	struct login_try try = try_of(s, x);
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

static enum fault check_password(struct smtp_session *s, enum sasl_step *step)
{
	struct smtp_exchange *x = s->auth;
	struct door *door = s->head.door;
	struct login_try try = try_of(s, x);
	enum fault fault = login_password(door->login, door->w, &try, &x->arena, &x->name);

	*step = sasl_server_checked(&x->sasl, fault == FAULT_NONE);
	return fault;
}

/* The proof of a SCRAM client was right or wrong. */
static enum fault scram_end(struct smtp_session *s, bool right)
{
	struct login_try try = try_of(s, s->auth);

	return login_scram_end(s->head.door->login, s->head.door->w, &try, right);
}

/* On a fiber: one response, up to the next challenge or the end. */
static void respond(struct conn *c)
{
	struct smtp_session *s = conn_owner(c);
	struct smtp_exchange *x = s->auth;
	slice challenge = SLICE("");
	enum sasl_step step = SASL_MORE;
	enum fault fault = FAULT_NONE;

	if (x->has_response)
		step = sasl_server_feed(&x->sasl, x->response, &challenge);
	else
		challenge = sasl_server_challenge(&x->sasl);
	if (step == SASL_NEED_KEYS)
		fault = find_keys(s, &challenge, &step);
	else if (step == SASL_CHECK)
		fault = check_password(s, &step);
	else if (step == SASL_OK && x->scram)
		fault = x->known ? scram_end(s, true) : scram_end(s, false);
	else if (step == SASL_FAIL)
		fault = scram_end(s, false);
	else if (step == SASL_BAD)
		fault = FAULT_AUTH_SYNTAX;
	if (fault)
		end(s, fault);
	else if (step == SASL_OK)
		logged_in(s);
	else if (step == SASL_MORE)
		send_challenge(s, challenge);
	else
		end(s, FAULT_AUTH_FAILED);
	smtp_set_deadline(s);
}

static bool decode_response(struct smtp_exchange *x, slice line)
{
	x->has_response = true;
	return sasl_wire_get(&x->arena, line, &x->response);
}

static void start_sasl(struct smtp_session *s, struct smtp_exchange *x, enum sasl_mech mech)
{
	char raw[NONCE_BYTES], nonce[NONCE_BYTES * 2];
	struct out o = out_fixed(nonce, sizeof(nonce));
	struct sasl_server_conf conf = { .mech = mech };

	entropy_fill(raw, sizeof(raw));
	sasl_wire_put(&o, slice_of(raw, sizeof(raw)));
	conf.nonce = out_written(&o);
	conf.plus_offered = smtp_auth_mechs(s) & SASL_SCRAM_SHA_256_PLUS;
	if (conn_is_tls(s->conn))
		conf.binding = tls_exporter(conn_tls(s->conn));
	sasl_server_start(&x->sasl, &x->arena, &conf);
	x->begun = true;
}

enum verdict smtp_do_auth(struct smtp_session *s, const union smtp_args *args)
{
	enum sasl_mech mech = sasl_mech_find(args->auth.mechanism);
	unsigned offered = smtp_auth_mechs(s);
	struct smtp_exchange *x;

	if (!smtp_is_submission(s))
		return smtp_refuse(s, FAULT_NOT_IMPLEMENTED);
	if (s->account.len)
		return smtp_refuse(s, FAULT_AUTH_DONE);
	if (!offered)
		return smtp_refuse(s, FAULT_AUTH_NEEDS_TLS);
	if (mech == SASL_NONE || !(offered & mech))
		return smtp_refuse(s, FAULT_AUTH_MECHANISM);
	x = calloc(1, sizeof(*x));
	if (!x)
		return smtp_refuse(s, FAULT_AUTH_BUSY);
	s->auth = x;
	arena_init(&x->arena, 1024);
	start_sasl(s, x, mech);
	if (args->auth.has_initial && !decode_response(x, args->auth.initial)) {
		end(s, FAULT_AUTH_SYNTAX);
		return DONE;
	}
	conn_deadline(s->conn, s->setup->smtp->idle_ms);
	s->input = SMTP_IN_AUTH;
	(void)conn_run(s->conn, respond);
	return DONE;
}

size_t smtp_take_auth(struct smtp_session *s, slice in, bool *stop)
{
	size_t used = 0;
	slice line;

	switch (smtp_line_cut(&s->lines, in, SMTP_AUTH_LINE_MAX, &used, &line)) {
	case STEP_MORE:
		*stop = true;
		return used;
	case STEP_DONE:
		break;
	case STEP_TOO_LONG:
		end(s, FAULT_AUTH_TOO_LONG);
		return used;
	default:
		end(s, FAULT_AUTH_SYNTAX);
		return used;
	}
	if (slice_eq(line, SLICE("*")))
		end(s, FAULT_AUTH_CANCELED);
	else if (!decode_response(s->auth, line))
		end(s, FAULT_AUTH_SYNTAX);
	else if (!conn_run(s->conn, respond))
		*stop = true;
	smtp_set_deadline(s);
	return used;
}
