/* SPDX-License-Identifier: GPL-2.0-or-later */
/* render_int.h - the strings of a summary's row, shared by envelopes and structures.
 *
 * Nothing fails. */
#ifndef PROTO_IMAP_RENDER_INT_H
#define PROTO_IMAP_RENDER_INT_H

#include "proto/mime/summary.h"

/* As out_bytes, for what is short and mostly fits: the call is what would cost. */
static inline void render_bytes(struct out *o, const char *bytes, size_t len)
{
	if (o->overflow || o->cap - o->len < len) {
		out_bytes(o, bytes, len);
		return;
	}
	memcpy(o->buf + o->len, bytes, len);
	o->len += len;
}

/* How it may be sent is known; NIL when it is not there. `lead` is written in front: every string of
 * these answers has a space or a parenthesis before it. */
void render_text(struct out *o, char lead, const struct summary_text *t, bool utf8);
void render_envelope(struct out *o, const struct summary_envelope *e, bool utf8);
/* Of a message that we know nothing of. */
void render_no_envelope(struct out *o);

#endif
