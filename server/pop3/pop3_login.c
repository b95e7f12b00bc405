/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_login.c - USER and PASS (RFC 1939 7), AUTH (RFC 5034).
 *
 * A login that succeeds takes a seat and opens the maildrop on the same fiber, so the answer says that
 * all went well. No word tells whether an account exists, nor, before its password was right, when it
 * came last. */
#include "server/pop3/pop3_int.h"

#include "core/base/crypt.h"
#include "core/metric.h"
#include "server/login.h"
#include "server/seat.h"
#include "store/account.h"

static void on_challenge(struct conn *c, struct exchange *x, slice challenge);
static void on_end(struct conn *c, enum fault fault, const struct exchange_result *result);

static const struct exchange_ops exchange_ops = { .challenge = on_challenge, .end = on_end };

unsigned pop3_auth_mechs(const struct pop3_session *s)
{
	return exchange_mechs(&s->head, s->head.setup->pop3->plain_login);
}

static enum fault find_account(struct pop3_session *s, const struct login_name *name, uint64_t *out)
{
	enum err err = OK;
	const struct account *acc =
		account_find(s->head.door->store, name->local, name->domain, &err);

	if (err || !acc)
		return FAULT_AUTH_BUSY;
	*out = acc->id;
	return FAULT_NONE;
}

/* A seat comes first: who is too early, or one too many, costs no look into the mailbox. */
static enum fault take_drop(struct pop3_session *s, slice name)
{
	struct seat_ask ask = { .max = (uint64_t)s->head.setup->imap->sessions_max,
		.delay_ms = s->head.setup->pop3->login_delay_ms };
	size_t at = (size_t)MAX(slice_rfind(name, '@'), (ptrdiff_t)0); /* as stored */
	struct login_name parts = { slice_sub(name, 0, at), slice_skip(name, at + 1) };
	enum fault fault = find_account(s, &parts, &ask.account);

	if (!fault)
		fault = seat_take(&ask, &s->seat);
	if (!fault)
		fault = pop3_drop_open(s, ask.account, parts.domain);
	if (fault) {
		seat_undo(s->seat);
		s->seat = NULL;
	}
	return fault;
}

/* On a fiber: the name and its password were right. */
static void enter(struct pop3_session *s, slice name, slice mechanism)
{
	enum fault fault = take_drop(s, name);

	if (fault) {
		pop3_log_refused(s, fault, name);
		(void)pop3_refuse(s, fault);
		return;
	}
	s->account = arena_dup(&s->arena, name);
	s->state = POP3_TRANSACTION;
	metric_add(&pop3_metrics, POP3_METRIC_LOGINS, 1);
	pop3_log_login(s, mechanism);
	out_printf(conn_out(s->head.conn), "+OK %u messages, %llu octets\r\n",
		s->drop->snap->uids.count, (unsigned long long)s->drop->snap->bytes);
}

static void refused(struct pop3_session *s, enum fault fault, const char *what)
{
	pop3_log_refused(s, fault, slice_str(what));
	(void)pop3_refuse(s, fault);
}

/* --- USER and PASS -------------------------------------------------------------------------------- */

enum verdict pop3_do_user(struct pop3_session *s, slice rest)
{
	if (!pop3_auth_mechs(s))
		return pop3_refuse(s, FAULT_AUTH_NEEDS_TLS);
	if (pop3_no_args(rest))
		return pop3_refuse(s, FAULT_BAD_ARGS);
	arena_done(&s->arena);
	s->user = arena_dup(&s->arena, rest);
	return pop3_ok(s, "");
}

