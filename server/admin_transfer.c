/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_transfer.c - whole messages in and out, in pieces of base64.
 *
 * Out, a piece is a request of its own that says where it begins. In, the pieces of one message follow
 * each other on one connection, which keeps the unfinished one; they go the road of every body, so
 * none is ever whole in memory. A message brings a key, kept as its UIDL: whoever was interrupted asks for
 * the keys behind a uid, and knows what has arrived. */
#include "server/admin_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/codec.h"
#include "core/base/text.h"
#include "core/fiber.h"
#include "core/worker.h"
#include "proto/mime/summary.h"
#include "relay/local.h"
#include "server/admin_mailbox.h"
#include "store/blob.h"
#include "store/message.h"
#include "store/store.h"

enum { PIECE = 192 * 1024, KEYS_PAGE = 1000, NAME_BYTES = 512 };

/* --- Out ------------------------------------------------------------------------------------------ */

static json_t *base64(slice bytes)
{
	struct out o = out_heap(bytes.len / 3 * 4 + 16);
	json_t *text;

	codec_put_base64(&o, bytes);
	text = json_stringn(o.buf ? o.buf : "", o.len);
	out_heap_done(&o);
	return text;
}

/* What is spliced before the body, then the body, from `offset`. */
static enum err read_piece(struct admin *admin, const struct message_row *row, uint64_t offset,
	struct out *o)
{
	slice splice = slice_skip(row->splice, (size_t)MIN(offset, (uint64_t)row->splice.len));
	uint64_t at = offset > row->splice.len ? offset - row->splice.len : 0;
	struct blob_reader reader = { 0 };
	enum err err;

	out_slice(o, splice);
	err = blob_open(&reader, admin->store, row->m.blob);
	if (!err && at)
		blob_seek(&reader, at);
	while (!err && o->len < o->cap) {
		size_t len = 0;

		err = blob_read(&reader, o->buf + o->len, o->cap - o->len, &len);
		if (len == 0)
			break;
		o->len += len;
	}
	return err;
}

static json_t *message_show(struct admin *admin, json_t *request)
{
	struct message_scan where = { .want = MESSAGE_WANT_SUMMARY };
	struct admin_place at;
	struct message_row row = { 0 };
	uint64_t uid = 0, offset = 0;
	json_t *answer = admin_place(admin, request, &at);
	enum err err;

	if (answer)
		return answer;
	if (!admin_number(request, "uid", &uid) || uid == 0 || uid > UINT32_MAX)
		return admin_error("not a message number: %.*s",
			SLICE_ARG(admin_text(request, "uid")));
	if (json_object_get(request, "offset") && !admin_number(request, "offset", &offset))
		return admin_error("not an offset");
	where.account = at.account;
	where.mailbox = at.mailbox.id;
	err = message_get(admin->store, &where, (uint32_t)uid, &admin->arena, &row);
	if (err)
		return admin_result(err, "message", admin_text(request, "uid"));
	/* A multiple of three: the texts of all pieces are one. */
	struct out o = out_fixed(malloc(PIECE), PIECE);

	err = o.buf ? read_piece(admin, &row, offset, &o) : ERR_NOMEM;
	answer = err ? admin_result(err, "message", admin_text(request, "uid")) :
		       json_pack("{s:I,s:I,s:o}", "uid", (json_int_t)uid, "size",
			       (json_int_t)row.m.size, "data", base64(out_written(&o)));
	if (!err && o.len == PIECE && offset + o.len < row.m.size)
		json_object_set_new(answer, "next", json_integer((json_int_t)(offset + o.len)));
	free(o.buf);
	return answer;
}

/* --- In ------------------------------------------------------------------------------------------- */

/* What a connection has begun: a mailbox to fill, and perhaps a message. */
struct admin_upload {
	uint64_t account;
	uint32_t mailbox;
	struct arena arena; /* of the message */
	struct blob_writer body;
	struct summary_builder *summary;
	struct admin_flags flags;
	struct deliver_target target;
	char name[NAME_BYTES]; /* of the account */
};

static void free_upload(void *arg)
{
	struct admin_upload *up = arg;

	if (up->body.store)
		blob_drop(&up->body);
	arena_done(&up->arena);
	free(up);
}

