/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fibers and connections: running a command on one, and waiting for bytes to come or to go. */
#include "core/conn_int.h"

struct command {
	struct conn *c;
	void (*fn)(struct conn *c);
};

static void run_command(void *arg)
{
	struct command command = *(struct command *)arg;
	struct conn *c = command.c;

	c->fiber = fiber_self();
	command.fn(c);
	c->fiber = NULL;
	conn_mark(c);
}

bool conn_run(struct conn *c, void (*fn)(struct conn *c))
{
	struct command command = { .c = c, .fn = fn };

	must(!c->fiber);
	if (conn_dead(c))
		return false;
	if (fiber_start(c->w, run_command, &command)) {
		conn_fail(c, ERR_NOMEM);
		return false;
	}
	return !c->fiber && !conn_closing(c);
}

void conn_attach(struct conn *c)
{
	must(!c->fiber && fiber_self());
	c->fiber = fiber_self();
}

void conn_detach(struct conn *c)
{
	must(c->fiber == fiber_self());
	c->fiber = NULL;
	conn_mark(c);
}

/* Why nothing will come or go any more; OK while something may. */
static enum err ended(const struct conn *c)
{
	if (conn_dead(c))
		return c->why ? c->why : ERR_CLOSED;
	return OK;
}

enum err conn_wait_data(struct conn *c, slice *in, msec timeout_ms)
{
	size_t had = in->len;

	for (;;) {
		struct fiber_wait wait = { 0 };
		enum err err = ended(c);

		*in = c->in;
		if (err)
			return err;
		if (c->in.len > had)
			return OK;
		if (c->eof || c->end != END_NOT)
			return c->why ? c->why : ERR_CLOSED;
		if (c->in.len >= c->hold_max)
			return ERR_LIMIT;
		must(!c->reader);
		c->reader = &wait;
		conn_mark(c);
		err = fiber_wait(&wait, timeout_ms);
		c->reader = NULL;
		conn_mark(c);
		if (err)
			return ended(c) ? ended(c) : err;
	}
}

static enum err wait_pending(struct conn *c, size_t most, msec timeout_ms)
{
	for (;;) {
		struct fiber_wait wait = { 0 };
		enum err err = ended(c);

		if (err)
			return err;
		conn_flush(c);
		if (conn_pending(c) <= most)
			return OK;
		must(!c->writer);
		c->writer = &wait;
		c->writer_mark = most;
		err = fiber_wait(&wait, timeout_ms);
		c->writer = NULL;
		conn_mark(c);
		if (err)
			return ended(c) ? ended(c) : err;
	}
}

enum err conn_send_wait(struct conn *c, msec timeout_ms)
{
	if (!conn_dead(c) && !conn_congested(c)) {
		conn_flush(c);
		return ended(c);
	}
	return wait_pending(c, c->low, timeout_ms);
}

enum err conn_drain_wait(struct conn *c, msec timeout_ms)
{
	return wait_pending(c, 0, timeout_ms);
}
