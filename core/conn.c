/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections: making them, looking after them at the end of a turn, ending them. conn_in.c,
 * conn_out.c, conn_tls.c and conn_fiber.c hold the four sides of it.
 *
 * The end: flush, say good-bye (TLS), shut our side and throw away what still comes for a
 * moment, so that no RST overtakes our last reply; then shutdown, cancel, wait until no
 * operation and no fiber knows the connection, close. */
#include "core/conn_int.h"
#include "core/room.h"

#include <stdlib.h>

enum { DISCARD_MS = 2000, DISCARD_BYTES = 1024 * 1024 };

static void deadline_passed(struct timer *t);

/* --- Making and asking --- */

enum err conn_open(struct worker *w, const struct conn_open *args, struct conn **out)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c) {
		ring_close(args->fd);
		if (args->listener)
			listener_gone(args->listener, args->peer);
		if (args->dialled)
			room_leave(ROOM_OUT);
		return ERR_NOMEM;
	}
	*c = (struct conn){ .w = w,
		.ops = args->ops,
		.owner = args->owner,
		.fd = args->fd,
		.peer = *args->peer,
		.listener = args->listener,
		.paused = args->paused,
		.dialled = args->dialled,
		.hold_max = CONN_HOLD_MAX,
		.low = CONN_LOW,
		.high = CONN_HIGH };
	if (c->listener)
		c->client_hash = listener_client_hash(c->listener, args->peer);
	c->recv_op.done = conn_received;
	c->send_op.done = conn_sent;
	c->deadline.fire = deadline_passed;
	conn_out_init(c);
	/* An accepted socket has it from its listener. */
	if (!c->listener)
		ring_nodelay(c->fd);
	list_push(&w->conns, &c->link);
	w->conn_count++;
	conn_mark(c);
	*out = c;
	return OK;
}

void *conn_owner(const struct conn *c)
{
	return c->owner;
}

void conn_set_owner(struct conn *c, const struct conn_ops *ops, void *owner)
{
	c->ops = ops;
	c->owner = owner;
	conn_mark(c);
}

struct worker *conn_worker(const struct conn *c)
{
	return c->w;
}

const struct addr *conn_peer(const struct conn *c)
{
	return &c->peer;
}

void conn_set_peer(struct conn *c, const struct addr *peer)
{
	c->peer = *peer;
}

bool conn_is_tls(const struct conn *c)
{
	return c->tls_state == TLS_READY;
}

struct tls_session *conn_tls(const struct conn *c)
{
	return c->tls ? c->tls->session : NULL;
}

bool conn_closing(const struct conn *c)
{
	return c->end != END_NOT;
}

struct fiber *conn_fiber(const struct conn *c)
{
	return c->fiber;
}

void conn_set_hold_max(struct conn *c, size_t bytes)
{
	c->hold_max = (uint32_t)MIN(bytes, (size_t)UINT32_MAX);
	conn_mark(c);
}

void conn_pause(struct conn *c)
{
	c->paused = true;
}

void conn_resume(struct conn *c)
{
	c->paused = false;
	conn_mark(c);
}

/* --- Time --- */

void conn_deadline(struct conn *c, msec ms)
{
	if (c->end != END_NOT)
		return; /* the timer is ours then */
	if (ms > 0)
		timer_arm_in(c->w, &c->deadline, ms);
	else
		timer_disarm(&c->deadline);
}

static void deadline_passed(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, deadline);

	if (c->end == END_LINGER)
		conn_fail(c, OK);
	else if (c->end == END_NOT && c->ops && c->ops->deadline)
		c->ops->deadline(c);
	else
		conn_fail(c, ERR_TIMEOUT);
}

/* --- Ending --- */

/* True: the connection's own fiber waited for the connection, and is told by that. */
static bool wake_waiters(struct conn *c, enum err err)
{
	struct fiber_wait *waits[] = { c->reader, c->writer };
	bool own = false;

	for (size_t i = 0; i < array_len(waits); i++) {
		if (!waits[i])
			continue;
		own |= waits[i]->fiber && waits[i]->fiber == c->fiber;
		fiber_wake(waits[i], err);
	}
	return own;
}

void conn_finish(struct conn *c, enum err why)
{
	if (c->end != END_NOT)
		return;
	c->end = END_FLUSH;
	c->why = why;
	timer_arm_in(c->w, &c->deadline, CONN_LINGER_MS);
	if (c->reader)
		fiber_wake(c->reader, why ? why : ERR_CLOSED);
	conn_mark(c);
}

