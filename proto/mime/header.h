/* SPDX-License-Identifier: GPL-2.0-or-later */
/* header.h - the header block of a message: where it ends, what fields it has.
 *
 * A block is everything up to and including the blank line, in one piece of memory that is the
 * caller's and bounded by its limit; every slice given out points into it. Lines end in CRLF; a
 * lone LF is taken for a line end too, so that no reader sees other fields than we do. A line that
 * can be no field ends the block before it, as in every large mail system: `implied` tells, and
 * whoever sends the message on puts the blank line in. Nothing here fails on any bytes. */
#ifndef PROTO_MIME_HEADER_H
#define PROTO_MIME_HEADER_H

#include "core/base/base.h"

enum { HEADER_MAX_DEFAULT = 256 * 1024 };

/* Finding the end, while bytes come in ------------------------------------------------------- */

/* Initialise with { .max = limit }. */
struct header_end {
	size_t max;   /* longest block accepted; 0: HEADER_MAX_DEFAULT */
	size_t bytes; /* at STEP_DONE: length of the block; the body begins there */
	bool implied; /* it ended without a blank line */
	/* private */
	size_t fed, line_at;
	unsigned char state;
};

/* Feed the message from its first byte, until STEP_DONE: e->bytes counts from the first byte fed, and
 * may lie before this piece when `implied`; STEP_TOO_LONG: no end within `max`. */
enum step header_end_feed(struct header_end *e, slice in) must_use;
/* The message is over and no end was seen: all of it is header. */
void header_end_finish(struct header_end *e);

/* Fields --------------------------------------------------------------------------------------- */

struct header_field {
	slice whole; /* with its line end(s) */
	slice name;  /* without the blanks that RFC 5322 4.5 allows before the colon */
	slice value; /* raw: behind the colon, folding kept, last line end cut off */
};

/* Cut the next field off the front of *rest. False at the blank line or the end. */
bool header_next(slice *rest, struct header_field *out);
/* The first field of that name. */
bool header_find(slice block, slice name, struct header_field *out);
size_t header_count(slice block, slice name);
/* The value in one line: line ends gone, blanks trimmed at both ends. */
void header_unfold(struct out *o, slice value);
/* Is this a byte of a field name (RFC 5322 3.6.8)? */
bool header_is_name_byte(unsigned char c);
/* May this line (its end included or not) begin a field: a name, blanks, a colon? */
bool header_line_is_field(slice line);

/* Some stored messages begin with a line that is no field: the "From " of a mailbox file, or one that
 * folds nothing. Readers of mail look behind it; the end detector above does not, because what
 * travels must not have it. */
bool header_is_stray(slice line);
/* The block behind such a line, when a field follows it; else the block as it is. */
slice header_skip_stray(slice block);

/* Known names ---------------------------------------------------------------------------------- */

/* id, spelling */
#define HEADER_TABLE(X)                                  \
	X(FROM, "From")                                  \
	X(SENDER, "Sender")                              \
	X(REPLY_TO, "Reply-To")                          \
	X(TO, "To")                                      \
	X(CC, "Cc")                                      \
	X(BCC, "Bcc")                                    \
	X(DATE, "Date")                                  \
	X(SUBJECT, "Subject")                            \
	X(MESSAGE_ID, "Message-ID")                      \
	X(IN_REPLY_TO, "In-Reply-To")                    \
	X(REFERENCES, "References")                      \
	X(RECEIVED, "Received")                          \
	X(DELIVERED_TO, "Delivered-To")                  \
	X(CONTENT_ENCODING, "Content-Transfer-Encoding") \
	X(CONTENT_DISPOSITION, "Content-Disposition")    \
	X(CONTENT_ID, "Content-ID")                      \
	X(CONTENT_DESCRIPTION, "Content-Description")    \
	X(CONTENT_MD5, "Content-MD5")                    \
	X(CONTENT_LANGUAGE, "Content-Language")          \
	X(CONTENT_LOCATION, "Content-Location")          \
	X(LIST_ID, "List-Id")

enum header_id {
	HEADER_OTHER,
#define X(id, name) HEADER_##id,
	HEADER_TABLE(X)
#undef X
		HEADER_IDS
};

enum header_id header_id_of(slice name);

/* What an intake asks of a block --------------------------------------------------------------- */

struct header_facts {
	unsigned count[HEADER_IDS]; /* fields per known name; [HEADER_OTHER]: all others */
	unsigned fields;
	unsigned hops;   /* Received fields (RFC 5321 6.3) */
	size_t line_max; /* longest line without its end */
	bool eight_bit;  /* raw bytes over 127: RFC 6532, or somebody's mistake */
	bool utf8;       /* no such byte, or all of it well-formed UTF-8 */
	bool nul;
	bool bare_newline; /* a CR or LF that stands alone */
};

/* One pass over the whole block. */
struct header_facts header_facts_of(slice block);

#endif
