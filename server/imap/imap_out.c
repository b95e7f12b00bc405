/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_out.c - pieces: rendered, sent, waited for. */
#include "server/imap/imap_out.h"

#include "core/fiber.h"
#include "core/job.h"
#include "core/metric.h"
#include "server/imap/imap_int.h"

struct piece {
	struct imap_flow *flow;
	struct out out;
	bool more;
	enum err err;
};

static void render_here(void *arg)
{
	struct piece *p = arg;

	p->out.len = 0;
	p->more = false;
	p->err = p->flow->render(p->flow, &p->out, &p->more);
	if (!p->err && !out_ok(&p->out))
		p->err = ERR_TOO_LARGE;
}

enum err imap_out_wait(struct imap_session *s)
{
	struct conn *c = s->head.conn;
	enum err err = OK;

	if (conn_congested(c))
		err = conn_send_wait(c, s->head.setup->imap->send_ms);
	else if (conn_closing(c))
		err = ERR_CLOSED;
	if (err == ERR_TIMEOUT)
		conn_abort(c, err);
	if (err && s->run)
		s->run->fatal = true;
	return err;
}

enum err imap_out_bytes(struct imap_session *s, slice bytes)
{
	metric_add(&imap_metrics, IMAP_METRIC_BYTES_OUT, (int64_t)bytes.len);
	out_slice(imap_out(s), bytes);
	return imap_out_wait(s);
}

static enum err flow_by_jobs(struct imap_session *s, struct imap_flow *flow)
{
	struct piece p = { .flow = flow, .out = out_heap(IMAP_OUT_CHUNK_MAX) };
	enum err err;

	do {
		job_run(render_here, &p);
		err = p.out.len && (!p.err || p.err != ERR_TOO_LARGE) ?
			imap_out_bytes(s, out_written(&p.out)) :
			OK;
		err = p.err ? p.err : err;
	} while (!err && p.more);
	out_heap_done(&p.out);
	return err;
}

static enum err send_piece(struct imap_session *s, struct imap_flow *flow, bool *more)
{
	struct conn_piece p;
	enum err err = conn_piece_open(s->head.conn, IMAP_OUT_CHUNK_MAX, &p);

	if (err)
		return err;
	*more = false;
	err = flow->render(flow, &p.out, more);
	if (!out_ok(&p.out)) {
		conn_piece_drop(&p);
		return err ? err : ERR_TOO_LARGE;
	}
	metric_add(&imap_metrics, IMAP_METRIC_BYTES_OUT, (int64_t)p.out.len);
	conn_piece_send(&p);
	enum err sent = imap_out_wait(s);
	/* What was compressed well does not congest. */
	if (!sent && *more)
		sent = fiber_sleep(0);
	return err ? err : sent;
}

enum err imap_out_flow(struct imap_session *s, struct imap_flow *flow)
{
	bool more = true;
	enum err err = OK;

	if (!flow->on_fiber)
		return flow_by_jobs(s, flow);
	while (!err && more)
		err = send_piece(s, flow, &more);
	return err;
}
