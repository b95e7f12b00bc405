/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_work.c - commands read ahead: RETR TOP DELE LIST UIDL, and what stands between them.
 *
 * Handlers only note what is wanted. A fiber then renders the answers a piece at a time, into the memory
 * they are sent from: a message of any size passes through the same piece, and a slow reader costs
 * nobody else. */
#include "server/pop3/pop3_work.h"

#include <stdlib.h>

#include "core/metric.h"

/* --- Gathering ------------------------------------------------------------------------------------ */

static enum verdict add(struct pop3_session *s, struct pop3_item item)
{
	if (!s->work) {
		s->work = calloc(1, sizeof(*s->work));
		if (!s->work)
			return pop3_refuse(s, FAULT_BUSY);
		s->work->session = s;
		s->work->arena.chunk_bytes = POP3_READ_BYTES;
	}
	s->work->items[s->work->len++] = item;
	return DONE;
}

bool pop3_work_full(const struct pop3_session *s)
{
	return s->work->len == POP3_ITEMS_MAX;
}

void pop3_work_drop(struct pop3_session *s)
{
	if (s->work) {
		arena_done(&s->work->arena);
		free(s->work->ahead.buf);
	}
	free(s->work);
	s->work = NULL;
}

enum verdict pop3_bad_args(struct pop3_session *s)
{
	return add(s, (struct pop3_item){ .kind = POP3_BAD_ARGS });
}

static enum verdict one(struct pop3_session *s, slice rest, enum pop3_item_kind kind)
{
	struct pop3_item item = { .kind = (uint8_t)kind };

	return pop3_number(rest, &item.number) ? add(s, item) : pop3_bad_args(s);
}

enum verdict pop3_do_retr(struct pop3_session *s, slice rest)
{
	return one(s, rest, POP3_RETR);
}

enum verdict pop3_do_dele(struct pop3_session *s, slice rest)
{
	return one(s, rest, POP3_DELE);
}

enum verdict pop3_do_top(struct pop3_session *s, slice rest)
{
	struct pop3_top top;

	if (!pop3_top(rest, &top))
		return pop3_bad_args(s);
	return add(s,
		(struct pop3_item){ .kind = POP3_TOP, .number = top.number, .lines = top.lines });
}

/* Without a number: of all messages. */
static enum verdict listing(struct pop3_session *s, slice rest, enum pop3_item_kind kind)
{
	if (pop3_no_args(rest))
		return add(s, (struct pop3_item){ .kind = (uint8_t)kind });
	return one(s, rest, kind);
}

enum verdict pop3_do_list(struct pop3_session *s, slice rest)
{
	return listing(s, rest, POP3_LIST);
}

enum verdict pop3_do_uidl(struct pop3_session *s, slice rest)
{
	return listing(s, rest, POP3_UIDL);
}

/* Alone they need no helper. */
static enum verdict small(struct pop3_session *s, enum pop3_item_kind kind)
{
	if (s->work)
		return add(s, (struct pop3_item){ .kind = (uint8_t)kind });
	pop3_put_small(s, kind, conn_out(s->head.conn));
	return DONE;
}

enum verdict pop3_do_noop(struct pop3_session *s, slice rest)
{
	return small(s, POP3_NOOP);
}

enum verdict pop3_do_stat(struct pop3_session *s, slice rest)
{
	return small(s, POP3_STAT);
}

enum verdict pop3_do_rset(struct pop3_session *s, slice rest)
{
	return small(s, POP3_RSET);
}

/* --- Sending ---------------------------------------------------------------------------------------------- */

static enum err send_piece(struct pop3_session *s)
{
	struct pop3_work *k = s->work;
	struct conn *c = s->head.conn;
	msec send_ms = s->head.setup->pop3->idle_ms;
	struct conn_piece piece;
	enum err err = conn_piece_open(c, POP3_PIECE_BYTES, &piece);

	if (err)
		return err;
	k->out = out_fixed(piece.out.buf, MIN(piece.out.cap, (size_t)POP3_PIECE_BYTES));
	pop3_fill(k);
	piece.out.len = k->out.len;
	metric_add(&pop3_metrics, POP3_METRIC_BYTES, (int64_t)k->out.len);
	conn_piece_send(&piece);
	conn_deadline(c, send_ms);
	return conn_send_wait(c, send_ms);
}

static void work(struct conn *c)
{
	struct pop3_session *s = conn_owner(c);
	struct pop3_work *k = s->work;
	uint32_t before = s->retrieved;
	enum err err = OK;

	while (!err && k->at < k->len && !k->broken)
		err = send_piece(s);
	metric_add(&pop3_metrics, POP3_METRIC_RETRIEVED, s->retrieved - before);
	/* Half an answer must not pass for a whole one. */
	if (err || k->broken)
		conn_abort(c, err ? err : ERR_IO);
	pop3_work_drop(s);
	pop3_go_on(s);
}

bool pop3_work_run(struct pop3_session *s)
{
	return conn_run(s->head.conn, work);
}
