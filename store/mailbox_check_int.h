/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mailbox_check_int.h - what the files of fsck of mailboxes share: mailbox_check.c (accounts,
 * domains, references), mailbox_check_box.c and mailbox_check_bodies.c. Nobody else includes it.
 *
 * One shard, one read transaction, one thread. */
#ifndef STORE_MAILBOX_CHECK_INT_H
#define STORE_MAILBOX_CHECK_INT_H

#include "core/base/map.h"
#include "store/check_int.h"
#include "store/message_int.h"

struct checking {
	struct check *ck;
	struct index_txn *txn;
	struct arena a;
	struct map domains;
	uint64_t domain_count;
	/* The account at hand, from its mailboxes. */
	struct keys_sums account;
	uint32_t mailboxes;
	/* Counted along the way. */
	uint64_t names, boxes, rows, early, marked;
	uint64_t last_account; /* asked for last: was it dropped? */
	bool last_dropped;
	enum err err; /* of reading: the check ends */
};

/* A row is damaged, or a counter in it is wrong: told, and in the report. */
void check_bad(struct checking *c, slice key, const char *what);
void check_bad_count(struct checking *c, slice key, const char *what);

/* Every row of a prefix, or of a kind; false ends it. */
typedef bool check_row_fn(struct checking *c, slice key, slice value, void *arg);
void check_each(struct checking *c, slice prefix, check_row_fn *fn, void *arg);
void check_each_kind(struct checking *c, enum keys_kind kind, check_row_fn *fn, void *arg);
/* The value is valid until the transaction ends. */
bool check_there(struct checking *c, const struct keys_buf *key, slice *out);
bool check_some_begin(struct checking *c, const struct keys_buf *prefix);

/* mailbox_check_box.c: a row of a mailbox, with all that belongs to it; adds to the account at hand. */
bool check_mailbox(struct checking *c, slice key, slice value, void *arg);

/* mailbox_check_bodies.c: what accounts know of bodies, and their conversations. */
void check_bodies(struct checking *c);

#endif
