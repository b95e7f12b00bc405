/* SPDX-License-Identifier: GPL-2.0-or-later */
/* message.h - the messages in a mailbox: delivery, flags, copies, removal, and reading them in bulk.
 *
 * A message is a row (account, mailbox, uid) that names a blob. Bodies are kept once, however many
 * rows name them; what is to be known of a body without opening it (its summary, opaque here) is
 * kept once an account. Uids and times of change are given when the index applies the record. See
 * mailbox.h for when calls return, what reads see, and errors. */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H

#include "core/base/base.h"
#include "store/mailbox.h"

struct runs;
struct store;

enum message_flag {
	MESSAGE_SEEN = 1 << 0,
	MESSAGE_ANSWERED = 1 << 1,
	MESSAGE_FLAGGED = 1 << 2,
	MESSAGE_DELETED = 1 << 3,
	MESSAGE_DRAFT = 1 << 4,
	MESSAGE_FLAGS = 31,
};

enum {
	MESSAGE_SPLICE_MAX = 1500, /* bytes spliced before the body */
	MESSAGE_UIDL_MAX = 70,
	MESSAGE_SUMMARY_MAX = 48 * 1024, /* a longer one is left out: readers open the body */
	MESSAGE_THREAD_KEYS_MAX = 16,
	MESSAGE_TARGETS_MAX = 1000,
	MESSAGE_CHANGE_MAX =
		4096, /* messages one change should name, so that others get their turn */
	MESSAGE_EXPUNGE_MAX = 2048 /* a record removes: each takes some ten rows along */
};

struct message {
	uint32_t uid, flags;
	uint64_t keywords; /* bits, named by mailbox_keywords */
	uint64_t blob;     /* the body; with the account it is the email id */
	uint64_t thread;   /* the thread id */
	uint64_t size;     /* splice and body */
	modseq created, changed;
	wall_ms received, saved; /* internal date; when it came into this mailbox */
	bool no_uidl;            /* no unique id, no open end; false: MESSAGE_WANT_UIDL says */
};

/* --- Delivery: in the same record as the body, store_message.deliver --- */
struct deliver_target {
	uint64_t account;
	uint32_t mailbox; /* gone or 0: INBOX */
	uint32_t flags;
	slice keywords; /* names, each ended by NUL; too many are dropped */
	slice splice;   /* header lines of this delivery, read before the body */
	slice uidl;     /* of an imported message; empty: made from the email id */
	bool open_end;  /* the last line is not ended by CRLF */
	wall_ms received;
};
struct deliver {
	slice summary;
	const uint64_t *thread_keys; /* its own first, then those it refers to */
	size_t thread_key_count;
	const struct deliver_target *targets;
	size_t target_count;
	/* message_deliver_many only: the stored body, as its struct blob_ref says. */
	uint64_t blob, low, size;
};
/* What became of one target of a store_message with `ask`: waits until it was applied. */
struct delivered {
	uint32_t mailbox, uid_validity, uid;
};
enum err message_delivered(struct store *st, modseq pos, uint64_t account,
	struct delivered *out) must_use;
/* Bodies stored before (each held by the caller: store_release after) into one mailbox, all or none. */
struct deliver_many {
	const struct deliver *messages; /* of each: one target, the same account and mailbox */
	size_t len;
};
/* The uids are first, first + 1, ... *out_pos (may be NULL) is 0 when nothing was written. */
enum err message_deliver_many(struct store *st, const struct deliver_many *args,
	struct delivered *out_first, modseq *out_pos) must_use;

/* --- Changes --- */
enum message_store_mode { MESSAGE_REPLACE, MESSAGE_ADD, MESSAGE_REMOVE };
struct message_store {
	uint64_t account;
	uint32_t mailbox;
	const struct runs *uids;
	enum message_store_mode mode;
	uint32_t flags;
	slice keywords; /* names, each ended by NUL; new ones are made when a message gets them */
	bool conditional;
	modseq unchanged_since; /* conditional: messages changed later stay as they are */
	/* Initialised, or NULL. Gets those that had been changed after unchanged_since: with `conditional`
	 * they stay as they are. In a change of at most MESSAGE_CHANGE_MAX messages. */
	struct runs *later;
};
/* Rows with changed == *out_pos are those it changed. ERR_LIMIT: too many keywords. */
enum err message_store(struct store *st, const struct message_store *args,
	modseq *out_pos) must_use;
