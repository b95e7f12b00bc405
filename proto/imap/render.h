/* SPDX-License-Identifier: GPL-2.0-or-later */
/* render.h - what the server says: strings, mailbox names, ENVELOPE, BODY and BODYSTRUCTURE.
 *
 * Writers into an `out`, which overflows stickily; nothing else fails. Envelopes and structures come
 * from the summary of a message, which holds its strings ready for quoting, so that writing
 * one is little more than copying. */
#ifndef PROTO_IMAP_RENDER_H
#define PROTO_IMAP_RENDER_H

#include "core/base/base.h"

struct summary;

/* Quoted when it is short and safe, else a literal. With `utf8` quoted strings may hold UTF-8 (IMAP4rev2
 * or UTF8=ACCEPT was enabled). */
void imap_put_string(struct out *o, slice s, bool utf8);
/* An atom where it can be one. */
void imap_put_astring(struct out *o, slice s, bool utf8);
/* "{5}" CRLF, and for literal8 "~{5}" CRLF: the bytes are the caller's. */
void imap_put_literal_head(struct out *o, uint64_t bytes, bool binary);
/* Of a mailbox, in UTF-8 or modified UTF-7. */
void imap_put_mailbox(struct out *o, slice name, bool utf8);

/* The parenthesised list behind ENVELOPE. */
void imap_put_envelope(struct out *o, const struct summary *summary, bool utf8);
/* What stands behind BODY, or behind BODYSTRUCTURE with `extended`. */
void imap_put_body(struct out *o, const struct summary *summary, bool extended, bool utf8);

#endif
