/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_session.c - the table of verbs, and the machine that reads it.
 *
 * Bytes come by callback; a line is looked up, checked against its row and handed to its handler.
 * Commands that need the store are gathered while more of them stand in the input, and answered
 * together on a fiber: a client that pipelines a thousand RETRs costs a few trips to the helper
 * threads, not a thousand. Order is kept: any other command waits for what was gathered. */
#include "server/pop3/pop3_int.h"

#include "core/base/text.h"
#include "server/entry.h"

enum { AUTH = 1 << POP3_AUTHORIZATION, TRANS = 1 << POP3_TRANSACTION };
enum { STORE_BARE = POP3_V_STORE | POP3_V_BARE, LAST_BARE = POP3_V_LAST | POP3_V_BARE };
enum { EARLY_MAX = 100 };

/* clang-format off */
const struct pop3_verb pop3_verbs[] = {
/*        name    states        flags         handler */
	{ "RETR", TRANS,        POP3_V_STORE, pop3_do_retr },
	{ "DELE", TRANS,        POP3_V_STORE, pop3_do_dele },
	{ "TOP",  TRANS,        POP3_V_STORE, pop3_do_top },
	{ "LIST", TRANS,        POP3_V_STORE, pop3_do_list },
	{ "UIDL", TRANS,        POP3_V_STORE, pop3_do_uidl },
	{ "STAT", TRANS,        STORE_BARE,   pop3_do_stat },
	{ "NOOP", TRANS,        STORE_BARE,   pop3_do_noop },
	{ "RSET", TRANS,        STORE_BARE,   pop3_do_rset },
	{ "USER", AUTH,         0,            pop3_do_user },
	{ "PASS", AUTH,         0,            pop3_do_pass },
	{ "AUTH", AUTH,         0,            pop3_do_auth },
	{ "APOP", AUTH,         0,            pop3_do_apop },
	{ "STLS", AUTH,         LAST_BARE,    pop3_do_stls },
	{ "UTF8", AUTH,         POP3_V_BARE,  pop3_do_utf8 },
	{ "CAPA", AUTH | TRANS, POP3_V_BARE,  pop3_do_capa },
	{ "LANG", AUTH | TRANS, 0,            pop3_do_lang },
	{ "QUIT", AUTH | TRANS, POP3_V_BARE,  pop3_do_quit },
};
/* clang-format on */
const size_t pop3_verb_count = array_len(pop3_verbs);

const struct pop3_verb *pop3_verb_find(slice name)
{
	for (size_t i = 0; i < pop3_verb_count; i++)
		if (slice_eq_nocase(name, slice_str(pop3_verbs[i].name)))
			return &pop3_verbs[i];
	return NULL;
}

/* --- Replies ---------------------------------------------------------------------------------- */

enum verdict pop3_ok(struct pop3_session *s, const char *text)
{
	out_printf(conn_out(s->head.conn), "+OK%s%s\r\n", *text ? " " : "", text);
	return DONE;
}

static enum verdict count_error(struct pop3_session *s)
{
	if (++s->errors < s->head.setup->pop3->errors_max)
		return DONE;
	pop3_say_goodbye(s, FAULT_TOO_MANY_ERRORS);
	return CLOSE;
}

enum verdict pop3_error(struct pop3_session *s, const char *text)
{
	out_printf(conn_out(s->head.conn), "-ERR %s\r\n", text);
	return count_error(s);
}

static void put_fault(struct pop3_session *s, enum fault fault)
{
	out_printf(conn_out(s->head.conn), "-ERR %s%s\r\n", fault_pop3_code(fault),
		fault_smtp(fault)->text);
}

enum verdict pop3_refuse(struct pop3_session *s, enum fault fault)
{
	put_fault(s, fault);
	return count_error(s);
}

void pop3_say_goodbye(struct pop3_session *s, enum fault fault)
{
	if (entry_may_speak(&s->head))
		put_fault(s, fault);
	pop3_log_refused(s, fault, SLICE(""));
	pop3_close(s);
}

/* --- One command -------------------------------------------------------------------------------- */

