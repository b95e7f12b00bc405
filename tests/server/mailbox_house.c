/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mailbox_house.c - a store for house.c, and doubles of what only POP3 and IMAP call. */
#include "tests/server/mailbox_house.h"

#include <stdlib.h>

#include "core/base/runs.h"
#include "core/post.h"
#include "core/worker.h"
#include "proto/mime/summary.h"
#include "server/imap/imap_session.h"
#include "server/pop3/pop3_session.h"
#include "server/seat.h"
#include "store/account.h"
#include "store/mailbox.h"
#include "store/message.h"
#include "store/store.h"
#include "store/watch.h"
#include "tests/support/tmpdir.h"

static struct tmpdir place;
static struct store *store;
static void *slots[64];
static uint64_t account;
static unsigned next_slot;

static void open_store(void)
{
	struct store_options options = store_options_default();
	struct store_open args = { .options = &options };
	enum err err;

	setenv("TMPDIR", "/dev/shm", 0); /* an index that syncs for nobody is quicker there */
	tmpdir_make(&place);
	options.path = place.path;
	options.segment_bytes = 1 << 20;
	options.map_bytes = 4 << 20;
	options.shards = 1;
	options.nosync = true;
	options.gather_ms = 0;
	err = store_open(&args, &store);
	must(err == OK);
	atexit(house_done);
}

static bool is_pop3(enum door_kind service)
{
	return service == SERVICE_POP3 || service == SERVICE_POP3S;
}

bool house_serves(enum door_kind service)
{
	return is_pop3(service) || service == SERVICE_IMAP || service == SERVICE_IMAPS;
}

void house_furnish(void)
{
	enum err err;

	if (!store)
		open_store();
	house.door.store = store;
	account++;
	err = mailbox_account_init(store, account, SLICE("own.test"));
	must(err == OK);
	imap_init();
	pop3_init();
	seat_init();
	if (!slots[1]) {
		err = imap_worker_start(NULL);
		must(err == OK);
		err = pop3_worker_start(NULL);
		must(err == OK);
		err = seat_worker_start(NULL);
	}
	must(err == OK);
}

void house_done(void)
{
	if (!store)
		return;
	imap_worker_stop(NULL);
	pop3_worker_stop(NULL);
	seat_worker_stop(NULL);
	store_close(store);
	tmpdir_remove(&place);
	store = NULL;
}

uint64_t mailbox_house_account(void)
{
	return account;
}

bool house_deliver(slice message)
{
	struct deliver_target target = {
		.account = account, .mailbox = MAILBOX_INBOX, .received = 1700000000000
	};
	struct out row = out_heap(1 << 20);
	struct arena a = { 0 };
	struct blob_writer body;
	struct blob_ref ref;
	struct summary made;
	enum err err;

	summary_make(message, &row);
	if (summary_open(out_written(&row), &made))
		target.open_end = made.open_end;
	struct deliver deliver = {
		.summary = out_written(&row), .targets = &target, .target_count = 1
	};
	struct store_message msg = { .body = &body, .deliver = &deliver, .at = 1700000000000 };

	blob_begin(&body, store);
	err = blob_write(&body, message);
	must(err == OK);
	err = store_message_append(store, &msg, &ref);
	must(err == OK);
	store_release(store, &ref);
	err = store_sync_all(store, account);
	must(err == OK);
	out_heap_done(&row);
	arena_done(&a);
	return true;
}

void house_session_start(struct door *door, int fd, const struct addr *peer)
{
	if (is_pop3(door->service))
		pop3_session_start(door, fd, peer);
	else
		imap_session_start(door, fd, peer);
}

/* --- Doubles ------------------------------------------------------------------------------------- */

void worker_slot_take(unsigned *slot)
{
	if (!*slot)
		*slot = ++next_slot;
}

void **worker_slot(struct worker *w, unsigned slot)
{
	return &slots[slot];
}

void post_to(unsigned worker, struct post *post)
{
	post->run(NULL, post);
}

void post_call(unsigned worker, void (*fn)(struct worker *w, void *arg), void *arg)
{
	fn(NULL, arg);
}

void watch_add(struct store *st, struct watch *watch)
{
}

void watch_remove(struct store *st, struct watch *watch)
{
}

const struct account *account_find(struct store *st, slice local, slice domain, enum err *failed)
{
	static struct account found;

	*failed = OK;
	found = (struct account){ .local = SLICE("alice"),
		.domain = SLICE("own.test"),
		.id = account,
		.quota_bytes = 1 << 20,
		.quota_messages = 1000 };
	return &found;
}

uint32_t mailbox_house_expunge(uint32_t first, uint32_t last, modseq *out_pos)
{
	struct runs uids = { 0 }, gone = { 0 };
	struct message_expunge args = { .account = mailbox_house_account(),
		.mailbox = MAILBOX_INBOX,
		.uids = &uids,
		.any = true };
	struct message_gone result = { .gone = &gone };
	uint32_t count;

	must(runs_add_range(&uids, first, last));
	must(message_expunge(house.door.store, &args, &result) == OK);
	count = gone.count;
	runs_done(&uids);
	runs_done(&gone);
	if (out_pos)
		*out_pos = result.pos;
	return count;
}

void mailbox_house_play(slice bytes, struct mailbox_house_play *play)
{
	while (bytes.len && !house_closed()) {
		size_t piece = feed_segment(bytes, play->cut, &play->seed);

		house_send(slice_sub(bytes, 0, piece));
		bytes = slice_skip(bytes, piece);
		play->look(play->arg, house_replies());
	}
	play->look(play->arg, house_replies());
}
