/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_store.c - STORE (RFC 9051 6.4.6, RFC 7162 3.1.3).
 *
 * A set is changed by one record for each few thousand messages, so that others get their turn. What is
 * told afterwards is read from the rows, once they can be read. The store says which messages had
 * been changed after the session was last told of changes: their flags are told also with .SILENT, as
 * what another did to them could not be told apart later. */
#include "proto/imap/flags.h"
#include "server/imap/imap_fetch.h"
#include "server/imap/imap_int.h"

struct storing {
	struct imap_session *s;
	const struct imap_store *args;
	struct message_store change;
	struct message_store opposite; /* $Junk takes $NotJunk away, and the other way round */
	struct runs later;             /* changed by others; or, conditional, left as they are */
	modseq *own;                   /* positions of our records, ascending */
	size_t own_len;
	struct fetch_job job;
};

/* --- Keywords ------------------------------------------------------------------------------------- */

/* A later one excludes this one. */
static bool is_excluded(const struct imap_slices *words, size_t i)
{
	slice opposite = imap_keyword_opposite(words->items[i]);

	for (size_t n = i + 1; opposite.len && n < words->len; n++)
		if (slice_eq_nocase(words->items[n], opposite))
			return true;
	return false;
}

slice imap_keyword_names(struct imap_session *s, const struct imap_flags *flags)
{
	const struct imap_slices *words = &flags->keywords;
	struct out o = out_arena(&s->arena);

	for (size_t i = 0; i < words->len; i++) {
		if (is_excluded(words, i))
			continue;
		out_slice(&o, imap_keyword_spelling(words->items[i]));
		out_char(&o, '\0');
	}
	return out_written(&o);
}

/* What else goes. */
static slice opposites(struct imap_session *s, const struct imap_flags *flags)
{
	struct out o = out_arena(&s->arena);

	for (size_t i = 0; i < flags->keywords.len; i++) {
		slice word = imap_keyword_opposite(flags->keywords.items[i]);

		if (!word.len || is_excluded(&flags->keywords, i))
			continue;
		out_slice(&o, word);
		out_char(&o, '\0');
	}
	return out_written(&o);
}

/* --- Changing ------------------------------------------------------------------------------------- */

static enum err run(struct storing *st, const struct message_store *change)
{
	modseq pos = 0;
	enum err err = message_store(imap_store_of(st->s), change, &pos);

	if (err)
		return err;
	imap_own_change(st->s, pos);
	st->own[st->own_len++] = pos;
	return OK;
}

static bool take_away(struct runs *from, const struct runs *what)
{
	struct run r;

	for (uint32_t at = 1; at && runs_next(what, at, &r); at = r.last + 1)
		if (!runs_remove_range(from, r.first, r.last))
			return false;
	return true;
}

/* Not of those that a condition spared. */
static enum err run_opposite(struct storing *st, struct runs *uids)
{
	st->opposite.uids = uids;
	if (!st->opposite.keywords.len)
		return OK;
	if (st->args->conditional && !take_away(uids, &st->later))
		return ERR_NOMEM;
	return uids->count ? run(st, &st->opposite) : OK;
}

static enum err change_some(struct storing *st, struct runs *uids)
{
	enum err err;

	st->change.uids = uids;
	err = run(st, &st->change);
	return err ? err : run_opposite(st, uids);
}

static enum err change_all(struct storing *st, struct run_list list)
{
	struct runs some = { 0 };
	enum err err = OK;

	for (size_t i = 0; !err && i < list.len;) {
		struct run r = list.runs[i];

		/* What of the run was not yet in a record. */
		for (uint32_t from = r.first; !err && from && from <= r.last;) {
			uint32_t room = MESSAGE_CHANGE_MAX - some.count;
			uint32_t last = r.last - from < room ? r.last : from + room - 1;

			err = runs_add_range(&some, from, last) ? OK : ERR_NOMEM;
			from = last + 1;
			if (err || some.count < MESSAGE_CHANGE_MAX)
				continue;
			err = change_some(st, &some);
			runs_done(&some);
			some = (struct runs){ 0 };
		}
		i++;
	}
	if (!err && some.count)
		err = change_some(st, &some);
	runs_done(&some);
	return err;
}

/* --- Telling -------------------------------------------------------------------------------------- */

static bool is_ours(const struct storing *st, modseq changed)
{
	size_t low = 0, high = st->own_len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (st->own[mid] < changed)
			low = mid + 1;
		else
			high = mid;
	}
	return low < st->own_len && st->own[low] == changed;
}

/* Which items of a row are told; 0: none. */
static unsigned items_of(const struct storing *st, const struct message *m)
{
	const unsigned all = st->job.items;

	if (!st->args->silent)
		return all;
	if (!is_ours(st, m->changed))
		return 0;
	if (!st->args->conditional && runs_has(&st->later, m->uid))
		return all;
	return all & IMAP_FETCH_MODSEQ ? all & ~(unsigned)IMAP_FETCH_FLAGS : 0;
}

static bool put_row(void *arg, const struct message_row *row)
{
	struct storing *st = arg;
	struct fetch_row r = { .m = row->m };
	const unsigned all = st->job.items;

	if (imap_flow_full(st->job.out))
		return false;
	st->job.items = items_of(st, &row->m);
	if (st->job.items) {
		fetch_put_items(&st->job, &r);
		out_str(st->job.out, ")\r\n");
	}
	st->job.items = all;
	return true;
}

static enum err render(struct imap_flow *flow, struct out *o, bool *more)
{
	struct fetch_job *job = container_of(flow, struct fetch_job, flow);
	enum err err;

	job->out = o;
	err = message_scan_here(job->store, &job->scan);
	job->scan.from = job->scan.next;
	*more = job->scan.next != 0;
	return err;
}

