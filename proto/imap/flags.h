/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flags.h - system flags as bits, keywords as words (RFC 9051 2.3.2).
 *
 * Slices point where the words came from. */
#ifndef PROTO_IMAP_FLAGS_H
#define PROTO_IMAP_FLAGS_H

#include "proto/imap/lexer.h"

enum {
	IMAP_SEEN = 1,
	IMAP_ANSWERED = 2,
	IMAP_FLAGGED = 4,
	IMAP_DELETED = 8,
	IMAP_DRAFT = 16,
	IMAP_RECENT = 32, /* never stored by clients; IMAP4rev1 only */
	IMAP_FLAGS_ALL = IMAP_SEEN | IMAP_ANSWERED | IMAP_FLAGGED | IMAP_DELETED | IMAP_DRAFT,
};

struct imap_flags {
	unsigned system;
	struct imap_slices keywords; /* as written, each once (ASCII case ignored) */
};

/* "(\Seen $Forwarded)", or with `bare` also the words without parentheses, as in STORE. \Recent and an
 * unknown system flag are a fault. */
bool imap_lex_flags(struct imap_lex *x, bool bare, struct imap_flags *out);
/* One of both kinds, as SEARCH's KEYWORD takes it: an atom that may be a keyword. */
bool imap_lex_keyword(struct imap_lex *x, slice *out);

/* The bit of "\Seen" in any case, or 0. */
unsigned imap_flag_bit(slice word);
/* What a client may store as a keyword: an atom of at most IMAP_KEYWORD_MAX bytes. */
enum { IMAP_KEYWORD_MAX = 128, IMAP_KEYWORDS_MAX = 256 /* in one command */ };
bool imap_is_keyword(slice word);
/* The registered spelling of a well-known keyword ($MDNSent, $Forwarded, $Junk, $NotJunk, $Phishing,
 * $SubmitPending, $Submitted, $Important), else the word itself. */
slice imap_keyword_spelling(slice word);
/* $Junk and $NotJunk exclude each other (RFC 9051 2.3.2): the one that goes when `word` is set, or
 * empty. */
slice imap_keyword_opposite(slice word);

/* "\Seen \Deleted", without parentheses: keywords may follow; true if anything was written. */
bool imap_put_system_flags(struct out *o, unsigned system);

#endif
