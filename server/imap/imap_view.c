/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_view.c - views: found, opened, kept current; boxes in them; numbers to uids and back.
 *
 * A view is changed only between waits and only here, so whoever does not wait sees one moment. What
 * leaves it goes into `pending` of every box that knows it; what comes is told when its uid is not
 * above told_uid any more. */
#include "server/imap/imap_view.h"

#include <stdlib.h>

#include "core/metric.h"
#include "server/imap/imap_fetch_memo.h"
#include "server/imap/imap_int.h"
#include "store/message.h"

static uint64_t hash_of(uint64_t account, uint32_t mailbox)
{
	return map_hash_u64(account ^ (uint64_t)mailbox << 40);
}

/* --- Following the store ---------------------------------------------------------------------- */

static void on_changed(struct watch *watch)
{
	struct imap_view *view = container_of(watch, struct imap_view, watch);

	view->stale = true;
	list_each(&view->boxes, link)
	{
		struct imap_box *box = container_of(link, struct imap_box, link);

		if (box->session->input == IMAP_IN_IDLE)
			imap_idle_wake(box->session);
	}
}

static void free_keywords(struct imap_view *view)
{
	free(view->keywords);
	view->keywords = NULL;
}

/* The names in one block with their table. */
static enum err keep_keywords(struct imap_view *view, const struct mailbox_keywords *from)
{
	size_t bytes = sizeof(*from);
	struct mailbox_keywords *own;
	char *at;

	for (size_t i = 0; i < from->len; i++)
		bytes += from->names[i].len;
	own = from->len ? malloc(bytes) : NULL;
	if (from->len && !own)
		return ERR_NOMEM;
	free_keywords(view);
	view->keywords = own;
	if (!own)
		return OK;
	*own = *from;
	at = (char *)(own + 1);
	for (size_t i = 0; i < from->len; i++) {
		memcpy(at, from->names[i].ptr, from->names[i].len);
		own->names[i].ptr = at;
		at += from->names[i].len;
	}
	return OK;
}

static enum err open_view(struct imap_view *view)
{
	struct arena a = { 0 };
	struct mailbox_opened *opened = arena_new(&a, struct mailbox_opened);
	enum err err;

	view->stale = false;
	runs_done(&view->uids);
	view->uids = (struct runs){ 0 };
	err = mailbox_open(view->store, view->watch.account, view->watch.mailbox, &a, opened,
		&view->uids);
	if (!err)
		err = keep_keywords(view, &opened->keywords);
	if (!err) {
		view->uid_next = opened->mailbox.uid_next;
		view->uid_validity = opened->mailbox.uid_validity;
		view->highest = opened->mailbox.highest;
		view->horizon = opened->mailbox.horizon;
		view->as_of = opened->as_of;
	}
	arena_done(&a);
	return err;
}

static void fail_boxes(struct imap_view *view)
{
	list_each(&view->boxes, link) container_of(link, struct imap_box, link)->broken = true;
}

/* Members of the view from `first` to `last` go; who knows them keeps them as pending. */
static void take_out(struct imap_view *view, uint32_t first, uint32_t last)
{
	struct run r;

	for (uint32_t from = first; from && runs_next(&view->uids, from, &r) && r.first <= last;
		from = r.last + 1) {
		r.last = MIN(r.last, last);
		list_each(&view->boxes, link)
		{
			struct imap_box *box = container_of(link, struct imap_box, link);
			uint32_t upto = MIN(r.last, box->told_uid);

			if (upto >= r.first && !runs_add_range(&box->pending, r.first, upto))
				box->broken = true;
		}
	}
	if (!runs_remove_range(&view->uids, first, last))
		fail_boxes(view);
}

static void take_out_all(struct imap_view *view, const struct runs *gone)
{
	struct run r;

	for (uint32_t from = 1; from && runs_next(gone, from, &r); from = r.last + 1)
		take_out(view, r.first, r.last);
}

static void mark_dirty(struct imap_view *view, uint32_t uid)
{
	list_each(&view->boxes, link)
	{
		struct imap_box *box = container_of(link, struct imap_box, link);

		if (uid <= box->told_uid)
			box->dirty = true;
	}
}

