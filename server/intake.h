/* SPDX-License-Identifier: GPL-2.0-or-later */
/* intake.h - the one road of a finished message: trace and header edits, body, mailboxes, queue.
 *
 * Bytes of a message enter as they arrive, from SMTP or LMTP. The header is collected up to
 * its limit, checked and edited once it is whole; the body streams on into the store, hashed on the
 * way if it will be signed. The envelope and the intake live in the transaction's memory, which is the
 * caller's. A message that was refused midway swallows the rest without a trace; the fault is told at the
 * end. Between two pieces nothing waits. A header whose end has not come counts as a body does; when the
 * budget of bodies is used up the largest message in that state is refused for now. */
#ifndef SERVER_INTAKE_H
#define SERVER_INTAKE_H

#include "core/addr.h"
#include "proto/mailauth/dkim_canon.h"
#include "proto/mime/header.h"
#include "relay/envelope.h"
#include "relay/local.h"
#include "server/door.h"
#include "server/errmap.h"
#include "server/summing.h"
#include "store/blob.h"

/* What the trace field says (RFC 5321 4.4). */
struct intake_trace {
	slice helo;
	const struct addr *peer;              /* NULL: not to be named */
	const char *with;                     /* "ESMTPSA" (RFC 3848, RFC 6531 4.3) */
	const char *tls_version, *tls_cipher; /* NULL: in clear */
};

struct intake {
	struct door *door;
	struct envelope *env; /* the caller's: id and sizes are filled here */
	struct arena *arena;  /* the transaction's */
	struct intake_trace trace;
	struct blob_writer blob;
	struct header_end end;
	struct out header; /* on the heap until it is whole */
	struct blob_aside header_memory;
	struct dkim_body hash;
	struct local local;     /* who gets it here, and whom it is sent on to */
	struct summing summing; /* not begun: nobody here gets it */
	/* LMTP alone: one for each recipient, set by intake_finish. NULL: the message is taken for all
	 * of them or for none. */
	enum fault *rcpt_faults;
	enum fault fault; /* first one; sticky */
	bool header_done, submitted;
	/* Called from the loop after intake_add was true. May be NULL. */
	void (*resume)(struct intake *in);
	/* It is on disk, its id is env->id, and nothing has become of it yet. May be NULL. */
	void (*accepted)(struct intake *in);
};

/* Set door, env (origin, sender, account, smtputf8), arena, trace, resume and accepted before. */
void intake_begin(struct intake *in);
/* True: taken, but give no more before resume(). */
bool intake_add(struct intake *in, slice piece) must_use;
/* Refuse the message whatever else comes. The first fault counts. */
void intake_fail(struct intake *in, enum fault fault);
/* (fiber) The last byte was added: make it durable, in the mailboxes of local recipients and in the
 * queue for all others. FAULT_NONE: it is accepted (but for rcpt_faults), and its id is env->id. The
 * intake has ended in every outcome. */
enum fault intake_finish(struct intake *in) must_use;
/* (fiber, if intake_busy) Forget it. Harmless when it has ended. */
void intake_drop(struct intake *in);
/* What local_add said of a recipient, as an answer. */
enum fault intake_rcpt_fault(const struct local *l, enum err err);
/* Dropping it would have to wait. */
bool intake_busy(const struct intake *in);

#endif
