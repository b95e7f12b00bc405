/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_quota.c - quotas: what they are, what they go by, and whether that is right. */
#include "server/admin_int.h"

#include "core/base/text.h"
#include "relay/local.h"
#include "server/admin_mailbox.h"
#include "server/door.h"
#include "server/login.h"
#include "store/account.h"
#include "store/message.h"

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
	json_t *answer;
	slice name;
	enum err err;

	if (!admin_domain(admin, request, &name))
		return admin_error("not a domain name");
	answer = admin_find_domain(admin, name, &d);
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
	answer = admin_account_place(admin, request, &at);
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
	json_t *answer = admin_account_place(admin, request, &at);
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

const struct admin_row admin_quota_rows[] = {
	{ "quota show", false, quota_show },
	{ "quota recount", false, quota_recount },
	{ NULL, false, NULL },
};
