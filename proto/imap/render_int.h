/* SPDX-License-Identifier: GPL-2.0-or-later */
/* render_int.h - the strings of a summary's row, shared by envelopes and structures.
 *
 * Nothing fails. */
#ifndef PROTO_IMAP_RENDER_INT_H
#define PROTO_IMAP_RENDER_INT_H

#include "proto/mime/summary.h"

/* How it may be sent is known; NIL when it is not there. */
void render_text(struct out *o, const struct summary_text *t, bool utf8);
void render_envelope(struct out *o, const struct summary_envelope *e, bool utf8);
/* Of a message that we know nothing of. */
void render_no_envelope(struct out *o);

#endif
