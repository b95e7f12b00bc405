/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_message.c - messages: listed, flagged, copied, deleted.
 *
 * Lists come by pages; changes of many messages go in helpings, so that mail gets its turn. */
#include "server/admin_int.h"

#include "core/base/runs.h"
#include "core/base/text.h"
#include "proto/imap/flags.h"
#include "proto/mime/summary.h"
#include "relay/local.h"
#include "server/admin_mailbox.h"
#include "server/uidl.h"
#include "store/message.h"

enum { HELPING = MESSAGE_CHANGE_MAX };

/* --- Which ones -------------------------------------------------------------------------------- */

static bool read_uid(slice text, uint32_t last, uint32_t *out)
{
	uint64_t n;

	if (slice_eq(text, SLICE("*"))) {
		*out = MAX(last, 1u);
		return true;
	}
	if (!text_parse_uint(text, UINT32_MAX, &n) || n == 0)
		return false;
	*out = (uint32_t)n;
	return true;
}

/* "1:5,7,9:*" */
static bool read_uids(slice text, uint32_t last, struct runs *out)
{
	uint32_t from, to;
	slice one, first;

	while (slice_cut(&text, ',', &one)) {
		one = slice_trim(one);
		if (!slice_cut(&one, ':', &first) || !read_uid(slice_trim(first), last, &from))
			return false;
		to = from;
		if (one.len && !read_uid(slice_trim(one), last, &to))
			return false;
		if (!runs_add_range(out, MIN(from, to), MAX(from, to)))
			return false;
	}
	return out->count > 0;
}

/* The messages a request names; `all` when it names none. */
static json_t *uids_of(json_t *request, const struct mailbox *m, struct runs *out)
{
	slice text = admin_text(request, "uids");

	if (read_uids(text.len ? text : SLICE("1:*"), m->uid_next - 1, out))
		return NULL;
	return admin_error("not a set of message numbers: %.*s (1:5,7,9:*)", SLICE_ARG(text));
}

/* --- Flags and lists -------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint32_t bit;
} flags[] = { { "\\Seen", MESSAGE_SEEN }, { "\\Answered", MESSAGE_ANSWERED },
	{ "\\Flagged", MESSAGE_FLAGGED }, { "\\Deleted", MESSAGE_DELETED },
	{ "\\Draft", MESSAGE_DRAFT } };

bool admin_flags(slice text, struct admin_flags *out)
{
	slice one;

	while (slice_cut(&text, ',', &one)) {
		uint32_t bit = 0;

		one = slice_trim(one);
		for (size_t i = 0; i < array_len(flags); i++)
			if (slice_eq_nocase(one, slice_str(flags[i].name)))
				bit = flags[i].bit;
		out->flags |= bit;
		if (bit || !one.len)
			continue;
		if (!imap_is_keyword(one) || out->len + one.len + 1 > sizeof(out->keywords))
			return false;
		memcpy(out->keywords + out->len, one.ptr, one.len);
		out->len += one.len + 1;
		out->keywords[out->len - 1] = '\0';
	}
	return true;
}

static json_t *flag_names(const struct message *m, const struct mailbox_keywords *names)
{
	json_t *list = json_array();

	for (size_t i = 0; i < array_len(flags); i++)
		if (m->flags & flags[i].bit)
			json_array_append_new(list, json_string(flags[i].name));
	for (size_t i = 0; i < names->len; i++)
		if (m->keywords >> i & 1)
			json_array_append_new(list, admin_slice(names->names[i]));
	return list;
}

struct listing {
	const struct mailbox_keywords *keywords;
	json_t *rows;
};

static void add_summary(json_t *row, slice summary)
{
	struct summary s;
	struct summary_envelope env;
	struct summary_address from;

	if (!summary.len || !summary_open(summary, &s) || !summary_envelope(&s, &env))
		return;
	json_object_set_new(row, "subject", admin_slice(env.subject.text));
	if (env.lists[SUMMARY_FROM].ptr && summary_address_next(&env.lists[SUMMARY_FROM], &from) &&
		from.local.text.ptr) {
		struct out o = out_heap(1024);

		out_printf(&o, "%.*s@%.*s", SLICE_ARG(from.local.text), SLICE_ARG(from.host.text));
		json_object_set_new(row, "from", admin_slice(out_written(&o)));
		out_heap_done(&o);
	}
}

/* On a helper thread. */
static bool add_message(void *arg, const struct message_row *row)
{
	struct listing *l = arg;
	json_t *o;

	if (json_array_size(l->rows) == ADMIN_PAGE)
		return false;
	o = json_pack("{s:I,s:o,s:I,s:o,s:o}", "uid", (json_int_t)row->m.uid, "flags",
		flag_names(&row->m, l->keywords), "size", (json_int_t)row->m.size, "received",
		admin_time(row->m.received), "uidl",
		admin_slice(uidl_may_be_shown(row->uidl) ? row->uidl : SLICE("")));
	add_summary(o, row->summary);
	json_array_append_new(l->rows, o);
	return true;
}

