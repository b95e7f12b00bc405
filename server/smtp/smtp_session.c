/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_session.c - the table of verbs, and the machine that reads it.
 *
 * Bytes come by callback; a whole line is split, looked up, checked against its row (service, state,
 * login, pipelining), parsed and handed to its handler. Every refusal is worded by errmap and counted
 * here. A handler runs at once, on the loop: what has to wait (a password, the end of a message, a
 * handshake) starts a fiber itself, and `stop` tells the loop over the input to come back later. */
#include "server/smtp/smtp_int.h"

#include "core/base/text.h"
#include "core/worker.h"
#include "proto/smtp/limits.h"
#include "proto/smtp/reply.h"
#include "server/entry.h"

static enum smtp_syntax parse_none(struct smtp_session *s, slice rest, union smtp_args *out);
static enum smtp_syntax parse_any(struct smtp_session *s, slice rest, union smtp_args *out);
static enum smtp_syntax parse_text(struct smtp_session *s, slice rest, union smtp_args *out);
static enum smtp_syntax parse_hello(struct smtp_session *s, slice rest, union smtp_args *out);
static enum smtp_syntax parse_mail(struct smtp_session *s, slice rest, union smtp_args *out);
static enum smtp_syntax parse_rcpt(struct smtp_session *s, slice rest, union smtp_args *out);
static enum smtp_syntax parse_bdat(struct smtp_session *s, slice rest, union smtp_args *out);
static enum smtp_syntax parse_auth(struct smtp_session *s, slice rest, union smtp_args *out);

enum {
	NEW = 1 << SMTP_NEW,
	GREETED = 1 << SMTP_GREETED,
	IN_MAIL = 1 << SMTP_MAIL,
	IN_RCPT = 1 << SMTP_RCPT,
	IN_BDAT = 1 << SMTP_BDAT,
	ANY = NEW | GREETED | IN_MAIL | IN_RCPT | IN_BDAT,
	LAST = SMTP_V_LAST,
	LOGIN = SMTP_V_LOGIN,
	JUNK = SMTP_V_JUNK,
};

/* clang-format off */
const struct smtp_verb smtp_verbs[] = {
/*        name        parse        states               flags                          handler */
	{ "MAIL",     parse_mail,  GREETED,             LOGIN,                         smtp_do_mail },
	{ "RCPT",     parse_rcpt,  IN_MAIL | IN_RCPT,   LOGIN,                         smtp_do_rcpt },
	{ "DATA",     parse_none,  IN_RCPT,             LOGIN | LAST | SMTP_V_CLOSE,   smtp_do_data },
	{ "BDAT",     parse_bdat,  IN_RCPT | IN_BDAT,   LOGIN | SMTP_V_CHUNK,          smtp_do_bdat },
	{ "EHLO",     parse_hello, ANY,                 LAST | JUNK | SMTP_V_NOT_LMTP, smtp_do_hello },
	{ "HELO",     parse_hello, ANY,                 LAST | JUNK | SMTP_V_NOT_LMTP, smtp_do_helo },
	{ "LHLO",     parse_hello, ANY,                 LAST | JUNK | SMTP_V_LMTP,     smtp_do_hello },
	{ "RSET",     parse_none,  ANY,                 JUNK,                          smtp_do_rset },
	{ "NOOP",     parse_any,   ANY,                 JUNK,                          smtp_do_noop },
	{ "QUIT",     parse_none,  ANY,                 0,                             smtp_do_quit },
	{ "STARTTLS", parse_none,  GREETED,             LAST | SMTP_V_PLAIN_ONLY,      smtp_do_starttls },
	{ "AUTH",     parse_auth,  GREETED,             LAST,                          smtp_do_auth },
	{ "VRFY",     parse_text,  ANY,                 JUNK,                          smtp_do_vrfy },
	{ "EXPN",     parse_text,  ANY,                 JUNK,                          smtp_do_expn },
	{ "HELP",     parse_any,   ANY,                 JUNK,                          smtp_do_help },
};
/* clang-format on */
const size_t smtp_verb_count = array_len(smtp_verbs);

const struct smtp_verb *smtp_verb_find(const struct smtp_session *s, slice name)
{
	unsigned hidden = smtp_is_lmtp(s) ? SMTP_V_NOT_LMTP : SMTP_V_LMTP;

	for (size_t i = 0; i < smtp_verb_count; i++)
		if (slice_eq_nocase(name, slice_str(smtp_verbs[i].name)))
			return smtp_verbs[i].flags & hidden ? NULL : &smtp_verbs[i];
	return NULL;
}

