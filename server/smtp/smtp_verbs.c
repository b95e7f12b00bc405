/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_verbs.c - the handlers of the short verbs.
 *
 * Syntax, order, login and TLS were settled by the table. A handler acts and answers; what it may do
 * is asked of smtp_policy.c. MAIL makes the transaction, whose memory goes with RSET, EHLO, the
 * next message or the connection. */
#include "server/smtp/smtp_int.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/fiber.h"
#include "core/log.h"
#include "core/worker.h"
#include "relay/queue.h"
#include "server/entry.h"
#include "store/mailbox.h"

enum { RCPTS_FIRST = 8 };

/* --- Greeting -------------------------------------------------------------------------------- */

static bool tls_offered(const struct smtp_session *s)
{
	return s->head.setup->tls && !s->head.tls && s->head.door->row->tls;
}

unsigned smtp_params_allowed(const struct smtp_session *s)
{
	unsigned allowed = SMTP_P_SIZE | SMTP_P_8BIT | SMTP_P_BINARY | SMTP_P_DSN | SMTP_P_SMTPUTF8;

	if (!s->esmtp)
		return 0;
	if (smtp_is_submission(s) || s->relay_from)
		allowed |= SMTP_P_MT_PRIORITY;
	if (smtp_is_submission(s) && s->head.setup->smtp->hold_max_ms)
		allowed |= SMTP_P_FUTURE;
	/* RFC 4954 5: who cannot log in may not vouch either, but the parameter is no error. */
	return allowed | SMTP_P_AUTH;
}

static uint32_t rcpts_max(const struct smtp_session *s)
{
	const struct smtp_options *o = s->head.setup->smtp;

	return (uint32_t)(smtp_is_submission(s) ? o->submission_rcpts_max : o->rcpts_max);
}

static void put_extensions(struct smtp_session *s, struct out *o)
{
	unsigned mechs = smtp_auth_mechs(s), allowed = smtp_params_allowed(s);
	msec hold = s->head.setup->smtp->hold_max_ms;

	out_printf(o,
		"250-PIPELINING\r\n250-SIZE %lld\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
		"250-CHUNKING\r\n250-BINARYMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n",
		(long long)s->head.setup->smtp->size_max);
	if (tls_offered(s))
		out_str(o, "250-STARTTLS\r\n");
	if (mechs && !s->account.len) {
		out_str(o, "250-AUTH");
		sasl_put_mechs(o, mechs);
		out_str(o, "\r\n");
	}
	if (allowed & SMTP_P_FUTURE) { /* RFC 4865 3 */
		out_printf(o, "250-FUTURERELEASE %lld ", (long long)(hold / 1000));
		text_put_timestamp(o, (worker_wall(s->head.door->w) + hold) / 1000 * 1000);
		out_str(o, "\r\n");
	}
	if (allowed & SMTP_P_MT_PRIORITY)
		out_str(o, "250-MT-PRIORITY\r\n");
	out_printf(o, "250-LIMITS RCPTMAX=%u\r\n250 HELP\r\n", rcpts_max(s));
}

/* The names of the connection are kept anew: a client that greets for ever takes no more memory. */
static void keep_helo(struct smtp_session *s, slice name)
{
	struct arena kept = { .chunk_bytes = s->arena.chunk_bytes };

	if (slice_eq(s->helo, name))
		return;
	s->helo = arena_dup(&kept, name);
	s->account = arena_dup(&kept, s->account);
	arena_done(&s->arena);
	s->arena = kept;
}

/* RFC 5321 4.1.4: a greeting in between resets like RSET. */
static void greeted(struct smtp_session *s, slice name, bool esmtp)
{
	smtp_mail_end(s);
	keep_helo(s, name);
	s->esmtp = esmtp;
	s->state = SMTP_GREETED;
	out_printf(conn_out(s->head.conn), "250%c%.*s greets %.*s\r\n", esmtp ? '-' : ' ',
		SLICE_ARG(s->head.setup->service->hostname), SLICE_ARG(name));
}

enum verdict smtp_do_hello(struct smtp_session *s, const union smtp_args *args)
{
	greeted(s, args->text, true);
	put_extensions(s, conn_out(s->head.conn));
	return DONE;
}

enum verdict smtp_do_helo(struct smtp_session *s, const union smtp_args *args)
{
	greeted(s, args->text, false);
	return DONE;
}

/* Forget everything the client said (EHLO after STARTTLS, RFC 3207 4.2). */
static void forget(struct smtp_session *s)
{
	smtp_mail_end(s);
	arena_done(&s->arena);
	s->helo = s->account = SLICE("");
	s->esmtp = false;
	s->state = SMTP_NEW;
}

/* RFC 3207 4.2. What stood behind the command in its segment was refused by the row (LAST), and
 * conn drops what comes before the handshake. */
