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
