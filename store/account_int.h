/* SPDX-License-Identifier: GPL-2.0-or-later */
/* account_int.h - the directory's rows as bytes, shared by account*.c. Nobody else includes it.
 *
 * All rows of the directory live in shard 0, so a listing is in order and a domain goes as one. */
#ifndef STORE_ACCOUNT_INT_H
#define STORE_ACCOUNT_INT_H

#include "store/account.h"
#include "store/keys.h"
#include "store/store_int.h"

enum { DIRECTORY_SHARD = 0 };

/* Rows to bytes and back; slices point into `value`, names are set by the caller. */
void row_put_domain(struct out *o, const struct domain *d);
bool row_get_domain(slice value, struct domain *out);
void row_put_account(struct out *o, const struct account *acc);
bool row_get_account(slice value, struct account *out);
void row_put_alias(struct out *o, const struct alias *alias);
bool row_get_alias(slice value, struct alias *out);
void row_put_key(struct out *o, const struct domain_key *key);

/* All pieces of the keys of a domain, each put together in the arena. */
enum err read_keys(struct index_txn *txn, slice domain, struct arena *a, struct domain_key **out,
	size_t *out_len);

#endif
