/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reactor over io_uring. The flags follow what was measured and what is known to be sound:
 * one issuer, completions run when we ask for them, receives from a provided-buffer ring with
 * POLL_FIRST (no buffer is held while nothing came), one-shot accepts. No linked time-outs,
 * bundles, zero-copy sends or multishot: they have ordering faults on kernels we support, or
 * gain nothing here. */
#include "core/addr.h"
#include "core/worker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	DEFAULT_ENTRIES = 512,
	CQ_ENTRIES = 8192,
	DEFAULT_BUFS = 256,
	DEFAULT_BUF_BYTES = 16384 + 512,
	GROUP = 0,
};

struct uring {
	struct io_uring ring;
	struct io_uring_buf_ring *buf_ring;
	char *bufs;
	size_t bufs_bytes, buf_ring_bytes;
	unsigned buf_count, buf_bytes;
	struct list cancels; /* ops in flight that are to end early */
	struct op wake_op;
	int wake_fd;
	uint64_t wake_value;
	struct iovec wake_iov;
	bool ring_open;
};

/* --- Opening, and saying clearly why it cannot be --- */

static int read_disabled(void)
{
	FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
	int value = -1;

	if (f) {
		if (fscanf(f, "%d", &value) != 1)
			value = -1;
		fclose(f);
	}
	return value;
}

static const char *explain_denied(void)
{
	switch (read_disabled()) {
	case 2:
		return "io_uring is forbidden on this system: set kernel.io_uring_disabled to 0 "
		       "(sysctl)";
	case 1:
		return "io_uring is forbidden for this user: set kernel.io_uring_disabled to 0, or "
		       "put the user into the group of kernel.io_uring_group (sysctl)";
	default:
		return "io_uring is forbidden here, most likely by a seccomp filter: allow "
		       "io_uring_setup, "
		       "io_uring_enter and io_uring_register in the container's or unit's filter";
	}
}

static const char *explain(int number)
{
	switch (number) {
	case ENOSYS:
		return "io_uring is not in this kernel: Linux 6.1 or newer with CONFIG_IO_URING is "
		       "needed";
	case EPERM:
	case EACCES:
		return explain_denied();
	case ENOMEM:
		return "no memory for io_uring: raise the limit of locked memory (ulimit -l, "
		       "LimitMEMLOCK=)";
	case EINVAL:
		return "this kernel's io_uring is too old: Linux 6.1 or newer is needed";
	case EMFILE:
	case ENFILE:
		return "no file descriptor left for io_uring: raise the limit (ulimit -n, "
		       "LimitNOFILE=)";
	default:
		return "io_uring could not be set up";
	}
}

static enum err cannot(int number, char *why, size_t size)
{
	number = number < 0 ? -number : number;
	if (why && size)
		snprintf(why, size, "%s (%s)", explain(number), strerrordesc_np(number));
	return number == ENOMEM ? ERR_NOMEM : number == EMFILE ? ERR_NOFILES : ERR_UNSUPPORTED;
}

static void give_buffer(struct uring *u, unsigned id)
{
	io_uring_buf_ring_add(u->buf_ring, u->bufs + (size_t)id * u->buf_bytes, u->buf_bytes,
		(unsigned short)id, io_uring_buf_ring_mask(u->buf_count), 0);
	io_uring_buf_ring_advance(u->buf_ring, 1);
}

