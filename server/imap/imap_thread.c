/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_thread.c - THREAD (RFC 5256): the messages that match, as conversations. */
#include <stdlib.h>

#include "core/job.h"
#include "server/imap/imap_find.h"
#include "server/imap/imap_int.h"
#include "server/imap/imap_out.h"
#include "server/imap/imap_threads.h"

enum { TEXT_MAX = 256 << 20 };

struct threading {
	struct find_run run;
	struct arena *arena;
	struct thread_message *messages;
	size_t len, cap;
	bool by_subject, full;
	struct out text;
};

/* Until the end `number` is the uid. */
static void take_row(struct find_run *run, const struct find_row *row,
	struct charset_cache *charsets)
{
	struct threading *th = container_of(run, struct threading, run);
	const struct summary *s = &row->summary;
	struct thread_message m = { .number = row->m.uid, .sent = row->m.received };
	uint64_t *refs;

	if (th->len == th->cap) {
		size_t cap = th->cap ? th->cap * 2 : 1024;
		struct thread_message *more = realloc(th->messages, cap * sizeof(*more));

		th->full = th->full || !more;
		if (!more)
			return;
		th->messages = more;
		th->cap = cap;
	}
	if (row->has_summary) {
		m.sent = s->has_sent ? s->sent : row->m.received;
		m.id = s->id_hash;
		m.subject = s->base_key.len ? s->base_hash : 0;
		m.reply = s->reply;
		m.ref_count = th->by_subject ? 0 : s->refs;
	}
	if (m.ref_count) {
		refs = arena_array(th->arena, uint64_t, m.ref_count);
		for (unsigned i = 0; i < m.ref_count; i++)
			refs[i] = summary_ref(s, i);
		m.refs = refs;
	}
	th->messages[th->len++] = m;
}

static void thread_job(void *arg)
{
	struct threading *th = arg;

	if (th->by_subject)
		threads_by_subject(th->arena, th->messages, th->len, &th->text);
	else
		threads_by_references(th->arena, th->messages, th->len, &th->text);
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

static enum verdict thread(struct imap_session *s, struct threading *th)
{
	enum err err = find_run(s, &th->run);

	if (!err && th->full)
		err = ERR_NOMEM;
	for (size_t i = 0; !err && !s->run->uid && i < th->len; i++)
		th->messages[i].number = imap_uid_to_seq(s, th->messages[i].number);
	if (!err)
		job_run(thread_job, th);
	if (!err && !out_ok(&th->text))
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
	struct threading th = {
		.run = { .plan = &plan, .wants_summary = true, .hit = take_row },
		.arena = &s->arena,
		.by_subject = slice_eq_nocase(name, SLICE("ORDEREDSUBJECT")),
	};
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
	free(th.messages);
	return verdict;
}
