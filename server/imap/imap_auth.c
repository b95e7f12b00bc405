/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_auth.c - STARTTLS, LOGIN and AUTHENTICATE.
 *
 * The exchange itself is exchange.h's. Nothing is offered that would send a password in clear, unless
 * the peer is loopback and the option says so. A login is over when the account's mailboxes are there
 * and everything delivered before can be read. */
#include "server/imap/imap_int.h"

#include <stdlib.h>

#include "core/base/crypt.h"
#include "core/tls.h"
#include "proto/sasl/sasl.h"
#include "server/entry.h"
#include "server/exchange.h"
#include "server/login.h"
#include "server/seat.h"
#include "store/account.h"
#include "store/mailbox.h"

enum { AUTH_LINE_MAX = 12288 };

unsigned imap_auth_mechs(const struct imap_session *s)
{
	return exchange_mechs(&s->head, s->head.setup->imap->plain_login);
}

/* RFC 9051 6.2.1. What stood behind it in its segment is dropped. */
enum verdict imap_do_starttls(struct imap_session *s, const union imap_args *args)
{
	struct tls_session *tls;

	if (!s->head.setup->tls || !s->head.door->row->tls)
		return imap_bad(s, "TLS is not offered here");
	tls = entry_tls(&s->head);
	if (!tls)
		return imap_no_fault(s, FAULT_TLS_UNAVAILABLE);
	s->run->tls = tls;
	return imap_ok(s);
}

/* --- What a login gives ------------------------------------------------------------------------ */

static enum fault find_account(struct imap_session *s, slice name)
{
	struct store *st = imap_store_of(s);
	ptrdiff_t at = slice_rfind(name, '@');
	slice local = slice_sub(name, 0, at < 0 ? name.len : (size_t)at);
	slice domain = slice_skip(name, at < 0 ? name.len : (size_t)at + 1);
	enum err err = OK;
	const struct account *acc = account_find(st, local, domain, &err);
	struct mailbox_usage usage;

	if (!acc || !acc->id)
		return FAULT_AUTH_BUSY;
	s->account = acc->id;
	s->admin = acc->flags & ACCOUNT_ADMIN;
	err = store_sync_all(st, s->account);
	if (!err)
		err = mailbox_usage(st, s->account, &usage);
	if (!err && !usage.mailboxes) { /* made before there were mailboxes */
		err = mailbox_account_init(st, s->account, domain);
		if (!err)
			err = store_sync_all(st, s->account);
	}
	return err ? FAULT_AUTH_BUSY : FAULT_NONE;
}

static bool keep_name(struct imap_session *s, slice name)
{
	s->name = malloc(name.len + 1);
	if (!s->name)
		return false;
	memcpy(s->name, name.ptr, name.len);
	s->name[name.len] = '\0';
	return true;
}

static enum fault take_seat(struct imap_session *s)
{
	struct seat_ask ask = { .account = s->account,
		.max = (uint64_t)s->head.setup->imap->sessions_max };

	return seat_take(&ask, &s->seat);
}

/* (fiber) The name is who he says he is: `name` is as stored, in memory that outlives this. */
static enum verdict logged_in(struct imap_session *s, slice name, slice mechanism)
{
	struct out code = out_arena(&s->arena);
	enum fault fault = keep_name(s, name) ? find_account(s, name) : FAULT_AUTH_BUSY;

	if (!fault)
		fault = take_seat(s);
	if (fault) {
		free(s->name);
		s->name = NULL;
		s->account = 0;
		imap_log_refused(s, fault_name(fault), name);
		return imap_no_fault(s, fault);
	}
	s->state = IMAP_IN;
	imap_log_login(s, mechanism);
	imap_put_capability(s, &code);
	imap_ok_code(s, out_written(&code));
	s->run->text = SLICE("Logged in");
	return DONE;
}

static enum verdict no_login(struct imap_session *s)
{
	return imap_no(s, IMAP_CODE_PRIVACYREQUIRED, "Not without TLS");
}

enum verdict imap_do_login(struct imap_session *s, const union imap_args *args)
{
	struct door *door = s->head.door;
	struct login_try try = { .options = s->head.setup->auth,
		.peer = conn_peer(s->head.conn),
		.name = args->login.user,
		.password = args->login.password };
	slice name = SLICE("");
	enum fault fault;

	if (!imap_auth_mechs(s))
		return no_login(s);
	fault = login_password(door->login, door->w, &try, &s->arena, &name);
	crypt_wipe((void *)(uintptr_t)try.password.ptr, try.password.len);
	if (!fault)
		return logged_in(s, name, SLICE("LOGIN"));
	imap_log_refused(s, fault_name(fault), args->login.user);
	return imap_no_fault(s, fault);
}

/* --- AUTHENTICATE ---------------------------------------------------------------------------- */

static void challenge(struct conn *c, struct exchange *x, slice text)
{
	struct imap_session *s = conn_owner(c);
	struct out *o = imap_out(s);

	out_str(o, "+ ");
	sasl_wire_put(o, text);
	out_str(o, "\r\n");
	s->input = IMAP_IN_AUTH;
	conn_deadline(c, s->head.setup->imap->login_ms);
}

static void ended(struct conn *c, enum fault fault, const struct exchange_result *result)
{
	struct imap_session *s = conn_owner(c);

	s->input = IMAP_IN_COMMAND;
	conn_deadline(c, 0);
	if (fault) {
		imap_log_refused(s, fault_name(fault), SLICE("AUTHENTICATE"));
		if (fault == FAULT_AUTH_SYNTAX)
			imap_bad(s, fault_smtp(fault)->text);
		else
			imap_no_fault(s, fault);
	} else {
		logged_in(s, result->name, sasl_mech_name(result->mech));
	}
	imap_finish(s, DONE);
}

static const struct exchange_ops exchange_ops = { .challenge = challenge, .end = ended };

enum verdict imap_do_authenticate(struct imap_session *s, const union imap_args *args)
{
	const struct imap_authenticate *a = &args->authenticate;
	enum sasl_mech mech = sasl_mech_find(a->mechanism);
	unsigned offered = imap_auth_mechs(s);
	struct exchange *x;

	if (!offered)
		return no_login(s);
	if (mech == SASL_NONE || !(offered & mech))
		return imap_no(s, IMAP_CODE_CANNOT, "No such mechanism here");
	x = exchange_start(&s->head, &exchange_ops, mech, offered);
	if (!x)
		return imap_no_fault(s, FAULT_AUTH_BUSY);
	s->run->open = true;
	(void)exchange_respond(x, a->has_initial ? &a->initial : NULL);
	return DONE;
}

static void give_up(struct imap_session *s, const char *why)
{
	exchange_drop(s->head.exchange);
	s->head.exchange = NULL;
	s->input = IMAP_IN_COMMAND;
	imap_bad(s, why);
	imap_finish(s, DONE);
}

size_t imap_take_auth(struct imap_session *s, slice in, bool *stop)
{
	size_t used = 0;
	slice line;

	switch (imap_line_take(&s->reader, in, AUTH_LINE_MAX, &used, &line)) {
	case STEP_MORE:
		*stop = true;
		return used;
	case STEP_DONE:
		break;
	case STEP_TOO_LONG:
		give_up(s, "The response is too long");
		return used;
	default:
		give_up(s, "Not a line");
		return used;
	}
	if (slice_eq(line, SLICE("*")))
		give_up(s, "Authentication canceled");
	else
		*stop = !exchange_respond(s->head.exchange, &line);
	return used;
}
