/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_drop.c - the maildrop: a snapshot of INBOX, and what becomes of it at QUIT. */
#include "server/pop3/pop3_int.h"

#include <stdlib.h>

#include "core/metric.h"
#include "store/message.h"

enum fault pop3_drop_open(struct pop3_session *s, uint64_t account, slice domain)
{
	struct door *door = s->head.door;
	struct pop3_drop *d = calloc(1, sizeof(*d));
	enum err err;

	if (!d)
		return FAULT_BUSY;
	d->account = account;
	s->drop = d;
	err = pop3_snapshot_get(door, account, &d->snap);
	if (err == ERR_NOT_FOUND) { /* its making was interrupted */
		err = mailbox_account_init(door->store, account, domain);
		if (!err)
			err = pop3_snapshot_get(door, account, &d->snap);
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
	pop3_snapshot_put(s->drop->snap);
	pop3_marks_done(&s->drop->deleted);
	free(s->drop);
	s->drop = NULL;
}

uint32_t pop3_drop_count(const struct pop3_drop *d)
{
	return d->snap->uids.count - d->deleted.count;
}

uint32_t pop3_drop_uid(const struct pop3_drop *d, uint32_t number)
{
	uint32_t uid = runs_nth(&d->snap->uids, number);

	return uid && !pop3_marks_has(&d->deleted, number) ? uid : 0;
}

/* As many as one change should name, so that the set stays small. *number: where the next begin. */
static enum err take_marked(const struct pop3_drop *d, uint32_t *number, struct runs *out)
{
	for (; *number && out->count < MESSAGE_CHANGE_MAX;
		*number = pop3_marks_next(&d->deleted, *number + 1))
		if (!runs_add(out, runs_nth(&d->snap->uids, *number)))
			return ERR_NOMEM;
	return OK;
}

/* A message another session removed meanwhile is passed over by the store. *pos: of the last that went. */
static enum err remove_some(struct pop3_session *s, const struct runs *uids, modseq *pos)
{
	struct message_expunge args = {
		.account = s->drop->account, .mailbox = MAILBOX_INBOX, .uids = uids, .any = true
	};
	struct runs gone = { 0 };
	struct message_gone result = { .gone = &gone, .more = true };
	enum err err = OK;

	while (!err && result.more)
		err = message_expunge(s->head.door->store, &args, &result);
	if (gone.count)
		*pos = result.pos;
	s->removed += gone.count;
	runs_done(&gone);
	return err;
}

enum err pop3_drop_update(struct pop3_session *s)
{
	struct pop3_drop *d = s->drop;
	uint32_t number = pop3_marks_next(&d->deleted, 1);
	modseq pos = 0;
	enum err err = OK;

	while (!err && number) {
		struct runs uids = { 0 };

		err = take_marked(d, &number, &uids);
		if (!err)
			err = remove_some(s, &uids, &pos);
		runs_done(&uids);
	}
	/* Other sessions see it too when this one is told. */
	if (!err && pos)
		err = store_sync(s->head.door->store, d->account, pos);
	metric_add(&pop3_metrics, POP3_METRIC_DELETED, s->removed);
	return err;
}
