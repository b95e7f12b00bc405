/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_start.c - how a connection begins and ends. What was marked by DELE and not confirmed by QUIT
 * stays (RFC 1939 6). */
#include "server/pop3/pop3_int.h"

#include <stdlib.h>

#include "server/entry.h"
#include "server/seat.h"

enum { NAMES_BYTES = 256 };

static void on_closed(struct conn *c, enum err why)
{
	struct pop3_session *s = conn_owner(c);

	pop3_log_disconnect(s, why);
	exchange_drop(s->head.exchange);
	pop3_work_drop(s);
	pop3_drop_free(s);
	seat_leave(s->seat);
	door_leave(&s->head);
	arena_done(&s->arena);
	setup_put(s->head.setup);
	free(s);
}

/* No `deadline`: who was silent for too long is told nothing (RFC 1939 3). */
static const struct conn_ops ops = { .data = pop3_on_data, .closed = on_closed };

void pop3_close(struct pop3_session *s)
{
	s->input = POP3_IN_NOTHING;
	conn_deadline(s->head.conn, 0);
	conn_close(s->head.conn);
}

static void on_stop(struct door_session *ds, enum door_stop how)
{
	struct pop3_session *s = container_of(ds, struct pop3_session, head);

	bool idle = s->input != POP3_IN_NOTHING && !conn_fiber(ds->conn);

	if (idle && how != DOOR_STOP_NOW)
		pop3_say_goodbye(s, how == DOOR_STOP_SOON ? FAULT_SHUTDOWN : FAULT_EXPELLED);
	else if (how != DOOR_STOP_SOON)
		conn_abort(ds->conn, ERR_STOPPED);
}

static slice who(const struct door_session *ds)
{
	const struct pop3_session *s = container_of(ds, const struct pop3_session, head);

	return s->account;
}

static void ready(struct door_session *ds)
{
	struct pop3_session *s = container_of(ds, struct pop3_session, head);

	pop3_log_connect(s);
	out_printf(conn_out(ds->conn), "+OK %.*s POP3 ready\r\n",
		SLICE_ARG(ds->setup->service->hostname));
	pop3_go_on(s);
}

void pop3_session_start(struct door *door, int fd, const struct addr *peer)
{
	struct entry entry = {
		.door = door, .fd = fd, .peer = peer, .ops = &ops, .stop = on_stop, .who = who
	};
	enum fault refuse = entry_admit(door, peer);
	struct pop3_session *s = calloc(1, sizeof(*s));

	if (!entry_open(&entry, s ? &s->head : NULL)) {
		free(s);
		return;
	}
	arena_init(&s->arena, NAMES_BYTES);
	if (refuse)
		pop3_say_goodbye(s, refuse);
	else
		entry_run(&s->head, s->head.setup->pop3->start_ms, ready);
}
