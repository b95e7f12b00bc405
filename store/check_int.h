/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check_int.h - what check.c, account_check.c, rebuild.c, unfinished.c and mailbox_check.c share. Nobody
 * else includes it. */
#ifndef STORE_CHECK_INT_H
#define STORE_CHECK_INT_H

#include "store/check.h"
#include "store/store_int.h"

struct check {
	const struct check_run *run;
	struct check_report *report;
	struct store *st; /* open */
	char *buf;
};

void check_say(struct check *ck, const char *fmt, ...) printf_like(2, 3);
/* Reads all of a body that is needed; tells what is wrong. */
void check_body(struct check *ck, uint64_t id);
/* For journal_look: tells, and counts as lost. */
void check_gap(void *arg, const struct journal_gap *gap);
enum err check_open(struct check *ck, bool read_only);
/* account_check.c: what is wrong with a row of the directory; NULL: nothing, or it is another kind of row. */
const char *check_directory(struct index_txn *txn, slice key, slice value);
/* mailbox_check.c: the rows of mailboxes of one shard. */
enum err mailbox_check(struct check *ck, struct index_txn *txn);
/* rebuild.c: the n-th recipient of the meta as an entry on hold, unless there is a row. False: there is no
 * such recipient. The other one only looks. */
bool check_restore_entry(struct check *ck, const struct blob_ref *ref, slice meta, uint32_t n);
bool check_has_recipient(struct check *ck, const struct blob_ref *ref, slice meta, uint32_t n);
/* Can the archive's map be read? The store is locked. */
enum err check_map(struct store *st) must_use;
/* How far the index of a store that is not open came; 0: it cannot be opened. */
journal_pos check_index_farthest(struct store *st);
/* unfinished.c: of messages in [from, to), recipients of whom no record says what became of them. */
enum err check_hold_unfinished(struct check *ck, journal_pos from, journal_pos to);
/* rebuild.c: a new index in the place of the old one; the store is closed before and after. */
enum err check_rebuild(struct check *ck);

#endif
