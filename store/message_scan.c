/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading messages in bulk, and what changed since a time.
 *
 * A scan walks one cursor over message rows and, for summaries, a second one over the account's
 * bodies: both ascend together in most mailboxes, so the next body is mostly the next row. Nothing is
 * allocated per row. With `ahead` a row waits until the next one was read. */
#include "core/base/runs.h"
#include "store/message.h"
#include "store/message_int.h"
#include "store/store_int.h"

#include <stdlib.h>

enum { NEXT_TRIES = 3, NEAR = 8 };

/* --- What changed since: the log for flags and removal, the order of rows for what is new --- */

struct since {
	struct index_txn *txn;
	struct keys_place at; /* the mailbox; uid is not used */
	uint32_t uid_next;
	modseq since;
	struct run_pile changed, gone;
};

static void since_done(struct since *s)
{
	run_pile_done(&s->changed);
	run_pile_done(&s->gone);
}

static enum err add_log(struct since *s, slice value)
{
	enum keys_log_kind kind;
	struct keys_runs runs = { 0 };
	struct run run;

	if (!keys_get_log(value, &kind, &runs.in))
		return ERR_CORRUPT;
	struct run_pile *to = kind == KEYS_LOG_GONE ? &s->gone : &s->changed;
	while (keys_next_run(&runs, &run))
		run_pile_add(to, run.first, run.last);
	return runs.in.len ? ERR_CORRUPT : OK;
}

static enum err read_log(struct since *s)
{
	struct index_cursor c = { 0 };
	struct keys_buf prefix, from;
	enum err failed = OK;

	if (s->since == UINT64_MAX)
		return OK;
	keys_mailbox(&prefix, KEYS_CHANGE_LOG, s->at.account, s->at.mailbox);
	from = prefix;
	keys_add_u64(&from, s->since + 1);
	enum err err = index_seek(s->txn, &c, keys_slice(&from), keys_slice(&prefix));
	while (!err && !failed) {
		failed = add_log(s, c.value);
		if (!failed)
			err = index_next(&c);
	}
	index_cursor_done(&c);
	return failed ? failed : err == ERR_NOT_FOUND ? OK : err;
}

/* The first row at or behind a uid; *out_uid 0: there is none. */
static enum err row_at(struct since *s, uint32_t uid, struct message *out)
{
	struct index_cursor c = { 0 };
	struct keys_buf prefix, from;
	struct keys_place place = s->at;

	place.uid = uid;
	keys_message(&from, &place);
	keys_mailbox(&prefix, KEYS_MESSAGE, s->at.account, s->at.mailbox);
	enum err err = index_seek(s->txn, &c, keys_slice(&from), keys_slice(&prefix));
	if (!err) {
		out->uid = keys_last_u32(c.key);
		if (!keys_get_message(c.value, out))
			err = ERR_CORRUPT;
	}
	index_cursor_done(&c);
	if (err == ERR_NOT_FOUND)
		out->uid = 0;
	return err == ERR_NOT_FOUND ? OK : err;
}

/* Uids and times of creation ascend together. */
static enum err first_new(struct since *s, uint32_t *out)
{
	uint32_t low = 1, high = s->uid_next;
	enum err err = OK;

	while (!err && low < high) {
		uint32_t mid = low + (high - low) / 2;
		struct message m;

		err = row_at(s, mid, &m);
		if (err)
			break;
		if (!m.uid || m.created > s->since)
			high = mid;
		else
			low = m.uid + 1;
	}
	*out = low;
	return err;
}

/* What changed and then went is gone: rows of messages that are not there need not be looked for. */
static enum err without_gone(struct since *s)
{
	struct run_list gone;

	return run_pile_list(&s->gone, &gone) && run_pile_without(&s->changed, gone) ? OK :
										       ERR_NOMEM;
}

/* Within the horizon. */
static enum err read_since(struct since *s)
{
	uint32_t from;
	enum err err = read_log(s);

	if (!err)
		err = first_new(s, &from);
	if (err)
		return err;
	struct uids_query query = { .account = s->at.account,
		.mailbox = s->at.mailbox,
		.from = from,
		.uid_next = s->uid_next };
	err = read_uids(s->txn, &query, &s->changed);
	return err ? err : without_gone(s);
}

/* --- Scanning --- */

