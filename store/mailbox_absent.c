/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mailbox_absent.c - stands in while mailboxes are being built; goes with them. */
#include "store/mailbox.h"

__attribute__((weak)) enum err mailbox_account_init(struct store *st, uint64_t account,
	slice domain)
{
	return OK;
}

__attribute__((weak)) enum err mailbox_account_drop(struct store *st, uint64_t account)
{
	return OK;
}

__attribute__((weak)) enum err mailbox_usage(struct store *st, uint64_t account,
	struct mailbox_usage *out)
{
	*out = (struct mailbox_usage){ .mailboxes = 6 };
	return OK;
}

__attribute__((weak)) enum err mailbox_domain_usage(struct store *st, slice domain,
	struct mailbox_usage *out)
{
	*out = (struct mailbox_usage){ .mailboxes = 6 };
	return OK;
}

__attribute__((weak)) enum err mailbox_find(struct store *st, uint64_t account, slice name,
	struct arena *a, struct mailbox *out)
{
	return ERR_NOT_FOUND;
}
