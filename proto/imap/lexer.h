/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lexer.h - the tokens of IMAP (RFC 9051 9, RFC 3501 9), cut from the front of a collected command.
 *
 * A struct imap_lex is a cursor over the text of a command that stands whole in memory, literals
 * included. Every call either cuts its token and is true, or says in `why` what was wrong (the first
 * fault stays) and is false; afterwards all calls are false. Values are slices of the text, except
 * quoted strings with escapes, which are unescaped into the arena. */
#ifndef PROTO_IMAP_LEXER_H
#define PROTO_IMAP_LEXER_H

#include "core/base/runs.h"
#include "proto/imap/limits.h"

struct imap_lex {
	slice rest;
	struct arena *a;
	const struct imap_limits *limits;
	const char *why; /* NULL: nothing wrong yet. A whole phrase for a BAD reply */
	bool utf8;       /* mailbox names are UTF-8: IMAP4rev2 or UTF8=ACCEPT was enabled */
	bool uid;        /* the verb came behind UID */
	bool no_name;    /* why: the syntax is right, but no mailbox can have such a name */
};

static inline struct imap_lex imap_lex_of(struct arena *a, slice text,
	const struct imap_limits *limits)
{
	return (struct imap_lex){ .rest = text, .a = a, .limits = limits };
}

/* Always false, so that a parser can return it. */
bool imap_lex_fail(struct imap_lex *x, const char *why);

/* --- Looking, which never fails --- */
bool imap_lex_at_end(const struct imap_lex *x);
bool imap_lex_at(const struct imap_lex *x, char c);

/* --- If it stands here, cut it; no fault if not --- */
bool imap_lex_skip(struct imap_lex *x, char c);
/* In any case; behind the word must stand an atom's end. */
bool imap_lex_skip_word(struct imap_lex *x, slice word);

/* --- It must stand here --- */
bool imap_lex_char(struct imap_lex *x, char c);
/* One SP; some clients send several, which is accepted. */
bool imap_lex_space(struct imap_lex *x);
bool imap_lex_end(struct imap_lex *x);
bool imap_lex_atom(struct imap_lex *x, slice *out);
/* Letters, digits, `-`, `.`, `_` and `/`, at least one: the names of items, options and keys. */
bool imap_lex_name(struct imap_lex *x, slice *out);
/* quoted or literal. 8-bit bytes in quoted strings must be UTF-8. */
bool imap_lex_string(struct imap_lex *x, slice *out);
/* atom with `]`, or string. */
bool imap_lex_astring(struct imap_lex *x, slice *out);
/* string, or NIL: then *out is {NULL, 0}. */
bool imap_lex_nstring(struct imap_lex *x, slice *out);
/* Up to max; `first` is the least that is allowed (1 for nz-number). */
bool imap_lex_number(struct imap_lex *x, uint64_t first, uint64_t max, uint64_t *out);
/* mod-sequence-value: up to 2^63-1. */
bool imap_lex_number64(struct imap_lex *x, uint64_t *out);
bool imap_lex_nz(struct imap_lex *x, uint32_t *out);
/* A mailbox name in UTF-8, INBOX in upper case; a wrong encoding or a name that no mailbox can have
 * is a fault. */
bool imap_lex_mailbox(struct imap_lex *x, slice *out);
/* The same for CREATE: a `/` at the end is dropped. */
bool imap_lex_new_mailbox(struct imap_lex *x, slice *out);
/* list-mailbox: wildcards are allowed, and the rules of names do not hold. UTF-8. */
bool imap_lex_pattern(struct imap_lex *x, slice *out);

/* --- Growing arrays in the arena, of at most terms_max members --- */
struct imap_slices {
	slice *items;
	size_t len, cap;
};
bool imap_lex_add(struct imap_lex *x, struct imap_slices *list, slice item);

/* May it stand in an atom (RFC 9051 9, ATOM-CHAR)? May all of it be one? */
bool imap_is_atom_char(char c);
bool imap_is_atom(slice s);

#endif
