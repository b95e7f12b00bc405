/* SPDX-License-Identifier: GPL-2.0-or-later */
/* utf8.h - UTF-8 one character at a time (RFC 3629).
 *
 * Pure functions. A byte that begins no character is one U+FFFD by itself, so that the outcome does
 * not depend on where a stream was cut. */
#ifndef PROTO_MIME_UTF8_H
#define PROTO_MIME_UTF8_H

#include "core/base/base.h"

enum { UTF8_REPLACEMENT = 0xfffd };

/* Bytes used of a slice that is not empty, and the character; 0: it may be one when more follows. */
size_t utf8_take(slice in, uint32_t *out);
/* Bytes written to buf. */
size_t utf8_put(uint32_t c, char buf[4]);
/* How many bytes at the front are ASCII. */
size_t utf8_ascii_len(slice s);

#endif
