/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_parts.h - the handlers, and what else the files of the IMAP session lend each other.
 *
 * Only imap_int.h includes it, which says what a handler may rely on. A file per family of commands. */
#ifndef SERVER_IMAP_IMAP_PARTS_H
#define SERVER_IMAP_IMAP_PARTS_H

#include "store/mailbox.h"
#include "store/room.h"

struct imap_flags;
struct imap_part;
struct imap_session;
struct runs;
union imap_args;

/* --- imap_caps.c --- */
enum verdict imap_do_capability(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_enable(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_id(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_namespace(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_compress(struct imap_session *s, const union imap_args *args);
/* "CAPABILITY IMAP4rev2 ...", for the moment. */
void imap_put_capability(struct imap_session *s, struct out *o);
/* Tell of CONDSTORE from now on (RFC 7162 3.1): HIGHESTMODSEQ is told when a mailbox is open. */
void imap_enable_condstore(struct imap_session *s);

/* --- imap_auth.c --- */
enum verdict imap_do_starttls(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_login(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_authenticate(struct imap_session *s, const union imap_args *args);
size_t imap_take_auth(struct imap_session *s, slice in, bool *stop);
/* SASL_* set offered now; 0: a login is not possible here. */
unsigned imap_auth_mechs(const struct imap_session *s);

/* --- imap_select.c --- */
enum verdict imap_do_select(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_examine(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_close(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_unselect(struct imap_session *s, const union imap_args *args);
void imap_deselect(struct imap_session *s);

/* --- imap_list.c, imap_status.c, imap_folder.c, imap_quota.c --- */
enum verdict imap_do_list(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_lsub(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_status(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_create(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_delete(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_rename(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_subscribe(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_unsubscribe(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_getquota(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_getquotaroot(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_setquota(struct imap_session *s, const union imap_args *args);
/* "* STATUS name (...)"; (fiber) with DELETED-STORAGE it may read the mailbox. */
enum err imap_tell_status(struct imap_session *s, const struct mailbox *m, unsigned items) must_use;
/* MAILBOXID (...), RFC 8474. */
void imap_put_mailbox_id(struct imap_session *s, struct out *o, uint32_t mailbox);

/* --- imap_idle.c --- */
enum verdict imap_do_noop(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_idle(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_logout(struct imap_session *s, const union imap_args *args);
size_t imap_take_idle(struct imap_session *s, slice in, bool *stop);
/* The view has news and this session waits in IDLE. From the loop. */
void imap_idle_wake(struct imap_session *s);

/* --- imap_fetch.c, imap_store.c, imap_copy.c, imap_expunge.c, imap_append.c --- */
enum verdict imap_do_fetch(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_store(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_copy(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_move(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_expunge(struct imap_session *s, const union imap_args *args);
/* Expunge of `uids`, or of all (NULL), as far as they are marked \Deleted; `out_count`, zeroed before, tells
 * how many went. */
enum err imap_remove_marked(struct imap_session *s, const struct runs *uids, uint32_t *out_count);
enum verdict imap_do_append(struct imap_session *s, const union imap_args *args);
/* imap_store.c: keywords as the store takes them, each ended by NUL, in s->arena. Of $Junk and
 * $NotJunk the one named last stays. */
slice imap_keyword_names(struct imap_session *s, const struct imap_flags *flags);
/* imap_copy.c: (fiber) the mailbox that messages are to come to, also when it was made just now. Its
 * refusal is NO [TRYCREATE]: imap_no_destination. */
enum err imap_find_destination(struct imap_session *s, slice name, uint32_t *out) must_use;
enum verdict imap_no_destination(struct imap_session *s, enum err err);
/* imap_expunge.c: (fiber) OK after messages were removed by us; with CONDSTORE everything is told
 * first, so that HIGHESTMODSEQ is true. */
enum verdict imap_ok_expunged(struct imap_session *s);
/* imap_copy.c: (fiber) ERR_QUOTA: the account is full, counting `before` besides: of what can be read. */
enum err imap_has_room(struct imap_session *s, const struct room_sum *before) must_use;
/* (fiber) Exactly, for `all` of which `before` comes before the last message; taken until room_end. */
enum err imap_take_room(struct imap_session *s, const struct room_sum *before,
	const struct room_sum *all, struct room **out) must_use;
/* imap_copy.c: (fiber) messages came into a mailbox by a change at `pos`: if it is the open one, they
 * are told behind the command. */
enum err imap_came(struct imap_session *s, uint32_t mailbox, modseq pos) must_use;
/* In IMAP_IN_MESSAGE: returns what was used (through imap_message_take(&s->reader, in)); *stop:
 * nothing more can be done with this input now. When all bytes are there it sets s->input back. */
size_t imap_take_literal(struct imap_session *s, slice in, bool *stop);
/* What stands behind a message of the command that is open: another message's arguments
 * (part->message), or the end. `fault`: the part was bad, its words in part->why. */
enum verdict imap_append_part(struct imap_session *s, const struct imap_part *part, bool fault);
/* The session ends: forget a message half taken. Harmless without one. */
void imap_append_drop(struct imap_session *s);

/* --- imap_search.c, imap_sort.c, imap_thread.c --- */
enum verdict imap_do_search(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_sort(struct imap_session *s, const union imap_args *args);
enum verdict imap_do_thread(struct imap_session *s, const union imap_args *args);

#endif
