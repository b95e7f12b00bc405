/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A message is rendered, offered and sent; every reply is looked at. */
#include "bench/smtp_send.h"

#include "bench/template.h"
#include "core/conn.h"
#include "core/worker.h"
#include "proto/smtp/reply.h"

enum { HEAD_ROOM = 64 * 1024 };

struct smtp_sender {
	struct out head; /* header and greeting of the present message */
	slice rest;
	size_t refused; /* recipients */
};

static const struct smtp_plan *plan_of(const struct load_sender *s)
{
	return s->load->plan;
}

static slice expand(const struct load_sender *s, const char *pattern, uint64_t number,
	uint64_t copy, char buf[LOAD_ADDRESS_MAX])
{
	struct load_name name = { pattern, number, plan_of(s)->domains, copy };

	return load_expand(&name, buf);
}

static void render(struct load_sender *s, struct load_task *task)
{
	const struct smtp_plan *plan = plan_of(s);
	struct smtp_sender *own = s->own;
	char from[LOAD_ADDRESS_MAX], to[LOAD_ADDRESS_MAX];
	struct template_fields f = {
		.run = s->load->run, .number = task->number, .thread = plan->thread
	};

	f.from = expand(s, plan->from, task->number, 0, from);
	f.to = expand(s, plan->to, task->number, 0, to);
	f.date = clock_wall();
	f.sent_ns = task->due_ns;
	if (!own->head.cap)
		own->head = out_heap(HEAD_ROOM);
	own->head.len = 0;
	own->refused = 0;
	own->rest = template_render(plan->template, &f, &own->head);
	task->bytes = own->head.len + own->rest.len;
}

static bool put_mail(struct load_sender *s, const struct load_task *task)
{
	struct out *o = conn_out(s->talk.conn);
	char from[LOAD_ADDRESS_MAX];

	out_str(o, "MAIL FROM:<");
	out_slice(o, expand(s, plan_of(s)->from, task->number, 0, from));
	if (s->talk.caps & SMTP_CAP_SIZE)
		out_printf(o, "> SIZE=%llu\r\n", (unsigned long long)task->bytes);
	else
		out_str(o, ">\r\n");
	return plan_of(s)->pipelining || talk_expect(&s->talk, "MAIL", '2');
}

static bool read_rcpt(struct load_sender *s)
{
	struct smtp_sender *own = s->own;

	if (talk_expect(&s->talk, "RCPT", '2'))
		return true;
	own->refused++;
	s->part->report.recipients_refused++;
	load_count_refusal(s);
	return s->talk.code != 0;
}

static bool put_rcpts(struct load_sender *s, const struct load_task *task)
{
	char to[LOAD_ADDRESS_MAX];

	for (uint64_t i = 0; i < plan_of(s)->recipients; i++) {
		struct out *o = conn_out(s->talk.conn);

		out_str(o, "RCPT TO:<");
		out_slice(o, expand(s, plan_of(s)->to, task->number, i, to));
		out_str(o, ">\r\n");
		if (!plan_of(s)->pipelining && !read_rcpt(s))
			return false;
	}
	return true;
}

static bool read_pipelined(struct load_sender *s)
{
	if (!talk_expect(&s->talk, "MAIL", '2'))
		return false;
	for (uint64_t i = 0; i < plan_of(s)->recipients; i++)
		if (!read_rcpt(s))
			return false;
	return true;
}

static bool send_content(struct load_sender *s)
{
	struct smtp_sender *own = s->own;

	return talk_send(&s->talk, out_written(&own->head)) && talk_send(&s->talk, own->rest);
}

static bool send_by_data(struct load_sender *s)
{
	if (!talk_send(&s->talk, SLICE("DATA\r\n")))
		return false;
	if (plan_of(s)->pipelining && !read_pipelined(s))
		return false;
	return talk_expect(&s->talk, "DATA", '3') && send_content(s) &&
		talk_send(&s->talk, SLICE(".\r\n"));
}

static bool send_by_bdat(struct load_sender *s, const struct load_task *task)
{
	out_printf(conn_out(s->talk.conn), "BDAT %llu LAST\r\n", (unsigned long long)task->bytes);
	return send_content(s) && (!plan_of(s)->pipelining || read_pipelined(s));
}

/* True: accepted, by every recipient that was not refused. */
static bool transact(struct load_sender *s, struct load_task *task)
{
	const struct smtp_plan *plan = plan_of(s);
	struct smtp_sender *own = s->own;

	render(s, task);
	if (!put_mail(s, task) || !put_rcpts(s, task))
		return false;
	if (!(plan->bdat ? send_by_bdat(s, task) : send_by_data(s)))
		return false;
	uint64_t replies = s->load->target.lmtp ? plan->recipients - own->refused : 1;

	while (replies--)
		if (!talk_expect(&s->talk, "message", '2'))
			return false;
	return true;
}

/* After a refusal the connection is good again only when the server says so. */
static bool recover(struct load_sender *s)
{
	return s->talk.code && s->talk.code != 421 && !plan_of(s)->pipelining &&
		talk_send(&s->talk, SLICE("RSET\r\n")) && talk_expect(&s->talk, "RSET", '2');
}

static bool open_talk(struct load_sender *s)
{
	if (!talk_open(&s->talk))
		return false;
	load_count_open(s);
	if (s->load->target.user.len)
		histogram_record(&s->part->report.auth, s->talk.auth_us);
	return true;
}

static void close_talk(struct load_sender *s, bool polite)
{
	talk_close(&s->talk, polite);
}

static void free_own(struct load_sender *s)
{
	struct smtp_sender *own = s->own;

	out_heap_done(&own->head);
}

const struct load_kind smtp_kind = {
	.command = "smtp",
	.summary = "submit mail",
	.own_bytes = sizeof(struct smtp_sender),
	.open = open_talk,
	.run = transact,
	.recover = recover,
	.close = close_talk,
	.done = free_own,
};
