/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conn.h - one stream connection of a worker: bytes in by callback or on a fiber, bytes out
 * coalesced.
 *
 * A conn is the engine's from conn_open (or dial) until `closed` was called, which is the last
 * call, made exactly once, from the loop, when nothing is in flight and no fiber of it runs;
 * afterwards the pointer is dead. Idle it holds no buffer and no fiber. All calls on its
 * worker. What can fail in the network is told by `closed`; calls on a connection that is
 * already closing are harmless. */
#ifndef CORE_CONN_H
#define CORE_CONN_H

#include "core/addr.h"
#include "core/base/base.h"

struct conn;
struct fiber;
struct listener;
struct tls_session;
struct worker;

/* Any but `data` and `closed` may be NULL. None of them may wait (they run on the loop): use
 * conn_run. None is called from inside a conn_ call. */
struct conn_ops {
	/* All unread bytes; returns how many it is done with. The rest is kept and comes
	 * again, with more behind it; with as many unread as conn_set_hold_max allows, and none taken, the
	 * connection ends (ERR_LIMIT). `in` dies with this call: what a fiber needs across a
	 * wait is copied to an arena first. Bytes already given to conn_consume count as
	 * returned. */
	size_t (*data)(struct conn *c, slice in);
	/* Output fell to the low-water mark after having been over the high one. */
	void (*drained)(struct conn *c);
	/* Why: OK after conn_close, ERR_CLOSED at the peer's end of stream, or the error. */
	void (*closed)(struct conn *c, enum err why);
	/* conn_deadline passed; disarmed now. NULL: conn_abort(c, ERR_TIMEOUT). Also called
	 * while a fiber runs. */
	void (*deadline)(struct conn *c);
};

struct conn_open {
	int fd; /* a connected stream socket; the conn's from here on, also on failure */
	const struct addr *peer;
	const struct conn_ops *ops;
	void *owner;               /* conn_owner() */
	struct listener *listener; /* whose limits it counts under; NULL for others */
	bool paused;               /* deliver nothing before conn_resume */
	bool dialled;              /* counted as outgoing (core/room.h), which ends with it */
};
/* Reading starts at the end of this turn. ERR_NOMEM. */
enum err conn_open(struct worker *w, const struct conn_open *args, struct conn **out) must_use;

/* --- What it is --- */
void *conn_owner(const struct conn *c);
void conn_set_owner(struct conn *c, const struct conn_ops *ops, void *owner);
struct worker *conn_worker(const struct conn *c);
const struct addr *conn_peer(const struct conn *c);
/* From a PROXY header. Limits go on counting the socket's own peer. */
void conn_set_peer(struct conn *c, const struct addr *peer);
bool conn_is_tls(const struct conn *c);             /* the handshake is done */
struct tls_session *conn_tls(const struct conn *c); /* NULL: none */
bool conn_closing(const struct conn *c);

/* --- Input --- */
enum { CONN_HOLD_MAX = 64 * 1024, CONN_HIGH = 64 * 1024, CONN_LOW = 16 * 1024 };
/* Unread bytes kept at most (default CONN_HOLD_MAX). */
void conn_set_hold_max(struct conn *c, size_t bytes);
/* No `data` until conn_resume; kept bytes come again then, from the loop. For fairness and
 * lack of memory. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
/* Drop what is unread: bytes behind STARTTLS in one segment. Returns how many. */
size_t conn_drop_input(struct conn *c);

/* --- Output: sent at the end of this turn, everything written by then in one send --- */
struct out *conn_out(struct conn *c);
/* Bytes written and not yet taken by the kernel. */
size_t conn_pending(const struct conn *c);
/* Over the high-water mark. Meanwhile no `data` is called and the socket is not read; a loop over
 * pipelined commands stops here by returning what it consumed. */
bool conn_congested(const struct conn *c);
/* Send now what is written (it happens by itself at the end of the turn). */
void conn_flush(struct conn *c);

/* Large output without a copy: write to `out`, then the bytes are sent from where they stand. Every
 * piece that was opened is sent or dropped, on the conn's worker, also when the conn is closing. */
