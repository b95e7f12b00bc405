/* SPDX-License-Identifier: GPL-2.0-or-later */
/* house.h - everything around an SMTP session, made of memory: for tests and the session fuzzer.
 *
 * house.c stands in for conn, queue, blob, login, directory, routes, TLS and clock, by defining the same
 * functions. Nothing waits: a fiber is a plain call. One house and one session at a time per process.
 * Known to it: the domains own.test (routed), empty.test (own, without a route) and home.test (the
 * same, with accounts: bob, carol who forwards to x@far.test, off who is disabled, full whom one
 * message fills; aliases: team for bob, carol and y@far.test, round for itself), the route
 * accepted.test, the account alice@own.test with the password "secret". */
#ifndef TESTS_SERVER_HOUSE_H
#define TESTS_SERVER_HOUSE_H

#include "core/addr.h"
#include "server/door.h"

struct house {
	struct door door;
	enum err submit_err; /* what queue_submit answers */
	enum err admit_err;
	enum err write_err; /* what blob_write answers: ERR_BUSY pauses */
	/* Of the last message given to the queue. */
	struct out stored;
	unsigned submitted, rcpts, mailboxes;
	unsigned held[8];       /* messages of each account, by its number */
	char splice[1024];      /* of the last one delivered */
	unsigned reported;      /* recipients whose delivery the sender is told of */
	unsigned reported_full; /* those who lead to somebody who is full */
	bool hash_given;
	char sender[320], first_rcpt[320];
};
extern struct house house;

/* `text`: YAML put behind the hostname. */
void house_open(enum door_kind service, const char *yaml);
void house_close(void);

/* One connection. */
void house_connect(const char *peer);
/* Bytes from the client, in one piece; the session takes what it can. */
void house_send(slice bytes);
/* What the session wrote since the last call; valid until the next. */
slice house_replies(void);
bool house_closed(void); /* the session is gone */
bool house_tls(void);    /* STARTTLS has happened */
void house_hang_up(void);
void house_clock(msec ms); /* passes; deadlines fire */
/* The session while it lives: for tests that look inside. */
void *house_session(void);
/* --- A part of the house per protocol: house_mail.c (SMTP, LMTP) or mailbox_house.c --- */
bool house_serves(enum door_kind service);
void house_session_start(struct door *door, int fd, const struct addr *peer);
/* Into the INBOX of alice@own.test; false: she has none here. */
bool house_deliver(slice message);
/* At the end of house_open, and at the end of the process. */
void house_furnish(void);
void house_done(void);

#endif
