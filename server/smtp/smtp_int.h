/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_int.h - what the files of the SMTP session share, and nobody else may include.
 *
 * smtp_session.c cuts lines and dispatches, smtp_verbs.c acts, smtp_data.c carries messages,
 * smtp_auth.c logs in, smtp_policy.c says who may send what to whom, smtp_start.c begins and ends
 * connections, smtp_log.c counts and logs. All run on the connection's worker. */
#ifndef SERVER_SMTP_SMTP_INT_H
#define SERVER_SMTP_SMTP_INT_H

#include "core/conn.h"
#include "proto/sasl/sasl.h"
#include "proto/smtp/body.h"
#include "proto/smtp/command.h"
#include "server/door.h"
#include "server/errmap.h"
#include "server/intake.h"
#include "server/smtp/smtp_session.h"

/* Where the dialogue stands: what a verb row's `states` is a mask of. */
enum smtp_state { SMTP_NEW, SMTP_GREETED, SMTP_MAIL, SMTP_RCPT, SMTP_BDAT, SMTP_STATES };

/* What the next bytes are. */
enum smtp_input {
	SMTP_IN_SILENCE, /* nothing may come before the greeting */
	SMTP_IN_LINE,    /* a command */
	SMTP_IN_AUTH,    /* a response of a login exchange */
	SMTP_IN_DATA,    /* a message up to the lone dot */
	SMTP_IN_CHUNK,   /* bytes of a BDAT chunk */
	SMTP_IN_NOTHING, /* closing: drop what comes */
};

/* One MAIL, its recipients and its bytes. */
struct smtp_transaction {
	struct smtp_session *session;
	struct arena arena;
	struct envelope env;
	size_t rcpts_cap;
	struct envelope_rcpt rcpt; /* the one that RCPT names */
	uint32_t rcpts_refused;
	struct smtp_body body;
	struct intake intake;
	bool begun;    /* the intake was */
	msec deadline; /* for all bytes of the message */
};

struct smtp_verb;

struct smtp_session {
	struct door_session head;
	struct arena arena; /* of the connection: a few names */
	struct smtp_transaction *mail;
	slice helo, account;
	uint64_t chunk_left;
	msec chunk_deadline; /* of a BDAT being swallowed */
	uint16_t errors, junk, messages;
	uint8_t state, input; /* enum smtp_state, enum smtp_input */
	uint8_t chunk_fault;  /* enum fault: what the BDAT being swallowed is answered */
	bool chunk_last;
	bool esmtp, relay_from, logged;
	struct smtp_lines lines;
};

static inline bool smtp_is_submission(const struct smtp_session *s)
{
	enum door_kind service = s->head.door->service;

	return service == SERVICE_SUBMISSION || service == SERVICE_SUBMISSIONS;
}

static inline bool smtp_is_lmtp(const struct smtp_session *s)
{
	return s->head.door->service == SERVICE_LMTP;
}

union smtp_args {
	slice text;
	struct smtp_mail mail;
	struct smtp_rcpt rcpt;
	struct smtp_bdat bdat;
	struct smtp_auth auth;
};

/* --- smtp_session.c: the table and the words --- */
struct smtp_verb {
	const char *name;
	enum smtp_syntax (*parse)(struct smtp_session *s, slice rest, union smtp_args *out);
	uint8_t states; /* mask of 1 << enum smtp_state */
	uint16_t flags; /* enum smtp_verb_flag */
	enum verdict (*run)(struct smtp_session *s, const union smtp_args *args);
};
enum smtp_verb_flag {
	SMTP_V_LAST = 1,       /* nothing may stand behind it in the same group (RFC 2920 3.1) */
	SMTP_V_LOGIN = 2,      /* on submission: after AUTH only (RFC 6409 4.3) */
	SMTP_V_PLAIN_ONLY = 4, /* not under TLS */
	SMTP_V_JUNK = 8,       /* brings no message closer */
	SMTP_V_LMTP = 16,      /* of LMTP only */
	SMTP_V_NOT_LMTP = 32,  /* unknown to LMTP (RFC 2033 4.1) */
	SMTP_V_CHUNK = 64,     /* bytes follow it whatever is answered (RFC 3030 2) */
	/* When it is refused as not the last the connection ends: what follows is no command. */
	SMTP_V_CLOSE = 128,
};
extern const struct smtp_verb smtp_verbs[];
extern const size_t smtp_verb_count;
const struct smtp_verb *smtp_verb_find(const struct smtp_session *s, slice name);
/* What the table says about a verb now; FAULT_NONE: go on with its arguments. `more_input`: something
 * stands behind it. */
