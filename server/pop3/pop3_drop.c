/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_drop.c - the maildrop: a snapshot of INBOX, and what becomes of it at QUIT. */
#include "server/pop3/pop3_int.h"

#include <stdlib.h>

#include "core/metric.h"
#include "store/message.h"

enum { OPEN_BYTES = 4096 };

static enum err read_drop(struct store *st, struct pop3_drop *d)
{
	struct mailbox_opened opened;
	struct arena a = { .chunk_bytes = OPEN_BYTES };
	enum err err = store_sync_all(st, d->account);

	if (!err)
		err = mailbox_open(st, d->account, MAILBOX_INBOX, &a, &opened, &d->uids);
	if (!err)
		d->bytes = opened.mailbox.bytes;
	arena_done(&a);
	return err;
}

enum fault pop3_drop_open(struct pop3_session *s, uint64_t account, slice domain)
{
	struct store *st = s->head.door->store;
	struct pop3_drop *d = calloc(1, sizeof(*d));
	enum err err;

	if (!d)
		return FAULT_BUSY;
	d->account = account;
	s->drop = d;
	err = read_drop(st, d);
	if (err == ERR_NOT_FOUND) { /* its making was interrupted */
		err = mailbox_account_init(st, account, domain);
		if (!err)
			err = read_drop(st, d);
	}
	if (!err)
		return FAULT_NONE;
	pop3_drop_free(s);
	return FAULT_INTERNAL;
}

void pop3_drop_free(struct pop3_session *s)
{
	if (!s->drop)
		return;
	runs_done(&s->drop->uids);
	runs_done(&s->drop->deleted);
	free(s->drop);
	s->drop = NULL;
}

uint32_t pop3_drop_count(const struct pop3_drop *d)
{
	return d->uids.count - d->deleted.count;
}

uint32_t pop3_drop_uid(const struct pop3_drop *d, uint32_t number)
{
	uint32_t uid = runs_nth(&d->uids, number);

	return uid && !runs_has(&d->deleted, uid) ? uid : 0;
}

/* A message another session removed meanwhile is passed over by the store. */
enum err pop3_drop_update(struct pop3_session *s)
{
	struct store *st = s->head.door->store;
	struct message_expunge args = { .account = s->drop->account,
		.mailbox = MAILBOX_INBOX,
		.uids = &s->drop->deleted,
		.any = true };
	struct runs gone = { 0 };
	struct message_gone result = { .gone = &gone, .more = true };
	enum err err = OK;

	while (!err && result.more)
		err = message_expunge(st, &args, &result);
	/* Other sessions see it too when this one is told. */
	if (!err && gone.count)
		err = store_sync(st, s->drop->account, result.pos);
	s->removed = gone.count;
	metric_add(&pop3_metrics, POP3_METRIC_DELETED, gone.count);
	runs_done(&gone);
	return err;
}
