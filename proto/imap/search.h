/* SPDX-License-Identifier: GPL-2.0-or-later */
/* search.h - SEARCH, SORT and THREAD: options and the tree of keys (RFC 9051 6.4.4, RFC 3501, 4731,
 * 5032, 5182, 5256, 7162, 8474, 8514).
 *
 * The tree is made of arena nodes, at most terms_max of them and depth_max deep, so walking it by
 * recursion is bounded by that option. Strings are as they came, in the charset that was named: to
 * check and convert is the caller's. */
#ifndef PROTO_IMAP_SEARCH_H
#define PROTO_IMAP_SEARCH_H

#include "proto/imap/seqset.h"

/* What a key compares. Words that only differ in a flag or in wanting it or not share one. */
enum imap_key {
	IMAP_KEY_AND, /* all children; a list, and the root */
	IMAP_KEY_OR,  /* two children */
	IMAP_KEY_NOT, /* one child */
	IMAP_KEY_ALL,
	IMAP_KEY_FLAG,    /* `flag`, wanted or not */
	IMAP_KEY_NEW,     /* recent and unseen; IMAP4rev1 */
	IMAP_KEY_KEYWORD, /* `text`, wanted or not */
	IMAP_KEY_BCC,     /* `text` in the field; so the next ones */
	IMAP_KEY_CC,
	IMAP_KEY_FROM,
	IMAP_KEY_SUBJECT,
	IMAP_KEY_TO,
	IMAP_KEY_HEADER, /* `name` and `text`; an empty text: the field is there */
	IMAP_KEY_BODY,
	IMAP_KEY_TEXT,
	IMAP_KEY_BEFORE, /* `day`, of the internal date */
	IMAP_KEY_ON,
	IMAP_KEY_SINCE,
	IMAP_KEY_SENTBEFORE, /* of the Date field */
	IMAP_KEY_SENTON,
	IMAP_KEY_SENTSINCE,
	IMAP_KEY_SAVEDBEFORE, /* of the save date */
	IMAP_KEY_SAVEDON,
	IMAP_KEY_SAVEDSINCE,
	IMAP_KEY_SAVEDATESUPPORTED,
	IMAP_KEY_LARGER, /* `number` */
	IMAP_KEY_SMALLER,
	IMAP_KEY_OLDER, /* `number` seconds */
	IMAP_KEY_YOUNGER,
	IMAP_KEY_MODSEQ,  /* `number`; `name` of the entry and `text` its type, or empty: ignored */
	IMAP_KEY_EMAILID, /* `text` */
	IMAP_KEY_THREADID,
	IMAP_KEY_UID, /* `set` */
	IMAP_KEY_SEQ, /* `set`, which may be `$` */
};

struct imap_search_node {
	struct imap_search_node *parent, *child, *last, *next; /* children in order */
	enum imap_key key;
	unsigned flag; /* IMAP_SEEN... */
	bool wanted;   /* FLAG and KEYWORD: to be there */
	int32_t day;
	uint64_t number;
	slice name, text;
	struct imap_seqset set;
};

/* RETURN options. Given without any: ALL. */
enum imap_search_return {
	IMAP_RETURN_MIN = 1 << 0,
	IMAP_RETURN_MAX = 1 << 1,
	IMAP_RETURN_ALL = 1 << 2,
	IMAP_RETURN_COUNT = 1 << 3,
	IMAP_RETURN_SAVE = 1 << 4,
};

struct imap_search {
	bool extended;                 /* RETURN was given: the answer is ESEARCH */
	unsigned ret;                  /* enum imap_search_return */
	slice charset;                 /* empty: none named */
	struct imap_search_node *root; /* an AND */
	size_t nodes;
	bool modseq; /* MODSEQ occurs: answers carry it, the session becomes aware */
	bool saved;  /* `$` occurs */
	bool bodies; /* BODY or TEXT occurs */
};

enum imap_sort_key {
	IMAP_SORT_ARRIVAL,
	IMAP_SORT_CC,
	IMAP_SORT_DATE,
	IMAP_SORT_FROM,
	IMAP_SORT_SIZE,
	IMAP_SORT_SUBJECT,
	IMAP_SORT_TO,
	IMAP_SORT_DISPLAYFROM, /* RFC 5957 */
	IMAP_SORT_DISPLAYTO,
};
enum { IMAP_SORT_KEYS_MAX = 16 };

struct imap_sort {
	struct {
		enum imap_sort_key key;
		bool reverse;
	} by[IMAP_SORT_KEYS_MAX];
	size_t by_len;
	struct imap_search search;
};

struct imap_thread {
	slice algorithm; /* whether it is known is the caller's to say */
	struct imap_search search;
};

bool imap_lex_search(struct imap_lex *x, struct imap_search *out);
bool imap_lex_sort(struct imap_lex *x, struct imap_sort *out);
bool imap_lex_thread(struct imap_lex *x, struct imap_thread *out);

#endif
