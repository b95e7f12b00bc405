/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulated network: stream sockets between workers of this process. Every address exists;
 * a listener is found by address and port. Data travels in pieces of seeded size with seeded
 * delay, in order; a receiver that does not read stops its sender, and connections break as
 * the dice say. */
#include "core/addr.h"
#include "core/sim_int.h"

#include <stdlib.h>
#include <sys/un.h>

enum {
	WINDOW_BYTES = 128 * 1024, /* travelling and unread, at most */
	RECV_MAX = 16384,
	DELAY_MIN_US = 20,
	FIRST_PORT = 32768,
};

struct waiting_accept {
	struct list_link link;
	struct sim_op_ref ref;
	struct ring_peer *peer;
};

struct sim_socket {
	bool used, listening, connected;
	bool read_over, reset, fin_sent, shut; /* read_over: the peer's end has come */
	uint32_t generation;
	struct addr local, peer_addr;
	char *path; /* owned copy of local.path */
	int peer;   /* index; -1: none, or gone */
	char *rx;
	size_t rx_len, rx_cap;
	size_t travelling; /* to this socket */
	int64_t last_arrival;
	struct sim_op_ref recv, send, connect;
	const struct msghdr *msg;
	size_t sent, to_send;
	struct list accepts;
	int *backlog;
	size_t backlog_len, backlog_cap;
};

static struct {
	struct sim_socket **all;
	size_t count, cap;
	uint16_t next_port;
} net;

static struct sim_socket *get(int fd)
{
	size_t at = (size_t)(fd - SIM_SOCKETS);

	must(fd >= SIM_SOCKETS && at < net.count && net.all[at]->used);
	return net.all[at];
}

static struct sim_socket *at_index(int index)
{
	return index >= 0 && net.all[index]->used ? net.all[index] : NULL;
}

static int index_of(const struct sim_socket *s)
{
	for (size_t i = 0; i < net.count; i++)
		if (net.all[i] == s)
			return (int)i;
	must(0);
	return -1;
}

static int new_socket(void)
{
	size_t at = 0;

	while (at < net.count && net.all[at]->used)
		at++;
	if (at == net.count) {
		if (net.count == net.cap) {
			net.cap = net.cap ? net.cap * 2 : 64;
			net.all = realloc(net.all, net.cap * sizeof(*net.all));
			must(net.all);
		}
		net.all[net.count++] = sim_alloc(sizeof(struct sim_socket));
	}
	uint32_t generation = net.all[at]->generation + 1;

	*net.all[at] = (struct sim_socket){ .used = true, .peer = -1, .generation = generation };
	list_init(&net.all[at]->accepts);
	return (int)at;
}

static int64_t delay_us(void)
{
	return DELAY_MIN_US + (int64_t)sim_random((uint64_t)sim.config.delay_max_ms * 1000);
}

/* --- What travels --- */

enum travel { TRAVEL_BYTES, TRAVEL_FIN, TRAVEL_RESET, TRAVEL_CONNECT };

struct packet {
	struct sim_event event;
	enum travel travel;
	int to;
	uint32_t generation;
	size_t len;
	char bytes[];
};

static void arrive(struct sim_event *event);
static void pump_send(struct sim_socket *s);

/* In order per direction, whatever the delays. */
static void send_packet(struct sim_socket *to, struct packet *p)
{
	int64_t at = sim.now_us + delay_us();

	at = MAX(at, to->last_arrival + 1);
	to->last_arrival = at;
	p->to = index_of(to);
	p->generation = to->generation;
	p->event.fire = arrive;
	sim_at(at - sim.now_us, &p->event);
}

static void send_mark(struct sim_socket *to, enum travel travel)
{
	struct packet *p = sim_alloc(sizeof(*p));

	p->travel = travel;
	send_packet(to, p);
}

static void answer(struct sim_op_ref *ref, int res)
{
	if (ref->w)
		sim_complete(*ref, res);
	*ref = (struct sim_op_ref){ 0 };
}

