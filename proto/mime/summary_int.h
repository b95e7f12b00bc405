/* SPDX-License-Identifier: GPL-2.0-or-later */
/* summary_int.h - shared by the files of summary: the layout of a row, and its writers.
 *
 * A row: the quick part, QUICK_LEN bytes of numbers at fixed places; then hashes of references, sort
 * key, preview, envelope, parts. A part: RECORD_LEN bytes of numbers, then its strings. A string: a
 * varint, 0 for none, else (length << 2 | enum summary_safe) + 1, and the bytes. A list: a varint, 0
 * for none, else length + 1, and its items. Numbers are big-endian. */
#ifndef PROTO_MIME_SUMMARY_INT_H
#define PROTO_MIME_SUMMARY_INT_H

#include "proto/mime/summary.h"

enum {
	ROW_TRUNCATED = 1,
	ROW_HAS_SENT = 2,
	ROW_REPLY = 4,
	ROW_HAS_ATTACHMENT = 8,
	ROW_OPEN_END = 16,
	ROW_FLAGS_OF_OLD =
		ROW_HAS_SENT | ROW_REPLY | ROW_HAS_ATTACHMENT, /* the same in all versions */
};

/* Where the numbers of the quick part stand. */
enum {
	QUICK_VERSION = 0,
	QUICK_FLAGS = 1,
	QUICK_ZONE = 2,
	QUICK_HEADER = 4,
	QUICK_SENT = 8,
	QUICK_SIZE = 16,
	QUICK_LINES = 24,
	QUICK_BASE = 32,
	QUICK_ID = 40,
	QUICK_REFS = 48,
	QUICK_KEY = 49,
	QUICK_PREVIEW = 50,
	QUICK_ENVELOPE = 52,
	QUICK_PARTS = 56,
	QUICK_LEN = 60,
};

/* And of a part's record. The last three are known when the part is over. */
enum {
	RECORD_KIND = 0, /* kind | root << 2 */
	RECORD_CODING = 1,
	RECORD_DEPTH = 2,
	RECORD_HEADER_LEN = 4,
	RECORD_AT = 8,
	RECORD_STRINGS = 16,
	RECORD_CHILDREN = 20,
	RECORD_BODY = 24,
	RECORD_LINES = 32,
	RECORD_LEN = 40,
};

/* The fields of a header that a summary keeps, first of each name. */
struct summary_fields {
	slice value[HEADER_IDS]; /* raw; ptr NULL: not there */
	bool again[HEADER_IDS];  /* others of that name follow in `block` */
	slice block;
};
void summary_fields_of(slice block, struct summary_fields *out);

/* How much of an envelope is written. */
struct summary_room {
	size_t text, all;
	unsigned addresses;
	bool cut; /* out: something was left out */
};
/* Strings come out unfolded, without NUL, cut to room->text; those of parts to SUMMARY_TEXT_MAX. */
void summary_put_list(struct out *o, slice items);
void summary_put_envelope(struct out *o, const struct summary_fields *f, struct arena *a,
	struct summary_room *room);
/* The strings of a part. */
struct summary_dress {
	const struct part *part;
	const struct summary_fields *fields;
	bool flat;           /* as application/octet-stream, without anything else */
	bool has_attachment; /* out: a reader would offer it for saving */
	bool attached;       /* out: its disposition says so */
};
void summary_put_part(struct out *o, struct summary_dress *d, struct arena *a);

/* What the quick part says of the message's own header. */
struct summary_quick {
	uint64_t refs[SUMMARY_REFS_MAX];
	unsigned ref_count;
	uint64_t id_hash, base_hash;
	char key[SUMMARY_KEY_MAX];
	size_t key_len;
	bool reply, has_sent;
	int zone;
	wall_ms sent;
};
void summary_read_quick(struct summary_quick *q, const struct summary_fields *f, struct arena *a);

#endif
