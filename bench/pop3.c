/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generator of POP3 as a command: a table of what it can do, and one task of it. */
#include "bench/commands.h"
#include "bench/mixed.h"
#include "bench/pop3_talk.h"

#include "core/conn.h"
#include "core/entropy.h"

enum { WINDOW = 256 }; /* commands on their way in retr-all: they fit any socket's buffer */

struct pop3_args {
	struct load_args load;
	struct mixed_args mixed;
	bool delete;
};

struct pop3_plan {
	const struct pop3_args *args;
	struct mixed mixed;
	bool login_only;
};

struct pop3_sender {
	struct pop3_talk pop3;
	uint64_t user; /* number of the present one */
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
	MIXED_ROWS(struct pop3_args, load, mixed, "USER, and PASS (default), or PLAIN, by AUTH",
		"login noop stat list uidl top retr retr-all (default retr)"),
	{ "delete", ARG_FLAG, AT(delete), 0, 0, NULL, "DELE what retr-all read" },
	{ 0 },
};

static const struct pop3_plan *plan_of(const struct load_sender *s)
{
	return s->load->plan;
}

/* --- A session --- */

static bool connect_to(struct load_sender *s)
{
	struct pop3_sender *own = s->own;

	own->pop3.talk = &s->talk;
	own->user = atomic_fetch_add(&s->load->opened, 1);
	if (!pop3_open(&own->pop3))
		return false;
	load_count_open(s);
	return true;
}

static bool log_in(struct load_sender *s)
{
	struct pop3_sender *own = s->own;
	char buf[LOAD_ADDRESS_MAX];
	slice user = mixed_user(&plan_of(s)->mixed, s, own->user, buf);
	bool good = pop3_login(&own->pop3, user, s->load->target.password);

	if (own->pop3.logged_in)
		histogram_record(&s->part->report.auth, s->talk.auth_us);
	return good;
}

static void close_session(struct load_sender *s, bool polite)
{
	struct pop3_sender *own = s->own;

	pop3_close(&own->pop3, polite);
}

static bool begin_session(struct load_sender *s)
{
	struct pop3_sender *own = s->own;

	if ((s->talk.conn || connect_to(s)) && (own->pop3.logged_in || log_in(s)))
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
	struct pop3_sender *own = s->own;

	close_session(s, true);
	if (!begin_session(s))
		return false;
	bool good = pop3_do(&own->pop3, "QUIT", SLICE("QUIT"));

	close_session(s, false);
	return good;
}

static void ask_for(struct load_sender *s, const char *verb, uint64_t number)
{
	struct out *o = conn_out(s->talk.conn);

	out_str(o, verb);
	out_char(o, ' ');
	out_uint(o, number);
	out_str(o, "\r\n");
}

/* All messages in order, some hundred commands ahead of the answers. */
static bool run_each(struct load_sender *s, const char *verb, bool multi)
{
	struct pop3_sender *own = s->own;
	uint64_t sent = 0;

	for (uint64_t got = 0; got < own->pop3.messages; got++) {
		if (sent == got)
			for (; sent < own->pop3.messages && sent < got + WINDOW; sent++)
				ask_for(s, verb, sent + 1);
		else if (sent < own->pop3.messages)
			ask_for(s, verb, ++sent);
		if (!pop3_wait(&own->pop3, verb, multi))
			return false;
		own->pop3.cost.items += multi;
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
			out_uint(o, own->pop3.messages ? entropy_below(own->pop3.messages) + 1 : 1);
			p++;
		} else {
			out_char(o, *p);
		}
	out_str(o, "\r\n");
	return pop3_wait(&own->pop3, op->name, op->multi);
}

static bool run_task(struct load_sender *s, struct load_task *task)
{
	const struct pop3_plan *plan = plan_of(s);
	struct pop3_sender *own = s->own;
	size_t part = mix_choose(&plan->mixed.mix, task->number);
	const struct pop3_op *op = &ops[plan->mixed.mix.parts[part].row];

	s->part->report.verbs[part].name = op->name;
	if (op->text && !begin_session(s))
		return false;
	own->pop3.cost = (struct talk_cost){ 0 };
	if (!(op->text ? run_text(s, op) : op->run(s)))
		return false;
	if (op->multi && op->text)
		own->pop3.cost.items = 1;
	task->bytes = own->pop3.cost.bytes;
	if (task->measured)
		mixed_count(s, part, task, &own->pop3.cost);
	return true;
}

static bool recover(struct load_sender *s)
{
	const struct pop3_sender *own = s->own;

	return s->talk.conn && s->talk.code >= 400 && own->pop3.logged_in;
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

static bool set_up(struct load *load, void *arg)
{
	static const struct mix_names names = MIX_NAMES(ops);
	const struct pop3_args *args = arg;
	struct pop3_plan *plan = load->plan;
	const struct mix *mix = &plan->mixed.mix;

	if (!mixed_set_up(&plan->mixed, load, &args->load, &names, "USER"))
		return false;
	plan->login_only = true;
	for (size_t i = 0; i < mix->count; i++)
		plan->login_only &= ops[mix->parts[i].row].run == run_login;
	return true;
}

static int run(struct load *load, const void *arg)
{
	const struct pop3_args *args = arg;
	const struct pop3_plan *plan = load->plan;

	return mixed_run(&plan->mixed, load, &args->load, "");
}

int bench_pop3(char **argv)
{
	struct pop3_args args = { .load = LOAD_ARGS_INIT, .mixed = { .mix = "retr", .users = 1 } };
	struct pop3_plan plan = { .args = &args, .mixed.args = &args.mixed };
	struct load load = { .kind = &pop3_kind, .plan = &plan };
	struct load_program program = { rows, &args, set_up, run };

	args.load.to.target = "127.0.0.1:110";
	args.load.mechanism = "USER";
	return load_main(&program, &load, argv);
}
