/* SPDX-License-Identifier: GPL-2.0-or-later */
/* summary.h - what a mailbox keeps of a message, so that listing, sorting, threading and searching
 * never open its body.
 *
 * Where headers end and bodies begin is exact, however long a header is.
 *
 * A builder takes the message in pieces as they arrive, cut anywhere, and at the end writes one
 * opaque row. Its memory is bounded by the limits below, most of it the header block at hand, which
 * goes when its body begins. What passes a limit is left out or flattened to a leaf, and the
 * row says `truncated`: whoever needs more parses the body again. No input makes a builder fail.
 *
 * A view is a row opened: a few numbers at once, the rest on demand, every slice inside the row. Rows
 * come from the disk, so every reader returns false for a damaged one and never reads past it. */
#ifndef PROTO_MIME_SUMMARY_H
#define PROTO_MIME_SUMMARY_H

#include "proto/mime/part.h"

enum {
	/* 2: a parameter's language tag; "a@x <b@y>" is an address with a name. 3: headers over
	 * SUMMARY_HEADER_MAX end where they end. */
	SUMMARY_VERSION = 3,
	SUMMARY_VERSION_BORDERS = 3,    /* older ones that are truncated are built again */
	SUMMARY_VERSION_FIRST = 1,      /* read all the same: the layout never changed */
	SUMMARY_HEADER_MAX = 256 << 10, /* of a header block so much is looked at */
	SUMMARY_HEADERS_MAX = 1 << 20,  /* all header blocks together */
	SUMMARY_DEPTH_MAX = 50,         /* open parts */
	SUMMARY_PARTS_MAX = 1000,
	SUMMARY_ROW_MAX = 256 << 10,  /* part tree of one row; envelope and preview come on top */
	SUMMARY_ADDRESSES_MAX = 1000, /* items of one field, group marks counted */
	SUMMARY_ENVELOPE_MAX = 64 << 10, /* one envelope */
	SUMMARY_TEXT_MAX = 8 << 10,      /* one string */
	SUMMARY_REFS_MAX = 16,           /* hashes of References: the first and the last 15 */
	SUMMARY_KEY_MAX = 128,           /* sort key of the base subject */
	SUMMARY_PREVIEW_CHARS = 200,     /* RFC 8970 3.1 */
	SUMMARY_QUOTED_MAX = 1000,       /* longer strings are never "safe" */
	/* summary_make_envelope */
	SUMMARY_LONG_MAX = 1 << 20, /* of the header */
	SUMMARY_LONG_ENVELOPE_MAX = 400 << 10,
	SUMMARY_LONG_ADDRESSES_MAX = 20000, /* of one field */
};

/* Building ------------------------------------------------------------------------------------- */

struct summary_builder;

/* Ends by summary_end or summary_drop. */
struct summary_builder *summary_begin(void) must_use;
void summary_add(struct summary_builder *b, slice piece);
/* Bytes that it has taken. */
size_t summary_memory(const struct summary_builder *b);
/* The message is over: writes the row. */
void summary_end(struct summary_builder *b, struct out *row);
/* NULL is harmless. */
void summary_drop(struct summary_builder *b);
/* All of it, for a message that stands in memory; the messages of tests do. */
void summary_make(slice message, struct out *row);

/* The row ------------------------------------------------------------------------------------- */

/* How a string may be sent by IMAP (RFC 9051 4.3); it holds no CR, LF or NUL in any case. */
enum summary_safe {
	SUMMARY_LITERAL, /* bytes that are no UTF-8, or long */
	SUMMARY_QUOTED,  /* ASCII without quote and backslash: between quotes as it is */
	SUMMARY_ESCAPED, /* ASCII: quote and backslash want a backslash */
	SUMMARY_UTF8,    /* UTF-8: between quotes (escaped) where the client takes UTF-8 */
};

struct summary_text {
	slice text; /* ptr NULL: the field was not there (NIL), else it may still be empty */
	enum summary_safe safe;
};

/* One open row. Public members are the quick part: reading them touches the first bytes only. */
struct summary {
	bool truncated;
	bool has_sent;       /* a Date field that could be read */
	bool reply;          /* base subject extraction took a "Re:" or "Fwd:" off (RFC 5256 2.1) */
	bool has_attachment; /* a part that a reader would offer for saving */
	bool open_end;       /* the last line is not ended by CRLF; false before version 3 */
	wall_ms sent;        /* UTC; 0 unless has_sent */
	int sent_zone;  /* minutes east of UTC that the field states: SENTON asks for its own day */
	uint64_t size;  /* bytes of the message */
	uint64_t lines; /* and its line ends */
	uint32_t header_len; /* with the blank line */
	uint64_t base_hash;  /* of base_key, never 0 */
	uint64_t id_hash;    /* of Message-ID, 0: none */
	unsigned refs;       /* of summary_ref: References, else In-Reply-To, oldest first */
	slice base_key; /* the base subject, for sorting: i;unicode-casemap, compare as bytes */
	slice preview;  /* UTF-8, at most SUMMARY_PREVIEW_CHARS characters */
	/* private */
	slice ref_bytes, envelope, parts;
};