static bool says_something(const struct storing *st)
{
	return !st->args->silent || imap_is(st->s, IMAP_EN_CONDSTORE) ||
		(!st->args->conditional && st->later.count);
}

/* New keywords are told before the first message has one. */
static enum err see(struct imap_session *s)
{
	struct imap_box *box = s->box;
	enum err err = store_sync(imap_store_of(s), s->account, s->written);

	if (err)
		return err;
	box->view->stale = true; /* the notice of our own change may still be on its way */
	err = imap_view_refresh(box->view, false);
	if (!err && box->view->keywords && box->view->keywords->len > box->told_keywords)
		imap_put_flag_names(s);
	return err;
}

/* SEARCH KEYWORD asks the view which bit it is: the session knows what it has stored. */
static bool names_new_keyword(const struct storing *st)
{
	const struct mailbox_keywords *known = st->s->box->view->keywords;
	const struct imap_slices *words = &st->args->flags.keywords;
	size_t found = 0;

	for (size_t i = 0; i < words->len; i++)
		for (size_t n = 0; known && n < known->len; n++)
			found += slice_eq_nocase(known->names[n], words->items[i]);
	return found < words->len;
}

static enum err tell(struct storing *st, struct run_list list)
{
	struct imap_session *s = st->s;
	struct fetch_job *job = &st->job;
	enum err err = see(s);

	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	list = run_list_existing(&s->arena, list, &s->box->view->uids);
	job->items = IMAP_FETCH_UID | IMAP_FETCH_FLAGS;
	if (imap_is(s, IMAP_EN_CONDSTORE))
		job->items |= IMAP_FETCH_MODSEQ;
	job->flow.render = render;
	job->store = imap_store_of(s);
	job->scan = (struct message_scan){ .account = s->account,
		.mailbox = s->box->view->watch.mailbox,
		.uids = &job->uids,
		.each = put_row,
		.arg = st };
	err = fetch_take_copies(s, job, list);
	return err || !job->uids.count ? err : imap_out_flow(s, &job->flow);
}

/* --- The command ---------------------------------------------------------------------------------- */

/* RFC 7162 3.1.3: what was left as it is, in the kind of numbers the command came with. */
static slice modified(struct storing *st)
{
	struct imap_session *s = st->s;
	struct run_builder b = { .a = &s->arena };
	struct out code = out_arena(&s->arena);
	struct run_list list;
	struct run r;

	for (uint32_t at = 1; at && runs_next(&st->later, at, &r); at = r.last + 1)
		run_builder_add(&b, r.first, r.last);
	list = run_builder_list(&b);
	if (!s->run->uid)
		list = imap_uids_to_seqs(s, list);
	if (!list.len)
		return SLICE("");
	out_str(&code, "MODIFIED ");
	imap_put_runs(&code, list);
	return out_written(&code);
}

static enum verdict answer(struct storing *st, bool gone)
{
	struct imap_session *s = st->s;
	slice code = st->args->conditional ? modified(st) : SLICE("");

	gone = gone && !s->run->uid && !st->args->silent; /* RFC 2180 4.2 */
	if (gone)
		imap_no(s, IMAP_CODE_EXPUNGEISSUED, "Some messages are not there any more");
	else
		imap_ok(s);
	if (code.len) {
		s->run->code = code;
		s->run->text = SLICE("Some messages were changed meanwhile");
	}
	return DONE;
}

static void prepare(struct storing *st)
{
	struct imap_session *s = st->s;
	const struct imap_store *args = st->args;

	/* The two enums have the same order. */
	st->change = (struct message_store){ .account = s->account,
		.mailbox = s->box->view->watch.mailbox,
		.mode = (enum message_store_mode)args->mode,
		.flags = args->flags.system & MESSAGE_FLAGS,
		.keywords = imap_keyword_names(s, &args->flags),
		.conditional = args->conditional,
		.unchanged_since = args->conditional ? args->unchanged_since : s->box->told };
	if (args->conditional || args->silent)
		st->change.later = &st->later;
	st->opposite = (struct message_store){
		.account = s->account, .mailbox = st->change.mailbox, .mode = MESSAGE_REMOVE
	};
	if (args->mode == IMAP_STORE_ADD)
		st->opposite.keywords = opposites(s, &args->flags);
}

static enum err store_set(struct storing *st, struct run_list list)
{
	size_t records = 2 * (run_list_count(list) / MESSAGE_CHANGE_MAX + 1);
	enum err err, told = OK;

	st->own = arena_array(&st->s->arena, modseq, records);
	prepare(st);
	err = change_all(st, list);
	/* What was done before an error is told all the same. */
	if (st->own_len && says_something(st))
		told = tell(st, list);
	else if (st->own_len && names_new_keyword(st))
		told = see(st->s);
	return err ? err : told == ERR_NOT_FOUND ? OK : told;
}

enum verdict imap_do_store(struct imap_session *s, const union imap_args *args)
{
	struct storing st = { .s = s, .args = &args->store };
	struct run_list uids;
	enum verdict verdict;
	bool gone = false;
	enum err err;

	if (args->store.conditional)
		imap_enable_condstore(s);
	if (!imap_set_to_uids(s, &args->store.set, &uids, &gone))
		return imap_bad(s, "There is no message with such a number");
	err = store_set(&st, uids);
	verdict = err == ERR_LIMIT ? imap_no(s, IMAP_CODE_LIMIT, "Too many keywords") :
		err                ? imap_no_err(s, err) :
				     answer(&st, gone);
	runs_done(&st.later);
	runs_done(&st.job.uids);
	runs_done(&st.job.seqs);
	arena_done(&st.job.arena);
	return verdict;
}