static void take_in_all(struct imap_view *view, const struct runs *changed)
{
	struct run r;
	uint32_t first = runs_first(changed);

	if (first)
		mark_dirty(view, first);
	for (uint32_t from = view->uid_next; from && runs_next(changed, from, &r);
		from = r.last + 1)
		if (!runs_add_range(&view->uids, r.first, r.last))
			fail_boxes(view);
}

static enum err reload_keywords(struct imap_view *view)
{
	struct arena a = { 0 };
	struct mailbox_keywords *names = arena_new(&a, struct mailbox_keywords);
	enum err err =
		mailbox_keywords(view->store, view->watch.account, view->watch.mailbox, &a, names);

	if (!err)
		err = keep_keywords(view, names);
	arena_done(&a);
	return err;
}

static enum err follow(struct imap_view *view)
{
	struct runs changed = { 0 }, gone = { 0 };
	struct message_changes args = { .account = view->watch.account,
		.mailbox = view->watch.mailbox,
		.since = view->highest,
		.changed = &changed,
		.gone = &gone };
	enum err err;

	view->stale = false;
	err = message_changes(view->store, &args);
	if (!err && args.keywords)
		err = reload_keywords(view);
	if (!err && args.now.uid_validity != view->uid_validity)
		err = ERR_NOT_FOUND;
	if (!err) {
		take_out_all(view, &gone);
		take_in_all(view, &changed);
		view->uid_next = args.now.uid_next;
		view->highest = args.now.highest;
		view->horizon = args.now.horizon;
		view->as_of = args.as_of;
	} else if (err == ERR_NOT_FOUND) { /* as if everything in it had been expunged */
		view->gone = true;
		take_out(view, 1, UINT32_MAX);
	} else {
		view->stale = true;
	}
	runs_done(&changed);
	runs_done(&gone);
	return err;
}

/* Something happened in the account after our moment: a notice of it may still be under way. */
static bool may_be_old(const struct imap_view *view)
{
	struct mailbox_usage usage;

	return mailbox_usage(view->store, view->watch.account, &usage) ||
		usage.changed >= view->as_of;
}

enum err imap_view_refresh(struct imap_view *view, bool all)
{
	enum err err = fiber_mutex_lock(&view->refreshing, FIBER_FOREVER);

	if (err)
		return err;
	if (all)
		err = store_sync_all(view->store, view->watch.account);
	if (!err && view->gone)
		err = ERR_NOT_FOUND;
	else if (!err && !view->as_of)
		err = open_view(view);
	else if (!err && (view->stale || (all && may_be_old(view))))
		err = follow(view);
	fiber_mutex_unlock(&view->refreshing);
	return err;
}

void imap_view_gone(struct imap_session *s, const struct runs *uids)
{
	if (s->box)
		take_out_all(s->box->view, uids);
}

/* --- Opening ------------------------------------------------------------------------------------ */

static struct imap_view *find_view(struct map *views, uint64_t account, uint32_t mailbox)
{
	struct map_link *link = map_find(views, hash_of(account, mailbox));

	for (; link; link = map_find_next(views, link)) {
		struct imap_view *view = container_of(link, struct imap_view, link);

		if (view->watch.account == account && view->watch.mailbox == mailbox && !view->gone)
			return view;
	}
	return NULL;
}

static struct imap_view *new_view(struct imap_session *s, struct map *views, uint32_t mailbox)
{
	struct imap_view *view = calloc(1, sizeof(*view));

	if (!view || !map_insert(views, &view->link, hash_of(s->account, mailbox))) {
		free(view);
		return NULL;
	}
	list_init(&view->boxes);
	view->home = views;
	view->store = imap_store_of(s);
	view->watch =
		(struct watch){ .account = s->account, .mailbox = mailbox, .changed = on_changed };
	watch_add(view->store, &view->watch);
	metric_add(&imap_metrics, IMAP_METRIC_VIEWS, 1);
	return view;
}

enum err imap_view_get(struct imap_session *s, uint32_t mailbox, struct imap_view **out)
{
	struct map *views = &imap_station_of(s->head.door->w)->views;
	struct imap_view *view = find_view(views, s->account, mailbox);
	enum err err;

	if (!view)
		view = new_view(s, views, mailbox);
	if (!view)
		return ERR_NOMEM;
	view->refs++;
	err = imap_view_refresh(view, true);
	if (err)
		imap_view_put(view);
	else
		*out = view;
	return err;
}

