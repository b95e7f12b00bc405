/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_mail.c - aliases, mailboxes, messages and quotas.
 *
 * What a request changes is applied before it is answered, and a request that reads sees all changes
 * made before it. Lists come by pages; changes of many messages go in helpings, so that mail gets its
 * turn. */
#include "server/admin_int.h"

#include "core/base/runs.h"
#include "core/base/text.h"
#include "proto/imap/flags.h"
#include "proto/mime/summary.h"
#include "proto/smtp/idn.h"
#include "relay/local.h"
#include "server/admin_mail.h"
#include "server/door.h"
#include "server/login.h"
#include "store/account.h"
#include "store/message.h"

enum { HELPING = MESSAGE_CHANGE_MAX };

/* --- Aliases ----------------------------------------------------------------------------------- */

/* "sales@own.test", or "@own.test" for all that nobody else has. */
static json_t *alias_name(struct admin *admin, json_t *request, struct alias *out)
{
	slice text = admin_text(request, "name"), domain;
	ptrdiff_t at = slice_rfind(text, '@');
	struct login_name name = { .local = SLICE("") };
	enum err err = OK;

	if (at == 0 && !idn_to_ascii(&admin->arena, slice_skip(text, 1), &domain))
		name.domain = domain;
	else if (at <= 0 || !login_parse_name(text, &admin->arena, &name))
		return admin_error("not an alias: %.*s (NAME@DOMAIN, or @DOMAIN for all the rest)",
			SLICE_ARG(text));
	if (!domain_find(admin->store, name.domain, &err))
		return admin_result(err ? err : ERR_NOT_FOUND, "domain", name.domain);
	*out = (struct alias){ .local = name.local, .domain = name.domain };
	return NULL;
}

static json_t *alias_add(struct admin *admin, json_t *request)
{
	struct alias alias;
	json_t *answer = alias_name(admin, request, &alias);
	bool replace = admin_flag(request, "replace");

	if (answer)
		return answer;
	if (!admin_addresses(admin, admin_text(request, "targets"), &alias.targets))
		return admin_error("targets are addresses, with commas between");
	return admin_result(alias_put(admin->store, &alias, replace ? ROW_PUT : ROW_CREATE),
		"alias", admin_text(request, "name"));
}

static json_t *alias_drop(struct admin *admin, json_t *request)
{
	struct alias alias;
	json_t *answer = alias_name(admin, request, &alias);

	return answer ? answer :
			admin_result(alias_remove(admin->store, alias.local, alias.domain), "alias",
				admin_text(request, "name"));
}

static json_t *alias_rows(struct admin *admin, json_t *request)
{
	struct account_query query = { .after = admin_text(request, "after"), .limit = ADMIN_PAGE };
	struct alias_page list;
	json_t *rows;
	enum err err;

	if (!admin_domain(admin, request, &query.domain))
		return admin_error("not a domain name");
	err = alias_list(admin->store, &query, &admin->arena, &list);
	if (err)
		return admin_result(err, "aliases of", query.domain);
	rows = json_array();
	for (size_t i = 0; i < list.len; i++) {
		slice name = arena_printf(&admin->arena, "%.*s@%.*s", SLICE_ARG(list.rows[i].local),
			SLICE_ARG(query.domain));
		json_t *targets = admin_list(admin, list.rows[i].targets);

		json_array_append_new(rows,
			json_pack("{s:o,s:o}", "alias", admin_slice(name), "targets", targets));
	}
	return admin_page(rows, list.more, list.len ? list.rows[list.len - 1].local : SLICE(""));
}

/* --- Where a request points to ------------------------------------------------------------------ */

json_t *admin_place(struct admin *admin, json_t *request, struct admin_place *out)
{
	slice text = admin_text(request, "name"), mailbox = admin_text(request, "mailbox");
	const struct account *found = NULL;
	struct mailbox_usage usage = { 0 };
	struct login_name name;
	json_t *answer = admin_account(admin, text, &name, &found);
	enum err err;

	if (answer)
		return answer;
	*out = (struct admin_place){ .account = found->id, .domain = name.domain };
	/* An account may be older than mailboxes are. */
	err = mailbox_usage(admin->store, out->account, &usage);
	if (!err && !usage.mailboxes)
		err = mailbox_account_init(admin->store, out->account, out->domain);
	if (!err)
		err = store_sync_all(admin->store, out->account);
	if (err)
		return admin_result(err, "account", text);
	if (!mailbox.len)
		return NULL;
	err = mailbox_find(admin->store, out->account, mailbox, &admin->arena, &out->mailbox);
	return err ? admin_result(err, "mailbox", mailbox) : NULL;
}

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

