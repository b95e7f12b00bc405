/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dsn.h - render a delivery status notification (RFC 3464 in a multipart/report, RFC 6522).
 *
 * The values come in a struct; dsn_put_head writes the header and both first parts and opens the
 * third, the caller streams the original message (return_full) or its header block behind it, and
 * dsn_put_tail closes. With `utf8` the parts are those of RFC 6533 and the report needs SMTPUTF8.
 * Text from other servers is cleaned: no control byte and no raw 8-bit byte leaves in an ASCII
 * report. Nothing here fails but the writer. */
#ifndef PROTO_MIME_DSN_H
#define PROTO_MIME_DSN_H

#include "core/base/base.h"

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED, DSN_EXPANDED };

struct dsn_rcpt {
	slice original; /* ORCPT, xtext undone: "rfc822;bob@example.org"; empty: none was given */
	slice final;    /* address of the envelope */
	enum dsn_action action;
	slice status;     /* "5.1.1"; empty: the default of the action */
	slice remote_mta; /* host name that answered; empty: none did */
	slice diagnostic; /* its reply, "550 5.1.1 no such user", line ends allowed; may be empty */
	slice explanation; /* our own words, for what was no reply: "no MX host could be reached" */
	wall_ms last_attempt;     /* 0: leave out */
	wall_ms will_retry_until; /* 0: leave out; only for DSN_DELAYED */
};

struct dsn {
	slice hostname; /* reporting MTA, also the name in the From: address when `from` is empty */
	slice from;     /* "MAILER-DAEMON@mx.example.org"; empty: made of the host name */
	slice to;       /* sender of the original; never empty */
	slice message_id;     /* with its angle brackets */
	slice boundary;       /* unique, RFC 2046 characters, <= 70 bytes: random hex will do */
	slice envid;          /* xtext undone; empty: none */
	slice queue_id;       /* told to humans; may be empty */
	slice subject;        /* of the original, raw value; shown in the text; may be empty */
	wall_ms now, arrival; /* arrival 0: leave out */
	bool utf8;            /* RFC 6533 form */
	bool return_full;     /* the caller streams the whole message, not only its header */
	bool original_8bit;
	const struct dsn_rcpt *rcpts;
	size_t rcpt_count; /* at least one; one DSN holds only what one sender is told about one message */
};

/* Up to and including the blank line that opens the third part. */
void dsn_put_head(const struct dsn *d, struct out *o);
/* Behind the original, whatever it ended in. */
void dsn_put_tail(const struct dsn *d, struct out *o);
/* The report has bytes over 127: it wants 8BITMIME (and SMTPUTF8 when d->utf8). */
bool dsn_is_8bit(const struct dsn *d);

#endif
