/* SPDX-License-Identifier: GPL-2.0-or-later */
/* preview.h - the first words of a text part, for a list of messages (RFC 8970 3.1).
 *
 * Takes the body of a text/plain or text/html part as it arrives, still encoded, and keeps the first
 * PREVIEW_KEEP bytes of its text: markup, style sheets and scripts are dropped on the way, runs of
 * blanks become one. At the end the charset is undone. Memory is the caller's arena, at most
 * PREVIEW_KEEP; what lies behind PREVIEW_SCAN bytes is not looked at, nor, of plain text, what lies behind about
 * PREVIEW_CHARS characters. Nothing fails. */
#ifndef PROTO_MIME_PREVIEW_H
#define PROTO_MIME_PREVIEW_H

#include "proto/mime/charset.h"
#include "proto/mime/part.h"
#include "proto/mime/transfer.h"

enum { PREVIEW_KEEP = 2048, PREVIEW_SCAN = 64 << 10, PREVIEW_CHARS = 256, PREVIEW_NAME = 10 };

/* Text out of markup, byte by byte; a zeroed one is ready. */
struct preview_strip {
	bool html;
	unsigned char state, quote, name_len;
	bool blank; /* the last byte kept */
	char name[PREVIEW_NAME];
	char raw[PREVIEW_NAME]; /* the element whose end is waited for: its text is none */
};

struct preview {
	bool open; /* between begin and end */
	bool full; /* enough was seen */
	/* private */
	bool late; /* markup is looked at when the charset is undone: bytes of it look like ASCII */
	enum part_encoding coding;
	size_t scanned;
	struct qp_decoder qp;
	struct b64_decoder b64;
	struct preview_strip strip;
	slice charset;
	struct out text;
};

/* *p is zeroed or was used before, with the same arena. The charset must live until preview_end. */
void preview_begin(struct preview *p, bool html, enum part_encoding coding, slice charset);
void preview_add(struct preview *p, struct arena *a, slice piece);
/* At most max_chars characters of UTF-8; nothing when the part has no text. */
void preview_end(struct preview *p, struct arena *a, size_t max_chars, struct out *o);

#endif
