/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_fetch.c - FETCH (RFC 9051 6.4.5): which messages, which flags change by it, and the flow.
 *
 * Without sections each row is rendered where the index shows it, without a copy. With sections rows
 * are read a batch at a time, so that no transaction is open while bodies are read; those are read on
 * the session's fiber, unless they are to be decoded. */
#include "server/imap/imap_fetch.h"

#include "core/job.h"
#include "core/metric.h"
#include "proto/imap/flags.h"
#include "server/imap/imap_int.h"

#include <stdlib.h>

enum {
	WARM_ROWS = 300,
	BATCH_ROWS = 64, /* with their summaries they are large */
	BATCH_BARE_ROWS = 512,
	BATCH_BYTES = 256 * 1024,
	AHEAD_BYTES = 64 * 1024,
	EXPECT_BYTES = 4 * 1024 * 1024,
	EXPECT_EACH = 256 * 1024, /* what follows in a long body the kernel reads ahead by itself */
	HEAD_BYTES = 16 * 1024,
};

/* --- Rendering rows: on a helper thread ------------------------------------------------------------ */

static bool put_row(void *arg, const struct message_row *row)
{
	struct fetch_job *job = arg;
	struct fetch_row r = { .m = row->m, .splice = row->splice };

	if (imap_flow_full(job->out))
		return false;
	if (job->wants_summary)
		fetch_open_summary(job, row->summary, &job->arena, &r);
	fetch_put_items(job, &r);
	out_str(job->out, ")\r\n");
	arena_reset(&job->arena);
	return true;
}

static enum err render_rows(struct imap_flow *flow, struct out *o, bool *more)
{
	struct fetch_job *job = container_of(flow, struct fetch_job, flow);
	enum err err;

	job->out = o;
	job->scan.each = put_row;
	err = message_scan_here(job->store, &job->scan);
	job->scan.from = job->scan.next;
	*more = job->scan.next != 0;
	return err;
}

static bool collect(void *arg, const struct message_row *row)
{
	struct fetch_job *job = arg;
	struct fetch_row *r = &job->rows[job->len];

	if (job->len == job->cap || job->arena.used_bytes > BATCH_BYTES)
		return false;
	*r = (struct fetch_row){ .m = row->m, .splice = arena_dup(&job->arena, row->splice) };
	if (job->wants_summary)
		fetch_open_summary(job, arena_dup(&job->arena, row->summary), &job->arena, r);
	job->len++;
	return true;
}

/* Bodies in the archive are found by its index, which is not to be read on a worker. */
static void find_archived(struct fetch_job *job)
{
	for (size_t i = 0; i < job->len; i++) {
		struct fetch_row *row = &job->rows[i];
		struct blob_reader r;

		if (!blob_is_archived(job->store, row->m.blob) ||
			blob_open(&r, job->store, row->m.blob))
			continue;
		row->reader = arena_alloc(&job->arena, sizeof(r));
		*row->reader = r;
	}
}

/* The disk is asked for what comes next while what came before is sent; again when half of that is. */
static void expect_more(void *arg)
{
	struct fetch_job *job = arg;
	struct blob_stretch stretch = { 0 };
	uint64_t bytes = 0;

	job->expect_at = job->len;
	while (job->expected < job->len && bytes < EXPECT_BYTES) {
		const struct fetch_row *row = &job->rows[job->expected++];
		uint64_t part = job->heads_only ? HEAD_BYTES : EXPECT_EACH;

		if (row->reader)
			blob_expect(&stretch, row->reader, part);
		bytes += row->reader ? MIN(row->m.size, part) : 0;
		if (bytes >= EXPECT_BYTES / 2)
			job->expect_at = MIN(job->expect_at, job->expected);
	}
	blob_expect_end(&stretch);
}

static void read_batch(void *arg)
{
	struct fetch_job *job = arg;

	arena_reset(&job->arena);
	job->cap = job->wants_summary ? BATCH_ROWS : BATCH_BARE_ROWS;
	job->rows = arena_array(&job->arena, struct fetch_row, job->cap);
	job->len = job->at = 0;
	job->scan.each = collect;
	job->batch_err = message_scan_here(job->store, &job->scan);
	job->scan.from = job->scan.next;
	job->last_batch = job->scan.next == 0;
	find_archived(job);
	job->expected = 0;
	expect_more(job);
	/* Without the memory each body is read by itself. */
	if (job->len > 1 && !job->ahead.buf) {
		job->ahead.buf = malloc(AHEAD_BYTES);
		job->ahead.cap = job->ahead.buf ? AHEAD_BYTES : 0;
	}
}

/* --- Rendering sections ------------------------------------------------------------------------------ */

/* What is left of the message at hand, as far as the piece has room. */
static enum err render_message(struct fetch_job *job)
{
	struct fetch_row *row = &job->rows[job->at];
	enum err err = OK;

