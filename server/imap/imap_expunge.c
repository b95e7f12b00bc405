/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_expunge.c - EXPUNGE, and UID EXPUNGE of RFC 4315.
 *
 * Each record removes so many and no more, until none is left. What went is taken out of the view at
 * once; the view tells it, as EXPUNGE or as VANISHED. */
#include "server/imap/imap_int.h"

#include "store/message.h"

enum verdict imap_ok_expunged(struct imap_session *s)
{
	enum err err;

	if (!imap_is(s, IMAP_EN_CONDSTORE | IMAP_EN_QRESYNC))
		return imap_ok(s);
	/* RFC 7162 3.2.7: a client takes everything up to it for known, so also what others changed
	 * before must have been told. */
	err = store_sync(imap_store_of(s), s->account, s->written);
	if (!err) {
		s->box->view->stale = true;
		err = imap_view_sync(s, true);
	}
	if (err)
		return imap_no_err(s, err);
	return imap_ok_code(s,
		arena_printf(&s->arena, "HIGHESTMODSEQ %llu", (unsigned long long)s->box->told));
}

enum err imap_remove_marked(struct imap_session *s, const struct runs *uids, uint32_t *out_count)
{
	struct message_expunge args = {
		.account = s->account, .mailbox = s->box->view->watch.mailbox, .uids = uids
	};
	struct message_gone result = { .more = true };
	enum err err = OK;

	while (!err && result.more) {
		struct runs gone = { 0 };

		result.gone = &gone;
		err = message_expunge(imap_store_of(s), &args, &result);
		if (!err && gone.count) {
			imap_wrote(s, result.pos);
			imap_view_gone(s, &gone);
			*out_count += gone.count;
		}
		runs_done(&gone);
	}
	return err;
}

enum verdict imap_do_expunge(struct imap_session *s, const union imap_args *args)
{
	struct runs uids = { 0 };
	struct run_list list;
	uint32_t removed = 0;
	enum err err = OK;

	if (s->run->uid) {
		list = imap_set_as_written(s, &args->expunge.set);
		err = imap_runs_of(list, &uids) ? OK : ERR_NOMEM;
	}
	if (!err && (!s->run->uid || uids.count))
		err = imap_remove_marked(s, s->run->uid ? &uids : NULL, &removed);
	runs_done(&uids);
	if (err)
		return imap_no_err(s, err);
	return removed ? imap_ok_expunged(s) : imap_ok(s);
}
