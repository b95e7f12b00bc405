/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_thread.c - THREAD (RFC 5256): the messages that match, as conversations. */
#include <stdlib.h>

#include "core/job.h"
#include "server/imap/imap_find.h"
#include "server/imap/imap_int.h"
#include "server/imap/imap_out.h"
#include "server/imap/imap_threads.h"

enum { TEXT_MAX = 256 << 20, FIRST = 1024 };

/* Of one lane, alone on its cache lines. */
struct thread_lane {
	_Alignas(64) struct arena refs;
	struct thread_message *messages;
	size_t len, cap;
	bool full; /* out of memory */
};

struct threading {
	struct find_run run;
	struct thread_lane lanes[FIND_LANES];
	struct thread_message *messages; /* of all lanes */
	size_t len;
	bool by_subject, good;
	struct out text;
};

static bool grow(struct thread_lane *l)
{
	size_t cap = l->cap ? l->cap * 2 : FIRST;
	struct thread_message *more = realloc(l->messages, cap * sizeof(*more));

	l->full = l->full || !more;
	if (!more)
		return false;
	l->messages = more;
	l->cap = cap;
	return true;
}

/* Until the end `number` is the uid. */
static void take_row(struct find_run *run, unsigned lane, const struct find_row *row,
	struct charset_cache *charsets)
{
	struct threading *th = container_of(run, struct threading, run);
	struct thread_lane *l = &th->lanes[lane];
	const struct summary *s = &row->summary;
	struct thread_message m = { .number = row->m.uid, .sent = row->m.received };

	(void)charsets;
	if (l->len == l->cap && !grow(l))
		return;
	if (row->has_summary) {
		m.sent = s->has_sent ? s->sent : row->m.received;
		m.id = s->id_hash;
		m.subject = s->base_key.len ? s->base_hash : 0;
		m.reply = s->reply;
		m.ref_count = th->by_subject ? 0 : s->refs;
	}
	if (m.ref_count) {
		uint64_t *refs = arena_array(&l->refs, uint64_t, m.ref_count);

		for (unsigned i = 0; i < m.ref_count; i++)
			refs[i] = summary_ref(s, i);
		m.refs = refs;
	}
	l->messages[l->len++] = m;
}

/* Into the memory of the first lane. */
static bool join(struct threading *th)
{
	struct thread_lane *first = &th->lanes[0];

	for (size_t i = 1; i < FIND_LANES; i++) {
		const struct thread_lane *l = &th->lanes[i];

		while (first->cap - first->len < l->len)
			if (!grow(first))
				return false;
		if (l->len)
			memcpy(first->messages + first->len, l->messages,
				l->len * sizeof(*l->messages));
		first->len += l->len;
	}
	th->messages = first->messages;
	th->len = first->len;
	return true;
}

static void thread_job(void *arg)
{
	struct threading *th = arg;

	if (th->by_subject)
		th->good = threads_by_subject(th->messages, th->len, &th->text);
	else
		th->good = threads_by_references(th->messages, th->len, &th->text);
}

static enum err answer(struct imap_session *s, slice text)
{
	enum err err = OK;

	out_str(imap_out(s), text.len ? "* THREAD " : "* THREAD");
	while (!err && text.len) {
		slice piece = slice_sub(text, 0, IMAP_OUT_CHUNK);

		err = imap_out_bytes(s, piece);
		text = slice_skip(text, piece.len);
	}
	out_str(imap_out(s), "\r\n");
	return err;
}

static enum err find(struct imap_session *s, struct threading *th)
{
	struct find_seq seq = { 0 };
	enum err err = find_run(s, &th->run);

	for (size_t i = 0; !err && i < FIND_LANES; i++)
		err = th->lanes[i].full ? ERR_NOMEM : OK;
	if (!err && !join(th))
		err = ERR_NOMEM;
	for (size_t i = 0; !err && !s->run->uid && i < th->len; i++)
		th->messages[i].number = find_seq(s, &seq, th->messages[i].number);
	return err;
}

static enum verdict thread(struct imap_session *s, struct threading *th)
{
	enum err err = find(s, th);

	if (!err)
		job_run(thread_job, th);
	if (!err && !(th->good && out_ok(&th->text)))
		err = ERR_NOMEM;
	if (!err)
		err = answer(s, out_written(&th->text));
	if (err)
		return imap_no_err(s, err);
	if (th->run.failed)
		return imap_no(s, IMAP_CODE_CORRUPTION, "A stored message is damaged");
	return imap_ok(s);
}

enum verdict imap_do_thread(struct imap_session *s, const union imap_args *args)
{
	slice name = args->thread.algorithm;
	struct find_plan plan;
	struct threading th = { .run = { .plan = &plan, .wants = FIND_SUMMARY, .hit = take_row },
		.by_subject = slice_eq_nocase(name, SLICE("ORDEREDSUBJECT")) };
	enum find_fault fault;
	enum verdict verdict;

	if (!th.by_subject && !slice_eq_nocase(name, SLICE("REFERENCES")))
		return imap_bad(s, "There is no such way of threading");
	fault = find_plan_make(s, &args->thread.search, &plan);
	if (fault)
		return find_refuse(s, fault);
	th.text = out_heap(TEXT_MAX);
	verdict = thread(s, &th);
	out_heap_done(&th.text);
	for (size_t i = 0; i < FIND_LANES; i++) {
		arena_done(&th.lanes[i].refs);
		free(th.lanes[i].messages);
	}
	return verdict;
}