/* What is missing, or in the way, for a verb that does not fit the state. */
static enum fault wrong_state(const struct smtp_session *s, const struct smtp_verb *verb)
{
	switch ((enum smtp_state)s->state) {
	case SMTP_NEW:
		return FAULT_GREET_FIRST;
	case SMTP_GREETED:
		return FAULT_MAIL_FIRST;
	case SMTP_BDAT:
		return FAULT_BDAT_OPEN;
	default:
		if (verb->states & IN_RCPT) /* RFC 2033 4.2: in LMTP it is 503 always */
			return s->mail->rcpts_refused && !smtp_is_lmtp(s) ? FAULT_NO_VALID_RCPT :
									    FAULT_RCPT_FIRST;
		return verb->run == smtp_do_mail ? FAULT_MAIL_NESTED : FAULT_IN_MAIL;
	}
}

enum fault smtp_verb_fault(const struct smtp_session *s, const struct smtp_verb *verb,
	bool more_input)
{
	if (!(verb->states & 1 << s->state))
		return wrong_state(s, verb);
	if ((verb->flags & SMTP_V_PLAIN_ONLY) && s->head.tls)
		return FAULT_TLS_ACTIVE;
	if ((verb->flags & SMTP_V_LOGIN) && smtp_is_submission(s) && !s->account.len)
		return smtp_auth_mechs(s) || s->head.tls ? FAULT_NEED_AUTH : FAULT_NEED_TLS;
	if ((verb->flags & SMTP_V_LAST) && more_input)
		return FAULT_PIPELINED;
	return FAULT_NONE;
}

/* --- Replies -------------------------------------------------------------------------------- */

enum verdict smtp_reply(struct smtp_session *s, const char *lines)
{
	out_str(conn_out(s->head.conn), lines);
	return DONE;
}

static void put_fault(struct smtp_session *s, enum fault fault)
{
	const struct smtp_words *words = fault_smtp(fault);

	/* RFC 2034 4: only who said EHLO expects an enhanced code, and nobody minds it. */
	out_printf(conn_out(s->head.conn), "%u %s %s\r\n", words->code, words->enhanced,
		words->text);
}

void smtp_say_goodbye(struct smtp_session *s, enum fault fault)
{
	if (entry_may_speak(&s->head))
		put_fault(s, fault);
	smtp_log_refused(s, fault, SLICE(""));
	smtp_close(s);
}

enum verdict smtp_refuse(struct smtp_session *s, enum fault fault)
{
	put_fault(s, fault);
	s->errors++;
	/* A list with many dead addresses is no attack by somebody we know. */
	if (s->errors >= s->head.setup->smtp->errors_max &&
		!(s->account.len && s->state >= SMTP_MAIL)) {
		smtp_say_goodbye(s, FAULT_TOO_MANY_ERRORS);
		return CLOSE;
	}
	return fault_smtp(fault)->code == 421 ? CLOSE : DONE;
}

/* --- One command ------------------------------------------------------------------------------ */

static enum fault fault_of_syntax(const struct smtp_verb *verb, enum smtp_syntax syntax)
{
	switch (syntax) {
	case SMTP_SYNTAX_OK:
		return FAULT_NONE;
	case SMTP_SYNTAX_ADDRESS:
		return verb->run == smtp_do_mail ? FAULT_BAD_SENDER : FAULT_BAD_RCPT;
	case SMTP_SYNTAX_UNKNOWN:
		return FAULT_BAD_PARAM;
	default:
		return FAULT_BAD_ARGS;
	}
}

static enum verdict refuse_verb(struct smtp_session *s, const struct smtp_verb *verb, slice rest,
	enum fault fault)
{
	union smtp_args args;

	smtp_log_refused(s, fault, slice_str(verb->name));
	if ((verb->flags & SMTP_V_CHUNK) && verb->parse(s, rest, &args) == SMTP_SYNTAX_OK) {
		smtp_swallow_chunk(s, &args.bdat, fault);
		return DONE;
	}
	if (fault == FAULT_PIPELINED && (verb->flags & SMTP_V_CLOSE)) {
		(void)smtp_refuse(s, fault);
		return CLOSE;
	}
	return smtp_refuse(s, fault);
}

static enum verdict run_line(struct smtp_session *s, slice line, bool more_input)
{
	const struct smtp_verb *verb;
	union smtp_args args;
	slice name, rest;
	enum fault fault;

