/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words of SEARCH (RFC 9051 6.4.4 and its extensions) as rows. */
#include "proto/imap/flags.h"
#include "proto/imap/search_int.h"

#define FLAG(name, bit, wanted)                                               \
	{                                                                     \
		SLICE_INIT(name), IMAP_KEY_FLAG, SEARCH_ARG_NONE, bit, wanted \
	}
#define KEY(name, key, arg)                                                 \
	{                                                                   \
		SLICE_INIT(name), IMAP_KEY_##key, SEARCH_ARG_##arg, 0, true \
	}

const struct search_row search_rows[] = {
	KEY("ALL", ALL, NONE),
	FLAG("ANSWERED", IMAP_ANSWERED, true),
	FLAG("DELETED", IMAP_DELETED, true),
	FLAG("DRAFT", IMAP_DRAFT, true),
	FLAG("FLAGGED", IMAP_FLAGGED, true),
	FLAG("RECENT", IMAP_RECENT, true),
	FLAG("SEEN", IMAP_SEEN, true),
	FLAG("UNANSWERED", IMAP_ANSWERED, false),
	FLAG("UNDELETED", IMAP_DELETED, false),
	FLAG("UNDRAFT", IMAP_DRAFT, false),
	FLAG("UNFLAGGED", IMAP_FLAGGED, false),
	FLAG("OLD", IMAP_RECENT, false),
	FLAG("UNSEEN", IMAP_SEEN, false),
	KEY("NEW", NEW, NONE),
	{ SLICE_INIT("KEYWORD"), IMAP_KEY_KEYWORD, SEARCH_ARG_KEYWORD, 0, true },
	{ SLICE_INIT("UNKEYWORD"), IMAP_KEY_KEYWORD, SEARCH_ARG_KEYWORD, 0, false },
	KEY("BCC", BCC, TEXT),
	KEY("CC", CC, TEXT),
	KEY("FROM", FROM, TEXT),
	KEY("SUBJECT", SUBJECT, TEXT),
	KEY("TO", TO, TEXT),
	KEY("HEADER", HEADER, HEADER),
	KEY("BODY", BODY, TEXT),
	KEY("TEXT", TEXT, TEXT),
	KEY("BEFORE", BEFORE, DAY),
	KEY("ON", ON, DAY),
	KEY("SINCE", SINCE, DAY),
	KEY("SENTBEFORE", SENTBEFORE, DAY),
	KEY("SENTON", SENTON, DAY),
	KEY("SENTSINCE", SENTSINCE, DAY),
	KEY("SAVEDBEFORE", SAVEDBEFORE, DAY),
	KEY("SAVEDON", SAVEDON, DAY),
	KEY("SAVEDSINCE", SAVEDSINCE, DAY),
	KEY("SAVEDATESUPPORTED", SAVEDATESUPPORTED, NONE),
	KEY("LARGER", LARGER, NUMBER),
	KEY("SMALLER", SMALLER, NUMBER),
	KEY("OLDER", OLDER, SECONDS),
	KEY("YOUNGER", YOUNGER, SECONDS),
	KEY("MODSEQ", MODSEQ, MODSEQ),
	KEY("EMAILID", EMAILID, ID),
	KEY("THREADID", THREADID, ID),
	KEY("UID", UID, SET),
	KEY("NOT", NOT, KEYS),
	KEY("OR", OR, KEYS),
	{ .name = { NULL, 0 } },
};

const struct search_return search_returns[] = {
	{ SLICE_INIT("MIN"), IMAP_RETURN_MIN },
	{ SLICE_INIT("MAX"), IMAP_RETURN_MAX },
	{ SLICE_INIT("ALL"), IMAP_RETURN_ALL },
	{ SLICE_INIT("COUNT"), IMAP_RETURN_COUNT },
	{ SLICE_INIT("SAVE"), IMAP_RETURN_SAVE },
	{ { NULL, 0 }, 0 },
};

const struct search_row *search_row_named(slice name)
{
	for (const struct search_row *row = search_rows; row->name.len; row++)
		if (slice_eq_nocase(row->name, name))
			return row;
	return NULL;
}
