/* SPDX-License-Identifier: GPL-2.0-or-later */
/* errmap.h - what goes wrong, and how each protocol words it.
 *
 * Handlers and policy answer with a `enum fault`: one row says what an operator reads and what each
 * protocol's client reads, so the same fault can never be worded two ways. An `enum err` of the
 * layers below is turned into a fault here and nowhere else. All strings are static; nothing fails. */
#ifndef SERVER_ERRMAP_H
#define SERVER_ERRMAP_H

#include "core/base/base.h"

/* name, SMTP code, enhanced status (RFC 3463), text. POP3 and IMAP say the text, behind a code of theirs. */
#define FAULT_TABLE(X)                                                                       \
	/* the dialogue */                                                                   \
	X(UNKNOWN_VERB, 500, "5.5.1", "Command not recognised")                              \
	X(LINE_TOO_LONG, 500, "5.5.6", "Line too long")                                      \
	X(BARE_NEWLINE_VERB, 500, "5.5.2", "Lines end with CR LF, and with nothing else")    \
	X(BAD_ARGS, 501, "5.5.4", "Syntax error in arguments")                               \
	X(BAD_PARAM, 555, "5.5.4", "Parameter not recognised or not implemented")            \
	X(BAD_VALUE, 501, "5.5.4", "Parameter value not valid")                              \
	X(NOT_IMPLEMENTED, 502, "5.5.1", "Command not implemented")                          \
	X(GREET_FIRST, 503, "5.5.1", "Say EHLO first")                                       \
	X(MAIL_FIRST, 503, "5.5.1", "Say MAIL first")                                        \
	X(RCPT_FIRST, 503, "5.5.1", "Say RCPT first")                                        \
	X(NO_VALID_RCPT, 554, "5.5.1", "No valid recipients")                                \
	X(MAIL_NESTED, 503, "5.5.1", "Nested MAIL command")                                  \
	X(IN_MAIL, 503, "5.5.1", "Not during a mail transaction")                            \
	X(BDAT_OPEN, 503, "5.5.1", "A BDAT message is in progress")                          \
	X(BINARY_NEEDS_BDAT, 503, "5.5.1", "BINARYMIME needs BDAT")                          \
	X(PIPELINED, 503, "5.5.0", "This command must be the last of its group")             \
	X(TALKS_TOO_SOON, 554, "5.5.0", "You spoke before the greeting")                     \
	X(WRONG_SERVICE, 503, "5.5.1", "Wrong greeting for this service")                    \
	X(TOO_MANY_ERRORS, 421, "4.7.0", "Too many errors")                                  \
	X(TOO_MANY_COMMANDS, 421, "4.7.0", "Too many commands without a message")            \
	X(NO_LOGIN, 421, "4.7.0", "Too many commands without a login")                       \
	X(IDLE, 421, "4.4.2", "Timeout, closing the connection")                             \
	/* TLS and login */                                                                  \
	X(NEED_TLS, 530, "5.7.0", "Must issue a STARTTLS command first")                     \
	X(TLS_ACTIVE, 503, "5.5.1", "TLS is active already")                                 \
	X(TLS_UNAVAILABLE, 454, "4.7.0", "TLS is not available for now")                     \
	X(TLS_INJECTED, 554, "5.5.0", "Commands behind STARTTLS were refused")               \
	X(NEED_AUTH, 530, "5.7.0", "Authentication required")                                \
	X(AUTH_NEEDS_TLS, 538, "5.7.11", "Encryption required for authentication")           \
	X(AUTH_DONE, 503, "5.5.1", "Authenticated already")                                  \
	X(AUTH_FAILED, 535, "5.7.8", "Authentication credentials invalid")                   \
	X(AUTH_LOCKED, 454, "4.7.0", "Too many failures, try again later")                   \
	X(AUTH_BUSY, 454, "4.7.0", "Temporary authentication failure")                       \
	X(AUTH_CANCELED, 501, "5.7.0", "Authentication canceled")                            \
	X(AUTH_SYNTAX, 501, "5.5.2", "Cannot decode the response")                           \
	X(AUTH_MECHANISM, 504, "5.5.4", "Mechanism not supported")                           \
	X(SESSIONS, 454, "4.7.0", "Too many sessions of this account")                       \
	X(LOGIN_DELAY, 454, "4.7.0", "The last login is too short a time ago")               \
	X(AUTH_TOO_LONG, 500, "5.5.6", "Authentication exchange line is too long")           \
	/* who may send what to whom */                                                      \
	X(RELAY_DENIED, 550, "5.7.1", "Relaying denied")                                     \
	X(NO_ROUTE, 550, "5.1.1", "No mailbox or route for this address")                    \
	X(MAILBOX_DISABLED, 550, "5.2.1", "This mailbox takes no mail")                      \
	X(MAILBOX_FULL, 552, "5.2.2", "Mailbox full")                                        \
	X(ALIAS_LOOP, 550, "5.4.6", "This address leads nowhere, or to too many")            \
	X(BAD_SENDER, 501, "5.1.7", "Bad sender address")                                    \
	X(BAD_RCPT, 501, "5.1.3", "Bad recipient address")                                   \
	X(SENDER_DENIED, 550, "5.7.1", "The sender address does not belong to this account") \
	X(FROM_DENIED, 550, "5.7.1", "The From: address does not belong to this account")    \
	X(UTF8_NEEDED, 553, "5.6.7", "This address needs SMTPUTF8")                          \
	X(TOO_MANY_RCPTS, 452, "4.5.3", "Too many recipients")                               \
	X(TOO_LARGE, 552, "5.3.4", "Message too large")                                      \
	X(HOLD_TOO_LONG, 501, "5.5.4", "Hold time over the limit")                           \
	X(HOLD_PAST, 501, "5.5.4", "The time to hold the message until has passed")          \
	/* the message */                                                                    \
	X(BARE_NEWLINE, 550, "5.5.2", "Bare CR or LF in the message")                        \
	X(BODY_LINE, 550, "5.6.0", "Line over 998 bytes in the message")                     \
	X(NUL_BYTE, 550, "5.6.0", "NUL in the message")                                      \
	X(UTF8_HEADER, 550, "5.6.9", "A header with UTF-8 needs SMTPUTF8")                   \
	X(HEADER_TOO_LARGE, 552, "5.3.4", "Message header too large")                        \
	X(BAD_MESSAGE, 554, "5.6.0", "Message content not acceptable")                       \
	X(LOOP, 554, "5.4.6", "Too many hops, this looks like a loop")                       \
	/* ourselves */                                                                      \
	X(STORE, 452, "4.3.1", "Cannot store mail for now")                                  \
	X(BUSY, 451, "4.3.2", "Busy, try again later")                                       \
	X(INTERNAL, 451, "4.3.0", "Temporary server error")                                  \
	X(DNS, 451, "4.4.3", "Temporary name server failure")                                \
	X(SHUTDOWN, 421, "4.3.2", "The service is shutting down")                            \
	X(OVERLOAD, 421, "4.3.2", "Too many connections, try again later")                   \
	X(RATE, 421, "4.7.0", "Too many connections from your address")                      \
	X(EXPELLED, 421, "4.7.0", "This account may not be logged in any more")              \
	X(QUOTA, 452, "4.2.2", "Mailbox full")

enum fault {
	FAULT_NONE = 0,
#define X(name, code, enhanced, text) FAULT_##name,
	FAULT_TABLE(X)
#undef X
		FAULT_COUNT
};

/* One reply line of SMTP: "550", "5.7.1", "Relaying denied". */
struct smtp_words {
	unsigned code;
	const char *enhanced;
	const char *text;
};

/* "relay_denied": for logs and metrics. */
const char *fault_name(enum fault fault);
/* What a client of SMTP or LMTP reads. Never for FAULT_NONE. */
const struct smtp_words *fault_smtp(enum fault fault);
/* "[SYS/TEMP] " (RFC 2449 8, RFC 3206), or "". */
const char *fault_pop3_code(enum fault fault);
/* The response code of IMAP (RFC 9051 7.1, RFC 5530), without brackets, or "". */
const char *fault_imap_code(enum fault fault);
/* What a failure below means at the door while a message is taken in. FAULT_NONE for OK. */
enum fault fault_of_err(enum err err);

#endif
