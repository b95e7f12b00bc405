/* SPDX-License-Identifier: GPL-2.0-or-later */
/* charset.h - text in any charset to UTF-8, in pieces.
 *
 * UTF-8, ASCII and ISO-8859-1 are done here; all else by iconv. A decoder holds an iconv descriptor
 * from begin to end; a cache, the caller's and of one thread, keeps the last few open instead. What
 * is no text of the charset becomes U+FFFD, so well-formed UTF-8 comes out whatever goes in; at most
 * CHARSET_GROWTH bytes for each byte. Only the writer's overflow can go wrong. */
#ifndef PROTO_MIME_CHARSET_H
#define PROTO_MIME_CHARSET_H

#include "core/base/base.h"

enum { CHARSET_NAME_MAX = 40, CHARSET_CACHE = 4, CHARSET_GROWTH = 12, CHARSET_HELD = 16 };

/* A zeroed one is ready. */
struct charset_cache {
	struct charset_slot {
		char name[CHARSET_NAME_MAX + 1];
		void *cd;
		bool lent;
	} slots[CHARSET_CACHE];
	unsigned turn;
};
void charset_cache_done(struct charset_cache *cache);

struct charset_decoder {
	bool known; /* the charset; else as UTF-8 */
	bool bad;   /* something was replaced */
	/* private */
	unsigned char how;
	bool shifted, fresh; /* in UTF-7 */
	unsigned bit_count;
	uint32_t bits;
	uint16_t high;
	void *cd;
	struct charset_slot *slot;
	size_t held_len; /* a character cut by the end of a piece */
	char held[CHARSET_HELD];
};

/* An empty name is ASCII, and UTF-8 where the bytes happen to be. `cache` may be NULL. */
void charset_begin(struct charset_decoder *d, slice name, struct charset_cache *cache);
void charset_add(struct charset_decoder *d, slice bytes, struct out *o);
/* Also gives the descriptor back: must be called, once. */
void charset_end(struct charset_decoder *d, struct out *o);

/* All three at once. False when the charset is unknown; text is written all the same. */
bool charset_to_utf8(slice name, slice bytes, struct charset_cache *cache, struct out *o);
/* Can it be decoded? */
bool charset_known(slice name);
/* Every byte below 128 stands for itself, always: text may be scanned before it is decoded. */
bool charset_is_ascii_based(slice name);

#endif
