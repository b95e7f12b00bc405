/* SPDX-License-Identifier: GPL-2.0-or-later */
/* deliver.c - the fiber of one connection: take, offer, send, settle, rest.
 *
 * The loop keeps the machine fed: whenever it can take a further transaction (also behind a body
 * whose reply is still to come) and a parcel waits, one is built and offered. Everything that can
 * happen afterwards is an event of the machine. */
#include "relay/deliver.h"

#include <stdlib.h>

#include "core/conn.h"
#include "relay/hop.h"
#include "relay/outlet.h"

static struct hop *hop_of(struct list_link *idle)
{
	return container_of(idle, struct hop, idle);
}

void deliver_wake(struct list_link *idle)
{
	fiber_wake(&hop_of(idle)->wait, OK);
}

void deliver_stop(struct list_link *idle)
{
	struct hop *h = hop_of(idle);

	h->stopping = true;
	fiber_wake(&h->wait, ERR_STOPPED);
}

void deliver_abort_all(struct relay_here *r)
{
	list_each(&r->hop_list, link)
	{
		struct hop *h = container_of(link, struct hop, all);

		h->stopping = true;
		if (h->c)
			conn_abort(h->c, ERR_STOPPED);
		fiber_cancel(h->fiber, ERR_STOPPED);
	}
}

static bool walk_hop(struct hop *h, bool (*each)(void *arg, struct parcel *p), void *arg)
{
	for (size_t i = 0; i < HOP_SHIPS; i++) {
		if (!h->ships[i].m)
			continue;
		list_each(&h->ships[i].parcels,
			link) if (!each(arg, container_of(link, struct parcel, link))) return false;
	}
	return true;
}

void deliver_walk(struct relay_here *r, bool (*each)(void *arg, struct parcel *p), void *arg)
{
	list_each(&r->hop_list,
		link) if (!walk_hop(container_of(link, struct hop, all), each, arg)) return;
}

static struct ship *free_ship(struct hop *h)
{
	for (size_t i = 0; i < HOP_SHIPS; i++)
		if (!h->ships[i].m)
			return &h->ships[i];
	return NULL;
}

static bool flying(const struct hop *h)
{
	for (size_t i = 0; i < HOP_SHIPS; i++)
		if (h->ships[i].m)
			return true;
	return false;
}

static bool may_take(const struct hop *h)
{
	return !h->stopping && !h->r->draining && !h->said_421 && !conn_closing(h->c) &&
		!smtp_client_full(&h->client) && smtp_client_can_offer(&h->client) &&
		h->sent < (unsigned)h->target->limits.messages_per_connection;
}

/* Offer what waits. Building may wait, so the session may have ended meanwhile. */
static void load(struct hop *h)
{
	struct ship *s;

	while (may_take(h) && (s = free_ship(h)) != NULL) {
		struct parcel *p = outlet_take(h->ot);

		if (!p)
			return;
		bool built = ship_build(h, s, p);

		h->in = (slice){ 0 };
		if (!built)
			continue;
		if (!smtp_client_can_offer(&h->client) || conn_closing(h->c)) {
			ship_unload(s);
			return;
		}
		h->sent++;
		smtp_client_offer(&h->client, &s->txn);
	}
}

static enum err send_piece(struct hop *h, slice piece)
{
	enum err err = OK;

	while (piece.len > 0 && !err) {
		smtp_client_body(&h->client, &piece, conn_out(h->c));
		if (conn_congested(h->c))
			err = conn_send_wait(h->c, h->target->limits.body_ms);
		else if (conn_closing(h->c))
			err = ERR_CLOSED;
	}
	return err;
}

/* A body that breaks off in the middle must not look complete: the connection goes with it. */
static void send_body(struct hop *h, struct ship *s)
{
	slice piece;
	enum err err;

	do {
		err = freight_next(&s->freight, &piece);
		if (err)
			ship_spoiled(s, err);
		else
			err = send_piece(h, piece);
	} while (!err && piece.len > 0);
	h->in = (slice){ 0 };
	if (!err) {
		smtp_client_body_end(&h->client, conn_out(h->c));
		return;
	}
	conn_abort(h->c, err);
	smtp_client_lost(&h->client, err);
}

/* RFC 5321 4.5.3.2: by what the oldest transaction waits for. */
static msec patience(const struct hop *h)
{
	const struct route_limits *limits = &h->target->limits;
	const struct smtp_flight *first = &h->client.flight[0];

	if (!first->busy)
		return limits->ehlo_ms;
	if (first->body_ended)
		return limits->dot_ms;
	if (first->rcpts_answered == 0)
		return limits->mail_ms;
	if (first->txn && first->rcpts_answered < first->txn->rcpt_count)
		return limits->rcpt_ms;
	return limits->data_ms;
}

static struct ship *ship_of(struct smtp_client_event *ev)
{
	must(ev->txn);
	return container_of(ev->txn, struct ship, txn);
}

/* One event. False: the session is over. */
static bool react(struct hop *h)
{
	struct smtp_client_event ev = { 0 };

	switch (hop_step(h, patience(h), &ev)) {
	case SMTP_EV_READY:
		return true;
	case SMTP_EV_RCPT:
		ship_rcpt_reply(ship_of(&ev), &ev);
		return true;
	case SMTP_EV_FINAL:
		ship_final(ship_of(&ev), &ev);
		return true;
	case SMTP_EV_BODY:
		send_body(h, ship_of(&ev));
		return true;
	case SMTP_EV_DONE:
		h->said_421 = h->said_421 || (ev.reply && ev.reply->code == 421);
		ship_done(ship_of(&ev), &ev);
		return true;
	default:
		return false;
	}
}

/* False: nothing came in time, or it is time to go. */
static bool rest(struct hop *h)
{
	if (!may_take(h))
		return false;
	conn_flush(h->c);
	h->wait = (struct fiber_wait){ 0 };
	enum err err = outlet_wait(h->ot, &h->idle, &h->wait);

	h->in = (slice){ 0 };
	return err == OK;
}

static void serve(struct hop *h)
{
	bool open = true;

	while (open) {
		load(h);
		if (flying(h))
			open = react(h);
		else
			open = rest(h);
	}
	/* DOWN comes behind the outcomes of all transactions. */
	must(!flying(h));
	hop_close(h);
}

static void hop_free(struct hop *h)
{
	list_remove(&h->all);
	for (size_t i = 0; i < HOP_SHIPS; i++)
		arena_done(&h->ships[i].arena);
	arena_done(&h->arena);
	target_put(h->target);
	free(h);
}

static void run(void *arg)
{
	struct hop *h = arg;
	struct relay_here *r = h->r;
	struct outlet *ot = h->ot;

	h->fiber = fiber_self();
	/* Fibers begin inside the call that starts them: a connection that fails at once must not
	 * end its outlet under the feet of who opens it. */
	(void)!fiber_sleep(0);

	if (hop_open(h) == OK) {
		outlet_connected(ot);
		serve(h);
		outlet_closed(ot);
	} else {
		outlet_failed(ot, &h->why);
	}
	hop_free(h);
	relay_fiber_end(r);
}

enum err deliver_start(struct outlet *ot)
{
	struct hop *h = calloc(1, sizeof(*h));
	enum err err;

	if (!h)
		return ERR_NOMEM;
	h->r = ot->r;
	h->ot = ot;
	h->target = target_hold(ot->target);
	list_push(&h->r->hop_list, &h->all);
	err = relay_fiber(h->r, run, h);
	if (err)
		hop_free(h);
	return err;
}
