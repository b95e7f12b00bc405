/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generator of IMAP as a command: a table of what it can do, and one task of it. */
#include "bench/commands.h"
#include "bench/imap_talk.h"
#include "bench/mixed.h"
#include "bench/template.h"

#include "core/conn.h"
#include "core/worker.h"
#include "core/entropy.h"
#include "core/fiber.h"

#include <stdio.h>

enum { HEAD_ROOM = 64 * 1024, COMMAND_MAX = 4096 };

/* What must hold before a command. */
enum needs { NOTHING, LOGGED_IN, SELECTED };

struct imap_args {
	struct load_args load;
	struct mixed_args mixed;
	struct content_args content; /* of what is appended */
	const char *mailbox, *set, *key, *command, *enable;
	msec idle_ms;
	bool compress;
};

struct imap_plan {
	const struct imap_args *args;
	struct mixed mixed;
	struct template *template;
	enum needs needs; /* of the whole mix */
};

struct imap_sender {
	struct imap_talk imap;
	struct out head; /* of a message to append */
	uint64_t user;   /* number of the present one */
	enum needs state;
};

static bool run_login(struct load_sender *s, struct load_task *task);
static bool run_append(struct load_sender *s, struct load_task *task);
static bool run_idle(struct load_sender *s, struct load_task *task);

/* %m mailbox, %s set, %r a random number of it, %k key, %c command, %f + or -; several commands of
 * one row are sent in one go. */
static const struct imap_op {
	const char *name;
	enum needs needs;
	const char *text; /* NULL: run */
	bool (*run)(struct load_sender *s, struct load_task *task);
} ops[] = {
	{ "login", NOTHING, NULL, run_login },
	{ "noop", LOGGED_IN, "NOOP", NULL },
	{ "list", LOGGED_IN, "LIST \"\" *", NULL },
	{ "status", LOGGED_IN, "STATUS %m (MESSAGES UIDNEXT UNSEEN)", NULL },
	{ "select", LOGGED_IN, "SELECT %m", NULL },
	{ "select-fetch", LOGGED_IN, "SELECT %m\nFETCH %s (FLAGS ENVELOPE)", NULL },
	{ "fetch-flags", SELECTED, "FETCH %s (FLAGS)", NULL },
	{ "fetch-envelope", SELECTED, "FETCH %s (FLAGS ENVELOPE)", NULL },
	{ "fetch-structure", SELECTED, "FETCH %s (BODYSTRUCTURE)", NULL },
	{ "fetch-body", SELECTED, "FETCH %s BODY.PEEK[]", NULL },
	{ "fetch-one", SELECTED, "FETCH %r (FLAGS BODY.PEEK[])", NULL },
	{ "store", SELECTED, "STORE %r %fFLAGS (\\Flagged)", NULL },
	{ "search", SELECTED, "SEARCH %k", NULL },
	{ "sort", SELECTED, "SORT (SUBJECT) UTF-8 ALL", NULL },
	{ "thread", SELECTED, "THREAD REFERENCES UTF-8 ALL", NULL },
	{ "copy", SELECTED, "COPY %r %m", NULL },
	{ "append", LOGGED_IN, NULL, run_append },
	{ "idle", SELECTED, NULL, run_idle },
	{ "command", LOGGED_IN, "%c", NULL },
};

#define AT(member) offsetof(struct imap_args, member)
static const struct arg_row rows[] = {
	LOAD_ROWS(struct imap_args, load, "operations"),
	MIXED_ROWS(struct imap_args, load, mixed,
		"LOGIN, the command (default), or PLAIN, by AUTHENTICATE",
		"login noop list status select select-fetch fetch-flags fetch-envelope\n"
		"                                 fetch-structure fetch-body fetch-one store "
		"search "
		"sort thread copy\n"
		"                                 append idle command (default fetch-one)"),
	{ "mailbox", ARG_STRING, AT(mailbox), 0, 0, "NAME", "with %d as above (default INBOX)" },
	{ "set", ARG_STRING, AT(set), 0, 0, "SET", "messages of the fetches (default 1:*)" },
	{ "key", ARG_STRING, AT(key), 0, 0, "KEY", "of search (default SUBJECT \"report\")" },
	{ "command", ARG_STRING, AT(command), 0, 0, "TEXT",
		"of command; %m is the mailbox, %r a random number" },
	{ "enable", ARG_STRING, AT(enable), 0, 0, "NAMES", "ENABLE them after the login" },
	{ "compress", ARG_FLAG, AT(compress), 0, 0, NULL, "COMPRESS DEFLATE after the login" },
	{ "idle", ARG_DURATION, AT(idle_ms), 0, 0, "TIME", "of one IDLE (default 1s)" },
	CONTENT_ROWS(struct imap_args, content),
	{ 0 },
};

