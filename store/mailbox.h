/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mailbox.h - the mailboxes of an account: names, counters, subscriptions, usage.
 *
 * An account is a number here (struct account: id); all its rows live in one index shard. A change
 * is one journal record, decided when the index applies it, in journal order: a call returns when
 * its outcome is fixed, which is before it can be read (store_sync makes it so). Times of change are
 * journal positions: they only grow, no two records share one, and a rebuild gives the same. Reads
 * run on helper threads in short transactions and see what was committed. All calls wait (fiber), or
 * block without a worker. Errors: those of journal_append; ERR_NOT_FOUND, ERR_EXISTS, ERR_INVALID
 * (a name), ERR_LIMIT; ERR_CORRUPT when reading. */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "core/base/base.h"
#include "store/journal.h"

struct runs;
struct store;

/* The position of the record that made a change: what clients call a modification sequence. */
typedef journal_pos modseq;

enum {
	MAILBOX_NAME_MAX = 255,   /* bytes of UTF-8, hierarchy included; "/" divides */
	MAILBOX_INBOX = 1,        /* its id, in every account */
	MAILBOX_KEYWORDS_MAX = 64 /* a mailbox */
};

enum mailbox_use {
	MAILBOX_DRAFTS = 1 << 0,
	MAILBOX_SENT = 1 << 1,
	MAILBOX_JUNK = 1 << 2,
	MAILBOX_TRASH = 1 << 3,
	MAILBOX_ARCHIVE = 1 << 4,
	MAILBOX_ALL = 1 << 5,
	MAILBOX_FLAGGED = 1 << 6,
	MAILBOX_IMPORTANT = 1 << 7,
};

struct mailbox {
	uint32_t id;  /* within the account; never used twice */
	uint32_t use; /* enum mailbox_use */
	slice name;   /* "INBOX" is spelt so */
	uint32_t uid_validity, uid_next;
	uint32_t messages, unseen, deleted;
	uint64_t bytes;
	modseq highest; /* last change */
	modseq horizon; /* the change log is whole from here on; older: compare rows */
	wall_ms created;
	bool subscribed;
	bool open_ends; /* there is, or was, a message whose last line is not ended by CRLF */
};

/* --- The account's own row --- */
/* Makes INBOX, Drafts, Sent, Junk, Trash, Archive, once: harmless when they are there. `domain` is
 * whose usage it counts in. Done by account_put; a login repeats it. */
enum err mailbox_account_init(struct store *st, uint64_t account, slice domain) must_use;
/* Everything of the account goes, now from sight and by and by from the index; survives a crash.
 * ERR_NOT_FOUND: it had nothing, or was dropped. */
enum err mailbox_account_drop(struct store *st, uint64_t account) must_use;

/* Every mailbox gets another UIDVALIDITY: what clients remember of uids is void. After messages were
 * lost or came back with other uids. */
enum err mailbox_account_renew(struct store *st, uint64_t account) must_use;

struct mailbox_usage {
	uint64_t bytes, messages;
	uint32_t mailboxes;
	modseq changed; /* last change of anything in the account */
};
/* All zero when it has nothing. Never waits (a warm page) on a worker. */
enum err mailbox_usage(struct store *st, uint64_t account, struct mailbox_usage *out) must_use;
/* Of all accounts of a domain (mailboxes stays 0). */
enum err mailbox_domain_usage(struct store *st, slice domain, struct mailbox_usage *out) must_use;

/* Counts every message anew, in journal order among all changes, and puts right what was kept wrongly: of
 * the account and its mailboxes; the sums of a domain from its accounts. Nothing else is applied in the
 * shard while a mailbox (the accounts of the shard) is counted. */
struct mailbox_recounted {
	uint64_t was_bytes, was_messages, bytes, messages;
	uint32_t wrong; /* rows put right */
	uint32_t records;
};
enum err mailbox_recount(struct store *st, uint64_t account,
	struct mailbox_recounted *out) must_use;
enum err mailbox_domain_recount(struct store *st, slice domain,
	struct mailbox_recounted *out) must_use;

/* --- Visibility --- */
/* Everything durable. */
modseq store_durable(const struct store *st);
/* Until the account's shard has committed past `pos`: reads see it then. Returns at once when that is so;
 * on a worker without waiting. ERR_INVALID: `pos` is not durable. ERR_STOPPED: the server ends first. */
enum err store_sync(struct store *st, uint64_t account, modseq pos) must_use;
/* Everything that was durable when it was called: SELECT, STATUS, NOOP, a login. */
enum err store_sync_all(struct store *st, uint64_t account) must_use;
/* The same for all accounts. */
enum err store_sync_everything(struct store *st) must_use;
/* True: store_sync would not wait; for tests. Any thread. */
bool store_synced(const struct store *st, uint64_t account, modseq pos);

/* --- Reading. Names are seen as they were last answered to be: it waits for the commit of the last change
 * of the account's names --- */
/* `name` is UTF-8; "INBOX" in any case. Strings in the arena. */
enum err mailbox_find(struct store *st, uint64_t account, slice name, struct arena *a,
	struct mailbox *out) must_use;
/* In byte order of name; names that are only subscribed to come with id 0. */
struct mailbox_page {
	struct mailbox *rows;
	size_t len;
	bool more;
};
struct mailbox_query {
	uint64_t account;
	slice after; /* empty: from the start */
	slice under; /* only names that begin so; empty: all */
	size_t limit;
};
enum err mailbox_list(struct store *st, const struct mailbox_query *query, struct arena *a,
	struct mailbox_page *out) must_use;
/* Names by bit number; those of a mailbox only grow. */
struct mailbox_keywords {
	slice names[MAILBOX_KEYWORDS_MAX];
	size_t len;
};
enum err mailbox_keywords(struct store *st, uint64_t account, uint32_t id, struct arena *a,
	struct mailbox_keywords *out) must_use;
/* What a session needs to open it, of one moment: counters, and the uids that are there. `uids` is an
 * initialised struct runs; cost goes with the holes, not with the messages. */
struct mailbox_opened {
	struct mailbox mailbox;
	struct mailbox_keywords keywords;
	modseq as_of; /* the index contains everything before */
};
enum err mailbox_open(struct store *st, uint64_t account, uint32_t id, struct arena *a,
	struct mailbox_opened *out, struct runs *uids) must_use;

/* Deletes some rows of what was dropped; *out_more: call it again soon. On the home worker or without
 * a worker; the mover does. Not while a read is to be quick: it waits for a commit. */
enum err mailbox_purge_step(struct store *st, bool *out_more) must_use;

/* --- Changes. *out_pos (may be NULL): the record's, for store_sync --- */
struct mailbox_create {
	uint64_t account;
	slice name;
	uint32_t use;
};
/* Superior names that are not there are made too. ERR_LIMIT: more than the option store.mailboxes. */
enum err mailbox_create(struct store *st, const struct mailbox_create *args, uint32_t *out_id,
	modseq *out_pos) must_use;
/* Inferior ones stay. INBOX: ERR_DENIED. */
enum err mailbox_delete(struct store *st, uint64_t account, slice name, modseq *out_pos) must_use;
/* With all inferior ones, also those of a name that is no mailbox itself. INBOX: its messages move to the
 * new name. */
struct mailbox_rename {
	uint64_t account;
	slice from, to;
};
enum err mailbox_rename(struct store *st, const struct mailbox_rename *args,
	modseq *out_pos) must_use;
/* The name need not exist. Names that are subscribed are limited as mailboxes are. */
enum err mailbox_subscribe(struct store *st, uint64_t account, slice name, bool on) must_use;

#endif
