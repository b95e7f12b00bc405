/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulated reactor: the same operations, carried out by the made-up network and disk.
 * Results are kept per worker until its next turn, as the kernel keeps completions. */
#include "core/sim_int.h"

#include <stdlib.h>

enum { BUFS = 64, BUF_BYTES = 16384 + 512 };

struct result {
	struct list_link link;
	uint64_t user_data;
	int res;
	uint16_t buf;
	bool has_buf;
};

struct sim_ring {
	struct list results;
	char *bufs;
	uint16_t free_bufs[BUFS];
	unsigned free_count;
};

static enum err sim_open(struct worker *w, const struct workers_config *config, char *why,
	size_t size)
{
	struct sim_ring *r = sim_alloc(sizeof(*r));

	(void)config;
	(void)why;
	(void)size;
	list_init(&r->results);
	r->bufs = sim_alloc((size_t)BUFS * BUF_BYTES);
	for (unsigned i = 0; i < BUFS; i++)
		r->free_bufs[r->free_count++] = (uint16_t)i;
	w->ring.impl = r;
	return OK;
}

static void sim_close(struct worker *w)
{
	struct sim_ring *r = w->ring.impl;
	struct list_link *link;

	if (!r)
		return;
	while ((link = list_pop(&r->results)))
		free(container_of(link, struct result, link));
	free(r->bufs);
	free(r);
	w->ring.impl = NULL;
}

static void sim_forget(struct worker *w)
{
	(void)w;
}

static void sim_stage(struct worker *w, struct op *op)
{
	list_push(&w->ring.staged, &op->link);
}

static void sim_cancel(struct worker *w, struct op *op)
{
	if (list_has(&op->link)) {
		list_remove(&op->link);
		sim_complete(sim_op_ref(w, op), ERR_CANCELED);
	} else {
		sim_net_cancel(w, op);
	}
}

/* --- Results --- */

struct sim_op_ref sim_op_ref(struct worker *w, const struct op *op)
{
	return (struct sim_op_ref){ .w = w, .user_data = ring_user_data(&w->ring, op) };
}

struct op *sim_op(struct sim_op_ref ref)
{
	return ref.w ? ring_slot_find(&ref.w->ring, ref.user_data) : NULL;
}

static struct result *add_result(struct sim_op_ref ref, int res)
{
	struct sim_ring *r = ref.w->ring.impl;
	struct result *result = sim_alloc(sizeof(*result));

	result->user_data = ref.user_data;
	result->res = res;
	list_push(&r->results, &result->link);
	return result;
}

void sim_complete(struct sim_op_ref ref, int res)
{
	if (sim_op(ref))
		add_result(ref, res);
}

void sim_complete_recv(struct sim_op_ref ref, const char *bytes, size_t len)
{
	struct sim_ring *r = ref.w->ring.impl;

	must(len <= BUF_BYTES && r->free_count);
	struct result *result = add_result(ref, (int)len);

	result->has_buf = true;
	result->buf = r->free_bufs[--r->free_count];
	memcpy(r->bufs + (size_t)result->buf * BUF_BYTES, bytes, len);
}

bool sim_has_results(const struct worker *w)
{
	const struct sim_ring *r = w->ring.impl;

	return r && !list_empty(&r->results);
}

bool sim_has_buffer(const struct worker *w)
{
	const struct sim_ring *r = w->ring.impl;

	return r->free_count > 0;
}

static void sim_recv_return(struct worker *w, struct op *op)
{
	struct sim_ring *r = w->ring.impl;

	r->free_bufs[r->free_count++] = op->buf;
}

static slice sim_recv_bytes(struct worker *w, const struct op *op, int res)
{
	struct sim_ring *r = w->ring.impl;

	return slice_of(r->bufs + (size_t)op->buf * BUF_BYTES, (size_t)res);
}

static void begin(struct worker *w, struct op *op)
{
	switch ((enum op_kind)op->kind) {
	case OP_READ:
	case OP_WRITE:
	case OP_FSYNC:
		sim_disk_begin(w, op);
		break;
	case OP_ACCEPT:
	case OP_CONNECT:
	case OP_RECV:
	case OP_SEND:
	case OP_POLL:
		sim_net_begin(w, op);
		break;
	case OP_NONE:
	case OP_CANCEL:
		must(0);
	}
}

static void sim_turn(struct worker *w, msec timeout)
{
	struct sim_ring *r = w->ring.impl;
	struct list now;
	struct list_link *link;

	(void)timeout;
	while ((link = list_pop(&w->ring.staged)))
		begin(w, container_of(link, struct op, link));
	ring_run_failed(w);
	list_init(&now);
	while ((link = list_pop(&r->results)))
		list_push(&now, link);
	while ((link = list_pop(&now))) {
		struct result *result = container_of(link, struct result, link);
		struct op *op = ring_slot_find(&w->ring, result->user_data);

		if (op) {
			op->buf = result->buf;
			ring_complete(w, op, result->res);
		} else if (result->has_buf) {
			r->free_bufs[r->free_count++] = result->buf;
		}
		free(result);
	}
}

static void sim_wake(struct worker *w)
{
	(void)w; /* the scheduler looks at everybody's posts */
}

static void sim_nodelay(int fd)
{
	(void)fd;
}

static msec sim_now(void)
{
	return sim.now_us / 1000;
}

static int64_t sim_now_us(void)
{
	return sim.now_us;
}

static wall_ms sim_wall(void)
{
	return sim_now() + sim.wall_base;
}

const struct ring_backend ring_sim = {
	.open = sim_open,
	.close = sim_close,
	.forget = sim_forget,
	.stage = sim_stage,
	.cancel = sim_cancel,
	.turn = sim_turn,
	.wake = sim_wake,
	.recv_bytes = sim_recv_bytes,
	.recv_return = sim_recv_return,
	.socket = sim_net_socket,
	.bind = sim_net_bind,
	.listen = sim_net_listen,
	.nodelay = sim_nodelay,
	.shutdown = sim_net_shutdown,
	.close_fd = sim_net_close,
	.local = sim_net_local,
	.say = sim_net_say,
	.now = sim_now,
	.now_us = sim_now_us,
	.wall = sim_wall,
};
