/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_select.c - SELECT, EXAMINE, CLOSE, UNSELECT; CONDSTORE and QRESYNC of RFC 7162.
 *
 * A mailbox is opened by joining the worker's view of it; what is told is of one moment, that of the
 * view when the box was made. */
#include "server/imap/imap_int.h"

#include "proto/imap/render.h"
#include "server/imap/imap_out.h"
#include "store/message.h"

enum { UNSEEN_LOOK = 2000 };

void imap_deselect(struct imap_session *s)
{
	imap_box_free(s->box);
	s->box = NULL;
	if (s->state == IMAP_SELECTED)
		s->state = IMAP_IN;
}

/* --- The first message without \Seen (IMAP4rev1 only) --------------------------------------------- */

struct look {
	uint32_t uid, seen;
};

static bool look_at(void *arg, const struct message_row *row)
{
	struct look *look = arg;

	if (!(row->m.flags & MESSAGE_SEEN))
		look->uid = row->m.uid;
	return !look->uid && ++look->seen < UNSEEN_LOOK;
}

/* RFC 3501 6.3.1 lets a server leave it out: a long search for it is not worth an answer that hardly
 * anybody reads. */
static void put_unseen(struct imap_session *s, const struct mailbox *m)
{
	struct look look = { 0 };
	struct message_scan scan = {
		.account = s->account, .mailbox = m->id, .each = look_at, .arg = &look
	};
	uint32_t seq;

	if (!m->unseen || imap_is(s, IMAP_EN_REV2) || message_scan(imap_store_of(s), &scan))
		return;
	seq = look.uid ? imap_uid_to_seq(s, look.uid) : 0;
	if (seq)
		out_printf(imap_out(s), "* OK [UNSEEN %u] The first one\r\n", seq);
}

/* --- Answers --------------------------------------------------------------------------------------- */

static void put_opened(struct imap_session *s, const struct mailbox *m)
{
	struct out *o = imap_out(s);

	out_printf(o, "* %u EXISTS\r\n", imap_seq_count(s));
	if (!imap_is(s, IMAP_EN_REV2))
		out_str(o, "* 0 RECENT\r\n");
	imap_put_flag_names(s);
	out_printf(o, "* OK [UIDVALIDITY %u] Uids are valid\r\n", s->box->view->uid_validity);
	out_printf(o, "* OK [UIDNEXT %u] The next uid\r\n", s->box->told_uid + 1);
	out_printf(o, "* OK [HIGHESTMODSEQ %llu] The last change\r\n",
		(unsigned long long)s->box->told);
	out_str(o, "* OK [");
	imap_put_mailbox_id(s, o, m->id);
	out_str(o, "] The mailbox's own id\r\n");
	if (imap_is(s, IMAP_EN_REV2)) { /* RFC 9051 6.3.2 */
		out_str(o, "* LIST () \"/\" ");
		imap_put_mailbox(o, m->name, imap_utf8(s));
		out_str(o, "\r\n");
	}
}

/* --- QRESYNC (RFC 7162 3.2.5) ----------------------------------------------------------------- */

/* What the client need not be told: pairs of number and uid that agree say that nothing below is
 * gone (3.2.5.2). Returns the first uid worth telling. */
static uint32_t first_unsure(struct imap_session *s, const struct imap_select *args)
{
	uint32_t sure = 0;

	for (size_t i = 0; i < args->match_seqs.len && i < args->match_uids.len; i++) {
		struct run seq = args->match_seqs.runs[i], uid = args->match_uids.runs[i];

		if (imap_seq_to_uid(s, seq.first) != uid.first ||
			imap_seq_to_uid(s, seq.last) != uid.last)
			break;
		sure = uid.last;
	}
	return sure + 1;
}

static enum err put_gone(struct imap_session *s, const struct imap_select *args, bool exact,
	const struct runs *gone)
{
	uint32_t from = exact ? 1 : first_unsure(s, args);
	struct run window = { from, s->box->told_uid };
	struct run_list within = { .runs = &window, .len = 1 };

	if (window.first > window.last)
		return OK;
	if (args->has_known)
		within = run_list_both(&s->arena, args->known, within);
	return imap_put_vanished(s, gone, within, true);
}

