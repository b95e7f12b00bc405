/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transactions. The sending side runs ahead as far as pipelining lets it; the answering side follows
 * the replies. An outcome is told as soon as it is known, and the slot stays busy, without its
 * transaction, until the replies to all that was written have come (RFC 2920 3.1). */
#include "proto/smtp/client_int.h"

bool smtp_client_full(const struct smtp_client *c)
{
	return c->caps.mail_max && c->mails >= c->caps.mail_max;
}

bool smtp_client_can_offer(const struct smtp_client *c)
{
	if (c->state != CLIENT_READY || c->enter_due || c->quit_due || smtp_client_full(c))
		return false;
	if (!c->flight[0].busy)
		return true;
	/* An LMTP server that gives a message fewer replies than it took recipients (RFC 2033 4.2) would
	 * have the next command's reply count for one of them, and a mail would be lost. With nothing
	 * behind the message it can only keep us waiting. */
	if (c->conf->lmtp)
		return false;
	return pipelining(c) && c->flight[0].body_ended && !c->flight[1].busy;
}

void smtp_client_offer(struct smtp_client *c, struct smtp_txn *txn)
{
	struct smtp_flight *f = &c->flight[c->flight[0].busy];
	uint32_t most = c->caps.rcpt_max ? c->caps.rcpt_max : UINT32_MAX;

	must(smtp_client_can_offer(c) && txn->rcpt_count);
	must(!c->conf->lmtp || txn->accepted);
	*f = (struct smtp_flight){
		.txn = txn,
		.busy = true,
		.bdat = c->caps.flags & SMTP_CAP_CHUNKING && txn->body_bytes != SMTP_BODY_UNKNOWN,
		.rcpts = MIN(txn->rcpt_count, most),
	};
	f->surplus = f->rcpts;
	f->unwaited = f->bdat && pipelining(c) && txn->unwaited_ok &&
		txn->body_bytes <= SMTP_CLIENT_UNWAITED;
}

/* Sending --------------------------------------------------------------------------------- */

static bool has_room(const struct out *o)
{
	return o->more || o->cap - o->len >= SMTP_CLIENT_ROOM;
}

/* True when MAIL is written. */
static bool write_mail(struct smtp_client *c, struct smtp_flight *f, struct out *o)
{
	if (!has_room(o))
		return false;
	if (c->rset_due) {
		smtp_put_verb(o, "RSET", (slice){ 0 });
		c->rset_due = false;
		f->rset_open = true;
	}
	if (f->rset_open && !pipelining(c))
		return false;
	smtp_put_mail(o, f->txn->mail, c->params);
	c->mails++;
	f->send = SEND_RCPT;
	return true;
}

/* True when all are written. */
static bool write_rcpts(struct smtp_client *c, struct smtp_flight *f, struct out *o)
{
	uint32_t window = pipelining(c) ? SMTP_CLIENT_WINDOW : 1;
	struct smtp_rcpt rcpt;

	if (!pipelining(c) && f->recv != RECV_RCPT)
		return false;
	while (f->rcpts_sent < f->rcpts) {
		if (f->rcpts_sent - f->rcpts_answered >= window || !has_room(o))
			return false;
		rcpt = (struct smtp_rcpt){ 0 };
		f->txn->rcpt(f->txn, f->rcpts_sent++, &rcpt);
		smtp_put_rcpt(o, &rcpt, c->params);
	}
	f->send = SEND_DATA;
	return true;
}

static void open_body(struct smtp_client *c, struct smtp_flight *f)
{
	c->stuff = (struct smtp_stuff){ 0 };
	c->body_left = f->bdat ? f->txn->body_bytes : 0;
	c->body_due = true;
	f->send = SEND_BODY;
}

static void write_data(struct smtp_client *c, struct smtp_flight *f, struct out *o)
{
	bool answered = f->recv == RECV_DATA;

	if (!has_room(o) || (!answered && (f->bdat ? !f->unwaited : !pipelining(c))))
		return;
	if (!f->bdat) {
		smtp_put_verb(o, "DATA", (slice){ 0 });
		f->send = SEND_WAIT;
		return;
	}
	smtp_put_bdat(o, &(struct smtp_bdat){ .size_bytes = f->txn->body_bytes, .last = true });
	open_body(c, f);
	if (answered)
		f->recv = RECV_FINAL;
}

