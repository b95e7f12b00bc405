/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_copy.c - COPY, MOVE (RFC 6851), and what else asks for a mailbox to put messages into.
 *
 * Copies are made by one record: all of them or none. */
#include "server/imap/imap_int.h"

#include "core/conf.h"
#include "proto/imap/mutf7.h"
#include "relay/local.h"
#include "store/account.h"
#include "store/message.h"

/* --- Where to ------------------------------------------------------------------------------------- */

static enum err find(struct imap_session *s, slice name, struct mailbox *m)
{
	enum err err = mailbox_find(imap_store_of(s), s->account, name, &s->arena, m);

	return !err && !m->id ? ERR_NOT_FOUND : err;
}

enum err imap_find_destination(struct imap_session *s, slice name, uint32_t *out)
{
	struct mailbox m = { .id = MAILBOX_INBOX };
	enum err err = imap_name_is_inbox(name) ? OK : find(s, name, &m);

	*out = m.id;
	return err;
}

enum verdict imap_no_destination(struct imap_session *s, enum err err)
{
	if (err == ERR_NOT_FOUND || err == ERR_INVALID)
		return imap_no(s, IMAP_CODE_TRYCREATE, "There is no such mailbox");
	return imap_no_err(s, err);
}

static enum err find_account(struct imap_session *s, struct local_room *room)
{
	slice name = slice_str(s->name);
	size_t at = (size_t)slice_rfind(name, '@'); /* login.h: there is one */
	enum err err = OK;

	room->store = imap_store_of(s);
	room->options = conf_options(s->head.setup->conf, &local_conf);
	room->account =
		account_find(room->store, slice_sub(name, 0, at), slice_skip(name, at + 1), &err);
	return room->account ? OK : err ? err : ERR_DENIED; /* removed meanwhile */
}

enum err imap_has_room(struct imap_session *s, const struct room_sum *before)
{
	struct local_room room = { .before = *before };
	enum err err = find_account(s, &room);

	if (!err)
		err = local_has_room(&room);
	if (err != ERR_QUOTA)
		return err;
	err = store_sync_everything(imap_store_of(s)); /* what was freed may not be seen yet */
	if (!err)
		err = find_account(s, &room);
	return err ? err : local_has_room(&room);
}

enum err imap_take_room(struct imap_session *s, const struct room_sum *before,
	const struct room_sum *all, struct room **out)
{
	struct local_room room = { .before = *before };
	enum err err = find_account(s, &room);

	*out = NULL;
	return err ? err : local_take_room(&room, all, out);
}

enum err imap_came(struct imap_session *s, uint32_t mailbox, modseq pos)
{
	enum err err;

	imap_wrote(s, pos);
	if (!s->box || s->box->view->watch.mailbox != mailbox)
		return OK;
	err = store_sync(imap_store_of(s), s->account, pos);
	s->box->view->stale = true; /* the notice may still be on its way */
	return err;
}

/* --- COPY and MOVE -------------------------------------------------------------------------------- */

/* A longer code is left out, which RFC 4315 3 allows: it does no client any good. */
enum { COPYUID_MAX = 1024 * 1024 };

static slice copyuid(struct imap_session *s, const struct message_copied *done)
{
	struct out o = out_arena(&s->arena);

	if (!done->source->count)
		return SLICE("");
	out_printf(&o, "COPYUID %u ", done->uid_validity);
	imap_put_runs_of(&o, done->source, 1, UINT32_MAX);
	out_printf(&o, " %u", done->first_uid);
	if (done->source->count > 1)
		out_printf(&o, ":%u", done->first_uid + done->source->count - 1);
	return o.len <= COPYUID_MAX ? out_written(&o) : SLICE("");
}

/* RFC 6851 4.3: COPYUID before the first message goes. */
static enum verdict moved(struct imap_session *s, const struct message_copied *done)
{
	slice code = copyuid(s, done);

	if (code.len)
		out_printf(imap_out(s), "* OK [%.*s] Moved\r\n", SLICE_ARG(code));
	imap_view_gone(s, done->source);
	return imap_ok_expunged(s);
}

static enum verdict run(struct imap_session *s, const struct message_copy *copy)
{
	struct runs source = { 0 };
	struct message_copied done = { .source = &source };
	struct local_room account = { .before = { 0 } };
	struct room *room = NULL;
	enum verdict verdict;
	enum err err = find_account(s, &account);

	if (!err)
		err = local_take_copy(&account, copy, &room);
	if (!err)
		err = message_copy(imap_store_of(s), copy, &done);
	room_end(room, done.pos);
	if (!err && source.count)
		err = imap_came(s, copy->to, done.pos);
	if (err)
		verdict = imap_no_destination(s, err);
	else if (copy->move && source.count)
		verdict = moved(s, &done);
	else
		verdict = imap_ok_code(s, copyuid(s, &done));
	runs_done(&source);
	return verdict;
}

static enum verdict transfer(struct imap_session *s, const struct imap_copy *args, bool move)
{
	struct runs uids = { 0 };
	struct message_copy copy = { .account = s->account,
		.from = s->box->view->watch.mailbox,
		.uids = &uids,
		.move = move };
	struct run_list list;
	bool gone = false;
	enum verdict verdict;
	enum err err;

	if (!imap_set_to_uids(s, &args->set, &list, &gone))
		return imap_bad(s, "There is no message with such a number");
	if (gone && !s->run->uid) /* all or none (RFC 9051 6.4.7), so none */
		return imap_no(s, IMAP_CODE_EXPUNGEISSUED, "Some messages are not there any more");
	err = imap_find_destination(s, args->mailbox, &copy.to);
	if (err)
		return imap_no_destination(s, err);
	if (!imap_runs_of(list, &uids))
		verdict = imap_no_err(s, ERR_NOMEM);
	else
		verdict = uids.count ? run(s, &copy) : imap_ok(s);
	runs_done(&uids);
	return verdict;
}

enum verdict imap_do_copy(struct imap_session *s, const union imap_args *args)
{
	return transfer(s, &args->copy, false);
}

enum verdict imap_do_move(struct imap_session *s, const union imap_args *args)
{
	return transfer(s, &args->copy, true);
}
