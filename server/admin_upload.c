/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_upload.c - whole messages in, as they are, beside the JSON.
 *
 * Small ones come many in a request and are stored side by side, so that they share a write of the journal; the
 * pieces of a large one follow each other on one connection, which keeps the unfinished one. All go the
 * road of every body, so none is ever whole in memory. A message brings a key, kept as its UIDL: whoever was
 * interrupted asks for the keys behind a uid, and knows what has arrived. */
#include "server/admin_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "core/fiber.h"
#include "core/worker.h"
#include "relay/local.h"
#include "server/admin_mailbox.h"
#include "server/summing.h"
#include "store/blob.h"
#include "store/message.h"
#include "store/store.h"

enum { MANY = 64, KEYS_PAGE = 1000, NAME_BYTES = 512 };

/* --- One message ------------------------------------------------------------------------------------ */

/* Zeroed, or the address is fixed: others know the body by it. */
struct coming {
	struct arena arena;
	struct blob_writer body;
	struct summing summing;
	struct admin_flags flags;
	struct deliver_target target;
};

/* What a connection has begun: a mailbox to fill, and perhaps a message. */
struct admin_upload {
	uint64_t account;
	uint32_t mailbox;
	struct coming now;     /* summing.body NULL: none */
	char name[NAME_BYTES]; /* of the account */
};

static json_t *begin_message(struct admin *admin, const json_t *request, struct coming *m)
{
	const struct admin_upload *up = *admin->upload;
	slice uidl = admin_text(request, "key");
	uint64_t received = 0;

	m->flags = (struct admin_flags){ 0 };
	if (!admin_flags(admin_text(request, "flags"), &m->flags) || uidl.len > MESSAGE_UIDL_MAX)
		return admin_error("flags or key are no such thing");
	if (json_object_get(request, "received") && !admin_number(request, "received", &received))
		return admin_error("received is no time");
	m->target = (struct deliver_target){ .account = up->account,
		.mailbox = up->mailbox,
		.flags = m->flags.flags,
		.uidl = arena_dup(&m->arena, uidl),
		.received = received ? (wall_ms)received : admin_now(admin) };
	blob_begin(&m->body, admin->store);
	summing_begin(&m->summing, &m->body);
	return NULL;
}

static enum err add_bytes(struct coming *m, slice bytes)
{
	summing_add(&m->summing, bytes);
	return blob_write_wait(&m->body, bytes);
}

static enum err store_message(struct admin *admin, struct coming *m)
{
	struct out row = out_arena(&m->arena);
	uint64_t keys[SUMMARY_REFS_MAX + 1];
	struct deliver deliver = { .targets = &m->target, .target_count = 1, .thread_keys = keys };
	struct store_message msg = {
		.body = &m->body, .deliver = &deliver, .at = admin_now(admin)
	};
	struct room_sum all = { .bytes = m->body.size, .messages = 1 };
	struct blob_ref ref = { 0 };
	struct local_room account;
	struct room *room = NULL;
	struct summary s;
	enum err err = summing_end(&m->summing, &row);

	m->target.keywords = slice_of(m->flags.keywords, m->flags.len);
	if (summary_open(out_written(&row), &s)) {
		deliver.thread_key_count =
			MIN(summary_thread_keys(&s, keys), (unsigned)MESSAGE_THREAD_KEYS_MAX);
		m->target.open_end = s.open_end;
	}
	if (row.len <= MESSAGE_SUMMARY_MAX)
		deliver.summary = out_written(&row);
	if (!err)
		err = admin_room(admin, slice_str((*admin->upload)->name), &account);
	if (!err)
		err = local_take_room(&account, &all, &room);
	if (!err)
		err = store_message_append(admin->store, &msg, &ref);
	room_end(room, ref.id);
	if (!err) /* the row holds it */
		store_release(admin->store, &ref);
	return err;
}

static void end_message(struct coming *m)
{
	summing_drop(&m->summing);
	if (m->body.store)
		blob_drop(&m->body);
	arena_done(&m->arena);
}

/* --- The mailbox to fill ------------------------------------------------------------------------------ */

static void free_upload(void *arg)
{
	struct admin_upload *up = arg;

	end_message(&up->now);
	free(up);
}

void admin_upload_drop(struct admin_upload *up)
{
	struct worker *w = worker_self();

	/* Chunks on their way to the disk name its memory: a fiber waits for them. */
	if (!up)
		return;
	if (!w || fiber_self() || !up->now.body.chunk_count)
		free_upload(up);
	else if (fiber_start(w, free_upload, up))
		blob_drop(&up->now.body); /* better lost than used twice */
}

static void drop_session(struct admin *admin)
{
	struct admin_upload *up = *admin->upload;

	*admin->upload = NULL;
	admin_upload_drop(up);
}

static json_t *begin_session(struct admin *admin, const struct admin_place *at, slice name)
{
	struct admin_upload *up = calloc(1, sizeof(*up));

	drop_session(admin);
	if (!up)
		return admin_error("%s", err_text(ERR_NOMEM));
	snprintf(up->name, sizeof(up->name), "%.*s", SLICE_ARG(name));
	up->account = at->account;
	up->mailbox = at->mailbox.id;
	*admin->upload = up;
	return json_pack("{s:I}", "uid_next", (json_int_t)at->mailbox.uid_next);
}

