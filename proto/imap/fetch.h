/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fetch.h - the arguments of FETCH (RFC 9051 6.4.5, RFC 3501, 3516, 7162, 8474, 8514, 8970).
 *
 * Simple items are bits, sections are a list in the order they came. Memory is the arena's. A parser is
 * false when x->why says what is wrong. */
#ifndef PROTO_IMAP_FETCH_H
#define PROTO_IMAP_FETCH_H

#include "proto/imap/seqset.h"

enum imap_fetch_item {
	IMAP_FETCH_UID = 1 << 0,
	IMAP_FETCH_FLAGS = 1 << 1,
	IMAP_FETCH_INTERNALDATE = 1 << 2,
	IMAP_FETCH_RFC822_SIZE = 1 << 3,
	IMAP_FETCH_ENVELOPE = 1 << 4,
	IMAP_FETCH_BODY = 1 << 5,
	IMAP_FETCH_BODYSTRUCTURE = 1 << 6,
	IMAP_FETCH_MODSEQ = 1 << 7, /* makes the session CONDSTORE-aware */
	IMAP_FETCH_EMAILID = 1 << 8,
	IMAP_FETCH_THREADID = 1 << 9,
	IMAP_FETCH_SAVEDATE = 1 << 10,
	IMAP_FETCH_PREVIEW = 1 << 11,
	IMAP_FETCH_PREVIEW_LAZY = 1 << 12, /* set beside PREVIEW */
};

enum imap_section_kind {
	IMAP_BODY,          /* BODY[...] */
	IMAP_BINARY,        /* BINARY[1.2], decoded */
	IMAP_BINARY_SIZE,   /* BINARY.SIZE[1.2] */
	IMAP_RFC822,        /* as BODY[] */
	IMAP_RFC822_HEADER, /* as BODY.PEEK[HEADER] */
	IMAP_RFC822_TEXT,   /* as BODY[TEXT] */
};

enum imap_section_text {
	IMAP_TEXT_ALL, /* the part, or the message */
	IMAP_TEXT_HEADER,
	IMAP_TEXT_FIELDS,
	IMAP_TEXT_FIELDS_NOT,
	IMAP_TEXT_TEXT,
	IMAP_TEXT_MIME,
};

enum { IMAP_PART_DEPTH_MAX = 64 };

struct imap_section {
	struct imap_section *next;
	enum imap_section_kind kind;
	enum imap_section_text text;
	bool peek;    /* does not set \Seen */
	bool partial; /* <first.bytes> was given */
	uint64_t partial_first, partial_bytes;
	uint16_t part_len;
	uint32_t *part;            /* 1.2.3 */
	struct imap_slices fields; /* as written */
};

struct imap_fetch {
	struct imap_seqset set;
	unsigned items;                /* enum imap_fetch_item */
	struct imap_section *sections; /* in order */
	size_t section_count;
	bool sets_seen;     /* some section is not a peek */
	bool changed_since; /* the modifier was given */
	bool vanished;      /* only with changed_since, UID and QRESYNC */
	uint64_t since;
};

/* What follows the verb. With x->uid, UID is among the items. */
bool imap_lex_fetch(struct imap_lex *x, struct imap_fetch *out);

/* The name of the item in the answer: BODY[HEADER.FIELDS (DATE)]<0>, without PEEK. */
void imap_put_section(struct out *o, const struct imap_section *section);

#endif