static const struct imap_plan *plan_of(const struct load_sender *s)
{
	return s->load->plan;
}

/* --- Commands --- */

static void put_random(struct load_sender *s, struct out *o)
{
	struct imap_sender *own = s->own;

	out_uint(o, own->imap.exists ? entropy_below(own->imap.exists) + 1 : 1);
}

static void put_text(struct load_sender *s, struct out *o, const char *text, uint64_t number)
{
	const struct imap_args *args = plan_of(s)->args;
	struct imap_sender *own = s->own;
	char buf[LOAD_ADDRESS_MAX];

	for (; *text; text++) {
		if (*text != '%') {
			out_char(o, *text);
			continue;
		}
		switch (*++text) {
		case 'm':
			out_slice(o,
				mixed_expand(&plan_of(s)->mixed, args->mailbox, own->user, buf));
			break;
		case 's':
			out_str(o, args->set);
			break;
		case 'r':
			put_random(s, o);
			break;
		case 'k':
			out_str(o, args->key);
			break;
		case 'f':
			out_char(o, number & 1 ? '-' : '+');
			break;
		default:
			out_char(o, *text ? *text : *--text);
		}
	}
}

static bool run_text(struct load_sender *s, const struct imap_op *op, uint64_t number)
{
	const struct imap_args *args = plan_of(s)->args;
	struct imap_sender *own = s->own;
	char buf[COMMAND_MAX];
	struct out o = out_fixed(buf, sizeof(buf));
	slice rest, line;

	put_text(s, &o, slice_eq(slice_str(op->text), SLICE("%c")) ? args->command : op->text,
		number);
	rest = out_written(&o);
	while (slice_cut(&rest, '\n', &line))
		imap_send(&own->imap, line);
	return imap_wait(&own->imap, op->name);
}

static bool select_mailbox(struct load_sender *s)
{
	struct imap_sender *own = s->own;
	char command[LOAD_ADDRESS_MAX + 16];
	struct out o = out_fixed(command, sizeof(command));

	put_text(s, &o, "SELECT %m", 0);
	if (!imap_do(&own->imap, "SELECT", out_written(&o)))
		return false;
	own->state = SELECTED;
	return true;
}

static bool log_in(struct load_sender *s)
{
	const struct imap_args *args = plan_of(s)->args;
	struct imap_sender *own = s->own;
	char buf[LOAD_ADDRESS_MAX], enable[LOAD_ADDRESS_MAX];
	slice user = mixed_user(&plan_of(s)->mixed, s, own->user, buf);

	if (!imap_login(&own->imap, user, s->load->target.password))
		return false;
	histogram_record(&s->part->report.auth, s->talk.auth_us);
	own->state = LOGGED_IN;
	if (args->compress && !imap_compress(&own->imap))
		return false;
	if (!args->enable)
		return true;
	snprintf(enable, sizeof(enable), "ENABLE %s", args->enable);
	return imap_do(&own->imap, "ENABLE", slice_str(enable));
}

/* --- The kind --- */

static bool connect_to(struct load_sender *s)
{
	struct imap_sender *own = s->own;

	own->imap.talk = &s->talk;
	own->state = NOTHING;
	own->user = atomic_fetch_add(&s->load->opened, 1);
	if (!imap_open(&own->imap)) {
		imap_close(&own->imap, false);
		return false;
	}
	load_count_open(s);
	return true;
}

static bool bring_to(struct load_sender *s, enum needs needs)
{
	struct imap_sender *own = s->own;

	if (!s->talk.conn && !connect_to(s))
		return false;
	if (needs > NOTHING && own->state == NOTHING && !log_in(s))
		return false;
	return needs < SELECTED || own->state == SELECTED || select_mailbox(s);
}

static bool open_session(struct load_sender *s)
{
	struct imap_sender *own = s->own;
	enum needs needs = plan_of(s)->needs;

	if (needs == NOTHING || bring_to(s, needs)) /* else each task connects */
		return true;
	imap_close(&own->imap, false);
	return false;
}

static void close_session(struct load_sender *s, bool polite)
{
	struct imap_sender *own = s->own;

	imap_close(&own->imap, polite);
}

/* A connection, LOGIN, LOGOUT. */
static bool run_login(struct load_sender *s, struct load_task *task)
{
	struct imap_sender *own = s->own;

	(void)task;
	close_session(s, true);
	if (!bring_to(s, LOGGED_IN))
		return false;
	bool good = imap_do(&own->imap, "LOGOUT", SLICE("LOGOUT"));

	close_session(s, false);
	return good;
}

