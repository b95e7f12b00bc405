/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sequence sets as written, and sorted lists of runs. Lists come out sorted and merged from every
 * function here, so a walk over two of them is a merge. */
#include "proto/imap/seqset.h"

#include <stdlib.h>

enum { STAR = 0 };

/* --- Parsing --- */

struct pieces {
	struct run *runs;
	size_t len, cap;
};

static void add_piece(struct arena *a, struct pieces *p, struct run run)
{
	if (p->len == p->cap) {
		size_t cap = MAX((size_t)4, p->cap * 2);
		struct run *runs = arena_array(a, struct run, cap);

		if (p->len)
			memcpy(runs, p->runs, p->len * sizeof(run));
		p->runs = runs;
		p->cap = cap;
	}
	p->runs[p->len++] = run;
}

static bool take_end(struct imap_lex *x, bool stars, uint32_t *out)
{
	if (stars && imap_lex_skip(x, '*')) {
		*out = STAR;
		return true;
	}
	return imap_lex_nz(x, out);
}

static bool take_piece(struct imap_lex *x, bool stars, struct run *out)
{
	struct run run;

	if (!take_end(x, stars, &run.first))
		return false;
	run.last = run.first;
	if (imap_lex_skip(x, ':') && !take_end(x, stars, &run.last))
		return false;
	/* 4:2 is 2:4, and *:4 is 4:* (RFC 9051 9, seq-range). */
	bool turned = run.last != STAR && (run.first == STAR || run.first > run.last);

	*out = turned ? (struct run){ .first = run.last, .last = run.first } : run;
	return true;
}

/* RFC 9051 9 has `$` alone or at the end of a set; here it may stand for any member. */
static bool take_pieces(struct imap_lex *x, struct pieces *p, struct imap_seqset *set)
{
	struct run run;

	do {
		if (imap_lex_skip(x, '$')) {
			set->saved = true;
			continue;
		}
		if (!take_piece(x, true, &run))
			return false;
		set->star |= run.last == STAR;
		add_piece(x->a, p, run);
	} while (imap_lex_skip(x, ','));
	return true;
}

bool imap_lex_seqset(struct imap_lex *x, struct imap_seqset *out)
{
	struct imap_seqset set = { 0 };
	struct pieces p = { 0 };

	if (!take_pieces(x, &p, &set)) {
		x->why = "a set of message numbers is malformed";
		return false;
	}
	set.pieces = p.runs;
	set.len = p.len;
	*out = set;
	return true;
}

/* --- Sorting and merging --- */

static int by_first(const void *p, const void *q)
{
	const struct run *one = p, *two = q;

	return one->first < two->first ? -1 : one->first > two->first;
}

static bool is_sorted(const struct run *runs, size_t len)
{
	for (size_t i = 1; i < len; i++)
		if (runs[i].first < runs[i - 1].first)
			return false;
	return true;
}

/* In place; the runs are the arena's. */
static struct run_list normalise(struct run *runs, size_t len)
{
	size_t to = 0;

	if (!is_sorted(runs, len))
		qsort(runs, len, sizeof(*runs), by_first);
	for (size_t i = 0; i < len; i++)
		if (to &&
			(runs[to - 1].last == UINT32_MAX || runs[i].first <= runs[to - 1].last + 1))
			runs[to - 1].last = MAX(runs[to - 1].last, runs[i].last);
		else
			runs[to++] = runs[i];
	return (struct run_list){ .runs = runs, .len = to };
}

bool imap_lex_uidset(struct imap_lex *x, struct run_list *out)
{
	struct pieces p = { 0 };
	struct run run;

	do {
		if (!take_piece(x, false, &run)) {
			x->why = "a set of uids is malformed";
			return false;
		}
		add_piece(x->a, &p, run);
	} while (imap_lex_skip(x, ','));
	*out = normalise(p.runs, p.len);
	return true;
}

struct run_list imap_seqset_resolve(struct arena *a, const struct imap_seqset *set, uint32_t last)
{
	struct run *runs = arena_array(a, struct run, MAX(set->len, (size_t)1));
	size_t len = 0;

