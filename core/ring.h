/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ring.h - asynchronous operations of one worker: io_uring, or the simulation.
 *
 * Every call is made on the worker itself, returns at once and cannot fail: failures are
 * results (see op.h), with errno already translated. What is submitted in one turn of the loop
 * reaches the kernel in one system call at its end. Sockets and files are plain descriptors;
 * in the simulation they are numbers of its own, so nobody but this module and file.c may use
 * them in system calls. */
#ifndef CORE_RING_H
#define CORE_RING_H

#include "core/op.h"

#include <sys/socket.h>
#include <sys/uio.h>

struct addr;
struct worker;

/* One connection; `peer` and `peer_len` live with the op. Result: its descriptor. */
struct ring_peer {
	struct sockaddr_storage addr;
	socklen_t len;
};
void ring_accept(struct worker *w, struct op *op, int fd, struct ring_peer *peer);
/* `to` must stay until done. */
void ring_connect(struct worker *w, struct op *op, int fd, const struct ring_peer *to);
/* Into a buffer of the worker's pool, taken only when bytes are there. Result: how many, 0 at the
 * end of the stream. With > 0 the bytes are ring_recv_bytes(); give the buffer back with
 * ring_recv_return() before the turn ends. ERR_BUSY: the pool was empty, submit again. */
void ring_recv(struct worker *w, struct op *op, int fd);
slice ring_recv_bytes(struct worker *w, const struct op *op, int res);
void ring_recv_return(struct worker *w, struct op *op);
/* All of it (MSG_WAITALL) unless the peer goes away; message and iovecs stay until done. */
void ring_send(struct worker *w, struct op *op, int fd, const struct msghdr *msg);
/* `flags` are RWF_*. The iovecs stay until done. Short results are possible. */
struct ring_rw {
	const struct iovec *iov;
	unsigned iov_len;
	uint64_t offset;
	int flags;
};
void ring_read(struct worker *w, struct op *op, int fd, const struct ring_rw *rw);
void ring_write(struct worker *w, struct op *op, int fd, const struct ring_rw *rw);
void ring_fsync(struct worker *w, struct op *op, int fd, bool data_only);
/* Once, until one of the POLL* bits; result: the bits. For descriptors of libraries
 * (libunbound). */
void ring_poll(struct worker *w, struct op *op, int fd, unsigned mask);
/* Ask for an early end: done comes with ERR_CANCELED, or with the true result if that was faster.
 * Harmless when not busy. */
void ring_cancel(struct worker *w, struct op *op);
/* Operations in flight on this worker (its own wake-up read not counted); for tests. */
unsigned ring_in_flight(const struct worker *w);

/* Sockets: the synchronous calls, non-blocking by nature. */
enum ring_socket_kind { RING_STREAM, RING_LISTEN };
enum err ring_socket(const struct addr *like, enum ring_socket_kind kind, int *out_fd) must_use;
enum err ring_bind(int fd, const struct addr *to, bool share_port) must_use;
enum err ring_listen(int fd, int backlog) must_use;
void ring_nodelay(int fd);
void ring_shutdown(int fd);
void ring_shutdown_write(int fd);
void ring_close(int fd);
/* ADDR_NONE when it cannot be told. */
struct addr ring_local_addr(int fd);

/* errno (positive or negative) to enum err: the one table of it. */
enum err ring_err(int errno_value);

/* Faults for tests, in builds with RP_FAULTS (otherwise these do nothing): the n-th submission
 * from now completes with `err`; the next n accepts do; sends take at most `bytes` (0: no limit);
 * the n-th pool allocation fails. */
struct ring_faults {
	unsigned fail_submission; /* counts down to 1; 0: off */
	enum err fail_with;
	unsigned fail_accepts;
	enum err fail_accepts_with;
	size_t send_max_bytes;
	unsigned fail_alloc;
};
void ring_set_faults(struct worker *w, const struct ring_faults *faults);

#endif