static bool run_append(struct load_sender *s, struct load_task *task)
{
	struct imap_sender *own = s->own;
	struct template_fields f = { .run = s->load->run,
		.number = task->number,
		.sent_ns = task->due_ns,
		.thread = plan_of(s)->args->content.thread,
		.date = clock_wall(),
		.from = SLICE("sender@example.test"),
		.to = SLICE("reader@example.test") };

	if (!own->head.cap)
		own->head = out_heap(HEAD_ROOM);
	own->head.len = 0;
	slice rest = template_render(plan_of(s)->template, &f, &own->head);
	struct out *o = conn_out(s->talk.conn);

	imap_begin(&own->imap);
	put_text(s, o, "APPEND %m", 0);
	out_printf(o, " {%zu+}\r\n", own->head.len + rest.len);
	task->bytes = own->head.len + rest.len;
	return talk_send(&s->talk, out_written(&own->head)) && talk_send(&s->talk, rest) &&
		talk_send(&s->talk, SLICE("\r\n")) && imap_wait(&own->imap, "append");
}

static bool run_idle(struct load_sender *s, struct load_task *task)
{
	struct imap_sender *own = s->own;

	(void)task;
	imap_send(&own->imap, SLICE("IDLE"));
	if (!imap_wait_plus(&own->imap, "idle") || fiber_sleep(plan_of(s)->args->idle_ms) != OK)
		return false;
	return talk_send(&s->talk, SLICE("DONE\r\n")) && imap_wait(&own->imap, "idle");
}

static bool run_task(struct load_sender *s, struct load_task *task)
{
	const struct imap_plan *plan = plan_of(s);
	struct imap_sender *own = s->own;
	size_t part = mix_choose(&plan->mixed.mix, task->number);
	const struct imap_op *op = &ops[plan->mixed.mix.parts[part].row];

	s->part->report.verbs[part].name = op->name;
	if (op->needs > NOTHING && !bring_to(s, op->needs))
		return false;
	own->imap.cost = (struct talk_cost){ 0 };
	if (!(op->text ? run_text(s, op, task->number) : op->run(s, task)))
		return false;
	task->bytes += own->imap.cost.bytes;
	if (task->measured)
		mixed_count(s, part, task, &own->imap.cost);
	return true;
}

/* NO and BAD leave the connection as it was. */
static bool recover(struct load_sender *s)
{
	return s->talk.conn && s->talk.code >= 400 && s->talk.code != 421;
}

static void free_own(struct load_sender *s)
{
	struct imap_sender *own = s->own;

	out_heap_done(&own->head);
}

static const struct load_kind imap_kind = {
	.command = "imap",
	.summary = "read and change mailboxes",
	.own_bytes = sizeof(struct imap_sender),
	.open = open_session,
	.run = run_task,
	.recover = recover,
	.close = close_session,
	.done = free_own,
};

/* --- The command --- */

static bool set_up(struct load *load, void *arg)
{
	static const struct mix_names names = MIX_NAMES(ops);
	const struct imap_args *args = arg;
	struct imap_plan *plan = load->plan;
	const struct mix *mix = &plan->mixed.mix;

	if (!mixed_set_up(&plan->mixed, load, &args->load, &names, "LOGIN"))
		return false;
	for (size_t i = 0; i < mix->count; i++) {
		const struct imap_op *op = &ops[mix->parts[i].row];

		plan->needs = MAX(plan->needs, op->needs);
		if (op->text && slice_eq(slice_str(op->text), SLICE("%c")) && !args->command)
			return args_wrong("mix", args->mixed.mix, "--command for command");
	}
	return load_template(&args->content, &plan->template);
}

static int run(struct load *load, const void *arg)
{
	const struct imap_args *args = arg;
	const struct imap_plan *plan = load->plan;

	return mixed_run(&plan->mixed, load, &args->load, args->compress ? ", compressed" : "");
}

int bench_imap(char **argv)
{
	struct imap_args args = { .load = LOAD_ARGS_INIT,
		.content = CONTENT_ARGS_INIT,
		.mixed = { .mix = "fetch-one", .users = 1 },
		.mailbox = "INBOX",
		.set = "1:*",
		.key = "SUBJECT \"report\"",
		.idle_ms = 1000 };
	struct imap_plan plan = { .args = &args, .mixed.args = &args.mixed };
	struct load load = { .kind = &imap_kind, .plan = &plan };
	struct load_program program = { rows, &args, set_up, run };

	args.load.to.target = "127.0.0.1:143";
	args.load.mechanism = "LOGIN";
	int status = load_main(&program, &load, argv);

	template_free(plan.template);
	return status;
}
