/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_domain.c - domains: stored as A-labels in lower case. */
#include "server/admin_int.h"

#include "proto/smtp/idn.h"
#include "relay/sign.h"
#include "store/account.h"

static json_t *domain_add(struct admin *admin, json_t *request)
{
	struct domain d = { .created = admin_now(admin) };
	slice scram = admin_text(request, "scram"), sign = admin_text(request, "sign");

	if (!admin_domain(admin, request, &d.name))
		return admin_error("not a domain name");
	if (slice_eq(scram, SLICE("off")))
		d.flags |= DOMAIN_NO_SCRAM;
	if (slice_eq(sign, SLICE("required")))
		d.flags |= DOMAIN_SIGN_REQUIRED;
	return admin_result(domain_put(admin->store, &d, ROW_CREATE), "domain", d.name);
}

static json_t *domain_rows(struct admin *admin, json_t *request)
{
	struct domain_page list;
	json_t *rows = json_array();
	enum err err = domain_list(admin->store, admin_text(request, "after"), ADMIN_PAGE,
		&admin->arena, &list);

	if (err) {
		json_decref(rows);
		return admin_result(err, "domains", SLICE(""));
	}
	for (size_t i = 0; i < list.len; i++) {
		const struct domain *d = &list.rows[i];

		json_array_append_new(rows,
			json_pack("{s:o,s:b,s:s,s:b,s:o,s:I,s:I,s:I,s:I}", "domain",
				admin_slice(d->name), "scram", !(d->flags & DOMAIN_NO_SCRAM),
				"sign", d->flags & DOMAIN_SIGN_REQUIRED ? "required" : "optional",
				"disabled", (d->flags & DOMAIN_DISABLED) != 0, "created",
				admin_time(d->created), "quota", (json_int_t)d->quota_bytes,
				"quota_messages", (json_int_t)d->quota_messages, "account_quota",
				(json_int_t)d->account_quota_bytes, "account_quota_messages",
				(json_int_t)d->account_quota_messages));
	}
	return admin_page(rows, list.more, list.len ? list.rows[list.len - 1].name : SLICE(""));
}

static json_t *domain_set(struct admin *admin, json_t *request)
{
	slice scram = admin_text(request, "scram"), sign = admin_text(request, "sign");
	struct domain d;
	slice name;
	json_t *answer = admin_named_domain(admin, request, &name, &d);
	enum err err;

	if (answer)
		return answer;
	d.name = name;
	d.extra = arena_dup(&admin->arena, d.extra);
	if (!admin_quota_member(request, "quota", true, &d.quota_bytes) ||
		!admin_quota_member(request, "quota-messages", false, &d.quota_messages) ||
		!admin_quota_member(request, "account-quota", true, &d.account_quota_bytes) ||
		!admin_quota_member(request, "account-quota-messages", false,
			&d.account_quota_messages))
		return admin_error("a quota is a size (5G), a number of messages, or none");
	if (scram.len)
		admin_set_bit(&d.flags, DOMAIN_NO_SCRAM, slice_eq(scram, SLICE("off")));
	if (sign.len)
		admin_set_bit(&d.flags, DOMAIN_SIGN_REQUIRED, slice_eq(sign, SLICE("required")));
	admin_set_bit(&d.flags, DOMAIN_DISABLED,
		admin_flag(request, "disable") ||
			((d.flags & DOMAIN_DISABLED) && !admin_flag(request, "enable")));
	err = domain_put(admin->store, &d, ROW_REPLACE);
	if (!err && (d.flags & DOMAIN_DISABLED))
		admin_expel(admin, SLICE(""), name);
	return admin_result(err, "domain", name);
}

static json_t *domain_drop(struct admin *admin, json_t *request)
{
	slice name;
	enum err err;

	if (!admin_domain(admin, request, &name))
		return admin_error("not a domain name");
	err = domain_remove(admin->store, name, admin_flag(request, "with-accounts"));
	if (err == ERR_BUSY)
		return admin_error("domain %.*s has accounts; --with-accounts removes them too",
			SLICE_ARG(name));
	if (!err && admin->w)
		sign_keys_changed(admin->w);
	if (!err)
		admin_expel(admin, SLICE(""), name);
	return admin_result(err, "domain", name);
}

const struct admin_row admin_domain_rows[] = {
	{ "domain add", false, domain_add },
	{ "domain list", false, domain_rows },
	{ "domain set", false, domain_set },
	{ "domain remove", false, domain_drop },
	{ NULL, false, NULL },
};
