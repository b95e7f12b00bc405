/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_account.c - accounts: who they are, how they log in, where their mail goes on.
 *
 * Names are stored in lower case. A change is durable and visible to every worker before it is answered. */
#include "server/admin_int.h"

#include "core/base/text.h"
#include "proto/smtp/idn.h"
#include "server/door.h"
#include "server/login.h"
#include "store/account.h"

/* A local part that needs no quotes (RFC 5322 3.2.3, RFC 6532); quoted ones are nobody's account. */
static bool local_ok(slice local)
{
	for (size_t i = 0; i < local.len; i++)
		if ((unsigned char)local.ptr[i] <= ' ' ||
			strchr("\"<>()[]\\,;:@\177", local.ptr[i]))
			return false;
	return local.len && text_is_utf8(local);
}

/* "a.test,b.test" as the store keeps it: A-labels separated by NUL. */
static bool read_from_domains(struct admin *admin, slice text, slice *out)
{
	struct out o = out_arena(&admin->arena);
	slice one, ascii;

	while (slice_cut(&text, ',', &one)) {
		if (idn_to_ascii(&admin->arena, slice_trim(one), &ascii) || !text_is_domain(ascii))
			return false;
		if (o.len)
			out_char(&o, '\0');
		out_slice(&o, ascii);
	}
	*out = out_written(&o);
	return out->len <= ACCOUNT_FROM_MAX;
}

/* To be changed and put back: what a find returned does not outlive the wait. */
static struct account copy_row(struct admin *admin, const struct account *found)
{
	struct arena *a = &admin->arena;
	struct account row = *found;

	row.local = arena_dup(a, found->local);
	row.domain = arena_dup(a, found->domain);
	row.hash = arena_dup(a, found->hash);
	row.scram_salt = arena_dup(a, found->scram_salt);
	row.from_domains = arena_dup(a, found->from_domains);
	row.forward = arena_dup(a, found->forward);
	row.extra = arena_dup(a, found->extra);
	return row;
}

/* The row a password is to be set in: found, or made. */
static json_t *put_account(struct admin *admin, json_t *request, enum row_mode mode)
{
	slice text = admin_text(request, "name"), password = admin_text(request, "password");
	const struct account *old;
	struct account row = { .created = admin_now(admin), .changed = admin_now(admin) };
	struct domain d;
	struct login_name name;
	json_t *answer;
	enum err err = OK;

	if (!login_parse_name(text, &admin->arena, &name) || !local_ok(name.local))
		return admin_error("not an account name: %.*s (USER@DOMAIN)", SLICE_ARG(text));
	answer = admin_find_domain(admin, name.domain, &d);
	if (answer)
		return answer;
	old = account_find(admin->store, name.local, name.domain, &err);
	if (err)
		return admin_result(err, "account", text);
	if (mode == ROW_CREATE && old)
		return admin_result(ERR_EXISTS, "account", text);
	if (mode == ROW_REPLACE && !old)
		return admin_result(ERR_NOT_FOUND, "account", text);
	if (old) {
		row = copy_row(admin, old);
		row.changed = admin_now(admin);
	}
	row.local = name.local;
	row.domain = name.domain;
	if (admin_flag(request, "from-any"))
		row.flags |= ACCOUNT_FROM_ANY;
	slice also = admin_text(request, "from-domains");

	if (also.len && !read_from_domains(admin, also, &row.from_domains))
		return admin_error("--from-domains: domain names with commas between");
	err = login_make_secrets(admin->setup->auth, &d, password, &admin->arena, &row);
	if (err == ERR_INVALID)
		return admin_error("a password has 1 to 512 bytes, and no NUL");
	if (!err)
		err = account_put(admin->store, &row, mode);
	return admin_result(err, "account", text);
}

static json_t *account_add(struct admin *admin, json_t *request)
{
	return put_account(admin, request, ROW_CREATE);
}

static json_t *account_passwd(struct admin *admin, json_t *request)
{
	return put_account(admin, request, ROW_REPLACE);
}

static void set_flags(const json_t *request, struct account *row)
{
	static const struct {
		const char *member;
		uint32_t bit;
		bool on;
	} words[] = { { "disable", ACCOUNT_DISABLED, true }, { "enable", ACCOUNT_DISABLED, false },
		{ "from-any", ACCOUNT_FROM_ANY, true }, { "from-own", ACCOUNT_FROM_ANY, false },
		{ "no-copy", ACCOUNT_FORWARD_ONLY, true },
		{ "copy", ACCOUNT_FORWARD_ONLY, false } };

	for (size_t i = 0; i < array_len(words); i++)
		if (admin_flag(request, words[i].member))
			admin_set_bit(&row->flags, words[i].bit, words[i].on);
}

