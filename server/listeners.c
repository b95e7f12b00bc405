/* SPDX-License-Identifier: GPL-2.0-or-later */
/* listeners.c - from the rows of `listen:` to sockets, and from sockets to doors.
 *
 * Sockets are bound by the main thread while it may (before privileges drop, or through the root
 * helper), one per worker with SO_REUSEPORT; each worker then opens a door on its own. A reload marks
 * what is still wanted, binds what is new and closes what is not; a door whose row changed gets
 * the new row, and the sessions behind it never notice. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "core/proc.h"
#include "core/tls.h"
#include "server/entry.h"
#include "server/inuse.h"
#include "server/imap/imap_session.h"
#include "server/pop3/pop3_session.h"
#include "server/rate.h"
#include "server/service_int.h"
#include "server/smtp/smtp_session.h"

#define DEFAULT_ROW(kind)                                                                        \
	{                                                                                        \
		.service = kind, .port = CONF_UNSET, .tls = true, .client_conns_max = CONF_UNSET \
	}

/* Those that begin with TLS stand last: without a certificate there are none. */
static const struct listen_options default_rows[] = {
	DEFAULT_ROW(SERVICE_SMTP),
	DEFAULT_ROW(SERVICE_SUBMISSION),
	DEFAULT_ROW(SERVICE_POP3),
	DEFAULT_ROW(SERVICE_IMAP),
	DEFAULT_ROW(SERVICE_SUBMISSIONS),
	DEFAULT_ROW(SERVICE_POP3S),
	DEFAULT_ROW(SERVICE_IMAPS),
};
enum { DEFAULT_TLS_ROWS = 3 };

static size_t row_count(const struct setup *setup)
{
	if (setup->service->listen.count)
		return setup->service->listen.count;
	return array_len(default_rows) - (setup->tls ? 0 : DEFAULT_TLS_ROWS);
}

static const struct listen_options *row_at(const struct setup *setup, size_t i)
{
	if (setup->service->listen.count)
		return conf_item(&setup->service->listen, struct listen_options, i);
	return &default_rows[i];
}

/* --- Binding ---------------------------------------------------------------------------------- */

static struct binding *find_binding(struct service *svc, const struct addr *asked,
	enum door_kind kind)
{
	list_each(&svc->bindings, link)
	{
		struct binding *b = container_of(link, struct binding, link);

		if (!b->gone && b->service == kind && addr_eq(&b->asked, asked))
			return b;
	}
	return NULL;
}

static void close_fds(struct service *svc, struct binding *b)
{
	for (unsigned i = 0; i < svc->workers; i++)
		if (b->fds[i] >= 0 && (i == 0 || !b->shared))
			close(b->fds[i]);
	for (unsigned i = 0; i < svc->workers; i++)
		b->fds[i] = -1;
}

enum err listeners_free(const struct addr *at, char why[PROC_WHY])
{
	char text[ADDR_TEXT];

	if (!inuse_by_others(at))
		return OK;
	snprintf(why, PROC_WHY, "cannot listen on %s: the address is in use", addr_text(at, text));
	return ERR_BUSY;
}

/* One socket per worker; the first decides the port when any will do. */
static enum err open_fds(struct service *svc, struct binding *b, char why[PROC_WHY])
{
	struct addr at = b->asked;
	enum err err = listeners_free(&at, why);

	for (unsigned i = 0; !err && i < svc->workers; i++) {
		err = b->shared ? OK : proc_bind(&at, 0660, &b->fds[i], why);

		/* A socket that systemd made is one for all. */
		if (i > 0 && err == ERR_BUSY) {
			b->shared = true;
			err = OK;
		}
		if (err)
			break;
		if (b->shared)
			b->fds[i] = b->fds[0];
		if (i == 0) {
			b->shared = at.kind == ADDR_UNIX;
			b->actual = listen_addr(b->fds[0]);
			if (at.kind != ADDR_UNIX)
				at.port = b->actual.port;
			else
				b->actual = at;
		}
	}
	return err;
}

static void free_binding(struct service *svc, struct binding *b)
{
	close_fds(svc, b);
	listen_clients_free(b->clients);
	free(b);
}

static enum err bind_one(struct service *svc, const struct addr *asked, enum door_kind kind,
	struct out *why)
{
	struct binding *b = calloc(1, sizeof(*b));
	char text[ADDR_TEXT], reason[PROC_WHY] = "";
	enum err err = ERR_NOMEM;

