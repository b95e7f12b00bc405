/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_view.h - the sequence numbers of an open mailbox.
 *
 * A *view* is what a worker knows of one mailbox: the uids that are there, as one set for all sessions
 * that have it open, kept current by a watch. A session's *box* adds only what it was told: up to which
 * uid, which uids are gone without its knowledge, up to which change. So a session's sequence numbers
 * are the ranks in (uids up to told_uid) + pending, which no list of its own is needed for.
 *
 * The rules of RFC 9051 7.5.1 and RFC 3501 5.5: numbers change only where the session is told, and
 * EXPUNGE is told only where the running command allows it. Calls on the session's worker; those
 * marked (fiber) wait. Memory that cannot be had ends the session, never its neighbours. */
#ifndef SERVER_IMAP_IMAP_VIEW_H
#define SERVER_IMAP_IMAP_VIEW_H

#include "core/base/map.h"
#include "core/base/runs.h"
#include "core/fiber.h"
#include "proto/imap/seqset.h"
#include "store/mailbox.h"
#include "store/watch.h"

struct fetch_known;
struct fetch_memo;
struct imap_session;

struct imap_view {
	struct map_link link;
	struct map *home;  /* of the worker's views */
	struct list boxes; /* struct imap_box */
	struct watch watch;
	struct store *store;
	struct fiber_mutex refreshing;
	struct runs uids;  /* what is there, as far as we know */
	uint32_t uid_next; /* every uid below was seen */
	uint32_t uid_validity;
	modseq as_of;   /* everything before is contained */
	modseq highest; /* last change */
	modseq horizon;
	struct mailbox_keywords *keywords; /* on the heap with its names; NULL: none */
	uint32_t refs;
	bool stale; /* the watch fired */
	bool gone;  /* the mailbox was deleted */
};

struct imap_box {
	struct list_link link;
	struct imap_session *session;
	struct imap_view *view; /* held */
	struct runs pending;    /* gone from the view, and not told */
	uint32_t told_uid;      /* larger ones were not told */
	modseq told;            /* flag changes up to here were told */
	modseq known;           /* and of expunges all up to here */
	uint8_t told_keywords;  /* so many of them */
	bool read_only;
	bool behind;       /* the client was told to take no more than `known` for known */
	bool dirty;        /* flags of messages it knows have changed since */
	bool broken;       /* memory ran out: pending is not complete */
	struct run *saved; /* SEARCHRES: uids, on the heap; saved_len runs */
	size_t saved_len;
	modseq *own; /* changes of ours not yet passed by `told`, ascending; on the heap */
	uint32_t own_len, own_cap;
	struct fetch_known *parts; /* imap_fetch.h; on the heap; NULL: none */
	struct fetch_memo *memo;   /* imap_fetch_memo.h */
};

/* --- Asking: of the session's selected mailbox --- */
/* How many messages the session knows: its largest sequence number. */
uint32_t imap_seq_count(const struct imap_session *s);
/* 0: the session does not know such a uid. */
uint32_t imap_uid_to_seq(const struct imap_session *s, uint32_t uid);
/* 0: out of range. The message may be gone meanwhile (it is in `pending` then). */
uint32_t imap_seq_to_uid(const struct imap_session *s, uint32_t seq);

/* The set of a command (numbers, or uids when the command came behind UID; `$` too, which is nothing
 * without a saved result) as uids of messages that are there, in s->arena. False: a sequence number is
 * out of range (answer BAD; uids never are). *out_gone (may be NULL): some messages of
 * the set were expunged by others and are left out (RFC 2180 4.1: NO [EXPUNGEISSUED]). */
bool imap_set_to_uids(struct imap_session *s, const struct imap_seqset *set, struct run_list *out,
	bool *out_gone);
/* A set of uids as the client wrote it, up to the last that the session knows, whether they are there or not:
 * for changes that pass over those that are not. In s->arena. */
struct run_list imap_set_as_written(struct imap_session *s, const struct imap_seqset *set);
/* Uids as the session numbers them; those it does not know are left out. In s->arena. */
struct run_list imap_uids_to_seqs(struct imap_session *s, struct run_list uids);
/* Copies of what the session knows to be there, for calls that wait (a view may change meanwhile). */
struct run_list imap_known_uids(struct imap_session *s);
/* A list as a struct runs for message_store and the like; *out is empty before. False: no memory. */
bool imap_runs_of(struct run_list list, struct runs *out) must_use;

/* SEARCHRES (RFC 5182): keep uids for `$`; an empty list forgets. False: no memory. */
bool imap_save_result(struct imap_session *s, struct run_list uids) must_use;

/* --- Keeping current --- */
/* (fiber) Ask the store what changed, if anything can have. With `all`: everything that is durable now
 * is waited for and seen (NOOP, SELECT, IDLE's start). ERR_NOT_FOUND: the mailbox is gone. */
enum err imap_view_refresh(struct imap_view *view, bool all) must_use;
/* (fiber) Tell the session what it does not know: EXPUNGE or VANISHED where `expunges`, EXISTS, FLAGS,
 * and FETCH with flags that others changed. The dispatcher calls it behind commands. */
enum err imap_view_sync(struct imap_session *s, bool expunges) must_use;
/* Our own EXPUNGE or MOVE took these: gone from the view without asking the store. imap_view_sync
 * tells them. */
void imap_view_gone(struct imap_session *s, const struct runs *uids);
/* (fiber) "* 3 FETCH (UID 7 MODSEQ (..) FLAGS (..))" for each known message changed since. */
struct imap_changed {
	modseq since;
	uint32_t upto;               /* only uids up to it */
	const struct run_list *only; /* NULL: all */
	struct runs *named;          /* NULL, or what message_changes says changed since */
	bool own;                    /* ours too */
};
enum err imap_put_changed(struct imap_session *s, const struct imap_changed *what) must_use;
/* "* VANISHED 3:5" of those that the list has, " (EARLIER)" with `earlier`; waits for the client now and then. */
enum err imap_put_vanished(struct imap_session *s, const struct runs *gone, struct run_list within,
	bool earlier) must_use;
/* The names of the mailbox's keywords behind its system flags: "* FLAGS (...)" and PERMANENTFLAGS. */
void imap_put_flag_names(struct imap_session *s);

/* --- Opening --- */
/* (fiber) The view of a mailbox on this worker, current; one reference. ERR_NOT_FOUND, ERR_NOMEM, or what
 * the store said. */
enum err imap_view_get(struct imap_session *s, uint32_t mailbox, struct imap_view **out) must_use;
void imap_view_put(struct imap_view *view);
/* A box of the session in the view; takes the reference over. NULL: no memory. */
struct imap_box *imap_box_new(struct imap_session *s, struct imap_view *view) must_use;
void imap_box_free(struct imap_box *box);

#endif
