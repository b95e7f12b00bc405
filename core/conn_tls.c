/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between a connection and its TLS session: records to plaintext and back, and the handshake on a
 * fiber. While the handshake waits inside the session no receive is armed, so the bytes it was
 * given stay where they are. */
#include "core/conn_int.h"

#include <stdlib.h>

enum { RECORD_MAX = 16384, RECORD_MORE = 64 }; /* of a record: what is not plaintext */

/* --- Out --- */

static void encrypt(struct conn *c)
{
	struct conn_tls *tls = c->tls;

	if (tls->plain.len == 0)
		return;
	enum err err = tls->session->ops->write(tls->session, out_written(&tls->plain), &c->wire);

	tls->plain.len = 0;
	if (err)
		conn_fail(c, err);
}

void conn_tls_put(struct conn *c, slice bytes)
{
	struct tls_session *t = c->tls->session;

	encrypt(c);
	if (conn_dead(c))
		return;
	conn_out_room(c, bytes.len + (bytes.len / RECORD_MAX + 1) * RECORD_MORE);
	enum err err = t->ops->write(t, bytes, &c->wire);

	if (err)
		conn_fail(c, err);
}

static bool more_plain(struct out *o, size_t want)
{
	struct conn *c = o->owner;
	struct conn_tls *tls = c->tls;

	(void)want;
	if (o->buf) {
		encrypt(c);
		return !conn_dead(c) && out_ok(&c->wire);
	}
	o->buf = bufs_get(c->w, RECORD_MAX, &tls->plain_cap);
	o->cap = RECORD_MAX;
	o->len = 0;
	return o->buf != NULL;
}

struct out *conn_tls_out(struct conn *c)
{
	return &c->tls->plain;
}

void conn_tls_flush(struct conn *c)
{
	struct conn_tls *tls = c->tls;

	if (!tls)
		return;
	encrypt(c);
	if (!out_ok(&tls->plain))
		conn_fail(c, ERR_NOMEM);
	bufs_put(c->w, tls->plain.buf, tls->plain_cap);
	tls->plain.buf = NULL;
	tls->plain.cap = 0;
}

void conn_tls_bye(struct conn *c)
{
	if (c->tls && c->tls_state != TLS_WANTED)
		c->tls->session->ops->shutdown(c->tls->session, &c->wire);
}

/* --- In --- */

/* Many small records are delivered as one piece: who pipelines often sends each command in its own. */
static enum err read_records(struct conn_tls *tls, struct out *to, struct out *wire)
{
	const struct conn_tls_ops *ops = tls->session->ops;
	enum err err = OK;

	while (!err && to->len < to->cap) {
		size_t len = 0;

		err = ops->read(tls->session, &tls->raw, to->buf + to->len, to->cap - to->len, &len,
			wire);
		to->len += len;
	}
	return err;
}

/* Decrypt and deliver as long as somebody takes it. */
static void decrypt(struct conn *c)
{
	struct conn_tls *tls = c->tls;
	size_t cap;
	char *buf = bufs_get(c->w, BUFS_LARGE, &cap);
	enum err err = buf ? OK : ERR_NOMEM;

	while (!err && conn_accepts(c) && c->in.len < c->hold_max) {
		struct out to = out_fixed(buf, cap);

		err = read_records(tls, &to, &c->wire);
		if (to.len)
			conn_feed(c, out_written(&to));
	}
	bufs_put(c->w, buf, cap);
	tls->more = !err;
	if (err == ERR_CLOSED) {
		c->eof = true;
		tls->raw.len = 0;
		if (c->reader)
			fiber_wake(c->reader, OK);
	} else if (err && err != ERR_BUSY) {
		conn_finish(c, err);
	}
}

void conn_tls_feed(struct conn *c, slice raw)
{
	struct conn_tls *tls = c->tls;
	enum err err = OK;

	if (tls->raw.len || c->tls_state != TLS_READY)
		err = conn_hold_append(c, &tls->hold, &tls->raw, raw);
	else
		tls->raw = raw;
	if (!err && c->tls_state == TLS_READY)
		decrypt(c);
	else if (c->reader)
		fiber_wake(c->reader, OK);
	if (!err)
		err = conn_hold_keep(c, &tls->hold, &tls->raw);
	if (err)
		conn_fail(c, err);
}

