/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_sync.c - telling a session what it does not know yet.
 *
 * In this order: what is gone (RFC 9051 7.5.1: only where the command allows it), how many there are
 * now, new keywords, flags that others changed. Each number is computed when its line is written, so
 * waiting for a slow client in between keeps everything consistent. */
#include <stdlib.h>

#include "core/worker.h"
#include "proto/imap/flags.h"
#include "proto/imap/seqset.h"
#include "server/imap/imap_int.h"
#include "server/imap/imap_out.h"
#include "store/message.h"

enum { LINES_A_TIME = 2000, ROWS_A_TIME = 1000, VANISHED_BYTES = 8000, OWN_MAX = 4096 };

/* --- Flags ---------------------------------------------------------------------------------------- */

/* "\Seen kw", without parentheses. */
static void put_flags(struct out *o, const struct imap_view *view, uint32_t flags,
	uint64_t keywords)
{
	const struct mailbox_keywords *names = view->keywords;
	bool any = imap_put_system_flags(o, flags & MESSAGE_FLAGS);

	for (size_t i = 0; names && i < names->len; i++)
		if (keywords & UINT64_C(1) << i) {
			if (any)
				out_char(o, ' ');
			out_slice(o, names->names[i]);
			any = true;
		}
}

static void put_names(struct out *o, const struct imap_view *view)
{
	imap_put_system_flags(o, MESSAGE_FLAGS);
	for (size_t i = 0; view->keywords && i < view->keywords->len; i++)
		out_printf(o, " %.*s", SLICE_ARG(view->keywords->names[i]));
}

void imap_put_flag_names(struct imap_session *s)
{
	struct imap_box *box = s->box;
	const struct imap_view *view = box->view;
	size_t len = view->keywords ? view->keywords->len : 0;
	struct out *o = imap_out(s);

	out_str(o, "* FLAGS (");
	put_names(o, view);
	out_str(o, ")\r\n* OK [PERMANENTFLAGS (");
	if (!box->read_only) {
		put_names(o, view);
		if (len < MAILBOX_KEYWORDS_MAX)
			out_str(o, " \\*");
	}
	out_str(o, ")] Flags that are kept\r\n");
	box->told_keywords = (uint8_t)len;
}

/* --- What is gone ----------------------------------------------------------------------------- */

/* What a set and a list have in common, run by run. */
struct common {
	struct runs_walk walk;
	struct run_list list;
	struct run run; /* of the set, what is left of it */
	bool there;
};

static bool common_next(struct common *c, struct run *out)
{
	while (c->there && c->list.len) {
		struct run with = *c->list.runs;
		struct run r = { MAX(c->run.first, with.first), MIN(c->run.last, with.last) };

		if (with.last < c->run.last) {
			c->list.runs++;
			c->list.len--;
		} else {
			c->there = runs_walk_next(&c->walk, &c->run);
		}
		if (r.first <= r.last) {
			*out = r;
			return true;
		}
	}
	return false;
}

enum err imap_put_vanished(struct imap_session *s, const struct runs *gone, struct run_list within,
	bool earlier)
{
	struct common c = { .walk = { .set = gone, .from = within.len ? within.runs->first : 1 },
		.list = within };
	struct run run;
	enum err err = OK;

	c.there = runs_walk_next(&c.walk, &c.run);
	for (bool more = common_next(&c, &run); more && !err;) {
		struct out *o = imap_out(s);
		char buf[VANISHED_BYTES];
		struct out line = out_fixed(buf, sizeof(buf));

		for (; more && line.len + 32 < sizeof(buf); more = common_next(&c, &run))
			imap_put_run(&line, run, line.len == 0);
		out_str(o, earlier ? "* VANISHED (EARLIER) " : "* VANISHED ");
		out_slice(o, out_written(&line));
		out_str(o, "\r\n");
		err = imap_out_wait(s);
	}
	return err;
}

