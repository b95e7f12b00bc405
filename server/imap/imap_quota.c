/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_quota.c - GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208).
 *
 * An account has one quota root, named as the account; the limits are those mail is refused by. They
 * are changed by the operator's commands, not here. */
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

static enum err put_quota(struct imap_session *s)
{
	struct mailbox_usage usage = { 0 };
	struct local_quota limits = { 0 };
	enum err err = find_limits(s, &limits);
	struct out *o = imap_out(s);

	if (!err)
		err = mailbox_usage(imap_store_of(s), s->account, &usage);
	if (err)
		return err;
	out_str(o, "* QUOTA ");
	imap_put_astring(o, slice_str(s->name), imap_utf8(s));
	out_str(o, " (");
	if (limits.bytes) /* in units of 1024 (RFC 9208 5.1) */
		out_printf(o, "STORAGE %llu %llu", (unsigned long long)(usage.bytes + 1023) / 1024,
			(unsigned long long)limits.bytes / 1024);
	if (limits.messages)
		out_printf(o, "%sMESSAGE %llu %llu", limits.bytes ? " " : "",
			(unsigned long long)usage.messages, (unsigned long long)limits.messages);
	out_str(o, ")\r\n");
	return OK;
}

enum verdict imap_do_getquota(struct imap_session *s, const union imap_args *args)
{
	enum err err;

	if (!slice_eq_nocase(args->quota.root, slice_str(s->name)))
		return imap_no(s, IMAP_CODE_NONEXISTENT, "No such quota root");
	err = put_quota(s);
	return err ? imap_no_err(s, err) : imap_ok(s);
}

enum verdict imap_do_getquotaroot(struct imap_session *s, const union imap_args *args)
{
	struct mailbox m;
	struct out *o;
	enum err err =
		mailbox_find(imap_store_of(s), s->account, args->mailbox.name, &s->arena, &m);

	if (err)
		return imap_no_err(s, err);
	o = imap_out(s);
	out_str(o, "* QUOTAROOT ");
	imap_put_mailbox(o, args->mailbox.name, imap_utf8(s));
	out_char(o, ' ');
	imap_put_astring(o, slice_str(s->name), imap_utf8(s));
	out_str(o, "\r\n");
	err = put_quota(s);
	return err ? imap_no_err(s, err) : imap_ok(s);
}

enum verdict imap_do_setquota(struct imap_session *s, const union imap_args *args)
{
	return imap_no(s, IMAP_CODE_NOPERM, "Quotas are set by the operator");
}
