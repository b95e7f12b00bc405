/* SPDX-License-Identifier: GPL-2.0-or-later */
/* command.h - POP3 commands: a line to a keyword and its arguments (RFC 1939, 2449).
 *
 * Lines are cut as in SMTP (smtp_line_cut). Slices point into the line. A parser is false when the
 * arguments are not what the command takes; nothing else fails. */
#ifndef PROTO_POP3_COMMAND_H
#define PROTO_POP3_COMMAND_H

#include "core/base/base.h"

enum {
	POP3_AUTH_LINE_MAX = 12288, /* as in SMTP: a base64 response */
};

/* "RETR 5" is "RETR" and "5". One space divides; what follows it is kept as it is, because a
 * password may begin and end with spaces. */
void pop3_split(slice line, slice *out_verb, slice *out_rest);

/* No argument at all. */
bool pop3_no_args(slice rest) must_use;
/* One message number, 1 to UINT32_MAX. */
bool pop3_number(slice rest, uint32_t *out) must_use;
/* Message number and number of lines (TOP). */
struct pop3_top {
	uint32_t number, lines;
};
bool pop3_top(slice rest, struct pop3_top *out) must_use;
/* AUTH: a mechanism, and maybe an initial response (RFC 5034 4); initial.ptr NULL: none. */
struct pop3_auth {
	slice mechanism, initial;
};
bool pop3_auth(slice rest, struct pop3_auth *out) must_use;

#endif