/* What the fiber needs lies in the connection's arena: the input dies with its first wait. */
static void check_password(struct conn *c)
{
	struct pop3_session *s = conn_owner(c);
	struct door *door = s->head.door;
	struct arena a = { .chunk_bytes = 512 };
	struct login_try try = { .options = s->head.setup->auth,
		.peer = conn_peer(c),
		.name = s->user,
		.password = s->password };
	slice name;
	enum fault fault = login_password(door->login, door->w, &try, &a, &name);

	crypt_wipe((void *)(uintptr_t)s->password.ptr, s->password.len);
	s->password = s->user = SLICE("");
	if (fault)
		refused(s, fault, "PASS");
	else
		enter(s, name, SLICE("USER"));
	arena_done(&a);
	pop3_go_on(s);
}

enum verdict pop3_do_pass(struct pop3_session *s, slice rest)
{
	if (!s->user.len)
		return pop3_error(s, "Say USER first");
	s->password = arena_dup(&s->arena, rest);
	(void)conn_run(s->head.conn, check_password);
	return DONE;
}

/* --- AUTH ------------------------------------------------------------------------------------------- */

static void on_challenge(struct conn *c, struct exchange *x, slice challenge)
{
	struct pop3_session *s = conn_owner(c);
	struct out *o = conn_out(c);

	out_str(o, "+ ");
	sasl_wire_put(o, challenge);
	out_str(o, "\r\n");
	s->input = POP3_IN_AUTH;
	pop3_go_on(s);
}

static void on_end(struct conn *c, enum fault fault, const struct exchange_result *result)
{
	struct pop3_session *s = conn_owner(c);

	if (s->input == POP3_IN_AUTH)
		s->input = POP3_IN_LINE;
	if (fault)
		refused(s, fault, "AUTH");
	else
		enter(s, result->name, sasl_mech_name(result->mech));
	pop3_go_on(s);
}

enum verdict pop3_do_auth(struct pop3_session *s, slice rest)
{
	unsigned offered = pop3_auth_mechs(s);
	struct pop3_auth args;
	struct exchange *x;

	if (!offered)
		return pop3_refuse(s, FAULT_AUTH_NEEDS_TLS);
	if (pop3_no_args(rest)) { /* an old habit: which are there? */
		struct out *o = conn_out(s->head.conn);

		out_str(o, "+OK\r\n");
		for (unsigned mech = 1; mech <= SASL_ALL; mech <<= 1)
			if (offered & mech)
				out_printf(o, "%.*s\r\n", SLICE_ARG(sasl_mech_name(mech)));
		out_str(o, ".\r\n");
		return DONE;
	}
	if (!pop3_auth(rest, &args))
		return pop3_refuse(s, FAULT_BAD_ARGS);
	enum sasl_mech mech = sasl_mech_find(args.mechanism);
	if (mech == SASL_NONE || !(offered & mech))
		return pop3_refuse(s, FAULT_AUTH_MECHANISM);
	x = exchange_start(&s->head, &exchange_ops, mech, offered);
	if (!x)
		return pop3_refuse(s, FAULT_AUTH_BUSY);
	(void)exchange_respond(x, args.initial.ptr ? &args.initial : NULL);
	return DONE;
}

static void cancel(struct pop3_session *s, enum fault fault)
{
	exchange_drop(s->head.exchange);
	s->head.exchange = NULL;
	s->input = POP3_IN_LINE;
	refused(s, fault, "AUTH");
	pop3_go_on(s);
}

size_t pop3_take_auth(struct pop3_session *s, slice in, bool *stop)
{
	size_t used = 0;
	slice line;

	switch (smtp_line_cut(&s->lines, in, POP3_AUTH_LINE_MAX, &used, &line)) {
	case STEP_MORE:
		*stop = true;
		return used;
	case STEP_DONE:
		pop3_arm(s);
		if (slice_eq(line, SLICE("*")))
			cancel(s, FAULT_AUTH_CANCELED);
		else if (!exchange_respond(s->head.exchange, &line))
			*stop = true;
		return used;
	case STEP_TOO_LONG:
		cancel(s, FAULT_AUTH_TOO_LONG);
		return used;
	default:
		cancel(s, FAULT_AUTH_SYNTAX);
		return used;
	}
}
