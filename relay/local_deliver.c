/* SPDX-License-Identifier: GPL-2.0-or-later */
/* local_deliver.c - a plan as the store takes it: rows of targets, and what is spliced before each.
 *
 * Only here something may wait, and only for accounts without mailboxes and for folders. */
#include "relay/local.h"

#include "core/base/text.h"
#include "proto/mime/summary.h"
#include "store/message.h"

/* RFC 5321 4.4: Return-Path is written where mail comes to rest; the other field catches loops. */
slice local_splice(struct local *l, slice sender, const struct local_target *t)
{
	return arena_printf(l->arena, "Return-Path: <%.*s>\r\nDelivered-To: %.*s\r\n",
		SLICE_ARG(sender), SLICE_ARG(t->address));
}

/* A folder that is not there, or no name at all, is the INBOX. It is looked for as it was written, then
 * in lower case: many write addresses as they please. */
static enum err find_folder(struct local *l, const struct local_target *t, uint32_t *out)
{
	struct mailbox m = { 0 };
	enum err err;

	*out = 0;
	if (!t->folder.len || t->bare)
		return OK;
	err = mailbox_find(l->store, t->account, t->folder, l->arena, &m);
	if (err == ERR_NOT_FOUND) {
		slice lower = arena_dup(l->arena, t->folder);

		text_lower_all((char *)(uintptr_t)lower.ptr, lower.len);
		err = mailbox_find(l->store, t->account, lower, l->arena, &m);
	}
	if (!err)
		*out = m.id;
	return err == ERR_NOT_FOUND || err == ERR_INVALID ? OK : err;
}

/* What the summary says of all of them. */
static void add_known(struct local *l, slice row, struct deliver *d, struct deliver_target *targets)
{
	uint64_t *keys = arena_array(l->arena, uint64_t, SUMMARY_REFS_MAX + 1);
	struct summary s;

	if (!row.len || !summary_open(row, &s))
		return;
	d->thread_key_count = MIN(summary_thread_keys(&s, keys), (unsigned)MESSAGE_THREAD_KEYS_MAX);
	d->thread_keys = keys;
	for (size_t i = 0; i < d->target_count; i++)
		targets[i].open_end = s.open_end;
}

enum err local_deliver(struct local *l, const struct local_mail *mail, const struct deliver **out)
{
	struct deliver *d = arena_new(l->arena, struct deliver);
	struct deliver_target *rows = arena_array(l->arena, struct deliver_target, l->target_count);
	enum err err = OK;

	*d = (struct deliver){ .targets = rows };
	for (size_t i = 0; i < l->target_count && !err; i++) {
		const struct local_target *t = &l->targets[i];
		struct deliver_target *row = &rows[d->target_count];

		if (t->full)
			continue;
		d->target_count++;
		*row = (struct deliver_target){ .account = t->account,
			.splice = local_splice(l, mail->sender, t),
			.received = mail->received };
		if (t->bare)
			err = mailbox_account_init(l->store, t->account, t->domain);
		if (!err)
			err = find_folder(l, t, &row->mailbox);
	}
	add_known(l, mail->summary, d, rows);
	if (mail->summary.len <= MESSAGE_SUMMARY_MAX)
		d->summary = mail->summary;
	*out = d;
	return err;
}
