/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_status.c - STATUS, and the same items behind LIST (RFC 5819). */
#include "server/imap/imap_int.h"

#include "proto/imap/render.h"
#include "store/message.h"

void imap_put_mailbox_id(struct imap_session *s, struct out *o, uint32_t mailbox)
{
	/* RFC 8474 4.2: no id is like one of another kind; M begins those of messages, T of threads. */
	out_printf(o, "MAILBOXID (F%llx-%x)", (unsigned long long)s->account, mailbox);
}

struct status_of {
	const struct mailbox *mailbox;
	unsigned items;
	uint64_t deleted_bytes;
};

/* --- DELETED-STORAGE (RFC 9208 4.1.4) ----------------------------------------------------------
 *
 * A sum of message sizes, so in octets: units of 1024 are those of the STORAGE resource (5.1) alone. */

static bool add_deleted(void *arg, const struct message_row *row)
{
	if (row->m.flags & MESSAGE_DELETED)
		*(uint64_t *)arg += row->m.size;
	return true;
}

static enum err deleted_bytes(struct imap_session *s, const struct mailbox *m, uint64_t *out)
{
	struct message_scan scan = {
		.account = s->account, .mailbox = m->id, .each = add_deleted, .arg = out
	};

	*out = 0;
	return m->deleted ? message_scan(imap_store_of(s), &scan) : OK;
}

static uint64_t value_of(const struct imap_session *s, const struct status_of *of, unsigned item)
{
	const struct mailbox *m = of->mailbox;

	switch (item) {
	case IMAP_STATUS_MESSAGES:
		return m->messages;
	case IMAP_STATUS_UIDNEXT:
		return m->uid_next;
	case IMAP_STATUS_UIDVALIDITY:
		return m->uid_validity;
	case IMAP_STATUS_UNSEEN:
		return m->unseen;
	case IMAP_STATUS_DELETED:
		return m->deleted;
	case IMAP_STATUS_SIZE:
		return m->bytes;
	case IMAP_STATUS_HIGHESTMODSEQ:
		return m->highest;
	case IMAP_STATUS_APPENDLIMIT:
		return (uint64_t)s->head.setup->imap->append_max;
	case IMAP_STATUS_DELETED_STORAGE:
		return of->deleted_bytes;
	default: /* RECENT: nobody is the first to see a message */
		return 0;
	}
}

static void put_status(struct imap_session *s, struct out *o, const struct status_of *of)
{
	const char *gap = "";

	out_str(o, "* STATUS ");
	imap_put_mailbox(o, of->mailbox->name, imap_utf8(s));
	out_str(o, " (");
	for (unsigned item = 1; item <= of->items; item <<= 1) {
		if (!(of->items & item))
			continue;
		out_str(o, gap);
		gap = " ";
		if (item == IMAP_STATUS_MAILBOXID)
			imap_put_mailbox_id(s, o, of->mailbox->id);
		else
			out_printf(o, "%.*s %llu", SLICE_ARG(imap_status_name(item)),
				(unsigned long long)value_of(s, of, item));
	}
	out_str(o, ")\r\n");
}

enum err imap_tell_status(struct imap_session *s, const struct mailbox *m, unsigned items)
{
	struct status_of of = { .mailbox = m, .items = items };
	enum err err = OK;

	if (items & IMAP_STATUS_DELETED_STORAGE)
		err = deleted_bytes(s, m, &of.deleted_bytes);
	if (!err)
		put_status(s, imap_out(s), &of);
	return err;
}

enum verdict imap_do_status(struct imap_session *s, const union imap_args *args)
{
	struct store *st = imap_store_of(s);
	struct mailbox m;
	enum err err = store_sync_all(st, s->account);

	if (!err)
		err = mailbox_find(st, s->account, args->status.mailbox, &s->arena, &m);
	if (!err && !m.id)
		err = ERR_NOT_FOUND;
	if (!err && (args->status.items & IMAP_STATUS_HIGHESTMODSEQ))
		imap_enable_condstore(s); /* RFC 7162 3.1 */
	if (!err)
		err = imap_tell_status(s, &m, args->status.items);
	return err ? imap_no_err(s, err) : imap_ok(s);
}