static void write_flight(struct smtp_client *c, struct smtp_flight *f, struct out *o)
{
	if (f->send == SEND_MAIL && !write_mail(c, f, o))
		return;
	if (f->send == SEND_RCPT && !write_rcpts(c, f, o))
		return;
	if (f->send == SEND_DATA)
		write_data(c, f, o);
}

void flight_write(struct smtp_client *c, struct out *o)
{
	/* Nothing may come between a body's bytes, nor the second behind a first still unfinished. */
	for (size_t i = 0; i < 2 && !flight_body_open(c); i++)
		if (c->flight[i].busy && c->flight[i].txn && !c->flight[i].done_due)
			write_flight(c, &c->flight[i], o);
}

bool flight_body_open(const struct smtp_client *c)
{
	return c->flight[0].send == SEND_BODY || c->flight[1].send == SEND_BODY;
}

static struct smtp_flight *writing(struct smtp_client *c)
{
	must(flight_body_open(c));
	return &c->flight[c->flight[0].send != SEND_BODY];
}

/* The next piece as it goes out, pointing into *in or static. */
static slice body_piece(struct smtp_client *c, slice *in)
{
	slice piece = *in;

	if (!writing(c)->bdat)
		return smtp_stuff_take(&c->stuff, in);
	must(in->len <= c->body_left);
	c->body_left -= in->len;
	*in = slice_skip(*in, in->len);
	return piece;
}

void smtp_client_body(struct smtp_client *c, slice *in, struct out *o)
{
	while (in->len) {
		size_t room = o->more ? SIZE_MAX : o->cap - o->len;

		if (room < 2)
			return;
		/* A doubled dot is the one piece longer than what it took. */
		slice part = slice_sub(*in, 0, MIN(in->len, room - 1)), rest = part;

		out_slice(o, body_piece(c, &rest));
		*in = slice_skip(*in, part.len - rest.len);
	}
}

void smtp_client_body_end(struct smtp_client *c, struct out *o)
{
	struct smtp_flight *f = writing(c);

	must(c->body_left == 0);
	if (!f->bdat)
		out_slice(o, smtp_stuff_end(&c->stuff));
	f->send = SEND_END;
	f->body_ended = true;
	c->ready_due = pipelining(c);
}

/* Answers --------------------------------------------------------------------------------- */

static enum smtp_event tell_done(struct smtp_flight *f, enum smtp_outcome outcome,
	enum smtp_phase phase, struct smtp_client_event *ev)
{
	ev->txn = f->txn;
	ev->outcome = outcome;
	ev->phase = phase;
	f->txn = NULL;
	f->done_due = false;
	return SMTP_EV_DONE;
}

static void done_later(struct smtp_flight *f, enum smtp_outcome outcome)
{
	f->done_due = true;
	f->outcome = (uint8_t)outcome;
}

static void retire(struct smtp_client *c)
{
	while (c->flight[0].busy && c->flight[0].recv == RECV_END && !c->flight[0].txn) {
		c->flight[0] = c->flight[1];
		c->flight[1] = (struct smtp_flight){ 0 };
		c->ready_due = true;
	}
}

/* When no RCPT is unanswered any more: what is answered next, or the end. */
static void settle(struct smtp_client *c, struct smtp_flight *f)
{
	if (f->rcpts_answered < f->rcpts_sent ||
		(f->txn && f->send <= SEND_RCPT && f->rcpts_sent < f->rcpts))
		return;
	if (f->bdat ? f->send == SEND_BODY || f->body_ended : f->send == SEND_WAIT) {
		f->recv = f->bdat ? RECV_FINAL : RECV_DATA;
	} else if (f->txn && f->accepted) {
		f->recv = RECV_DATA;
	} else {
		/* All refused and nothing behind them on the wire: MAIL still stands, if it did. */
		c->rset_due |= f->txn != NULL;
		f->recv = RECV_END;
		f->send = SEND_END;
		if (f->txn)
			done_later(f, SMTP_NOBODY);
	}
}

