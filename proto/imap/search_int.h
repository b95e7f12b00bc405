/* SPDX-License-Identifier: GPL-2.0-or-later */
/* search_int.h - the words of search keys, for the parser.
 *
 * Static tables; nothing fails. */
#ifndef PROTO_IMAP_SEARCH_INT_H
#define PROTO_IMAP_SEARCH_INT_H

#include "proto/imap/search.h"

/* What follows the word. */
enum search_arg {
	SEARCH_ARG_NONE,
	SEARCH_ARG_TEXT,
	SEARCH_ARG_HEADER, /* a name and a text */
	SEARCH_ARG_KEYWORD,
	SEARCH_ARG_DAY,
	SEARCH_ARG_NUMBER,
	SEARCH_ARG_SECONDS,
	SEARCH_ARG_MODSEQ,
	SEARCH_ARG_ID,
	SEARCH_ARG_SET,
	SEARCH_ARG_KEYS, /* NOT, OR */
};

struct search_row {
	slice name;
	enum imap_key key;
	enum search_arg arg;
	unsigned flag;
	bool wanted;
};

/* NULL: no such key. */
const struct search_row *search_row_named(slice name);
/* All of them; an empty name at the end. */
extern const struct search_row search_rows[];

/* "MIN" and its bit, in order; NULL name at the end. */
struct search_return {
	slice name;
	unsigned bit;
};
extern const struct search_return search_returns[];

#endif