static enum verdict run_verb(struct pop3_session *s, const struct pop3_verb *verb, slice rest,
	bool more_input)
{
	/* Who has not logged in has nothing to ask for long. */
	if (s->state == POP3_AUTHORIZATION && ++s->early > EARLY_MAX) {
		pop3_say_goodbye(s, FAULT_NO_LOGIN);
		return CLOSE;
	}
	if (!verb)
		return pop3_refuse(s, FAULT_UNKNOWN_VERB);
	if (!(verb->states & 1 << s->state))
		return pop3_error(s,
			s->state == POP3_AUTHORIZATION ? "Log in first" : "Logged in already");
	if ((verb->flags & POP3_V_LAST) && more_input)
		return pop3_refuse(s, FAULT_PIPELINED);
	/* RFC 1939 3: what is wrong in its syntax gets -ERR, and is not done. */
	if ((verb->flags & POP3_V_BARE) && !pop3_no_args(rest))
		return verb->flags & POP3_V_STORE ? pop3_bad_args(s) :
						    pop3_refuse(s, FAULT_BAD_ARGS);
	return verb->run(s, rest);
}

/* What was gathered must be answered before a line with this verb. */
static bool must_wait(const struct pop3_session *s, const struct pop3_verb *verb)
{
	if (!s->work)
		return false;
	return !verb || !(verb->flags & POP3_V_STORE) || pop3_work_full(s);
}

static enum verdict run_line(struct pop3_session *s, slice line, bool more_input, bool *later)
{
	slice name, rest;

	pop3_split(line, &name, &rest);
	const struct pop3_verb *verb = pop3_verb_find(name);
	*later = must_wait(s, verb);
	return *later ? DONE : run_verb(s, verb, rest, more_input);
}

static enum verdict refuse_line(struct pop3_session *s, enum step step, bool *later)
{
	*later = s->work != NULL;
	if (*later)
		return DONE;
	return pop3_refuse(s, step == STEP_BAD ? FAULT_BARE_NEWLINE_VERB : FAULT_LINE_TOO_LONG);
}

void pop3_arm(struct pop3_session *s)
{
	const struct pop3_options *o = s->head.setup->pop3;

	if (s->input != POP3_IN_NOTHING)
		conn_deadline(s->head.conn,
			s->state == POP3_TRANSACTION ? o->idle_ms : o->login_ms);
}

/* Returns what was used; *stop: nothing more can be done with this input now. A whole line must come in
 * time: single bytes do not move the deadline. */
static size_t take_line(struct pop3_session *s, slice in, bool *stop)
{
	struct smtp_lines before = s->lines;
	bool later = false;
	size_t used = 0;
	enum verdict verdict;
	slice line;
	enum step step =
		smtp_line_cut(&s->lines, in, (size_t)s->head.setup->pop3->line_max, &used, &line);

	if (step == STEP_MORE) {
		*stop = true;
		return used;
	}
	pop3_arm(s);
	if (step == STEP_DONE)
		verdict = run_line(s, line, in.len > used, &later);
	else
		verdict = refuse_line(s, step, &later);
	if (later) {
		s->lines = before;
		*stop = !pop3_work_run(s);
		return 0;
	}
	if (verdict == CLOSE)
		pop3_close(s);
	return used;
}

void pop3_go_on(struct pop3_session *s)
{
	if (s->head.door->stopping && s->input != POP3_IN_NOTHING)
		pop3_say_goodbye(s, FAULT_SHUTDOWN);
	pop3_arm(s);
}

size_t pop3_on_data(struct conn *c, slice in)
{
	struct pop3_session *s = conn_owner(c);
	size_t used = 0;
	bool stop = false;

	while (used < in.len && !stop) {
		slice rest = slice_skip(in, used);

		switch ((enum pop3_input)s->input) {
		case POP3_IN_LINE:
			used += take_line(s, rest, &stop);
			break;
		case POP3_IN_AUTH:
			used += pop3_take_auth(s, rest, &stop);
			break;
		case POP3_IN_NOTHING:
			return in.len;
		}
		stop = stop || conn_congested(c) || conn_fiber(c);
	}
	/* The input is used up, or what is left is no whole line. */
	if (s->work && !conn_fiber(c))
		(void)pop3_work_run(s);
	return used;
}
