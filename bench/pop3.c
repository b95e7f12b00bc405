/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generator of POP3 as a command: a table of what it can do, and one task of it. */
#include "bench/answer.h"
#include "bench/commands.h"
#include "bench/load.h"
#include "bench/mix.h"

#include "core/base/text.h"
#include "core/conn.h"
#include "core/entropy.h"
#include "proto/sasl/sasl.h"

#include <stdatomic.h>
#include <inttypes.h>
#include <stdio.h>

enum { WINDOW = 256 }; /* commands on their way in retr-all: they fit any socket's buffer */

struct pop3_args {
	struct load_args load;
	const char *mix;
	uint64_t users;
	bool delete;
};

struct pop3_plan {
	const struct pop3_args *args;
	struct mix mix;
	_Atomic uint64_t *next; /* number of the next connection, of all workers together */
	bool login_only;
};

struct pop3_sender {
	struct pop3_answer answer;
	uint64_t user, messages, bytes, items, first_ns;
	bool logged_in;
};

static bool run_login(struct load_sender *s);
static bool run_all(struct load_sender *s);

/* %r is a random message. */
static const struct pop3_op {
	const char *name, *text;
	bool multi;
	bool (*run)(struct load_sender *s);
} ops[] = {
	{ "login", NULL, false, run_login },
	{ "noop", "NOOP", false, NULL },
	{ "stat", "STAT", false, NULL },
	{ "list", "LIST", true, NULL },
	{ "uidl", "UIDL", true, NULL },
	{ "top", "TOP %r 10", true, NULL },
	{ "retr", "RETR %r", true, NULL },
	{ "retr-all", NULL, true, run_all },
};

#define AT(member) offsetof(struct pop3_args, member)
static const struct arg_row rows[] = {
	LOAD_ROWS(struct pop3_args, load, "operations"),
	{ "auth", ARG_STRING, AT(load.auth), 0, 0, "USER:PASSWORD",
		"log in; %d is the number of the connection, in order of opening, modulo --users" },
	{ "users", ARG_COUNT, AT(users), 1, 0, "N", "for %d (default 1)" },
	{ "mechanism", ARG_STRING, AT(load.mechanism), 0, 0, "NAME",
		"USER, and PASS (default), or PLAIN, by AUTH" },
	{ "mix", ARG_STRING, AT(mix), 0, 0, "NAME=WEIGHT,...",
		"login noop stat list uidl top retr retr-all (default retr)" },
	{ "delete", ARG_FLAG, AT(delete), 0, 0, NULL, "DELE what retr-all read" },
	{ 0 },
};

static const struct pop3_plan *plan_of(const struct load_sender *s)
{
	return s->load->plan;
}

static ptrdiff_t find_op(slice name)
{
	for (size_t i = 0; i < array_len(ops); i++)
		if (slice_eq(slice_str(ops[i].name), name))
			return (ptrdiff_t)i;
	return -1;
}

/* --- Replies --- */

/* True: +OK. Else code is 500, or 0 when the connection is gone. */
static bool expect(struct load_sender *s, const char *verb, bool multi)
{
	struct pop3_sender *own = s->own;
	struct talk *t = &s->talk;
	enum step step = STEP_MORE;

	t->verb = verb;
	own->answer.multi = multi;
	while (step != STEP_DONE) {
		slice in = { 0 };
		size_t used;
		enum err err = conn_wait_data(t->conn, &in, t->target->timeout_ms);

		if (err)
			return talk_broken(t, err);
		if (!own->first_ns)
			own->first_ns = talk_now_ns();
		step = pop3_answer_feed(&own->answer, in, &used);
		conn_consume(t->conn, used);
		own->bytes += used;
	}
	slice head = slice_of(own->answer.head, own->answer.head_len);

	t->code = slice_starts_nocase(head, SLICE("+OK")) ? 200 : 500;
	snprintf(t->text, sizeof(t->text), "%.*s", SLICE_ARG(head));
	return t->code == 200;
}

static bool command(struct load_sender *s, const char *verb, slice line)
{
	struct out *o = conn_out(s->talk.conn);

	out_slice(o, line);
	out_str(o, "\r\n");
	return expect(s, verb, false);
}

/* --- A session --- */

