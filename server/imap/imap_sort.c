/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_sort.c - SORT (RFC 5256 3).
 *
 * The run notes a number for each key of each message: itself, or the first bytes of a text whose rest
 * is only looked at when those are the same. So most comparisons touch nothing but the row. */
#include <stdlib.h>

#include "core/job.h"
#include "server/imap/imap_find.h"
#include "server/imap/imap_int.h"
#include "server/imap/imap_out.h"

enum { NUMBERS_A_TIME = 4000, TEXT_MAX = 256, PREFIX = 8 };

struct sort_key {
	uint64_t first; /* number, or big-endian prefix */
	slice rest;
};

struct sort_row {
	uint32_t uid;
	struct sort_key keys[]; /* as many as the command has */
};

struct sorting {
	struct find_run run;
	const struct imap_sort *args;
	struct arena *arena; /* of the rows: the command's */
	struct arena scratch;
	struct sort_row **rows;
	size_t len, cap;
	modseq highest; /* change of those found */
	bool full;      /* out of memory */
};

/* --- Keys: on a helper thread ---------------------------------------------------------------------------- */

static void set_text(struct sorting *so, struct sort_key *key, slice text)
{
	uint64_t first = 0;

	for (size_t i = 0; i < PREFIX; i++)
		first = first << 8 | (i < text.len ? (unsigned char)text.ptr[i] : 0);
	key->first = first;
	if (text.len > PREFIX)
		key->rest = arena_dup(so->arena, slice_sub(slice_skip(text, PREFIX), 0, TEXT_MAX));
}

static bool first_address(const struct find_row *row, enum summary_list which,
	struct summary_address *out)
{
	struct summary_envelope env;

	if (!row->has_summary || !summary_envelope(&row->summary, &env))
		return false;
	while (summary_address_next(&env.lists[which], out))
		if (out->kind != SUMMARY_GROUP_END)
			return true;
	return false;
}

/* RFC 5256 3: addr-mailbox of the first address. Of a group that is its name (RFC 9051 7.5.2). */
static void set_address(struct sorting *so, struct sort_key *key, const struct find_row *row,
	enum summary_list which)
{
	struct summary_address address;
	char buf[TEXT_MAX];
	struct out o = out_fixed(buf, sizeof(buf));

	if (first_address(row, which, &address))
		collate_key(&o,
			address.kind == SUMMARY_GROUP ? address.name.text : address.local.text);
	set_text(so, key, out_written(&o));
}

/* RFC 5957: the name, or else the whole address. */
static void set_display(struct sorting *so, struct sort_key *key, const struct find_row *row,
	enum summary_list which, struct charset_cache *charsets)
{
	struct summary_address address;
	struct out text = out_arena(&so->scratch), o = out_arena(&so->scratch);

	if (first_address(row, which, &address)) {
		if (address.name.text.len)
			address.local.text.ptr = NULL; /* the name alone */
		find_put_address(&text, &address, charsets);
		slice shown = out_written(&text);
		if (!address.name.text.len && shown.len > 2)
			shown = slice_sub(slice_skip(shown, 1), 0, shown.len - 2);
		collate_key(&o, shown);
	}
	set_text(so, key, out_written(&o));
	arena_reset(&so->scratch);
}

/* Numbers compare unsigned: dates before 1970 come first. */
static uint64_t time_key(wall_ms at)
{
	return (uint64_t)at ^ UINT64_C(1) << 63;
}

static void set_key(struct sorting *so, enum imap_sort_key by, struct sort_key *key,
	const struct find_row *row, struct charset_cache *charsets)
{
	bool dated = row->has_summary && row->summary.has_sent;

	switch (by) {
	case IMAP_SORT_ARRIVAL:
		key->first = time_key(row->m.received);
		break;
	case IMAP_SORT_DATE: /* RFC 5256 2.2 */
		key->first = time_key(dated ? row->summary.sent : row->m.received);
		break;
	case IMAP_SORT_SIZE:
		key->first = row->m.size;
		break;
	case IMAP_SORT_SUBJECT:
		set_text(so, key, row->has_summary ? row->summary.base_key : SLICE(""));
		break;
	case IMAP_SORT_FROM:
		set_address(so, key, row, SUMMARY_FROM);
		break;
	case IMAP_SORT_TO:
		set_address(so, key, row, SUMMARY_TO);
		break;
	case IMAP_SORT_CC:
		set_address(so, key, row, SUMMARY_CC);
		break;
	case IMAP_SORT_DISPLAYFROM:
		set_display(so, key, row, SUMMARY_FROM, charsets);
		break;
	case IMAP_SORT_DISPLAYTO:
		set_display(so, key, row, SUMMARY_TO, charsets);
		break;
	}
}

