/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session: on_enter() writes what a state begins with, on_reply() moves on. Transactions are
 * client_flight.c's; here they are all one state, CLIENT_READY. */
#include "proto/smtp/client_int.h"

void smtp_client_init(struct smtp_client *c, const struct smtp_client_setup *setup)
{
	must(!setup->login || setup->arena);
	*c = (struct smtp_client){
		.conf = setup->conf,
		.login = setup->login,
		.arena = setup->arena,
		.state = CLIENT_GREETING,
		.tls = setup->conf->tls == SMTP_TLS_ON_ALREADY,
	};
	smtp_replies_init(&c->replies, setup->text, setup->text_cap);
}

static void enter(struct smtp_client *c, enum client_state state)
{
	c->state = state;
	c->enter_due = true;
}

void client_down(struct smtp_client *c, enum err why, bool by_reply)
{
	c->state = CLIENT_DOWN;
	c->enter_due = false;
	c->down = why;
	c->has_reply = by_reply;
	if (c->login)
		sasl_client_end(&c->sasl);
}

/* Refused by a reply that leaves the connection open: say goodbye (RFC 5321 3.1). */
static void give_up(struct smtp_client *c, enum err why, struct out *o)
{
	smtp_put_verb(o, "QUIT", (slice){ 0 });
	client_down(c, why, true);
}

static enum sasl_mech choose_mech(const struct smtp_client *c)
{
	unsigned allowed = c->conf->mechanisms;

	if (!allowed)
		allowed = c->tls ? SASL_ALL : SASL_SCRAM_SHA_256 | SASL_SCRAM_SHA_256_PLUS;
	return sasl_client_choose(c->login, c->caps.mechanisms & allowed);
}

static void put_base64_line(struct out *o, slice bytes)
{
	sasl_wire_put(o, bytes);
	out_str(o, "\r\n");
}

static void begin_auth(struct smtp_client *c, struct out *o)
{
	enum sasl_mech mech = choose_mech(c);
	slice initial;

	if (mech == SASL_NONE) {
		smtp_put_verb(o, "QUIT", (slice){ 0 });
		client_down(c, ERR_AUTH, false);
		return;
	}
	sasl_client_start(&c->sasl, c->arena, c->login, mech, c->caps.mechanisms);
	out_str(o, "AUTH ");
	out_slice(o, sasl_mech_name(mech));
	if (!sasl_client_initial(&c->sasl, &initial)) {
		out_str(o, "\r\n");
		return;
	}
	out_char(o, ' ');
	put_base64_line(o, initial);
}

static void on_enter(struct smtp_client *c, struct out *o)
{
	c->enter_due = false;
	switch ((enum client_state)c->state) {
	case CLIENT_EHLO:
		c->caps = (struct smtp_caps){ 0 };
		smtp_put_verb(o, c->conf->lmtp ? "LHLO" : "EHLO", c->conf->name);
		return;
	case CLIENT_HELO:
		smtp_put_verb(o, "HELO", c->conf->name);
		return;
	case CLIENT_STARTTLS:
		c->tls_asked = true;
		smtp_put_verb(o, "STARTTLS", (slice){ 0 });
		return;
	case CLIENT_AUTH:
		begin_auth(c, o);
		return;
	case CLIENT_AUTH_CANCELED:
		out_str(o, "*\r\n");
		return;
	case CLIENT_READY:
		c->ready_due = true;
		return;
	case CLIENT_QUIT:
		smtp_put_verb(o, "QUIT", (slice){ 0 });
		return;
	case CLIENT_GREETING:
	case CLIENT_TLS:
	case CLIENT_DOWN:
		return;
	}
	must(0);
}

static void after_tls(struct smtp_client *c)
{
	enter(c, c->login ? CLIENT_AUTH : CLIENT_READY);
}

static void greeted(struct smtp_client *c)
{
	bool wants = c->conf->tls == SMTP_TLS_IF_OFFERED || c->conf->tls == SMTP_TLS_REQUIRED;

	if (c->conf->no_pipelining)
		c->caps.flags &= ~(unsigned)SMTP_CAP_PIPELINING;
	if (c->conf->no_chunking)
		c->caps.flags &= ~(unsigned)SMTP_CAP_CHUNKING;
	c->params = smtp_caps_params(&c->caps);
	if (!c->tls && wants && c->caps.flags & SMTP_CAP_STARTTLS)
		enter(c, CLIENT_STARTTLS);
	else if (!c->tls && c->conf->tls == SMTP_TLS_REQUIRED)
		client_down(c, ERR_TLS, false);
	else
		after_tls(c);
}

static void on_ehlo_reply(struct smtp_client *c, struct out *o)
{
	int class = c->reply.code / 100;
	bool may_helo = !c->conf->lmtp && !c->login && c->conf->tls != SMTP_TLS_REQUIRED;

	if (class == 2)
		greeted(c);
	else if (class == 5 && may_helo)
		enter(c, CLIENT_HELO);
	else
		give_up(c, ERR_REFUSED, o);
}

static void on_starttls_reply(struct smtp_client *c, struct out *o)
{
	if (c->reply.code == 220)
		enter(c, CLIENT_TLS);
	else if (c->conf->tls == SMTP_TLS_REQUIRED)
		give_up(c, ERR_TLS, o);
	else
		after_tls(c);
}