	if (b) {
		*b = (struct binding){ .asked = *asked, .service = kind, .wanted = true };
		for (unsigned i = 0; i < WORKERS_MAX; i++)
			b->fds[i] = -1;
		b->clients = listen_clients_new();
		err = b->clients ? open_fds(svc, b, reason) : ERR_NOMEM;
	}
	if (!err) {
		list_push(&svc->bindings, &b->link);
		return OK;
	}
	if (reason[0])
		out_printf(why, "%s\n", reason);
	else
		out_printf(why, "cannot listen on %s: %s\n", addr_text(asked, text), err_text(err));
	if (b)
		free_binding(svc, b);
	return err;
}

/* Two doors at one address would share it by chance. */
static bool named_twice(struct service *svc, const struct addr *asked, enum door_kind kind)
{
	list_each(&svc->bindings, link)
	{
		const struct binding *b = container_of(link, struct binding, link);

		if (b->wanted && asked->port && b->service != kind && addr_eq(&b->asked, asked))
			return true;
	}
	return false;
}

static enum err want(struct service *svc, const struct addr *asked,
	const struct listen_options *row, unsigned index, struct out *why)
{
	struct binding *b = find_binding(svc, asked, (enum door_kind)row->service);
	char text[ADDR_TEXT];

	if (named_twice(svc, asked, (enum door_kind)row->service)) {
		out_printf(why, "listen: two services at %s\n", addr_text(asked, text));
		return ERR_INVALID;
	}
	if (!b) {
		enum err err = bind_one(svc, asked, (enum door_kind)row->service, why);

		if (err)
			return err;
		b = container_of(svc->bindings.head.prev, struct binding, link);
	}
	b->wanted = true;
	b->row = index;
	return OK;
}

static enum err want_row(struct service *svc, const struct listen_options *row, unsigned index,
	struct out *why)
{
	struct addr at = row->address;
	uint16_t port = row->port != CONF_UNSET ? (uint16_t)row->port :
		at.port                         ? at.port :
						  service_port((enum door_kind)row->service);
	struct addr any6 = { .kind = ADDR_IP6, .port = port };
	char buf[PROC_WHY];
	struct out ignored = out_fixed(buf, sizeof(buf));
	enum err err;

	if (at.kind == ADDR_UNIX)
		return want(svc, &at, row, index, why);
	at.port = port;
	if (at.kind != ADDR_NONE)
		return want(svc, &at, row, index, why);
	at = addr_ip4(0, port);
	err = want(svc, &at, row, index, why);
	/* A machine without IPv6 is no error when no address was named. */
	if (!err && want(svc, &any6, row, index, &ignored))
		log_text(LOG_WARN, "not listening on IPv6 port %u: %.*s", port, (int)ignored.len,
			buf);
	return err;
}

/* The old configuration stays in force: as if nothing had been bound or dropped. */
static void undo_bind(struct service *svc)
{
	list_each(&svc->bindings, link)
	{
		struct binding *b = container_of(link, struct binding, link);

		b->wanted = b->was_wanted;
		if (b->was_wanted || b->gone)
			continue;
		list_remove(&b->link);
		free_binding(svc, b);
	}
}

enum err listeners_bind(struct service *svc, const struct setup *setup, struct out *why)
{
	enum err err = OK;

	list_each(&svc->bindings, link)
	{
		struct binding *b = container_of(link, struct binding, link);

		b->gone = !b->wanted; /* dropped by the last load: its sockets are closed */
		b->was_wanted = b->wanted;
		b->wanted = false;
	}
	for (size_t i = 0; i < row_count(setup); i++) {
		enum err bad = want_row(svc, row_at(setup, i), (unsigned)i, why);

		err = err ? err : bad;
	}
	if (err)
		undo_bind(svc);
	return err;
}

size_t listeners_own(const struct service *svc, struct addr *out, size_t max)
{
	size_t count = 0;

	list_each(&svc->bindings, link)
	{
		const struct binding *b = container_of(link, struct binding, link);

		if (b->service == SERVICE_SMTP && b->actual.kind != ADDR_UNIX && count < max)
			out[count++] = b->actual;
	}
	return count;
}

