/* SPDX-License-Identifier: GPL-2.0-or-later */
/* entry.c - a connection until its session may greet.
 *
 * Most connections need nothing of it and are ready at once, without a fiber. */
#include "server/entry.h"

#include "core/conn.h"
#include "core/listen.h"
#include "core/proxy.h"
#include "core/ring.h"
#include "core/tls.h"
#include "core/worker.h"
#include "server/rate.h"

bool entry_is_tls(enum door_kind service)
{
	return service == SERVICE_SUBMISSIONS || service == SERVICE_POP3S ||
		service == SERVICE_IMAPS || service == SERVICE_HTTPS;
}

bool entry_may_speak(const struct door_session *ds)
{
	return !entry_is_tls(ds->door->service) || ds->tls;
}

enum fault entry_admit(struct door *door, const struct addr *peer)
{
	int64_t per_minute = door->setup->service->client_rate;

	if (door->stopping)
		return FAULT_SHUTDOWN;
	if (conf_cidrs_have(&door->row->proxy_from, peer)) /* speaks for many */
		return FAULT_NONE;
	return rate_take(door->rate, peer, worker_now(door->w), (unsigned)per_minute) ? FAULT_NONE :
											FAULT_RATE;
}

bool entry_open(const struct entry *entry, struct door_session *ds)
{
	static _Thread_local unsigned next_id; /* of this worker */
	struct door *door = entry->door;
	struct conn_open open = { .fd = entry->fd,
		.peer = entry->peer,
		.ops = entry->ops,
		.owner = ds,
		.listener = door->listener };

	if (!ds) {
		ring_close(entry->fd);
		listener_gone(door->listener, entry->peer);
		return false;
	}
	*ds = (struct door_session){ .door = door,
		.setup = setup_hold(door->setup),
		.stop = entry->stop,
		.who = entry->who,
		.id = ++next_id * WORKERS_MAX + worker_index(door->w) };
	if (conn_open(door->w, &open, &ds->conn)) {
		setup_put(ds->setup);
		return false;
	}
	door_join(door, ds);
	return true;
}

static enum err read_proxy_header(struct door_session *ds, msec timeout_ms)
{
	struct proxy_header header;
	size_t used;
	slice in = { 0 };
	msec until = worker_now(ds->door->w) + timeout_ms;

	for (;;) {
		msec left = until - worker_now(ds->door->w);
		enum err err = left > 0 ? conn_wait_data(ds->conn, &in, left) : ERR_TIMEOUT;

		if (err)
			return err;
		switch (proxy_parse(in, &header, &used)) {
		case STEP_MORE:
			continue;
		case STEP_DONE:
			conn_consume(ds->conn, used);
			if (!header.local)
				conn_set_peer(ds->conn, &header.source);
			return OK;
		default:
			return ERR_PROTOCOL;
		}
	}
}

struct tls_session *entry_tls(struct door_session *ds)
{
	struct tls_accept accept = { .exporter = true };

	if (!ds->setup->tls)
		return NULL;
	return tls_server_session(ds->setup->tls, ds->door->w, &accept);
}

static enum err start_tls(struct door_session *ds, msec timeout_ms)
{
	struct tls_session *tls = entry_tls(ds);

	if (!tls)
		return ds->setup->tls ? ERR_NOMEM : ERR_TLS;
	ds->tls = true;
	return conn_accept_tls_wait(ds->conn, tls, timeout_ms);
}

static bool behind_proxy(const struct door_session *ds)
{
	return conf_cidrs_have(&ds->door->row->proxy_from, conn_peer(ds->conn));
}

static void prelude(struct conn *c)
{
	struct door_session *ds = conn_owner(c);
	enum err err = OK;

	if (behind_proxy(ds))
		err = read_proxy_header(ds, ds->entry_ms);
	if (!err && entry_is_tls(ds->door->service))
		err = start_tls(ds, ds->entry_ms);
	if (err == ERR_TLS) /* the alert says why (RFC 8446 6.2) */
		conn_end(c, err);
	else if (err)
		conn_abort(c, err);
	else
		ds->ready(ds);
}

void entry_run(struct door_session *ds, msec timeout_ms, void (*ready)(struct door_session *ds))
{
	if (!entry_is_tls(ds->door->service) && !behind_proxy(ds)) {
		ready(ds);
		return;
	}
	ds->entry_ms = timeout_ms;
	ds->ready = ready;
	(void)conn_run(ds->conn, prelude);
}
