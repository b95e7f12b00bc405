/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_find.c - a plan goes over the mailbox: in stretches, so that a client that left is noticed and
 * no transaction lasts long.
 *
 * A large mailbox is divided into lanes, one run of uids each, which helper threads go along at the same
 * time: a scan mostly waits for memory, and of that two cores can do twice as much. A round is one stretch
 * of every lane that has not ended. */
#include "server/imap/imap_find.h"

#include "core/job.h"
#include "core/worker.h"
#include "server/imap/imap_int.h"
#include "server/imap/imap_out.h"
#include "server/imap/imap_summary.h"

enum {
	WARM_ROWS = 300,
	STRETCH_ROWS = 20000,
	OPEN_ROWS = 256,
	OPEN_BYTES = 1 << 20,
	OPEN_SIZES = 16 << 20, /* of messages read before a client that left is noticed */
	LANE_ROWS = 1000,      /* fewer are not worth a change of threads */
	LINE_BYTES = 64,
};

/* A row that needs bytes, kept until the transaction has ended. */
struct open_row {
	struct open_row *next;
	struct message m;
	slice splice, stored;
};

/* The helper's; the worker looks when its stretch has ended. */
struct lane {
	struct find_run *run;
	struct store *store;
	struct runs uids;
	struct message_scan scan;
	struct arena scratch, kept;
	struct open_row *first, **end;
	size_t rows, open;
	uint64_t open_sizes;
	struct find_eyes eyes;
	struct charset_cache charsets;
	unsigned number;
	bool ended, failed;
	enum err err;
	struct job_fork job;
};

static void keep_open(struct lane *l, const struct message_row *row)
{
	struct open_row *o = arena_new(&l->kept, struct open_row);

	*o = (struct open_row){ .m = row->m,
		.splice = arena_dup(&l->kept, row->splice),
		.stored = arena_dup(&l->kept, row->summary) };
	*l->end = o;
	l->end = &o->next;
	l->open++;
	l->open_sizes += row->m.size;
}

static bool look(void *arg, const struct message_row *row)
{
	struct lane *l = arg;
	struct find_row r = { .m = row->m, .splice = row->splice };
	enum find_answer answer;

	if (l->rows == STRETCH_ROWS || l->open == OPEN_ROWS || l->kept.used_bytes > OPEN_BYTES ||
		l->open_sizes > OPEN_SIZES)
		return false;
	l->rows++;
	r.has_summary = row->summary.len && summary_open(row->summary, &r.summary);
	answer = find_match(l->run->plan->root, &r, &l->eyes);
	/* Hits keep their order: behind one that is open, all wait. */
	if (answer == FIND_MAYBE ||
		(answer == FIND_YES && (l->open || (l->run->wants != FIND_ROW && !r.has_summary))))
		keep_open(l, row);
	else if (answer == FIND_YES)
		l->run->hit(l->run, l->number, &r, &l->charsets);
	if (l->scratch.used_bytes)
		arena_reset(&l->scratch);
	return true;
}

static void look_inside(struct lane *l, const struct open_row *o)
{
	struct find_row r = { .m = o->m, .splice = o->splice };
	struct find_bytes bytes = { .store = l->store, .arena = &l->scratch };

	r.has_summary = !imap_summary_open(l->store, o->stored, o->m.blob, &l->scratch, &r.summary);
	l->eyes.bytes = &bytes;
	if (!r.has_summary)
		l->failed = true;
	else if (find_match(l->run->plan->root, &r, &l->eyes) == FIND_YES)
		l->run->hit(l->run, l->number, &r, &l->charsets);
	l->failed = l->failed || bytes.failed;
	l->eyes.bytes = NULL;
	arena_reset(&l->scratch);
}

/* The envelope stands some lines behind the quick part, which the matching of the row before gives memory
 * the time for. */
static void fetch_envelope(void *arg, const struct message_row *row)
{
	struct summary s;

	(void)arg;
	if (!row->summary.len || !summary_open(row->summary, &s))
		return;
	__builtin_prefetch(s.envelope.ptr);
	__builtin_prefetch(s.envelope.ptr + LINE_BYTES);
}

static void search(void *arg)
{
	struct lane *l = arg;

	l->rows = l->open = 0;
	l->open_sizes = 0;
	l->first = NULL;
	l->end = &l->first;
	l->err = message_scan_here(l->store, &l->scan);
	l->scan.from = l->scan.next;
	l->ended = !l->scan.next;
	for (const struct open_row *o = l->first; !l->err && o; o = o->next)
		look_inside(l, o);
	arena_reset(&l->kept);
}

/* --- Lanes --------------------------------------------------------------------------------------------- */

static void search_side_by_side(struct lane *lanes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!lanes[i].ended)
			job_fork(&lanes[i].job, search, &lanes[i]);
	for (unsigned i = 0; i < count; i++)
		job_join(&lanes[i].job);
}

static enum err run_round(struct lane *lanes, unsigned count)
{
	enum err err = OK;

	for (unsigned i = 0; i < count; i++) {
		struct lane *l = &lanes[i];

		if (!l->ended && l->scan.want && l->uids.count >= WARM_ROWS)
			message_warm(l->store, &l->scan);
	}
	if (count > 1)
		search_side_by_side(lanes, count);
	else
		job_run(search, lanes);
	for (unsigned i = 0; i < count && !err; i++)
		err = lanes[i].err;
	return err;
}

static bool all_ended(const struct lane *lanes, unsigned count)
{
	while (count && lanes[count - 1].ended)
		count--;
	return count == 0;
}

static enum err run_all(struct imap_session *s, struct lane *lanes, unsigned count)
{
	enum err err = OK;

