/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mailbox_int.h - what the appliers of mailboxes (mailbox_*.c, message_apply.c, message_body.c,
 * conversation.c, conversation.h) share. Nobody else includes it.
 *
 * One record changes one account. Its rows are loaded into structs, changed there, and put back at
 * the end; every enum err here is a failure of the transaction unless said otherwise, while what a
 * record's condition came to is ch->outcome. */
#ifndef STORE_MAILBOX_INT_H
#define STORE_MAILBOX_INT_H

#include "store/apply.h"
#include "store/message_int.h"

enum {
	LOG_ROWS_MAX = 4096, /* a mailbox's; older changes are forgotten, the horizon moves */
	PICK_ROWS = 64
};

/* Keys of conversations that bodies leave: all at the end, which is quicker. */
struct leaving {
	uint64_t *keys;
	size_t len, cap;
};

/* An account under change. */
struct changing {
	struct apply *ap;
	journal_pos pos;
	wall_ms at;
	uint64_t account;
	bool there; /* it has a row, and is not dropped */
	struct keys_usage usage;
	int64_t bytes, messages; /* to be added to it and to its domain's */
	enum err outcome;
	struct leaving *leaving; /* NULL: each at once */
};
/* Only the account is set by the caller. */
enum err account_begin(struct changing *ch) must_use;
/* Row and default mailboxes, when it has none; ch->there stays false when it was dropped. */
enum err account_make(struct changing *ch, slice domain) must_use;
enum err account_end(struct changing *ch) must_use;

/* Adds to a domain's sums; an empty name has none. */
enum err domain_add(struct apply *ap, slice domain, const struct changing *by, int sign) must_use;

/* --- A mailbox's row --- */
struct boxed {
	uint32_t id;
	struct keys_mailbox_row row;
};
/* ERR_NOT_FOUND. */
enum err boxed_load(struct changing *ch, uint32_t id, struct boxed *out) must_use;
/* Puts the row and tells that it changed. */
enum err boxed_save(struct changing *ch, const struct boxed *box) must_use;
/* A new one; the name must not be there. */
enum err boxed_make(struct changing *ch, slice name, uint32_t use, uint32_t *out_id) must_use;
/* Another UIDVALIDITY; nothing of what was told about it before counts. */
void boxed_renew(struct changing *ch, struct boxed *box);
/* Counts a message in (1) or out (-1), here and in the account. */
void boxed_count(struct changing *ch, struct boxed *box, const struct message *m, int sign);

/* --- Keywords of a mailbox --- */
struct keyword_set {
	slice names[MAILBOX_KEYWORDS_MAX]; /* in buf */
	unsigned len;
	bool changed;
	modseq changed_at;
	size_t used;
	char buf[KEYS_ROW_BYTES];
};
enum err keywords_load(struct changing *ch, uint32_t mailbox, struct keyword_set *out) must_use;
enum err keywords_save(struct changing *ch, uint32_t mailbox,
	const struct keyword_set *set) must_use;
/* Bits of names ended by NUL. With `make` unknown ones are added; false: they did not all fit. */
bool keywords_bits(struct keyword_set *set, slice names, bool make, uint64_t *out);

/* --- Change log and holes: mailbox_log.c --- */
struct logging {
	struct changing *ch;
	struct boxed *box;
	enum keys_log_kind kind;
	struct out *also; /* gets the runs too; NULL: nobody */
	uint32_t also_last;
	struct run run; /* not yet written; first 0: none */
	uint32_t last;
	uint32_t piece;
	struct out o;
	char buf[KEYS_ROW_BYTES];
};
void log_begin(struct logging *lg);
/* Uids come in order. Those gone leave holes. */
enum err log_uid(struct logging *lg, uint32_t uid) must_use;
/* Writes the rest, forgets what is too old. */
enum err log_end(struct logging *lg) must_use;

/* --- Bodies, references, threads: message_body.c --- */
/* Makes the body's row in the account if it is not there; sets thread and size. */
enum err body_add(struct changing *ch, const struct delivery *d, const struct deliver_target *t,
	struct message *m) must_use;
enum err body_there(struct changing *ch, uint64_t blob, bool *out) must_use;
enum err reference_put(struct changing *ch, uint32_t mailbox, const struct message *m) must_use;
/* From here on until the end nothing is added. */
void leaving_begin(struct changing *ch, struct leaving *leaving);
enum err leaving_end(struct changing *ch, enum err err) must_use;
/* With the account's last reference its body's row goes too. */
enum err reference_drop(struct changing *ch, uint32_t mailbox, const struct message *m) must_use;

/* --- Messages: message_pick.c --- */
/* Rows of a mailbox a page at a time: no row may change while a cursor is open. */
struct picking {
	struct changing *ch;
	uint32_t mailbox; /* 0: of all mailboxes of the account, without runs */
	bool all;
	struct keys_runs runs; /* unless all */
	uint32_t below;        /* uids from here on are left alone; 0: none */
	bool marked;           /* only those with MESSAGE_DELETED */
	/* Out. */
	struct {
		uint32_t mailbox;
		struct message m;
	} rows[PICK_ROWS];
	size_t len;
	/* Its own. */
	struct run run;
	bool started, ended;
	struct keys_place from;
};
/* The next page; len 0: that was all. */
enum err pick(struct picking *p) must_use;

/* `was`: its flags before; 0: it is new. */
enum err message_row_put(struct changing *ch, uint32_t mailbox, const struct message *m,
	uint32_t was) must_use;
enum err message_row_delete(struct changing *ch, uint32_t mailbox,
	const struct message *m) must_use;

/* --- message_apply.c, message_copy.c --- */
/* Outcomes with runs: fn writes into room that is given back behind apply_outcome. */
enum err apply_with_outcome(struct changing *ch, const struct mailbox_change *c,
	enum err (*fn)(struct changing *ch, const struct mailbox_change *c,
		struct out *o)) must_use;
enum err apply_store(struct changing *ch, const struct mailbox_change *c) must_use;
enum err apply_expunge(struct changing *ch, const struct mailbox_change *c) must_use;
enum err apply_copy(struct changing *ch, const struct mailbox_change *c) must_use;
/* mailbox_recount.c */
enum err apply_recount(struct changing *ch, const struct mailbox_change *c) must_use;
enum err apply_sums(struct changing *ch, const struct mailbox_change *c) must_use;
enum err apply_deliver_many(struct changing *ch, const struct mailbox_change *c) must_use;
/* What makes the account's mailboxes findable, up to so many rows of a kind. */
enum err account_names_drop(struct changing *ch, uint32_t limit, bool *out_more) must_use;
enum err apply_purge(struct changing *ch, const struct mailbox_change *c) must_use;

#endif
