/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conn_tls.h - what a connection wants of a TLS session, and nothing more.
 *
 * The session is bytes in, bytes out; it never sees a socket. It embeds a struct tls_session
 * as its first member and belongs to the connection from conn_start_tls on, which calls
 * close() at its end. Only one of these functions runs at a time: while the handshake waits on
 * its fiber (say, for a signature) the connection enters no other. `records` is the
 * connection's send queue: everything the session produces goes there at once, alerts, tickets
 * and key updates included, also before an error is returned. */
#ifndef CORE_CONN_TLS_H
#define CORE_CONN_TLS_H

#include "core/base/base.h"

struct conn;
struct tls_session;

struct conn_tls_ops {
	/* On a fiber, may wait. Takes what it can of *in (advancing it; `in` is stable while
	 * it waits). OK: done, the rest of *in is application data. ERR_BUSY: all of *in is
	 * taken and more is needed; it will be called again. Anything else ends the
	 * connection. A close meanwhile resumes a wait inside with its error. */
	enum err (*handshake)(struct tls_session *t, slice *in, struct out *records);
	/* On the loop or a fiber, never waits. Decrypts one piece into buf (what does not fit comes
	 * with the next call): OK with *out_len > 0; ERR_BUSY: all of *in is taken, nothing more
	 * comes out without more; ERR_CLOSED: close_notify; others end the connection. */
	enum err (*read)(struct tls_session *t, slice *in, char *buf, size_t cap, size_t *out_len,
		struct out *records);
	/* Makes records of all of `plain`. */
	enum err (*write)(struct tls_session *t, slice plain, struct out *records);
	/* close_notify. Harmless before the handshake ended. */
	void (*shutdown)(struct tls_session *t, struct out *records);
	/* Frees the session. No function of it is running. */
	void (*close)(struct tls_session *t);
};

struct tls_session {
	const struct conn_tls_ops *ops;
};

#endif
