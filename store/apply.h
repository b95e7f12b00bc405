/* SPDX-License-Identifier: GPL-2.0-or-later */
/* apply.h - what applying a record may do with the rows of its shard. Nobody outside of the index's
 * appliers includes it.
 *
 * Applying is a pure function of (rows, record): no clock, no randomness, no memory between records
 * but rows (and absent.h, which saves looks at them). It runs on the shard's writer thread inside its one open write transaction. An enum err is
 * a failure of LMDB (or ERR_NOT_FOUND where said) and is passed up as it is: the transaction is then
 * undone and the records are applied again. What a record's condition came to is its outcome. */
#ifndef STORE_APPLY_H
#define STORE_APPLY_H

#include "core/base/base.h"
#include "store/index.h"

struct absent;
struct apply;
struct blob_ref;

/* --- Rows --- */
/* The value is valid until the next change of any row. ERR_NOT_FOUND. */
enum err apply_get(struct apply *ap, slice key, slice *out) must_use;
enum err apply_put(struct apply *ap, slice key, slice value) must_use;
/* Harmless when it is not there. */
enum err apply_delete(struct apply *ap, slice key) must_use;
/* Deletes up to `limit` rows of a prefix; *out_more: some are left. */
enum err apply_delete_prefix(struct apply *ap, slice prefix, size_t limit, bool *out_more) must_use;
/* The first row at or behind `from` if it begins with `prefix`: ERR_NOT_FOUND. Any change of rows
 * ends the cursor's validity: seek again behind the key (copied) that was last seen. */
enum err apply_seek(struct apply *ap, struct index_cursor *c, slice from, slice prefix) must_use;
enum err apply_next(struct index_cursor *c) must_use;
/* Deletes the row at the cursor; apply_next then goes to what stands behind it. */
enum err apply_delete_here(struct index_cursor *c) must_use;
void apply_seek_done(struct index_cursor *c);
/* The shard's; see absent.h. */
struct absent *apply_absent(struct apply *ap);

/* --- What comes of it --- */
/* The outcome of the record at hand, for whoever waits with index_outcome: an error, and at most
 * INDEX_OUTCOME_MAX bytes, or INDEX_OUTCOME_WIDE of a record that says so. The last call counts. That
 * of a message is kept only if its record has JOURNAL_OUTCOME. */
enum { INDEX_OUTCOME_MAX = 64 * 1024, INDEX_OUTCOME_WIDE = 20 * 1024 * 1024 };
void apply_outcome(struct apply *ap, enum err err, slice bytes);
/* A mailbox changed (0: the account's list of them): told to watches at the commit. */
void apply_touched(struct apply *ap, uint64_t account, uint32_t mailbox);

/* --- The appliers of mailboxes: mailbox_apply.c. `pos`: the record's, their time of change --- */
/* JOURNAL_MAILBOX. */
enum err mailbox_apply(struct apply *ap, journal_pos pos, slice payload) must_use;
/* The delivery part of a JOURNAL_MESSAGE record: targets of this shard only. `ref` is the body as the
 * record's head has it: id is the record's position, low that of its oldest chunk. */
enum err mailbox_apply_delivery(struct apply *ap, const struct blob_ref *ref, slice part) must_use;
/* The shard that holds an account's rows, of `count`. Fixed for ever. */
unsigned mailbox_shard(uint64_t account, unsigned count);
/* Which shard this is, and how many there are. */
unsigned apply_shard(const struct apply *ap, unsigned *out_count);

#endif
