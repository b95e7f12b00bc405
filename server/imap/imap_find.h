/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_find.h - finding messages: what SEARCH, SORT and THREAD have in common; for their files only.
 *
 * A plan is a tree of search keys made ready: texts in UTF-8 and prepared as needles, sets as uids,
 * keywords as bits. A run of it goes over the rows of the mailbox on helper threads. What rows and
 * summaries answer is answered where the index shows them; what needs the message's bytes (HEADER of a
 * field that is not kept, BODY, TEXT) is decided afterwards, with no transaction open, a batch at a
 * time. Kept fields: Subject, Message-ID, In-Reply-To, References, List-Id, Date, and the addresses of
 * From, Sender, Reply-To, To, Cc, Bcc. */
#ifndef SERVER_IMAP_IMAP_FIND_H
#define SERVER_IMAP_IMAP_FIND_H

#include "core/base/runs.h"
#include "proto/imap/search.h"
#include "proto/mime/charset.h"
#include "proto/mime/collate.h"
#include "proto/mime/header.h"
#include "proto/mime/summary.h"
#include "store/blob.h"
#include "store/message.h"

struct imap_session;

/* --- imap_find_plan.c --- */
struct find_term {
	struct find_term *child, *next;
	enum imap_key key;
	bool wanted;
	unsigned flag;
	uint64_t keywords; /* KEYWORD: its bit; 0: no message has it */
	int32_t day;
	uint64_t number;
	slice name; /* of the field that HEADER, FROM, SUBJECT and their like search */
	enum header_id field;
	bool empty; /* the text is: the field must only be there */
	struct collate_needle needle;
	struct run_list uids; /* UID, SEQ */
};
/* What of a message is read. */
enum find_wants { FIND_ROW, FIND_SUMMARY, FIND_ENVELOPE };
struct find_plan {
	const struct find_term *root;
	struct run_list uids; /* no message outside can match */
	enum find_wants wants;
};
enum find_fault { FIND_OK, FIND_BAD_CHARSET, FIND_BAD_SET, FIND_BAD_TEXT };
/* On the worker; everything lies in s->arena. */
enum find_fault find_plan_make(struct imap_session *s, const struct imap_search *search,
	struct find_plan *out);

/* --- imap_find_match.c: on a helper thread --- */
/* The message at hand. */
struct find_row {
	struct message m;
	slice splice;
	struct summary summary;
	bool has_summary;
};
/* The bytes a term asks for may be read (by the functions of imap_find_text.c), or not yet. */
struct find_bytes {
	struct store *store;
	struct arena *arena; /* of the message */
	slice header;        /* read once; ptr NULL: not yet */
	bool failed;         /* the body could not be read */
};
struct find_eyes {
	struct arena *scratch; /* of the row */
	struct charset_cache *charsets;
	wall_ms now;
	struct find_bytes *bytes; /* NULL: answer FIND_MAYBE */
};
enum find_answer { FIND_NO, FIND_YES, FIND_MAYBE };
enum find_answer find_match(const struct find_term *term, const struct find_row *row,
	struct find_eyes *eyes);
/* "name <local@host>", words decoded; for searching and sorting. */
void find_put_address(struct out *o, const struct summary_address *address,
	struct charset_cache *charsets);

/* --- imap_find_text.c: on a helper thread --- */
bool find_in_header(const struct find_term *term, const struct find_row *row,
	struct find_eyes *eyes);
bool find_in_body(const struct find_term *term, const struct find_row *row, struct find_eyes *eyes);
/* In any field, or in the body. */
bool find_in_text(const struct find_term *term, const struct find_row *row, struct find_eyes *eyes);

/* --- imap_find.c --- */
/* A run over the mailbox, in lanes: all uids of one are before those of the next. `hit` is called on
 * helper threads, for one lane after another in order of uid, for different lanes at the same time;
 * slices of the row die with the call. */
enum { FIND_LANES = 4 };
struct find_run {
	const struct find_plan *plan;
	enum find_wants wants; /* `hit` does, whatever the plan wants */
	void (*hit)(struct find_run *run, unsigned lane, const struct find_row *row,
		struct charset_cache *charsets);
	bool failed; /* out: some body could not be read, and was taken for no match */
};
/* (fiber) */
enum err find_run(struct imap_session *s, struct find_run *run) must_use;
/* The same, keeping only the uids and the highest `changed` among them. */
struct find_found {
	struct run_list uids; /* in s->arena */
	modseq highest, first_changed, last_changed;
	bool failed;
};
enum err find_uids(struct imap_session *s, const struct find_plan *plan,
	struct find_found *out) must_use;
/* imap_uid_to_seq of uids that ascend and were found: quick where they stand side by side. Not across a
 * wait; begins zeroed. */
struct find_seq {
	uint32_t uid, seq;
};
uint32_t find_seq(struct imap_session *s, struct find_seq *at, uint32_t uid);
/* What a handler does with a plan that cannot be: answers. */
enum verdict find_refuse(struct imap_session *s, enum find_fault fault);

#endif
