/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both back ends share: filling in operations, the slot table that stands between the kernel
 * and our pointers, the translation of errno, and faults for tests. */
#include "core/addr.h"
#include "core/worker_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

const struct ring_backend *ring_backend = &ring_uring;

/* --- Slots --- */

enum { GENERATION_BITS = 24, KIND_SHIFT = 56 };

static bool slots_grow(struct ring *r)
{
	uint32_t count = r->slot_count ? r->slot_count * 2 : 256;
	struct ring_slot *slots = realloc(r->slots, count * sizeof(*slots));

	if (!slots)
		return false;
	uint32_t first = MAX(r->slot_count, 1u);

	memset(slots + r->slot_count, 0, (count - r->slot_count) * sizeof(*slots));
	for (uint32_t i = first; i < count; i++)
		slots[i].next_free = i + 1 < count ? i + 1 : 0;
	r->free_slot = first;
	r->slots = slots;
	r->slot_count = count;
	return true;
}

static bool take_slot(struct ring *r, struct op *op)
{
	if (!r->free_slot && !slots_grow(r))
		return false;
	struct ring_slot *slot = &r->slots[r->free_slot];

	op->slot = r->free_slot;
	r->free_slot = slot->next_free;
	slot->op = op;
	slot->generation = (slot->generation + 1) & ((1u << GENERATION_BITS) - 1);
	r->in_flight++;
	return true;
}

uint64_t ring_user_data(const struct ring *r, const struct op *op)
{
	return (uint64_t)op->kind << KIND_SHIFT | (uint64_t)r->slots[op->slot].generation << 32 |
		op->slot;
}

struct op *ring_slot_find(const struct ring *r, uint64_t user_data)
{
	uint32_t at = (uint32_t)user_data;
	struct op *op = at && at < r->slot_count ? r->slots[at].op : NULL;

	return op && ring_user_data(r, op) == user_data ? op : NULL;
}

void ring_complete(struct worker *w, struct op *op, int res)
{
	struct ring *r = &w->ring;
	struct ring_slot *slot = &r->slots[op->slot];

	list_remove(&op->link); /* a cancel not yet sent */
	slot->op = NULL;
	slot->next_free = r->free_slot;
	r->free_slot = op->slot;
	r->in_flight--;
	op->slot = 0;
	stat_add(w, ops, 1);
	op->done(op, res);
}

/* --- Submitting --- */

#ifdef RP_FAULTS
static bool count_down(unsigned *n)
{
	return *n && --*n == 0;
}
#endif

static void fail(struct worker *w, struct op *op, enum err err)
{
	op->flags = (uint32_t)err;
	list_push(&w->ring.failed, &op->link);
}

static void submit(struct worker *w, struct op *op, enum op_kind kind, int fd)
{
	struct ring *r = &w->ring;

	must(w == worker_self() && !op_busy(op) && op->done);
	op->kind = (uint8_t)kind;
	op->fd = fd;
	op->cancelled = 0;
	op->link = (struct list_link){ 0 };
	if (!take_slot(r, op)) {
		/* Memory for one slot: the op waits for its error outside the table. */
		op->slot = UINT32_MAX;
		fail(w, op, ERR_NOMEM);
		return;
	}
#ifdef RP_FAULTS
	if (kind == OP_ACCEPT && r->faults.fail_accepts) {
		r->faults.fail_accepts--;
		fail(w, op, r->faults.fail_accepts_with);
		return;
	}
	if (count_down(&r->faults.fail_submission)) {
		fail(w, op, r->faults.fail_with);
		return;
	}
#endif
	ring_backend->stage(w, op);
}

bool ring_run_failed(struct worker *w)
{
	struct list failed;
	struct list_link *link;
	bool some = !list_empty(&w->ring.failed);

	list_init(&failed);
	while ((link = list_pop(&w->ring.failed)))
		list_push(&failed, link);
	while ((link = list_pop(&failed))) {
		struct op *op = container_of(link, struct op, link);
		int res = (int)op->flags;

		if (op->slot == UINT32_MAX) {
			op->slot = 0;
			op->done(op, res);
		} else {
			ring_complete(w, op, res);
		}
	}
	return some;
}

void ring_accept(struct worker *w, struct op *op, int fd, struct ring_peer *peer)
{
	peer->len = sizeof(peer->addr);
	op->ptr = peer;
	submit(w, op, OP_ACCEPT, fd);
}

void ring_connect(struct worker *w, struct op *op, int fd, const struct ring_peer *to)
{
	op->ptr = (void *)(uintptr_t)to;
	submit(w, op, OP_CONNECT, fd);
}

void ring_recv(struct worker *w, struct op *op, int fd)
{
	op->buf = 0;
	submit(w, op, OP_RECV, fd);
}

slice ring_recv_bytes(struct worker *w, const struct op *op, int res)
{
	return ring_backend->recv_bytes(w, op, res);
}

void ring_recv_return(struct worker *w, struct op *op)
{
	ring_backend->recv_return(w, op);
}

void ring_send(struct worker *w, struct op *op, int fd, const struct msghdr *msg)
{
	op->ptr = (void *)(uintptr_t)msg;
	submit(w, op, OP_SEND, fd);
}