/* Give a waiting receive what there is. */
static void pump_recv(struct sim_socket *s)
{
	if (!s->recv.w)
		return;
	if (s->reset) {
		answer(&s->recv, ERR_RESET);
	} else if (s->rx_len && !sim_has_buffer(s->recv.w)) {
		answer(&s->recv, ERR_BUSY);
	} else if (s->rx_len) {
		size_t len = MIN(s->rx_len, (size_t)RECV_MAX);

		if (sim_chance(sim.config.short_per_mille))
			len = 1 + (size_t)sim_random(len);
		sim_complete_recv(s->recv, s->rx, len);
		s->recv = (struct sim_op_ref){ 0 };
		s->rx_len -= len;
		memmove(s->rx, s->rx + len, s->rx_len);
		if (at_index(s->peer))
			pump_send(at_index(s->peer));
	} else if (s->read_over || s->shut) {
		answer(&s->recv, 0);
	}
}

static void break_socket(struct sim_socket *s)
{
	s->reset = true;
	s->rx_len = 0;
	answer(&s->send, ERR_RESET);
	pump_recv(s);
}

static void append_rx(struct sim_socket *s, const char *bytes, size_t len)
{
	if (s->rx_len + len > s->rx_cap) {
		s->rx_cap = MAX(s->rx_cap * 2, s->rx_len + len);
		s->rx = realloc(s->rx, s->rx_cap);
		must(s->rx);
	}
	memcpy(s->rx + s->rx_len, bytes, len);
	s->rx_len += len;
}

static void pump_accept(struct sim_socket *s);
static void finish_connect(struct sim_socket *s);

static void arrive(struct sim_event *event)
{
	struct packet *p = container_of(event, struct packet, event);
	struct sim_socket *s = net.all[p->to];

	if (s->used && s->generation == p->generation) {
		switch (p->travel) {
		case TRAVEL_BYTES:
			s->travelling -= p->len;
			if (!s->reset)
				append_rx(s, p->bytes, p->len);
			break;
		case TRAVEL_FIN:
			s->read_over = true;
			break;
		case TRAVEL_RESET:
			break_socket(s);
			break;
		case TRAVEL_CONNECT:
			finish_connect(s);
			break;
		}
		pump_recv(s);
	}
	free(p);
}

/* --- Sending --- */

static void copy_out(const struct msghdr *msg, size_t skip, char *to, size_t len)
{
	for (size_t i = 0; i < msg->msg_iovlen && len; i++) {
		const struct iovec *iov = &msg->msg_iov[i];

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		size_t n = MIN(len, iov->iov_len - skip);

		memcpy(to, (const char *)iov->iov_base + skip, n);
		to += n;
		len -= n;
		skip = 0;
	}
}

static void pump_send(struct sim_socket *s)
{
	struct sim_socket *peer = at_index(s->peer);

	if (!s->send.w)
		return;
	if (!peer || s->reset || s->fin_sent) {
		answer(&s->send, ERR_RESET);
		return;
	}
	while (s->sent < s->to_send) {
		size_t used = peer->travelling + peer->rx_len;
		size_t room = used < WINDOW_BYTES ? WINDOW_BYTES - used : 0;
		size_t len = 1 + (size_t)sim_random(s->to_send - s->sent);

		len = MIN(len, room);
		if (len == 0)
			return;
		struct packet *p = sim_alloc(sizeof(*p) + len);

		p->len = len;
		copy_out(s->msg, s->sent, p->bytes, len);
		s->sent += len;
		peer->travelling += len;
		send_packet(peer, p);
	}
	answer(&s->send, (int)s->to_send);
}

static void begin_send(struct worker *w, struct sim_socket *s, struct op *op)
{
	s->send = sim_op_ref(w, op);
	s->msg = op->ptr;
	s->sent = s->to_send = 0;
	for (size_t i = 0; i < s->msg->msg_iovlen; i++)
		s->to_send += s->msg->msg_iov[i].iov_len;
	if (sim_chance(sim.config.reset_per_mille) && at_index(s->peer)) {
		send_mark(at_index(s->peer), TRAVEL_RESET);
		send_mark(s, TRAVEL_RESET);
	}
	pump_send(s);
}

/* --- Connecting --- */

static const char *path_of(const struct ring_peer *to)
{
	return to->addr.ss_family == AF_UNIX ? ((const struct sockaddr_un *)&to->addr)->sun_path :
					       NULL;
}