	while (!err && !all_ended(lanes, count)) {
		err = run_round(lanes, count);
		if (!err)
			err = imap_out_wait(s);
	}
	return err;
}

/* As many to each, in order: runs that are cut once or more. False: no memory. */
static bool share(struct imap_session *s, struct run_list list, struct lane *lanes, unsigned count)
{
	uint64_t each = (run_list_count(list) + count - 1) / count, room = each;
	struct run *runs = arena_array(&s->arena, struct run, list.len + count);
	struct run_list lane = { .runs = runs };

	for (size_t i = 0; i < list.len; i++) {
		uint64_t first = list.runs[i].first, last = list.runs[i].last;

		while (first <= last) {
			uint64_t n = MIN(last - first + 1, room);

			*runs++ = (struct run){ (uint32_t)first, (uint32_t)(first + n - 1) };
			first += n;
			room -= n;
			if (room)
				continue;
			lane.len = (size_t)(runs - lane.runs);
			if (!runs_build(&lanes++->uids, lane))
				return false;
			lane.runs = runs;
			room = each;
		}
	}
	lane.len = (size_t)(runs - lane.runs);
	return !lane.len || runs_build(&lanes->uids, lane);
}

static void lane_init(struct imap_session *s, struct find_run *run, struct lane *l)
{
	bool summary = run->wants != FIND_ROW || run->plan->wants != FIND_ROW;
	bool envelope = run->wants == FIND_ENVELOPE || run->plan->wants == FIND_ENVELOPE;

	l->run = run;
	l->store = imap_store_of(s);
	l->eyes = (struct find_eyes){ .scratch = &l->scratch,
		.charsets = &l->charsets,
		.now = worker_wall(s->head.door->w) };
	l->scan = (struct message_scan){ .account = s->account,
		.mailbox = s->box->view->watch.mailbox,
		.uids = &l->uids,
		.want = summary ? MESSAGE_WANT_SUMMARY : 0,
		.each = look,
		.ahead = envelope ? fetch_envelope : NULL,
		.arg = l };
	l->ended = !l->uids.count;
}

static void lane_done(struct lane *l)
{
	runs_done(&l->uids);
	arena_done(&l->scratch);
	arena_done(&l->kept);
	charset_cache_done(&l->charsets);
}

enum err find_run(struct imap_session *s, struct find_run *run)
{
	uint64_t worth = run_list_count(run->plan->uids) / LANE_ROWS;
	unsigned most = worker_self() ? MIN(workers_count(), (unsigned)FIND_LANES) : 1;
	unsigned count = (unsigned)MAX(MIN(worth, (uint64_t)most), UINT64_C(1));
	struct lane *lanes;

	if (!run->plan->uids.len)
		return OK;
	lanes = arena_array(&s->arena, struct lane, count);
	enum err err = share(s, run->plan->uids, lanes, count) ? OK : ERR_NOMEM;
	for (unsigned i = 0; i < count; i++) {
		lanes[i].number = i;
		lane_init(s, run, &lanes[i]);
	}
	if (!err)
		err = run_all(s, lanes, count);
	for (unsigned i = 0; i < count; i++) {
		run->failed = run->failed || lanes[i].failed;
		lane_done(&lanes[i]);
	}
	return err;
}

/* --- Only the uids ------------------------------------------------------------------------------------- */

/* What one lane found. */
struct lane_found {
	struct arena arena;
	struct run_builder uids;
	modseq highest, first_changed, last_changed;
};

struct uid_run {
	struct find_run run;
	struct lane_found found[FIND_LANES];
};

static void take_uid(struct find_run *run, unsigned lane, const struct find_row *row,
	struct charset_cache *charsets)
{
	struct lane_found *f = &container_of(run, struct uid_run, run)->found[lane];

	(void)charsets;
	if (!f->first_changed)
		f->first_changed = row->m.changed;
	f->last_changed = row->m.changed;
	f->highest = MAX(f->highest, row->m.changed);
	run_builder_add(&f->uids, row->m.uid, row->m.uid);
}

static void put_together(struct uid_run *u, struct run_builder *uids, struct find_found *out)
{
	for (size_t i = 0; i < FIND_LANES; i++) {
		const struct lane_found *f = &u->found[i];
		struct run_list list = run_builder_list(&f->uids);

		for (size_t at = 0; at < list.len; at++)
			run_builder_add(uids, list.runs[at].first, list.runs[at].last);
		out->highest = MAX(out->highest, f->highest);
		if (!out->first_changed)
			out->first_changed = f->first_changed;
		if (list.len)
			out->last_changed = f->last_changed;
	}
}

enum err find_uids(struct imap_session *s, const struct find_plan *plan, struct find_found *out)
{
	struct uid_run *u = arena_new(&s->arena, struct uid_run);
	struct run_builder uids = { .a = &s->arena };

	*u = (struct uid_run){ .run = { .plan = plan, .hit = take_uid } };
	for (size_t i = 0; i < FIND_LANES; i++)
		u->found[i].uids.a = &u->found[i].arena;
	enum err err = find_run(s, &u->run);
	*out = (struct find_found){ .failed = u->run.failed };
	put_together(u, &uids, out);
	out->uids = run_builder_list(&uids);
	for (size_t i = 0; i < FIND_LANES; i++)
		arena_done(&u->found[i].arena);
	return err;
}

uint32_t find_seq(struct imap_session *s, struct find_seq *at, uint32_t uid)
{
	/* Of two uids side by side, both known, so are the numbers. */
	bool beside = at->seq && uid == at->uid + 1;

	at->seq = beside ? at->seq + 1 : imap_uid_to_seq(s, uid);
	at->uid = uid;
	return at->seq;
}