void admin_upload_drop(struct admin_upload *up)
{
	struct worker *w = worker_self();

	/* Chunks on their way to the disk name its memory: a fiber waits for them. */
	if (!up)
		return;
	if (!w || fiber_self() || !up->body.chunk_count)
		free_upload(up);
	else if (fiber_start(w, free_upload, up))
		blob_drop(&up->body); /* better lost than used twice */
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
	struct message_scan scan = { .want = MESSAGE_WANT_SUMMARY, .each = add_key };
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

static json_t *begin_message(struct admin *admin, json_t *request, struct admin_upload *up)
{
	slice uidl = admin_text(request, "key");
	uint64_t received = 0;

	up->flags = (struct admin_flags){ 0 };
	if (!admin_flags(admin_text(request, "flags"), &up->flags) || uidl.len > MESSAGE_UIDL_MAX)
		return admin_error("flags or key are no such thing");
	if (json_object_get(request, "received") && !admin_number(request, "received", &received))
		return admin_error("received is no time");
	up->target = (struct deliver_target){ .account = up->account,
		.mailbox = up->mailbox,
		.flags = up->flags.flags,
		.uidl = arena_dup(&up->arena, uidl),
		.received = received ? (wall_ms)received : admin_now(admin) };
	up->summary = summary_begin(&up->arena);
	blob_begin(&up->body, admin->store);
	return NULL;
}

static enum err add_piece(struct admin_upload *up, const json_t *request)
{
	slice text = admin_text(request, "data");
	char *bytes = malloc(codec_base64_max(text.len) + 1);
	size_t len = 0;
	enum err err = bytes ? OK : ERR_NOMEM;

	if (!err && !codec_get_base64(text, bytes, &len))
		err = ERR_INVALID;
	if (!err) {
		summary_add(up->summary, slice_of(bytes, len));
		err = blob_write_wait(&up->body, slice_of(bytes, len));
	}
	free(bytes);
	return err;
}

static enum err end_upload(struct admin *admin, struct admin_upload *up)
{
	struct out row = out_arena(&up->arena);
	uint64_t keys[SUMMARY_REFS_MAX + 1];
	struct deliver deliver = { .targets = &up->target, .target_count = 1, .thread_keys = keys };
	struct store_message msg = {
		.body = &up->body, .deliver = &deliver, .at = admin_now(admin)
	};
	struct room_sum all = { .bytes = up->body.size, .messages = 1 };
	struct blob_ref ref = { 0 };
	struct local_room account;
	struct room *room = NULL;
	struct summary s;
	enum err err;

	up->target.keywords = slice_of(up->flags.keywords, up->flags.len);
	summary_end(up->summary, &row);
	if (summary_open(out_written(&row), &s))
		deliver.thread_key_count =
			MIN(summary_thread_keys(&s, keys), (unsigned)MESSAGE_THREAD_KEYS_MAX);
	if (row.len <= MESSAGE_SUMMARY_MAX)
		deliver.summary = out_written(&row);
	err = admin_room(admin, slice_str(up->name), &account);
	if (!err)
		err = local_take_room(&account, &all, &room);
	if (!err)
		err = store_message_append(admin->store, &msg, &ref);
	room_end(room, ref.id);
	if (!err) /* the row holds it */
		store_release(admin->store, &ref);
	return err;
}

static void end_message(struct admin_upload *up)
{
	if (up->body.store)
		blob_drop(&up->body);
	up->summary = NULL;
	arena_reset(&up->arena);
}

/* The first piece names the message (or a new one, when the last was never ended); each says whether
 * more come. */
static json_t *import_message(struct admin *admin, json_t *request)
{
	struct admin_upload *up = *admin->upload;
	slice key = admin_text(request, "key");
	json_t *answer = NULL;
	enum err err;

	if (!up || (!key.len && !up->summary))
		return admin_error("nothing was begun");
	if (key.len) {
		end_message(up);
		answer = begin_message(admin, request, up);
	}
	if (answer)
		return answer;
	err = add_piece(up, request);
	if (!err && admin_flag(request, "more"))
		return json_object();
	if (!err)
		err = end_upload(admin, up);
	answer = admin_result(err, "message", key);
	end_message(up);
	return answer;
}

/* Storing wants a worker, so that a long import can free the journal behind it. */
const struct admin_row admin_transfer_rows[] = {
	{ "message show", false, message_show },
	{ "import begin", true, import_begin },
	{ "import keys", true, import_keys },
	{ "import message", true, import_message },
	{ NULL, false, NULL },
};