/* A change that alters nothing does not count as one (changed stays), except with MESSAGE_REPLACE. */

struct message_expunge {
	uint64_t account;
	uint32_t mailbox;
	const struct runs *uids; /* NULL: all */
	bool any;                /* false: only those with MESSAGE_DELETED */
};
/* `gone` (initialised) gets the uids that went. More than MESSAGE_EXPUNGE_MAX of them, or more than
 * MESSAGE_CHANGE_MAX runs to look in, are left for another call, with the same struct: no record grows
 * with the set, and none is long at work. */
struct message_gone {
	struct runs *gone;
	modseq pos;
	bool more;
	uint32_t next; /* in and out, 0 at first: where to go on in the set */
};
enum err message_expunge(struct store *st, const struct message_expunge *args,
	struct message_gone *out) must_use;

struct message_copy {
	uint64_t account;
	uint32_t from, to; /* to: ERR_NOT_FOUND when it is gone */
	const struct runs *uids;
	bool move;
};
struct message_copied {
	struct runs *source;              /* initialised; the uids that were there */
	uint32_t uid_validity, first_uid; /* of the copies, in order of the source's */
	modseq pos;                       /* 0: nothing was written */
};
enum err message_copy(struct store *st, const struct message_copy *args,
	struct message_copied *out) must_use;

/* --- Reading in bulk --- */
struct message_row {
	struct message m;
	/* With MESSAGE_WANT_SUMMARY; empty when it was too long. */
	slice summary, splice, uidl;
	bool open_end;
};
enum {
	MESSAGE_WANT_SUMMARY = 1 << 0,
	MESSAGE_WANT_UIDL =
		1 << 1, /* that and open_end alone: without a look at what is kept of most bodies */
};
struct message_found {
	struct runs *uids; /* initialised */
	bool known;        /* uids are complete: what is changed is among them */
};
/* `each` runs on a helper thread inside a read transaction: it must not wait; slices die with the
 * call. False ends the scan, and the row at hand counts as not seen. */
struct message_scan {
	uint64_t account;
	uint32_t mailbox;
	const struct runs *uids; /* NULL: all; must not change meanwhile */
	uint32_t from;           /* uids below are passed over */
	modseq changed_since; /* 0: all; only rows with changed above it, found by the change log */
	/* With changed_since, may be NULL: what the log named when the scan began, for the calls that go on
	 * with it, which then need not read the log; or what message_changes said of the same time. Else
	 * zeroed at first; the caller's to end. */
	struct message_found *found;
	unsigned want;
	bool (*each)(void *arg, const struct message_row *row);
	/* May be NULL. Told of each row one row before its turn, to have what `each` will read fetched
	 * from memory meanwhile; of one more where `each` ends the scan. */
	void (*ahead)(void *arg, const struct message_row *row);
	void *arg;
	uint32_t next; /* out: where to go on; 0: it came to the end */
};
enum err message_scan(struct store *st, struct message_scan *scan) must_use;
/* The same on the calling thread, which is a helper's or no worker's. */
enum err message_scan_here(struct store *st, struct message_scan *scan) must_use;

/* Before a long scan (hundreds of rows; uids are needed): fetches what it will read from the disk with
 * several threads, from scan->from on at most 20,000 rows. Quick when all is in memory. */
void message_warm(struct store *st, const struct message_scan *scan);

/* What changed in a mailbox after a time, for sessions that follow it. `changed`: flags, or new;
 * `gone` (both initialised): removed, exact when since >= horizon; else the holes there are. */
struct message_changes {
	uint64_t account;
	uint32_t mailbox;
	modseq since;
	struct runs *changed, *gone;
	struct mailbox now; /* out; name empty */
	modseq as_of;       /* out: everything before is contained */
	bool keywords;      /* out: new ones were made */
	bool exact;         /* out: since was within the horizon */
};
/* ERR_NOT_FOUND: the mailbox is gone. */
enum err message_changes(struct store *st, struct message_changes *args) must_use;

/* Summary and splice of one message by uid, in the arena. */
enum err message_get(struct store *st, const struct message_scan *where, uint32_t uid,
	struct arena *a, struct message_row *out) must_use;

#endif
