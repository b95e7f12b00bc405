/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection's life: open, send its share of messages, close, open again. */
#include "bench/load.h"

#include "bench/template.h"
#include "core/conn.h"
#include "core/fiber.h"
#include "core/worker.h"
#include "proto/smtp/reply.h"

#include <stdio.h>
#include <stdlib.h>

enum { BACKOFF_MS = 100, FAILURES_MAX = 100, HEAD_ROOM = 4096, ADDRESS_MAX = 320 };

struct sender {
	struct load *load;
	struct load_worker *part;
	struct talk talk;
	struct out head;   /* header and greeting of the present message */
	unsigned failures; /* to connect, in a row: a server that is gone ends the sender */
};

/* The message a connection has taken on. */
struct task {
	uint64_t number, due_ns;
	slice rest;
	size_t refused; /* recipients */
	bool measured;
};

static bool over(const struct load *load)
{
	if (atomic_load_explicit(&load->stop, memory_order_relaxed))
		return true;
	return load->duration_ms &&
		talk_now_ns() - load->start_ns >=
		(uint64_t)(load->warmup_ms + load->duration_ms) * 1000000;
}

/* Waits for its due time in the open loop. False: the run is over. */
static bool take_task(struct load *load, struct task *task)
{
	uint64_t number;

	if (over(load))
		return false;
	number = atomic_fetch_add_explicit(&load->next, 1, memory_order_relaxed);
	if (load->messages && number >= load->messages)
		return false;
	*task = (struct task){ .number = number, .due_ns = talk_now_ns() };
	if (load->rate > 0) {
		uint64_t due = load->start_ns + (uint64_t)((double)number * 1e9 / load->rate);

		while (talk_now_ns() < due) {
			uint64_t left_ms = (due - talk_now_ns()) / 1000000;

			if (fiber_sleep((msec)MAX(left_ms, (uint64_t)1)) != OK || over(load))
				return false;
		}
		task->due_ns = due;
	}
	return true;
}

/* "user%n@d%d.test" for message 17 of 10 domains and its second recipient: "user17.1@d7.test". */
static slice expand(const char *pattern, const struct load *load, uint64_t number, uint64_t rcpt,
	char buf[ADDRESS_MAX])
{
	struct out o = out_fixed(buf, ADDRESS_MAX);

	for (; *pattern; pattern++) {
		if (pattern[0] == '%' && pattern[1] == 'd') {
			out_uint(&o, number % load->domains);
			pattern++;
		} else if (pattern[0] == '%' && pattern[1] == 'n') {
			out_uint(&o, number);
			if (rcpt)
				out_printf(&o, ".%llu", (unsigned long long)rcpt);
			pattern++;
		} else {
			out_char(&o, *pattern);
		}
	}
	return out_written(&o);
}

static void render(struct sender *s, struct task *task)
{
	char from[ADDRESS_MAX], to[ADDRESS_MAX];
	struct template_fields f = { .run = s->load->run, .number = task->number };

	f.from = expand(s->load->from, s->load, task->number, 0, from);
	f.to = expand(s->load->to, s->load, task->number, 0, to);
	f.date = clock_wall();
	f.sent_ns = task->due_ns;
	s->head.len = 0;
	task->rest = template_render(s->load->template, &f, &s->head);
}

static bool put_mail(struct sender *s, const struct task *task)
{
	struct out *o = conn_out(s->talk.conn);
	char from[ADDRESS_MAX];

	out_str(o, "MAIL FROM:<");
	out_slice(o, expand(s->load->from, s->load, task->number, 0, from));
	if (s->talk.caps & SMTP_CAP_SIZE)
		out_printf(o, "> SIZE=%zu\r\n", s->head.len + task->rest.len);
	else
		out_str(o, ">\r\n");
	return s->load->pipelining || talk_expect(&s->talk, "MAIL", '2');
}

static void count_refusal(struct sender *s)
{
	report_count_reply(&s->part->report, s->talk.code, s->talk.verb, slice_str(s->talk.text));
}

static bool read_rcpt(struct sender *s, struct task *task)
{
	if (talk_expect(&s->talk, "RCPT", '2'))
		return true;
	task->refused++;
	s->part->report.recipients_refused++;
	count_refusal(s);
	return s->talk.code != 0;
}

static bool put_rcpts(struct sender *s, struct task *task)
{
	char to[ADDRESS_MAX];

	for (uint64_t i = 0; i < s->load->recipients; i++) {
		struct out *o = conn_out(s->talk.conn);

		out_str(o, "RCPT TO:<");
		out_slice(o, expand(s->load->to, s->load, task->number, i, to));
		out_str(o, ">\r\n");
		if (!s->load->pipelining && !read_rcpt(s, task))
			return false;
	}
	return true;
}

static bool read_pipelined(struct sender *s, struct task *task)
{
	if (!talk_expect(&s->talk, "MAIL", '2'))
		return false;
	for (uint64_t i = 0; i < s->load->recipients; i++)
		if (!read_rcpt(s, task))
			return false;
	return true;
}

static bool send_content(struct sender *s, const struct task *task)
{
	return talk_send(&s->talk, out_written(&s->head)) && talk_send(&s->talk, task->rest);
}

