/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keys_mailbox.h - keys and values of the rows of mailboxes. Key fields are big-endian.
 *
 *   U account                     -> usage, next mailbox id, domain
 *   V domain                      -> usage of the domain's accounts in this shard
 *   L account name                -> mailbox id
 *   N account name                -> empty: subscribed
 *   X account mailbox             -> mailbox; rewritten by each delivery
 *   W account mailbox             -> names of its keywords
 *   I account mailbox uid         -> message: small, so that flags of many are read quickly
 *   J account mailbox uid         -> empty: a message with MESSAGE_DELETED
 *   E account blob piece          -> what is known of a body without opening it; shared by copies
 *   R blob account mailbox uid    -> empty: what needs the blob, for the mover
 *   F low blob                    -> empty: the same for blobs that began before their record
 *   Y account mailbox pos piece   -> change log: uids whose flags changed, or that went
 *   P account mailbox last        -> first: a run of uids that are gone
 *   H account level begin         -> conversations by their keys: a table of keys_threads.h
 *   Z account mailbox             -> empty: its messages go by and by (mailbox 0: the account's)
 *
 * Making a key cannot fail. What is read back may be damaged: false then, and *out is undefined. */
#ifndef STORE_KEYS_MAILBOX_H
#define STORE_KEYS_MAILBOX_H

#include "core/base/base.h"
#include "core/base/runs.h"
#include "store/keys.h"
#include "store/mailbox.h"
#include "store/message.h"

enum {
	KEYS_NAME_MAX = MAILBOX_NAME_MAX,
	KEYS_DOMAIN_MAX = 255,
	/* With its key still two rows a page: LMDB puts longer ones on pages of their own. */
	KEYS_ROW_BYTES = 1990
};

/* --- Keys: begin with one of the first two, add fields --- */
void keys_account(struct keys_buf *out, enum keys_kind kind, uint64_t account);
void keys_number(struct keys_buf *out, enum keys_kind kind, uint64_t n);
void keys_mailbox(struct keys_buf *out, enum keys_kind kind, uint64_t account, uint32_t mailbox);
void keys_add_u8(struct keys_buf *k, uint8_t n);
void keys_add_u32(struct keys_buf *k, uint32_t n);
void keys_add_u64(struct keys_buf *k, uint64_t n);
void keys_add_name(struct keys_buf *k, slice name);

struct keys_place {
	uint64_t account;
	uint32_t mailbox, uid;
};
void keys_message(struct keys_buf *out, const struct keys_place *place);
void keys_marked(struct keys_buf *out, const struct keys_place *place);
bool keys_parse_message(slice key, struct keys_place *out) must_use;
bool keys_parse_marked(slice key, struct keys_place *out) must_use;
/* The uid alone, of a key known to be of this kind. */
static inline uint32_t keys_last_u32(slice key)
{
	uint32_t n;

	must(key.len >= sizeof(n));
	memcpy(&n, key.ptr + key.len - sizeof(n), sizeof(n));
	return __builtin_bswap32(n);
}
void keys_reference(struct keys_buf *out, uint64_t blob, const struct keys_place *place);
bool keys_parse_reference(slice key, uint64_t *out_blob, struct keys_place *out) must_use;
struct keys_early_blob {
	uint64_t low, blob;
};
void keys_reference_early(struct keys_buf *out, const struct keys_early_blob *row);
bool keys_parse_reference_early(slice key, struct keys_early_blob *out) must_use;
/* X, W, Z: account and mailbox. */
bool keys_parse_mailbox(slice key, uint64_t *out_account, uint32_t *out_mailbox) must_use;
/* U, and the begin of all others but V, R and F. */
bool keys_parse_account(slice key, uint64_t *out_account, slice *out_rest) must_use;

/* --- Values; strings are copied into the struct, since rows move when others are written --- */
struct keys_text {
	uint8_t len;
	char bytes[KEYS_NAME_MAX];
};
static inline slice keys_text_slice(const struct keys_text *t)
{
	return slice_of(t->bytes, t->len);
}
/* False: too long. */
bool keys_set_text(struct keys_text *t, slice s) must_use;

struct keys_usage {
	uint64_t bytes, messages;
	uint32_t mailboxes, subscribed, next_mailbox, last_validity;
	bool dropped; /* the account is no more, and never will be again */
	modseq changed;
	struct keys_text domain;
};
void keys_put_usage(struct out *o, const struct keys_usage *row);
bool keys_get_usage(slice value, struct keys_usage *out) must_use;
struct keys_sums {
	uint64_t bytes, messages;
};
void keys_put_sums(struct out *o, const struct keys_sums *row);
bool keys_get_sums(slice value, struct keys_sums *out) must_use;

struct keys_mailbox_row {
	uint32_t use, uid_validity, uid_next, messages, unseen, deleted;
	uint32_t log_rows; /* in the change log */
	bool open_ends;    /* a message that came had its last line not ended */
	uint64_t bytes;
	modseq highest, horizon;
	wall_ms created;
	struct keys_text name;
};
void keys_put_mailbox(struct out *o, const struct keys_mailbox_row *row);
bool keys_get_mailbox(slice value, struct keys_mailbox_row *out) must_use;

/* L and P: one number. */
void keys_put_u32(struct out *o, uint32_t n);
bool keys_get_u32(slice value, uint32_t *out) must_use;

/* Names each ended by NUL; `changed`: when the last was made. The slice points into the value. */
struct keys_keywords {
	modseq changed;
	slice names;
};
void keys_put_keywords(struct out *o, const struct keys_keywords *row);
bool keys_get_keywords(slice value, struct keys_keywords *out) must_use;

/* Without the uid, which stands in the key. */
void keys_put_message(struct out *o, const struct message *m);
bool keys_get_message(slice value, struct message *out) must_use;

/* The first piece of a body's row: what fits of the summary stands in it, the rest in further pieces
 * of KEYS_ROW_BYTES. Slices point into the value. */
struct keys_body {
	uint64_t back, thread; /* blob - low; the thread id */
	unsigned key_count;
	uint64_t keys[MESSAGE_THREAD_KEYS_MAX];
	slice splice, uidl;
	bool open_end; /* its last line is not ended */
	uint32_t summary_len;
	slice summary; /* the beginning of it */
};
/* The two as one field; cut: of the field that was read. */
void keys_put_uidl(struct out *o, slice uidl, bool open_end);
void keys_cut_uidl(slice *uidl, bool *open_end);
/* Puts as much of body->summary as fits KEYS_ROW_BYTES, and returns how much that was. */
size_t keys_put_body(struct out *o, const struct keys_body *body);
bool keys_get_body(slice value, struct keys_body *out) must_use;
/* Further pieces a body has. */
static inline unsigned keys_body_pieces(const struct keys_body *body)
{
	return (unsigned)((body->summary_len - body->summary.len + KEYS_ROW_BYTES - 1) /
		KEYS_ROW_BYTES);
}

/* One piece of the log: a kind, then runs, which are not looked at here. */
enum keys_log_kind { KEYS_LOG_FLAGS = 1, KEYS_LOG_GONE = 2 };
void keys_put_log(struct out *o, enum keys_log_kind kind);
bool keys_get_log(slice value, enum keys_log_kind *out_kind, slice *out_runs) must_use;

/* --- Runs as bytes: in order, each as distance from the one before, and length --- */
struct keys_runs {
	slice in;
	uint32_t last; /* of the run before */
};
/* *last: 0 at first. */
void keys_put_run(struct out *o, uint32_t *last, const struct run *run);
/* False: at the end, or damaged (then `in` is not empty). */
bool keys_next_run(struct keys_runs *in, struct run *out);
/* They are well-formed to the end. */
bool keys_runs_ok(slice in);

#endif