void conn_tls_offer(struct conn *c)
{
	struct conn_tls *tls = c->tls;

	if (!tls->more && tls->raw.len == 0)
		return;
	if (!conn_accepts(c) || c->eof)
		return;
	decrypt(c);
	if (conn_hold_keep(c, &tls->hold, &tls->raw))
		conn_fail(c, ERR_NOMEM);
}

/* --- Handshake --- */

static enum err wait_records(struct conn *c, msec timeout_ms)
{
	struct fiber_wait wait = { 0 };

	if (c->eof)
		return ERR_CLOSED;
	must(!c->reader);
	c->reader = &wait;
	conn_mark(c);
	enum err err = fiber_wait(&wait, timeout_ms);

	c->reader = NULL;
	return err;
}

static enum err handshake(struct conn *c, msec timeout_ms)
{
	struct conn_tls *tls = c->tls;
	msec until = worker_now(c->w) + timeout_ms;
	enum err err;

	c->tls_state = TLS_HANDSHAKE;
	for (;;) {
		err = tls->session->ops->handshake(tls->session, &tls->raw, &c->wire);
		conn_mark(c);
		if (!conn_dead(c) && conn_hold_keep(c, &tls->hold, &tls->raw))
			err = ERR_NOMEM;
		if (c->end != END_NOT)
			return c->why ? c->why : ERR_CLOSED;
		if (err != ERR_BUSY)
			break;
		conn_flush(c);
		msec left = timeout_ms < 0 ? FIBER_FOREVER : MAX(0, until - worker_now(c->w));

		err = wait_records(c, left);
		if (err)
			break;
	}
	if (err)
		return err;
	c->tls_state = TLS_READY;
	tls->more = true;
	conn_mark(c);
	return OK;
}

static void run_handshake(struct conn *c)
{
	enum err err = handshake(c, FIBER_FOREVER);

	if (err)
		conn_finish(c, err);
}

static bool take_session(struct conn *c, struct tls_session *t)
{
	must(!c->tls);
	conn_drop_input(c);
	c->tls = conn_dead(c) ? NULL : calloc(1, sizeof(*c->tls));
	if (!c->tls) {
		t->ops->close(t);
		conn_fail(c, ERR_NOMEM);
		return false;
	}
	c->tls->session = t;
	c->tls->plain = (struct out){ .more = more_plain, .owner = c };
	return true;
}

void conn_start_tls(struct conn *c, struct tls_session *t)
{
	if (take_session(c, t))
		c->tls_state = TLS_WANTED;
	conn_mark(c);
}

void conn_tls_begin(struct conn *c)
{
	c->tls_state = TLS_HANDSHAKE;
	conn_run(c, run_handshake);
}

static enum err wait_handshake(struct conn *c, msec timeout_ms)
{
	/* The conn must not go while the session waits for something of its own. */
	bool attach = !c->fiber;

	if (attach)
		conn_attach(c);
	enum err err = handshake(c, timeout_ms);

	if (err)
		conn_finish(c, err);
	if (attach)
		conn_detach(c);
	return err;
}

enum err conn_start_tls_wait(struct conn *c, struct tls_session *t, msec timeout_ms)
{
	if (!take_session(c, t))
		return c->why ? c->why : ERR_CLOSED;
	return wait_handshake(c, timeout_ms);
}

enum err conn_accept_tls_wait(struct conn *c, struct tls_session *t, msec timeout_ms)
{
	slice unread = c->in;
	char *first = malloc(unread.len + 1); /* the input goes with the change to TLS */

	if (first && unread.len)
		memcpy(first, unread.ptr, unread.len);
	if (!first)
		conn_fail(c, ERR_NOMEM);
	bool taken = take_session(c, t);

	if (taken && unread.len) {
		c->tls_state = TLS_HANDSHAKE;
		conn_tls_feed(c, slice_of(first, unread.len));
	}
	free(first);
	if (!taken)
		return c->why ? c->why : ERR_CLOSED;
	return wait_handshake(c, timeout_ms);
}

void conn_tls_free(struct conn *c)
{
	struct conn_tls *tls = c->tls;

	if (!tls)
		return;
	tls->session->ops->close(tls->session);
	conn_hold_free(c, &tls->hold, &tls->raw);
	bufs_put(c->w, tls->plain.buf, tls->plain_cap);
	free(tls);
	c->tls = NULL;
}
