/* SPDX-License-Identifier: GPL-2.0-or-later */
/* body.h - message content on the wire: DATA and BDAT, both directions.
 *
 * Decoder and encoder work by pull: each call takes bytes off the front of *in and gives one piece of
 * the result, which points into the input or is a static text, and dies with the input. Call until
 * the input is empty. They hold a few bytes of state, no buffer, never fail, and give the same
 * bytes and flags however the input was divided.
 *
 *	while (in.len && step == STEP_MORE) {
 *		step = smtp_body_take(&b, &in, &piece);
 *		append(piece);				// may be empty
 *	}
 */
#ifndef PROTO_SMTP_BODY_H
#define PROTO_SMTP_BODY_H

#include "core/base/base.h"

/* How to read; 0 reads a BDAT chunk and only tells what it sees. */
enum smtp_body_option {
	SMTP_BODY_DOTS = 1, /* DATA: unstuff, end at <CRLF>.<CRLF> and nowhere else */
	/* A bare CR or LF becomes CRLF. A line end made this way never takes part in the end of data or
	 * in unstuffing: "\n.\r\n" ends nothing. Without it the bytes stay as they are. */
	SMTP_BODY_FIX = 2,
	SMTP_BODY_WRAP = 4,   /* CRLF SP is put in before the 999th byte of a line */
	SMTP_BODY_OPAQUE = 8, /* BODY=BINARYMIME: nothing is looked for, nothing changed */
};

/* What was seen in the content, up to its true end. */
enum smtp_body_flag {
	SMTP_SAW_BARE_CR = 1,
	SMTP_SAW_BARE_LF = 2,
	SMTP_SAW_NUL = 4,
	SMTP_SAW_8BIT = 8,
	SMTP_SAW_LONG_LINE = 16, /* over 998 bytes without the CRLF, before any wrapping */
};

struct smtp_body {
	uint64_t size_bytes;     /* of the content given so far */
	uint32_t line_bytes;     /* of the line begun */
	uint32_t out_line_bytes; /* the same, since the last wrapping */
	uint8_t state, options, flags;
};

void smtp_body_init(struct smtp_body *b, unsigned options);
/* STEP_DONE (DATA only): *piece is the last one, and *in is what follows the end: the next command.
 * Otherwise STEP_MORE. Each call uses some of *in or gives a piece. */
enum step smtp_body_take(struct smtp_body *b, slice *in, slice *piece) must_use;
/* BDAT ... LAST is over: what the decoder still held back (a final CR), often nothing. */
slice smtp_body_end(struct smtp_body *b) must_use;

/* DATA for the client: dots doubled at the start of lines. The content must have CRLF line ends. */
struct smtp_stuff {
	uint8_t state;
};

/* Zeroed is ready. Some of *in is always used. */
slice smtp_stuff_take(struct smtp_stuff *s, slice *in) must_use;
/* ".\r\n", after "\r\n" if the content did not end with one. */
slice smtp_stuff_end(const struct smtp_stuff *s) must_use;

#endif