static enum err tell_vanished(struct imap_session *s)
{
	struct runs gone = s->box->pending; /* while we wait, more may come */
	struct run all = { 1, UINT32_MAX };
	enum err err;

	s->box->pending = (struct runs){ 0 };
	err = imap_put_vanished(s, &gone, (struct run_list){ .runs = &all, .len = 1 }, false);
	runs_done(&gone);
	return err;
}

/* A run of pending uids has one and the same number again and again: the one behind what stays. */
static enum err tell_expunged(struct imap_session *s)
{
	struct imap_box *box = s->box;
	struct run r;
	enum err err = OK;

	while (!err && runs_next(&box->pending, 1, &r)) {
		uint32_t seq = runs_rank(&box->view->uids, r.first) + 1;
		uint32_t last = MIN(r.last, r.first + LINES_A_TIME - 1);
		struct out *o = imap_out(s);

		for (uint32_t uid = r.first; uid <= last; uid++)
			out_printf(o, "* %u EXPUNGE\r\n", seq);
		if (!runs_remove_range(&box->pending, r.first, last))
			return ERR_NOMEM;
		err = imap_out_wait(s);
	}
	return err;
}

/* --- What changed ---------------------------------------------------------------------------- */

struct row {
	uint32_t uid, flags;
	uint64_t keywords;
	modseq changed;
};

/* Filled on a helper thread, told on the worker. */
struct gather {
	const struct imap_changed *what;
	modseq highest; /* what is later is told later, when the expunges before it are known */
	struct row *rows;
	size_t len;
};

static bool gather_row(void *arg, const struct message_row *row)
{
	struct gather *g = arg;
	const struct message *m = &row->m;

	if (g->len == ROWS_A_TIME)
		return false;
	if (m->uid > g->what->upto || m->changed > g->highest ||
		(g->what->only && !run_list_has(*g->what->only, m->uid)))
		return true;
	g->rows[g->len++] = (struct row){
		.uid = m->uid, .flags = m->flags, .keywords = m->keywords, .changed = m->changed
	};
	return true;
}

static bool is_own(const struct imap_box *box, modseq changed)
{
	for (uint32_t i = box->own_len; i > 0 && box->own[i - 1] >= changed; i--)
		if (box->own[i - 1] == changed)
			return true;
	return false;
}

static void put_row(struct imap_session *s, const struct row *row)
{
	uint32_t seq = imap_uid_to_seq(s, row->uid);
	struct out *o = imap_out(s);

	if (!seq)
		return;
	out_str(o, "* ");
	out_uint(o, seq);
	out_str(o, " FETCH (UID ");
	out_uint(o, row->uid);
	if (imap_is(s, IMAP_EN_CONDSTORE)) {
		out_str(o, " MODSEQ (");
		out_uint(o, row->changed);
		out_char(o, ')');
	}
	out_str(o, " FLAGS (");
	put_flags(o, s->box->view, row->flags, row->keywords);
	out_str(o, "))\r\n");
}

enum err imap_put_changed(struct imap_session *s, const struct imap_changed *what)
{
	struct gather g = { .what = what,
		.highest = s->box->view->highest,
		.rows = calloc(ROWS_A_TIME, sizeof(struct row)) };
	struct runs uids = { 0 };
	struct message_found found = { .uids = what->named ? what->named : &uids,
		.known = what->named != NULL };
	struct message_scan scan = { .account = s->account,
		.mailbox = s->box->view->watch.mailbox,
		.changed_since = what->since,
		.found = &found,
		.each = gather_row,
		.arg = &g };
	enum err err = g.rows ? OK : ERR_NOMEM;

	while (!err) {
		g.len = 0;
		err = message_scan(imap_store_of(s), &scan);
		for (size_t i = 0; !err && i < g.len; i++)
			if (what->own || !is_own(s->box, g.rows[i].changed))
				put_row(s, &g.rows[i]);
		if (!err)
			err = imap_out_wait(s);
		if (!scan.next)
			break;
		scan.from = scan.next;
	}
	runs_done(&uids);
	free(g.rows);
	return err;
}

