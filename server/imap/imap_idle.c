/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_idle.c - NOOP, CHECK, IDLE and LOGOUT.
 *
 * IDLE is a state of the session, not a command in progress: nothing is held for it but its tag. The
 * watch of the mailbox's view wakes the session; what is new is told on a fiber that ends. */
#include "server/imap/imap_fetch_memo.h"
#include "server/imap/imap_int.h"

#include <stdlib.h>

#include "core/metric.h"

enum { DONE_LINE_MAX = 1024 };

/* Everything that was durable before is seen (the dispatcher tells it). */
enum verdict imap_do_noop(struct imap_session *s, const union imap_args *args)
{
	enum err err = s->box ? imap_view_refresh(s->box->view, true) : OK;

	return err && err != ERR_NOT_FOUND ? imap_no_err(s, err) : imap_ok(s);
}

enum verdict imap_do_logout(struct imap_session *s, const union imap_args *args)
{
	out_str(imap_out(s), "* BYE Logging out\r\n");
	s->bye = true;
	imap_ok(s);
	return CLOSE;
}

/* --- IDLE (RFC 2177, RFC 9051 6.3.13) ------------------------------------------------------------ */

static void tell_news(struct conn *c)
{
	struct imap_session *s = conn_owner(c);
	enum err err = OK;

	if (s->waking && s->box) /* the first time: what was durable before the IDLE */
		err = imap_view_refresh(s->box->view, true);
	s->waking = false;
	do
		err = s->box ? imap_view_sync(s, true) : OK;
	while (!err && s->box && s->box->view->stale && s->input == IMAP_IN_IDLE);
	if (s->head.door->stopping && s->input != IMAP_IN_NOTHING)
		imap_bye(s, "The server is stopping");
}

void imap_idle_wake(struct imap_session *s)
{
	if (s->input == IMAP_IN_IDLE && !conn_fiber(s->head.conn) && !conn_closing(s->head.conn))
		(void)conn_run(s->head.conn, tell_news);
}

enum verdict imap_do_idle(struct imap_session *s, const union imap_args *args)
{
	slice tag = s->run->tag;

	s->idle_tag = malloc(tag.len + 1);
	if (!s->idle_tag)
		return imap_no_err(s, ERR_NOMEM);
	memcpy(s->idle_tag, tag.ptr, tag.len);
	s->idle_tag[tag.len] = '\0';
	out_str(imap_out(s), "+ idling\r\n");
	if (s->box) { /* who waits for mail holds as little as can be */
		fetch_memo_free(s->box->memo);
		s->box->memo = NULL;
	}
	imap_end_run(s);
	s->input = IMAP_IN_IDLE;
	s->bad = 0;
	metric_add(&imap_metrics, IMAP_METRIC_IDLE, 1);
	imap_set_deadline(s);
	s->waking = true;
	if (s->box)
		imap_idle_wake(s);
	return DONE;
}

static void end_idle(struct imap_session *s, const char *how)
{
	out_printf(imap_out(s), "%s %s\r\n", s->idle_tag, how);
	free(s->idle_tag);
	s->idle_tag = NULL;
	s->input = IMAP_IN_COMMAND;
	metric_add(&imap_metrics, IMAP_METRIC_IDLE, -1);
	imap_set_deadline(s);
}

size_t imap_take_idle(struct imap_session *s, slice in, bool *stop)
{
	size_t used = 0;
	slice line;

	switch (imap_line_take(&s->reader, in, DONE_LINE_MAX, &used, &line)) {
	case STEP_MORE:
		*stop = true;
		return used;
	case STEP_DONE:
		if (slice_eq_nocase(line, SLICE("DONE"))) {
			end_idle(s, "OK IDLE completed");
			break;
		}
		/* fall through */
	default:
		end_idle(s, "BAD Only DONE ends IDLE");
	}
	return used;
}
