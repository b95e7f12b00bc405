/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_fetch_items.c - the items of FETCH that come from rows: no body is opened, but for a summary that
 * was too long to be kept. */
#include "proto/imap/date.h"
#include "proto/imap/flags.h"
#include "proto/imap/render.h"
#include "server/imap/imap_fetch.h"
#include "server/imap/imap_summary.h"

enum {
	OF_SUMMARY = IMAP_FETCH_ENVELOPE | IMAP_FETCH_BODY | IMAP_FETCH_BODYSTRUCTURE |
		IMAP_FETCH_PREVIEW,
};

bool fetch_wants_summary(unsigned items)
{
	return items & OF_SUMMARY;
}

/* --- Summaries ---------------------------------------------------------------------------------------- */

/* Made of the body; the next command may ask for the same one. */
static slice make_row(struct fetch_job *job, uint64_t blob, struct arena *a)
{
	slice row = SLICE("");

	job->parsed++;
	if (!imap_summary_make(job->store, blob, a, &row))
		fetch_memo_keep(&job->memo, blob, row);
	return row;
}

static void open_summary(struct fetch_job *job, slice stored, struct arena *a,
	struct fetch_row *row)
{
	row->has_summary = stored.len && summary_open(stored, &row->summary);
	if (row->has_summary)
		return;
	slice made = arena_dup(a, fetch_memo_row(job->memo, row->m.blob));
	if (!made.len)
		made = make_row(job, row->m.blob, a);
	row->has_summary = made.len && summary_open(made, &row->summary);
	job->unreadable = job->unreadable || !row->has_summary;
}

void fetch_open_summary(struct fetch_job *job, slice stored, struct arena *a, struct fetch_row *row)
{
	open_summary(job, stored, a, row);
	if (!row->has_summary || !row->summary.truncated || !(job->items & IMAP_FETCH_ENVELOPE))
		return;
	job->parsed++;
	if (imap_summary_whole_envelope(job->store, row->m.blob, a, &row->summary))
		job->unreadable = true;
}

/* --- Items ---------------------------------------------------------------------------------------------- */

static void put_flags(struct fetch_job *job, const struct message *m)
{
	struct out *o = job->out;

	out_str(o, "FLAGS (");
	bool any = imap_put_system_flags(o, m->flags & MESSAGE_FLAGS);
	for (uint64_t left = m->keywords; left; left &= left - 1) {
		size_t bit = (size_t)__builtin_ctzll(left);

		if (bit >= job->keyword_count)
			break; /* made while we read: told later */
		if (any)
			out_char(o, ' ');
		out_slice(o, job->keywords[bit]);
		any = true;
	}
	out_char(o, ')');
}

static void put_hex(struct out *o, char letter, uint64_t id)
{
	static const char digits[] = "0123456789abcdef";

	out_char(o, letter);
	for (int shift = 60; shift >= 0; shift -= 4)
		out_char(o, digits[id >> shift & 15]);
}

/* A row that cannot be read is told as a message that has nothing. */
static void put_of_summary(struct fetch_job *job, const struct fetch_row *row, unsigned item)
{
	struct out *o = job->out;
	const struct summary *s = &row->summary;

	if (!row->has_summary) {
		out_str(o, "NIL");
		return;
	}
	switch (item) {
	case IMAP_FETCH_ENVELOPE:
		imap_put_envelope(o, s, job->utf8);
		break;
	case IMAP_FETCH_PREVIEW:
		imap_put_string(o, s->preview, job->utf8);
		break;
	default:
		imap_put_body(o, s, item == IMAP_FETCH_BODYSTRUCTURE, job->utf8);
	}
}

static void put_item(struct fetch_job *job, const struct fetch_row *row, unsigned item)
{
	struct out *o = job->out;
	const struct message *m = &row->m;

	switch (item) {
	case IMAP_FETCH_UID:
		out_str(o, "UID ");
		out_uint(o, m->uid);
		break;
	case IMAP_FETCH_FLAGS:
		put_flags(job, m);
		break;
	case IMAP_FETCH_INTERNALDATE:
		out_str(o, "INTERNALDATE ");
		imap_put_date_time(o, m->received, 0);
		break;
	case IMAP_FETCH_RFC822_SIZE:
		out_str(o, "RFC822.SIZE ");
		out_uint(o, m->size);
		break;
	case IMAP_FETCH_ENVELOPE:
		out_str(o, "ENVELOPE ");
		put_of_summary(job, row, item);
		break;
	case IMAP_FETCH_BODY:
		out_str(o, "BODY ");
		put_of_summary(job, row, item);
		break;
	case IMAP_FETCH_BODYSTRUCTURE:
		out_str(o, "BODYSTRUCTURE ");
		put_of_summary(job, row, item);
		break;
	case IMAP_FETCH_MODSEQ:
		out_str(o, "MODSEQ (");
		out_uint(o, m->changed);
		out_char(o, ')');
		break;
	case IMAP_FETCH_EMAILID:
		out_str(o, "EMAILID (");
		put_hex(o, 'M', m->blob);
		out_char(o, ')');
		break;
	case IMAP_FETCH_THREADID:
		out_str(o, "THREADID (");
		put_hex(o, 'T', m->thread);
		out_char(o, ')');
		break;
	case IMAP_FETCH_SAVEDATE:
		out_str(o, "SAVEDATE ");
		imap_put_date_time(o, m->saved, 0);
		break;
	case IMAP_FETCH_PREVIEW:
		out_str(o, "PREVIEW ");
		put_of_summary(job, row, item);
		break;
	}
}

void fetch_put_items(struct fetch_job *job, const struct fetch_row *row)
{
	struct out *o = job->out;
	unsigned left = job->items & ~(unsigned)IMAP_FETCH_PREVIEW_LAZY;

	out_str(o, "* ");
	out_uint(o, runs_nth(&job->seqs, runs_climb_rank(&job->climb, row->m.uid)));
	out_str(o, " FETCH (");
	for (; left; left &= left - 1) {
		put_item(job, row, left & -left);
		if (left & (left - 1))
			out_char(o, ' ');
	}
}