struct conn_piece {
	struct out out; /* has room for some 190 KB, grows up to max_bytes; stays where it is */
	struct conn *conn;
	size_t max_bytes;
};
enum err conn_piece_open(struct conn *c, size_t max_bytes, struct conn_piece *p) must_use;
void conn_piece_send(struct conn_piece *p);
void conn_piece_drop(struct conn_piece *p); /* harmless after either */

/* --- Time --- */
/* Move the deadline to `ms` from now; 0: none. */
void conn_deadline(struct conn *c, msec ms);

/* --- Fibers --- */
/* Runs fn(c) on a fiber: now until it first waits. While it lives no `data` is called (input
 * is kept and reading pauses); when it returned later, kept bytes are offered again from the
 * loop. True: it has already returned and the caller goes on with its input. False: return
 * from `data` now, with what is consumed. If fn reads by conn_wait_data, conn_consume what
 * precedes first. Out of memory aborts the connection (false). One fiber at a time. */
bool conn_run(struct conn *c, void (*fn)(struct conn *c));
struct fiber *conn_fiber(const struct conn *c); /* NULL: none */

/* The calling fiber becomes the conn's, as if conn_run had started it: no `data`, no `closed` and no
 * freeing before conn_detach, and an abort cancels it. For a fiber that takes a conn with
 * callbacks out of a pool. */
void conn_attach(struct conn *c);
void conn_detach(struct conn *c);

/* On a fiber: unread bytes, waiting for some if there are none, or for more than `*in` had
 * when in->len > 0 (pass what the last call gave, not consumed). ERR_CLOSED at the end of the
 * stream (in is what is left), ERR_LIMIT when the kept bytes reach the maximum, ERR_TIMEOUT,
 * or why it closes. The slice is valid until the fiber next waits, for anything. */
enum err conn_wait_data(struct conn *c, slice *in, msec timeout_ms) must_use;
/* The first n of them are done with. */
void conn_consume(struct conn *c, size_t n);
/* Wait until not congested; flushes. */
enum err conn_send_wait(struct conn *c, msec timeout_ms) must_use;
/* Wait until everything written is with the kernel: for clients that tests make of connections. */
enum err conn_drain_wait(struct conn *c, msec timeout_ms) must_use;

/* --- TLS --- */
/* From here on bytes are records of `t`, which is the conn's now. Input kept in clear is
 * dropped (injection behind STARTTLS); output written before goes out in clear first. The
 * handshake runs on a fiber of its own; `data` begins after it, with conn_is_tls true; a
 * failure closes with its error. Call from `data` (return in.len then) or deadline, or from a
 * command's fiber right before it returns. */
void conn_start_tls(struct conn *c, struct tls_session *t);
/* The fiber form, for clients: waits for the handshake on the calling fiber. On failure the
 * conn is closing. */
enum err conn_start_tls_wait(struct conn *c, struct tls_session *t, msec timeout_ms) must_use;

/* For a server that read something in clear first (a PROXY header): what is unread now is the beginning of
 * the records. Waits as above. */
enum err conn_accept_tls_wait(struct conn *c, struct tls_session *t, msec timeout_ms) must_use;

/* --- DEFLATE (RFC 1951, raw), inside TLS where there is any --- */
/* From here on bytes are compressed both ways; output written before goes out as it is, kept input is
 * dropped. Call from `data` (return in.len then) or right before a command's fiber returns.
 * Quiet connections give their states back. ERR_NOMEM: nothing changed. */
enum err conn_start_deflate(struct conn *c) must_use;
bool conn_is_deflated(const struct conn *c);

/* --- End --- */
/* After what is written was sent (or a deadline, or CONN_LINGER_MS): shutdown, cancel, wait,
 * close. No data is called any more. A running fiber goes on and may still write; the close
 * comes when it returned. */
enum { CONN_LINGER_MS = 30 * 1000 };
void conn_close(struct conn *c);
/* The same after something went wrong: `closed` is told what. */
void conn_end(struct conn *c, enum err why);
/* At once, dropping output; a running fiber is cancelled with `err`. */
void conn_abort(struct conn *c, enum err err);

#endif