	if (!job->row_begun) {
		fetch_put_items(job, row);
		job->row_begun = true;
		job->row_mark = arena_mark(&job->arena);
		job->reader_open = false;
		job->block = (struct fetch_block){ 0 };
		job->body = (struct fetch_body){ .next = job->args->sections };
	}
	while (job->body.section || job->body.next) {
		if (!job->body.section) {
			if (imap_flow_full_of_bodies(job->out) || fetch_looked_enough(job))
				return OK;
			fetch_section_begin(job, row, job->body.next);
		}
		if (job->body.section) {
			err = fetch_section_more(job, row);
			if (err || job->body.section)
				return err;
		}
	}
	out_str(job->out, ")\r\n");
	arena_rollback(&job->arena, job->row_mark);
	job->row_begun = false;
	job->at++;
	return OK;
}

static enum err render_sections(struct imap_flow *flow, struct out *o, bool *more)
{
	struct fetch_job *job = container_of(flow, struct fetch_job, flow);
	enum err err = OK;

	job->out = o;
	job->looked = 0;
	*more = true;
	while (!err && !imap_flow_full_of_bodies(o) && !fetch_looked_enough(job)) {
		if (job->at < job->len) {
			if (job->at == job->expect_at && !job->row_begun)
				job_run(expect_more, job);
			err = render_message(job);
			job->midway = err != OK;
		} else if (job->last_batch) {
			*more = false;
			return OK;
		} else {
			job_run(read_batch, job);
			err = job->batch_err;
		}
	}
	return err;
}

/* --- \Seen ------------------------------------------------------------------------------------------ */

struct unseen {
	struct runs uids;
	bool full;
};

static bool note_unseen(void *arg, const struct message_row *row)
{
	struct unseen *u = arg;

	if (u->uids.count == MESSAGE_CHANGE_MAX)
		return false;
	if (!(row->m.flags & MESSAGE_SEEN) && !runs_add(&u->uids, row->m.uid))
		u->full = true;
	return !u->full;
}

/* Flags that changed are told with their MODSEQ and uid to who asked for that (RFC 7162 3.1.4.2, 3.2.4). */
static unsigned told_with_flags(const struct imap_session *s)
{
	unsigned items = IMAP_FETCH_FLAGS;

	if (imap_is(s, IMAP_EN_CONDSTORE))
		items |= IMAP_FETCH_MODSEQ;
	if (imap_is(s, IMAP_EN_QRESYNC))
		items |= IMAP_FETCH_UID;
	return items;
}

/* RFC 9051 6.4.5: what is read gets \Seen, and that is told with it. */
static enum err mark_seen(struct imap_session *s, struct fetch_job *job)
{
	struct message_scan scan = job->scan;
	enum err err = OK;

	do {
		struct unseen u = { 0 };
		struct message_store args = { .account = s->account,
			.mailbox = scan.mailbox,
			.uids = &u.uids,
			.mode = MESSAGE_ADD,
			.flags = MESSAGE_SEEN };
		modseq pos = 0;

		scan.each = note_unseen;
		scan.arg = &u;
		scan.want = 0;
		err = message_scan(job->store, &scan);
		if (!err && u.full)
			err = ERR_NOMEM;
		if (!err && u.uids.count)
			err = message_store(job->store, &args, &pos);
		if (!err && pos) {
			imap_own_change(s, pos);
			job->items |= told_with_flags(s);
		}
		runs_done(&u.uids);
		scan.from = scan.next;
	} while (!err && scan.next);
	return err || !s->written ? err : store_sync(job->store, s->account, s->written);
}

/* --- VANISHED (RFC 7162 3.2.6) ----------------------------------------------------------------------- */

/* What it finds that changed the scan need not look for again. */
static enum err tell_vanished(struct imap_session *s, struct fetch_job *job)
{
	const struct imap_fetch *fetch = job->args;
	struct runs gone = { 0 };
	struct message_changes args = { .account = s->account,
		.mailbox = s->box->view->watch.mailbox,
		.since = fetch->since,
		.changed = &job->changed,
		.gone = &gone };
	enum err err = message_changes(job->store, &args);

	job->found.known = !err;
	if (!err) {
		uint32_t last = MAX(runs_last(&s->box->view->uids), 1u);
		struct run_list asked = imap_seqset_resolve(&s->arena, &fetch->set, last);

		err = imap_put_vanished(s, &gone, asked, true);
	}
	runs_done(&gone);
	return err;
}

/* --- The command --------------------------------------------------------------------------------------- */

enum err fetch_take_copies(struct imap_session *s, struct fetch_job *job, struct run_list uids)
{
	const struct mailbox_keywords *names = s->box->view->keywords;
	slice *copy = arena_array(&s->arena, slice, MAILBOX_KEYWORDS_MAX);

