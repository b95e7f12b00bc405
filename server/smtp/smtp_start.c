/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_start.c - how a connection begins and ends.
 *
 * In order: the PROXY header where the peer is a listed proxy, the TLS handshake on 465, the
 * greeting (after a silence, if the operator wants one), then commands until the end. The session
 * is freed in `closed`, the last call a connection makes. */
#include "server/smtp/smtp_int.h"

#include <stdlib.h>

#include "core/listen.h"
#include "core/proxy.h"
#include "core/ring.h"
#include "core/tls.h"
#include "core/worker.h"
#include "server/rate.h"

enum { NAMES_BYTES = 256 };

/* What a client costs that sends a byte a minute: this, a conn, the names it gave, a TLS session. */
_Static_assert(sizeof(struct smtp_session) <= 256, "an idle session is a few hundred bytes");

static _Thread_local unsigned next_id; /* of this worker */

static void on_closed(struct conn *c, enum err why);
static void on_deadline(struct conn *c);

static const struct conn_ops ops = {
	.data = smtp_on_data, .closed = on_closed, .deadline = on_deadline
};

void smtp_close(struct smtp_session *s)
{
	s->input = SMTP_IN_NOTHING;
	conn_deadline(s->conn, 0);
	conn_close(s->conn);
}

static void on_closed(struct conn *c, enum err why)
{
	struct smtp_session *s = conn_owner(c);

	smtp_log_disconnect(s, why);
	smtp_mail_end(s);
	smtp_auth_drop(s);
	door_leave(&s->head);
	arena_done(&s->arena);
	setup_put(s->setup);
	free(s);
}

static void say_hello(struct smtp_session *s)
{
	out_printf(conn_out(s->conn), "220 %.*s %s ready\r\n",
		SLICE_ARG(s->setup->service->hostname), smtp_is_lmtp(s) ? "LMTP" : "ESMTP");
	s->input = SMTP_IN_LINE;
	smtp_set_deadline(s);
}

void smtp_greet(struct smtp_session *s)
{
	msec silence = s->setup->smtp->greet_delay_ms;

	if (s->head.door->service == SERVICE_SMTP && silence > 0)
		conn_deadline(s->conn, silence);
	else
		say_hello(s);
}

/* A whole command must come in time; single bytes do not move the deadline. */
static void on_deadline(struct conn *c)
{
	struct smtp_session *s = conn_owner(c);

	if (conn_fiber(c) || s->input == SMTP_IN_NOTHING)
		conn_abort(c, ERR_TIMEOUT);
	else if (s->input == SMTP_IN_SILENCE)
		say_hello(s);
	else
		smtp_say_goodbye(s, FAULT_IDLE);
}

static void on_stop(struct door_session *ds, bool now)
{
	struct smtp_session *s = container_of(ds, struct smtp_session, head);

	if (now) {
		conn_abort(s->conn, ERR_STOPPED);
		return;
	}
	/* A message in progress is finished first; MAIL is refused from now on. */
	if (s->input != SMTP_IN_NOTHING && !s->mail && !conn_fiber(s->conn))
		smtp_say_goodbye(s, FAULT_SHUTDOWN);
}

/* --- The first fiber: what stands before the greeting ---------------------------------------------- */

static enum err read_proxy_header(struct smtp_session *s)
{
	struct proxy_header header;
	size_t used;
	slice in = { 0 };
	msec until = worker_now(s->head.door->w) + s->setup->smtp->start_ms;

	for (;;) {
		msec left = until - worker_now(s->head.door->w);
		enum err err = left > 0 ? conn_wait_data(s->conn, &in, left) : ERR_TIMEOUT;

		if (err)
			return err;
		switch (proxy_parse(in, &header, &used)) {
		case STEP_MORE:
			continue;
		case STEP_DONE:
			conn_consume(s->conn, used);
			if (!header.local)
				conn_set_addrs(s->conn, &header.source, &header.dest);
			return OK;
		default:
			return ERR_PROTOCOL;
		}
	}
}

static enum err start_tls(struct smtp_session *s)
{
	struct tls_accept accept = { .exporter = true };
	struct tls_session *tls;

	if (!s->setup->tls)
		return ERR_TLS;
	tls = tls_server_session(s->setup->tls, s->head.door->w, &accept);
	if (!tls)
		return ERR_NOMEM;
	s->tls = true;
	return conn_accept_tls_wait(s->conn, tls, s->setup->smtp->start_ms);
}

static bool needs_prelude(const struct smtp_session *s)
{
	return s->head.door->service == SERVICE_SUBMISSIONS ||
		conf_cidrs_have(&s->head.door->row->proxy_from, conn_peer(s->conn));
}

static void settle(struct smtp_session *s)
{
	s->relay_from = s->head.door->service == SERVICE_SMTP &&
		conf_cidrs_have(&s->head.door->row->relay_from, conn_peer(s->conn));
	smtp_log_connect(s);
	smtp_greet(s);
}

static void prelude(struct conn *c)
{
	struct smtp_session *s = conn_owner(c);
	enum err err = OK;

	if (conf_cidrs_have(&s->head.door->row->proxy_from, conn_peer(c)))
		err = read_proxy_header(s);
	if (!err && s->head.door->service == SERVICE_SUBMISSIONS)
		err = start_tls(s);
	if (err)
		conn_abort(c, err);
	else
		settle(s);
}

static enum fault admit(struct door *door, const struct addr *peer)
{
	int64_t per_minute = door->setup->service->client_rate;

	if (door->stopping)
		return FAULT_SHUTDOWN;
	if (conf_cidrs_have(&door->row->proxy_from, peer)) /* speaks for many */
		return FAULT_NONE;
	return rate_take(door->rate, peer, worker_now(door->w), (unsigned)per_minute) ? FAULT_NONE :
											FAULT_RATE;
}

void smtp_session_start(struct door *door, int fd, const struct addr *peer)
{
	enum fault refuse = admit(door, peer);
	struct smtp_session *s = calloc(1, sizeof(*s));
	struct conn_open open = {
		.fd = fd, .peer = peer, .ops = &ops, .owner = s, .listener = door->listener
	};

	if (!s) {
		ring_close(fd);
		listener_gone(door->listener, peer);
		return;
	}
	s->setup = setup_hold(door->setup);
	s->head = (struct door_session){ .door = door, .stop = on_stop };
	s->id = ++next_id * WORKERS_MAX + worker_index(door->w);
	arena_init(&s->arena, NAMES_BYTES);
	if (conn_open(door->w, &open, &s->conn)) {
		setup_put(s->setup);
		free(s);
		return;
	}
	door_join(door, &s->head);
	if (refuse)
		smtp_say_goodbye(s, refuse);
	else if (needs_prelude(s))
		(void)conn_run(s->conn, prelude);
	else
		settle(s);
}