static json_t *account_set(struct admin *admin, json_t *request)
{
	slice text = admin_text(request, "name"), forward = admin_text(request, "forward");
	slice from = admin_text(request, "from-domains");
	const struct account *found = NULL;
	struct login_name name;
	struct account row;
	enum err err;
	json_t *answer = admin_account(admin, text, &name, &found);

	if (answer)
		return answer;
	row = copy_row(admin, found);
	row.changed = admin_now(admin);
	if (!admin_quota_member(request, "quota", true, &row.quota_bytes) ||
		!admin_quota_member(request, "quota-messages", false, &row.quota_messages))
		return admin_error("a quota is a size (5G), a number of messages, or none");
	if (slice_eq(forward, SLICE("none")))
		row.forward = SLICE("");
	else if (forward.len && !admin_addresses(admin, forward, &row.forward))
		return admin_error("--forward: addresses with commas between, or none");
	if (slice_eq(from, SLICE("none")))
		row.from_domains = SLICE("");
	else if (from.len && !read_from_domains(admin, from, &row.from_domains))
		return admin_error("--from-domains: domain names with commas between, or none");
	set_flags(request, &row);
	err = account_put(admin->store, &row, ROW_REPLACE);
	if (!err && (row.flags & ACCOUNT_DISABLED))
		admin_expel(admin, name.local, name.domain);
	return admin_result(err, "account", text);
}

static json_t *account_row(struct admin *admin, const struct account *acc)
{
	slice full = arena_printf(&admin->arena, "%.*s@%.*s", SLICE_ARG(acc->local),
		SLICE_ARG(acc->domain));

	return json_pack("{s:o,s:b,s:b,s:o,s:I,s:I,s:o,s:b,s:o,s:b}", "account", admin_slice(full),
		"scram", acc->scram_iterations > 0, "disabled",
		(acc->flags & ACCOUNT_DISABLED) != 0, "created", admin_time(acc->created), "quota",
		(json_int_t)acc->quota_bytes, "quota_messages", (json_int_t)acc->quota_messages,
		"forward", admin_list(admin, acc->forward), "copy",
		!(acc->flags & ACCOUNT_FORWARD_ONLY), "from_domains",
		admin_list(admin, acc->from_domains), "from_any",
		(acc->flags & ACCOUNT_FROM_ANY) != 0);
}

/* Where a list of all accounts goes on: "local@domain", or "@domain" for its first. */
static enum err next_domain(struct admin *admin, slice after, slice *out)
{
	struct domain_page list;
	enum err err = domain_list(admin->store, after, 1, &admin->arena, &list);

	*out = !err && list.len ? list.rows[0].name : SLICE("");
	return err;
}

static enum err where_to_list(struct admin *admin, json_t *request, struct account_query *query)
{
	slice after = admin_text(request, "after");
	ptrdiff_t at = slice_rfind(after, '@');

	query->after = after;
	if (query->domain.len)
		return OK;
	if (at < 0)
		return next_domain(admin, SLICE(""), &query->domain);
	query->domain = slice_skip(after, (size_t)at + 1);
	query->after = slice_sub(after, 0, (size_t)at);
	return OK;
}

static json_t *account_rows(struct admin *admin, json_t *request)
{
	struct account_query query = { .limit = ADMIN_PAGE };
	struct account_page list = { 0 };
	bool all = admin_text(request, "name").len == 0;
	struct domain found;
	json_t *rows = all ? NULL : admin_named_domain(admin, request, &query.domain, &found);
	slice next = SLICE("");
	enum err err;

	if (rows)
		return rows;
	err = where_to_list(admin, request, &query);
	if (!err && query.domain.len)
		err = account_list(admin->store, &query, &admin->arena, &list);
	if (!err && list.more)
		next = list.rows[list.len - 1].local;
	if (!err && all && list.more)
		next = arena_printf(&admin->arena, "%.*s@%.*s", SLICE_ARG(next),
			SLICE_ARG(query.domain));
	if (!err && all && !list.more && query.domain.len) {
		err = next_domain(admin, query.domain, &next);
		if (next.len)
			next = arena_printf(&admin->arena, "@%.*s", SLICE_ARG(next));
	}
	if (err)
		return admin_result(err, "accounts of", query.domain);
	rows = json_array();
	for (size_t i = 0; i < list.len; i++)
		json_array_append_new(rows, account_row(admin, &list.rows[i]));
	return admin_page(rows, next.len > 0, next);
}

static json_t *account_drop(struct admin *admin, json_t *request)
{
	slice text = admin_text(request, "name");
	struct login_name name;
	enum err err;

	if (!login_parse_name(text, &admin->arena, &name))
		return admin_error("not an account name: %.*s (USER@DOMAIN)", SLICE_ARG(text));
	err = account_remove(admin->store, name.local, name.domain);
	if (!err)
		admin_expel(admin, name.local, name.domain);
	return admin_result(err, "account", text);
}

const struct admin_row admin_account_rows[] = {
	{ "account add", false, account_add },
	{ "account passwd", false, account_passwd },
	{ "account set", false, account_set },
	{ "account list", false, account_rows },
	{ "account remove", false, account_drop },
	{ NULL, false, NULL },
};