static bool listens_at(const struct sim_socket *s, const struct addr *to, const char *path)
{
	static const struct addr any;

	if (!s->used || !s->listening)
		return false;
	if (path)
		return s->path && strcmp(s->path, path) == 0;
	return s->local.kind == to->kind && s->local.port == to->port &&
		(addr_same_host(&s->local, to) || memcmp(s->local.ip, any.ip, sizeof(any.ip)) == 0);
}

/* Any of those that share the port. */
static struct sim_socket *find_listener(const struct addr *to, const char *path)
{
	struct sim_socket *found = NULL;
	unsigned count = 0;

	for (size_t i = 0; i < net.count; i++)
		if (listens_at(net.all[i], to, path) && sim_random(++count) == 0)
			found = net.all[i];
	return found;
}

static uint16_t free_port(void)
{
	if (net.next_port < FIRST_PORT)
		net.next_port = FIRST_PORT;
	return net.next_port++;
}

static void begin_connect(struct worker *w, struct sim_socket *s, struct op *op)
{
	const struct ring_peer *to = op->ptr;
	const char *path = path_of(to);

	s->connect = sim_op_ref(w, op);
	s->peer_addr = addr_from_sockaddr((const struct sockaddr *)&to->addr, to->len);
	if (s->local.kind == ADDR_NONE)
		s->local = s->peer_addr.kind == ADDR_IP4 ? addr_ip4(0x7f000001, 0) : s->peer_addr;
	if (s->local.kind != ADDR_UNIX)
		s->local.port = free_port();
	s->path = path ? strdup(path) : NULL;
	send_mark(s, TRAVEL_CONNECT);
}

static void queue_connection(struct sim_socket *listener, int index)
{
	if (listener->backlog_len == listener->backlog_cap) {
		listener->backlog_cap = listener->backlog_cap ? listener->backlog_cap * 2 : 16;
		listener->backlog = realloc(listener->backlog,
			listener->backlog_cap * sizeof(*listener->backlog));
		must(listener->backlog);
	}
	listener->backlog[listener->backlog_len++] = index;
	pump_accept(listener);
}

static void finish_connect(struct sim_socket *s)
{
	struct sim_socket *listener = s->connect.w ? find_listener(&s->peer_addr, s->path) : NULL;

	if (!listener) {
		answer(&s->connect, ERR_REFUSED);
		return;
	}
	int index = new_socket();
	struct sim_socket *theirs = net.all[index];

	theirs->local = s->peer_addr;
	theirs->peer_addr = s->local;
	theirs->connected = s->connected = true;
	theirs->peer = index_of(s);
	s->peer = index;
	answer(&s->connect, 0);
	queue_connection(listener, index);
}

static void pump_accept(struct sim_socket *s)
{
	while (s->backlog_len && !list_empty(&s->accepts)) {
		struct waiting_accept *wait =
			container_of(list_pop(&s->accepts), struct waiting_accept, link);
		int index = s->backlog[0];

		if (sim_op(wait->ref)) {
			memmove(s->backlog, s->backlog + 1, --s->backlog_len * sizeof(*s->backlog));
			if (!addr_to_sockaddr(&net.all[index]->peer_addr, &wait->peer->addr,
				    &wait->peer->len)) {
				wait->peer->addr.ss_family = AF_UNIX;
				wait->peer->len = sizeof(sa_family_t);
			}
			sim_complete(wait->ref, index + SIM_SOCKETS);
		}
		free(wait);
	}
}

static void begin_accept(struct worker *w, struct sim_socket *s, struct op *op)
{
	struct waiting_accept *wait = sim_alloc(sizeof(*wait));

	if (s->shut) {
		free(wait);
		sim_complete(sim_op_ref(w, op), ERR_INVALID);
		return;
	}
	wait->ref = sim_op_ref(w, op);
	wait->peer = op->ptr;
	list_push(&s->accepts, &wait->link);
	pump_accept(s);
}

/* --- Operations --- */

void sim_net_begin(struct worker *w, struct op *op)
{
	if (op->kind == OP_POLL)
		return; /* descriptors of the real world never become ready in here */
	struct sim_socket *s = get(op->fd);

	if (op->kind == OP_ACCEPT) {
		begin_accept(w, s, op);
	} else if (op->kind == OP_CONNECT) {
		begin_connect(w, s, op);
	} else if (op->kind == OP_SEND) {
		begin_send(w, s, op);
	} else {
		s->recv = sim_op_ref(w, op);
		pump_recv(s);
	}
}

