/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_quota.c - GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208).
 *
 * An account that has limits has one quota root, named as the account; they are those mail is refused
 * by, and are changed by the operator's commands, not here. */
#include "server/imap/imap_int.h"

#include "core/conf.h"
#include "proto/imap/render.h"
#include "relay/local.h"
#include "store/account.h"
#include "store/mailbox.h"

static enum err find_limits(struct imap_session *s, struct local_quota *out)
{
	struct store *st = imap_store_of(s);
	slice name = slice_str(s->name);
	size_t at = (size_t)slice_rfind(name, '@'); /* login.h: there is one */
	slice local = slice_sub(name, 0, at), domain = slice_skip(name, at + 1);
	const struct local_options *options = conf_options(s->head.setup->conf, &local_conf);
	const struct account *acc;
	enum err err = OK;

	acc = account_find(st, local, domain, &err);
	if (acc)
		*out = local_quota_of(options, acc, domain_find(st, domain, &err));
	return err;
}

static bool any(const struct local_quota *limits)
{
	return limits->bytes || limits->messages;
}

static enum err put_quota(struct imap_session *s, const struct local_quota *limits)
{
	struct mailbox_usage usage = { 0 };
	enum err err = mailbox_usage(imap_store_of(s), s->account, &usage);
	struct out *o = imap_out(s);

	if (err)
		return err;
	out_str(o, "* QUOTA ");
	imap_put_astring(o, slice_str(s->name), imap_utf8(s));
	out_str(o, " (");
	if (limits->bytes) /* in units of 1024 (RFC 9208 5.1) */
		out_printf(o, "STORAGE %llu %llu", (unsigned long long)(usage.bytes + 1023) / 1024,
			(unsigned long long)limits->bytes / 1024);
	if (limits->messages)
		out_printf(o, "%sMESSAGE %llu %llu", limits->bytes ? " " : "",
			(unsigned long long)usage.messages, (unsigned long long)limits->messages);
	out_str(o, ")\r\n");
	return OK;
}

enum verdict imap_do_getquota(struct imap_session *s, const union imap_args *args)
{
	struct local_quota limits = { 0 };
	enum err err = find_limits(s, &limits);

	if (!err && (!any(&limits) || !slice_eq_nocase(args->quota.root, slice_str(s->name))))
		return imap_no(s, IMAP_CODE_NONEXISTENT, "No such quota root");
	if (!err)
		err = put_quota(s, &limits);
	return err ? imap_no_err(s, err) : imap_ok(s);
}

/* A mailbox may have no root (RFC 9208 4.3); a QUOTA response without a resource may not be. */
enum verdict imap_do_getquotaroot(struct imap_session *s, const union imap_args *args)
{
	struct local_quota limits = { 0 };
	struct mailbox m;
	struct out *o = imap_out(s);
	enum err err =
		mailbox_find(imap_store_of(s), s->account, args->mailbox.name, &s->arena, &m);

	if (!err && !m.id)
		err = ERR_NOT_FOUND;
	if (!err)
		err = find_limits(s, &limits);
	if (err)
		return imap_no_err(s, err);
	out_str(o, "* QUOTAROOT ");
	imap_put_mailbox(o, args->mailbox.name, imap_utf8(s));
	if (any(&limits)) {
		out_char(o, ' ');
		imap_put_astring(o, slice_str(s->name), imap_utf8(s));
	}
	out_str(o, "\r\n");
	if (any(&limits))
		err = put_quota(s, &limits);
	return err ? imap_no_err(s, err) : imap_ok(s);
}

enum verdict imap_do_setquota(struct imap_session *s, const union imap_args *args)
{
	return imap_no(s, IMAP_CODE_NOPERM, "Quotas are set by the operator");
}
