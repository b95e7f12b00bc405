/* SPDX-License-Identifier: GPL-2.0-or-later */
/* args.h - the arguments of each verb as typed values.
 *
 * One parser per verb family, all of one type, so that a table of verbs can name them. A parser gets
 * a lexer over what follows the verb (imap_command.args), takes all of it, and is false with x->why
 * when the syntax is wrong. Values lie in the text or in the lexer's arena. Mailbox names are
 * UTF-8, INBOX in upper case. Whether a name or mechanism is known is not asked here. */
#ifndef PROTO_IMAP_ARGS_H
#define PROTO_IMAP_ARGS_H

#include "proto/imap/date.h"
#include "proto/imap/fetch.h"
#include "proto/imap/flags.h"
#include "proto/imap/search.h"
#include "proto/imap/words.h"

struct imap_login {
	slice user, password;
};
struct imap_authenticate {
	slice mechanism;
	slice initial; /* base64 still; "=" was given: empty and has_initial */
	bool has_initial;
};
struct imap_words { /* ENABLE, at least one; COMPRESS, one */
	struct imap_slices words;
};
struct imap_id { /* names and values in turn; a NIL value is {NULL, 0} */
	struct imap_slices pairs;
};

struct imap_select { /* and EXAMINE */
	slice mailbox;
	bool condstore, qresync;
	uint32_t uid_validity;
	uint64_t modseq;
	bool has_known; /* of QRESYNC, RFC 7162 3.2.5 */
	struct run_list known;
	struct run_list match_seqs, match_uids; /* as long as each other */
};
struct imap_mailbox { /* DELETE, SUBSCRIBE, UNSUBSCRIBE, GETQUOTAROOT */
	slice name;
};
struct imap_create {
	slice mailbox;    /* a hierarchy delimiter at its end is dropped, RFC 9051 6.3.4 */
	unsigned use;     /* enum imap_use */
	bool use_unknown; /* some attribute that we have no name for: NO [USEATTR] */
};
struct imap_rename {
	slice from, to;
};

enum imap_list_select {
	IMAP_LIST_SUBSCRIBED = 1 << 0,
	IMAP_LIST_REMOTE = 1 << 1,
	IMAP_LIST_RECURSIVEMATCH = 1 << 2,
	IMAP_LIST_SPECIAL_USE = 1 << 3,
};
enum imap_list_return {
	IMAP_RETURN_SUBSCRIBED = 1 << 0,
	IMAP_RETURN_CHILDREN = 1 << 1,
	IMAP_RETURN_SPECIAL_USE = 1 << 2,
	IMAP_RETURN_STATUS = 1 << 3,
};
struct imap_list {     /* and LSUB */
	bool extended; /* more than the two arguments of old */
	unsigned select, ret;
	unsigned status; /* enum imap_status_item, with RETURN_STATUS */
	slice reference;
	struct imap_slices patterns; /* one empty pattern: asks for the delimiter */
};

struct imap_status {
	slice mailbox;
	unsigned items; /* enum imap_status_item */
};

struct imap_append_item { /* in front of each message literal */
	struct imap_flags flags;
	bool has_date;
	struct imap_date date;
	bool utf8; /* UTF8 (~{...} */
};
struct imap_append { /* the command's first part, which must have come with `message` */
	slice mailbox;
	struct imap_append_item item;
};

enum imap_store_mode { IMAP_STORE_REPLACE, IMAP_STORE_ADD, IMAP_STORE_REMOVE };
struct imap_store {
	struct imap_seqset set;
	enum imap_store_mode mode;
	bool silent, conditional;
	uint64_t unchanged_since; /* 0 fails for every message */
	struct imap_flags flags;
};

struct imap_copy { /* and MOVE */
	struct imap_seqset set;
	slice mailbox;
};
struct imap_expunge {
	struct imap_seqset set; /* UID EXPUNGE only */
};

struct imap_quota { /* GETQUOTA: root only */
	slice root;
	struct imap_slices resources;
	const uint64_t *values; /* one per resource */
};

union imap_args {
	struct imap_login login;
	struct imap_authenticate authenticate;
	struct imap_words words;
	struct imap_id id;
	struct imap_select select;
	struct imap_mailbox mailbox;
	struct imap_create create;
	struct imap_rename rename;
	struct imap_list list;
	struct imap_status status;
	struct imap_append append;
	struct imap_store store;
	struct imap_copy copy;
	struct imap_expunge expunge;
	struct imap_fetch fetch;
	struct imap_search search;
	struct imap_sort sort;
	struct imap_thread thread;
	struct imap_quota quota;
};

/* *out is zeroed. */
typedef bool imap_parser(struct imap_lex *x, union imap_args *out);

imap_parser imap_parse_none; /* CAPABILITY, NOOP, IDLE, ... */
imap_parser imap_parse_login, imap_parse_authenticate, imap_parse_enable, imap_parse_compress,
	imap_parse_id;
imap_parser imap_parse_select, imap_parse_mailbox, imap_parse_create, imap_parse_rename;
imap_parser imap_parse_list, imap_parse_lsub, imap_parse_status;
imap_parser imap_parse_append, imap_parse_store, imap_parse_copy, imap_parse_expunge,
	imap_parse_fetch;
imap_parser imap_parse_search, imap_parse_sort, imap_parse_thread;
imap_parser imap_parse_getquota, imap_parse_setquota;

/* A later part of APPEND, behind a message that had `was_utf8`. With `message` (of the part) *out is
 * about the next one; without, it must be the end and *out is not written. */
bool imap_parse_append_next(struct imap_lex *x, bool was_utf8, bool message,
	struct imap_append_item *out);

#endif
