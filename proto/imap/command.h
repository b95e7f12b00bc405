/* SPDX-License-Identifier: GPL-2.0-or-later */
/* command.h - where one command ends, literals included, as its bytes arrive.
 *
 * A session keeps a zeroed struct imap_reader and gives imap_command_take all it has not consumed;
 * what is not `used` must come again, with more behind it. So an idle connection holds no buffer, and
 * a command that came whole is read where it lies: slices point into `in`. The state is a few bytes.
 *
 * Inside a command quotes, escapes and literals are respected; a bare CR or LF, or a NUL outside a
 * literal, makes the command bad. The reader is always in step again behind the command's CRLF:
 * what was refused is swallowed, its non-synchronising literals too, without being held.
 *
 * The message literals of APPEND (and REPLACE, CATENATE) are never collected. The command comes in
 * parts then: `message` is set, `text` is what stood before the literal, and the session either
 * takes its bytes by imap_message_take or refuses. Then imap_command_take goes on behind it, with
 * the next part or, without `message`, the last. */
#ifndef PROTO_IMAP_COMMAND_H
#define PROTO_IMAP_COMMAND_H

#include "proto/imap/limits.h"

/* Private but for its being zeroed; some 40 bytes. */
struct imap_reader {
	uint64_t number; /* of a literal's header while it is read */
	uint64_t left;   /* of a literal: collected, message or swallowed */
	const char *why; /* what is wrong with the command so far */
	uint32_t seen;   /* bytes of `in` that were looked at */
	uint8_t at, mode;
	bool quoted, plus, binary, later;
};

struct imap_part {
	slice tag;  /* empty when there is none that could be answered */
	slice text; /* the command from its tag on, or what stands behind a message; no CRLF. With
	             * `message`: up to the brace (or tilde) that begins the literal */
	const char *why; /* STEP_BAD, STEP_TOO_LONG: what was wrong */
	bool prompt;     /* STEP_MORE: send a continuation request now */
	bool later;      /* not the command's first part */
	bool message;    /* a message literal follows */
	bool sync;       /* the literal in question waits for a continuation request */
	bool binary;     /* literal8 */
	uint64_t bytes;  /* of the literal in question; STEP_TOO_LONG: 0 when it was the line */
};

/* STEP_MORE: not yet; with `prompt` (once per synchronising literal) or something used, call again at
 * once. STEP_DONE: a part. STEP_BAD and STEP_TOO_LONG: answer with BAD now, the rest of the command will
 * be swallowed; too long is the command, or a literal of `bytes` bytes, and a session may rather
 * close than read so much. */
enum step imap_command_take(struct imap_reader *r, slice in, const struct imap_limits *limits,
	size_t *used, struct imap_part *out) must_use;

/* Behind a part with `message`: we want it. True: send a continuation request. */
bool imap_message_accept(struct imap_reader *r) must_use;
/* Not, or no longer: a synchronising literal that was not accepted will not come, which ends the
 * command; else what remains of the command is swallowed. The tagged reply is the session's. */
void imap_message_refuse(struct imap_reader *r);
/* As many bytes of the accepted message as are at the front of `in`; they are then used up. */
slice imap_message_take(struct imap_reader *r, slice in);
/* Still to come. */
static inline uint64_t imap_message_left(const struct imap_reader *r)
{
	return r->left;
}

/* A line that is no command: of AUTHENTICATE, and IDLE's DONE. STEP_BAD: a bare CR or LF, or NUL.
 * STEP_TOO_LONG once, when it ends; until then it is swallowed. */
enum step imap_line_take(struct imap_reader *r, slice in, size_t max, size_t *used,
	slice *line) must_use;

struct imap_command {
	slice tag, verb; /* the verb behind UID, in upper or lower case as it came */
	bool uid;
	slice args; /* what stands behind the verb, its space included */
};

/* False when there is no tag or verb; *why says what is wrong, and out->tag is set if there is one. */
bool imap_command_split(slice text, struct imap_command *out, const char **why) must_use;

#endif