static int open_bufs(struct uring *u)
{
	struct io_uring_buf_reg reg = { .ring_entries = u->buf_count, .bgid = GROUP };

	u->buf_ring_bytes = u->buf_count * sizeof(struct io_uring_buf);
	u->bufs_bytes = (size_t)u->buf_count * u->buf_bytes;
	void *ring = mmap(NULL, u->buf_ring_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (ring == MAP_FAILED)
		return -ENOMEM;
	u->buf_ring = ring;
	void *bufs = mmap(NULL, u->bufs_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (bufs == MAP_FAILED)
		return -ENOMEM;
	u->bufs = bufs;
	reg.ring_addr = (uint64_t)(uintptr_t)u->buf_ring;
	int res = io_uring_register_buf_ring(&u->ring, &reg, 0);

	if (res < 0)
		return res;
	io_uring_buf_ring_init(u->buf_ring);
	for (unsigned i = 0; i < u->buf_count; i++)
		give_buffer(u, i);
	return 0;
}

static int open_ring(struct uring *u, const struct workers_config *config)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL,
		.cq_entries = CQ_ENTRIES,
	};
	unsigned entries = config->ring_entries ? config->ring_entries : DEFAULT_ENTRIES;
	int res = io_uring_queue_init_params(entries, &u->ring, &params);

	if (res < 0)
		return res;
	u->ring_open = true;
	/* A completion lost to overflow would hang its owner for ever. */
	return params.features & IORING_FEAT_NODROP && params.features & IORING_FEAT_EXT_ARG ?
		0 :
		-EINVAL;
}

static void arm_wake(struct worker *w);

static void woken(struct op *op, int res)
{
	(void)op;
	if (res != ERR_CANCELED)
		arm_wake(worker_self());
}

static void arm_wake(struct worker *w)
{
	struct uring *u = w->ring.impl;

	u->wake_iov =
		(struct iovec){ .iov_base = &u->wake_value, .iov_len = sizeof(u->wake_value) };
	u->wake_op.done = woken;
	ring_read(w, &u->wake_op, u->wake_fd,
		&(struct ring_rw){ .iov = &u->wake_iov, .iov_len = 1 });
	w->ring.in_flight--; /* ours does not count */
}

static void uring_close(struct worker *w)
{
	struct uring *u = w->ring.impl;

	if (!u)
		return;
	if (u->ring_open)
		io_uring_queue_exit(&u->ring);
	u->ring_open = false;
	if (u->buf_ring)
		munmap(u->buf_ring, u->buf_ring_bytes);
	if (u->bufs)
		munmap(u->bufs, u->bufs_bytes);
	u->buf_ring = NULL;
	u->bufs = NULL;
}

/* Somebody may still be about to write to the eventfd when this worker has already seen his post. */
static void uring_forget(struct worker *w)
{
	struct uring *u = w->ring.impl;

	if (!u)
		return;
	if (u->wake_fd >= 0)
		close(u->wake_fd);
	free(u);
	w->ring.impl = NULL;
}

static enum err uring_open(struct worker *w, const struct workers_config *config, char *why,
	size_t size)
{
	struct uring *u = calloc(1, sizeof(*u));

	if (!u)
		return ERR_NOMEM;
	w->ring.impl = u;
	list_init(&u->cancels);
	u->buf_count = config->recv_bufs ? config->recv_bufs : DEFAULT_BUFS;
	u->buf_bytes = config->recv_buf_bytes ? config->recv_buf_bytes : DEFAULT_BUF_BYTES;
	u->wake_fd = eventfd(0, EFD_CLOEXEC);
	int res = u->wake_fd < 0 ? -errno : open_ring(u, config);

	if (res == 0)
		res = open_bufs(u);
	if (res < 0) {
		uring_close(w);
		return cannot(res, why, size);
	}
	arm_wake(w);
	return OK;
}

static void uring_wake(struct worker *w)
{
	struct uring *u = w->ring.impl;
	uint64_t one = 1;

	/* The counter of an eventfd cannot fill by ones; there is nothing to do about other
	 * errors. */
	ssize_t put = write(u->wake_fd, &one, sizeof(one));
	(void)put;
}

/* --- Submitting --- */

static void prepare_recv(struct io_uring_sqe *sqe, const struct op *op)
{
	io_uring_prep_recv(sqe, op->fd, NULL, 0, 0);
	sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
}

/* The usual reply is one piece: the kernel then has no vector to copy. */
static void prepare_send(struct io_uring_sqe *sqe, const struct op *op)
{
	const struct msghdr *msg = op->ptr;
	int flags = MSG_NOSIGNAL | MSG_WAITALL;

	if (msg->msg_iovlen == 1)
		io_uring_prep_send(sqe, op->fd, msg->msg_iov[0].iov_base, msg->msg_iov[0].iov_len,
			flags);
	else
		io_uring_prep_sendmsg(sqe, op->fd, msg, (unsigned)flags);
}

