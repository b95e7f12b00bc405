/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accepting. Each listener has one accept in flight, or a reason why not: a limit (looked at
 * again when a connection ends), memory or descriptors (looked at again by timer, ever later
 * up to a second). Clients are counted in two rows of counters by two hashes and the smaller
 * one counts: a count-min sketch, never too low, shared by all workers without a lock, of
 * fixed size for any number of clients. */
#include "core/listen.h"

#include "core/base/map.h"
#include "core/bufs.h"
#include "core/entropy.h"
#include "core/room.h"
#include "core/sim.h"
#include "core/worker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	ROW_COUNTERS = 1 << 16,
	BACKOFF_MIN_MS = 10,
	BACKOFF_MAX_MS = 1000,
	BATCH = LISTEN_BATCH,
	LOOK_MS = 50
};

struct listen_clients {
	struct map_seed seed;
	_Atomic uint32_t rows[2][ROW_COUNTERS];
};

/* Several accepts in flight take a burst of connections in one turn. */
struct accept_slot {
	struct op op;
	struct ring_peer peer;
	struct listener *listener;
};

struct listener {
	struct worker *w;
	struct list_link link;
	struct listen_config config;
	struct addr addr;
	struct accept_slot slots[BATCH];
	struct timer retry;
	msec backoff_ms;
	bool stopped, paused;
	struct listener_stats stats;
};

static void accepted(struct op *op, int res);

/* --- Sockets --- */

/* A socket file nobody listens on is a left-over of a crash. Anything else there is not ours to take. */
static enum err remove_stale(const struct addr *at)
{
	struct stat st;

	/* A simulated name may be any file's. */
	if (lstat(at->path, &st) || sim_active())
		return OK;
	if (!S_ISSOCK(st.st_mode))
		return ERR_EXISTS;
	unlink(at->path);
	return OK;
}

enum err listen_open(const struct addr *at, int backlog, int *out_fd)
{
	int fd;
	enum err err = ring_socket(at, RING_LISTEN, &fd);

	if (err)
		return err;
	if (at->kind == ADDR_UNIX && at->path)
		err = remove_stale(at);
	if (!err)
		err = ring_bind(fd, at, true);
	if (!err)
		err = ring_listen(fd, backlog > 0 ? backlog : 4096);
	if (err) {
		ring_close(fd);
		return err;
	}
	*out_fd = fd;
	return OK;
}

struct addr listen_addr(int fd)
{
	return ring_local_addr(fd);
}

/* --- Counting clients --- */

struct listen_clients *listen_clients_new(void)
{
	struct listen_clients *clients = calloc(1, sizeof(*clients));

	if (clients)
		entropy_fill(&clients->seed, sizeof(clients->seed));
	return clients;
}

void listen_clients_free(struct listen_clients *clients)
{
	free(clients);
}

uint64_t listener_client_hash(const struct listener *l, const struct addr *peer)
{
	struct addr key = addr_client_key(peer);

	return l->config.clients ? map_hash(&l->config.clients->seed, addr_bytes(&key)) : 0;
}

static _Atomic uint32_t *counter(struct listen_clients *clients, unsigned row, uint64_t hash)
{
	return &clients->rows[row][(hash >> (32 * row)) % ROW_COUNTERS];
}

/* The count with this one in it. */
static uint32_t count_client(struct listen_clients *clients, uint64_t hash)
{
	uint32_t first = atomic_fetch_add(counter(clients, 0, hash), 1);
	uint32_t second = atomic_fetch_add(counter(clients, 1, hash), 1);

	return MIN(first, second) + 1;
}

static void uncount_client(struct listen_clients *clients, uint64_t hash)
{
	for (unsigned row = 0; row < 2; row++)
		atomic_fetch_sub(counter(clients, row, hash), 1);
}

/* --- Accepting --- */

static bool any_in_flight(const struct listener *l)
{
	for (unsigned i = 0; i < BATCH; i++)
		if (op_busy(&l->slots[i].op))
			return true;
	return false;
}

static void try_free(struct listener *l)
{
	if (!l->stopped || any_in_flight(l))
		return;
	/* At once, or clients would wait in the backlog until the last session has gone. */
	if (l->config.fd >= 0)
		ring_close(l->config.fd);
	l->config.fd = -1;
	if (l->stats.conns)
		return;
	list_remove(&l->link);
	free(l);
}

static unsigned room_for(const struct listener *l)
{
	const struct listen_config *config = &l->config;
	unsigned room = BATCH;

	if (config->conns_max)
		room = MIN(room, config->conns_max - MIN(config->conns_max, l->stats.conns));
	if (config->worker_conns_max)
		room = MIN(room,
			config->worker_conns_max -
				MIN(config->worker_conns_max, l->w->listener_conns));
	return config->operators ? room : MIN(room, room_left_in());
}

/* What another worker gives back is not told: it is looked for. */
static void look_again(struct listener *l)
{
	if (!timer_armed(&l->retry) && !l->config.operators && !room_left_in())
		timer_arm_in(l->w, &l->retry, LOOK_MS);
}

static void retry_later(struct listener *l)
{
	if (timer_armed(&l->retry))
		return;
	l->backoff_ms = l->backoff_ms ? MIN(l->backoff_ms * 2, BACKOFF_MAX_MS) : BACKOFF_MIN_MS;
	timer_arm_in(l->w, &l->retry, l->backoff_ms);
	l->stats.errors++;
	stat_add(l->w, accept_errors, 1);
}

