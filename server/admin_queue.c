/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_queue.c - the queue as an operator sees and moves it.
 *
 * Filters travel as members of the request; a list's cursor is opaque and travels in hex. What a
 * request changes at most is what its filter names, so an empty filter needs `all`. */
#include "server/admin_int.h"

#include "core/base/codec.h"
#include "core/base/text.h"
#include "relay/queue.h"

/* What a script meant to fill in, and did not, would mean everything. */
static const char *empty_filter(const json_t *request)
{
	static const struct {
		const char *member, *wrong;
	} rows[] = {
		{ "id", "the id is empty" },
		{ "sender", "--sender is empty; <> are the reports" },
		{ "recipient", "--recipient is empty" },
		{ "domain", "--domain is empty" },
		{ "state", "--state is empty" },
		{ "older", "--age is empty" },
		{ "newer", "--newer is empty" },
	};

	for (size_t i = 0; i < array_len(rows); i++)
		if (json_object_get(request, rows[i].member) &&
			!admin_text(request, rows[i].member).len)
			return rows[i].wrong;
	return NULL;
}

/* NULL, or what is wrong. */
static const char *read_filter(json_t *request, struct queue_filter *f)
{
	slice id = admin_text(request, "id"), older = admin_text(request, "older");
	slice newer = admin_text(request, "newer"), state = admin_text(request, "state");

	const char *empty = empty_filter(request);

	*f = (struct queue_filter){ .index = QUEUE_ALL, .state = -1 };
	if (empty)
		return empty;
	if (id.len && !queue_id_parse(id, &f->id, &f->index))
		return "not a queue id";
	if (older.len && !text_parse_duration(older, &f->older_ms))
		return "--age: not a duration (15m, 4h, 5d)";
	if (newer.len && !text_parse_duration(newer, &f->newer_ms))
		return "--newer: not a duration (15m, 4h, 5d)";
	f->sender = admin_text(request, "sender");
	f->recipient = admin_text(request, "recipient");
	f->domain = admin_text(request, "domain");
	for (int i = 0; state.len && i < QUEUE_STATE_COUNT; i++)
		if (slice_eq(state, slice_str(queue_state_name((enum queue_state)i))))
			f->state = i;
	return state.len && f->state < 0 ? "--state: ready, active, parked or held" : NULL;
}

static bool is_empty(const struct queue_filter *f)
{
	return !f->id && !f->sender.len && !f->recipient.len && !f->domain.len && !f->older_ms &&
		!f->newer_ms && f->state < 0;
}

static void set_time(json_t *object, const char *member, wall_ms at)
{
	char buf[40];
	struct out o = out_fixed(buf, sizeof(buf));

	if (!at)
		return;
	text_put_timestamp(&o, at);
	json_object_set_new(object, member, admin_slice(out_written(&o)));
}

static void set_text(json_t *object, const char *member, slice text)
{
	if (text.len)
		json_object_set_new(object, member, admin_slice(text));
}

static json_t *row_of(const struct queue_row *row)
{
	char buf[40];
	struct out id = out_fixed(buf, sizeof(buf));
	json_t *object = json_object();

	queue_id_put_rcpt(&id, row->id, row->index);
	json_object_set_new(object, "id", admin_slice(out_written(&id)));
	json_object_set_new(object, "state", json_string(queue_state_name(row->state)));
	json_object_set_new(object, "sender",
		row->sender.len ? admin_slice(row->sender) : json_string("<>"));
	json_object_set_new(object, "recipient", admin_slice(row->recipient));
	json_object_set_new(object, "size", json_integer((json_int_t)row->size));
	json_object_set_new(object, "attempts", json_integer(row->attempts));
	json_object_set_new(object, "lane",
		json_string(row->lane == ENVELOPE_TRANSACTIONAL ? "transactional" : "bulk"));
	set_text(object, "path", row->path);
	set_text(object, "last_reply", row->last_reply);
	set_text(object, "held_by", row->held_by);
	set_text(object, "waits_for", row->waits_for);
	set_time(object, "received", row->received_at);
	set_time(object, "next_attempt", row->due_at);
	set_time(object, "expires", row->expires_at);
	return object;
}

static bool read_cursor(json_t *request, struct queue_cursor *cursor)
{
	slice hex = admin_text(request, "after");
	size_t len = 0;

	*cursor = (struct queue_cursor){ 0 };
	if (!hex.len)
		return true;
	if (hex.len > 2 * sizeof(cursor->bytes) || !codec_get_hex(hex, cursor->bytes, &len))
		return false;
	cursor->len = (uint8_t)len;
	return true;
}

/* Is there any recipient of that id? The rest of the filter does not matter. */
static enum err is_queued(struct admin *admin, const struct queue_filter *f, bool *out)
{
	struct queue_filter named = { .id = f->id, .index = f->index, .state = -1 };
	struct queue_cursor cursor = { 0 };
	enum err err = OK;