static void prepare(struct io_uring_sqe *sqe, const struct op *op)
{
	struct ring_peer *peer = op->ptr;

	switch ((enum op_kind)op->kind) {
	case OP_ACCEPT:
		io_uring_prep_accept(sqe, op->fd, (struct sockaddr *)&peer->addr, &peer->len,
			SOCK_CLOEXEC);
		break;
	case OP_CONNECT:
		io_uring_prep_connect(sqe, op->fd, (struct sockaddr *)&peer->addr, peer->len);
		break;
	case OP_RECV:
		prepare_recv(sqe, op);
		break;
	case OP_SEND:
		prepare_send(sqe, op);
		break;
	case OP_READ:
		io_uring_prep_readv2(sqe, op->fd, op->ptr, op->len, op->offset, (int)op->flags);
		break;
	case OP_WRITE:
		io_uring_prep_writev2(sqe, op->fd, op->ptr, op->len, op->offset, (int)op->flags);
		break;
	case OP_FSYNC:
		io_uring_prep_fsync(sqe, op->fd, op->flags ? IORING_FSYNC_DATASYNC : 0);
		break;
	case OP_POLL:
		io_uring_prep_poll_add(sqe, op->fd, op->flags);
		break;
	case OP_NONE:
	case OP_CANCEL:
		must(0);
	}
}

static void uring_stage(struct worker *w, struct op *op)
{
	list_push(&w->ring.staged, &op->link);
}

static struct io_uring_sqe *next_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (!sqe) {
		io_uring_submit(&u->ring);
		sqe = io_uring_get_sqe(&u->ring);
	}
	return sqe;
}

/* An op the kernel has not seen ends here; another is cancelled by its user_data in the next
 * turn, and nobody waits for the answer to that. */
static void uring_cancel(struct worker *w, struct op *op)
{
	struct uring *u = w->ring.impl;

	if (list_has(&op->link)) {
		list_remove(&op->link);
		op->flags = (uint32_t)ERR_CANCELED;
		list_push(&w->ring.failed, &op->link);
	} else {
		list_push(&u->cancels, &op->link);
	}
}

static bool push_cancels(struct worker *w)
{
	struct uring *u = w->ring.impl;
	struct list_link *link;

	while ((link = list_first(&u->cancels))) {
		struct op *op = container_of(link, struct op, link);
		struct io_uring_sqe *sqe = next_sqe(u);

		if (!sqe)
			return false;
		list_remove(link);
		io_uring_prep_cancel64(sqe, ring_user_data(&w->ring, op), 0);
		io_uring_sqe_set_data64(sqe, (uint64_t)OP_CANCEL << 56);
	}
	return true;
}

/* False: the submission queue is full and the kernel takes nothing now. */
static bool push_staged(struct worker *w)
{
	struct uring *u = w->ring.impl;
	struct list_link *link;

	while ((link = list_first(&w->ring.staged))) {
		struct op *op = container_of(link, struct op, link);
		struct io_uring_sqe *sqe = next_sqe(u);

		if (!sqe)
			return false;
		list_remove(link);
		prepare(sqe, op);
		io_uring_sqe_set_data64(sqe, ring_user_data(&w->ring, op));
	}
	return true;
}

/* --- Completing --- */

static void complete(struct worker *w, const struct io_uring_cqe *cqe)
{
	struct uring *u = w->ring.impl;
	struct op *op = ring_slot_find(&w->ring, cqe->user_data);

	if (!op)
		return;
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		op->buf = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
		/* End of stream, or an error: nobody will give it back. */
		if (cqe->res <= 0)
			give_buffer(u, op->buf);
	}
	if (op->kind == OP_RECV && cqe->res == -ENOBUFS)
		stat_add(w, recv_empty, 1);
	if (op == &u->wake_op)
		w->ring.in_flight++;
	ring_complete(w, op, cqe->res < 0 ? (int)ring_err(cqe->res) : cqe->res);
}

static void reap(struct worker *w)
{
	struct uring *u = w->ring.impl;
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0;

	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		complete(w, cqe);
		seen++;
	}
	io_uring_cq_advance(&u->ring, seen);
}