/* Bring the number of accepts in flight to what there is room for. */
static void accept_more(struct listener *l)
{
	unsigned in_flight = 0, room = room_for(l);

	if (l->stopped || timer_armed(&l->retry))
		return;
	if (bufs_over_limit(l->w) && !l->config.operators) {
		retry_later(l);
		return;
	}
	for (unsigned i = 0; i < BATCH; i++)
		in_flight += op_busy(&l->slots[i].op);
	for (unsigned i = 0; i < BATCH && in_flight < room; i++) {
		struct accept_slot *slot = &l->slots[i];

		if (op_busy(&slot->op))
			continue;
		ring_accept(l->w, &slot->op, l->config.fd, &slot->peer);
		in_flight++;
	}
	if (room == 0 && !l->paused) {
		l->stats.pauses++;
		stat_add(l->w, accept_pauses, 1);
	}
	l->paused = room == 0;
	if (room == 0)
		look_again(l);
}

static void retry(struct timer *t)
{
	accept_more(container_of(t, struct listener, retry));
}

/* Counted from here on; listener_release ends it. */
static void admit(struct listener *l, int fd, const struct addr *peer)
{
	const struct listen_config *config = &l->config;
	uint64_t hash = listener_client_hash(l, peer);
	uint32_t count = config->clients ? count_client(config->clients, hash) : 0;

	l->stats.conns++;
	l->w->listener_conns++;
	if (!config->operators)
		room_enter(ROOM_IN);
	if (config->client_conns_max && count > config->client_conns_max) {
		l->stats.refused++;
		stat_add(l->w, refused, 1);
		if (config->refusal.len)
			ring_backend->say(fd, config->refusal);
		ring_close(fd);
		listener_release(l, hash);
		return;
	}
	l->stats.accepted++;
	stat_add(l->w, accepted, 1);
	config->accepted(l, fd, peer);
}

static void accepted(struct op *op, int res)
{
	struct accept_slot *slot = container_of(op, struct accept_slot, op);
	struct listener *l = slot->listener;

	if (res >= 0 && l->stopped) {
		ring_close(res);
	} else if (res >= 0) {
		struct addr peer =
			addr_from_sockaddr((struct sockaddr *)&slot->peer.addr, slot->peer.len);

		l->backoff_ms = 0;
		admit(l, res, &peer);
	} else if (res == ERR_INVALID) {
		l->stopped = true; /* not a listening socket: it was shut down beneath us */
	} else if (res != ERR_RESET && res != ERR_CANCELED) {
		/* Out of descriptors or memory, or a network error that belongs to one
		 * connection: wait a little rather than ask which. */
		retry_later(l);
	}
	accept_more(l);
	try_free(l);
}

/* --- Life --- */

/* Inherited sockets may be non-blocking; the ring would then answer EAGAIN instead of waiting. */
static enum err own_fd(const struct listen_config *config, int *out_fd)
{
	if (ring_backend == &ring_sim) {
		*out_fd = config->fd;
		return OK;
	}
	int fd = config->shared_fd ? fcntl(config->fd, F_DUPFD_CLOEXEC, 3) : config->fd;
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	if (flags < 0)
		return ring_err(errno);
	if (flags & O_NONBLOCK)
		fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	*out_fd = fd;
	return OK;
}

enum err listener_start(struct worker *w, const struct listen_config *config, struct listener **out)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return ERR_NOMEM;
	l->w = w;
	l->config = *config;
	enum err err = own_fd(config, &l->config.fd);

	if (err) {
		free(l);
		return err;
	}
	l->addr = listen_addr(l->config.fd);
	ring_nodelay(l->config.fd); /* accepted sockets inherit it */
	l->retry.fire = retry;
	for (unsigned i = 0; i < BATCH; i++) {
		l->slots[i].listener = l;
		l->slots[i].op.done = accepted;
	}
	list_push(&w->listeners, &l->link);
	accept_more(l);
	*out = l;
	return OK;
}

void listener_stop(struct listener *l)
{
	if (l->stopped)
		return;
	l->stopped = true;
	timer_disarm(&l->retry);
	for (unsigned i = 0; i < BATCH; i++)
		ring_cancel(l->w, &l->slots[i].op);
	try_free(l);
}

void listener_stop_all(struct worker *w)
{
	list_each(&w->listeners, link) listener_stop(container_of(link, struct listener, link));
}

void listener_release(struct listener *l, uint64_t client_hash)
{
	struct worker *w = l->w;

	if (l->config.clients)
		uncount_client(l->config.clients, client_hash);
	l->stats.conns--;
	w->listener_conns--;
	if (!l->config.operators)
		room_leave(ROOM_IN);
	/* The room may be another listener's, too. */
	list_each(&w->listeners, link)
	{
		struct listener *other = container_of(link, struct listener, link);

		if (other->paused)
			accept_more(other);
	}
	try_free(l);
}

void listener_gone(struct listener *l, const struct addr *peer)
{
	listener_release(l, listener_client_hash(l, peer));
}

void *listener_owner(const struct listener *l)
{
	return l->config.owner;
}

struct worker *listener_worker(const struct listener *l)
{
	return l->w;
}

struct addr listener_addr(const struct listener *l)
{
	return l->addr;
}

void listener_set_limits(struct listener *l, const struct listen_config *limits)
{
	l->config.conns_max = limits->conns_max;
	l->config.worker_conns_max = limits->worker_conns_max;
	l->config.client_conns_max = limits->client_conns_max;
	l->config.refusal = limits->refusal;
	accept_more(l);
}

void listener_stats(const struct listener *l, struct listener_stats *out)
{
	*out = l->stats;
}
