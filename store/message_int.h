/* SPDX-License-Identifier: GPL-2.0-or-later */
/* message_int.h - deliveries and changes as bytes of journal records, and reading rows, shared by the
 * files of mailboxes (mailbox*.c, message*.c), room.c, and by store.c, which appends deliveries, check.c and
 * rebuild.c.
 * Slices point into what was read. Only what takes a store waits. */
#ifndef STORE_MESSAGE_INT_H
#define STORE_MESSAGE_INT_H

#include "core/base/run_pile.h"
#include "store/index.h"
#include "store/keys_mailbox.h"

struct index_txn;
struct store;

/* --- The delivery part of a message's record --- */
/* Of the record it stands in: what the index is to know of the body. */
struct delivery_body {
	uint64_t size; /* head included */
	uint64_t low;  /* where the body begins, if before the record; else 0 */
	wall_ms at;
};
/* ERR_LIMIT: too many targets; ERR_TOO_LARGE: a splice, uidl or list of keywords. */
enum err message_check_delivery(const struct deliver *d) must_use;
void message_put_delivery(struct out *o, const struct deliver *d, const struct delivery_body *body);
/* At most this many bytes. */
size_t message_delivery_bytes(const struct deliver *d);
/* The shards of its targets. */
uint16_t message_delivery_shards(const struct deliver *d, unsigned count);

struct delivery {
	uint64_t blob; /* 0: the record's position */
	uint64_t low;  /* 0: as blob */
	uint64_t size;
	wall_ms at;
	unsigned key_count;
	uint64_t keys[MESSAGE_THREAD_KEYS_MAX];
	slice summary;
	uint32_t target_count;
	slice targets;
};
/* False: damaged, or over a limit. */
bool message_get_delivery(slice part, struct delivery *out) must_use;
/* From the front of delivery.targets; false at the end. */
bool message_next_target(slice *targets, struct deliver_target *out);

/* --- JOURNAL_MAILBOX: one change of one account --- */
enum mailbox_change_kind {
	CHANGE_INIT = 1,  /* domain: name */
	CHANGE_DROP,      /* flags: how many rows; conditional: go on with it */
	CHANGE_CREATE,    /* name, flags: the use, to: how many there may be (0: any number) */
	CHANGE_DELETE,    /* name */
	CHANGE_RENAME,    /* name, other, to: how many */
	CHANGE_SUBSCRIBE, /* name, mode: on, to: how many */
	CHANGE_STORE,   /* mailbox, runs, mode, flags, other: keywords, since if conditional; to: 1:
			     what changes no message makes no keyword; records of before have 0 */
	CHANGE_EXPUNGE, /* mailbox, runs or all, mode: any, flags: how many at most; records of
			   before have 0 */
	CHANGE_COPY,    /* mailbox, to, runs, mode: move, flags: at most so many (0: all), wide */
	CHANGE_DELIVER, /* mailbox, runs: deliveries, each a field */
	CHANGE_PURGE,   /* mailbox, flags: how many rows */
	CHANGE_RENEW,   /* what was uid so far is not any more: every mailbox's validity */
	CHANGE_RECOUNT, /* mailbox; 0: the account */
	CHANGE_SUMS,    /* name: the domain; of no account, in the record's shard */
	CHANGE_END
};
struct mailbox_change {
	uint8_t kind, mode;
	bool conditional, all;
	bool wide; /* its outcome may be long; records of before have it not, and are refused alike */
	uint64_t account;
	uint32_t mailbox, to, flags;
	modseq since;
	wall_ms at;
	slice name, other, runs;
};
void mailbox_put_change(struct out *o, const struct mailbox_change *change);
bool mailbox_get_change(slice payload, struct mailbox_change *out) must_use;

/* --- Names --- */
/* Of a mailbox that may be made: UTF-8 without controls, no empty part. */
bool mailbox_name_ok(slice name);
/* INBOX is spelt so, alone and as the first part. `buf` is used when that changes something. */
slice mailbox_name(slice name, char buf[MAILBOX_NAME_MAX]);

/* --- Outcomes --- */
/* Of deliveries: one for each target that was served, in order. */
struct delivered_row {
	uint64_t account;
	struct delivered at;
};
enum { DELIVERED_BYTES = 20 };
void message_put_delivered(struct out *o, const struct delivered_row *row);
bool message_next_delivered(slice *in, struct delivered_row *out);

/* --- Changing: mailbox.c --- */
struct mailbox_ran {
	modseq pos;
	slice outcome; /* its bytes, in the arena */
};
/* Appends the record and waits for its outcome. pos is also set when that is an error. */
enum err mailbox_run(struct store *st, const struct mailbox_change *change, struct arena *a,
	struct mailbox_ran *out) must_use;
/* The same in a shard that the caller names. */
enum err mailbox_run_in(struct store *st, const struct mailbox_change *change, unsigned shard,
	struct arena *a, struct mailbox_ran *out) must_use;
/* Now, as records say it. */
wall_ms mailbox_clock(void);
/* All of a set, as records say it. */
void mailbox_put_runs(struct out *o, const struct runs *runs);
/* Adds what a record says. False: damaged, or no memory. */
bool mailbox_take_runs(slice in, struct runs *runs) must_use;

/* --- Reading, inside a transaction: mailbox_read.c --- */
unsigned mailbox_home(const struct store *st, uint64_t account);
/* ERR_NOT_FOUND. */
enum err read_mailbox_row(struct index_txn *txn, uint64_t account, uint32_t id,
	struct keys_mailbox_row *out) must_use;
/* The same as others see it, but for the name, which points into the row. */
void mailbox_of_row(struct mailbox *out, uint32_t id, const struct keys_mailbox_row *row);
/* Everything before it is contained in what is read. */
enum err read_position(struct index_txn *txn, modseq *out) must_use;
/* Usage for who adds what is on its way: `at` says for each shard that was read (one, or for a domain
 * all) that everything before it is contained. On the calling thread; warm rows. */
struct usage_seen {
	uint64_t bytes, messages;
	modseq at[INDEX_SHARDS_MAX];
};
enum err read_usage(struct store *st, uint64_t account, struct usage_seen *out) must_use;
enum err read_domain_usage(struct store *st, slice domain, struct usage_seen *out) must_use;
/* Adds the live uids from `from` on. */
struct uids_query {
	uint64_t account;
	uint32_t mailbox, from, uid_next;
};
enum err read_uids(struct index_txn *txn, const struct uids_query *query,
	struct run_pile *uids) must_use;
/* The same, added to a set. */
enum err read_uid_set(struct index_txn *txn, const struct uids_query *query,
	struct runs *uids) must_use;

/* --- Outcomes as bytes --- */
/* Drop: more. Expunge: more, then runs. Copy: validity, first uid, then runs. Create and rename: id. */

#endif