struct scanning {
	struct message_scan *scan;
	struct index_txn *txn;
	struct index_cursor rows, bodies;
	struct keys_buf prefix, body_prefix, body;
	const struct runs *over, *also; /* NULL: all */
	uint32_t uid_next;
	bool at_row;
	struct message_row row;
	struct keys_body parsed;
	char *joined; /* a summary of several pieces */
	struct message_row held;
	bool holds, stopped;
};

/* A body of several pieces is put together in memory kept for the scan. */
static enum err join_pieces(struct scanning *sc)
{
	const struct keys_body *b = &sc->parsed;
	size_t len = b->summary.len;
	unsigned pieces = keys_body_pieces(b);
	enum err err = OK;

	if (!sc->joined)
		sc->joined = malloc(MESSAGE_SUMMARY_MAX);
	if (!sc->joined)
		return ERR_NOMEM;
	memcpy(sc->joined, b->summary.ptr, len);
	for (unsigned i = 0; !err && i < pieces; i++) {
		err = index_next(&sc->bodies);
		if (err || sc->bodies.value.len > b->summary_len - len)
			return err == ERR_NOT_FOUND || !err ? ERR_CORRUPT : err;
		memcpy(sc->joined + len, sc->bodies.value.ptr, sc->bodies.value.len);
		len += sc->bodies.value.len;
	}
	sc->row.summary = slice_of(sc->joined, len);
	return len == b->summary_len ? OK : ERR_CORRUPT;
}

static enum err find_body(struct scanning *sc)
{
	slice want = keys_slice(&sc->body);

	for (unsigned i = 0; sc->bodies.lmdb && i < NEXT_TRIES; i++) {
		if (index_next_many(&sc->bodies))
			break;
		int order = slice_cmp(sc->bodies.key, want);

		if (order == 0)
			return OK;
		if (order > 0)
			break;
	}
	enum err err = index_seek(sc->txn, &sc->bodies, want, keys_slice(&sc->body_prefix));
	if (!err && !slice_eq(sc->bodies.key, want))
		err = ERR_NOT_FOUND;
	return err;
}

static enum err read_body(struct scanning *sc)
{
	struct message_row *row = &sc->row;

	sc->body.len = sc->body_prefix.len;
	keys_add_u64(&sc->body, row->m.blob);
	keys_add_u8(&sc->body, 0);
	enum err err = find_body(sc);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	if (!keys_get_body(sc->bodies.value, &sc->parsed))
		return ERR_CORRUPT;
	row->splice = sc->parsed.splice;
	row->uidl = sc->parsed.uidl;
	row->open_end = sc->parsed.open_end;
	row->summary = sc->parsed.summary;
	return keys_body_pieces(&sc->parsed) ? join_pieces(sc) : OK;
}

static void tell(struct scanning *sc, const struct message_row *row)
{
	struct message_scan *scan = sc->scan;

	sc->stopped = !scan->each(scan->arg, row);
	if (sc->stopped)
		scan->next = row->m.uid;
}

static void tell_held(struct scanning *sc)
{
	if (sc->holds && !sc->stopped)
		tell(sc, &sc->held);
	sc->holds = false;
}

static void hold(struct scanning *sc)
{
	bool lasts = sc->row.summary.ptr != sc->joined || !sc->joined;

	sc->scan->ahead(sc->scan->arg, &sc->row);
	tell_held(sc);
	if (sc->stopped)
		return;
	sc->holds = lasts;
	if (lasts)
		sc->held = sc->row;
	else
		tell(sc, &sc->row);
}

static bool wants_body(const struct message_scan *scan, const struct message *m)
{
	return scan->want & MESSAGE_WANT_SUMMARY || (scan->want & MESSAGE_WANT_UIDL && !m->no_uidl);
}

/* The row at the cursor. */
static enum err take_row(struct scanning *sc)
{
	struct message_scan *scan = sc->scan;
	struct message *m = &sc->row.m;
	enum err err = OK;

	if (!keys_get_message(sc->rows.value, m))
		return ERR_CORRUPT;
	m->uid = keys_last_u32(sc->rows.key);
	if (m->changed <= scan->changed_since && scan->changed_since)
		return OK;
	if (sc->also && !runs_has(sc->also, m->uid))
		return OK;
	if (wants_body(scan, m))
		err = read_body(sc);
	else
		sc->row = (struct message_row){ .m = *m };
	if (err)
		return err;
	if (scan->ahead)
		hold(sc);
	else
		tell(sc, &sc->row);
	return OK;
}