static bool send_by_data(struct sender *s, struct task *task)
{
	if (!talk_send(&s->talk, SLICE("DATA\r\n")))
		return false;
	if (s->load->pipelining && !read_pipelined(s, task))
		return false;
	return talk_expect(&s->talk, "DATA", '3') && send_content(s, task) &&
		talk_send(&s->talk, SLICE(".\r\n"));
}

static bool send_by_bdat(struct sender *s, struct task *task)
{
	out_printf(conn_out(s->talk.conn), "BDAT %zu LAST\r\n", s->head.len + task->rest.len);
	return send_content(s, task) && (!s->load->pipelining || read_pipelined(s, task));
}

/* True: accepted, by every recipient that was not refused. */
static bool transact(struct sender *s, struct task *task)
{
	struct load *load = s->load;

	if (!put_mail(s, task) || !put_rcpts(s, task))
		return false;
	if (!(load->bdat ? send_by_bdat(s, task) : send_by_data(s, task)))
		return false;
	uint64_t replies = load->target.lmtp ? load->recipients - task->refused : 1;

	while (replies--)
		if (!talk_expect(&s->talk, "message", '2'))
			return false;
	return true;
}

static void count_second(struct load *load, struct report *r, uint64_t done_ns)
{
	uint64_t second =
		(done_ns - load->start_ns - (uint64_t)load->warmup_ms * 1000000) / 1000000000;

	if (second >= REPORT_SECONDS_MAX)
		return;
	if (second >= r->second_count) {
		size_t count = (size_t)second + 64;
		uint32_t *grown = realloc(r->per_second, count * sizeof(*grown));

		must(grown);
		memset(grown + r->second_count, 0, (count - r->second_count) * sizeof(*grown));
		r->per_second = grown;
		r->second_count = count;
	}
	r->per_second[second]++;
}

static void count_task(struct sender *s, const struct task *task, bool accepted)
{
	struct load *load = s->load;
	struct report *r = &s->part->report;
	uint64_t done_ns = talk_now_ns();

	if (!accepted)
		count_refusal(s);
	if (done_ns - load->start_ns < (uint64_t)load->warmup_ms * 1000000)
		return;
	r->messages_sent++;
	if (accepted) {
		r->messages_accepted++;
		r->bytes += s->head.len + task->rest.len;
		histogram_record(&r->message, (done_ns - task->due_ns) / 1000);
		count_second(load, r, done_ns);
	} else if (s->talk.code) {
		r->messages_refused++;
	} else {
		r->messages_broken++;
	}
}

/* After a refusal the connection is good again only when the server says so. */
static bool recover(struct sender *s)
{
	return s->talk.code && s->talk.code != 421 && !s->load->pipelining &&
		talk_send(&s->talk, SLICE("RSET\r\n")) && talk_expect(&s->talk, "RSET", '2');
}

static bool open_talk(struct sender *s)
{
	struct report *r = &s->part->report;

	if (!talk_open(&s->talk)) {
		r->connections_failed++;
		count_refusal(s);
		return false;
	}
	r->connections++;
	histogram_record(&r->connect, s->talk.connect_us);
	if (s->load->target.tls != TALK_PLAIN)
		histogram_record(&r->tls, s->talk.tls_us);
	if (s->load->target.user.len)
		histogram_record(&r->auth, s->talk.auth_us);
	return true;
}

/* Sends up to per_connection messages. False: the run is over. */
static bool use_talk(struct sender *s)
{
	struct load *load = s->load;
	struct task task;

	if (over(load) || (load->messages && atomic_load(&load->next) >= load->messages))
		return false;
	if (!open_talk(s))
		return ++s->failures < FAILURES_MAX && fiber_sleep(BACKOFF_MS) == OK;
	s->failures = 0;
	for (uint64_t n = 0; load->per_connection == 0 || n < load->per_connection; n++) {
		if (!take_task(load, &task))
			return false;
		render(s, &task);
		bool accepted = transact(s, &task);

		count_task(s, &task, accepted);
		if (accepted)
			atomic_fetch_add_explicit(&load->accepted, 1, memory_order_relaxed);
		else if (!recover(s))
			return true;
	}
	return true;
}

static void run_sender(void *arg)
{
	struct sender *s = arg;
	bool more = true;

	while (more) {
		more = use_talk(s);
		talk_close(&s->talk, s->talk.code != 0);
	}
	out_heap_done(&s->head);
	s->part->live--;
	atomic_fetch_sub(&s->load->running, 1);
	free(s);
}

enum err load_start(struct worker *w, struct load *load)
{
	unsigned index = worker_index(w);
	struct load_worker *part = &load->parts[index];

	for (uint64_t i = index; i < load->connections; i += load->workers) {
		struct sender *s = calloc(1, sizeof(*s));

		if (!s)
			return ERR_NOMEM;
		s->load = load;
		s->part = part;
		s->talk = (struct talk){ .target = &load->target, .worker = w };
		s->head = out_heap(HEAD_ROOM * 16);
		part->live++;
		enum err err = fiber_start(w, run_sender, s);

		if (err) {
			free(s);
			return err;
		}
	}
	return OK;
}