	for (size_t i = 0; names && i < names->len; i++)
		copy[job->keyword_count++] = arena_dup(&s->arena, names->names[i]);
	job->keywords = copy;
	if (!imap_runs_of(uids, &job->uids) ||
		!imap_runs_of(imap_uids_to_seqs(s, uids), &job->seqs))
		return ERR_NOMEM;
	job->climb.set = &job->uids;
	return OK;
}

/* Decoding takes its time, and memory of the stack. */
static bool decodes(const struct imap_fetch *fetch)
{
	for (const struct imap_section *s = fetch->sections; s; s = s->next)
		if (fetch_section_is_decoded(s))
			return true;
	return false;
}

static enum err flow(struct imap_session *s, struct fetch_job *job)
{
	const struct imap_fetch *args = job->args;
	enum err err = OK;

	if (args->sets_seen && !s->box->read_only)
		err = mark_seen(s, job);
	if (!err && args->vanished)
		err = tell_vanished(s, job);
	if (!err && job->uids.count >= WARM_ROWS)
		message_warm(job->store, &job->scan);
	if (!err && job->uids.count)
		err = imap_out_flow(s, &job->flow);
	if (err && job->midway)
		s->run->fatal = true;
	return err;
}

static enum verdict answer(struct imap_session *s, const struct fetch_job *job, bool gone)
{
	if (job->unreadable)
		return imap_no(s, IMAP_CODE_CORRUPTION, "A stored message is damaged");
	if (job->unknown_cte)
		return imap_no(s, IMAP_CODE_UNKNOWN_CTE, "An encoding is not known");
	if (gone && !s->run->uid) /* RFC 2180 4.1.1 */
		return imap_no(s, IMAP_CODE_EXPUNGEISSUED, "Some messages are not there any more");
	return imap_ok(s);
}

static bool wants_summary(const struct imap_fetch *fetch, unsigned items)
{
	if (fetch_wants_summary(items))
		return true;
	for (const struct imap_section *s = fetch->sections; s; s = s->next)
		if (!fetch_section_is_whole(s))
			return true;
	return false;
}

static bool wants_heads_only(const struct imap_fetch *fetch)
{
	for (const struct imap_section *s = fetch->sections; s; s = s->next)
		if (!fetch_section_is_head(s))
			return false;
	return true;
}

/* Without the memory nothing is remembered. */
static struct fetch_known *known_parts(struct imap_box *box)
{
	if (!box->parts)
		box->parts = calloc(1, sizeof(*box->parts));
	return box->parts;
}

enum verdict imap_do_fetch(struct imap_session *s, const union imap_args *args)
{
	const struct imap_fetch *fetch = &args->fetch;
	bool sections = fetch->section_count > 0, gone = false;
	struct fetch_job job = { .store = imap_store_of(s),
		.args = fetch,
		.items = fetch->items,
		.utf8 = imap_utf8(s),
		.found = { .uids = &job.changed },
		.arena = { .chunk_bytes = 16 * 1024 } };
	struct run_list uids;

	if (fetch->changed_since || fetch->items & IMAP_FETCH_MODSEQ)
		imap_enable_condstore(s);
	if (fetch->vanished && !imap_is(s, IMAP_EN_QRESYNC))
		return imap_bad(s, "VANISHED needs ENABLE QRESYNC");
	if (!imap_set_to_uids(s, &fetch->set, &uids, &gone))
		return imap_bad(s, "There is no message with such a number");
	if (fetch->changed_since)
		job.items |= IMAP_FETCH_MODSEQ;
	job.wants_summary = wants_summary(fetch, job.items);
	job.flow.render = sections ? render_sections : render_rows;
	job.flow.on_fiber = sections && !decodes(fetch);
	job.heads_only = wants_heads_only(fetch);
	if (decodes(fetch))
		job.known = known_parts(s->box);
	job.scan = (struct message_scan){ .account = s->account,
		.mailbox = s->box->view->watch.mailbox,
		.uids = &job.uids,
		.changed_since = fetch->changed_since ? fetch->since : 0,
		.found = &job.found,
		.want = sections || job.wants_summary ? MESSAGE_WANT_SUMMARY :
							0, /* and the splice */
		.arg = &job };
	enum err err = fetch_take_copies(s, &job, uids);
	job.memo = s->box->memo;
	if (!err)
		err = flow(s, &job);
	s->box->memo = job.memo;
	metric_add(&imap_metrics, IMAP_METRIC_PARSED, (int64_t)job.parsed);
	metric_add(&imap_metrics, IMAP_METRIC_HEADERS, (int64_t)job.headers);
	free(job.ahead.buf);
	runs_done(&job.uids);
	runs_done(&job.seqs);
	runs_done(&job.changed);
	arena_done(&job.arena);
	/* Those told may be later than what the view knows of expunges (RFC 7162 3.2). */
	if (job.items & IMAP_FETCH_MODSEQ && imap_is(s, IMAP_EN_QRESYNC))
		s->box->view->stale = true;
	return err ? imap_no_err(s, err) : answer(s, &job, gone);
}
