/* SPDX-License-Identifier: GPL-2.0-or-later */
/* word.h - encoded words, the text of a header that is not ASCII (RFC 2047).
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

#endif