/* Constant time. False: not a row, damaged, or of an unknown version (build it again). */
bool summary_open(slice row, struct summary *out) must_use;
/* `stored` is what `made`, just built of the same message, says; of a row of an older version, whose
 * texts may say less, the numbers, the sort key and the preview. */
bool summary_agrees(slice stored, slice made);

uint64_t summary_ref(const struct summary *s, unsigned i);
/* The hash that id_hash and summary_ref hold: of "<id>" with its angles, as written. */
uint64_t summary_hash_id(slice id);
/* Messages that share one of these, own id or reference, are one conversation: the id together with
 * the base subject, so that a new subject begins a new one. */
uint64_t summary_thread_key(uint64_t id_hash, uint64_t base_hash);
/* The keys of the own id and of all references; the number of them. */
unsigned summary_thread_keys(const struct summary *s, uint64_t out[SUMMARY_REFS_MAX + 1]);

/* Envelope ------------------------------------------------------------------------------------- */

enum summary_list {
	SUMMARY_FROM,
	SUMMARY_SENDER,
	SUMMARY_REPLY_TO,
	SUMMARY_TO,
	SUMMARY_CC,
	SUMMARY_BCC,
	SUMMARY_LISTS,
};

/* In the order of the row. */
enum summary_field {
	SUMMARY_DATE,
	SUMMARY_SUBJECT,
	SUMMARY_MESSAGE_ID,
	SUMMARY_IN_REPLY_TO,
	SUMMARY_REFERENCES,
	SUMMARY_LIST_ID,
	SUMMARY_FIELDS,
};

/* Raw but unfolded: encoded words stay, word_decode reads them. */
struct summary_envelope {
	struct summary_text date, subject, message_id, in_reply_to, references, list_id;
	/* Items for summary_address_next; ptr NULL: no such field. IMAP wants From where Sender or
	 * Reply-To has none (RFC 9051 7.5.2). */
	slice lists[SUMMARY_LISTS];
};

enum summary_address_kind { SUMMARY_ADDRESS, SUMMARY_GROUP, SUMMARY_GROUP_END };

struct summary_address {
	enum summary_address_kind kind; /* a group has its name in `name`; its end has nothing */
	struct summary_text name, route, local, host; /* of what was no address only a name */
};

bool summary_envelope(const struct summary *s, struct summary_envelope *out) must_use;
/* Of a truncated row, from the message's header: what may stand in place of s->envelope. */
void summary_make_envelope(slice header, struct out *envelope);
/* One field of it alone: what stands behind is not looked at, so of a damaged row they may be true where
 * summary_envelope is not. */
bool summary_get_text(const struct summary *s, enum summary_field which,
	struct summary_text *out) must_use;
bool summary_get_list(const struct summary *s, enum summary_list which, slice *out) must_use;
/* Cuts the next item off. False at the end, or where the row is damaged. */
bool summary_address_next(slice *list, struct summary_address *out);

/* Parts ---------------------------------------------------------------------------------------- */

/* In pre-order; the children of a part follow it. A PART_MESSAGE has one child, a root of its own. */
struct summary_part {
	enum part_kind kind;
	enum part_encoding coding; /* `encoding` read */
	bool root;                 /* has an envelope: the message itself or an enclosed one */
	unsigned depth, children;
	uint64_t header_at, body_at, body_len; /* bytes from the beginning of the message */
	uint64_t lines;                        /* line ends in the body */
	/* type, subtype and encoding are always there, defaults filled in. */
	struct summary_text type, subtype, id, description, encoding, md5, disposition, location;
	/* For summary_text_next. Parameters: name, value, name ... ; one that was encoded by RFC 2231
	 * stands as one "name*" with its percent signs. */
	slice params, disposition_params, languages;
	slice envelope; /* private */
};

/* Begins with summary.parts. False at the end, or where the row is damaged. */
bool summary_part_next(slice *parts, struct summary_part *out);
slice summary_parts(const struct summary *s);
bool summary_text_next(slice *list, struct summary_text *out);
/* The value of a parameter, of "name" or else of "name*", as it stands in the list. */
bool summary_param(slice params, slice name, struct summary_text *out);
/* Of an enclosed message: part->root. The message's own is summary_envelope's. */
bool summary_part_envelope(const struct summary_part *part, struct summary_envelope *out) must_use;

#endif
