/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_fetch.h - a FETCH under way; for imap_fetch*.c, and imap_store.c, which answers as FETCH does.
 *
 * imap_fetch.c settles what is asked and lets it flow; imap_fetch_items.c writes a message's items,
 * imap_fetch_body.c its sections. Rows are looked up on helper threads and most is rendered there, on
 * copies of what the session knew when the command began, so nothing of the session is touched. */
#ifndef SERVER_IMAP_IMAP_FETCH_H
#define SERVER_IMAP_IMAP_FETCH_H

#include "proto/imap/fetch.h"
#include "proto/mime/section.h"
#include "proto/mime/transfer.h"
#include "server/imap/imap_fetch_memo.h"
#include "server/imap/imap_out.h"
#include "store/blob.h"
#include "store/message.h"

/* A message to render; slices in the batch's arena, or alive for the call. */
struct fetch_row {
	struct message m;
	slice splice;
	struct summary summary;
	bool has_summary;
	struct blob_reader *reader; /* opened already; NULL: not */
};

/* A section's place in the message as it was delivered. */
struct fetch_span {
	uint64_t at, len;
	enum part_encoding coding;
	bool leaf;
};

/* How far a part was decoded: where the encoded bytes go on, and how many came out. */
struct fetch_decoding {
	uint64_t at, decoded;
	struct qp_decoder qp;
	struct b64_decoder b64;
};

/* What a session remembers of parts it asked for by BINARY; their bytes never change. */
struct fetch_part {
	uint64_t blob, at, len; /* blob 0: none */
};
struct fetch_part_size {
	struct fetch_part part;
	uint64_t size; /* decoded */
	bool nul;      /* there is one in it */
};
enum { FETCH_SIZES = 16 };
struct fetch_known {
	struct fetch_part_size sizes[FETCH_SIZES];
	unsigned next;
	struct fetch_part part; /* of the last one sent */
	struct fetch_decoding place;
};

/* The section at hand: bytes of the message as it was delivered, splice first, or of `bytes`. */
struct fetch_body {
	const struct imap_section *section; /* NULL: none is begun */
	const struct imap_section *next;    /* behind it; NULL: none */
	slice bytes;                        /* in_memory: what is left of it */
	uint64_t at, left; /* else: of the message; of a decoded one what is to be written */
	bool in_memory, decoded;
	/* Decoded: */
	enum part_encoding coding;
	struct fetch_decoding place;
	uint64_t end, skip; /* where the encoded bytes end; decoded bytes to drop */
};

/* A header block that subsets are made of, in the batch's arena; those behind it go with each section. */
struct fetch_block {
	uint64_t at, len;
	slice bytes; /* empty: none was read */
	struct arena_mark mark;
};

struct fetch_job {
	struct imap_flow flow;
	struct store *store;
	const struct imap_fetch *args;
	struct runs uids, seqs;  /* of the command, member for member */
	struct runs_climb climb; /* along the uids */
	const slice *keywords;
	size_t keyword_count;
	struct message_scan scan;
	struct runs changed; /* found by the log, with CHANGEDSINCE */
	struct message_found found;
	unsigned items;
	bool utf8, wants_summary;
	struct out *out; /* of the piece at hand */
	/* With sections: messages read together, and where we are in them. */
	struct arena arena;
	struct arena_mark row_mark; /* what one message's sections took goes with it */
	struct fetch_row *rows;
	size_t len, cap, at;
	size_t expected, expect_at; /* rows the disk was asked for; where to ask again */
	bool heads_only;            /* bodies are not read to their ends */
	enum err batch_err;
	struct fetch_body body;
	struct fetch_known *known; /* the session's, which waits; NULL: nothing is remembered */
	struct fetch_block block;
	size_t looked; /* bytes gone through for this piece that are not in it */
	struct fetch_memo *memo;
	uint64_t parsed, headers; /* bodies read for their summaries, bytes of header blocks */
	struct blob_reader reader;
	struct blob_ahead ahead;
	bool row_begun, reader_open;
	bool last_batch;
	/* What the tagged line has to say. */
	bool midway;      /* an error came inside a literal: the connection is of no more use */
	bool unreadable;  /* a body could not be read: NIL was sent */
	bool unknown_cte; /* BINARY of an encoding nobody knows */
};

/* --- imap_fetch.c --- */
/* Copies of what rendering needs, which must not look at the session. `uids` are in the view now. */
enum err fetch_take_copies(struct imap_session *s, struct fetch_job *job,
	struct run_list uids) must_use;

/* --- imap_fetch_items.c --- */
/* The items want the message's summary. */
bool fetch_wants_summary(unsigned items);
/* "* 5 FETCH (" and the items that are no sections; *first: nothing was written behind "(". */
void fetch_put_items(struct fetch_job *job, const struct fetch_row *row);
/* Fills summary and has_summary from a stored row, or from the body when the row was left out. */
void fetch_open_summary(struct fetch_job *job, slice stored, struct arena *a,
	struct fetch_row *row);

/* --- imap_fetch_body.c --- */
/* All of the message as it is: nothing must be known of its parts. */
bool fetch_section_is_whole(const struct imap_section *section);
/* The begin of the message, or less. */
bool fetch_section_is_head(const struct imap_section *section);
/* BINARY: not as it is stored. */
bool fetch_section_is_decoded(const struct imap_section *section);
/* The name of the section and, when it is short, all of it; job->body.section is set while bytes are to
 * come. */
void fetch_section_begin(struct fetch_job *job, struct fetch_row *row,
	const struct imap_section *section);
/* So much was gone through that others on this worker should have their turn. */
bool fetch_looked_enough(const struct fetch_job *job);
/* More of it, until the piece is full or it is over. An error leaves a literal unfinished. */
enum err fetch_section_more(struct fetch_job *job, const struct fetch_row *row) must_use;
/* Bytes of the message as it was delivered; never none, unless `to` has no room. */
enum err fetch_read_at(struct fetch_job *job, const struct fetch_row *row, uint64_t at,
	struct out *to) must_use;

/* --- imap_fetch_binary.c: on a helper thread --- */
/* As fetch_section_begin, behind the name. */
void fetch_binary_begin(struct fetch_job *job, const struct fetch_row *row,
	const struct imap_section *section, const struct fetch_span *span);
/* A bit more of what was begun so. */
enum err fetch_binary_more(struct fetch_job *job, const struct fetch_row *row) must_use;

#endif