static enum err resync(struct imap_session *s, const struct imap_select *args)
{
	struct imap_view *view = s->box->view;
	struct runs changed = { 0 }, gone = { 0 };
	struct message_changes since = { .account = s->account,
		.mailbox = view->watch.mailbox,
		.since = args->modseq,
		.changed = &changed,
		.gone = &gone };
	struct imap_changed what = { .since = args->modseq,
		.upto = s->box->told_uid,
		.only = args->has_known ? &args->known : NULL,
		.named = &changed,
		.own = true };
	enum err err = OK;

	if (args->uid_validity != view->uid_validity || args->modseq >= view->highest)
		return OK; /* another mailbox, or nothing happened */
	err = message_changes(view->store, &since);
	if (!err)
		err = put_gone(s, args, since.exact, &gone);
	if (!err)
		err = imap_put_changed(s, &what);
	runs_done(&changed);
	runs_done(&gone);
	return err;
}

/* --- SELECT ------------------------------------------------------------------------------------------ */

static enum err open_box(struct imap_session *s, slice name, struct mailbox *m)
{
	struct store *st = imap_store_of(s);
	struct imap_view *view;
	enum err err = store_sync_all(st, s->account);

	if (!err)
		err = mailbox_find(st, s->account, name, &s->arena, m);
	if (!err && !m->id)
		err = ERR_NOT_FOUND;
	if (!err)
		err = imap_view_get(s, m->id, &view);
	if (err)
		return err;
	s->box = imap_box_new(s, view);
	if (!s->box)
		imap_view_put(view);
	return s->box ? OK : ERR_NOMEM;
}

static enum verdict open_mailbox(struct imap_session *s, const struct imap_select *args,
	bool read_only)
{
	struct mailbox m;
	enum err err;

	if (args->qresync && !imap_is(s, IMAP_EN_QRESYNC))
		return imap_bad(s, "QRESYNC was not enabled");
	if (s->box) /* RFC 7162 3.2.11: whatever was enabled */
		out_str(imap_out(s), "* OK [CLOSED] The mailbox before is closed\r\n");
	imap_deselect(s);
	err = open_box(s, args->mailbox, &m);
	if (err)
		return imap_no_err(s, err);
	s->state = IMAP_SELECTED;
	s->box->read_only = read_only;
	if (args->condstore)
		s->enabled |= IMAP_EN_CONDSTORE;
	put_opened(s, &m);
	put_unseen(s, &m);
	err = args->qresync ? resync(s, args) : OK;
	if (err) {
		imap_deselect(s);
		return imap_no_err(s, err);
	}
	return imap_ok_code(s, read_only ? SLICE("READ-ONLY") : SLICE("READ-WRITE"));
}

enum verdict imap_do_select(struct imap_session *s, const union imap_args *args)
{
	return open_mailbox(s, &args->select, false);
}

enum verdict imap_do_examine(struct imap_session *s, const union imap_args *args)
{
	return open_mailbox(s, &args->select, true);
}

/* --- CLOSE --------------------------------------------------------------------------------------------- */

/* What is marked is removed without a word (RFC 9051 6.4.1). No HIGHESTMODSEQ either: who has not been
 * told of every change of others' would take it for known (RFC 7162 3.2.8). */
enum verdict imap_do_close(struct imap_session *s, const union imap_args *args)
{
	uint32_t removed = 0;
	enum err err = s->box->read_only ? OK : imap_remove_marked(s, NULL, &removed);

	if (err && err != ERR_NOT_FOUND)
		return imap_no_err(s, err);
	imap_deselect(s);
	return imap_ok(s);
}

enum verdict imap_do_unselect(struct imap_session *s, const union imap_args *args)
{
	imap_deselect(s);
	return imap_ok(s);
}