/* --- Mailboxes ------------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	uint32_t bit;
} uses[] = { { "drafts", MAILBOX_DRAFTS }, { "sent", MAILBOX_SENT }, { "junk", MAILBOX_JUNK },
	{ "trash", MAILBOX_TRASH }, { "archive", MAILBOX_ARCHIVE }, { "all", MAILBOX_ALL },
	{ "flagged", MAILBOX_FLAGGED }, { "important", MAILBOX_IMPORTANT } };

static json_t *use_names(uint32_t use)
{
	struct out o = out_heap(256);
	json_t *text;

	for (size_t i = 0; i < array_len(uses); i++)
		if (use & uses[i].bit)
			out_printf(&o, "%s%s", o.len ? "," : "", uses[i].name);
	text = admin_slice(out_written(&o));
	out_heap_done(&o);
	return text;
}

static json_t *mailbox_row(const struct mailbox *m)
{
	return json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:o,s:b}", "mailbox", admin_slice(m->name),
		"messages", (json_int_t)m->messages, "unseen", (json_int_t)m->unseen, "bytes",
		(json_int_t)m->bytes, "uid_next", (json_int_t)m->uid_next, "uid_validity",
		(json_int_t)m->uid_validity, "use", use_names(m->use), "subscribed", m->subscribed);
}

static json_t *mailbox_rows(struct admin *admin, json_t *request)
{
	struct mailbox_query query = { .after = admin_text(request, "after"), .limit = ADMIN_PAGE };
	struct mailbox_page list = { 0 };
	struct admin_place at;
	json_t *answer, *rows;
	enum err err;

	answer = admin_place(admin, request, &at);
	if (answer)
		return answer;
	query.account = at.account;
	err = mailbox_list(admin->store, &query, &admin->arena, &list);
	if (err)
		return admin_result(err, "mailboxes of", admin_text(request, "name"));
	rows = json_array();
	for (size_t i = 0; i < list.len; i++)
		if (list.rows[i].id)
			json_array_append_new(rows, mailbox_row(&list.rows[i]));
	return admin_page(rows, list.more, list.len ? list.rows[list.len - 1].name : SLICE(""));
}

/* The place of the account alone: the mailbox need not be there. */
static json_t *account_place(struct admin *admin, json_t *request, struct admin_place *out)
{
	json_t *bare = json_pack("{s:O}", "name", json_object_get(request, "name"));
	json_t *answer = bare ? admin_place(admin, bare, out) : admin_error("name is missing");

	json_decref(bare);
	return answer;
}

/* Deliveries to a folder look it up: they must see it from now on. */
static json_t *changed(struct admin *admin, uint64_t account, modseq pos, enum err err, slice name)
{
	if (!err)
		err = store_sync(admin->store, account, pos);
	return admin_result(err, "mailbox", name);
}

static json_t *mailbox_add(struct admin *admin, json_t *request)
{
	struct mailbox_create create = { .name = admin_text(request, "mailbox") };
	slice use = admin_text(request, "use");
	struct admin_place at;
	modseq pos = 0;
	uint32_t id;
	json_t *answer = account_place(admin, request, &at);
	enum err err;

	if (answer)
		return answer;
	for (size_t i = 0; use.len && i < array_len(uses); i++)
		if (slice_eq(use, slice_str(uses[i].name)))
			create.use = uses[i].bit;
	if (use.len && !create.use)
		return admin_error("--use: drafts, sent, junk, trash, archive, all, flagged or "
				   "important");
	create.account = at.account;
	err = mailbox_create(admin->store, &create, &id, &pos);
	return changed(admin, at.account, pos, err, create.name);
}

static json_t *mailbox_drop(struct admin *admin, json_t *request)
{
	slice name = admin_text(request, "mailbox");
	struct admin_place at;
	modseq pos = 0;
	json_t *answer = account_place(admin, request, &at);
	enum err err;

	if (answer)
		return answer;
	err = mailbox_delete(admin->store, at.account, name, &pos);
	return changed(admin, at.account, pos, err, name);
}

static json_t *mailbox_move(struct admin *admin, json_t *request)
{
	struct mailbox_rename names = { .from = admin_text(request, "mailbox"),
		.to = admin_text(request, "to") };
	struct admin_place at;
	modseq pos = 0;
	json_t *answer = account_place(admin, request, &at);
	enum err err;

	if (answer)
		return answer;
	names.account = at.account;
	err = mailbox_rename(admin->store, &names, &pos);
	return changed(admin, at.account, pos, err, names.from);
}

/* --- Messages --------------------------------------------------------------------------------------- */

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
		admin_time(row->m.received), "uidl", admin_slice(row->uidl));
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
	enum err err = OK;

	for (bool more = true; more && !err;) {
		struct runs gone = { 0 };
		struct message_gone out = { .gone = &gone };

		err = message_expunge(c->admin->store, &args, &out);
		c->count += gone.count;
		more = out.more;
		runs_done(&gone);
	}
	return err;
}

static json_t *count_answer(json_t *answer, const char *what, uint64_t count)
{
	if (!json_object_get(answer, "error"))
		json_object_set_new(answer, what, json_integer((json_int_t)count));
	return answer;
}

static json_t *message_delete(struct admin *admin, json_t *request)
{
	struct change change = { .admin = admin };
	json_t *answer = admin_place(admin, request, &change.at);

	if (!answer && !admin_text(request, "uids").len)
		return admin_error("which messages? (1:5,7,9:*)");
	return answer ? answer :
			count_answer(change_messages(admin, request, &change, expunge), "deleted",
				change.count);
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
	enum err err = message_copy(c->admin->store, &args, &out);

	c->count += source.count;
	runs_done(&source);
	return err;
}

