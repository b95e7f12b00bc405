/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_mailbox.c - where a request about mail points to, and mailboxes.
 *
 * What a request changes is applied before it is answered, and a request that reads sees all changes
 * made before it. */
#include "server/admin_int.h"

#include "server/admin_mailbox.h"
#include "server/login.h"
#include "store/account.h"

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

json_t *admin_account_place(struct admin *admin, json_t *request, struct admin_place *out)
{
	json_t *bare = json_pack("{s:O}", "name", json_object_get(request, "name"));
	json_t *answer = bare ? admin_place(admin, bare, out) : admin_error("name is missing");

	json_decref(bare);
	return answer;
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
	json_t *answer = admin_account_place(admin, request, &at);
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
	json_t *answer = admin_account_place(admin, request, &at);
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
	json_t *answer = admin_account_place(admin, request, &at);
	enum err err;

	if (answer)
		return answer;
	names.account = at.account;
	err = mailbox_rename(admin->store, &names, &pos);
	return changed(admin, at.account, pos, err, names.from);
}

const struct admin_row admin_mailbox_rows[] = {
	{ "mailbox list", false, mailbox_rows },
	{ "mailbox create", false, mailbox_add },
	{ "mailbox delete", false, mailbox_drop },
	{ "mailbox rename", false, mailbox_move },
	{ NULL, false, NULL },
};
