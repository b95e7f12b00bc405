/* SPDX-License-Identifier: GPL-2.0-or-later */
/* command.h - SMTP and LMTP commands: bytes to lines, lines to values, values to lines.
 *
 * The reader's order: smtp_line_cut (bytes to a line), smtp_split (verb and rest), smtp_parse_* (rest
 * to a struct). Slices point into the line, or into the arena where something had to be decoded:
 * they die with the verb. Nothing fails but by saying that the input is wrong. Rendering is for
 * the client: what smtp_put_* writes, smtp_parse_* reads back. */
#ifndef PROTO_SMTP_COMMAND_H
#define PROTO_SMTP_COMMAND_H

#include "proto/smtp/address.h"

/* Lines. Zeroed is ready; one per connection. */
struct smtp_lines {
	bool skipping; /* inside a line that is already too long */
};

/* Cut the next line, which ends at CRLF and nowhere else. `used` is always written: drop that many
 * bytes before the next call. STEP_DONE: *line, without its CRLF. STEP_MORE: give more (up to `max`
 * bytes must fit in the buffer). STEP_BAD: a line with a bare CR or LF or a NUL; STEP_TOO_LONG: a
 * line over `max` bytes, CRLF included; both are told when that line ends, so replies stay in
 * step with commands. However the bytes were divided, the result is the same. */
enum step smtp_line_cut(struct smtp_lines *lines, slice in, size_t max, size_t *used,
	slice *line) must_use;

/* "MAIL FROM:<>  " is "MAIL" and "FROM:<>": trailing white space is dropped (RFC 5321 4.1.1). */
void smtp_split(slice line, slice *verb, slice *rest);

/* How a parser of arguments answers; the dispatcher words the refusal. */
enum smtp_syntax {
	SMTP_SYNTAX_OK,
	SMTP_SYNTAX_BAD,     /* 501 5.5.4 */
	SMTP_SYNTAX_ADDRESS, /* 501 5.1.7 in MAIL, 5.1.3 in RCPT: no address */
	SMTP_SYNTAX_UNKNOWN, /* 555 5.5.4: a parameter nobody offered */
};

/* Parameters of MAIL and RCPT: as a set, what is allowed (offered in EHLO) and what was given.
 * SMTP_P_8BIT and SMTP_P_BINARY allow values of BODY; without either BODY itself is unknown. */
enum smtp_param {
	SMTP_P_SIZE = 1 << 0,   /* RFC 1870 */
	SMTP_P_8BIT = 1 << 1,   /* RFC 6152: BODY=7BIT, 8BITMIME */
	SMTP_P_BINARY = 1 << 2, /* RFC 3030: BODY=BINARYMIME */
	SMTP_P_BODY = 1 << 3,   /* given only */
	SMTP_P_RET = 1 << 4,    /* RFC 3461, with ENVID, NOTIFY, ORCPT */
	SMTP_P_ENVID = 1 << 5,
	SMTP_P_NOTIFY = 1 << 6,
	SMTP_P_ORCPT = 1 << 7,
	SMTP_P_AUTH = 1 << 8,     /* RFC 4954 5 */
	SMTP_P_SMTPUTF8 = 1 << 9, /* RFC 6531 */
	SMTP_P_HOLDFOR = 1 << 10, /* RFC 4865 */
	SMTP_P_HOLDUNTIL = 1 << 11,
	SMTP_P_MT_PRIORITY = 1 << 12, /* RFC 6710 */
	SMTP_P_REQUIRETLS = 1 << 13,  /* RFC 8689 */
	SMTP_P_BY = 1 << 14,          /* RFC 2852 */
	SMTP_P_DSN = SMTP_P_RET | SMTP_P_ENVID | SMTP_P_NOTIFY | SMTP_P_ORCPT,
	SMTP_P_FUTURE = SMTP_P_HOLDFOR | SMTP_P_HOLDUNTIL,
};

enum smtp_body_type { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };
enum smtp_ret { SMTP_RET_UNSET, SMTP_RET_FULL, SMTP_RET_HDRS };
/* RFC 3461 4.1; none given is 0 and means what the server chooses (FAILURE, DELAY). */
enum smtp_notify {
	SMTP_NOTIFY_NEVER = 1,
	SMTP_NOTIFY_SUCCESS = 2,
	SMTP_NOTIFY_FAILURE = 4,
	SMTP_NOTIFY_DELAY = 8,
};

struct smtp_mail {
	struct mail_addr from;
	unsigned given; /* SMTP_P_* */
	enum smtp_body_type body;
	enum smtp_ret ret;
	uint64_t size_bytes;
	slice envid; /* decoded */
	slice auth;  /* decoded; "<>" when nobody vouches */
	uint32_t hold_for_s;
	wall_ms hold_until;
	int mt_priority; /* -9 to 9 */
	int64_t by_s;    /* may be negative with BY_N */
	bool by_return;  /* R: give it back; else N: tell */
	bool by_trace;
};

struct smtp_rcpt {
	struct mail_addr to;
	unsigned given;
	unsigned notify;         /* SMTP_NOTIFY_* */
	slice orcpt_type, orcpt; /* "rfc822" or "utf-8" or another, and the decoded address */
};

struct smtp_bdat {
	uint64_t size_bytes;
	bool last;
};

struct smtp_auth {
	slice mechanism;
	slice initial; /* base64 still; "=" was given: empty and has_initial */
	bool has_initial;
};

/* EHLO, HELO, LHLO: one word of printable characters. Many real clients send no proper name, so
 * whether it is a domain or a literal is not asked here. */
enum smtp_syntax smtp_parse_hello(slice rest, slice *out_name) must_use;
/* `allowed` is a set of SMTP_P_*. A parameter given twice is SMTP_SYNTAX_BAD. */
enum smtp_syntax smtp_parse_mail(struct arena *a, slice rest, unsigned allowed,
	struct smtp_mail *out) must_use;
enum smtp_syntax smtp_parse_rcpt(struct arena *a, slice rest, unsigned allowed,
	struct smtp_rcpt *out) must_use;
enum smtp_syntax smtp_parse_bdat(slice rest, struct smtp_bdat *out) must_use;
enum smtp_syntax smtp_parse_auth(slice rest, struct smtp_auth *out) must_use;
/* VRFY, EXPN: one non-empty string. */
enum smtp_syntax smtp_parse_string(slice rest, slice *out) must_use;
/* DATA, RSET, QUIT, STARTTLS: nothing. HELP and NOOP take anything and need no parser. */
enum smtp_syntax smtp_parse_none(slice rest) must_use;

/* Whole command lines with their CRLF. Of the parameters given, those in `allowed` are written; an
 * `utf-8` ORCPT is written as unitext when SMTP_P_SMTPUTF8 is allowed, else as pure ASCII. */
void smtp_put_verb(struct out *o, const char *verb, slice arg);
void smtp_put_mail(struct out *o, const struct smtp_mail *mail, unsigned allowed);
void smtp_put_rcpt(struct out *o, const struct smtp_rcpt *rcpt, unsigned allowed);
void smtp_put_bdat(struct out *o, const struct smtp_bdat *bdat);

#endif
