/* SPDX-License-Identifier: GPL-2.0-or-later */
/* limits.h - the sizes RFC 5321 4.5.3.1 and the extensions name, in bytes.
 *
 * What the standards fix stands here; what an operator may choose is an option row of the server and
 * comes to the parsers as an argument. Line sizes include the CRLF. */
#ifndef PROTO_SMTP_LIMITS_H
#define PROTO_SMTP_LIMITS_H

enum {
	SMTP_LOCAL_MAX = 64,          /* RFC 5321 4.5.3.1.1 */
	SMTP_DOMAIN_MAX = 255,        /* 4.5.3.1.2 */
	SMTP_PATH_MAX = 256,          /* 4.5.3.1.3, brackets and dots included */
	SMTP_AUTH_LINE_MAX = 12288,   /* RFC 4954 4.5 */
	SMTP_REPLY_ACCEPT_MAX = 2048, /* over the 512 of 4.5.3.1.5: some servers write more */
	SMTP_REPLY_LINES_MAX = 200,
	SMTP_TEXT_LINE_MAX = 998, /* 4.5.3.1.6, without the CRLF */
	SMTP_ENVID_MAX = 100,     /* RFC 3461 5.1, decoded */
	SMTP_ORCPT_MAX = 500,     /* RFC 3461 4.2, as written */
};

#endif