	for (size_t i = 0; i < set->len; i++) {
		struct run piece = set->pieces[i];
		uint32_t first = piece.first == STAR ? last : piece.first;
		uint32_t end = piece.last == STAR ? last : piece.last;
		struct run run = { .first = MAX(MIN(first, end), 1u), .last = MAX(first, end) };

		if (end) /* `*` of nothing is nothing */
			runs[len++] = run;
	}
	return normalise(runs, len);
}

/* --- Writing --- */

void imap_put_run(struct out *o, struct run run, bool first)
{
	if (!first)
		out_char(o, ',');
	out_uint(o, run.first);
	if (run.last == run.first)
		return;
	out_char(o, ':');
	out_uint(o, run.last);
}

void imap_put_runs(struct out *o, struct run_list list)
{
	for (size_t i = 0; i < list.len; i++)
		imap_put_run(o, list.runs[i], i == 0);
}

void imap_put_runs_of(struct out *o, const struct runs *set, uint32_t first, uint32_t last)
{
	struct runs_walk walk = { .set = set, .from = first };
	struct run run;
	bool begun = false;

	while (runs_walk_next(&walk, &run) && run.first <= last) {
		run.last = MIN(run.last, last);
		imap_put_run(o, run, !begun);
		begun = true;
	}
}

/* --- Lists --- */

/* Index of the first run that ends at or behind n. */
static size_t run_at(struct run_list list, uint32_t n)
{
	size_t low = 0, high = list.len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (list.runs[mid].last < n)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool run_list_has(struct run_list list, uint32_t n)
{
	size_t at = run_at(list, n);

	return at < list.len && list.runs[at].first <= n;
}

uint64_t run_list_count(struct run_list list)
{
	uint64_t count = 0;

	for (size_t i = 0; i < list.len; i++)
		count += (uint64_t)list.runs[i].last - list.runs[i].first + 1;
	return count;
}

void run_builder_add(struct run_builder *b, uint32_t first, uint32_t last)
{
	struct run *end = b->len ? &b->runs[b->len - 1] : NULL;

	if (end && (end->last == UINT32_MAX || first <= end->last + 1)) {
		end->last = MAX(end->last, last);
		return;
	}
	struct pieces p = { .runs = b->runs, .len = b->len, .cap = b->cap };

	add_piece(b->a, &p, (struct run){ .first = first, .last = last });
	*b = (struct run_builder){ .a = b->a, .runs = p.runs, .len = p.len, .cap = p.cap };
}

struct run_list run_list_both(struct arena *a, struct run_list p, struct run_list q)
{
	struct run_builder b = { .a = a };

	for (size_t i = 0, j = 0; i < p.len && j < q.len;) {
		uint32_t first = MAX(p.runs[i].first, q.runs[j].first);
		uint32_t last = MIN(p.runs[i].last, q.runs[j].last);

		if (first <= last)
			run_builder_add(&b, first, last);
		if (p.runs[i].last < q.runs[j].last)
			i++;
		else
			j++;
	}
	return run_builder_list(&b);
}

struct run_list run_list_either(struct arena *a, struct run_list p, struct run_list q)
{
	struct run *runs = arena_array(a, struct run, p.len + q.len + 1);

	if (p.len)
		memcpy(runs, p.runs, p.len * sizeof(*runs));
	if (q.len)
		memcpy(runs + p.len, q.runs, q.len * sizeof(*runs));
	return normalise(runs, p.len + q.len);
}

/* --- Against a mailbox --- */

struct run_list run_list_existing(struct arena *a, struct run_list list, const struct runs *uids)
{
	struct run_builder b = { .a = a };
	struct run run;

	for (size_t i = 0; i < list.len; i++) {
		struct runs_walk walk = { .set = uids, .from = list.runs[i].first };

		while (runs_walk_next(&walk, &run) && run.first <= list.runs[i].last)
			run_builder_add(&b, run.first, MIN(run.last, list.runs[i].last));
	}
	return run_builder_list(&b);
}