/* --- Ours ------------------------------------------------------------------------------------------ */

void imap_own_change(struct imap_session *s, modseq pos)
{
	struct imap_box *box = s->box;

	imap_wrote(s, pos);
	if (!box)
		return;
	if (box->own_len == box->own_cap && box->own_cap < OWN_MAX) {
		uint32_t cap = box->own_cap ? box->own_cap * 2 : 8;
		modseq *more = realloc(box->own, cap * sizeof(*more));

		if (more) {
			box->own = more;
			box->own_cap = cap;
		}
	}
	/* Without room the change is told as if it were another's, which is allowed. */
	if (box->own_len < box->own_cap)
		box->own[box->own_len++] = pos;
}

static void forget_own(struct imap_box *box)
{
	uint32_t gone = 0;

	while (gone < box->own_len && box->own[gone] <= box->told)
		gone++;
	box->own_len -= gone;
	if (box->own_len) {
		memmove(box->own, box->own + gone, box->own_len * sizeof(*box->own));
		return;
	}
	free(box->own);
	box->own = NULL;
	box->own_cap = 0;
}

/* --- All of it ----------------------------------------------------------------------------------- */

static void tell_new(struct imap_session *s)
{
	struct imap_box *box = s->box;

	if (runs_last(&box->view->uids) > box->told_uid) {
		box->told_uid = box->view->uid_next - 1;
		out_printf(imap_out(s), "* %u EXISTS\r\n", imap_seq_count(s));
		if (!imap_is(s, IMAP_EN_REV2))
			out_str(imap_out(s), "* 0 RECENT\r\n");
	}
	if (box->view->keywords && box->view->keywords->len > box->told_keywords)
		imap_put_flag_names(s);
}

static enum err tell_changed(struct imap_session *s, uint32_t upto)
{
	struct imap_box *box = s->box;
	modseq now = box->view->highest;
	struct imap_changed what = { .since = box->told, .upto = upto };
	enum err err = OK;

	if (box->dirty) {
		box->dirty = false;
		err = imap_put_changed(s, &what);
	}
	if (!err)
		box->told = now;
	forget_own(box);
	return err;
}

/* RFC 7162 3.2 and 6: mod-sequences that the client sees must not hide an expunge below them which it may
 * not be told yet. A client that loses its connection now comes back with `known`. */
static void tell_known(struct imap_session *s, bool expunges)
{
	struct imap_box *box = s->box;
	bool late = box->pending.count > 0;

	if (!late)
		box->known = box->told;
	if (imap_is(s, IMAP_EN_QRESYNC) && (late ? !expunges : box->behind)) {
		out_printf(imap_out(s), "* OK [HIGHESTMODSEQ %llu] %s\r\n",
			(unsigned long long)box->known,
			late ? "Not all that is gone can be told yet" : "All is told");
		box->behind = late;
	}
}

enum err imap_view_sync(struct imap_session *s, bool expunges)
{
	struct imap_box *box = s->box;
	/* Somebody else may be at it: what he finds is for us too. The mod-sequence of a change of ours was
	 * told: what is gone before it must be known (see tell_known). */
	bool old = box->view->stale || box->view->refreshing.held ||
		(imap_is(s, IMAP_EN_QRESYNC) && s->written > box->view->as_of);
	enum err err = old ? imap_view_refresh(box->view, false) : OK;
	uint32_t upto = box->told_uid;

	if (err && err != ERR_NOT_FOUND)
		return err;
	err = OK;
	if (box->broken) {
		conn_abort(s->head.conn, ERR_NOMEM);
		return ERR_NOMEM;
	}
	if (expunges && box->pending.count)
		err = imap_is(s, IMAP_EN_QRESYNC) ? tell_vanished(s) : tell_expunged(s);
	if (!err)
		tell_new(s);
	if (!err)
		err = tell_changed(s, upto);
	if (!err)
		tell_known(s, expunges);
	return err;
}