void imap_view_put(struct imap_view *view)
{
	if (--view->refs)
		return;
	watch_remove(view->store, &view->watch);
	map_remove(view->home, &view->link);
	runs_done(&view->uids);
	free_keywords(view);
	free(view);
	metric_add(&imap_metrics, IMAP_METRIC_VIEWS, -1);
}

struct imap_box *imap_box_new(struct imap_session *s, struct imap_view *view)
{
	struct imap_box *box = calloc(1, sizeof(*box));

	if (!box)
		return NULL;
	box->session = s;
	box->view = view;
	box->told_uid = view->uid_next - 1;
	box->told = box->known = view->highest;
	box->told_keywords = (uint8_t)(view->keywords ? view->keywords->len : 0);
	list_push(&view->boxes, &box->link);
	return box;
}

void imap_box_free(struct imap_box *box)
{
	if (!box)
		return;
	list_remove(&box->link);
	imap_view_put(box->view);
	runs_done(&box->pending);
	free(box->saved);
	free(box->own);
	free(box->parts);
	fetch_memo_free(box->memo);
	free(box);
}

/* --- Numbers ------------------------------------------------------------------------------------- */

uint32_t imap_seq_count(const struct imap_session *s)
{
	const struct imap_box *box = s->box;

	return runs_rank(&box->view->uids, box->told_uid) + box->pending.count;
}

static uint32_t rank(const struct imap_box *box, uint32_t uid)
{
	return runs_rank(&box->view->uids, uid) + runs_rank(&box->pending, uid);
}

uint32_t imap_uid_to_seq(const struct imap_session *s, uint32_t uid)
{
	const struct imap_box *box = s->box;

	if (uid > box->told_uid ||
		(!runs_has(&box->view->uids, uid) && !runs_has(&box->pending, uid)))
		return 0;
	return rank(box, uid);
}