static json_t *message_copy_to(struct admin *admin, json_t *request)
{
	struct change change = { .admin = admin, .move = admin_flag(request, "move") };
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
	return count_answer(change_messages(admin, request, &change, copy), "copied", change.count);
}

/* --- Quotas ----------------------------------------------------------------------------------------- */

static json_t *usage_answer(const struct mailbox_usage *u, uint64_t bytes, uint64_t messages)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "bytes", (json_int_t)u->bytes, "messages",
		(json_int_t)u->messages, "mailboxes", (json_int_t)u->mailboxes, "quota",
		(json_int_t)bytes, "quota_messages", (json_int_t)messages);
}

static json_t *domain_quota(struct admin *admin, json_t *request)
{
	struct mailbox_usage usage = { 0 };
	const struct domain *found;
	struct domain d;
	slice name;
	enum err err = OK;

	if (!admin_domain(admin, request, &name))
		return admin_error("not a domain name");
	found = domain_find(admin->store, name, &err);
	if (!found)
		return admin_result(err ? err : ERR_NOT_FOUND, "domain", name);
	d = *found;
	err = mailbox_domain_usage(admin->store, name, &usage);
	return err ? admin_result(err, "domain", name) :
		     usage_answer(&usage, d.quota_bytes, d.quota_messages);
}

static json_t *account_quota(struct admin *admin, const struct admin_place *at,
	const struct mailbox_usage *usage, json_t *request)
{
	const struct local_options *o = conf_options(admin->setup->conf, &local_conf);
	const struct account *acc = NULL;
	struct login_name name;
	json_t *answer = admin_account(admin, admin_text(request, "name"), &name, &acc);
	enum err err = OK;

	if (answer)
		return answer;
	struct local_quota quota =
		local_quota_of(o, acc, domain_find(admin->store, at->domain, &err));

	return usage_answer(usage, quota.bytes, quota.messages);
}

static json_t *quota_show(struct admin *admin, json_t *request)
{
	struct mailbox_usage usage = { 0 };
	struct admin_place at;
	json_t *answer;
	enum err err;

	if (slice_find(admin_text(request, "name"), '@') < 0)
		return domain_quota(admin, request);
	answer = account_place(admin, request, &at);
	if (answer)
		return answer;
	err = mailbox_usage(admin->store, at.account, &usage);
	return err ? admin_result(err, "account", admin_text(request, "name")) :
		     account_quota(admin, &at, &usage, request);
}

struct counting {
	uint64_t bytes, messages;
};

/* On a helper thread. */
static bool count_message(void *arg, const struct message_row *row)
{
	struct counting *sum = arg;

	sum->bytes += row->m.size;
	sum->messages++;
	return true;
}

static enum err count_mailboxes(struct admin *admin, uint64_t account, struct counting *sum)
{
	struct mailbox_query query = { .account = account, .limit = ADMIN_PAGE };
	struct mailbox_page list = { .more = true };
	enum err err = OK;

	while (!err && list.more) {
		err = mailbox_list(admin->store, &query, &admin->arena, &list);
		for (size_t i = 0; !err && i < list.len; i++) {
			struct message_scan scan = { .account = account,
				.mailbox = list.rows[i].id,
				.each = count_message,
				.arg = sum };

			if (scan.mailbox)
				err = message_scan(admin->store, &scan);
			query.after = list.rows[i].name;
		}
	}
	return err;
}

/* Counts every message, and compares with what the quotas go by. */
static json_t *quota_recount(struct admin *admin, json_t *request)
{
	struct mailbox_usage usage = { 0 };
	struct counting sum = { 0 };
	struct admin_place at;
	json_t *answer = account_place(admin, request, &at);
	enum err err;

	if (answer)
		return answer;
	err = count_mailboxes(admin, at.account, &sum);
	if (!err)
		err = mailbox_usage(admin->store, at.account, &usage);
	if (err)
		return admin_result(err, "account", admin_text(request, "name"));
	return json_pack("{s:I,s:I,s:I,s:I,s:b}", "bytes", (json_int_t)usage.bytes, "messages",
		(json_int_t)usage.messages, "counted_bytes", (json_int_t)sum.bytes,
		"counted_messages", (json_int_t)sum.messages, "right",
		sum.bytes == usage.bytes && sum.messages == usage.messages);
}

const struct admin_row admin_mail[] = {
	{ "alias add", false, alias_add },
	{ "alias list", false, alias_rows },
	{ "alias remove", false, alias_drop },
	{ "mailbox list", false, mailbox_rows },
	{ "mailbox create", false, mailbox_add },
	{ "mailbox delete", false, mailbox_drop },
	{ "mailbox rename", false, mailbox_move },
	{ "message list", false, message_rows },
	{ "message flag", false, message_flag },
	{ "message delete", false, message_delete },
	{ "message copy", false, message_copy_to },
	{ "quota show", false, quota_show },
	{ "quota recount", false, quota_recount },
	{ NULL, false, NULL },
};
