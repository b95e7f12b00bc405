/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_imap_seqset.c - two sets of numbers, each against an array of bits: resolving, writing, what
 * stands in both, and what a mailbox has of them. The text is "set set" behind one byte, the value of `*`. */
#include "proto/imap/seqset.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { TOP = 1 << 12 };

struct model {
	struct run_list list;
	bool bits[TOP];
};

static const struct imap_limits limits = { .terms_max = 100 };

static uint32_t resolved(uint32_t n, uint32_t last)
{
	return n ? n : last;
}

/* False when it is beyond what the array of bits can hold. */
static bool fill(struct model *m, const struct imap_seqset *set, uint32_t last)
{
	for (size_t i = 0; i < set->len; i++) {
		uint32_t p = resolved(set->pieces[i].first, last),
			 q = resolved(set->pieces[i].last, last);

		if (p >= TOP || q >= TOP)
			return false;
		for (uint32_t n = MAX(MIN(p, q), 1u); q && n <= MAX(p, q); n++)
			m->bits[n] = true;
	}
	return true;
}

static bool same(struct run_list p, struct run_list q)
{
	return p.len == q.len && (!p.len || !memcmp(p.runs, q.runs, p.len * sizeof(struct run)));
}

static void check(struct arena *a, const struct model *m)
{
	struct out o = out_arena(a);
	struct run_list again = { 0 };
	uint64_t count = 0;

	for (uint32_t n = 1; n < TOP; n++) {
		must(run_list_has(m->list, n) == m->bits[n]);
		count += m->bits[n];
	}
	must(run_list_count(m->list) == count);
	if (!m->list.len)
		return;
	imap_put_runs(&o, m->list);
	struct imap_lex x = imap_lex_of(a, out_written(&o), &limits);

	must(imap_lex_uidset(&x, &again) && imap_lex_end(&x) && same(m->list, again));
}

static void check_two(struct arena *a, const struct model *p, const struct model *q)
{
	struct run_list both = run_list_both(a, p->list, q->list);
	struct run_list either = run_list_either(a, p->list, q->list);

	for (uint32_t n = 1; n < TOP; n++) {
		must(run_list_has(both, n) == (p->bits[n] && q->bits[n]));
		must(run_list_has(either, n) == (p->bits[n] || q->bits[n]));
	}
	must(same(both, run_list_both(a, q->list, p->list)));
	must(same(either, run_list_either(a, q->list, p->list)));
}

/* `q` is a mailbox's uids, `p` is asked for. */
static void check_mailbox(struct arena *a, const struct model *p, const struct model *q)
{
	struct runs uids = { 0 };

	for (size_t i = 0; i < q->list.len; i++)
		must(runs_add_range(&uids, q->list.runs[i].first, q->list.runs[i].last));
	struct run_list there = run_list_existing(a, p->list, &uids);

	must(same(there, run_list_both(a, p->list, q->list)));
	runs_done(&uids);
}

static bool take_model(struct imap_lex *x, uint32_t last, struct model *m)
{
	struct imap_seqset set;

	if (!imap_lex_seqset(x, &set) || !fill(m, &set, last))
		return false;
	m->list = imap_seqset_resolve(x->a, &set, last);
	check(x->a, m);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct model empty;
	struct model p = empty, q = empty;
	struct arena a = { 0 };

	if (!len)
		return 0;
	struct imap_lex x = imap_lex_of(&a, slice_of(bytes + 1, len - 1), &limits);

	if (take_model(&x, bytes[0], &p) && imap_lex_space(&x) && take_model(&x, bytes[0], &q)) {
		check_two(&a, &p, &q);
		check_mailbox(&a, &p, &q);
	}
	arena_done(&a);
	return 0;
}
