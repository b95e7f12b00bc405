/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsck of the directory: each domain, account and alias can be read, and those of a domain have one. */
#include "store/account_int.h"
#include "store/check_int.h"

/* 'A' domain NUL local part, and the same of aliases. */
static bool has_domain(struct index_txn *txn, slice key)
{
	struct keys_buf row;
	slice name, value, rest = slice_skip(key, 1);

	if (!slice_cut(&rest, 0, &name))
		return false;
	keys_name(&row, KEYS_DOMAIN, name);
	return index_get(txn, keys_slice(&row), &value) == OK;
}

const char *check_directory(struct index_txn *txn, slice key, slice value)
{
	struct domain d;
	struct account acc;
	struct alias alias;

	switch (key.ptr[0]) {
	case KEYS_DOMAIN:
		return row_get_domain(value, &d) ? NULL : "no domain";
	case KEYS_ACCOUNT:
		if (!row_get_account(value, &acc))
			return "no account";
		break;
	case KEYS_ALIAS:
		if (!row_get_alias(value, &alias))
			return "no alias";
		break;
	default:
		return NULL;
	}
	return has_domain(txn, key) ? NULL : "its domain is missing";
}