static enum smtp_event on_mail(struct smtp_client *c, struct smtp_flight *f,
	struct smtp_client_event *ev)
{
	enum smtp_event event = SMTP_EV_WAIT;
	/* The BDAT before it failed and left the server in the old transaction (RFC 3030 2). */
	bool nested = c->shaky && c->reply.code == 503;

	c->shaky = false;
	f->recv = RECV_RCPT;
	if (c->reply.code / 100 == 2)
		return SMTP_EV_WAIT;
	if (f->send <= SEND_DATA)
		f->send = SEND_END;
	event = tell_done(f, nested ? SMTP_NOT_TRIED : SMTP_REFUSED, SMTP_PHASE_MAIL, ev);
	settle(c, f);
	return event;
}

static enum smtp_event on_rcpt(struct smtp_client *c, struct smtp_flight *f,
	struct smtp_client_event *ev)
{
	uint32_t i = f->rcpts_answered++;
	bool ok = c->reply.code / 100 == 2;

	if (!f->txn) {
		settle(c, f);
		return SMTP_EV_WAIT;
	}
	if (ok && f->txn->accepted)
		f->txn->accepted[i / 64] |= (uint64_t)1 << (i % 64);
	f->accepted += ok;
	ev->txn = f->txn;
	ev->rcpt = i;
	/* RFC 5321 4.5.3.1.10: 552 was once used for too many recipients as well. */
	ev->again = f->accepted && !ok && (c->reply.code == 452 || c->reply.code == 552);
	settle(c, f);
	return SMTP_EV_RCPT;
}

static enum smtp_event on_data(struct smtp_client *c, struct smtp_flight *f, struct out *o,
	struct smtp_client_event *ev)
{
	int class = c->reply.code / 100;

	if (class == 3) {
		f->recv = RECV_FINAL;
		if (f->txn && f->accepted) {
			open_body(c, f);
			return SMTP_EV_WAIT;
		}
		/* Nobody is there to read it: the empty message, whose reply counts for nobody; LMTP
		 * answers once per recipient, so not at all. */
		out_str(o, ".\r\n");
		f->send = SEND_END;
		if (c->conf->lmtp)
			f->recv = RECV_END;
		ev->reply = NULL;
		return f->txn ? tell_done(f, SMTP_NOBODY, SMTP_PHASE_RCPT, ev) : SMTP_EV_WAIT;
	}
	if (class == 2) {
		client_down(c, ERR_PROTOCOL, false);
		return SMTP_EV_WAIT;
	}
	f->recv = RECV_END;
	f->send = SEND_END;
	c->rset_due = true;
	if (!f->txn)
		return SMTP_EV_WAIT;
	return tell_done(f, f->accepted ? SMTP_REFUSED : SMTP_NOBODY, SMTP_PHASE_DATA, ev);
}

static enum smtp_event on_lmtp_final(struct smtp_flight *f, struct smtp_client_event *ev)
{
	while (!(f->txn->accepted[f->final_at / 64] >> (f->final_at % 64) & 1))
		f->final_at++;
	ev->txn = f->txn;
	ev->rcpt = f->final_at++;
	if (++f->finals == f->accepted) {
		f->recv = RECV_END;
		done_later(f, SMTP_ANSWERED);
	}
	return SMTP_EV_FINAL;
}

static enum smtp_event on_final(struct smtp_client *c, struct smtp_flight *f,
	struct smtp_client_event *ev)
{
	bool ok = c->reply.code / 100 == 2;

	if (c->conf->lmtp && f->txn && f->accepted)
		return on_lmtp_final(f, ev);
	f->recv = RECV_END;
	if (f->bdat && !ok) {
		c->shaky = c->flight[1].busy && c->flight[1].send != SEND_MAIL;
		c->rset_due = true;
	}
	if (!f->txn)
		return SMTP_EV_WAIT;
	return tell_done(f,
		!f->accepted ? SMTP_NOBODY :
			ok   ? SMTP_DELIVERED :
			       SMTP_REFUSED,
		SMTP_PHASE_BODY, ev);
}

/* 421: the server leaves. Only as the verdict on a body is it also an answer. */
static bool is_leaving(const struct smtp_client *c, const struct smtp_flight *f)
{
	return c->reply.code == 421 && !(f->recv == RECV_FINAL && f->txn && f->accepted);
}

