/* SPDX-License-Identifier: GPL-2.0-or-later */
/* section.h - where in a message an IMAP section lies: BODY[1.2], BODY[1.2.MIME], BODY[TEXT].
 *
 * From the part tree of a summary to a span of the message's bytes; nothing is read or decoded.
 * RFC 9051 6.4.5 numbers: a multipart's parts count from 1, a message/rfc822 lends its number to the
 * message inside, and a message that is no multipart has one part, 1. */
#ifndef PROTO_MIME_SECTION_H
#define PROTO_MIME_SECTION_H

#include "proto/mime/summary.h"

enum { SECTION_PATH_MAX = SUMMARY_DEPTH_MAX };

enum section_what {
	SECTION_ALL,    /* the part's body; without a path the whole message */
	SECTION_HEADER, /* header block of a message, blank line included */
	SECTION_TEXT,   /* what follows it */
	SECTION_MIME,   /* header block of the part; wants a path */
};

struct section {
	unsigned path[SECTION_PATH_MAX]; /* each from 1 */
	unsigned depth;
	enum section_what what;
};

struct section_span {
	uint64_t at, len;
	enum part_encoding coding; /* of SECTION_ALL of a leaf: what BINARY has to undo */
	bool leaf;                 /* SECTION_ALL of a part without parts: BINARY may decode it */
};

/* False: there is no such section (IMAP answers NIL), or the row is damaged. A `truncated` row may
 * miss sections that are there. */
bool section_find(const struct summary *s, const struct section *section,
	struct section_span *out) must_use;

#endif
