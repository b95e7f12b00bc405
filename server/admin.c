/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin.c - finds the row of a request, and the small helpers all rows use. */
#include "server/admin_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "core/worker.h"
#include "proto/smtp/address.h"
#include "proto/smtp/idn.h"
#include "server/login.h"
#include "server/service.h"
#include "store/account.h"

json_t *admin_error(const char *fmt, ...)
{
	char text[512];
	va_list args;
	json_t *answer;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	answer = json_pack("{s:o}", "error", admin_slice(slice_str(text)));
	must(answer);
	return answer;
}

slice admin_text(const json_t *request, const char *member)
{
	const json_t *value = json_object_get(request, member);

	return json_is_string(value) ?
		slice_of(json_string_value(value), json_string_length(value)) :
		SLICE("");
}

bool admin_flag(const json_t *request, const char *member)
{
	return json_is_true(json_object_get(request, member));
}

json_t *admin_slice(slice text)
{
	json_t *value = json_stringn(text.len ? text.ptr : "", text.len);
	struct out o;

	if (value)
		return value;
	o = out_heap(text.len * 3 + 8);
	for (size_t i = 0; i < text.len; i++)
		out_char(&o, (unsigned char)text.ptr[i] < 128 ? text.ptr[i] : '?');
	value = json_stringn(o.buf, o.len);
	out_heap_done(&o);
	return value;
}

json_t *admin_result(enum err err, const char *what, slice name)
{
	if (!err)
		return json_object();
	return admin_error("%s %.*s: %s", what, SLICE_ARG(name), err_text(err));
}

bool admin_number(const json_t *request, const char *member, uint64_t *out)
{
	const json_t *value = json_object_get(request, member);

	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		*out = (uint64_t)json_integer_value(value);
		return true;
	}
	return text_parse_uint(admin_text(request, member), INT64_MAX, out);
}

json_t *admin_page(json_t *rows, bool more, slice next)
{
	json_t *answer = json_pack("{s:o}", "rows", rows);

	if (more && next.len)
		json_object_set_new(answer, "next", admin_slice(next));
	return answer;
}

json_t *admin_time(wall_ms at)
{
	char buf[40];
	struct out o = out_fixed(buf, sizeof(buf));

	if (!at)
		return json_null();
	text_put_timestamp(&o, at);
	return admin_slice(out_written(&o));
}

wall_ms admin_now(const struct admin *admin)
{
	return admin->w ? worker_wall(admin->w) : clock_wall();
}

bool admin_addresses(struct admin *admin, slice text, slice *out)
{
	struct out o = out_arena(&admin->arena);
	struct mail_addr addr;
	slice one, domain;

	while (slice_cut(&text, ',', &one)) {
		if (!mail_addr_parse(&admin->arena, slice_trim(one), &addr) ||
			(!addr.literal && idn_to_ascii(&admin->arena, addr.domain, &domain)))
			return false;
		if (!addr.literal)
			addr.domain = domain;
		if (o.len)
			out_char(&o, '\0');
		mail_addr_put(&o, &addr);
	}
	*out = out_written(&o);
	return out->len > 0;
}

json_t *admin_list(struct admin *admin, slice separated)
{
	json_t *list = json_array();
	slice one;

	while (slice_cut(&separated, '\0', &one))
		json_array_append_new(list, admin_slice(one));
	return list;
}

json_t *admin_account(struct admin *admin, slice text, struct login_name *name,
	const struct account **out)
{
	enum err err = OK;

	if (!login_parse_name(text, &admin->arena, name))
		return admin_error("not an account name: %.*s (USER@DOMAIN)", SLICE_ARG(text));
	*out = account_find(admin->store, name->local, name->domain, &err);
	return *out ? NULL : admin_result(err ? err : ERR_NOT_FOUND, "account", text);
}

bool admin_domain(struct admin *admin, const json_t *request, slice *out)
{
	slice text = admin_text(request, "name");

	return text.len && !idn_to_ascii(&admin->arena, text, out) && text_is_domain(*out);
}

json_t *admin_find_domain(struct admin *admin, slice name, struct domain *out)
{
	enum err err = OK;
	const struct domain *found = domain_find(admin->store, name, &err);

	if (!found)
		return admin_result(err ? err : ERR_NOT_FOUND, "domain", name);
	*out = *found;
	return NULL;
}

json_t *admin_named_domain(struct admin *admin, const json_t *request, slice *name,
	struct domain *out)
{
	if (!admin_domain(admin, request, name))
		return admin_error("not a domain name");
	return admin_find_domain(admin, *name, out);
}

void admin_expel(struct admin *admin, slice local, slice domain)
{
	if (admin->service)
		service_expel(admin->service,
			arena_printf(&admin->arena, "%.*s@%.*s", SLICE_ARG(local),
				SLICE_ARG(domain)));
}

static const struct admin_row *find(const struct admin_row *rows, slice name)
{
	for (; rows->name; rows++)
		if (slice_eq(name, slice_str(rows->name)))
			return rows;
	return NULL;
}

static const struct admin_row *row_of(const json_t *request)
{
	const struct admin_row *const tables[] = { admin_domain_rows, admin_account_rows,
		admin_alias_rows, admin_dkim_rows, admin_mailbox_rows, admin_message_rows,
		admin_quota_rows, admin_queue_rows, admin_status_rows, admin_transfer_rows,
		admin_upload_rows };
	const struct admin_row *row = NULL;

	for (size_t i = 0; i < array_len(tables) && !row; i++)
		row = find(tables[i], admin_text(request, "do"));
	return row;
}

bool admin_needs_relay(const json_t *request)
{
	const struct admin_row *row = row_of(request);

	return row && row->relay;
}

json_t *admin_run(struct admin *admin, json_t *request)
{
	const struct admin_row *row = row_of(request);
	json_t *answer;

	if (!row)
		return admin_error("no such request: %.*s", SLICE_ARG(admin_text(request, "do")));
	must(admin->w || !row->relay);
	answer = row->run(admin, request);
	arena_done(&admin->arena);
	must(answer);
	return answer;
}
