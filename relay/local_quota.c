/* SPDX-License-Identifier: GPL-2.0-or-later */
/* local_quota.c - is there room for a message more?
 *
 * At RCPT by what the index shows. When the message is here, exactly: room is taken (store/room.h)
 * until it is stored. One message may go over: only who is full already is refused more. */
#include "relay/local.h"

#include "store/account.h"
#include "store/message.h"

static bool over(const struct mailbox_usage *u, const struct room_sum *before,
	struct room_sum quota)
{
	return (quota.bytes && u->bytes + before->bytes >= quota.bytes) ||
		(quota.messages && u->messages + before->messages >= quota.messages);
}

static uint64_t first_of(uint64_t own, uint64_t domain, int64_t general)
{
	return own ? own : domain ? domain : (uint64_t)general;
}

struct room_sum local_quota_of(const struct local_options *o, const struct account *acc,
	const struct domain *d)
{
	return (struct room_sum){
		.bytes = first_of(acc->quota_bytes, d ? d->account_quota_bytes : 0, o->quota_bytes),
		.messages = first_of(acc->quota_messages, d ? d->account_quota_messages : 0,
			o->quota_messages),
	};
}

/* Both limits, before anybody waits. */
static enum err limits_of(const struct local_room *r, struct room_sum *own, struct room_sum *all)
{
	enum err err = OK;
	const struct domain *d = domain_find(r->store, r->account->domain, &err);

	*own = local_quota_of(r->options, r->account, d);
	*all = d ? (struct room_sum){ d->quota_bytes, d->quota_messages } : (struct room_sum){ 0 };
	return err;
}

enum err local_has_room(struct local_room *r)
{
	struct room_sum own, all;
	struct mailbox_usage domain;
	enum err err = limits_of(r, &own, &all);

	if (!err)
		err = mailbox_usage(r->store, r->account->id, &r->usage);
	if (err)
		return err;
	if (over(&r->usage, &r->before, own))
		return ERR_QUOTA;
	if (!all.bytes && !all.messages)
		return OK;
	err = mailbox_domain_usage(r->store, r->account->domain, &domain);
	return !err && over(&domain, &r->before, all) ? ERR_QUOTA : err;
}

/* --- Of one account --- */

/* The question, with all that the rows say: they may go while somebody waits. */
struct asking {
	struct room_want want;
	struct room_ask ask;
	char domain[256];
};

static enum err fill(struct asking *a, const struct local_room *r)
{
	struct out o = out_fixed(a->domain, sizeof(a->domain));

	*a = (struct asking){ .want.account = r->account->id, .ask.before = r->before };
	out_slice(&o, r->account->domain);
	a->ask.domain = out_written(&o);
	a->ask.wants = &a->want;
	a->ask.len = 1;
	return limits_of(r, &a->want.limit, &a->ask.limit);
}

static bool is_any(const struct room_sum *limit)
{
	return limit->bytes || limit->messages;
}

enum err local_take_room(const struct local_room *r, const struct room_sum *all, struct room **out)
{
	struct asking a;
	enum err err = fill(&a, r);

	*out = NULL;
	a.want.add = *all;
	return err ? err : room_take(r->store, &a.ask, out);
}

/* On a helper thread, in order of uid: the last one may go over. */
static bool add_weight(void *arg, const struct message_row *row)
{
	struct asking *a = arg;

	a->ask.before = a->want.add;
	a->want.add.bytes += row->m.size;
	a->want.add.messages++;
	return true;
}

enum err local_take_copy(const struct local_room *r, const struct message_copy *copy,
	struct room **out)
{
	struct asking a;
	struct message_scan scan = { .account = copy->account,
		.mailbox = copy->from,
		.uids = copy->uids,
		.each = add_weight,
		.arg = &a };
	enum err err = fill(&a, r);

	*out = NULL;
	if (err || copy->move || (!is_any(&a.want.limit) && !is_any(&a.ask.limit)))
		return err;
	err = message_scan(r->store, &scan);
	return err || !a.want.add.messages ? err : room_take(r->store, &a.ask, out);
}
