/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_start.c - how a connection begins and ends.
 *
 * What stands before the greeting is entry.h's. The session is freed in `closed`, the last call a
 * connection makes. A stop says BYE to who waits, and to the others behind their command. */
#include "server/imap/imap_int.h"

#include <stdlib.h>

#include "server/entry.h"
#include "server/exchange.h"
#include "server/seat.h"

enum { CHUNK_BYTES = 2048 - 64, HOLD_EXTRA = 8192 };

static void on_closed(struct conn *c, enum err why);
static void on_deadline(struct conn *c);

static const struct conn_ops ops = {
	.data = imap_on_data, .closed = on_closed, .deadline = on_deadline
};

void imap_close(struct imap_session *s)
{
	s->input = IMAP_IN_NOTHING;
	conn_deadline(s->head.conn, 0);
	conn_close(s->head.conn);
}

void imap_bye(struct imap_session *s, const char *text)
{
	if (!s->bye && entry_may_speak(&s->head))
		out_printf(imap_out(s), "* BYE %s\r\n", text);
	s->bye = true;
	imap_close(s);
}

static void on_closed(struct conn *c, enum err why)
{
	struct imap_session *s = conn_owner(c);

	imap_log_disconnect(s, why);
	imap_append_drop(s);
	imap_deselect(s);
	seat_leave(s->seat);
	exchange_drop(s->head.exchange);
	door_leave(&s->head);
	arena_done(&s->arena);
	setup_put(s->head.setup);
	free(s->name);
	free(s->idle_tag);
	free(s);
}

/* A whole command must come in time; single bytes do not move the deadline. */
static void on_deadline(struct conn *c)
{
	struct imap_session *s = conn_owner(c);

	if (conn_fiber(c) || s->input == IMAP_IN_NOTHING)
		conn_abort(c, ERR_TIMEOUT);
	else
		imap_bye(s, "Autologout, idle for too long");
}

static void on_stop(struct door_session *ds, enum door_stop how)
{
	struct imap_session *s = container_of(ds, struct imap_session, head);
	bool idle = s->input != IMAP_IN_NOTHING && !s->run && !conn_fiber(s->head.conn);

	if (idle && how != DOOR_STOP_NOW) /* RFC 9051 3.4 */
		imap_bye(s,
			how == DOOR_STOP_SOON ? "The server is stopping" :
						fault_smtp(FAULT_EXPELLED)->text);
	else if (how != DOOR_STOP_SOON)
		conn_abort(s->head.conn, ERR_STOPPED);
}

static slice who(const struct door_session *ds)
{
	const struct imap_session *s = container_of(ds, const struct imap_session, head);

	return s->name ? slice_str(s->name) : SLICE("");
}

static void greet(struct door_session *ds)
{
	struct imap_session *s = container_of(ds, struct imap_session, head);
	struct out *o = imap_out(s);

	imap_log_connect(s);
	out_str(o, "* OK [");
	imap_put_capability(s, o);
	out_printf(o, "] %.*s ready\r\n", SLICE_ARG(s->head.setup->service->hostname));
	imap_set_deadline(s);
}

void imap_session_start(struct door *door, int fd, const struct addr *peer)
{
	struct entry entry = {
		.door = door, .fd = fd, .peer = peer, .ops = &ops, .stop = on_stop, .who = who
	};
	enum fault refuse = entry_admit(door, peer);
	struct imap_session *s = calloc(1, sizeof(*s));

	if (!entry_open(&entry, s ? &s->head : NULL)) {
		free(s);
		return;
	}
	arena_init(&s->arena, CHUNK_BYTES);
	conn_set_hold_max(s->head.conn, (size_t)s->head.setup->imap->line_max + HOLD_EXTRA);
	if (refuse)
		imap_bye(s, fault_smtp(refuse)->text);
	else
		entry_run(&s->head, s->head.setup->imap->start_ms, greet);
}
