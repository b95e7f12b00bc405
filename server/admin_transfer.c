/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_transfer.c - whole messages out, as they are, beside the JSON.
 *
 * A request names a message and where in it to begin; with "many" the answer goes on with those behind it
 * as long as they fit as a whole, so that small ones do not cost a round trip each. The way in is
 * admin_upload.c. */
#include "server/admin_int.h"

#include <stdlib.h>

#include "server/admin_mailbox.h"
#include "server/control.h"
#include "store/blob.h"
#include "store/message.h"

enum { MANY = 256, AHEAD_ROWS = 32, AHEAD_BYTES = 64 * 1024 };

/* Rows that are to go into one answer. */
struct batch {
	struct admin *admin;
	uint64_t offset; /* in the first one */
	uint64_t bytes;  /* of all, from there */
	size_t len, max;
	struct {
		struct message m;
		slice splice;
	} rows[MANY];
	struct blob_ahead ahead;
};

/* On a helper thread. The first one may be longer than an answer. */
static bool add_row(void *arg, const struct message_row *row)
{
	struct batch *b = arg;
	uint64_t skip = b->len ? 0 : MIN(b->offset, row->m.size);

	if (b->len == b->max || (b->len && b->bytes + row->m.size > CONTROL_DATA_MAX))
		return false;
	b->rows[b->len].m = row->m;
	b->rows[b->len++].splice = arena_dup(&b->admin->arena, row->splice);
	b->bytes += row->m.size - skip;
	return true;
}

static void look_ahead(struct batch *b, size_t from)
{
	struct blob_coming coming[AHEAD_ROWS];
	size_t len = 0;

	for (size_t i = from; i < b->len && len < AHEAD_ROWS; i++)
		coming[len++] = (struct blob_coming){ b->rows[i].m.blob, b->rows[i].m.size };
	if (len > 1 && b->ahead.buf)
		blob_read_ahead(&b->ahead, b->admin->store, coming, len);
}

/* What is spliced before the body, then the body, from `offset`, until `o` is full. */
static enum err read_piece(struct batch *b, size_t i, uint64_t offset, struct out *o)
{
	uint64_t splice_len = b->rows[i].splice.len, id = b->rows[i].m.blob;
	uint64_t at = offset > splice_len ? offset - splice_len : 0;
	struct blob_reader reader = { 0 };

	out_slice(o, slice_skip(b->rows[i].splice, (size_t)MIN(offset, splice_len)));
	if (!blob_is_ahead(&b->ahead, id))
		look_ahead(b, i);
	enum err err = blob_open_near(&reader, b->admin->store, id, &b->ahead);
	if (!err && at)
		blob_seek(&reader, at);
	while (!err && o->len < o->cap) {
		size_t len = 0;

		err = blob_read(&reader, o->buf + o->len, o->cap - o->len, &len);
		if (!err && len == 0)
			err = ERR_CORRUPT; /* shorter than its row says */
		o->len += len;
	}
	return err;
}

/* Of each: uid, and how many bytes of it are here. One that cannot be read ends the answer before it. */
static enum err read_all(struct batch *b, json_t *messages, uint64_t *out_end)
{
	struct out *reply = b->admin->reply;
	size_t room = (size_t)MIN(b->bytes, (uint64_t)CONTROL_DATA_MAX);

	if (room > reply->cap && !reply->more(reply, room))
		return ERR_NOMEM;
	for (size_t i = 0; i < b->len; i++) {
		uint64_t from = i ? 0 : b->offset, size = b->rows[i].m.size;
		uint64_t want = MIN(size - MIN(from, size), (uint64_t)room - reply->len);
		struct out o = out_fixed(reply->buf + reply->len, (size_t)want);
		enum err err = want ? read_piece(b, i, from, &o) : OK;

		if (err)
			return i ? OK : err;
		reply->len += o.len;
		*out_end = from + o.len;
		json_array_append_new(messages,
			json_pack("[I,I]", (json_int_t)b->rows[i].m.uid, (json_int_t)o.len));
	}
	return OK;
}

static json_t *answer_of(struct batch *b, slice uid)
{
	json_t *messages = json_array(), *answer;
	uint64_t end = 0;
	enum err err = read_all(b, messages, &end);

	if (err) {
		json_decref(messages);
		return admin_result(err, "message", uid);
	}
	answer = json_pack("{s:o}", "messages", messages);
	if (b->len == 1 && end > b->offset && end < b->rows[0].m.size)
		json_object_set_new(answer, "next", json_integer((json_int_t)end));
	return answer;
}

static json_t *show(struct batch *b, json_t *request, const struct admin_place *at)
{
	struct message_scan scan = { .account = at->account,
		.mailbox = at->mailbox.id,
		.want = MESSAGE_WANT_SUMMARY,
		.each = add_row,
		.arg = b };
	slice name = admin_text(request, "uid");
	uint64_t uid = 0;

	if (!admin_number(request, "uid", &uid) || uid == 0 || uid > UINT32_MAX)
		return admin_error("not a message number: %.*s", SLICE_ARG(name));
	if (json_object_get(request, "offset") && !admin_number(request, "offset", &b->offset))
		return admin_error("not an offset");
	name = arena_printf(&b->admin->arena, "%llu of %.*s", (unsigned long long)uid,
		SLICE_ARG(at->mailbox.name));
	b->max = admin_flag(request, "many") && !b->offset ? MANY : 1;
	scan.from = (uint32_t)uid;
	enum err err = message_scan(b->admin->store, &scan);
	if (!err && (!b->len || b->rows[0].m.uid != uid))
		err = ERR_NOT_FOUND;
	return err ? admin_result(err, "message", name) : answer_of(b, name);
}

static json_t *message_show(struct admin *admin, json_t *request)
{
	struct admin_place at;
	json_t *answer = admin_place(admin, request, &at);
	struct batch *b = answer ? NULL : calloc(1, sizeof(*b));

	if (answer)
		return answer;
	if (!b)
		return admin_error("%s", err_text(ERR_NOMEM));
	b->admin = admin;
	b->ahead.buf = malloc(AHEAD_BYTES);
	b->ahead.cap = b->ahead.buf ? AHEAD_BYTES : 0;
	answer = show(b, request, &at);
	free(b->ahead.buf);
	free(b);
	return answer;
}

const struct admin_row admin_transfer_rows[] = {
	{ "message show", false, message_show },
	{ NULL, false, NULL },
};