void conn_fail(struct conn *c, enum err why)
{
	if (c->end == END_NOW)
		return;
	/* What the flush was for is told rather than how it ended, unless the owner asked for
	 * a clean close. */
	if (c->end == END_NOT || !c->why)
		c->why = why;
	c->end = END_NOW;
	timer_disarm(&c->deadline);
	if (!wake_waiters(c, why ? why : ERR_CLOSED) && c->fiber && why && c->fiber != fiber_self())
		fiber_cancel(c->fiber, why);
	conn_mark(c);
}

void conn_end(struct conn *c, enum err why)
{
	c->released = true;
	conn_finish(c, why);
	conn_mark(c);
}

void conn_close(struct conn *c)
{
	conn_end(c, OK);
}

void conn_abort(struct conn *c, enum err err)
{
	c->released = true;
	conn_fail(c, err);
	conn_mark(c);
}

void conn_abort_all(struct worker *w, enum err err)
{
	list_each(&w->conns, link) conn_fail(container_of(link, struct conn, link), err);
}

/* Everything is sent: our side ends, the other's is read until it ends too. */
static void begin_linger(struct conn *c)
{
	if (!c->eof)
		ring_shutdown_write(c->fd);
	c->end = END_LINGER;
	timer_arm_in(c->w, &c->deadline, DISCARD_MS);
}

static void advance_end(struct conn *c)
{
	if (c->end == END_FLUSH && !c->fiber && conn_pending(c) == 0 && !op_busy(&c->send_op)) {
		if (!c->said_bye) {
			c->said_bye = true;
			conn_tls_bye(c);
			conn_out_flush(c);
		}
		if (conn_pending(c) == 0 && !op_busy(&c->send_op))
			begin_linger(c);
	}
	if (c->end == END_LINGER && (c->eof || c->lingered > DISCARD_BYTES))
		conn_fail(c, OK);
}

/* True: the connection is gone. */
static bool try_free(struct conn *c)
{
	struct worker *w = c->w;

	bool in_flight = op_busy(&c->recv_op) || op_busy(&c->send_op);

	if (!c->shut && in_flight) {
		ring_shutdown(c->fd);
		ring_cancel(w, &c->recv_op);
		ring_cancel(w, &c->send_op);
	}
	c->shut = true;
	if (in_flight || c->fiber || c->reader || c->writer)
		return false;
	/* Without callbacks nobody can be told: whoever dialled says when he is through with
	 * it. */
	if (!c->ops && !c->released)
		return false;
	timer_disarm(&c->deadline);
	list_remove(&c->dirty);
	list_remove(&c->link);
	ring_close(c->fd);
	if (c->ops)
		c->ops->closed(c, c->why);
	must(!op_busy(&c->recv_op) && !op_busy(&c->send_op) && !c->fiber);
	list_remove(&c->dirty);
	timer_disarm(&c->deadline);
	conn_hold_free(c, &c->hold, &c->in);
	conn_out_free(c);
	conn_deflate_free(c);
	conn_tls_free(c);
	if (c->listener)
		listener_release(c->listener, c->client_hash);
	if (c->dialled)
		room_leave(ROOM_OUT);
	w->conn_count--;
	free(c);
	return true;
}

/* --- The end of the turn --- */

/* The peer has ended its side and everything it sent was seen. */
static bool input_over(const struct conn *c)
{
	return c->eof && conn_may_deliver(c) && !(c->deflate && conn_deflate_paused(c));
}

static void settle(struct conn *c)
{
	if (!conn_dead(c)) {
		if (c->tls_state == TLS_WANTED && !c->fiber)
			conn_tls_begin(c);
		if (c->in.len && conn_may_deliver(c))
			conn_offer(c);
		if (c->deflate)
			conn_deflate_offer(c);
		if (c->tls_state == TLS_READY)
			conn_tls_offer(c);
		if (input_over(c))
			conn_finish(c, ERR_CLOSED);
		conn_out_flush(c);
		advance_end(c);
		if (conn_wants_read(c))
			ring_recv(c->w, &c->recv_op, c->fd);
	}
	if (conn_dead(c))
		try_free(c);
}

void conn_flush_dirty(struct worker *w)
{
	struct list now;
	struct list_link *link;

	list_init(&now);
	while ((link = list_pop(&w->conns_dirty)))
		list_push(&now, link);
	while ((link = list_pop(&now)))
		settle(container_of(link, struct conn, dirty));
}