	*out = false;
	while (!err && !*out && !cursor.done) {
		struct arena a = { 0 };
		struct queue_page page = { .arena = &a, .max = ADMIN_PAGE };

		err = queue_list(admin->w, &named, &cursor, &page);
		*out = !err && page.count > 0;
		arena_done(&a);
	}
	return err;
}

/* NULL, or the answer: an id that names nothing is a mistake, where other filters that nothing fits are
 * an answer. Asked twice, since what moves between RAM and disk may be passed by. */
static json_t *refuse_unknown(struct admin *admin, json_t *request, const struct queue_filter *f)
{
	slice id = admin_text(request, "id");
	bool queued = !f->id;
	enum err err = OK;

	for (int i = 0; i < 2 && !err && !queued; i++)
		err = is_queued(admin, f, &queued);
	if (err)
		return admin_result(err, "queue", SLICE(""));
	if (queued)
		return NULL;
	return admin_error("%s %.*s is not in the queue: it has ended, or never was",
		f->index == QUEUE_ALL ? "message" : "recipient", SLICE_ARG(id));
}

static json_t *queue_rows(struct admin *admin, json_t *request)
{
	struct queue_filter filter;
	struct queue_cursor cursor;
	struct queue_page page = { .arena = &admin->arena, .max = ADMIN_PAGE };
	char hex[2 * sizeof(cursor.bytes)];
	struct out o = out_fixed(hex, sizeof(hex));
	const char *wrong = read_filter(request, &filter);
	json_t *rows, *answer;
	enum err err;

	if (wrong || !read_cursor(request, &cursor))
		return admin_error("%s", wrong ? wrong : "bad cursor");
	answer = cursor.len ? NULL : refuse_unknown(admin, request, &filter);
	if (answer)
		return answer;
	err = queue_list(admin->w, &filter, &cursor, &page);
	if (err)
		return admin_result(err, "queue", SLICE(""));
	rows = json_array();
	for (size_t i = 0; i < page.count; i++)
		json_array_append_new(rows, row_of(&page.rows[i]));
	answer = json_pack("{s:o}", "rows", rows);
	if (!cursor.done) {
		codec_put_hex(&o, slice_of(cursor.bytes, cursor.len));
		json_object_set_new(answer, "next", admin_slice(out_written(&o)));
	}
	return answer;
}

static json_t *queue_counts(struct admin *admin, json_t *request)
{
	struct queue_filter filter;
	struct queue_counts counts;
	const char *wrong = read_filter(request, &filter);
	json_t *answer;
	uint64_t sum = 0;
	enum err err;

	if (wrong)
		return admin_error("%s", wrong);
	err = queue_count(admin->w, &filter, &counts);
	if (err)
		return admin_result(err, "queue", SLICE(""));
	answer = json_object();
	for (int i = 0; i < QUEUE_STATE_COUNT; i++) {
		json_object_set_new(answer, queue_state_name((enum queue_state)i),
			json_integer((json_int_t)counts.by_state[i]));
		sum += counts.by_state[i];
	}
	json_object_set_new(answer, "recipients", json_integer((json_int_t)sum));
	json_object_set_new(answer, "bytes", json_integer((json_int_t)counts.messages_bytes));
	set_time(answer, "oldest", counts.oldest_at);
	return answer;
}

static json_t *act(struct admin *admin, json_t *request, enum queue_action action)
{
	struct queue_filter filter;
	const char *wrong = read_filter(request, &filter);
	uint64_t changed = 0;
	json_t *answer;
	enum err err;

	if (wrong)
		return admin_error("%s", wrong);
	if (is_empty(&filter) && !admin_flag(request, "all"))
		return admin_error("name what is meant by a filter, or --all");
	err = queue_act(admin->w, &filter, action, &changed);
	if (err)
		return admin_result(err, "queue", SLICE(""));
	answer = changed ? NULL : refuse_unknown(admin, request, &filter);
	return answer ? answer : json_pack("{s:I}", "changed", (json_int_t)changed);
}

static json_t *queue_retry(struct admin *admin, json_t *request)
{
	return act(admin, request, QUEUE_RETRY);
}

static json_t *queue_hold(struct admin *admin, json_t *request)
{
	return act(admin, request, QUEUE_HOLD);
}

static json_t *queue_release(struct admin *admin, json_t *request)
{
	return act(admin, request, QUEUE_RELEASE);
}

static json_t *queue_bounce(struct admin *admin, json_t *request)
{
	return act(admin, request, QUEUE_BOUNCE);
}

static json_t *queue_remove(struct admin *admin, json_t *request)
{
	return act(admin, request, QUEUE_REMOVE);
}

const struct admin_row admin_queue_rows[] = {
	{ "queue list", true, queue_rows },
	{ "queue show", true, queue_rows },
	{ "queue count", true, queue_counts },
	{ "queue retry", true, queue_retry },
	{ "queue hold", true, queue_hold },
	{ "queue release", true, queue_release },
	{ "queue bounce", true, queue_bounce },
	{ "queue remove", true, queue_remove },
	{ NULL, false, NULL },
};