	smtp_split(line, &name, &rest);
	verb = smtp_verb_find(s, name);
	if (!verb)
		return smtp_refuse(s, FAULT_UNKNOWN_VERB);
	if ((verb->flags & SMTP_V_JUNK) && ++s->junk > s->head.setup->smtp->junk_max) {
		smtp_say_goodbye(s, FAULT_TOO_MANY_COMMANDS);
		return CLOSE;
	}
	fault = smtp_verb_fault(s, verb, more_input);
	if (!fault)
		fault = fault_of_syntax(verb, verb->parse(s, rest, &args));
	if (fault)
		return refuse_verb(s, verb, rest, fault);
	return verb->run(s, &args);
}

/* Returns what was used; *stop: nothing more can be done with this input now. */
static size_t take_line(struct smtp_session *s, slice in, bool *stop)
{
	size_t used = 0;
	slice line;
	enum verdict verdict = DONE;
	struct arena_mark mark;

	switch (smtp_line_cut(&s->lines, in, (size_t)s->head.setup->smtp->line_max, &used, &line)) {
	case STEP_MORE:
		*stop = true;
		return used;
	case STEP_DONE:
		mark = arena_mark(&s->head.door->scratch);
		verdict = run_line(s, line, in.len > used);
		arena_rollback(&s->head.door->scratch, mark);
		break;
	case STEP_BAD:
		verdict = smtp_refuse(s, FAULT_BARE_NEWLINE_VERB);
		break;
	default:
		verdict = smtp_refuse(s, FAULT_LINE_TOO_LONG);
	}
	if (verdict == CLOSE)
		smtp_close(s);
	smtp_set_deadline(s);
	return used;
}

void smtp_set_deadline(struct smtp_session *s)
{
	const struct smtp_options *o = s->head.setup->smtp;
	bool bytes = s->input == SMTP_IN_DATA || s->input == SMTP_IN_CHUNK;
	msec ms = o->idle_ms, left;

	if (s->input == SMTP_IN_NOTHING || conn_fiber(s->head.conn))
		return;
	if (bytes)
		ms = o->data_ms;
	/* A message has one deadline, however many chunks it comes in. What is swallowed belongs to
	 * none, or to one that never began. */
	if (bytes || s->state == SMTP_BDAT) {
		left = s->mail && s->mail->begun ? s->mail->deadline : s->chunk_deadline;
		left -= worker_now(s->head.door->w);
		ms = MAX(MIN(ms, left), 1);
	}
	conn_deadline(s->head.conn, ms);
}

size_t smtp_on_data(struct conn *c, slice in)
{
	struct smtp_session *s = conn_owner(c);
	size_t used = 0;
	bool stop = false;

	while (used < in.len && !stop) {
		slice rest = slice_skip(in, used);

		switch ((enum smtp_input)s->input) {
		case SMTP_IN_SILENCE:
			smtp_say_goodbye(s, FAULT_TALKS_TOO_SOON);
			break;
		case SMTP_IN_LINE:
			used += take_line(s, rest, &stop);
			break;
		case SMTP_IN_AUTH:
			used += smtp_take_auth(s, rest, &stop);
			break;
		case SMTP_IN_DATA:
			used += smtp_take_data(s, rest, &stop);
			break;
		case SMTP_IN_CHUNK:
			used += smtp_take_chunk(s, rest, &stop);
			break;
		case SMTP_IN_NOTHING:
			return in.len;
		}
		stop = stop || conn_congested(c) || conn_fiber(c);
	}
	return used;
}

/* --- Arguments --------------------------------------------------------------------------------- */

static enum smtp_syntax parse_none(struct smtp_session *s, slice rest, union smtp_args *out)
{
	return smtp_parse_none(rest);
}

static enum smtp_syntax parse_any(struct smtp_session *s, slice rest, union smtp_args *out)
{
	out->text = rest;
	return SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_text(struct smtp_session *s, slice rest, union smtp_args *out)
{
	return smtp_parse_string(rest, &out->text);
}

static enum smtp_syntax parse_hello(struct smtp_session *s, slice rest, union smtp_args *out)
{
	return smtp_parse_hello(rest, &out->text);
}

static enum smtp_syntax parse_mail(struct smtp_session *s, slice rest, union smtp_args *out)
{
	return smtp_parse_mail(&s->head.door->scratch, rest, smtp_params_allowed(s), &out->mail);
}

static enum smtp_syntax parse_rcpt(struct smtp_session *s, slice rest, union smtp_args *out)
{
	return smtp_parse_rcpt(&s->head.door->scratch, rest, smtp_params_allowed(s), &out->rcpt);
}

static enum smtp_syntax parse_bdat(struct smtp_session *s, slice rest, union smtp_args *out)
{
	return smtp_parse_bdat(rest, &out->bdat);
}

static enum smtp_syntax parse_auth(struct smtp_session *s, slice rest, union smtp_args *out)
{
	return smtp_parse_auth(rest, &out->auth);
}