static void submit_rw(struct worker *w, struct op *op, enum op_kind kind, const struct ring_rw *rw)
{
	op->ptr = (void *)(uintptr_t)rw->iov;
	op->len = rw->iov_len;
	op->offset = rw->offset;
	op->flags = (uint32_t)rw->flags;
	submit(w, op, kind, op->fd);
}

void ring_read(struct worker *w, struct op *op, int fd, const struct ring_rw *rw)
{
	op->fd = fd;
	submit_rw(w, op, OP_READ, rw);
}

void ring_write(struct worker *w, struct op *op, int fd, const struct ring_rw *rw)
{
	op->fd = fd;
	submit_rw(w, op, OP_WRITE, rw);
}

void ring_fsync(struct worker *w, struct op *op, int fd, bool data_only)
{
	op->flags = data_only;
	submit(w, op, OP_FSYNC, fd);
}

void ring_poll(struct worker *w, struct op *op, int fd, unsigned mask)
{
	op->flags = mask;
	submit(w, op, OP_POLL, fd);
}

void ring_cancel(struct worker *w, struct op *op)
{
	if (op_busy(op) && op->slot != UINT32_MAX && !op->cancelled) {
		op->cancelled = 1;
		ring_backend->cancel(w, op);
	}
}

unsigned ring_in_flight(const struct worker *w)
{
	return w->ring.in_flight;
}

void ring_set_faults(struct worker *w, const struct ring_faults *faults)
{
	w->ring.faults = *faults;
}

/* --- Sockets --- */

enum err ring_socket(const struct addr *like, enum ring_socket_kind kind, int *out_fd)
{
	return ring_backend->socket(like, kind, out_fd);
}

enum err ring_bind(int fd, const struct addr *to, bool share_port)
{
	return ring_backend->bind(fd, to, share_port);
}

enum err ring_listen(int fd, int backlog)
{
	return ring_backend->listen(fd, backlog);
}

void ring_nodelay(int fd)
{
	ring_backend->nodelay(fd);
}

void ring_shutdown(int fd)
{
	ring_backend->shutdown(fd, SHUT_RDWR);
}

void ring_shutdown_write(int fd)
{
	ring_backend->shutdown(fd, SHUT_WR);
}

void ring_close(int fd)
{
	if (fd >= 0)
		ring_backend->close_fd(fd);
}

struct addr ring_local_addr(int fd)
{
	return ring_backend->local(fd);
}

/* --- Errors --- */

/* errno as the rest of the program knows it. What is not here is an input/output error. */
static const struct err_row {
	int number;
	enum err err;
} err_rows[] = {
	{ ENOMEM, ERR_NOMEM },
	{ ENOBUFS, ERR_BUSY },
	{ ETIME, ERR_TIMEOUT },
	{ ETIMEDOUT, ERR_TIMEOUT },
	{ ECANCELED, ERR_CANCELED },
	{ EPIPE, ERR_RESET },
	{ ECONNRESET, ERR_RESET },
	{ ECONNABORTED, ERR_RESET },
	{ ENOTCONN, ERR_RESET },
	{ ESHUTDOWN, ERR_RESET },
	{ ECONNREFUSED, ERR_REFUSED },
	{ EHOSTUNREACH, ERR_UNREACHABLE },
	{ ENETUNREACH, ERR_UNREACHABLE },
	{ EHOSTDOWN, ERR_UNREACHABLE },
	{ ENETDOWN, ERR_UNREACHABLE },
	{ ENONET, ERR_UNREACHABLE },
	{ EAGAIN, ERR_BUSY },
	{ EBUSY, ERR_BUSY },
	{ EADDRINUSE, ERR_BUSY },
	{ EINPROGRESS, ERR_BUSY },
	{ EALREADY, ERR_BUSY },
	{ EINTR, ERR_BUSY },
	{ ENOSPC, ERR_NOSPACE },
	{ EDQUOT, ERR_NOSPACE },
	{ EMFILE, ERR_NOFILES },
	{ ENFILE, ERR_NOFILES },
	{ ENOENT, ERR_NOT_FOUND },
	{ ENOTDIR, ERR_NOT_FOUND },
	{ EEXIST, ERR_EXISTS },
	{ EACCES, ERR_DENIED },
	{ EPERM, ERR_DENIED },
	{ EROFS, ERR_DENIED },
	{ EADDRNOTAVAIL, ERR_INVALID },
	{ EINVAL, ERR_INVALID },
	{ EBADF, ERR_INVALID },
	{ ENAMETOOLONG, ERR_INVALID },
	{ EFBIG, ERR_TOO_LARGE },
	{ EMSGSIZE, ERR_TOO_LARGE },
	{ EOPNOTSUPP, ERR_UNSUPPORTED },
	{ ENOSYS, ERR_UNSUPPORTED },
	{ EAFNOSUPPORT, ERR_UNSUPPORTED },
	{ EPROTONOSUPPORT, ERR_UNSUPPORTED },
};

enum err ring_err(int errno_value)
{
	int number = errno_value < 0 ? -errno_value : errno_value;

	if (number == 0)
		return OK;
	for (size_t i = 0; i < array_len(err_rows); i++)
		if (err_rows[i].number == number)
			return err_rows[i].err;
	return ERR_IO;
}
