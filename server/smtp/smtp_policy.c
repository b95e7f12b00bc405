/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_policy.c - who may send what to whom.
 *
 * Verbs ask here and only here. Nothing waits: domains and accounts come from the store's directory,
 * routes from the configuration in force. A name is looked up in its A-label form, so that both
 * spellings of a domain are one. */
#include "server/smtp/smtp_int.h"

#include "core/worker.h"
#include "proto/smtp/idn.h"
#include "relay/local.h"
#include "relay/queue.h"
#include "relay/relay.h"
#include "server/login.h"
#include "store/account.h"

enum { LATE_MS = 60000 };

/* RFC 4865 3: HOLDUNTIL names a time in the future. One that has passed is a mistake, which a message that
 * leaves at once would not forgive; clocks may differ by a little. */
static enum fault hold_fault(const struct smtp_mail *mail, msec max_ms, wall_ms now)
{
	if ((mail->given & SMTP_P_HOLDFOR) && (int64_t)mail->hold_for_s * 1000 > max_ms)
		return FAULT_HOLD_TOO_LONG;
	if (!(mail->given & SMTP_P_HOLDUNTIL))
		return FAULT_NONE;
	if (mail->hold_until > now + max_ms)
		return FAULT_HOLD_TOO_LONG;
	return mail->hold_until < now - LATE_MS ? FAULT_HOLD_PAST : FAULT_NONE;
}

enum fault smtp_policy_mail(struct smtp_session *s, const struct smtp_mail *mail, slice address)
{
	const struct smtp_options *o = s->head.setup->smtp;
	struct worker *w = s->head.door->w;
	enum fault fault = hold_fault(mail, o->hold_max_ms, worker_wall(w));
	enum err err;

	if (s->head.door->stopping)
		return FAULT_SHUTDOWN;
	if (mail->from.utf8 && !(mail->given & SMTP_P_SMTPUTF8))
		return FAULT_UTF8_NEEDED;
	if ((mail->given & SMTP_P_SIZE) && mail->size_bytes > (uint64_t)o->size_max)
		return FAULT_TOO_LARGE;
	if (fault)
		return fault;
	if (smtp_is_submission(s) && !login_may_send_as(s->head.door->login, s->account, address))
		return FAULT_SENDER_DENIED;
	err = queue_admit(w);
	if (err == ERR_BUSY)
		return FAULT_STORE;
	return fault_of_err(err);
}

/* Ours to take mail for: made by `domain add`. */
static bool is_own_domain(struct smtp_session *s, slice domain, enum err *err)
{
	const struct domain *d = domain_find(s->head.door->store, domain, err);

	return d && !(d->flags & DOMAIN_DISABLED);
}

/* Is there somebody here for the address? Nothing of the walk is kept. */
static enum fault local_fault(struct smtp_session *s, slice address)
{
	struct arena *a = &s->mail->arena;
	struct arena_mark mark = arena_mark(a);
	struct local l;
	enum fault fault;

	local_begin(&l, s->head.door->w, a);
	l.usage = true;
	fault = intake_rcpt_fault(&l, local_add(&l, address, 0));
	arena_rollback(a, mark);
	return fault;
}

/* An own domain where postmaster gets mail, by a route or here, or one that a route row accepts. */
static bool takes_domain(struct smtp_session *s, slice domain)
{
	const struct route_table *routes = relay_routes(s->head.door->w);
	struct arena *a = &s->mail->arena;
	slice ascii;
	enum err err = OK;

	if (idn_to_ascii(a, domain, &ascii))
		return false;
	if (route_accepts(routes, ascii))
		return true;
	if (!is_own_domain(s, ascii, &err))
		return false;
	return route_exact(routes, ascii) ||
		!local_fault(s, arena_printf(a, "postmaster@%.*s", SLICE_ARG(ascii)));
}

/* The host's own name, or the closest domain above it that takes mail: mx.example.org has the
 * postmaster of example.org. Empty: none does. */
static slice domain_of_host(struct smtp_session *s, slice host)
{
	ptrdiff_t dot;

	while (!takes_domain(s, host)) {
		dot = slice_find(host, '.');
		if (dot < 0)
			return SLICE("");
		host = slice_skip(host, (size_t)dot + 1);
	}
	return host;
}

static slice domain_of_routes(struct smtp_session *s)
{
	const struct route_table *routes = relay_routes(s->head.door->w);
	const struct route *route;

	for (size_t i = 0; (route = route_at(routes, i)); i++)
		if (takes_domain(s, route->domain))
			return route->domain;
	return SLICE("");
}

/* RFC 5321 4.5.1: it reaches somebody wherever mail is taken at all. The host's own domain comes first,
 * then that of who is logged in, then the first row of the routes whose domain is ours, then
 * whom the options name. When there is nobody, who is logged in is told so for their domain: by
 * its MX the host's name might lead back to us. */
slice smtp_policy_postmaster(struct smtp_session *s)
{
	slice host = s->head.setup->service->hostname, own = envelope_domain(s->account), domain;
	struct arena *a = &s->mail->arena;
	struct local l;

	domain = domain_of_host(s, host);
	if (!domain.len && own.len && takes_domain(s, own))
		domain = own;
	if (!domain.len)
		domain = domain_of_routes(s);
	local_begin(&l, s->head.door->w, a);
	if (!domain.len && l.options->postmaster.len)
		return arena_dup(a, l.options->postmaster);
	if (!domain.len)
		domain = own.len ? own : host;
	return arena_printf(a, "postmaster@%.*s", SLICE_ARG(domain));
}

enum fault smtp_policy_rcpt(struct smtp_session *s, slice address)
{
	const struct route_table *routes = relay_routes(s->head.door->w);
	slice domain = envelope_domain(address), ascii;
	bool trusted = s->relay_from || smtp_is_submission(s);
	enum err err = OK;

	if (domain.len && domain.ptr[0] == '[') /* a literal is nobody's own domain */
		return trusted ? FAULT_NONE : FAULT_RELAY_DENIED;
	if (idn_to_ascii(&s->mail->arena, domain, &ascii))
		return FAULT_BAD_RCPT;
	/* Where an own domain has a route of its own, that says where its mail goes. */
	if (is_own_domain(s, ascii, &err))
		return route_exact(routes, ascii) ? FAULT_NONE : local_fault(s, address);
	if (err)
		return FAULT_BUSY;
	return trusted || route_accepts(routes, ascii) ? FAULT_NONE : FAULT_RELAY_DENIED;
}