/* The mailbox, made if it is not there, and where its next message goes. */
static json_t *import_begin(struct admin *admin, json_t *request)
{
	struct mailbox_create create = { .name = admin_text(request, "mailbox") };
	struct admin_place at;
	json_t *answer;
	modseq pos = 0;
	uint32_t id;
	enum err err;

	json_t *bare = json_pack("{s:O}", "name", json_object_get(request, "name"));

	answer = bare ? admin_place(admin, bare, &at) : admin_error("name is missing");
	json_decref(bare);
	if (answer)
		return answer;
	create.account = at.account;
	err = mailbox_create(admin->store, &create, &id, &pos);
	if (err && err != ERR_EXISTS)
		return admin_result(err, "mailbox", create.name);
	answer = admin_place(admin, request, &at);
	if (!answer && !at.mailbox.id)
		answer = admin_error("mailbox is missing");
	if (!answer)
		answer = begin_session(admin, &at, admin_text(request, "name"));
	return answer;
}

/* On a helper thread. */
static bool add_key(void *arg, const struct message_row *row)
{
	json_t *keys = arg;

	if (json_array_size(keys) == KEYS_PAGE)
		return false;
	json_array_append_new(keys, admin_slice(row->uidl));
	return true;
}

static json_t *import_keys(struct admin *admin, json_t *request)
{
	json_t *keys, *answer;
	struct message_scan scan = { .want = MESSAGE_WANT_UIDL, .each = add_key };
	struct admin_place at;
	uint64_t from = 0;
	enum err err;

	answer = admin_place(admin, request, &at);
	if (answer)
		return answer;
	if (!admin_number(request, "from", &from) || from > UINT32_MAX)
		return admin_error("not a message number");
	keys = json_array();
	scan.arg = keys;
	scan.account = at.account;
	scan.mailbox = at.mailbox.id;
	scan.from = (uint32_t)from;
	err = message_scan(admin->store, &scan);
	if (err) {
		json_decref(keys);
		return admin_result(err, "messages of", at.mailbox.name);
	}
	answer = json_pack("{s:o}", "keys", keys);
	if (scan.next)
		json_object_set_new(answer, "next", json_integer(scan.next));
	return answer;
}

/* --- Messages ----------------------------------------------------------------------------------------- */

/* In pieces. The first one names the message (or a new one, when the last was never ended); each says
 * whether more come. */
static json_t *import_message(struct admin *admin, json_t *request)
{
	struct admin_upload *up = *admin->upload;
	slice key = admin_text(request, "key");
	json_t *answer = NULL;
	enum err err;

	if (!up || (!key.len && !up->now.summing.body))
		return admin_error("nothing was begun");
	if (key.len) {
		end_message(&up->now);
		answer = begin_message(admin, request, &up->now);
	}
	if (answer)
		return answer;
	err = add_bytes(&up->now, admin->data);
	if (!err && admin_flag(request, "more"))
		return json_object();
	if (!err)
		err = store_message(admin, &up->now);
	answer = admin_result(err, "message", key);
	end_message(&up->now);
	return answer;
}

/* Whole ones that came together. */
struct lot {
	struct admin *admin;
	json_t *answer; /* NULL: all is well; else the first error */
	unsigned running;
	struct fiber_wait *waiting;
};
struct lot_message {
	struct lot *lot;
	const json_t *request;
	slice bytes;
	struct coming m;
};

static void store_one(void *arg)
{
	struct lot_message *lm = arg;
	struct lot *lot = lm->lot;
	json_t *answer = begin_message(lot->admin, lm->request, &lm->m);
	enum err err = answer ? OK : add_bytes(&lm->m, lm->bytes);

	if (!answer && !err)
		err = store_message(lot->admin, &lm->m);
	if (err)
		answer = admin_result(err, "message", admin_text(lm->request, "key"));
	end_message(&lm->m);
	if (lot->answer)
		json_decref(answer);
	else
		lot->answer = answer;
	if (!--lot->running && lot->waiting)
		fiber_wake(lot->waiting, OK);
}

/* Each on a fiber: they are appended in order, and wait for the disk together. */
static void store_lot(struct lot *lot, struct lot_message *messages, size_t len)
{
	struct fiber_wait wait = { 0 };

	lot->running = 1;
	for (size_t i = 0; i < len && !lot->answer; i++) {
		lot->running++;
		if (fiber_start(lot->admin->w, store_one, &messages[i]))
			store_one(&messages[i]);
	}
	lot->waiting = &wait;
	if (--lot->running)
		(void)fiber_wait_through(&wait);
}

static bool cut_lot(struct lot *lot, json_t *list, struct lot_message *out)
{
	slice left = lot->admin->data;
	json_t *request;
	size_t i;

	json_array_foreach(list, i, request)
	{
		uint64_t size = 0;

		if (!admin_number(request, "size", &size) || size > left.len)
			return false;
		out[i] = (struct lot_message){
			.lot = lot, .request = request, .bytes = slice_sub(left, 0, (size_t)size)
		};
		left = slice_skip(left, (size_t)size);
	}
	return !left.len;
}

static json_t *import_messages(struct admin *admin, json_t *request)
{
	json_t *list = json_object_get(request, "messages");
	struct lot lot = { .admin = admin };
	struct lot_message *messages;

	if (!*admin->upload)
		return admin_error("nothing was begun");
	if (json_array_size(list) > MANY)
		return admin_error("too many messages");
	messages = calloc(json_array_size(list) + 1, sizeof(*messages));
	if (!messages)
		return admin_error("%s", err_text(ERR_NOMEM));
	if (cut_lot(&lot, list, messages))
		store_lot(&lot, messages, json_array_size(list));
	else
		lot.answer = admin_error("the sizes are not those of the bytes");
	free(messages);
	return lot.answer ? lot.answer : json_object();
}

/* Storing wants a worker, so that a long import can free the journal behind it. */
const struct admin_row admin_upload_rows[] = {
	{ "import begin", true, import_begin },
	{ "import keys", true, import_keys },
	{ "import message", true, import_message },
	{ "import messages", true, import_messages },
	{ NULL, false, NULL },
};
