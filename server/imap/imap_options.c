/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_options.c - the option rows of IMAP. */
#include "server/options.h"

#define AT(member) offsetof(struct imap_options, member)
#define MINUTES *60000LL
static const struct conf_row rows[] = {
	{ "imap.line", CONF_SIZE, AT(line_max), CONF_RELOAD, "64K", .min = 8192, .max = 1 << 20,
		.doc = "Longest command, its literals included; messages of APPEND apart" },
	{ "imap.literal", CONF_SIZE, AT(literal_max), CONF_RELOAD, "64K", .min = 4096,
		.max = 1 << 20, .doc = "Largest literal inside a command" },
	{ "imap.append", CONF_SIZE, AT(append_max), CONF_RELOAD, "50M", .min = 65536,
		.max = 1LL << 32,
		.doc = "Largest message of APPEND, told as APPENDLIMIT (RFC 7889)" },
	{ "imap.nesting", CONF_INT, AT(depth_max), CONF_RELOAD, "32", .min = 4, .max = 100,
		.doc = "Parentheses and NOT or OR inside each other in SEARCH" },
	{ "imap.terms", CONF_INT, AT(terms_max), CONF_RELOAD, "1000", .min = 100, .max = 100000,
		.doc = "Search keys, fetch items, flags or names of one command" },
	{ "imap.sessions", CONF_INT, AT(sessions_max), CONF_RELOAD, "100", .min = 0, .max = 1000000,
		.doc = "Sessions of one account, those of POP3 among them; 0: any" },
	{ "imap.start", CONF_DURATION, AT(start_ms), CONF_RELOAD, "1m", .min = 1000,
		.max = 60 MINUTES,
		.doc = "Longest time for a PROXY header, and for the TLS handshake of imaps" },
	{ "imap.login", CONF_DURATION, AT(login_ms), CONF_RELOAD, "3m", .min = 1000,
		.max = 60 MINUTES, .doc = "Longest wait for a command before the login" },
	{ "imap.idle", CONF_DURATION, AT(idle_ms), CONF_RELOAD, "30m", .min = 1000,
		.max = 1440 MINUTES,
		.doc = "Longest wait for a command, and in IDLE (RFC 9051 5.4 wants 30 minutes)" },
	{ "imap.send", CONF_DURATION, AT(send_ms), CONF_RELOAD, "5m", .min = 1000,
		.max = 1440 MINUTES,
		.doc = "Longest time a client takes to read 64 KB of an answer, or to send "
		       "64 KB of a message" },
	{ "imap.compress", CONF_BOOL, AT(compress), CONF_RELOAD, "true",
		.doc = "Offer COMPRESS=DEFLATE (RFC 4978)" },
	{ "imap.plain_login", CONF_BOOL, AT(plain_login), CONF_RELOAD, "false",
		.doc = "Allow a login without TLS from loopback addresses, for tests" },
};
#undef AT
const struct conf_table imap_options_table = { CONF_TABLE(rows, struct imap_options) };
