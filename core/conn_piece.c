/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Large output that is sent from where it was written. In clear the piece becomes the tail of the
 * send queue, so what is written behind it may use the room it left; under TLS records are made
 * straight of it; under DEFLATE it is written as anything else. */
#include "core/conn_int.h"

static struct conn_chunk *chunk_of(const struct conn_piece *p)
{
	return container_of(p->out.buf, struct conn_chunk, bytes[0]);
}

static bool take_memory(struct conn_piece *p, size_t want)
{
	size_t cap;
	struct conn_chunk *chunk = bufs_get(p->conn->w, sizeof(*chunk) + want, &cap);

	if (!chunk)
		return false;
	*chunk = (struct conn_chunk){ .cap = cap };
	p->out.buf = chunk->bytes;
	p->out.cap = cap - sizeof(*chunk);
	return true;
}

static bool grow(struct out *o, size_t want)
{
	struct conn_piece *p = container_of(o, struct conn_piece, out);
	struct conn_chunk *old = chunk_of(p);
	size_t room = p->max_bytes - MIN(o->len, p->max_bytes);

	if (want > room || !take_memory(p, o->len + MAX(want, MIN(room, o->cap))))
		return false;
	memcpy(o->buf, old->bytes, o->len);
	bufs_put(p->conn->w, old, old->cap);
	return true;
}

enum err conn_piece_open(struct conn *c, size_t max_bytes, struct conn_piece *p)
{
	*p = (struct conn_piece){ .out.more = grow, .conn = c, .max_bytes = max_bytes };
	return take_memory(p, BUFS_PIECE - sizeof(struct conn_chunk)) ? OK : ERR_NOMEM;
}

void conn_piece_drop(struct conn_piece *p)
{
	struct conn_chunk *chunk;

	if (!p->out.buf)
		return;
	chunk = chunk_of(p);
	bufs_put(p->conn->w, chunk, chunk->cap);
	p->out = (struct out){ .overflow = true };
}

void conn_piece_send(struct conn_piece *p)
{
	struct conn *c = p->conn;
	slice bytes = out_written(&p->out);
	bool in_clear = !c->deflate && c->tls_state != TLS_READY;

	if (bytes.len && !conn_dead(c)) {
		conn_mark(c);
		if (in_clear) {
			conn_out_link(c, chunk_of(p), bytes.len);
			p->out = (struct out){ .overflow = true };
			return;
		}
		if (c->deflate)
			out_slice(conn_deflate_out(c), bytes);
		else
			conn_tls_put(c, bytes);
	}
	conn_piece_drop(p);
}