static void on_auth_reply(struct smtp_client *c, slice text, struct out *o)
{
	slice challenge, response;

	if (c->reply.code == 235 && sasl_client_done(&c->sasl)) {
		sasl_client_end(&c->sasl);
		enter(c, CLIENT_READY);
		return;
	}
	if (c->reply.code != 334) {
		give_up(c, ERR_AUTH, o);
		return;
	}
	if (sasl_wire_get(c->arena, text, &challenge) &&
		sasl_client_feed(&c->sasl, challenge, &response) == SASL_MORE)
		put_base64_line(o, response);
	else
		enter(c, CLIENT_AUTH_CANCELED);
}

/* `text` is the last line as it came, for AUTH. */
static enum smtp_event on_reply(struct smtp_client *c, slice text, struct out *o,
	struct smtp_client_event *ev)
{
	bool ok = c->reply.code / 100 == 2;

	if (c->reply.code == 421 && c->state < CLIENT_READY) {
		client_down(c, ERR_REFUSED, true);
		return SMTP_EV_WAIT;
	}
	switch ((enum client_state)c->state) {
	case CLIENT_GREETING:
		if (c->reply.code == 220)
			enter(c, CLIENT_EHLO);
		else
			give_up(c, ERR_REFUSED, o);
		return SMTP_EV_WAIT;
	case CLIENT_EHLO:
		on_ehlo_reply(c, o);
		return SMTP_EV_WAIT;
	case CLIENT_HELO:
		if (ok)
			greeted(c);
		else
			give_up(c, ERR_REFUSED, o);
		return SMTP_EV_WAIT;
	case CLIENT_STARTTLS:
		on_starttls_reply(c, o);
		return SMTP_EV_WAIT;
	case CLIENT_AUTH:
		on_auth_reply(c, text, o);
		return SMTP_EV_WAIT;
	case CLIENT_AUTH_CANCELED:
		give_up(c, ERR_AUTH, o);
		return SMTP_EV_WAIT;
	case CLIENT_READY:
		return flight_reply(c, o, ev);
	case CLIENT_QUIT:
		client_down(c, OK, true);
		return SMTP_EV_WAIT;
	case CLIENT_TLS:
	case CLIENT_DOWN:
		break;
	}
	must(0);
}

/* The next whole reply; EHLO's lines are looked at one by one as they pass. */
static enum step read_reply(struct smtp_client *c, slice *in, slice *text)
{
	struct smtp_reply_line line;
	enum step step;
	size_t used;

	do {
		bool first = c->replies.lines == 0;

		step = smtp_reply_line(*in, &used, &line);
		if (step != STEP_DONE)
			return step;
		*in = slice_skip(*in, used);
		*text = line.text;
		if (c->state == CLIENT_EHLO && !first && line.code == 250)
			smtp_caps_add(&c->caps, line.text);
		step = smtp_replies_add(&c->replies, &line, &c->reply);
	} while (step == STEP_MORE);
	c->answers += step == STEP_DONE;
	return step;
}

static enum smtp_event tell_down(struct smtp_client *c, struct smtp_client_event *ev)
{
	enum smtp_event event = flight_lost(c, ev);

	if (event != SMTP_EV_WAIT)
		return event;
	ev->err = c->down;
	ev->reply = c->has_reply ? &c->reply : NULL;
	return SMTP_EV_DOWN;
}

/* What can be said or written without reading more. */
static enum smtp_event proceed(struct smtp_client *c, slice *in, struct out *o,
	struct smtp_client_event *ev)
{
	enum smtp_event event;

	if (c->enter_due)
		on_enter(c, o);
	if (c->state == CLIENT_DOWN)
		return tell_down(c, ev);
	if (c->state == CLIENT_TLS) {
		/* Bytes behind the 220 were not sent under TLS: an injection (RFC 3207 6). */
		if (!in->len)
			return SMTP_EV_STARTTLS;
		client_down(c, ERR_PROTOCOL, false);
		return tell_down(c, ev);
	}
	event = flight_due(c, ev);
	if (event != SMTP_EV_WAIT)
		return event;
	flight_write(c, o);
	event = flight_due(c, ev);
	if (event != SMTP_EV_WAIT)
		return event;
	if (c->quit_due && !c->flight[0].busy)
		smtp_client_quit(c, o);
	if (c->ready_due && smtp_client_can_offer(c)) {
		c->ready_due = false;
		return SMTP_EV_READY;
	}
	return SMTP_EV_WAIT;
}

enum smtp_event smtp_client_step(struct smtp_client *c, slice *in, struct out *o,
	struct smtp_client_event *ev)
{
	for (;;) {
		slice text = { 0 };

		*ev = (struct smtp_client_event){ 0 };
		enum smtp_event event = proceed(c, in, o, ev);

		if (event != SMTP_EV_WAIT || flight_body_open(c))
			return event;
		enum step step = read_reply(c, in, &text);

		if (step == STEP_MORE)
			return SMTP_EV_WAIT;
		if (step == STEP_DONE)
			event = on_reply(c, text, o, ev);
		else
			client_down(c, ERR_PROTOCOL, false);
		if (event != SMTP_EV_WAIT)
			return event;
	}
}

void smtp_client_tls_done(struct smtp_client *c)
{
	must(c->state == CLIENT_TLS);
	c->tls = true;
	enter(c, CLIENT_EHLO);
}

void smtp_client_quit(struct smtp_client *c, struct out *o)
{
	if (c->state == CLIENT_DOWN || c->state == CLIENT_QUIT)
		return;
	if (c->flight[0].busy) {
		c->quit_due = true;
		return;
	}
	enter(c, CLIENT_QUIT);
	on_enter(c, o);
}

void smtp_client_lost(struct smtp_client *c, enum err why)
{
	if (c->state == CLIENT_DOWN)
		return;
	client_down(c, c->state == CLIENT_QUIT ? OK : why, false);
}
