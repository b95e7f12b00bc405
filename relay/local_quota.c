/* SPDX-License-Identifier: GPL-2.0-or-later */
/* local_quota.c - is there room for a message more?
 *
 * Usage is counted when a message was applied, so those still on their way are not seen; what one
 * caller has under way itself it may add. One message may go over: only who is full already is
 * refused more. */
#include "relay/local.h"

#include "store/account.h"

static bool over(const struct mailbox_usage *u, const struct mailbox_usage *more,
	struct local_quota quota)
{
	return (quota.bytes && u->bytes + more->bytes >= quota.bytes) ||
		(quota.messages && u->messages + more->messages >= quota.messages);
}

static uint64_t first_of(uint64_t own, uint64_t domain, int64_t general)
{
	return own ? own : domain ? domain : (uint64_t)general;
}

struct local_quota local_quota_of(const struct local_options *o, const struct account *acc,
	const struct domain *d)
{
	return (struct local_quota){
		.bytes = first_of(acc->quota_bytes, d ? d->account_quota_bytes : 0, o->quota_bytes),
		.messages = first_of(acc->quota_messages, d ? d->account_quota_messages : 0,
			o->quota_messages),
	};
}

enum err local_has_room(struct local_room *r)
{
	struct mailbox_usage all;
	enum err err = OK;
	const struct domain *d = domain_find(r->store, r->account->domain, &err);
	struct local_quota quota = local_quota_of(r->options, r->account, d);

	if (!err)
		err = mailbox_usage(r->store, r->account->id, &r->usage);
	if (err)
		return err;
	if (over(&r->usage, &r->more, quota))
		return ERR_QUOTA;
	if (!d || (!d->quota_bytes && !d->quota_messages))
		return OK;
	quota = (struct local_quota){ d->quota_bytes, d->quota_messages };
	err = mailbox_domain_usage(r->store, d->name, &all);
	return !err && over(&all, &r->more, quota) ? ERR_QUOTA : err;
}
