/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_find.c - a plan goes over the mailbox: in stretches, so that a client that left is noticed and
 * no transaction lasts long. */
#include "server/imap/imap_find.h"

#include "core/job.h"
#include "core/worker.h"
#include "server/imap/imap_int.h"
#include "server/imap/imap_out.h"
#include "server/imap/imap_summary.h"

enum { WARM_ROWS = 300, STRETCH_ROWS = 20000, OPEN_ROWS = 256, OPEN_BYTES = 1 << 20 };

/* A row that needs bytes, kept until the transaction has ended. */
struct open_row {
	struct open_row *next;
	struct message m;
	slice splice, stored;
};

/* The helper's; the worker looks when it has ended. */
struct stretch {
	struct find_run *run;
	struct store *store;
	struct message_scan scan;
	struct arena scratch, kept;
	struct open_row *first, **end;
	size_t rows, open;
	struct find_eyes eyes;
	struct charset_cache charsets;
	enum err err;
};

static void keep_open(struct stretch *st, const struct message_row *row)
{
	struct open_row *o = arena_new(&st->kept, struct open_row);

	*o = (struct open_row){ .m = row->m,
		.splice = arena_dup(&st->kept, row->splice),
		.stored = arena_dup(&st->kept, row->summary) };
	*st->end = o;
	st->end = &o->next;
	st->open++;
}

static bool look(void *arg, const struct message_row *row)
{
	struct stretch *st = arg;
	struct find_row r = { .m = row->m, .splice = row->splice };
	enum find_answer answer;

	if (st->rows == STRETCH_ROWS || st->open == OPEN_ROWS || st->kept.used_bytes > OPEN_BYTES)
		return false;
	st->rows++;
	r.has_summary = row->summary.len && summary_open(row->summary, &r.summary);
	answer = find_match(st->run->plan->root, &r, &st->eyes);
	/* Hits keep their order: behind one that is open, all wait. */
	if (answer == FIND_MAYBE ||
		(answer == FIND_YES && (st->open || (st->run->wants_summary && !r.has_summary))))
		keep_open(st, row);
	else if (answer == FIND_YES)
		st->run->hit(st->run, &r, &st->charsets);
	if (st->scratch.used_bytes)
		arena_reset(&st->scratch);
	return true;
}

static void look_inside(struct stretch *st, const struct open_row *o)
{
	struct find_row r = { .m = o->m, .splice = o->splice };
	struct find_bytes bytes = { .store = st->store, .arena = &st->scratch };

	r.has_summary =
		!imap_summary_open(st->store, o->stored, o->m.blob, &st->scratch, &r.summary);
	st->eyes.bytes = &bytes;
	if (!r.has_summary)
		st->run->failed = true;
	else if (find_match(st->run->plan->root, &r, &st->eyes) == FIND_YES)
		st->run->hit(st->run, &r, &st->charsets);
	st->run->failed = st->run->failed || bytes.failed;
	st->eyes.bytes = NULL;
	arena_reset(&st->scratch);
}

static void search(void *arg)
{
	struct stretch *st = arg;

	st->rows = st->open = 0;
	st->first = NULL;
	st->end = &st->first;
	st->err = message_scan_here(st->store, &st->scan);
	st->scan.from = st->scan.next;
	for (const struct open_row *o = st->first; !st->err && o; o = o->next)
		look_inside(st, o);
	arena_reset(&st->kept);
}

static enum err run_all(struct imap_session *s, struct stretch *st)
{
	do {
		if (st->scan.want && st->scan.uids->count >= WARM_ROWS)
			message_warm(st->store, &st->scan);
		job_run(search, st);
		if (st->err)
			return st->err;
		enum err err = imap_out_wait(s);
		if (err)
			return err;
	} while (st->scan.next);
	return OK;
}

enum err find_run(struct imap_session *s, struct find_run *run)
{
	struct runs uids = { 0 };
	struct stretch st = { .run = run, .store = imap_store_of(s) };

	if (!run->plan->uids.len)
		return OK;
	st.eyes = (struct find_eyes){ .scratch = &st.scratch,
		.charsets = &st.charsets,
		.now = worker_wall(s->head.door->w) };
	st.scan = (struct message_scan){ .account = s->account,
		.mailbox = s->box->view->watch.mailbox,
		.uids = &uids,
		.want = run->wants_summary || run->plan->wants_summary ? MESSAGE_WANT_SUMMARY : 0,
		.each = look,
		.arg = &st };
	enum err err = imap_runs_of(run->plan->uids, &uids) ? run_all(s, &st) : ERR_NOMEM;
	runs_done(&uids);
	arena_done(&st.scratch);
	arena_done(&st.kept);
	charset_cache_done(&st.charsets);
	return err;
}

/* --- Only the uids ------------------------------------------------------------------------------------- */

struct uid_run {
	struct find_run run;
	struct find_found *found;
	struct run_builder uids;
};

static void take_uid(struct find_run *run, const struct find_row *row,
	struct charset_cache *charsets)
{
	struct uid_run *u = container_of(run, struct uid_run, run);

	run_builder_add(&u->uids, row->m.uid, row->m.uid);
	if (!u->found->first_changed)
		u->found->first_changed = row->m.changed;
	u->found->last_changed = row->m.changed;
	u->found->highest = MAX(u->found->highest, row->m.changed);
}

enum err find_uids(struct imap_session *s, const struct find_plan *plan, struct find_found *out)
{
	struct uid_run u = {
		.run = { .plan = plan, .hit = take_uid }, .found = out, .uids = { .a = &s->arena }
	};
	enum err err;

	*out = (struct find_found){ .failed = false };
	err = find_run(s, &u.run);
	out->uids = run_builder_list(&u.uids);
	out->failed = u.run.failed;
	return err;
}