static json_t *message_rows(struct admin *admin, json_t *request)
{
	struct mailbox_keywords names = { .len = 0 };
	struct listing l = { .keywords = &names };
	struct message_scan scan = { .want = MESSAGE_WANT_SUMMARY, .each = add_message, .arg = &l };
	struct admin_place at;
	struct runs uids = { 0 };
	uint64_t after = 0;
	json_t *answer = admin_place(admin, request, &at);
	char next[16];
	enum err err;

	if (!answer)
		answer = uids_of(request, &at.mailbox, &uids);
	if (answer) {
		runs_done(&uids);
		return answer;
	}
	if (admin_number(request, "after", &after) && after <= UINT32_MAX)
		scan.from = (uint32_t)after;
	scan.account = at.account;
	scan.mailbox = at.mailbox.id;
	scan.uids = &uids;
	l.rows = json_array();
	err = mailbox_keywords(admin->store, at.account, at.mailbox.id, &admin->arena, &names);
	if (!err)
		err = message_scan(admin->store, &scan);
	runs_done(&uids);
	if (err) {
		json_decref(l.rows);
		return admin_result(err, "messages of", at.mailbox.name);
	}
	snprintf(next, sizeof(next), "%u", scan.next);
	return admin_page(l.rows, scan.next != 0, slice_str(next));
}

/* --- Changes --------------------------------------------------------------------------------- */

/* The next messages of a set, few enough for one change. */
static bool next_helping(const struct runs *all, uint32_t *from, struct runs *out)
{
	struct run run;
	uint32_t left = HELPING;

	runs_done(out);
	*out = (struct runs){ 0 };
	while (left && *from && runs_next(all, *from, &run)) {
		uint32_t last = MIN(run.last, run.first + (left - 1));

		if (last < run.first)
			last = run.last;
		if (!runs_add_range(out, run.first, last))
			return false;
		left -= last - run.first + 1;
		*from = last + 1;
	}
	return out->count > 0;
}

/* What a request does to each helping. */
struct change {
	struct admin *admin;
	struct admin_place at;
	slice account;
	struct mailbox to;
	enum message_store_mode mode;
	struct admin_flags set;
	bool move;
	uint64_t count;
};

static json_t *change_messages(struct admin *admin, json_t *request, struct change *change,
	enum err (*run)(struct change *change, const struct runs *uids))
{
	struct runs all = { 0 }, some = { 0 };
	uint32_t from = 1;
	json_t *answer = uids_of(request, &change->at.mailbox, &all);
	enum err err = OK;

	change->admin = admin;
	while (!answer && !err && next_helping(&all, &from, &some))
		err = run(change, &some);
	runs_done(&all);
	runs_done(&some);
	if (!answer)
		answer = err ? admin_result(err, "messages of", change->at.mailbox.name) :
			       json_object();
	return answer;
}

static enum err store_flags(struct change *c, const struct runs *uids)
{
	struct message_store args = { .account = c->at.account,
		.mailbox = c->at.mailbox.id,
		.uids = uids,
		.mode = c->mode,
		.flags = c->set.flags,
		.keywords = slice_of(c->set.keywords, c->set.len) };