enum verdict smtp_do_starttls(struct smtp_session *s, const union smtp_args *args)
{
	struct tls_session *tls;

	if (!tls_offered(s))
		return smtp_refuse(s, FAULT_NOT_IMPLEMENTED);
	tls = entry_tls(&s->head);
	if (!tls)
		return smtp_refuse(s, FAULT_TLS_UNAVAILABLE);
	smtp_reply(s, "220 2.0.0 Ready to start TLS\r\n");
	forget(s);
	s->head.tls = true;
	conn_start_tls(s->head.conn, tls);
	return DONE;
}

/* --- A transaction ---------------------------------------------------------------------------- */

static void free_mail(void *arg)
{
	struct smtp_transaction *mail = arg;

	if (mail->begun)
		intake_drop(&mail->intake);
	arena_done(&mail->arena);
	free(mail);
}

void smtp_mail_end(struct smtp_session *s)
{
	struct smtp_transaction *mail = s->mail;

	s->mail = NULL;
	if (s->state > SMTP_GREETED)
		s->state = SMTP_GREETED;
	if (!mail)
		return;
	mail->intake.resume = NULL;
	/* Chunks on their way to the disk still name this memory. Without a fiber to wait for them it
	 * is better lost than used twice. */
	if (!mail->begun || !intake_busy(&mail->intake) || fiber_self())
		free_mail(mail);
	else if (fiber_start(s->head.door->w, free_mail, mail))
		log_text(LOG_ERROR, "out of memory: an unfinished message was left behind");
}

static slice address_text(struct smtp_session *s, struct smtp_transaction *mail,
	const struct mail_addr *addr)
{
	slice text = mail_addr_text(&mail->arena, addr);

	if (addr->local.len && !addr->domain.len) /* <postmaster>: RFC 5321 4.1.1.3 */
		return smtp_policy_postmaster(s);
	if (addr->domain.len) {
		slice own = arena_dup(&mail->arena, text);
		ptrdiff_t at = slice_rfind(own, '@');

		text_lower_all((char *)own.ptr + at, own.len - (size_t)at);
		return own;
	}
	return text;
}

static void fill_envelope(struct smtp_session *s, struct smtp_transaction *mail,
	const struct smtp_mail *args)
{
	static const uint8_t rets[] = { [SMTP_RET_UNSET] = ENVELOPE_RET_NONE,
		[SMTP_RET_FULL] = ENVELOPE_RET_FULL,
		[SMTP_RET_HDRS] = ENVELOPE_RET_HDRS };
	static const uint8_t bodies[] = { [SMTP_BODY_7BIT] = ENVELOPE_7BIT,
		[SMTP_BODY_8BITMIME] = ENVELOPE_8BITMIME,
		[SMTP_BODY_BINARYMIME] = ENVELOPE_BINARYMIME };
	struct envelope *env = &mail->env;

	env->envid = arena_dup(&mail->arena, args->envid);
	env->account = s->account;
	env->body = bodies[args->body];
	env->ret = rets[args->ret];
	env->origin = smtp_is_submission(s) ? ENVELOPE_SUBMISSION : ENVELOPE_RELAYED;
	env->lane = args->mt_priority > 0 ? ENVELOPE_TRANSACTIONAL : ENVELOPE_BULK;
	env->has_priority = args->given & SMTP_P_MT_PRIORITY;
	env->priority = (int8_t)args->mt_priority;
	env->smtputf8 = args->given & SMTP_P_SMTPUTF8;
	env->tls = s->head.tls;
	if (args->given & SMTP_P_HOLDFOR)
		env->hold_until = worker_wall(s->head.door->w) + (wall_ms)args->hold_for_s * 1000;
	else if (args->given & SMTP_P_HOLDUNTIL)
		env->hold_until = args->hold_until;
}

enum verdict smtp_do_mail(struct smtp_session *s, const union smtp_args *args)
{
	struct smtp_transaction *mail = calloc(1, sizeof(*mail));
	enum fault fault;

	if (!mail)
		return smtp_refuse(s, FAULT_STORE);
	mail->session = s;
	mail->env.sender = address_text(s, mail, &args->mail.from);
	s->mail = mail;
	fault = smtp_policy_mail(s, &args->mail, mail->env.sender);
	if (fault) {
		smtp_log_refused(s, fault, mail->env.sender);
		smtp_mail_end(s);
		return smtp_refuse(s, fault);
	}
	fill_envelope(s, mail, &args->mail);
	s->state = SMTP_MAIL;
	return smtp_reply(s, "250 2.1.0 Sender OK\r\n");
}

/* The next free row of the recipients; the array doubles inside the transaction's arena. */
static struct envelope_rcpt *add_rcpt(struct smtp_transaction *mail)
{
	struct envelope *env = &mail->env;