void listeners_announce(struct service *svc)
{
	list_each(&svc->bindings, link)
	{
		struct binding *b = container_of(link, struct binding, link);

		if (b->wanted && !b->announced)
			log_event(LOG_INFO, "listening",
				log_str("service", service_words[b->service]),
				log_addr("address", &b->actual), log_uint("port", b->actual.port));
		b->announced = true;
	}
}

/* --- Doors ------------------------------------------------------------------------------------ */

static void (*const starts[SERVICE_COUNT])(struct door *, int, const struct addr *) = {
	[SERVICE_SMTP] = smtp_session_start,
	[SERVICE_SUBMISSION] = smtp_session_start,
	[SERVICE_SUBMISSIONS] = smtp_session_start,
	[SERVICE_LMTP] = smtp_session_start,
	[SERVICE_POP3] = pop3_session_start,
	[SERVICE_POP3S] = pop3_session_start,
	[SERVICE_IMAP] = imap_session_start,
	[SERVICE_IMAPS] = imap_session_start,
};

static void on_accepted(struct listener *l, int fd, const struct addr *peer)
{
	struct door *door = listener_owner(l);

	starts[door->service](door, fd, peer);
}

/* A greeting that refuses, in one piece and without a session: FAULT_RATE in the words of errmap. Before
 * a handshake words would be no TLS: there the connection is closed. */
static slice refusal_by(enum door_kind service)
{
	switch (service) {
	case SERVICE_SMTP:
	case SERVICE_SUBMISSION:
	case SERVICE_LMTP:
		return SLICE("421 4.7.0 Too many connections from your address\r\n");
	case SERVICE_POP3:
		return SLICE("-ERR [SYS/TEMP] Too many connections from your address\r\n");
	case SERVICE_IMAP:
		return SLICE("* BYE [UNAVAILABLE] Too many connections from your address\r\n");
	default:
		return SLICE("");
	}
}

static struct listen_config config_of(struct service *svc, struct binding *b, struct door *door)
{
	int64_t own = door->row->client_conns_max;
	struct listen_config config = { .owner = door,
		.accepted = on_accepted,
		.clients = b->clients,
		.shared_fd = b->shared,
		.worker_conns_max = (unsigned)door->setup->service->conns_max };

	config.client_conns_max =
		(unsigned)(own == CONF_UNSET ? door->setup->service->client_conns_max : own);
	if (door->row->proxy_from.count) /* one proxy speaks for many */
		config.client_conns_max = 0;
	config.refusal = refusal_by(door->service);
	return config;
}

static struct door *find_door(struct station *st, const struct binding *b)
{
	list_each(&st->doors, link)
	{
		struct door *door = container_of(link, struct door, link);

		if (door->binding == b && !door->detached)
			return door;
	}
	return NULL;
}

static void use_setup(struct service *svc, struct door *door, const struct binding *b)
{
	struct setup *old = door->setup;

	door->setup = setup_hold(svc->setup);
	door->row = row_at(svc->setup, b->row);
	setup_put(old);
}

static enum err open_door(struct service *svc, struct worker *w, struct binding *b)
{
	struct station *st = &svc->stations[worker_index(w)];
	struct door *door = calloc(1, sizeof(*door));
	struct listen_config config;
	enum err err;

	if (!door)
		return ERR_NOMEM;
	*door = (struct door){ .w = w,
		.service = b->service,
		.store = svc->store,
		.login = svc->login,
		.rate = svc->rate,
		.binding = b };
	list_init(&door->sessions);
	list_push(&st->doors, &door->link);
	use_setup(svc, door, b);
	config = config_of(svc, b, door);
	config.fd = b->fds[worker_index(w)];
	b->fds[worker_index(w)] = -1;
	err = listener_start(w, &config, &door->listener);
	if (err)
		door_free(door);
	return err;
}

static void close_door(struct door *door)
{
	door->stopping = true;
	if (door->listener)
		listener_stop(door->listener);
	door->listener = NULL;
	list_each(&door->sessions, link)
	{
		struct door_session *ds = container_of(link, struct door_session, link);

		ds->stop(ds, DOOR_STOP_SOON);
	}
}

static void drop_unwanted(struct station *st)
{
	list_each(&st->doors, link)
	{
		struct door *door = container_of(link, struct door, link);
		const struct binding *b = door->binding;

		if (door->detached || b->wanted)
			continue;
		close_door(door);
		door->detached = true;
		if (door->session_count == 0)
			door_free(door);
	}
}

