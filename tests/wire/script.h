/* SPDX-License-Identifier: GPL-2.0-or-later */
/* script.h - dialogues as text files, played against any kind of server.
 *
 *	service submission          which door; first lines, with `config` and `only`
 *	config smtp: { errors: 3 }  YAML behind the hostname
 *	only memory | live          not meaningful elsewhere
 *	whole                       never cut what the client sends (pipelining is tested)
 *	C: EHLO there               a line, CRLF added; \r \n \t \0 \\ \xNN are understood
 *	C> MAIL FROM:<a@b>\r\n      the same bytes and no more
 *	C^ 1200 x                   1200 times the text
 *	S: 250-*                    the next line of the server; `*` is anything
 *	S~ 250 *                    skip lines up to this one
 *	S: * OK [UIDNEXT $(n)] *    a name is a word (letters, digits, - and _), the same one wherever it
 *	C: b UID FETCH $(n) FLAGS   stands again, in what either side says
 *	*connect* *hangup* *close* *open* *tls* *clock +5m* *restart* *reload*
 *	*messages 1*                so many were accepted on this connection's server
 *	*stored Received: from*     how a line of the last stored message begins (memory only)
 *	*not-stored Bcc:*
 *	*mail Subject: x\r\n\r\ny\r\n*   stands in alice@own.test's INBOX from now on
 *	*scram alice@own.test secret [plus]*   in the service's words
 *	*session 2*                 what follows is another connection's; the first is 1 (live only)
 *	*deflate*                   the client compresses from now on, and expects it (live only)
 *
 * A transport hides what the server is made of. Results: true, or a line in `why`. */
#ifndef TESTS_WIRE_SCRIPT_H
#define TESTS_WIRE_SCRIPT_H

#include "core/base/base.h"

enum { WIRE_SESSIONS = 4 };

struct wire_transport {
	const char *name;                    /* "memory", "live" */
	bool (*serves)(const char *service); /* NULL: all; scripts for others are passed over */
	bool (*start)(const char *service, const char *yaml);
	void (*stop)(void);
	bool (*connect)(void);
	void (*send)(slice bytes);
	/* The next line without its CRLF; false: none comes (closed, or a long silence). */
	bool (*line)(struct out *line);
	bool (*closed)(void); /* the server ended the connection; waits for it if need be */
	void (*hangup)(void);
	bool (*tls)(void);
	/* NULL: not possible here, the step is passed over. */
	void (*clock)(msec ms);
	bool (*restart)(void);
	unsigned (*messages)(void);
	slice (*stored)(void);
	bool (*mail)(slice message);
	slice (*binding)(void);      /* channel binding of the client's TLS */
	void (*session)(unsigned n); /* counted from 0; what follows is for that connection */
	bool (*deflate)(void);
};

/* Elsewhere: the script is for another transport, or another house, which plays it. */
enum wire_result { WIRE_PASSED, WIRE_FAILED, WIRE_ELSEWHERE };

/* `bytewise`: the client sends a byte at a time. */
enum wire_result wire_play(const struct wire_transport *t, const char *path, bool bytewise,
	struct out *why);
/* Plays every file of the folder, prints what failed and the closing line; the exit status. */
int wire_play_all(const struct wire_transport *t, const char *folder);

#endif
