/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dots.h - a message as a multi-line response: dots doubled, cut after N lines for TOP.
 *
 * Streaming: pieces in, as much as the room allows out, whatever the cuts. Bytes are passed on as
 * they are; only CRLF ends a line, so only behind it a dot is doubled (RFC 1939 3). */
#ifndef PROTO_POP3_DOTS_H
#define PROTO_POP3_DOTS_H

#include "core/base/base.h"

struct pop3_dots {
	uint32_t lines_left; /* limited: of the body */
	bool limited, in_body, done;
	bool line_begun; /* bytes of this line were seen */
	bool cr;         /* the last one was CR */
	bool only_cr;    /* and the only one */
};

/* All of the message. */
void pop3_dots_init(struct pop3_dots *d);
/* The header, the blank line and this many lines of the body. */
void pop3_dots_top(struct pop3_dots *d, uint32_t lines);
/* Moves bytes from the front of *in into the free room of `o` (a fixed writer). `done`: no more is wanted. */
void pop3_dots_put(struct pop3_dots *d, slice *in, struct out *o);
/* Of a whole message: true when these bytes, already where they are to go, can stay as they are; then they
 * count as put. Else nothing happened: they need pop3_dots_put. */
bool pop3_dots_pass(struct pop3_dots *d, slice in) must_use;
/* Where the first line but one that begins with a dot (behind a bare LF, too) begins; s.len: there is none. */
size_t pop3_dots_find(slice s);
/* At least POP3_DOTS_END bytes are free: ends the last line if it is open, and the response. */
enum { POP3_DOTS_END = 5 };
void pop3_dots_end(struct pop3_dots *d, struct out *o);

#endif
