/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_folder.c - CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. */
#include "server/imap/imap_int.h"

#include "proto/imap/mutf7.h"
#include "store/mailbox.h"

static enum verdict end(struct imap_session *s, enum err err, modseq pos)
{
	if (err)
		return imap_no_err(s, err);
	imap_wrote(s, pos);
	return imap_ok(s);
}

enum verdict imap_do_create(struct imap_session *s, const union imap_args *args)
{
	/* \All, \Flagged and \Important would be views of other mailboxes (RFC 6154 2). */
	const unsigned may =
		IMAP_USE_DRAFTS | IMAP_USE_SENT | IMAP_USE_JUNK | IMAP_USE_TRASH | IMAP_USE_ARCHIVE;
	struct mailbox_create create = {
		.account = s->account, .name = args->create.mailbox, .use = args->create.use
	};
	struct out code = out_arena(&s->arena);
	uint32_t id = 0;
	modseq pos = 0;
	enum err err;

	if (create.use & ~may || args->create.use_unknown)
		return imap_no(s, IMAP_CODE_USEATTR, "No mailbox can have this use here");
	if (imap_name_is_inbox(create.name))
		return imap_no_err(s, ERR_EXISTS);
	err = mailbox_create(imap_store_of(s), &create, &id, &pos);
	if (err)
		return imap_no_err(s, err);
	imap_wrote(s, pos);
	imap_put_mailbox_id(s, &code, id);
	return imap_ok_code(s, out_written(&code));
}

enum verdict imap_do_delete(struct imap_session *s, const union imap_args *args)
{
	modseq pos = 0;
	enum err err = mailbox_delete(imap_store_of(s), s->account, args->mailbox.name, &pos);

	if (err == ERR_DENIED)
		return imap_no(s, IMAP_CODE_CANNOT, "There is always an INBOX");
	return end(s, err, pos);
}

enum verdict imap_do_rename(struct imap_session *s, const union imap_args *args)
{
	struct mailbox_rename names = {
		.account = s->account, .from = args->rename.from, .to = args->rename.to
	};
	modseq pos = 0;
	enum err err;

	if (imap_name_is_inbox(names.to))
		return imap_no_err(s, ERR_EXISTS);
	err = mailbox_rename(imap_store_of(s), &names, &pos);
	return end(s, err, pos);
}

static enum verdict subscribe(struct imap_session *s, slice name, bool on)
{
	return end(s, mailbox_subscribe(imap_store_of(s), s->account, name, on), 0);
}

enum verdict imap_do_subscribe(struct imap_session *s, const union imap_args *args)
{
	return subscribe(s, args->mailbox.name, true);
}

enum verdict imap_do_unsubscribe(struct imap_session *s, const union imap_args *args)
{
	return subscribe(s, args->mailbox.name, false);
}
