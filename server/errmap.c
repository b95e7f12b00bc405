/* SPDX-License-Identifier: GPL-2.0-or-later */
/* errmap.c - the one table of words: a row per fault, a column per protocol.
 *
 * The rows themselves stand in errmap.h, where the enum is made of them. Here they become arrays,
 * and the errors of the layers below find their fault. What a client can do nothing about is told
 * as a temporary failure without detail; the log has the rest. */
#include "server/errmap.h"

struct fault_row {
	const char *name;
	struct smtp_words smtp;
};

static const struct fault_row rows[FAULT_COUNT] = {
	[FAULT_NONE] = { "none", { 250, "2.0.0", "OK" } },
#define X(name, code, enhanced, text) [FAULT_##name] = { #name, { code, enhanced, text } },
	FAULT_TABLE(X)
#undef X
};

const char *fault_name(enum fault fault)
{
	return fault < FAULT_COUNT ? rows[fault].name : "?";
}

const struct smtp_words *fault_smtp(enum fault fault)
{
	must(fault > FAULT_NONE && fault < FAULT_COUNT);
	return &rows[fault].smtp;
}

const char *fault_pop3_code(enum fault fault)
{
	static const char *const codes[FAULT_COUNT] = { [FAULT_AUTH_FAILED] = "[AUTH] ",
		[FAULT_SESSIONS] = "[IN-USE] ",
		[FAULT_LOGIN_DELAY] = "[LOGIN-DELAY] ",
		[FAULT_AUTH_LOCKED] = "[SYS/TEMP] ",
		[FAULT_AUTH_BUSY] = "[SYS/TEMP] ",
		[FAULT_TLS_UNAVAILABLE] = "[SYS/TEMP] ",
		[FAULT_STORE] = "[SYS/TEMP] ",
		[FAULT_BUSY] = "[SYS/TEMP] ",
		[FAULT_INTERNAL] = "[SYS/TEMP] ",
		[FAULT_SHUTDOWN] = "[SYS/TEMP] ",
		[FAULT_OVERLOAD] = "[SYS/TEMP] ",
		[FAULT_RATE] = "[SYS/TEMP] ",
		[FAULT_EXPELLED] = "[SYS/PERM] " };

	return fault < FAULT_COUNT && codes[fault] ? codes[fault] : "";
}

const char *fault_imap_code(enum fault fault)
{
	static const char *const codes[FAULT_COUNT] = { [FAULT_NEED_TLS] = "PRIVACYREQUIRED",
		[FAULT_AUTH_NEEDS_TLS] = "PRIVACYREQUIRED",
		[FAULT_AUTH_FAILED] = "AUTHENTICATIONFAILED",
		[FAULT_AUTH_LOCKED] = "UNAVAILABLE",
		[FAULT_AUTH_BUSY] = "UNAVAILABLE",
		[FAULT_SESSIONS] = "LIMIT",
		[FAULT_TLS_UNAVAILABLE] = "UNAVAILABLE",
		[FAULT_TOO_LARGE] = "TOOBIG",
		[FAULT_QUOTA] = "OVERQUOTA",
		[FAULT_STORE] = "UNAVAILABLE",
		[FAULT_BUSY] = "UNAVAILABLE",
		[FAULT_INTERNAL] = "UNAVAILABLE",
		[FAULT_SHUTDOWN] = "UNAVAILABLE",
		[FAULT_OVERLOAD] = "UNAVAILABLE",
		[FAULT_RATE] = "UNAVAILABLE" };

	return fault < FAULT_COUNT && codes[fault] ? codes[fault] : "";
}

enum fault fault_of_err(enum err err)
{
	switch (err) {
	case OK:
		return FAULT_NONE;
	case ERR_NOSPACE:
	case ERR_IO:
	case ERR_CORRUPT:
	case ERR_NOMEM:
	case ERR_NOFILES:
	case ERR_LIMIT:
		return FAULT_STORE;
	case ERR_TOO_LARGE:
		return FAULT_TOO_LARGE;
	case ERR_STOPPED:
		return FAULT_SHUTDOWN;
	case ERR_BUSY:
	case ERR_TIMEOUT:
		return FAULT_BUSY;
	case ERR_QUOTA:
		return FAULT_QUOTA;
	case ERR_AUTH:
		return FAULT_AUTH_FAILED;
	case ERR_LOCKED:
		return FAULT_AUTH_LOCKED;
	case ERR_DNS_TEMP:
	case ERR_DNS_BOGUS:
		return FAULT_DNS;
	default:
		return FAULT_INTERNAL;
	}
}
