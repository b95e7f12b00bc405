/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_quota.c - quotas: what they are, what they go by, and making that right. */
#include "server/admin_int.h"

#include "core/base/text.h"
#include "relay/local.h"
#include "server/admin_mailbox.h"
#include "server/door.h"
#include "server/login.h"
#include "store/account.h"

/* "--quota 5G": a size, or none. False: neither. */
bool admin_quota_member(const json_t *request, const char *member, bool size, uint64_t *out)
{
	slice text = admin_text(request, member);

	if (!text.len)
		return true;
	if (slice_eq(text, SLICE("none"))) {
		*out = 0;
		return true;
	}
	return size ? text_parse_size(text, out) : text_parse_uint(text, INT64_MAX, out);
}

static json_t *usage_answer(const struct mailbox_usage *u, uint64_t bytes, uint64_t messages)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "bytes", (json_int_t)u->bytes, "messages",
		(json_int_t)u->messages, "mailboxes", (json_int_t)u->mailboxes, "quota",
		(json_int_t)bytes, "quota_messages", (json_int_t)messages);
}

static json_t *domain_quota(struct admin *admin, json_t *request)
{
	struct mailbox_usage usage = { 0 };
	struct domain d;
	slice name;
	json_t *answer = admin_named_domain(admin, request, &name, &d);
	enum err err;

	if (answer)
		return answer;
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
	struct room_sum quota = local_quota_of(o, acc, domain_find(admin->store, at->domain, &err));

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
	answer = admin_account_place(admin, request, &at);
	if (answer)
		return answer;
	err = mailbox_usage(admin->store, at.account, &usage);
	return err ? admin_result(err, "account", admin_text(request, "name")) :
		     account_quota(admin, &at, &usage, request);
}

enum err admin_room(struct admin *admin, slice account, struct local_room *out)
{
	struct login_name name;
	json_t *answer;

	*out = (struct local_room){ .store = admin->store,
		.options = conf_options(admin->setup->conf, &local_conf) };
	answer = admin_account(admin, account, &name, &out->account);
	json_decref(answer);
	return answer ? ERR_NOT_FOUND : OK;
}

static json_t *recounted(const struct mailbox_recounted *n)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:b,s:i}", "bytes", (json_int_t)n->was_bytes, "messages",
		(json_int_t)n->was_messages, "counted_bytes", (json_int_t)n->bytes,
		"counted_messages", (json_int_t)n->messages, "right", n->wrong == 0, "put_right",
		(int)n->wrong);
}

static json_t *domain_recount(struct admin *admin, json_t *request)
{
	struct mailbox_recounted n;
	struct domain d;
	slice name;
	json_t *answer = admin_named_domain(admin, request, &name, &d);
	enum err err;

	if (answer)
		return answer;
	err = mailbox_domain_recount(admin->store, name, &n);
	if (!err)
		err = store_sync_everything(admin->store);
	return err ? admin_result(err, "domain", name) : recounted(&n);
}

/* The account's share of its domain's sums was changed with it, right or wrong: those come last. */
static json_t *quota_recount(struct admin *admin, json_t *request)
{
	struct mailbox_recounted n, sums = { 0 };
	struct admin_place at;
	json_t *answer;
	enum err err;

	if (slice_find(admin_text(request, "name"), '@') < 0)
		return domain_recount(admin, request);
	answer = admin_account_place(admin, request, &at);
	if (answer)
		return answer;
	err = mailbox_recount(admin->store, at.account, &n);
	if (!err)
		err = mailbox_domain_recount(admin->store, at.domain, &sums);
	if (!err)
		err = store_sync_everything(admin->store);
	if (err)
		return admin_result(err, "account", admin_text(request, "name"));
	n.wrong += sums.wrong;
	return recounted(&n);
}

const struct admin_row admin_quota_rows[] = {
	{ "quota show", false, quota_show },
	{ "quota recount", false, quota_recount },
	{ NULL, false, NULL },
};
