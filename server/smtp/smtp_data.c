/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_data.c - the bytes of a message: DATA, BDAT, and what is answered at their end.
 *
 * Bytes go from the receive callback through the decoder into the intake, without a fiber and
 * without a copy of the whole. Only the end needs one: it waits for the disk. A message that is
 * refused midway is read to its true end all the same, because what follows must never be taken for
 * commands (RFC 5321 4.1.1.4). */
#include "server/smtp/smtp_int.h"

#include "core/tls.h"
#include "core/worker.h"
#include "relay/queue.h"

/* RFC 3848, RFC 6531 4.3, RFC 2033. */
static const char *with_protocol(const struct smtp_session *s)
{
	static const char *const names[2][2][4] = {
		{ { "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA" },
			{ "LMTP", "LMTPS", "LMTPA", "LMTPSA" } },
		{ { "UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA" },
			{ "UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA" } },
	};

	if (!s->esmtp)
		return "SMTP";
	return names[s->mail->env.smtputf8][smtp_is_lmtp(s)]
		    [(s->account.len ? 2 : 0) + s->head.tls];
}

static void resume_reading(struct intake *in)
{
	struct smtp_transaction *mail = container_of(in, struct smtp_transaction, intake);

	conn_resume(mail->session->head.conn);
}

static void log_received(struct intake *in)
{
	smtp_log_message(container_of(in, struct smtp_transaction, intake)->session, FAULT_NONE);
}

static void begin_message(struct smtp_session *s, unsigned options)
{
	const struct smtp_options *o = s->head.setup->smtp;
	struct smtp_transaction *mail = s->mail;
	struct intake *in = &mail->intake;
	struct tls_info info;

	if (o->bare_newline == SMTP_NEWLINE_FIX)
		options |= SMTP_BODY_FIX;
	if (o->long_lines == SMTP_LINE_WRAP)
		options |= SMTP_BODY_WRAP;
	if (mail->env.body == ENVELOPE_BINARYMIME)
		options = SMTP_BODY_OPAQUE;
	smtp_body_init(&mail->body, options);
	*in = (struct intake){ .door = s->head.door,
		.env = &mail->env,
		.arena = &mail->arena,
		.resume = resume_reading,
		.accepted = log_received };
	in->trace = (struct intake_trace){ .helo = s->helo, .with = with_protocol(s) };
	if (!smtp_is_submission(s) || o->trace_client)
		in->trace.peer = conn_peer(s->head.conn);
	if (conn_is_tls(s->head.conn)) {
		tls_info(conn_tls(s->head.conn), &info);
		in->trace.tls_version = info.version;
		in->trace.tls_cipher = info.cipher;
	}
	if (smtp_is_lmtp(s))
		in->rcpt_faults = arena_array(&mail->arena, enum fault, mail->env.rcpt_count);
	intake_begin(in);
	mail->begun = true;
	mail->deadline = worker_now(s->head.door->w) + o->message_ms;
}

enum verdict smtp_do_data(struct smtp_session *s, const union smtp_args *args)
{
	if (s->mail->env.body == ENVELOPE_BINARYMIME) /* RFC 3030 3 */
		return smtp_refuse(s, FAULT_BINARY_NEEDS_BDAT);
	begin_message(s, SMTP_BODY_DOTS);
	s->input = SMTP_IN_DATA;
	return smtp_reply(s, "354 End data with <CR><LF>.<CR><LF>\r\n");
}

/* --- Bytes ------------------------------------------------------------------------------------- */

/* What was seen that this listener does not take. The flags say it even when it was put right. */
static enum fault content_fault(const struct smtp_session *s)
{
	const struct smtp_options *o = s->head.setup->smtp;
	const struct smtp_body *body = &s->mail->body;

	if (body->size_bytes > (uint64_t)o->size_max)
		return FAULT_TOO_LARGE;
	if (body->flags & (SMTP_SAW_BARE_CR | SMTP_SAW_BARE_LF) &&
		o->bare_newline == SMTP_NEWLINE_REJECT)
		return FAULT_BARE_NEWLINE;
	if (body->flags & SMTP_SAW_NUL)
		return FAULT_NUL_BYTE;
	if (body->flags & SMTP_SAW_LONG_LINE && o->long_lines == SMTP_LINE_REJECT)
		return FAULT_BODY_LINE;
	return FAULT_NONE;
}

/* What the message is refused for. The content comes first, so that the answer does not depend on
 * how the bytes were cut on their way. */
static enum fault message_fault(const struct smtp_session *s)
{
	enum fault fault = content_fault(s);

	return fault ? fault : s->mail->intake.fault;
}

/* Stop storing what will be refused. */
static void judge(struct smtp_session *s)
{
	struct smtp_transaction *mail = s->mail;
	enum fault fault = content_fault(s);

	if (fault)
		intake_fail(&mail->intake, fault);
	if (mail->body.flags & SMTP_SAW_8BIT && mail->intake.header_done && !mail->env.header_8bit)
		mail->env.has_8bit = true;
}

/* Run the decoder over the bytes. True: the store asks for a pause. */
static bool decode(struct smtp_session *s, slice *in, enum step *step)
{
	struct smtp_transaction *mail = s->mail;
	bool pause = false;
	slice piece;

	*step = STEP_MORE;
	while (in->len && *step == STEP_MORE && !pause) {
		*step = smtp_body_take(&mail->body, in, &piece);
		pause = intake_add(&mail->intake, piece);
	}
	judge(s);
	return pause;
}

/* --- The end ------------------------------------------------------------------------------------ */

