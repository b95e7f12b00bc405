/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Outgoing connections: socket, bind, connect, waiting on the calling fiber. */
#include "core/dial.h"

#include "core/conn.h"
#include "core/room.h"
#include "core/worker_int.h"

enum { DEFAULT_TIMEOUT_MS = 30 * 1000 };

struct dialling {
	struct op op;
	struct fiber_wait wait;
	int res;
};

static void connected(struct op *op, int res)
{
	struct dialling *d = container_of(op, struct dialling, op);

	d->res = res;
	fiber_wake(&d->wait, OK);
}

/* Interruptible, but the op lives on this stack: after a time-out or a cancel its end is
 * awaited. */
static enum err connect_to(struct worker *w, int fd, const struct ring_peer *to, msec timeout_ms)
{
	struct dialling d = { .op.done = connected };

	ring_connect(w, &d.op, fd, to);
	enum err err = fiber_wait(&d.wait, timeout_ms);

	if (err) {
		ring_cancel(w, &d.op);
		(void)fiber_wait_through(&d.wait);
		return err;
	}
	return d.res < 0 ? (enum err)d.res : OK;
}

static enum err open_and_connect(struct worker *w, const struct addr *to,
	const struct dial_options *options, int *out_fd)
{
	struct ring_peer peer;
	int fd;

	if (!addr_to_sockaddr(to, &peer.addr, &peer.len))
		return ERR_INVALID;
	enum err err = ring_socket(to, RING_STREAM, &fd);

	if (err)
		return err;
	if (options->source && options->source->kind == to->kind)
		err = ring_bind(fd, options->source, false);
	if (!err)
		err = connect_to(w, fd, &peer,
			options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS);
	if (err) {
		ring_close(fd);
		return err;
	}
	*out_fd = fd;
	return OK;
}

enum err dial(struct worker *w, const struct addr *to, const struct dial_options *options,
	struct conn **out)
{
	static const struct dial_options defaults;
	int fd;

	must(fiber_self());
	if (!options)
		options = &defaults;
	if (!room_enter_out())
		return ERR_NOFILES;
	enum err err = open_and_connect(w, to, options, &fd);

	if (err) {
		room_leave(ROOM_OUT);
		return err;
	}
	return conn_open(w,
		&(struct conn_open){ .fd = fd,
			.peer = to,
			.ops = options->ops,
			.owner = options->owner,
			.dialled = true },
		out);
}
