/* SPDX-License-Identifier: GPL-2.0-or-later */
/* collate.h - i;unicode-casemap (RFC 5051): keys for sorting, and finding text in text.
 *
 * A key is each character in title case, decomposed by compatibility (utf8proc); keys compare as
 * bytes, and one text contains another when its key contains the other's. ASCII, nearly all text,
 * never reaches the tables. Bytes that are no UTF-8 count as U+FFFD, except in ASCII-only searches,
 * which do not care. Nothing here fails. */
#ifndef PROTO_MIME_COLLATE_H
#define PROTO_MIME_COLLATE_H

#include "core/base/base.h"

/* The key of a text. */
void collate_key(struct out *o, slice utf8);

/* What is looked for, prepared once for many texts. */
struct collate_needle {
	slice key; /* in the arena */
	/* private */
	uint32_t *back; /* of the key: where to go on after a mismatch (Knuth, Morris, Pratt) */
	bool stop[256]; /* bytes of a text that may begin the key */
};
void collate_needle_init(struct collate_needle *n, slice utf8, struct arena *a);

/* Is it in this text? An empty needle is in every text. */
bool collate_has(const struct collate_needle *n, slice utf8);

/* The same, for text that comes in pieces cut anywhere: holds no more than one character. Initialise
 * with { .needle = n }. */
struct collate_find {
	const struct collate_needle *needle;
	/* private */
	size_t matched;
	bool found;
	unsigned char held_len;
	char held[4];
};
/* True once found, and then for ever. */
bool collate_find_add(struct collate_find *f, slice piece);
bool collate_find_end(struct collate_find *f);

#endif
