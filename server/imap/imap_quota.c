/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_quota.c - GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208).
 *
 * An account that has limits is one quota root, named as the account; its domain, where all accounts
 * together have some, is another, named as the domain. They are those mail is refused by, and are
 * changed by the operator's commands, not here. */
#include "server/imap/imap_int.h"

#include "core/conf.h"
#include "proto/imap/render.h"
#include "relay/local.h"
#include "store/account.h"
#include "store/mailbox.h"

struct root {
	slice name; /* of s->name */
	struct room_sum limit;
	bool domain;
};
struct roots {
	struct root rows[2];
	size_t len;
};

static void add_root(struct roots *roots, slice name, const struct room_sum *limit, bool domain)
{
	if (limit->bytes || limit->messages)
		roots->rows[roots->len++] =
			(struct root){ .name = name, .limit = *limit, .domain = domain };
}

static enum err find_roots(struct imap_session *s, struct roots *out)
{
	struct store *st = imap_store_of(s);
	slice name = slice_str(s->name);
	size_t at = (size_t)slice_rfind(name, '@'); /* login.h: there is one */
	slice local = slice_sub(name, 0, at), domain = slice_skip(name, at + 1);
	const struct local_options *options = conf_options(s->head.setup->conf, &local_conf);
	enum err err = OK;
	const struct account *acc = account_find(st, local, domain, &err);
	const struct domain *d = err ? NULL : domain_find(st, domain, &err);
	struct room_sum own = { 0 }, all = { 0 };

	*out = (struct roots){ .len = 0 };
	if (acc)
		own = local_quota_of(options, acc, d);
	if (d)
		all = (struct room_sum){ d->quota_bytes, d->quota_messages };
	add_root(out, name, &own, false);
	add_root(out, domain, &all, true);
	return err;
}

static enum err put_quota(struct imap_session *s, const struct root *root)
{
	const struct room_sum *limit = &root->limit;
	struct mailbox_usage usage = { 0 };
	enum err err = root->domain ? mailbox_domain_usage(imap_store_of(s), root->name, &usage) :
				      mailbox_usage(imap_store_of(s), s->account, &usage);
	struct out *o = imap_out(s);

	if (err)
		return err;
	out_str(o, "* QUOTA ");
	imap_put_astring(o, root->name, imap_utf8(s));
	out_str(o, " (");
	if (limit->bytes) /* in units of 1024 (RFC 9208 5.1) */
		out_printf(o, "STORAGE %llu %llu", (unsigned long long)(usage.bytes + 1023) / 1024,
			(unsigned long long)(limit->bytes + 1023) / 1024);
	if (limit->messages)
		out_printf(o, "%sMESSAGE %llu %llu", limit->bytes ? " " : "",
			(unsigned long long)usage.messages, (unsigned long long)limit->messages);
	out_str(o, ")\r\n");
	return OK;
}

enum verdict imap_do_getquota(struct imap_session *s, const union imap_args *args)
{
	struct roots roots;
	enum err err = find_roots(s, &roots);
	size_t i = 0;

	while (i < roots.len && !slice_eq_nocase(args->quota.root, roots.rows[i].name))
		i++;
	if (!err && i == roots.len)
		return imap_no(s, IMAP_CODE_NONEXISTENT, "No such quota root");
	if (!err)
		err = put_quota(s, &roots.rows[i]);
	return err ? imap_no_err(s, err) : imap_ok(s);
}

/* A mailbox may have no root (RFC 9208 4.3); a QUOTA response without a resource may not be. It need not be
 * there yet (4.1.2): all of an account have the same. */
enum verdict imap_do_getquotaroot(struct imap_session *s, const union imap_args *args)
{
	struct roots roots = { .len = 0 };
	struct out *o = imap_out(s);
	enum err err = find_roots(s, &roots);

	if (err)
		return imap_no_err(s, err);
	out_str(o, "* QUOTAROOT ");
	imap_put_mailbox(o, args->mailbox.name, imap_utf8(s));
	for (size_t i = 0; i < roots.len; i++) {
		out_char(o, ' ');
		imap_put_astring(o, roots.rows[i].name, imap_utf8(s));
	}
	out_str(o, "\r\n");
	for (size_t i = 0; !err && i < roots.len; i++)
		err = put_quota(s, &roots.rows[i]);
	return err ? imap_no_err(s, err) : imap_ok(s);
}

enum verdict imap_do_setquota(struct imap_session *s, const union imap_args *args)
{
	return imap_no(s, IMAP_CODE_NOPERM, "Quotas are set by the operator");
}