static bool connect_to(struct load_sender *s)
{
	const struct talk_target *target = &s->load->target;
	struct report *r = &s->part->report;
	struct pop3_sender *own = s->own;

	own->answer = (struct pop3_answer){ 0 };
	own->logged_in = false;
	own->user = atomic_fetch_add(plan_of(s)->next, 1);
	if (!talk_connect(&s->talk))
		return false;
	if (target->tls == TALK_IMPLICIT && !talk_start_tls(&s->talk))
		return false;
	if (!expect(s, "greeting", false))
		return false;
	if (target->tls == TALK_STARTTLS &&
		(!command(s, "STLS", SLICE("STLS")) || !talk_start_tls(&s->talk)))
		return false;
	r->connections++;
	histogram_record(&r->connect, s->talk.connect_us);
	if (target->tls != TALK_PLAIN)
		histogram_record(&r->tls, s->talk.tls_us);
	return true;
}

static bool auth_plain(struct load_sender *s, slice user)
{
	char secret[1024];
	struct out plain = out_fixed(secret, sizeof(secret));
	struct out *o = conn_out(s->talk.conn);

	out_char(&plain, 0);
	out_slice(&plain, user);
	out_char(&plain, 0);
	out_slice(&plain, s->load->target.password);
	out_str(o, "AUTH PLAIN ");
	sasl_wire_put(o, out_written(&plain));
	out_str(o, "\r\n");
	return expect(s, "AUTH", false);
}

static bool user_pass(struct load_sender *s, slice user)
{
	struct out *o = conn_out(s->talk.conn);

	out_str(o, "USER ");
	if (!command(s, "USER", user))
		return false;
	out_str(conn_out(s->talk.conn), "PASS ");
	return command(s, "PASS", s->load->target.password);
}

/* "+OK 12 34567". */
static void keep_count(struct pop3_sender *own)
{
	slice rest = slice_of(own->answer.head, own->answer.head_len), word;

	if (!slice_cut(&rest, ' ', &word) || !slice_cut(&rest, ' ', &word) ||
		!text_parse_uint(word, UINT32_MAX, &own->messages))
		own->messages = 0;
}

static bool log_in(struct load_sender *s)
{
	char buf[LOAD_ADDRESS_MAX], pattern[LOAD_ADDRESS_MAX];
	struct pop3_sender *own = s->own;
	uint64_t began = talk_now_ns();

	snprintf(pattern, sizeof(pattern), "%.*s", SLICE_ARG(s->load->target.user));
	slice user =
		load_expand(&(struct load_name){ pattern, own->user, plan_of(s)->args->users, 0 },
			buf);

	if (!(s->load->target.mechanism == SASL_PLAIN ? auth_plain(s, user) : user_pass(s, user)))
		return false;
	histogram_record(&s->part->report.auth, (talk_now_ns() - began) / 1000);
	own->logged_in = true;
	if (!command(s, "STAT", SLICE("STAT")))
		return false;
	keep_count(own);
	return true;
}

static void close_session(struct load_sender *s, bool polite)
{
	struct talk *t = &s->talk;

	if (!t->conn)
		return;
	if (polite && command(s, "QUIT", SLICE("QUIT")))
		conn_close(t->conn);
	else
		conn_abort(t->conn, ERR_CANCELED);
	t->conn = NULL;
}

static bool begin_session(struct load_sender *s)
{
	struct pop3_sender *own = s->own;

	if ((s->talk.conn || connect_to(s)) && (own->logged_in || log_in(s)))
		return true;
	close_session(s, false);
	return false;
}

static bool open_session(struct load_sender *s)
{
	return plan_of(s)->login_only || begin_session(s);
}

/* --- Tasks --- */

static bool run_login(struct load_sender *s)
{
	close_session(s, true);
	if (!begin_session(s))
		return false;
	bool good = command(s, "QUIT", SLICE("QUIT"));

	close_session(s, false);
	return good;
}

/* All messages in order, some hundred commands ahead of the answers. */
static bool run_each(struct load_sender *s, const char *verb, bool multi)
{
	struct pop3_sender *own = s->own;
	uint64_t sent = 0;

	for (uint64_t got = 0; got < own->messages; got++) {
		if (sent == got)
			for (; sent < own->messages && sent < got + WINDOW; sent++)
				out_printf(conn_out(s->talk.conn), "%s %llu\r\n", verb,
					(unsigned long long)sent + 1);
		else if (sent < own->messages)
			out_printf(conn_out(s->talk.conn), "%s %llu\r\n", verb,
				(unsigned long long)++sent);
		if (!expect(s, verb, multi))
			return false;
		own->items += multi;
	}
	return true;
}