static void answer_message(struct smtp_session *s, enum fault fault)
{
	struct out *o = conn_out(s->head.conn);
	/* RFC 2033 4.2: a reply for each recipient, in the order of RCPT. */
	uint32_t replies = smtp_is_lmtp(s) ? s->mail->env.rcpt_count : 1;

	for (uint32_t i = 0; i < replies; i++) {
		enum fault one = fault  ? fault :
			smtp_is_lmtp(s) ? s->mail->intake.rcpt_faults[i] :
					  0;

		if (one) {
			const struct smtp_words *words = fault_smtp(one);

			out_printf(o, "%u %s %s\r\n", words->code, words->enhanced, words->text);
		} else {
			out_str(o, "250 2.0.0 OK id=");
			queue_id_put(o, s->mail->env.id);
			out_str(o, "\r\n");
		}
	}
}

/* On a fiber: returns when the message is durable, or refused. */
static void finish(struct conn *c)
{
	struct smtp_session *s = conn_owner(c);
	struct smtp_transaction *mail = s->mail;
	enum fault fault;

	judge(s);
	fault = intake_finish(&mail->intake);
	if (fault)
		fault = message_fault(s) ? message_fault(s) : fault;
	answer_message(s, fault);
	if (!fault) {
		s->messages++;
		s->errors = s->junk = 0;
	} else {
		smtp_log_message(s, fault);
		s->errors++;
	}
	mail->begun = false;
	smtp_mail_end(s);
	s->input = SMTP_IN_LINE;
	smtp_set_deadline(s);
	if (fault == FAULT_SHUTDOWN)
		smtp_close(s);
	else if (s->head.door->stopping)
		smtp_say_goodbye(s, FAULT_SHUTDOWN);
}

static void start_finish(struct smtp_session *s, bool *stop)
{
	conn_deadline(s->head.conn, s->head.setup->smtp->dot_ms);
	if (!conn_run(s->head.conn, finish))
		*stop = true;
}

size_t smtp_take_data(struct smtp_session *s, slice in, bool *stop)
{
	size_t had = in.len;
	enum step step;
	bool pause = decode(s, &in, &step);

	if (step == STEP_DONE) {
		start_finish(s, stop);
		return had - in.len;
	}
	if (pause) {
		conn_pause(s->head.conn);
		*stop = true;
	}
	smtp_set_deadline(s);
	return had - in.len;
}

/* --- BDAT (RFC 3030) ------------------------------------------------------------------------------ */

/* The chunk is complete: answer it, or the message with it. */
static void end_chunk(struct smtp_session *s, bool *stop)
{
	struct smtp_transaction *mail = s->mail;
	enum fault fault = (enum fault)s->chunk_fault;

	s->input = SMTP_IN_LINE;
	s->chunk_fault = FAULT_NONE;
	if (!fault && s->chunk_last) {
		bool pause = intake_add(&mail->intake, smtp_body_end(&mail->body));

		(void)pause; /* nothing more comes */
		start_finish(s, stop);
		return;
	}
	/* Too large is told at once, all else at the true end of the message. */
	if (!fault && message_fault(s) == FAULT_TOO_LARGE)
		fault = FAULT_TOO_LARGE;
	if (!fault) {
		out_printf(conn_out(s->head.conn), "250 2.0.0 %llu octets received\r\n",
			(unsigned long long)mail->body.size_bytes);
		return;
	}
	/* A refused chunk ends the transaction; later ones find none (RFC 3030 2). */
	if (s->state >= SMTP_RCPT) {
		smtp_log_message(s, fault);
		smtp_mail_end(s);
	}
	if (smtp_refuse(s, fault) == CLOSE)
		smtp_close(s);
}

void smtp_swallow_chunk(struct smtp_session *s, const struct smtp_bdat *bdat, enum fault fault)
{
	bool stop = false;

	s->chunk_left = bdat->size_bytes;
	s->chunk_last = bdat->last;
	s->chunk_fault = (uint8_t)fault;
	s->chunk_deadline = worker_now(s->head.door->w) + s->head.setup->smtp->message_ms;
	s->input = SMTP_IN_CHUNK;
	if (s->chunk_left == 0)
		end_chunk(s, &stop);
}

enum verdict smtp_do_bdat(struct smtp_session *s, const union smtp_args *args)
{
	struct smtp_transaction *mail = s->mail;
	bool stop = false;

	if (!mail->begun)
		begin_message(s, 0);
	s->state = SMTP_BDAT;
	s->chunk_left = args->bdat.size_bytes;
	s->chunk_last = args->bdat.last;
	if (s->chunk_left > (uint64_t)s->head.setup->smtp->size_max -
			MIN(mail->body.size_bytes, (uint64_t)s->head.setup->smtp->size_max))
		intake_fail(&mail->intake, FAULT_TOO_LARGE);
	s->input = SMTP_IN_CHUNK;
	if (s->chunk_left == 0)
		end_chunk(s, &stop);
	return DONE;
}

size_t smtp_take_chunk(struct smtp_session *s, slice in, bool *stop)
{
	slice part = slice_sub(in, 0, (size_t)MIN(s->chunk_left, (uint64_t)in.len));
	size_t had = part.len;
	bool pause = false;
	enum step step;

	if (s->chunk_fault)
		part.len = 0;
	else
		pause = decode(s, &part, &step);
	s->chunk_left -= had - part.len;
	if (s->chunk_left == 0) {
		end_chunk(s, stop);
	} else if (pause) {
		conn_pause(s->head.conn);
		*stop = true;
	}
	smtp_set_deadline(s);
	return had - part.len;
}