static void uring_turn(struct worker *w, msec timeout)
{
	struct uring *u = w->ring.impl;
	bool all = push_staged(w) && push_cancels(w);

	if (!all || timeout == 0 || !list_empty(&w->ring.failed)) {
		io_uring_submit_and_get_events(&u->ring);
	} else {
		int64_t us = worker_sleep_us(w, timeout);
		struct __kernel_timespec ts = { .tv_sec = us / 1000000,
			.tv_nsec = us % 1000000 * 1000 };
		struct io_uring_cqe *cqe;

		io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, timeout < 0 ? NULL : &ts, NULL);
	}
	atomic_store_explicit(&w->sleeping, false, memory_order_relaxed);
	worker_touch_clock(w);
	ring_run_failed(w);
	reap(w);
}

static slice uring_recv_bytes(struct worker *w, const struct op *op, int res)
{
	struct uring *u = w->ring.impl;

	return slice_of(u->bufs + (size_t)op->buf * u->buf_bytes, (size_t)res);
}

static void uring_recv_return(struct worker *w, struct op *op)
{
	give_buffer(w->ring.impl, op->buf);
}

/* --- Sockets and clocks --- */

static enum err uring_socket(const struct addr *like, enum ring_socket_kind kind, int *out_fd)
{
	static const int families[] = { [ADDR_NONE] = AF_UNSPEC,
		[ADDR_IP4] = AF_INET,
		[ADDR_IP6] = AF_INET6,
		[ADDR_UNIX] = AF_UNIX };
	int one = 1;
	/* Not O_NONBLOCK: the ring would answer EAGAIN instead of waiting. */
	int fd = socket(families[like->kind], SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return ring_err(errno);
	if (like->kind == ADDR_IP6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (kind == RING_LISTEN && like->kind != ADDR_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	*out_fd = fd;
	return OK;
}

static enum err uring_bind(int fd, const struct addr *to, bool share_port)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int one = 1;

	if (!addr_to_sockaddr(to, &sa, &len))
		return ERR_INVALID;
	if (share_port && to->kind != ADDR_UNIX &&
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0)
		return ring_err(errno);
	/* Only dialling sockets come here without: the port is chosen at connect, per
	 * destination. */
	if (!share_port && to->port == 0 && to->kind != ADDR_UNIX)
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(fd, (struct sockaddr *)&sa, len) == 0 ? OK : ring_err(errno);
}

static enum err uring_listen(int fd, int backlog)
{
	return listen(fd, backlog) == 0 ? OK : ring_err(errno);
}

static void uring_nodelay(int fd)
{
	int one = 1;

	/* Harmless on a unix socket. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void uring_shutdown(int fd, int how)
{
	shutdown(fd, how);
}

static void uring_close_fd(int fd)
{
	close(fd);
}

static struct addr uring_local(int fd)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		return (struct addr){ 0 };
	return addr_from_sockaddr((struct sockaddr *)&sa, len);
}

static void uring_say(int fd, slice text)
{
	ssize_t put = send(fd, text.ptr, text.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)put;
}

static int64_t read_clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static msec uring_now(void)
{
	return read_clock_us(CLOCK_MONOTONIC) / 1000;
}

static int64_t uring_now_us(void)
{
	return read_clock_us(CLOCK_MONOTONIC);
}

static wall_ms uring_wall(void)
{
	return read_clock_us(CLOCK_REALTIME) / 1000;
}

const struct ring_backend ring_uring = {
	.open = uring_open,
	.close = uring_close,
	.forget = uring_forget,
	.stage = uring_stage,
	.cancel = uring_cancel,
	.turn = uring_turn,
	.wake = uring_wake,
	.recv_bytes = uring_recv_bytes,
	.recv_return = uring_recv_return,
	.socket = uring_socket,
	.bind = uring_bind,
	.listen = uring_listen,
	.nodelay = uring_nodelay,
	.shutdown = uring_shutdown,
	.close_fd = uring_close_fd,
	.local = uring_local,
	.say = uring_say,
	.now = uring_now,
	.now_us = uring_now_us,
	.wall = uring_wall,
};