	return message_store(c->admin->store, &args, NULL);
}

static json_t *message_flag(struct admin *admin, json_t *request)
{
	static const struct {
		const char *member;
		enum message_store_mode mode;
	} ways[] = { { "set", MESSAGE_REPLACE }, { "add", MESSAGE_ADD },
		{ "remove", MESSAGE_REMOVE } };
	struct change change = { .admin = admin };
	json_t *answer = admin_place(admin, request, &change.at);
	bool any = false;

	for (size_t i = 0; !answer && i < array_len(ways); i++) {
		if (!json_object_get(request, ways[i].member))
			continue;
		any = true;
		change.mode = ways[i].mode;
		change.set = (struct admin_flags){ 0 };
		if (!admin_flags(admin_text(request, ways[i].member), &change.set))
			return admin_error("--%s: \\Seen, \\Answered, \\Flagged, \\Deleted, "
					   "\\Draft or keywords, with commas between",
				ways[i].member);
		answer = change_messages(admin, request, &change, store_flags);
		if (json_object_size(answer) == 0) {
			json_decref(answer);
			answer = NULL;
		}
	}
	if (answer)
		return answer;
	return any ? json_object() : admin_error("--set, --add or --remove is missing");
}

static enum err expunge(struct change *c, const struct runs *uids)
{
	struct message_expunge args = {
		.account = c->at.account, .mailbox = c->at.mailbox.id, .uids = uids, .any = true
	};
	struct message_gone out = { .more = true };
	enum err err = OK;

	while (out.more && !err) {
		struct runs gone = { 0 };

		out.gone = &gone;
		err = message_expunge(c->admin->store, &args, &out);
		c->count += gone.count;
		runs_done(&gone);
	}
	return err;
}

/* Runs the change, and says how many messages it was. */
static json_t *count_changed(struct change *change, json_t *request,
	enum err (*fn)(struct change *c, const struct runs *uids), const char *what)
{
	json_t *answer = change_messages(change->admin, request, change, fn);

	if (!json_object_get(answer, "error"))
		json_object_set_new(answer, what, json_integer((json_int_t)change->count));
	return answer;
}

static json_t *message_delete(struct admin *admin, json_t *request)
{
	struct change change = { .admin = admin };
	json_t *answer = admin_place(admin, request, &change.at);

	if (!answer && !admin_text(request, "uids").len)
		return admin_error("which messages? (1:5,7,9:*)");
	return answer ? answer : count_changed(&change, request, expunge, "deleted");
}

static enum err copy(struct change *c, const struct runs *uids)
{
	struct runs source = { 0 };
	struct message_copy args = { .account = c->at.account,
		.from = c->at.mailbox.id,
		.to = c->to.id,
		.uids = uids,
		.move = c->move };
	struct message_copied out = { .source = &source };
	struct local_room account;
	struct room *room = NULL;
	enum err err = admin_room(c->admin, c->account, &account);

	if (!err)
		err = local_take_copy(&account, &args, &room);
	if (!err)
		err = message_copy(c->admin->store, &args, &out);
	room_end(room, out.pos);
	c->count += source.count;
	runs_done(&source);
	return err;
}

static json_t *message_copy_to(struct admin *admin, json_t *request)
{
	struct change change = { .admin = admin,
		.account = admin_text(request, "name"),
		.move = admin_flag(request, "move") };
	slice to = admin_text(request, "to");
	json_t *answer = admin_place(admin, request, &change.at);
	enum err err;

	if (answer)
		return answer;
	if (!to.len)
		return admin_error("--to is missing");
	err = mailbox_find(admin->store, change.at.account, to, &admin->arena, &change.to);
	if (err)
		return admin_result(err, "mailbox", to);
	return count_changed(&change, request, copy, "copied");
}

const struct admin_row admin_message_rows[] = {
	{ "message list", false, message_rows },
	{ "message flag", false, message_flag },
	{ "message delete", false, message_delete },
	{ "message copy", false, message_copy_to },
	{ NULL, false, NULL },
};