static bool grow(struct sorting *so)
{
	size_t cap = so->cap ? so->cap * 2 : 1024;
	struct sort_row **rows = realloc(so->rows, cap * sizeof(*rows));

	if (!rows) {
		so->full = true;
		return false;
	}
	so->rows = rows;
	so->cap = cap;
	return true;
}

static void take_row(struct find_run *run, const struct find_row *found,
	struct charset_cache *charsets)
{
	struct sorting *so = container_of(run, struct sorting, run);
	struct sort_row *row;

	if (so->len == so->cap && !grow(so))
		return;
	row = arena_alloc(so->arena, sizeof(*row) + so->args->by_len * sizeof(row->keys[0]));
	row->uid = found->m.uid;
	so->highest = MAX(so->highest, found->m.changed);
	for (size_t i = 0; i < so->args->by_len; i++)
		set_key(so, so->args->by[i].key, &row->keys[i], found, charsets);
	so->rows[so->len++] = row;
}

/* --- Order ------------------------------------------------------------------------------------------------ */

static int compare_key(const struct sort_key *a, const struct sort_key *b)
{
	if (a->first != b->first)
		return a->first < b->first ? -1 : 1;
	int order = a->rest.len && b->rest.len ?
		memcmp(a->rest.ptr, b->rest.ptr, MIN(a->rest.len, b->rest.len)) :
		0;
	return order ? order : (a->rest.len > b->rest.len) - (a->rest.len < b->rest.len);
}

/* Ties go by sequence number, which ascends with the uid, whatever is reversed. */
static int compare(const void *a, const void *b, void *arg)
{
	const struct sort_row *x = *(struct sort_row *const *)a;
	const struct sort_row *y = *(struct sort_row *const *)b;
	const struct imap_sort *args = arg;

	for (size_t i = 0; i < args->by_len; i++) {
		int order = compare_key(&x->keys[i], &y->keys[i]);

		if (order)
			return args->by[i].reverse ? -order : order;
	}
	return (x->uid > y->uid) - (x->uid < y->uid);
}

static void sort_job(void *arg)
{
	struct sorting *so = arg;

	if (so->len)
		qsort_r(so->rows, so->len, sizeof(struct sort_row *), compare,
			(void *)(uintptr_t)so->args);
}

/* --- The command ------------------------------------------------------------------------------------------- */

static enum err answer(struct imap_session *s, const struct sorting *so)
{
	out_str(imap_out(s), "* SORT");
	for (size_t i = 0; i < so->len; i++) {
		uint32_t uid = so->rows[i]->uid;

		out_char(imap_out(s), ' ');
		out_uint(imap_out(s), s->run->uid ? uid : imap_uid_to_seq(s, uid));
		if ((i + 1) % NUMBERS_A_TIME == 0) {
			enum err err = imap_out_wait(s);

			if (err)
				return err;
		}
	}
	if (so->args->search.modseq && so->len) /* RFC 7162 3.1.6 */
		out_printf(imap_out(s), " (MODSEQ %llu)", (unsigned long long)so->highest);
	out_str(imap_out(s), "\r\n");
	return OK;
}

static bool of_summary(const struct imap_sort *args)
{
	for (size_t i = 0; i < args->by_len; i++)
		if (args->by[i].key != IMAP_SORT_ARRIVAL && args->by[i].key != IMAP_SORT_SIZE)
			return true;
	return false;
}

static enum verdict sort(struct imap_session *s, struct sorting *so)
{
	enum err err = find_run(s, &so->run);

	if (!err && so->full)
		err = ERR_NOMEM;
	if (!err) {
		job_run(sort_job, so);
		err = answer(s, so);
	}
	if (err)
		return imap_no_err(s, err);
	if (so->run.failed)
		return imap_no(s, IMAP_CODE_CORRUPTION, "A stored message is damaged");
	return imap_ok(s);
}

enum verdict imap_do_sort(struct imap_session *s, const union imap_args *args)
{
	struct find_plan plan;
	struct sorting so = {
		.run = { .plan = &plan, .hit = take_row }, .args = &args->sort, .arena = &s->arena
	};
	enum find_fault fault;
	enum verdict verdict;

	if (args->sort.search.extended) /* RFC 5267 is not advertised */
		return imap_bad(s, "SORT has no RETURN here");
	if (args->sort.search.modseq)
		imap_enable_condstore(s);
	fault = find_plan_make(s, &args->sort.search, &plan);
	if (fault)
		return find_refuse(s, fault);
	so.run.wants_summary = of_summary(&args->sort);
	verdict = sort(s, &so);
	arena_done(&so.scratch);
	free(so.rows);
	return verdict;
}
