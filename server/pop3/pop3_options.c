/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_options.c - the option rows of POP3. */
#include "server/options.h"

#define AT(member) offsetof(struct pop3_options, member)
#define MINUTES *60000LL
static const struct conf_row rows[] = {
	{ "pop3.line", CONF_SIZE, AT(line_max), CONF_RELOAD, "1024", .min = 255, .max = 16384,
		.doc = "Longest command line (RFC 2449 4 asks for 255)" },
	{ "pop3.errors", CONF_INT, AT(errors_max), CONF_RELOAD, "20", .min = 1, .max = 10000,
		.doc = "Refused commands before the connection is closed" },
	{ "pop3.start", CONF_DURATION, AT(start_ms), CONF_RELOAD, "1m", .min = 1000,
		.max = 60 MINUTES,
		.doc = "Longest time for a PROXY header, and for the TLS handshake of pop3s" },
	{ "pop3.login_time", CONF_DURATION, AT(login_ms), CONF_RELOAD, "3m", .min = 1000,
		.max = 60 MINUTES, .doc = "Longest wait for a command before the login" },
	{ "pop3.idle", CONF_DURATION, AT(idle_ms), CONF_RELOAD, "10m", .min = 1000,
		.max = 1440 MINUTES,
		.doc = "Longest wait for a command, and for a client that reads (RFC 1939 3)" },
	{ "pop3.login_delay", CONF_DURATION, AT(login_delay_ms), CONF_RELOAD, "0", .min = 0,
		.max = 1440 MINUTES,
		.doc = "Least time between two logins of an account by POP3, told as LOGIN-DELAY" },
	{ "pop3.plain_login", CONF_BOOL, AT(plain_login), CONF_RELOAD, "false",
		.doc = "Allow logins without TLS from loopback addresses, for tests" },
};
#undef AT
const struct conf_table pop3_options_table = { CONF_TABLE(rows, struct pop3_options) };