enum err listeners_apply(struct service *svc, struct worker *w)
{
	struct station *st = &svc->stations[worker_index(w)];

	places_apply(svc);
	drop_unwanted(st);
	list_each(&svc->bindings, link)
	{
		struct binding *b = container_of(link, struct binding, link);
		struct door *door = find_door(st, b);
		enum err err = OK;

		if (!b->wanted)
			continue;
		if (door) {
			struct listen_config limits;

			use_setup(svc, door, b);
			limits = config_of(svc, b, door);
			listener_set_limits(door->listener, &limits);
		} else {
			err = open_door(svc, w, b);
		}
		if (err)
			return err;
	}
	return OK;
}

void listeners_stop(struct service *svc, struct worker *w)
{
	list_each(&svc->stations[worker_index(w)].doors, link)
		close_door(container_of(link, struct door, link));
}

void listeners_abort(struct service *svc, struct worker *w)
{
	list_each(&svc->stations[worker_index(w)].doors, link)
	{
		struct door *door = container_of(link, struct door, link);

		list_each(&door->sessions, member)
		{
			struct door_session *ds = container_of(member, struct door_session, link);

			ds->stop(ds, DOOR_STOP_NOW);
		}
	}
}

static bool is_of(slice who, slice name)
{
	ptrdiff_t at = slice_rfind(who, '@');

	return slice_eq(who, name) || (at > 0 && slice_eq(slice_skip(who, (size_t)at), name));
}

unsigned listeners_expel(struct service *svc, struct worker *w, slice name)
{
	unsigned count = 0;

	list_each(&svc->stations[worker_index(w)].doors, link)
	{
		struct door *door = container_of(link, struct door, link);

		list_each(&door->sessions, member)
		{
			struct door_session *ds = container_of(member, struct door_session, link);

			if (!is_of(ds->who(ds), name))
				continue;
			ds->stop(ds, DOOR_STOP_EXPELLED);
			count++;
		}
	}
	return count;
}

unsigned listeners_sessions(struct service *svc, struct worker *w)
{
	unsigned count = 0;

	list_each(&svc->stations[worker_index(w)].doors, link) count +=
		container_of(link, struct door, link)->session_count;
	return count;
}

/* Bindings that a reload dropped stay until here: their doors may have outlived it. */
void listeners_done(struct service *svc)
{
	struct list_link *link;

	while ((link = list_pop(&svc->bindings)))
		free_binding(svc, container_of(link, struct binding, link));
}

/* --- What the root helper asks ------------------------------------------------------------------- */

bool listeners_named(const struct conf *conf, const struct addr *addr)
{
	const struct service_options *o = conf_options(conf, &service_options_table);
	char control[SETUP_CONTROL_PATH];

	if (addr->kind == ADDR_UNIX && addr->path &&
		!strcmp(addr->path, setup_control_path(o, control)))
		return true;
	if (addr_eq(addr, &o->metrics))
		return true;
	for (size_t i = 0; i < o->listen.count; i++) {
		const struct listen_options *row = conf_item(&o->listen, struct listen_options, i);
		uint16_t port = row->port != CONF_UNSET ? (uint16_t)row->port :
			row->address.port               ? row->address.port :
							  service_port((enum door_kind)row->service);
		bool any = row->address.kind == ADDR_NONE;

		if (addr->kind == ADDR_UNIX ?
				addr_eq(addr, &row->address) :
				port == addr->port && (any || addr_same_host(addr, &row->address)))
			return true;
	}
	for (size_t i = 0; !o->listen.count && i < array_len(default_rows); i++)
		if (addr->kind != ADDR_UNIX &&
			addr->port == service_port((enum door_kind)default_rows[i].service))
			return true;
	return false;
}

bool files_named(const struct conf *conf, const char *path)
{
	const struct tls_options *tls = conf_options(conf, &tls_options_table);
	slice asked = slice_str(path);

	if (slice_eq(asked, conf_path(conf)) || slice_eq(asked, tls->ca_file))
		return true;
	for (size_t i = 0; i < tls->certificates.count; i++) {
		const struct tls_cert_options *pair =
			conf_item(&tls->certificates, struct tls_cert_options, i);

		if (slice_eq(asked, pair->cert) || slice_eq(asked, pair->key))
			return true;
	}
	return false;
}
