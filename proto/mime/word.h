/* SPDX-License-Identifier: GPL-2.0-or-later */
/* word.h - encoded words, the text of a header that is not ASCII (RFC 2047), and charsets.
 *
 * Pure functions that write to an `out`; iconv converts. Decoding never fails: a word that cannot be
 * read stays as it stands, bytes that are not of its charset become U+FFFD, and a character that was
 * cut between two words is whole again. What stands outside of words is copied, whatever it is. */
#ifndef PROTO_MIME_WORD_H
#define PROTO_MIME_WORD_H

#include "proto/mime/charset.h"

/* An unfolded value to UTF-8; the blanks between two encoded words vanish (RFC 2047 6.2). */
void word_decode(slice value, struct out *o);
/* The same, with descriptors of the caller's: for many values. */
void word_decode_with(slice value, struct charset_cache *cache, struct out *o);
/* UTF-8 text for an unstructured field. ASCII goes through; otherwise words of at most 75 bytes,
 * folded with CRLF SP between them, no character torn apart. */
void word_encode(slice text, struct out *o);
/* False, nothing written: unknown charset, or bytes that are not of it. */
bool word_to_utf8(slice charset, slice bytes, struct out *o);

#endif
