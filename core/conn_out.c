/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way out: a queue of chunks, written at the tail, sent from the head, one send in flight.
 * Bytes may be added to the tail chunk while the send that began before it is still under way:
 * they lie behind what that send was told. */
#include "core/conn_int.h"

enum { OUT_MAX = 4 * 1024 * 1024 };

/* What was written to the tail since it was last counted. */
static void count_tail(struct conn *c)
{
	if (c->tail) {
		c->queued += c->wire.len - c->tail->len;
		c->tail->len = c->wire.len;
	}
}

void conn_out_link(struct conn *c, struct conn_chunk *chunk, size_t len)
{
	count_tail(c);
	if (c->tail)
		c->tail->next = chunk;
	else
		c->head = chunk;
	c->tail = chunk;
	chunk->len = len;
	c->queued += len;
	c->wire.buf = chunk->bytes;
	c->wire.len = len;
	c->wire.cap = chunk->cap - sizeof(*chunk);
}

static bool add_chunk(struct conn *c, size_t bytes)
{
	size_t cap;
	struct conn_chunk *chunk = bufs_get(c->w, bytes, &cap);

	if (!chunk)
		return false;
	*chunk = (struct conn_chunk){ .cap = cap };
	conn_out_link(c, chunk, 0);
	return true;
}

void conn_out_room(struct conn *c, size_t bytes)
{
	if (c->wire.cap - c->wire.len < bytes)
		(void)add_chunk(c, bytes + sizeof(struct conn_chunk));
}

static bool more_room(struct out *o, size_t want)
{
	struct conn *c = o->owner;

	count_tail(c);
	if (c->queued > MAX((size_t)OUT_MAX, (size_t)c->high * 4))
		return false;
	/* A lone short reply is the usual case; whoever needs a second chunk needs a large
	 * one. */
	return add_chunk(c,
		c->tail || want > BUFS_SMALL - sizeof(struct conn_chunk) ? BUFS_LARGE : BUFS_SMALL);
}

void conn_out_init(struct conn *c)
{
	c->wire = (struct out){ .more = more_room, .owner = c };
}

struct out *conn_out(struct conn *c)
{
	conn_mark(c);
	if (c->deflate)
		return conn_deflate_out(c);
	return c->tls_state == TLS_READY ? conn_tls_out(c) : &c->wire;
}

size_t conn_pending(const struct conn *c)
{
	size_t pending = c->queued;

	if (c->tail)
		pending += c->wire.len - c->tail->len;
	if (c->tls)
		pending += c->tls->plain.len;
	if (c->deflate)
		pending += conn_deflate_pending(c);
	return pending;
}

bool conn_congested(const struct conn *c)
{
	return c->over_high || conn_pending(c) > c->high;
}

static void drop_head(struct conn *c)
{
	struct conn_chunk *head = c->head;

	c->head = head->next;
	if (!c->head) {
		c->tail = NULL;
		c->wire.buf = NULL;
		c->wire.len = c->wire.cap = 0;
	}
	bufs_put(c->w, head, head->cap);
}

void conn_out_free(struct conn *c)
{
	while (c->head)
		drop_head(c);
	c->queued = 0;
}

/* --- Sending --- */

static size_t send_limit(const struct conn *c)
{
#ifdef RP_FAULTS
	if (c->w->ring.faults.send_max_bytes)
		return c->w->ring.faults.send_max_bytes;
#else
	(void)c;
#endif
	return SIZE_MAX;
}

static void start_send(struct conn *c)
{
	struct conn_chunk *head = c->head;
	size_t count = 0, left = send_limit(c);

	for (struct conn_chunk *at = head; at && count < CHUNK_IOVS && left; at = at->next) {
		size_t len = MIN(left, at->len - at->sent);

		head->iov[count++] =
			(struct iovec){ .iov_base = at->bytes + at->sent, .iov_len = len };
		left -= len;
	}
	head->msg = (struct msghdr){ .msg_iov = head->iov, .msg_iovlen = count };
	ring_send(c->w, &c->send_op, c->fd, &head->msg);
}

void conn_out_flush(struct conn *c)
{
	if (conn_dead(c))
		return;
	if (c->deflate)
		conn_deflate_flush(c);
	conn_tls_flush(c);
	count_tail(c);
	if (!out_ok(&c->wire)) {
		conn_fail(c, c->queued > OUT_MAX ? ERR_LIMIT : ERR_NOMEM);
		return;
	}
	if (c->queued > c->high)
		c->over_high = true;
	if (c->queued && !op_busy(&c->send_op))
		start_send(c);
}

void conn_flush(struct conn *c)
{
	conn_out_flush(c);
	conn_mark(c);
}

static void take_sent(struct conn *c, size_t sent)
{
	must(sent <= c->queued);
	c->queued -= sent;
	while (sent) {
		struct conn_chunk *head = c->head;
		size_t n = MIN(sent, head->len - head->sent);

		head->sent += n;
		sent -= n;
		if (head->sent < head->len)
			return;
		count_tail(c);
		if (head->sent == head->len)
			drop_head(c);
	}
}

static void tell_drained(struct conn *c)
{
	size_t pending = conn_pending(c);

	if (c->writer && pending <= c->writer_mark)
		fiber_wake(c->writer, OK);
	if (!c->over_high || pending > c->low)
		return;
	c->over_high = false;
	if (c->ops && c->ops->drained && c->end == END_NOT)
		c->ops->drained(c);
}

void conn_sent(struct op *op, int res)
{
	struct conn *c = container_of(op, struct conn, send_op);

	if (res >= 0) {
		take_sent(c, (size_t)res);
		tell_drained(c);
	} else {
		conn_fail(c, (enum err)res);
	}
	conn_mark(c);
}
