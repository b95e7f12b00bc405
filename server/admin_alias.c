/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_alias.c - aliases: names for others, and for all the rest of a domain. */
#include "server/admin_int.h"

#include "proto/smtp/address.h"
#include "proto/smtp/idn.h"
#include "server/login.h"
#include "store/account.h"

/* "sales@own.test", or "@own.test" for all that nobody else has. */
static json_t *alias_name(struct admin *admin, json_t *request, struct alias *out)
{
	slice text = admin_text(request, "name"), domain;
	ptrdiff_t at = slice_rfind(text, '@');
	struct login_name name = { .local = SLICE("") };
	struct domain found;
	json_t *answer;

	if (at == 0 && !idn_to_ascii(&admin->arena, slice_skip(text, 1), &domain))
		name.domain = domain;
	else if (at <= 0 || !login_parse_name(text, &admin->arena, &name))
		return admin_error("not an alias: %.*s (NAME@DOMAIN, or @DOMAIN for all the rest)",
			SLICE_ARG(text));
	answer = admin_find_domain(admin, name.domain, &found);
	*out = (struct alias){ .local = name.local, .domain = name.domain };
	return answer;
}

/* As RCPT will spell it: what needs quotes and has none is nobody's address. */
static bool is_address(struct admin *admin, const struct alias *alias)
{
	slice text = arena_printf(&admin->arena, "%.*s@%.*s", SLICE_ARG(alias->local),
		SLICE_ARG(alias->domain));
	struct mail_addr addr;

	return !alias->local.len || mail_addr_parse(&admin->arena, text, &addr);
}

static json_t *alias_add(struct admin *admin, json_t *request)
{
	struct alias alias;
	json_t *answer = alias_name(admin, request, &alias);
	bool replace = admin_flag(request, "replace");

	if (answer)
		return answer;
	if (!is_address(admin, &alias))
		return admin_error("not an address: %.*s", SLICE_ARG(admin_text(request, "name")));
	if (!admin_addresses(admin, admin_text(request, "targets"), &alias.targets))
		return admin_error("targets are addresses, with commas between");
	if (alias.targets.len > ALIAS_TARGETS_MAX)
		return admin_error(
			"an alias has room for %d bytes of targets; it may lead to other "
			"aliases, each with some of them",
			ALIAS_TARGETS_MAX);
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
	struct domain found;
	json_t *rows = admin_named_domain(admin, request, &query.domain, &found);
	enum err err;

	if (rows)
		return rows;
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

const struct admin_row admin_alias_rows[] = {
	{ "alias add", false, alias_add },
	{ "alias list", false, alias_rows },
	{ "alias remove", false, alias_drop },
	{ NULL, false, NULL },
};
