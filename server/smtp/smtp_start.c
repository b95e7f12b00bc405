/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_start.c - how a connection begins and ends.
 *
 * What stands before the greeting is entry.h's; the greeting comes after a silence, if the operator
 * wants one. The session is freed in `closed`, the last call a connection makes. */
#include "server/smtp/smtp_int.h"

#include <stdlib.h>

#include "server/entry.h"
#include "server/exchange.h"

enum { NAMES_BYTES = 256 };

/* What a client costs that sends a byte a minute: this, a conn, the names it gave, a TLS session. */
_Static_assert(sizeof(struct smtp_session) <= 256, "an idle session is a few hundred bytes");

static void on_closed(struct conn *c, enum err why);
static void on_deadline(struct conn *c);

static const struct conn_ops ops = {
	.data = smtp_on_data, .closed = on_closed, .deadline = on_deadline
};

void smtp_close(struct smtp_session *s)
{
	s->input = SMTP_IN_NOTHING;
	conn_deadline(s->head.conn, 0);
	conn_close(s->head.conn);
}

static void on_closed(struct conn *c, enum err why)
{
	struct smtp_session *s = conn_owner(c);

	smtp_log_disconnect(s, why);
	smtp_mail_end(s);
	exchange_drop(s->head.exchange);
	door_leave(&s->head);
	arena_done(&s->arena);
	setup_put(s->head.setup);
	free(s);
}

static void say_hello(struct smtp_session *s)
{
	out_printf(conn_out(s->head.conn), "220 %.*s %s ready\r\n",
		SLICE_ARG(s->head.setup->service->hostname), smtp_is_lmtp(s) ? "LMTP" : "ESMTP");
	s->input = SMTP_IN_LINE;
	smtp_set_deadline(s);
}

static void greet(struct smtp_session *s)
{
	msec silence = s->head.setup->smtp->greet_delay_ms;

	if (s->head.door->service == SERVICE_SMTP && silence > 0)
		conn_deadline(s->head.conn, silence);
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

static void on_stop(struct door_session *ds, enum door_stop how)
{
	struct smtp_session *s = container_of(ds, struct smtp_session, head);

	bool idle = s->input != SMTP_IN_NOTHING && !conn_fiber(s->head.conn);

	if (idle && how == DOOR_STOP_EXPELLED) /* RFC 5321 3.8: in a message, too */
		smtp_say_goodbye(s, FAULT_EXPELLED);
	else if (how != DOOR_STOP_SOON)
		conn_abort(s->head.conn, ERR_STOPPED);
	else if (idle &&
		!s->mail) /* one in progress is finished first; MAIL is refused from now on */
		smtp_say_goodbye(s, FAULT_SHUTDOWN);
}

static slice who(const struct door_session *ds)
{
	const struct smtp_session *s = container_of(ds, const struct smtp_session, head);

	return s->account;
}

static void ready(struct door_session *ds)
{
	struct smtp_session *s = container_of(ds, struct smtp_session, head);

	s->relay_from = ds->door->service == SERVICE_SMTP &&
		conf_cidrs_have(&ds->door->row->relay_from, conn_peer(ds->conn));
	smtp_log_connect(s);
	greet(s);
}

void smtp_session_start(struct door *door, int fd, const struct addr *peer)
{
	struct entry entry = {
		.door = door, .fd = fd, .peer = peer, .ops = &ops, .stop = on_stop, .who = who
	};
	enum fault refuse = entry_admit(door, peer);
	struct smtp_session *s = calloc(1, sizeof(*s));

	if (!entry_open(&entry, s ? &s->head : NULL)) {
		free(s);
		return;
	}
	arena_init(&s->arena, NAMES_BYTES);
	if (refuse)
		smtp_say_goodbye(s, refuse);
	else
		entry_run(&s->head, s->head.setup->smtp->start_ms, ready);
}
