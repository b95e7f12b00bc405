/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mutf7.h - mailbox names: modified UTF-7 (RFC 3501 5.1.3), what a name may be, and patterns.
 *
 * Inside the server names are UTF-8 with `/` between levels. Pure functions; bytes from outside make
 * them false. */
#ifndef PROTO_IMAP_MUTF7_H
#define PROTO_IMAP_MUTF7_H

#include "core/base/base.h"

/* Longest name of a mailbox in UTF-8 bytes, and its levels. */
enum { IMAP_NAME_MAX = 255, IMAP_LEVELS_MAX = 32 };

/* Strict: no 8-bit byte, no code that printable ASCII would have spelt, no stray bits, no lone
 * surrogate, no two codes side by side. Whole or nothing. */
bool imap_mutf7_decode(struct out *o, slice in) must_use;
/* `in` is UTF-8; false if it is not. */
bool imap_mutf7_encode(struct out *o, slice in) must_use;

/* Well-formed UTF-8 without control characters, line separators or `*` and `%`, no empty level, not
 * too long or deep (RFC 9051 5.1, RFC 5198). NULL, or what is wrong. */
const char *imap_name_wrong(slice name);
/* In normal form C, as Net-Unicode is (RFC 5198 3): what a new name must be, so that no two look the same. The
 * name is not wrong otherwise. */
bool imap_name_is_normal(slice name);
/* INBOX in any case as the whole name or its first level becomes upper case (in the arena). */
slice imap_name_canon(struct arena *a, slice name);
bool imap_name_is_inbox(slice name);

/* LIST (RFC 9051 6.3.9): `*` is anything, `%` anything but `/`. INBOX matches in any case. The time is
 * at most the product of both lengths, whatever the pattern. */
bool imap_pattern_match(slice pattern, slice name);

#endif
