/* SPDX-License-Identifier: GPL-2.0-or-later */
/* err.h - the three shapes an outcome may have, and no more.
 *
 * `enum err` for whatever can go wrong in the world, `enum step` for parsers, `enum verdict` for verb
 * handlers. An err says what happened, never how to word it: the words of each protocol stand in
 * one table of the server. */
#ifndef CORE_BASE_ERR_H
#define CORE_BASE_ERR_H

/* name, one line for logs */
#define ERR_TABLE(X)                                               \
	X(NOMEM, "out of memory")                                  \
	X(LIMIT, "a configured limit was reached")                 \
	X(TIMEOUT, "timed out")                                    \
	X(CANCELED, "canceled")                                    \
	X(CLOSED, "closed by the peer")                            \
	X(RESET, "connection reset")                               \
	X(REFUSED, "connection refused")                           \
	X(UNREACHABLE, "network or host unreachable")              \
	X(STOPPED, "the server is stopping")                       \
	X(BUSY, "busy, try again")                                 \
	X(IO, "input/output error")                                \
	X(NOSPACE, "no space left on the device")                  \
	X(NOFILES, "out of file descriptors")                      \
	X(CORRUPT, "stored data is damaged")                       \
	X(NOT_FOUND, "not found")                                  \
	X(EXISTS, "exists already")                                \
	X(DENIED, "not permitted")                                 \
	X(INVALID, "not valid")                                    \
	X(TOO_LARGE, "too large")                                  \
	X(UNSUPPORTED, "not supported here")                       \
	X(TLS, "TLS failure")                                      \
	X(TLS_CERT, "the certificate does not satisfy the policy") \
	X(AUTH, "authentication failed")                           \
	X(LOCKED, "locked after too many failures")                \
	X(QUOTA, "quota exceeded")                                 \
	X(DNS_TEMP, "name server failure")                         \
	X(DNS_NXDOMAIN, "no such domain")                          \
	X(DNS_BOGUS, "DNSSEC validation failed")                   \
	X(PROTOCOL, "the peer broke the protocol")                 \
	X(HELD, "on hold")

/* OK is 0, all others are negative. Values are not stored on disk. */
enum err {
	OK = 0,
	ERR_TABLE_BEFORE_FIRST = -100,
#define X(name, text) ERR_##name,
	ERR_TABLE(X)
#undef X
};

/* "TIMEOUT" and "timed out"; "?" for a number that is no err. Static strings. */
const char *err_name(enum err err);
const char *err_text(enum err err);

/* What a parser says: give me more, here it is, this is wrong, this is too long. */
enum step { STEP_MORE, STEP_DONE, STEP_BAD, STEP_TOO_LONG };

/* What a verb handler says: the reply is written; or: close after what is written. */
enum verdict { DONE, CLOSE };

#endif