void sim_net_cancel(struct worker *w, struct op *op)
{
	struct sim_op_ref ref = sim_op_ref(w, op);
	struct sim_socket *s;

	switch ((enum op_kind)op->kind) {
	case OP_POLL:
	case OP_ACCEPT:
		break;
	case OP_RECV:
		s = get(op->fd);
		if (s->recv.user_data != ref.user_data || !s->recv.w)
			return; /* its result is under way */
		s->recv = (struct sim_op_ref){ 0 };
		break;
	case OP_SEND:
		s = get(op->fd);
		if (!s->send.w)
			return;
		s->send = (struct sim_op_ref){ 0 };
		if (s->sent) {
			sim_complete(ref, (int)s->sent);
			return;
		}
		break;
	case OP_CONNECT:
		s = get(op->fd);
		if (!s->connect.w)
			return;
		s->connect = (struct sim_op_ref){ 0 };
		break;
	default:
		return; /* files: the true result comes */
	}
	sim_complete(ref, ERR_CANCELED);
}

/* --- Sockets --- */

enum err sim_net_socket(const struct addr *like, enum ring_socket_kind kind, int *out_fd)
{
	(void)like;
	(void)kind;
	*out_fd = new_socket() + SIM_SOCKETS;
	return OK;
}

enum err sim_net_bind(int fd, const struct addr *to, bool share_port)
{
	struct sim_socket *s = get(fd);

	if (!share_port) { /* a source address for connect */
		s->local = *to;
		return OK;
	}
	s->local = *to;
	if (to->path)
		s->local.path = s->path = strdup(to->path);
	else if (to->port == 0)
		s->local.port = free_port();
	return OK;
}

enum err sim_net_listen(int fd, int backlog)
{
	(void)backlog;
	get(fd)->listening = true;
	return OK;
}

void sim_net_shutdown(int fd, int how)
{
	struct sim_socket *s = get(fd);
	struct sim_socket *peer = at_index(s->peer);

	if (!s->fin_sent && peer) {
		s->fin_sent = true;
		send_mark(peer, TRAVEL_FIN);
	}
	if (how == SHUT_RDWR) {
		s->shut = true;
		s->rx_len = 0;
		pump_recv(s);
		answer(&s->send, ERR_RESET);
	}
}

static void free_socket(struct sim_socket *s)
{
	struct list_link *link;

	while ((link = list_pop(&s->accepts)))
		free(container_of(link, struct waiting_accept, link));
	free(s->rx);
	free(s->path);
	free(s->backlog);
	s->rx = s->path = NULL;
	s->backlog = NULL;
	s->used = false;
}

void sim_net_close(int fd)
{
	struct sim_socket *s = get(fd);
	struct sim_socket *peer = at_index(s->peer);

	if (peer) {
		/* Bytes nobody read make it a reset (RFC 1122 4.2.2.13). */
		if (s->rx_len || s->travelling)
			send_mark(peer, TRAVEL_RESET);
		else if (!s->fin_sent)
			send_mark(peer, TRAVEL_FIN);
		peer->peer = -1;
	}
	for (size_t i = 0; i < s->backlog_len; i++)
		sim_net_close(s->backlog[i] + SIM_SOCKETS);
	s->backlog_len = 0;
	free_socket(s);
}

struct addr sim_net_local(int fd)
{
	return get(fd)->local;
}

void sim_net_say(int fd, slice text)
{
	struct sim_socket *peer = at_index(get(fd)->peer);

	if (!peer)
		return;
	struct packet *p = sim_alloc(sizeof(*p) + text.len);

	p->len = text.len;
	memcpy(p->bytes, text.ptr, text.len);
	peer->travelling += text.len;
	send_packet(peer, p);
}

void sim_net_reset(void)
{
	for (size_t i = 0; i < net.count; i++) {
		if (net.all[i]->used)
			free_socket(net.all[i]);
		free(net.all[i]);
	}
	free(net.all);
	memset(&net, 0, sizeof(net));
}
