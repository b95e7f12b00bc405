/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xtext.h - the encodings of DSN parameters: xtext (RFC 3461 4) and utf-8-addr-xtext (RFC 6533 3).
 *
 * Decoders write into the arena, are strict, and are false on anything the grammar does not allow. */
#ifndef PROTO_SMTP_XTEXT_H
#define PROTO_SMTP_XTEXT_H

#include "core/base/base.h"

/* "+3D" stands for a byte. The result may hold any byte; the caller checks what it may be. */
bool xtext_get(struct arena *a, slice in, slice *out) must_use;
void xtext_put(struct out *o, slice bytes);

/* "\x{20AC}" stands for a character; bytes beyond ASCII may also stand as they are (unitext). The
 * result is UTF-8. */
bool xtext_get_utf8(struct arena *a, slice in, slice *out) must_use;
/* The form that is pure ASCII, for a hop without SMTPUTF8; `unitext` leaves UTF-8 as it is. */
void xtext_put_utf8(struct out *o, slice text, bool unitext);

#endif