static enum err seek_row(struct scanning *sc, uint32_t uid)
{
	struct keys_buf from = sc->prefix;
	enum err err = OK;

	/* The cursor may stand there already, behind a small gap, or a few rows before it. */
	for (unsigned i = 0; sc->at_row && !err; i++) {
		uint32_t at = keys_last_u32(sc->rows.key);

		if (at >= uid)
			return OK;
		if (i == NEXT_TRIES || uid - at > NEAR)
			break;
		err = index_next_many(&sc->rows);
		sc->at_row = !err;
	}
	if (err)
		return err;
	keys_add_u32(&from, uid);
	err = index_seek(sc->txn, &sc->rows, keys_slice(&from), keys_slice(&sc->prefix));
	sc->at_row = !err;
	return err;
}

/* ERR_NOT_FOUND: no row is behind. */
static enum err scan_run(struct scanning *sc, const struct run *run)
{
	enum err err = seek_row(sc, run->first);

	while (!err && keys_last_u32(sc->rows.key) <= run->last) {
		err = take_row(sc);
		if (err || sc->stopped)
			break;
		err = index_next_many(&sc->rows);
		sc->at_row = !err;
	}
	return err;
}

static enum err scan_runs(struct scanning *sc)
{
	struct run run = { .first = MAX(sc->scan->from, (uint32_t)1), .last = UINT32_MAX };
	struct runs_walk walk = { .set = sc->over, .from = run.first };
	enum err err = sc->over ? OK : scan_run(sc, &run);

	while (sc->over && !err && !sc->stopped && runs_walk_next(&walk, &run))
		err = scan_run(sc, &run);
	if (!err || err == ERR_NOT_FOUND)
		tell_held(sc);
	return err == ERR_NOT_FOUND ? OK : err;
}

/* What the log names now, of those that are asked for. */
static enum err find_changed(struct scanning *sc, const struct keys_mailbox_row *row,
	struct message_found *found)
{
	struct message_scan *scan = sc->scan;
	struct since s = { .txn = sc->txn,
		.at = { .account = scan->account, .mailbox = scan->mailbox },
		.uid_next = row->uid_next,
		.since = scan->changed_since };
	enum err err = read_since(&s);

	if (!err && scan->uids && !run_pile_within(&s.changed, scan->uids))
		err = ERR_NOMEM;
	if (!err && !run_pile_into(&s.changed, found->uids))
		err = ERR_NOMEM;
	since_done(&s);
	found->known = !err;
	return err;
}

/* Within the horizon the log names the rows, else all are looked at. */
static enum err scan_changed(struct scanning *sc, const struct keys_mailbox_row *row)
{
	struct message_scan *scan = sc->scan;
	struct runs changed = { 0 };
	struct message_found once = { .uids = &changed };
	struct message_found *found = scan->found ? scan->found : &once;
	enum err err = OK;

	if (row->highest <= scan->changed_since)
		return OK;
	if (!found->known && scan->changed_since >= row->horizon)
		err = find_changed(sc, row, found);
	if (found->known) {
		sc->over = found->uids;
		sc->also = scan->uids;
	}
	if (!err)
		err = scan_runs(sc);
	runs_done(&changed);
	return err;
}

static enum err scan_txn(struct index_txn *txn, void *arg)
{
	struct message_scan *scan = arg;
	struct scanning sc = { .scan = scan, .txn = txn, .over = scan->uids };
	struct keys_mailbox_row row;
	enum err err = read_mailbox_row(txn, scan->account, scan->mailbox, &row);

	scan->next = 0;
	if (err)
		return err;
	keys_mailbox(&sc.prefix, KEYS_MESSAGE, scan->account, scan->mailbox);
	keys_account(&sc.body_prefix, KEYS_BODY, scan->account);
	sc.body = sc.body_prefix;
	err = scan->changed_since ? scan_changed(&sc, &row) : scan_runs(&sc);
	index_cursor_done(&sc.rows);
	index_cursor_done(&sc.bodies);
	free(sc.joined);
	return err;
}

enum err message_scan(struct store *st, struct message_scan *scan)
{
	return index_read(st->index, mailbox_home(st, scan->account), scan_txn, scan);
}

enum err message_scan_here(struct store *st, struct message_scan *scan)
{
	return index_read_here(st->index, mailbox_home(st, scan->account), scan_txn, scan);
}

/* --- One message --- */

struct getting {
	struct arena *a;
	struct message_row *out;
	bool found;
};

