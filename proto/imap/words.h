/* SPDX-License-Identifier: GPL-2.0-or-later */
/* words.h - the closed vocabularies of IMAP as tables: response codes, special uses, status items.
 *
 * Static strings; nothing fails. */
#ifndef PROTO_IMAP_WORDS_H
#define PROTO_IMAP_WORDS_H

#include "core/base/base.h"

/* name, spelling. Arguments are the caller's to add. */
#define IMAP_CODE_TABLE(X)                              \
	X(ALERT, "ALERT")                               \
	X(ALREADYEXISTS, "ALREADYEXISTS")               \
	X(APPENDUID, "APPENDUID")                       \
	X(AUTHENTICATIONFAILED, "AUTHENTICATIONFAILED") \
	X(AUTHORIZATIONFAILED, "AUTHORIZATIONFAILED")   \
	X(BADCHARSET, "BADCHARSET")                     \
	X(BADURL, "BADURL")                             \
	X(CANNOT, "CANNOT")                             \
	X(CAPABILITY, "CAPABILITY")                     \
	X(CLIENTBUG, "CLIENTBUG")                       \
	X(CLOSED, "CLOSED")                             \
	X(COMPRESSIONACTIVE, "COMPRESSIONACTIVE")       \
	X(CONTACTADMIN, "CONTACTADMIN")                 \
	X(COPYUID, "COPYUID")                           \
	X(CORRUPTION, "CORRUPTION")                     \
	X(EXPIRED, "EXPIRED")                           \
	X(EXPUNGEISSUED, "EXPUNGEISSUED")               \
	X(HASCHILDREN, "HASCHILDREN")                   \
	X(HIGHESTMODSEQ, "HIGHESTMODSEQ")               \
	X(INUSE, "INUSE")                               \
	X(LIMIT, "LIMIT")                               \
	X(MAILBOXID, "MAILBOXID")                       \
	X(MODIFIED, "MODIFIED")                         \
	X(NOMODSEQ, "NOMODSEQ")                         \
	X(NONEXISTENT, "NONEXISTENT")                   \
	X(NOPERM, "NOPERM")                             \
	X(NOTSAVED, "NOTSAVED")                         \
	X(OVERQUOTA, "OVERQUOTA")                       \
	X(PARSE, "PARSE")                               \
	X(PERMANENTFLAGS, "PERMANENTFLAGS")             \
	X(PRIVACYREQUIRED, "PRIVACYREQUIRED")           \
	X(READ_ONLY, "READ-ONLY")                       \
	X(READ_WRITE, "READ-WRITE")                     \
	X(SERVERBUG, "SERVERBUG")                       \
	X(TOOBIG, "TOOBIG")                             \
	X(TRYCREATE, "TRYCREATE")                       \
	X(UIDNEXT, "UIDNEXT")                           \
	X(UIDNOTSTICKY, "UIDNOTSTICKY")                 \
	X(UIDVALIDITY, "UIDVALIDITY")                   \
	X(UNAVAILABLE, "UNAVAILABLE")                   \
	X(UNKNOWN_CTE, "UNKNOWN-CTE")                   \
	X(UNSEEN, "UNSEEN")                             \
	X(USEATTR, "USEATTR")

enum imap_code {
	IMAP_CODE_NONE,
#define X(name, text) IMAP_CODE_##name,
	IMAP_CODE_TABLE(X)
#undef X
};
/* "ALREADYEXISTS"; "" for none. */
slice imap_code_name(enum imap_code code);

/* RFC 6154, 8457; the bits are those the mailbox layer keeps. */
enum imap_use {
	IMAP_USE_DRAFTS = 1 << 0,
	IMAP_USE_SENT = 1 << 1,
	IMAP_USE_JUNK = 1 << 2,
	IMAP_USE_TRASH = 1 << 3,
	IMAP_USE_ARCHIVE = 1 << 4,
	IMAP_USE_ALL = 1 << 5,
	IMAP_USE_FLAGGED = 1 << 6,
	IMAP_USE_IMPORTANT = 1 << 7,
};
/* 0: no such attribute. */
unsigned imap_use_bit(slice attribute);
/* "\Drafts \Sent", each with a space in front but the first; true if anything was written. */
bool imap_put_uses(struct out *o, unsigned set);

enum imap_status_item {
	IMAP_STATUS_MESSAGES = 1 << 0,
	IMAP_STATUS_UIDNEXT = 1 << 1,
	IMAP_STATUS_UIDVALIDITY = 1 << 2,
	IMAP_STATUS_UNSEEN = 1 << 3,
	IMAP_STATUS_DELETED = 1 << 4,
	IMAP_STATUS_SIZE = 1 << 5,
	IMAP_STATUS_RECENT = 1 << 6,
	IMAP_STATUS_HIGHESTMODSEQ = 1 << 7,
	IMAP_STATUS_APPENDLIMIT = 1 << 8,
	IMAP_STATUS_MAILBOXID = 1 << 9,
	IMAP_STATUS_DELETED_STORAGE = 1 << 10, /* RFC 9208 4.1.4 */
};
unsigned imap_status_bit(slice word);
/* Of one bit: "MESSAGES". */
slice imap_status_name(unsigned bit);

#endif