static enum smtp_event dispatch(struct smtp_client *c, struct out *o, struct smtp_client_event *ev)
{
	struct smtp_flight *f = &c->flight[0];

	switch ((enum flight_recv)f->recv) {
	case RECV_MAIL:
		return on_mail(c, f, ev);
	case RECV_RCPT:
		return on_rcpt(c, f, ev);
	case RECV_DATA:
		return on_data(c, f, o, ev);
	case RECV_FINAL:
		return on_final(c, f, ev);
	case RECV_END:
		break;
	}
	must(0);
}

/* A reply to a command that was not written yet is none. */
static bool is_unasked(const struct smtp_flight *f)
{
	switch ((enum flight_recv)f->recv) {
	case RECV_MAIL:
		return f->send == SEND_MAIL;
	case RECV_RCPT:
		return f->rcpts_answered == f->rcpts_sent;
	case RECV_DATA:
		return f->send != SEND_WAIT;
	case RECV_FINAL:
		return f->send != SEND_END;
	case RECV_END:
		return true;
	}
	must(0);
}

enum smtp_event flight_reply(struct smtp_client *c, struct out *o, struct smtp_client_event *ev)
{
	struct smtp_flight *f = &c->flight[0];
	enum smtp_event event;

	ev->reply = &c->reply;
	if (is_leaving(c, f)) {
		client_down(c, ERR_CLOSED, true);
		return SMTP_EV_WAIT;
	}
	if (f->rset_open) {
		f->rset_open = false;
		return SMTP_EV_WAIT;
	}
	if (!f->busy || is_unasked(f)) {
		client_down(c, ERR_PROTOCOL, false);
		return SMTP_EV_WAIT;
	}
	event = dispatch(c, o, ev);
	if (c->reply.code == 421 && c->state != CLIENT_DOWN)
		client_down(c, ERR_CLOSED, true);
	if (c->state != CLIENT_DOWN)
		retire(c);
	return event;
}

static enum smtp_event tell_surplus(struct smtp_flight *f, struct smtp_client_event *ev)
{
	ev->txn = f->txn;
	ev->rcpt = f->surplus++;
	ev->again = true;
	return SMTP_EV_RCPT;
}

enum smtp_event flight_due(struct smtp_client *c, struct smtp_client_event *ev)
{
	for (size_t i = 0; i < 2; i++) {
		struct smtp_flight *f = &c->flight[i];

		if (f->txn && f->recv > RECV_MAIL && f->surplus < f->txn->rcpt_count)
			return tell_surplus(f, ev);
		if (f->done_due) {
			enum smtp_event event =
				tell_done(f, (enum smtp_outcome)f->outcome, SMTP_PHASE_RCPT, ev);

			retire(c);
			return event;
		}
		if (f->send == SEND_BODY && c->body_due) {
			c->body_due = false;
			ev->txn = f->txn;
			return SMTP_EV_BODY;
		}
	}
	return SMTP_EV_WAIT;
}

static enum smtp_event tell_lost(struct smtp_client *c, struct smtp_flight *f,
	struct smtp_client_event *ev)
{
	bool answering = f == &c->flight[0] && c->has_reply;
	/* An unwaited body may have been read and delivered although nothing was answered yet; a reply
	 * says that it was not. */
	bool tried = f->recv > RECV_MAIL || (f->body_ended && !c->has_reply);
	enum smtp_phase phase = f->body_ended ? SMTP_PHASE_BODY :
		f->recv == RECV_RCPT          ? SMTP_PHASE_RCPT :
						SMTP_PHASE_DATA;

	ev->reply = answering ? &c->reply : NULL;
	if (!tried)
		return tell_done(f, SMTP_NOT_TRIED, SMTP_PHASE_MAIL, ev);
	return tell_done(f, SMTP_LOST, phase, ev);
}

enum smtp_event flight_lost(struct smtp_client *c, struct smtp_client_event *ev)
{
	for (size_t i = 0; i < 2; i++) {
		struct smtp_flight *f = &c->flight[i];

		if (!f->txn)
			continue;
		if (f->done_due)
			return tell_done(f, (enum smtp_outcome)f->outcome, SMTP_PHASE_RCPT, ev);
		return tell_lost(c, f, ev);
	}
	return SMTP_EV_WAIT;
}