static bool run_all(struct load_sender *s)
{
	return run_each(s, "RETR", true) &&
		(!plan_of(s)->args->delete || run_each(s, "DELE", false));
}

static bool run_text(struct load_sender *s, const struct pop3_op *op)
{
	struct pop3_sender *own = s->own;
	struct out *o = conn_out(s->talk.conn);

	for (const char *p = op->text; *p; p++)
		if (p[0] == '%' && p[1] == 'r') {
			out_uint(o, own->messages ? entropy_below(own->messages) + 1 : 1);
			p++;
		} else {
			out_char(o, *p);
		}
	out_str(o, "\r\n");
	return expect(s, op->name, op->multi);
}

static void count_verb(struct load_sender *s, size_t part, const struct load_task *task)
{
	struct pop3_sender *own = s->own;
	struct report_verb *v = &s->part->report.verbs[part];

	v->items += own->items;
	v->bytes += own->bytes;
	histogram_record(&v->done, (talk_now_ns() - task->due_ns) / 1000);
	if (own->first_ns > task->due_ns)
		histogram_record(&v->first, (own->first_ns - task->due_ns) / 1000);
}

static bool run_task(struct load_sender *s, struct load_task *task)
{
	const struct pop3_plan *plan = plan_of(s);
	struct pop3_sender *own = s->own;
	size_t part = mix_choose(&plan->mix, task->number);
	const struct pop3_op *op = &ops[plan->mix.parts[part].row];

	s->part->report.verbs[part].name = op->name;
	if (op->text && !begin_session(s))
		return false;
	own->items = own->bytes = own->first_ns = 0;
	if (!(op->text ? run_text(s, op) : op->run(s)))
		return false;
	if (op->multi && op->text)
		own->items = 1;
	task->bytes = own->bytes;
	if (task->measured)
		count_verb(s, part, task);
	return true;
}

static bool recover(struct load_sender *s)
{
	return s->talk.conn && s->talk.code >= 400 && ((struct pop3_sender *)s->own)->logged_in;
}

static const struct load_kind pop3_kind = {
	.command = "pop3",
	.summary = "read maildrops",
	.own_bytes = sizeof(struct pop3_sender),
	.open = open_session,
	.run = run_task,
	.recover = recover,
	.close = close_session,
};

/* --- The command --- */

static bool set_up(struct load *load, struct pop3_plan *plan, const struct pop3_args *args,
	struct arena *a)
{
	load->kind = &pop3_kind;
	load->plan = plan;
	plan->args = args;
	plan->login_only = true;
	if (!args->load.auth)
		return load_wrong("auth", "", "USER:PASSWORD");
	if (!mix_parse(&plan->mix, slice_str(args->mix), find_op))
		return load_wrong("mix", args->mix, "NAME=WEIGHT,... (see --help)");
	for (size_t i = 0; i < plan->mix.count; i++)
		plan->login_only &= ops[plan->mix.parts[i].row].run == run_login;
	if (slice_eq(slice_str(args->load.mechanism), SLICE("PLAIN")))
		load->target.mechanism = SASL_PLAIN;
	else if (!slice_eq(slice_str(args->load.mechanism), SLICE("USER")))
		return load_wrong("mechanism", args->load.mechanism, "USER or PLAIN");
	return load_set_up(load, &args->load, a);
}

static int run(struct load *load, const struct pop3_args *args)
{
	char title[256];

	snprintf(title, sizeof(title), "%s: %" PRIu64 " connections, %s, tls %s", args->load.target,
		args->load.connections, args->mix, args->load.tls ? args->load.tls : "none");
	return load_command(load, &args->load, title, "operation");
}

int bench_pop3(char **argv)
{
	struct pop3_args args = { .load = LOAD_ARGS_INIT, .mix = "retr", .users = 1 };
	_Atomic uint64_t next = 0;
	struct pop3_plan plan = { .next = &next };
	struct load load = { 0 };
	struct arena arena = { 0 };
	bool help;

	args.load.target = "127.0.0.1:110";
	args.load.mechanism = "USER";
	bool good = args_parse(rows, argv, &args, &help);

	if (help)
		args_help(pop3_kind.command, pop3_kind.summary, rows);
	int status = help ? 0 : good && set_up(&load, &plan, &args, &arena) ? run(&load, &args) : 2;

	load_done(&load);
	arena_done(&arena);
	return status;
}