uint32_t imap_seq_to_uid(const struct imap_session *s, uint32_t seq)
{
	const struct imap_box *box = s->box;
	uint32_t low = 1, high = box->told_uid;

	if (seq == 0 || seq > imap_seq_count(s))
		return 0;
	if (!box->pending.count)
		return runs_nth(&box->view->uids, seq);
	while (low < high) { /* the smallest uid with that rank */
		uint32_t mid = low + (high - low) / 2;

		if (rank(box, mid) >= seq)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* Members of the view between two uids, up to what the session knows, into the list. */
static void add_known(struct run_builder *b, const struct imap_box *box, uint32_t first,
	uint32_t last)
{
	struct runs_walk walk = { .set = &box->view->uids, .from = first };
	struct run r;

	last = MIN(last, box->told_uid);
	while (first <= last && runs_walk_next(&walk, &r) && r.first <= last)
		run_builder_add(b, r.first, MIN(r.last, last));
}

static bool any_pending(const struct imap_box *box, uint32_t first, uint32_t last)
{
	return runs_rank(&box->pending, last) > runs_rank(&box->pending, first - 1);
}

/* What is saved are uids, whatever the numbers beside it are. Who is gone from the mailbox since is in it still. */
static struct run_list with_saved(struct imap_session *s, const struct imap_seqset *set,
	struct run_list uids)
{
	struct run_list saved = { .runs = s->box->saved, .len = s->box->saved_len };

	return set->saved ? run_list_either(&s->arena, uids, saved) : uids;
}

static struct run_list uids_as_uids(struct imap_session *s, const struct imap_seqset *set)
{
	uint32_t count = imap_seq_count(s);

	return imap_seqset_resolve(&s->arena, set, count ? imap_seq_to_uid(s, count) : 0);
}

static bool seqs_as_uids(struct imap_session *s, const struct imap_seqset *set,
	struct run_list *out)
{
	uint32_t count = imap_seq_count(s);
	struct run_list seqs = imap_seqset_resolve(&s->arena, set, count);
	struct run *uids = arena_array(&s->arena, struct run, seqs.len + 1);

	if (seqs.len && seqs.runs[seqs.len - 1].last > count)
		return false;
	for (size_t i = 0; i < seqs.len; i++)
		uids[i] = (struct run){ imap_seq_to_uid(s, seqs.runs[i].first),
			imap_seq_to_uid(s, seqs.runs[i].last) };
	*out = (struct run_list){ .runs = uids, .len = seqs.len };
	return true;
}

struct run_list imap_set_as_written(struct imap_session *s, const struct imap_seqset *set)
{
	struct run known = { 1, s->box->told_uid };
	struct run_list window = { .runs = &known, .len = known.last > 0 };

	return run_list_both(&s->arena, with_saved(s, set, uids_as_uids(s, set)), window);
}

bool imap_set_to_uids(struct imap_session *s, const struct imap_seqset *set, struct run_list *out,
	bool *out_gone)
{
	struct run_builder b = { .a = &s->arena };
	struct run_list spans;
	bool gone = false;

	if (s->run->uid)
		spans = uids_as_uids(s, set);
	else if (!seqs_as_uids(s, set, &spans))
		return false;
	spans = with_saved(s, set, spans);
	for (size_t i = 0; i < spans.len; i++) {
		add_known(&b, s->box, spans.runs[i].first, spans.runs[i].last);
		gone = gone || any_pending(s->box, spans.runs[i].first, spans.runs[i].last);
	}
	*out = run_builder_list(&b);
	if (out_gone)
		*out_gone = gone;
	return true;
}

struct run_list imap_known_uids(struct imap_session *s)
{
	struct run_builder b = { .a = &s->arena };

	add_known(&b, s->box, 1, UINT32_MAX);
	return run_builder_list(&b);
}

/* A walk along the view that knows the number of each run's first uid: where much of a large mailbox is
 * asked for, ranks need not be looked up one by one. */
struct numbering {
	const struct imap_box *box;
	struct runs_walk walk;
	struct run run;
	uint32_t seq, view_seq; /* of run.first, with what is pending and without */
	bool there;
};

enum { STEPS_BEFORE_SEEK = 16 };

static void number_run(struct numbering *n)
{
	n->seq = n->view_seq + (n->there ? runs_rank(&n->box->pending, n->run.first) : 0);
}

static void numbering_step(struct numbering *n)
{
	n->view_seq += n->run.last - n->run.first + 1;
	n->there = runs_walk_next(&n->walk, &n->run);
	number_run(n);
}

/* To the run that ends at or behind `uid`; uids ascend. */
static void numbering_seek(struct numbering *n, uint32_t uid)
{
	for (unsigned i = 0; i < STEPS_BEFORE_SEEK && n->there && n->run.last < uid; i++)
		numbering_step(n);
	if (n->there && n->run.last >= uid)
		return;
	n->walk = (struct runs_walk){ .set = &n->box->view->uids, .from = uid };
	n->there = runs_walk_next(&n->walk, &n->run);
	n->view_seq = n->there ? runs_rank(&n->box->view->uids, n->run.first) : 0;
	number_run(n);
}

/* Uids side by side in the view are numbers side by side, unless a pending one stands between. */
struct run_list imap_uids_to_seqs(struct imap_session *s, struct run_list uids)
{
	struct run_builder b = { .a = &s->arena };
	struct numbering n = { .box = s->box };

	for (size_t i = 0; i < uids.len; i++) {
		uint32_t first = uids.runs[i].first;
		uint32_t last = MIN(uids.runs[i].last, s->box->told_uid);

		if (first > last)
			break;
		for (numbering_seek(&n, first); n.there && n.run.first <= last;
			numbering_step(&n)) {
			uint32_t seq = n.seq + (MAX(first, n.run.first) - n.run.first);

			run_builder_add(&b, seq,
				seq + MIN(last, n.run.last) - MAX(first, n.run.first));
			if (n.run.last >= last)
				break;
		}
	}
	return run_builder_list(&b);
}

bool imap_runs_of(struct run_list list, struct runs *out)
{
	return runs_build(out, list);
}

bool imap_save_result(struct imap_session *s, struct run_list uids)
{
	struct imap_box *box = s->box;
	struct run *own = uids.len ? malloc(uids.len * sizeof(*own)) : NULL;

	if (uids.len && !own)
		return false;
	if (uids.len)
		memcpy(own, uids.runs, uids.len * sizeof(*own));
	free(box->saved);
	box->saved = own;
	box->saved_len = uids.len;
	return true;
}