static bool keep_row(void *arg, const struct message_row *row)
{
	struct getting *g = arg;

	*g->out = *row;
	g->out->summary = arena_dup(g->a, row->summary);
	g->out->splice = arena_dup(g->a, row->splice);
	g->out->uidl = arena_dup(g->a, row->uidl);
	g->found = true;
	return false;
}

enum err message_get(struct store *st, const struct message_scan *where, uint32_t uid,
	struct arena *a, struct message_row *out)
{
	struct getting g = { .a = a, .out = out };
	struct runs one = { 0 };
	struct message_scan scan = { .account = where->account,
		.mailbox = where->mailbox,
		.uids = &one,
		.want = MESSAGE_WANT_SUMMARY,
		.each = keep_row,
		.arg = &g };

	if (!uid)
		return ERR_NOT_FOUND;
	enum err err = runs_add(&one, uid) ? message_scan(st, &scan) : ERR_NOMEM;
	runs_done(&one);
	return err || g.found ? err : ERR_NOT_FOUND;
}

/* --- Changes --- */

/* Too long ago: every row tells when it changed, and every hole may be new. */
static enum err read_all(struct since *s)
{
	struct index_cursor c = { 0 };
	struct keys_buf prefix;
	enum err failed = OK;

	keys_mailbox(&prefix, KEYS_MESSAGE, s->at.account, s->at.mailbox);
	enum err err = index_seek(s->txn, &c, keys_slice(&prefix), keys_slice(&prefix));
	while (!err && !failed) {
		struct message m;

		if (!keys_get_message(c.value, &m))
			failed = ERR_CORRUPT;
		else if (m.changed > s->since)
			run_pile_add(&s->changed, keys_last_u32(c.key), keys_last_u32(c.key));
		if (!failed)
			err = index_next(&c);
	}
	index_cursor_done(&c);
	return failed ? failed : err == ERR_NOT_FOUND ? OK : err;
}

/* Every uid that is not there. */
static enum err add_holes(struct since *s)
{
	struct run_pile live = { 0 };
	struct run_list list;
	struct uids_query query = { .account = s->at.account,
		.mailbox = s->at.mailbox,
		.from = 1,
		.uid_next = s->uid_next };
	enum err err = read_uids(s->txn, &query, &live);

	if (!err && !run_pile_list(&live, &list))
		err = ERR_NOMEM;
	if (!err && s->uid_next > 1)
		run_pile_add(&s->gone, 1, s->uid_next - 1);
	if (!err && !run_pile_without(&s->gone, list))
		err = ERR_NOMEM;
	run_pile_done(&live);
	return err;
}

static enum err keywords_changed(struct index_txn *txn, struct message_changes *args)
{
	struct keys_keywords row;
	struct keys_buf key;
	slice value;

	keys_mailbox(&key, KEYS_KEYWORDS, args->account, args->mailbox);
	enum err err = index_get(txn, keys_slice(&key), &value);
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	if (!keys_get_keywords(value, &row))
		return ERR_CORRUPT;
	args->keywords = row.changed > args->since;
	return OK;
}

static enum err read_changes(struct since *s, struct message_changes *args)
{
	enum err err = args->exact ? read_since(s) : read_all(s);

	if (!err && !args->exact)
		err = add_holes(s);
	if (!err &&
		(!run_pile_into(&s->changed, args->changed) ||
			!run_pile_into(&s->gone, args->gone)))
		err = ERR_NOMEM;
	since_done(s);
	return err;
}

static enum err changes_txn(struct index_txn *txn, void *arg)
{
	struct message_changes *args = arg;
	struct keys_mailbox_row row;
	struct since s = { .txn = txn,
		.at = { .account = args->account, .mailbox = args->mailbox },
		.since = args->since };
	enum err err = read_mailbox_row(txn, args->account, args->mailbox, &row);

	if (!err)
		err = read_position(txn, &args->as_of);
	if (err)
		return err;
	s.uid_next = row.uid_next;
	mailbox_of_row(&args->now, args->mailbox, &row);
	args->now.name = (slice){ "", 0 };
	args->exact = args->since >= row.horizon;
	args->keywords = false;
	if (row.highest <= args->since)
		return OK;
	err = read_changes(&s, args);
	return err ? err : keywords_changed(txn, args);
}

enum err message_changes(struct store *st, struct message_changes *args)
{
	return index_read(st->index, mailbox_home(st, args->account), changes_txn, args);
}
