/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_auth.c - AUTH (RFC 4954) in SMTP's words; the exchange itself is exchange.h's.
 *
 * Offered are only mechanisms that may be used now: nothing in clear, -PLUS only with a channel
 * binding. */
#include "server/smtp/smtp_int.h"

#include "proto/sasl/sasl.h"
#include "proto/smtp/limits.h"
#include "server/exchange.h"

unsigned smtp_auth_mechs(const struct smtp_session *s)
{
	if (!smtp_is_submission(s))
		return 0;
	return exchange_mechs(&s->head, s->head.setup->smtp->plain_login);
}

/* On a fiber that is about to end, or without one. */
static void next_is(struct smtp_session *s, enum smtp_input input)
{
	s->input = input;
	conn_deadline(s->head.conn, s->head.setup->smtp->idle_ms);
}

static void refuse(struct smtp_session *s, enum fault fault)
{
	next_is(s, SMTP_IN_LINE);
	smtp_log_refused(s, fault, SLICE("AUTH"));
	if (smtp_refuse(s, fault) == CLOSE)
		smtp_close(s);
}

static void on_challenge(struct conn *c, struct exchange *x, slice challenge)
{
	struct smtp_session *s = conn_owner(c);
	struct out *o = conn_out(c);

	out_str(o, "334 ");
	sasl_wire_put(o, challenge);
	out_str(o, "\r\n");
	next_is(s, SMTP_IN_AUTH);
}

static void on_end(struct conn *c, enum fault fault, const struct exchange_result *result)
{
	struct smtp_session *s = conn_owner(c);

	if (fault) {
		refuse(s, fault);
		return;
	}
	s->account = arena_dup(&s->arena, result->name);
	next_is(s, SMTP_IN_LINE);
	smtp_log_login(s, sasl_mech_name(result->mech));
	smtp_reply(s, "235 2.7.0 Authentication successful\r\n");
}

static const struct exchange_ops exchange_ops = { .challenge = on_challenge, .end = on_end };

enum verdict smtp_do_auth(struct smtp_session *s, const union smtp_args *args)
{
	enum sasl_mech mech = sasl_mech_find(args->auth.mechanism);
	unsigned offered = smtp_auth_mechs(s);
	struct exchange *x;

	if (!smtp_is_submission(s))
		return smtp_refuse(s, FAULT_NOT_IMPLEMENTED);
	if (s->account.len)
		return smtp_refuse(s, FAULT_AUTH_DONE);
	if (!offered)
		return smtp_refuse(s, FAULT_AUTH_NEEDS_TLS);
	if (mech == SASL_NONE || !(offered & mech))
		return smtp_refuse(s, FAULT_AUTH_MECHANISM);
	x = exchange_start(&s->head, &exchange_ops, mech, offered);
	if (!x)
		return smtp_refuse(s, FAULT_AUTH_BUSY);
	next_is(s, SMTP_IN_AUTH);
	(void)exchange_respond(x, args->auth.has_initial ? &args->auth.initial : NULL);
	return DONE;
}

static void give_up(struct smtp_session *s, enum fault fault)
{
	exchange_drop(s->head.exchange);
	s->head.exchange = NULL;
	refuse(s, fault);
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
		if (slice_eq(line, SLICE("*")))
			give_up(s, FAULT_AUTH_CANCELED);
		else if (!exchange_respond(s->head.exchange, &line))
			*stop = true;
		return used;
	case STEP_TOO_LONG:
		give_up(s, FAULT_AUTH_TOO_LONG);
		return used;
	default:
		give_up(s, FAULT_AUTH_SYNTAX);
		return used;
	}
}
