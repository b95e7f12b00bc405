/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client.h - the sending side of SMTP and LMTP as a machine without I/O.
 *
 * It knows greeting, EHLO/HELO/LHLO, STARTTLS, AUTH, and transactions with everything pipelining
 * permits: MAIL, RCPT* and DATA in one go, the next transaction behind the body (RFC 2920 3.1),
 * BDAT. The caller moves bytes and time. It drives the machine by smtp_client_step, which eats
 * received bytes, appends commands to `o` and returns one event at a time:
 *
 *	for (;;) switch (smtp_client_step(c, &in, o, &ev)) {
 *	case SMTP_EV_WAIT:     send *o, receive more into in; on EOF or deadline smtp_client_lost()
 *	case SMTP_EV_STARTTLS: send *o, handshake, smtp_client_tls_done(); a failure: close
 *	case SMTP_EV_READY:    smtp_client_offer(c, txn) now, later, or smtp_client_quit()
 *	case SMTP_EV_RCPT:     ev.txn, ev.rcpt, ev.reply: note it (a 2xx is not delivery yet)
 *	case SMTP_EV_BODY:     smtp_client_body(c, &content, o) until all is in, smtp_client_body_end()
 *	case SMTP_EV_FINAL:    LMTP only: the verdict of one accepted recipient
 *	case SMTP_EV_DONE:     ev.txn is finished and the caller's again; ev.outcome says how
 *	case SMTP_EV_DOWN:     the session is over; ev.err, and ev.reply if a reply was the cause
 *	}
 *
 * Memory: the struct is the caller's (embed it), the transaction and what it points to stay valid
 * until SMTP_EV_DONE, the reply text is in the caller's buffer and valid until the next step.
 * Every step needs SMTP_CLIENT_ROOM free bytes in a writer without `more`; recipients for which there
 * is no room are written by later steps. While a body is being written received bytes wait: call
 * step again after smtp_client_body_end. Nothing fails but by an event. */
#ifndef PROTO_SMTP_CLIENT_H
#define PROTO_SMTP_CLIENT_H

#include "proto/sasl/sasl.h"
#include "proto/smtp/body.h"
#include "proto/smtp/command.h"
#include "proto/smtp/reply.h"

enum {
	SMTP_CLIENT_ROOM = 4096,         /* free bytes of `o` that every step may need */
	SMTP_CLIENT_WINDOW = 100,        /* RCPT commands without an answer */
	SMTP_CLIENT_UNWAITED = 64 << 10, /* a body up to this goes out before RCPT is answered */
};

enum smtp_tls_use { SMTP_TLS_NEVER, SMTP_TLS_IF_OFFERED, SMTP_TLS_REQUIRED, SMTP_TLS_ON_ALREADY };

/* One destination's settings, shared by its connections; outlives them. */
struct smtp_client_conf {
	slice name; /* for EHLO */
	bool lmtp;
	enum smtp_tls_use tls;
	bool no_pipelining, no_chunking; /* as if not offered */
	/* SASL_* allowed with a login; 0: all under TLS, without TLS only those that hide the password. */
	unsigned mechanisms;
};

struct smtp_txn {
	/* The caller's. */
	const struct smtp_mail *mail; /* `given` is cut down to what the server offers */
	uint32_t rcpt_count;
	/* Fill *out with recipient i, when its command is written. */
	void (*rcpt)(struct smtp_txn *txn, uint32_t i, struct smtp_rcpt *out);
	uint64_t body_bytes; /* exactly, as it will be written; SMTP_BODY_UNKNOWN forbids BDAT */
	bool unwaited_ok; /* this path's last recipients were accepted: a small body need not wait */
	uint64_t *accepted; /* LMTP: one bit per recipient, zeroed; else NULL */
};
#define SMTP_BODY_UNKNOWN UINT64_MAX

enum smtp_event {
	SMTP_EV_WAIT,
	SMTP_EV_STARTTLS,
	SMTP_EV_READY,
	SMTP_EV_RCPT,
	SMTP_EV_BODY,
	SMTP_EV_FINAL,
	SMTP_EV_DONE,
	SMTP_EV_DOWN,
};

