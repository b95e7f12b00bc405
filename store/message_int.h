/* SPDX-License-Identifier: GPL-2.0-or-later */
/* message_int.h - deliveries and changes as bytes of journal records, shared by the files of
 * mailboxes and by whoever appends messages. Pure: nothing here waits; slices point into what was read. */
#ifndef STORE_MESSAGE_INT_H
#define STORE_MESSAGE_INT_H

#include "store/keys_mailbox.h"

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
	CHANGE_INIT = 1, /* domain: name */
	CHANGE_DROP,
	CHANGE_CREATE,    /* name, flags: the use */
	CHANGE_DELETE,    /* name */
	CHANGE_RENAME,    /* name, other */
	CHANGE_SUBSCRIBE, /* name, mode: on */
	CHANGE_STORE,     /* mailbox, runs, mode, flags, other: keywords, since if conditional */
	CHANGE_EXPUNGE,   /* mailbox, runs or all, mode: any */
	CHANGE_COPY,      /* mailbox, to, runs, mode: move */
	CHANGE_DELIVER,   /* mailbox, runs: deliveries, each a field */
	CHANGE_PURGE,     /* mailbox, flags: how many rows */
	CHANGE_END
};
struct mailbox_change {
	uint8_t kind, mode;
	bool conditional, all;
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
/* Expunge: more, then runs. Copy: validity, first uid, then runs. Create: id. Purge: more. */

#endif