enum fault smtp_verb_fault(const struct smtp_session *s, const struct smtp_verb *verb,
	bool more_input);

/* Whole reply lines. */
enum verdict smtp_reply(struct smtp_session *s, const char *lines);
/* The words of the fault, counted; CLOSE for those that end the connection. */
enum verdict smtp_refuse(struct smtp_session *s, enum fault fault);
/* Goodbye for a reason of ours: says so and closes. */
void smtp_say_goodbye(struct smtp_session *s, enum fault fault);
void smtp_set_deadline(struct smtp_session *s);
/* The callback of conn. */
size_t smtp_on_data(struct conn *c, slice in);

/* --- smtp_verbs.c --- */
enum verdict smtp_do_hello(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_helo(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_mail(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_rcpt(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_rset(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_noop(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_vrfy(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_expn(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_help(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_quit(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_starttls(struct smtp_session *s, const union smtp_args *args);
/* What MAIL and RCPT may carry here. */
unsigned smtp_params_allowed(const struct smtp_session *s);
/* Forget the transaction; back to the state after the greeting. */
void smtp_mail_end(struct smtp_session *s);

/* --- smtp_data.c --- */
enum verdict smtp_do_data(struct smtp_session *s, const union smtp_args *args);
enum verdict smtp_do_bdat(struct smtp_session *s, const union smtp_args *args);
size_t smtp_take_data(struct smtp_session *s, slice in, bool *stop);
size_t smtp_take_chunk(struct smtp_session *s, slice in, bool *stop);
/* The chunk of a BDAT that is refused is read and dropped, then the fault is told. */
void smtp_swallow_chunk(struct smtp_session *s, const struct smtp_bdat *bdat, enum fault fault);

/* --- smtp_auth.c --- */
enum verdict smtp_do_auth(struct smtp_session *s, const union smtp_args *args);
size_t smtp_take_auth(struct smtp_session *s, slice in, bool *stop);
/* SASL_* set offered now; 0: AUTH is not. */
unsigned smtp_auth_mechs(const struct smtp_session *s);

/* --- smtp_policy.c: never waits --- */
enum fault smtp_policy_mail(struct smtp_session *s, const struct smtp_mail *mail, slice address);
enum fault smtp_policy_rcpt(struct smtp_session *s, slice address);
/* Whom mail for <postmaster> without a domain goes to: an address. */
slice smtp_policy_postmaster(struct smtp_session *s);

/* --- smtp_start.c --- */
void smtp_close(struct smtp_session *s);

/* --- smtp_log.c --- */
enum smtp_event {
	SMTP_E_RECEIVED,
	SMTP_E_REJECTED,
	SMTP_E_REFUSED,
	SMTP_E_CONNECT,
	SMTP_E_DISCONNECT,
	SMTP_E_LOGIN
};
void smtp_log_connect(struct smtp_session *s);
void smtp_log_disconnect(struct smtp_session *s, enum err why);
void smtp_log_refused(struct smtp_session *s, enum fault fault, slice what);
void smtp_log_message(struct smtp_session *s, enum fault fault);
void smtp_log_login(struct smtp_session *s, slice mechanism);

#endif
