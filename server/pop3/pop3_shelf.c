/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_shelf.c - snapshots of INBOX, shared by the sessions of a worker that saw the same one.
 *
 * Uids are given once and in order, so an INBOX of the same UIDVALIDITY, next uid and number of messages
 * has the same messages. A snapshot never changes and is gone with its last session. Those who log in to an
 * account look one after the other, so a hundred at once read its holes once. */
#include "server/pop3/pop3_int.h"

#include <stdlib.h>

#include "core/fiber.h"
#include "core/worker.h"
#include "store/message.h"

enum { OPEN_BYTES = 4096 };

/* Of one account. */
struct pop3_place {
	struct map_link link;
	struct map *home; /* of the worker's places */
	uint64_t account;
	struct list snapshots; /* newest first */
	struct fiber_mutex looking;
	uint32_t users; /* snapshots, and those who look */
};

static unsigned slot;

void pop3_init(void)
{
	worker_slot_take(&slot);
}

enum err pop3_worker_start(struct worker *w)
{
	struct map *places = calloc(1, sizeof(*places));

	*worker_slot(w, slot) = places;
	return places ? OK : ERR_NOMEM;
}

void pop3_worker_stop(struct worker *w)
{
	struct map *places = *worker_slot(w, slot);

	if (!places)
		return;
	map_done(places);
	free(places);
	*worker_slot(w, slot) = NULL;
}

/* --- Places --------------------------------------------------------------------------------------- */

static struct pop3_place *use_place(struct worker *w, uint64_t account)
{
	struct map *places = *worker_slot(w, slot);
	uint64_t hash = map_hash_u64(account);
	struct map_link *link = map_find(places, hash);
	struct pop3_place *p;

	for (; link; link = map_find_next(places, link)) {
		p = container_of(link, struct pop3_place, link);
		if (p->account == account) {
			p->users++;
			return p;
		}
	}
	p = calloc(1, sizeof(*p));
	if (!p || !map_insert(places, &p->link, hash)) {
		free(p);
		return NULL;
	}
	p->home = places;
	p->account = account;
	p->users = 1;
	list_init(&p->snapshots);
	return p;
}

static void leave_place(struct pop3_place *p)
{
	if (--p->users)
		return;
	map_remove(p->home, &p->link);
	free(p);
}

/* --- Snapshots ------------------------------------------------------------------------------------ */

static void free_snapshot(struct pop3_snapshot *snap)
{
	runs_done(&snap->uids);
	free(snap);
}

void pop3_snapshot_put(struct pop3_snapshot *snap)
{
	struct pop3_place *p;

	if (!snap || --snap->refs)
		return;
	p = snap->place;
	list_remove(&snap->link);
	free_snapshot(snap);
	leave_place(p);
}

/* Nothing of the account has changed since the newest was read. */
static struct pop3_snapshot *still_good(struct store *st, struct pop3_place *p)
{
	struct list_link *link = list_first(&p->snapshots);
	struct pop3_snapshot *snap = link ? container_of(link, struct pop3_snapshot, link) : NULL;
	struct mailbox_usage usage;

	if (!snap || mailbox_usage(st, p->account, &usage) || usage.changed >= snap->as_of)
		return NULL;
	return snap;
}

static struct pop3_snapshot *find_like(struct pop3_place *p, const struct mailbox *now)
{
	list_each(&p->snapshots, link)
	{
		struct pop3_snapshot *snap = container_of(link, struct pop3_snapshot, link);

		if (snap->uid_validity == now->uid_validity && snap->uid_next == now->uid_next &&
			snap->messages == now->messages)
			return snap;
	}
	return NULL;
}

/* Its row costs little; the holes of a mailbox may be many. */
static enum err find_same(struct store *st, struct pop3_place *p, struct pop3_snapshot **out)
{
	struct arena a = { .chunk_bytes = OPEN_BYTES };
	struct mailbox now;
	enum err err = OK;

	*out = still_good(st, p);
	if (!*out && !list_empty(&p->snapshots)) {
		err = mailbox_find(st, p->account, SLICE("INBOX"), &a, &now);
		if (!err)
			*out = find_like(p, &now);
	}
	if (*out)
		(*out)->refs++;
	arena_done(&a);
	return err;
}

static bool add_open_end(void *arg, const struct message_row *row)
{
	struct pop3_snapshot *snap = arg;

	snap->bytes += row->open_end ? POP3_LINE_END : 0;
	return true;
}

/* RFC 1939 11: sizes are those of what is sent. */
static enum err count_open_ends(struct store *st, struct pop3_snapshot *snap)
{
	struct message_scan scan = { .account = snap->place->account,
		.mailbox = MAILBOX_INBOX,
		.uids = &snap->uids,
		.want = MESSAGE_WANT_UIDL,
		.each = add_open_end,
		.arg = snap };

	return snap->open_ends ? message_scan(st, &scan) : OK;
}

static enum err read_snapshot(struct store *st, struct pop3_place *p, struct pop3_snapshot **out)
{
	struct pop3_snapshot *snap = calloc(1, sizeof(*snap));
	struct arena a = { .chunk_bytes = OPEN_BYTES };
	struct mailbox_opened opened;
	enum err err;

	if (!snap)
		return ERR_NOMEM;
	err = mailbox_open(st, p->account, MAILBOX_INBOX, &a, &opened, &snap->uids);
	arena_done(&a);
	snap->place = p;
	snap->refs = 1;
	if (!err) {
		snap->bytes = opened.mailbox.bytes;
		snap->open_ends = opened.mailbox.open_ends;
		err = count_open_ends(st, snap);
	}
	if (err) {
		free_snapshot(snap);
		return err;
	}
	snap->uid_validity = opened.mailbox.uid_validity;
	snap->uid_next = opened.mailbox.uid_next;
	snap->messages = opened.mailbox.messages;
	snap->as_of = opened.as_of;
	list_push_front(&p->snapshots, &snap->link);
	p->users++;
	*out = snap;
	return OK;
}

enum err pop3_snapshot_get(struct door *door, uint64_t account, struct pop3_snapshot **out)
{
	enum err err = store_sync_all(door->store, account);
	struct pop3_place *p = err ? NULL : use_place(door->w, account);

	if (!p)
		return err ? err : ERR_NOMEM;
	err = fiber_mutex_lock(&p->looking, FIBER_FOREVER);
	if (!err) {
		err = find_same(door->store, p, out);
		if (!err && !*out)
			err = read_snapshot(door->store, p, out);
		fiber_mutex_unlock(&p->looking);
	}
	leave_place(p);
	return err;
}
