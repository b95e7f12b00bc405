/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way in: from the receive buffer straight to `data`; only what it leaves is copied and
 * kept. */
#include "core/conn_int.h"

/* --- Kept bytes --- */

static bool lies_in(const struct conn_hold *hold, slice s)
{
	return hold->buf && s.ptr >= hold->buf && s.ptr <= hold->buf + hold->cap;
}

void conn_hold_free(struct conn *c, struct conn_hold *hold, slice *unread)
{
	bufs_put(c->w, hold->buf, hold->cap);
	*hold = (struct conn_hold){ 0 };
	*unread = (slice){ 0 };
}

/* Room for `more` bytes behind *unread, which moves to the front of a buffer if need be. */
static enum err make_room(struct conn *c, struct conn_hold *hold, slice *unread, size_t more)
{
	size_t need = unread->len + more, cap;

	if (lies_in(hold, *unread) && unread->ptr + need <= hold->buf + hold->cap)
		return OK;
	if (lies_in(hold, *unread) && need <= hold->cap) {
		memmove(hold->buf, unread->ptr, unread->len);
		unread->ptr = hold->buf;
		return OK;
	}
	char *buf = bufs_get(c->w, need > BUFS_LARGE ? need + need / 2 : need, &cap);

	if (!buf)
		return ERR_NOMEM;
	if (unread->len)
		memcpy(buf, unread->ptr, unread->len);
	bufs_put(c->w, hold->buf, hold->cap);
	*hold = (struct conn_hold){ .buf = buf, .cap = cap };
	unread->ptr = buf;
	return OK;
}

enum err conn_hold_append(struct conn *c, struct conn_hold *hold, slice *unread, slice bytes)
{
	enum err err = make_room(c, hold, unread, bytes.len);

	if (err)
		return err;
	memcpy((char *)(uintptr_t)unread->ptr + unread->len, bytes.ptr, bytes.len);
	unread->len += bytes.len;
	return OK;
}

enum err conn_hold_keep(struct conn *c, struct conn_hold *hold, slice *unread)
{
	if (unread->len == 0) {
		conn_hold_free(c, hold, unread);
		return OK;
	}
	return lies_in(hold, *unread) ? OK : make_room(c, hold, unread, 0);
}

/* --- Delivering --- */

bool conn_may_deliver(const struct conn *c)
{
	return c->ops && !c->paused && !c->fiber && c->end == END_NOT && !conn_congested(c) &&
		(c->tls_state == TLS_NONE || c->tls_state == TLS_READY);
}

bool conn_accepts(const struct conn *c)
{
	return conn_may_deliver(c) || (c->reader && c->end == END_NOT);
}

void conn_consume(struct conn *c, size_t n)
{
	must(n <= c->in.len);
	c->in = slice_skip(c->in, n);
	c->eaten += n;
	if (!c->in_data && c->in.len == 0)
		conn_hold_free(c, &c->hold, &c->in);
}

size_t conn_drop_input(struct conn *c)
{
	size_t dropped = c->in.len;

	c->in.len = 0;
	c->eaten += dropped;
	if (!c->in_data)
		conn_hold_free(c, &c->hold, &c->in);
	return dropped;
}

/* Call `data` once; it has taken what it could. */
void conn_offer(struct conn *c)
{
	size_t before = c->in.len;

	c->in_data = true;
	c->eaten = 0;
	size_t taken = c->ops->data(c, c->in);

	c->in_data = false;
	must(taken <= before);
	if (taken > c->eaten)
		c->in = slice_skip(c->in, taken - c->eaten);
	if (c->in.len >= c->hold_max && c->in.len == before && conn_may_deliver(c))
		conn_fail(c, ERR_LIMIT);
	if (conn_hold_keep(c, &c->hold, &c->in))
		conn_fail(c, ERR_NOMEM);
}

void conn_deliver(struct conn *c, slice bytes)
{
	if (c->in.len || !conn_may_deliver(c)) {
		if (conn_hold_append(c, &c->hold, &c->in, bytes)) {
			conn_fail(c, ERR_NOMEM);
			return;
		}
	} else {
		c->in = bytes;
	}
	if (c->reader)
		fiber_wake(c->reader, OK);
	else if (conn_may_deliver(c))
		conn_offer(c);
}

void conn_feed(struct conn *c, slice bytes)
{
	if (c->deflate)
		conn_deflate_feed(c, bytes);
	else
		conn_deliver(c, bytes);
}

/* --- Receiving --- */

static void take_bytes(struct conn *c, slice bytes)
{
	if (c->end != END_NOT)
		c->lingered += (uint32_t)bytes.len;
	else if (c->tls)
		conn_tls_feed(c, bytes);
	else
		conn_feed(c, bytes);
}

void conn_received(struct op *op, int res)
{
	struct conn *c = container_of(op, struct conn, recv_op);

	if (res > 0) {
		take_bytes(c, ring_recv_bytes(c->w, op, res));
		ring_recv_return(c->w, op);
	} else if (res == 0) {
		c->eof = true;
		if (c->reader)
			fiber_wake(c->reader, OK);
	} else if (res != ERR_BUSY && res != ERR_CANCELED) {
		conn_fail(c, (enum err)res);
	}
	conn_mark(c);
}

static bool room_left(const struct conn *c)
{
	return c->in.len < c->hold_max && (!c->tls || c->tls->raw.len < c->hold_max + BUFS_LARGE) &&
		(!c->deflate || conn_deflate_held(c) < c->hold_max);
}

bool conn_wants_read(const struct conn *c)
{
	if (op_busy(&c->recv_op) || c->eof || conn_dead(c))
		return false;
	if (c->end == END_LINGER)
		return true;
	if (c->end != END_NOT || !room_left(c))
		return false;
	if (c->reader)
		return true;
	/* Between two uses of a dialled connection a read stays armed, to notice that the peer
	 * left. */
	if (!c->ops)
		return !c->paused && c->in.len == 0 && (!c->tls || c->tls->raw.len == 0);
	return conn_may_deliver(c);
}
