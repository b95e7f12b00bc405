/* SPDX-License-Identifier: GPL-2.0-or-later */
/* part.h - walk through the MIME structure of a message that streams by (RFC 2045, 2046).
 *
 * A pull parser: hand in a piece, take events until PART_MORE, hand in the next. The bytes of the
 * events HEADER, BODY and RAW, put together, are exactly the bytes handed in, so a converter can
 * copy what it does not change. It descends into multipart/ and message/rfc822; memory is one
 * header block (given back when its body begins) and the boundaries of the open parts, bounded by the
 * limits. No input fails: a multipart without boundary is a leaf, what is deeper or more than the limits is
 * too (`limited`). */
#ifndef PROTO_MIME_PART_H
#define PROTO_MIME_PART_H

#include "proto/mime/ctype.h"
#include "proto/mime/header.h"

enum part_event {
	PART_MORE,   /* the piece is used up */
	PART_HEADER, /* a part begins: its header block, and walker.part tells what it is */
	PART_BODY,   /* bytes of a leaf's body, still encoded */
	PART_RAW,    /* preamble, boundary line, epilogue; `part` is the multipart it belongs to */
	PART_END,    /* the part is over (no bytes); its parent is `part` at the next event */
	PART_DONE,   /* the message is over */
	PART_LIMIT, /* a header block over the limit, its whole lines so far: sticky, nothing follows */
	/* With limits.long_headers, in place of PART_LIMIT: bytes of a header that are over the limit. The
	 * PART_HEADER that follows has the lines before them, and the blank line. */
	PART_LONG,
};

enum part_kind { PART_LEAF, PART_MULTIPART, PART_MESSAGE };

enum part_encoding {
	PART_7BIT,
	PART_8BIT,
	PART_BINARY,
	PART_QP,
	PART_BASE64,
	PART_UNKNOWN_ENCODING,
};

enum { PART_BOUNDARY_MAX = 200, PART_DEPTH_DEFAULT = 50, PART_COUNT_DEFAULT = 10000 };

/* Zero means the default. */
struct part_limits {
	size_t header_max;
	unsigned depth_max, count_max;
	bool stray;        /* the message may begin with a line that header_skip_stray skips */
	bool long_headers; /* find the end of headers over header_max too, in the same memory */
};

struct part {
	unsigned number; /* 0: the message itself, then in order of appearance */
	unsigned depth;  /* 0: the message itself */
	unsigned index;  /* 1-based among its siblings, as in IMAP section numbers */
	enum part_kind kind;
	enum part_encoding encoding;
	bool root;     /* a message of its own: this one, or what message/rfc822 encloses */
	bool implied;  /* the header ended without a blank line */
	bool has_type; /* a Content-Type field stood there and could be read */
	/* Defaults filled in (RFC 2046 5.1.5). Its slices are valid at PART_HEADER only. */
	struct ctype type;
};

struct part_frame;

struct part_walker {
	struct part part; /* of the last event */
	unsigned count;   /* parts begun */
	bool limited;     /* depth, count or boundary length was beyond the limits somewhere */
	/* private */
	struct part_limits limits;
	struct part_frame *frames; /* the open parts, outermost first */
	unsigned open, open_max, pop_to;
	struct arena arena; /* of the header block at hand */
	struct out header;
	size_t line_at; /* where its last line begins */
	size_t stray;   /* length of a first line that is header only if a field follows */
	slice replay;   /* a line that ended a header without belonging to it */
	size_t longest; /* of the boundaries that may come; 0: none may */
	size_t held_len, held_eol; /* a line end and what may be a boundary line behind it */
	unsigned char state;
	bool fresh, line_start, begins_part;
	bool passed; /* lines over the limit */
	char held[PART_BOUNDARY_MAX + 8];
};

void part_init(struct part_walker *w, const struct part_limits *limits);
void part_done(struct part_walker *w);
/* Bytes it has taken from the heap. */
size_t part_memory(const struct part_walker *w);

/* Cuts what it used off the front of *in. With `last` *in is the end of the message: then PART_DONE
 * comes instead of PART_MORE. *bytes stays valid until the next call. */
enum part_event part_next(struct part_walker *w, slice *in, bool last, slice *bytes);

/* The value of a Content-Transfer-Encoding field (RFC 2045 6.1). */
enum part_encoding part_encoding_of(slice value);

#endif