/* How a transaction ended for the recipients that have no verdict of their own yet. */
enum smtp_outcome {
	SMTP_NOT_TRIED, /* 421 or a break before MAIL was answered: no attempt */
	SMTP_REFUSED,   /* `reply` to `phase` refuses them all */
	SMTP_NOBODY,    /* every recipient was refused by name; nothing was delivered */
	SMTP_DELIVERED, /* `reply` to the body: the accepted ones are the server's now */
	SMTP_ANSWERED,  /* LMTP: each accepted recipient had its SMTP_EV_FINAL */
	/* Broke in `phase`, by a 421 if there is a `reply`. SMTP_PHASE_BODY: behind the end of the body,
	 * so without a reply nobody knows whether it was delivered. */
	SMTP_LOST,
};
enum smtp_phase { SMTP_PHASE_MAIL, SMTP_PHASE_RCPT, SMTP_PHASE_DATA, SMTP_PHASE_BODY };

struct smtp_client_event {
	struct smtp_txn *txn;
	uint32_t rcpt;
	const struct smtp_reply *reply; /* NULL: none */
	/* RCPT: not refused, only too many at once (452 behind an accepted one, or past the peer's
	 * RCPTMAX): send it in a new transaction at once. */
	bool again;
	enum smtp_outcome outcome;
	enum smtp_phase phase;
	enum err err; /* DOWN: OK after QUIT, REFUSED by a reply, TLS, AUTH, PROTOCOL, or as lost */
};

/* One transaction on the wire; the machine's own. */
struct smtp_flight {
	struct smtp_txn *txn; /* NULL: its outcome was told, replies are still to come */
	uint8_t send, recv;   /* enums of client_int.h */
	uint8_t outcome;
	bool busy, bdat, unwaited, body_ended, done_due, rset_open;
	uint32_t rcpts, rcpts_sent, rcpts_answered, accepted; /* rcpts: within the peer's RCPTMAX */
	uint32_t surplus, finals, final_at;
};

struct smtp_client {
	const struct smtp_client_conf *conf;
	const struct sasl_client_conf *login;
	struct arena *arena; /* for AUTH only */
	struct sasl_client sasl;
	struct smtp_caps caps;
	unsigned params; /* SMTP_P_* the server understands */
	struct smtp_replies replies;
	struct smtp_reply reply;
	struct smtp_flight flight[2]; /* the one being answered, and the next */
	struct smtp_stuff stuff;
	uint64_t body_left; /* BDAT: still to be written */
	uint32_t mails;     /* MAIL commands of this session, for MAILMAX */
	uint32_t answers;   /* whole replies read so far: a time-out is for one of them */
	uint8_t state;      /* enum of client_int.h */
	bool tls, tls_asked, enter_due, ready_due, body_due, rset_due, quit_due, shaky, has_reply;
	enum err down;
};

struct smtp_client_setup {
	const struct smtp_client_conf *conf;
	const struct sasl_client_conf *login; /* NULL: no AUTH */
	struct arena *arena;                  /* needed with a login */
	char *text;                           /* where reply texts are kept */
	size_t text_cap;
};

void smtp_client_init(struct smtp_client *c, const struct smtp_client_setup *setup);
enum smtp_event smtp_client_step(struct smtp_client *c, slice *in, struct out *o,
	struct smtp_client_event *ev) must_use;
/* The handshake asked for by SMTP_EV_STARTTLS is done. What was known of the server is forgotten. */
void smtp_client_tls_done(struct smtp_client *c);

/* May a transaction be offered now? Also while the last body's reply is still to come. */
bool smtp_client_can_offer(const struct smtp_client *c);
/* It is written in the next step. At least one recipient. */
void smtp_client_offer(struct smtp_client *c, struct smtp_txn *txn);
/* The peer's MAILMAX (RFC 9422) is reached: quit when nothing is under way. */
bool smtp_client_full(const struct smtp_client *c);

/* After SMTP_EV_BODY: content into `o`, as much as fits, taken off *in; dots are doubled for DATA.
 * Send and call again while *in is not empty. */
void smtp_client_body(struct smtp_client *c, slice *in, struct out *o);
/* All is written (body_bytes of it, if they were told). Needs 8 bytes of room. */
void smtp_client_body_end(struct smtp_client *c, struct out *o);

/* QUIT, now or as soon as no transaction is under way; no more are taken. SMTP_EV_DOWN with OK follows
 * its reply or the close. */
void smtp_client_quit(struct smtp_client *c, struct out *o);
/* The connection is gone or given up: the next steps tell the outcomes, then SMTP_EV_DOWN. */
void smtp_client_lost(struct smtp_client *c, enum err why);

#endif