	if (env->rcpt_count == mail->rcpts_cap) {
		size_t cap = mail->rcpts_cap ? mail->rcpts_cap * 2 : RCPTS_FIRST;
		struct envelope_rcpt *rows = arena_array(&mail->arena, struct envelope_rcpt, cap);

		if (env->rcpt_count)
			memcpy(rows, env->rcpts, env->rcpt_count * sizeof(*rows));
		env->rcpts = rows;
		mail->rcpts_cap = cap;
	}
	return &env->rcpts[env->rcpt_count++];
}

static enum verdict answer_rcpt(struct smtp_session *s, enum fault fault)
{
	struct smtp_transaction *mail = s->mail;
	struct envelope_rcpt *row;

	if (fault) {
		mail->rcpts_refused++;
		smtp_log_refused(s, fault, mail->rcpt.address);
		return smtp_refuse(s, fault);
	}
	row = add_rcpt(mail);
	*row = mail->rcpt;
	row->index = mail->env.rcpt_count - 1;
	s->state = SMTP_RCPT;
	return smtp_reply(s, "250 2.1.5 Recipient OK\r\n");
}

/* On a fiber: nobody is full before all that was freed can be seen. */
static void ask_again(struct conn *c)
{
	struct smtp_session *s = conn_owner(c);
	enum err err = store_sync_everything(s->head.door->store);
	enum fault fault = err ? fault_of_err(err) : smtp_policy_rcpt(s, s->mail->rcpt.address);

	if (answer_rcpt(s, fault) == CLOSE)
		smtp_close(s);
}

enum verdict smtp_do_rcpt(struct smtp_session *s, const union smtp_args *args)
{
	const struct smtp_rcpt *rcpt = &args->rcpt;
	struct smtp_transaction *mail = s->mail;
	enum fault fault = FAULT_TOO_MANY_RCPTS;

	if (mail->env.rcpt_count >= rcpts_max(s))
		return smtp_refuse(s, fault);
	mail->rcpt = (struct envelope_rcpt){ .address = address_text(s, mail, &rcpt->to),
		.notify = (uint8_t)rcpt->notify };
	if (rcpt->given & SMTP_P_ORCPT)
		mail->rcpt.orcpt = arena_printf(&mail->arena, "%.*s;%.*s",
			SLICE_ARG(rcpt->orcpt_type), SLICE_ARG(rcpt->orcpt));
	fault = rcpt->to.utf8 && !mail->env.smtputf8 ? FAULT_UTF8_NEEDED :
						       smtp_policy_rcpt(s, mail->rcpt.address);
	if (fault != FAULT_MAILBOX_FULL && fault != FAULT_QUOTA)
		return answer_rcpt(s, fault);
	(void)conn_run(s->head.conn, ask_again);
	return DONE;
}

/* --- The rest ----------------------------------------------------------------------------------- */

enum verdict smtp_do_rset(struct smtp_session *s, const union smtp_args *args)
{
	smtp_mail_end(s);
	return smtp_reply(s, "250 2.0.0 OK\r\n");
}

enum verdict smtp_do_noop(struct smtp_session *s, const union smtp_args *args)
{
	return smtp_reply(s, "250 2.0.0 OK\r\n");
}

/* RFC 5321 3.5.3: an honest "I do not tell". */
enum verdict smtp_do_vrfy(struct smtp_session *s, const union smtp_args *args)
{
	return smtp_reply(s, "252 2.0.0 Send some mail, I will try my best\r\n");
}

enum verdict smtp_do_expn(struct smtp_session *s, const union smtp_args *args)
{
	return smtp_refuse(s, FAULT_NOT_IMPLEMENTED);
}

/* Would it be more than refused if it came next? */
static bool is_open(const struct smtp_session *s, const struct smtp_verb *verb)
{
	if (!smtp_verb_find(s, slice_str(verb->name)) || smtp_verb_fault(s, verb, false))
		return false;
	if (verb->run == smtp_do_starttls)
		return tls_offered(s);
	if (verb->run == smtp_do_auth)
		return smtp_auth_mechs(s) && !s->account.len;
	return verb->run != smtp_do_expn;
}

/* RFC 5321 4.1.1.8. */
enum verdict smtp_do_help(struct smtp_session *s, const union smtp_args *args)
{
	struct out *o = conn_out(s->head.conn);

	out_str(o, "214-2.0.0 Commands now:");
	for (size_t i = 0; i < smtp_verb_count; i++)
		if (is_open(s, &smtp_verbs[i]))
			out_printf(o, " %s", smtp_verbs[i].name);
	return smtp_reply(s, "\r\n214 2.0.0 End of help\r\n");
}

enum verdict smtp_do_quit(struct smtp_session *s, const union smtp_args *args)
{
	smtp_mail_end(s);
	smtp_reply(s, "221 2.0.0 Bye\r\n");
	return CLOSE;
}
