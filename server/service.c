/* SPDX-License-Identifier: GPL-2.0-or-later */
/* service.c - the life of the server: how its workers start, drain and end.
 *
 * Order of a start: configuration, sockets, privileges, then the workers. The first worker opens the
 * store and becomes its home; the others wait for it. Order of an end: every worker stops listening
 * and lets its sessions finish, then drains the relay; when the last one is done the first closes the
 * store. The main thread, which asks for both, is service_run.c. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/fiber.h"
#include "core/file.h"
#include "core/log.h"
#include "core/metric.h"
#include "core/proc.h"
#include "core/rsa_batch.h"
#include "relay/local.h"
#include "relay/queue.h"
#include "relay/relay.h"
#include "server/control.h"
#include "server/login.h"
#include "server/rate.h"
#include "server/scrape.h"
#include "server/seat.h"
#include "server/service_int.h"
#include "server/imap/imap_session.h"
#include "server/pop3/pop3_session.h"
#include "server/smtp/smtp_session.h"
#include "store/account.h"
#include "store/store.h"

enum { POLL_MS = 5, BUSY_MS = 3000, STUCK_MS = 2000 };

struct store *service_store(struct service *svc)
{
	return svc->store;
}

struct setup *service_setup(struct service *svc)
{
	struct setup *setup;

	pthread_mutex_lock(&svc->setup_lock);
	setup = setup_hold(svc->setup);
	pthread_mutex_unlock(&svc->setup_lock);
	return setup;
}

wall_ms service_started_at(const struct service *svc)
{
	return svc->started_at;
}

uint64_t service_sessions(struct service *svc)
{
	return (uint64_t)MAX(metric_value(&smtp_metrics, SMTP_METRIC_OPEN) +
			metric_value(&pop3_metrics, POP3_METRIC_OPEN) +
			metric_value(&imap_metrics, IMAP_METRIC_OPEN),
		0);
}

struct expelling {
	struct service *svc;
	slice name;
	unsigned count;
};

static void expel_here(struct worker *w, void *arg)
{
	struct expelling *e = arg;

	e->count += listeners_expel(e->svc, w, e->name);
}

void service_expel(struct service *svc, slice name)
{
	struct expelling e = { .svc = svc, .name = name };

	for (unsigned i = 0; i < svc->workers; i++)
		post_call(i, expel_here, &e);
	if (e.count)
		log_event(LOG_INFO, "sessions_ended", log_slice("account", name),
			log_uint("count", e.count));
}

/* --- On the workers ------------------------------------------------------------------------- */

static enum err open_store(struct service *svc, struct worker *w)
{
	struct store_options options =
		*(const struct store_options *)conf_options(svc->setup->conf, &store_conf_table);
	struct store_open args = { .options = &options,
		.ops = &queue_replay_ops,
		.why = svc->why,
		.why_bytes = sizeof(svc->why) };
	enum err err;

	options.path = svc->setup->service->data.ptr;
	/* A command may be at work in the folder of a server that did not run a moment ago. */
	msec until = worker_now(w) + BUSY_MS;

	do
		err = store_open(&args, &svc->store);
	while (err == ERR_BUSY && worker_now(w) < until && fiber_sleep(POLL_MS * 20) == OK);
	if (!err)
		err = login_open(svc->store, svc->setup->auth, &svc->login);
	if (!err)
		err = account_finish_removals(svc->store);
	return err;
}

static enum err wait_for_store(struct service *svc)
{
	int state;

	while (!(state = atomic_load_explicit(&svc->store_state, memory_order_acquire))) {
		enum err err = fiber_sleep(POLL_MS);

		if (err)
			return err;
	}
	return state > 0 ? OK : ERR_STOPPED;
}

/* Mail that one worker takes in may belong to another's path: nobody listens before all relays run. */
static enum err wait_for_relays(struct service *svc)
{
	while (atomic_load(&svc->relays) < svc->workers) {
		enum err err = fiber_sleep(POLL_MS);

		if (err)
			return err;
		if (atomic_load(&svc->store_state) < 0)
			return ERR_STOPPED;
	}
	return OK;
}

static enum err open_side_doors(struct service *svc, struct worker *w)
{
	enum err err = control_start(svc, w, svc->control_fd, &svc->control);

	svc->control_fd = -1;
	if (!err && svc->scrape_fd >= 0)
		err = scrape_start(svc, w, svc->scrape_fd, &svc->scrape);
	svc->scrape_fd = -1;
	return err;
}

static enum err start_worker(struct worker *w, void *arg)
{
	struct service *svc = arg;
	enum err err;

	log_thread_start();
	if (metric_thread_start())
		return ERR_NOMEM;
	if (worker_index(w) == 0) {
		svc->store_err = open_store(svc, w);
		atomic_store_explicit(&svc->store_state, svc->store_err ? -1 : 1,
			memory_order_release);
		err = svc->store_err;
	} else {
		err = wait_for_store(svc);
	}
	if (err)
		return err;
	err = login_worker_start(svc->login, w, svc->setup->auth);
	if (!err)
		err = seat_worker_start(w);
	if (!err)
		err = imap_worker_start(w);
	if (!err)
		err = pop3_worker_start(w);
	if (!err)
		err = relay_start(w, svc->store);
	if (err) {
		atomic_store(&svc->store_state, -1);
		return err;
	}
	atomic_fetch_add(&svc->relays, 1);
	err = wait_for_relays(svc);
	if (!err)
		err = listeners_apply(svc, w);
	if (!err && worker_index(w) == 0)
		err = open_side_doors(svc, w);
	return err;
}

/* Until the sessions of this worker are gone, or the time is over. */
static void drain_sessions(struct service *svc, struct worker *w)
{
	msec until = worker_now(w) + svc->setup->service->drain_ms;

	listeners_stop(svc, w);
	while (listeners_sessions(svc, w) && worker_now(w) < until)
		if (fiber_sleep(POLL_MS))
			break;
	while (listeners_sessions(svc, w)) {
		listeners_abort(svc, w);
		/* A session that waits for its disk, say, hears of its end only then. */
		if (worker_now(w) > until + STUCK_MS)
			store_end_waits(svc->store);
		if (fiber_sleep(POLL_MS))
			continue;
	}
}

static void stop_worker(struct worker *w, void *arg)
{
	struct service *svc = arg;

	drain_sessions(svc, w);
	if (worker_index(w) == 0) {
		control_stop(svc->control);
		scrape_stop(svc->scrape);
	}
	relay_drain(w, svc->setup->service->drain_ms);
	if (svc->login)
		login_worker_stop(svc->login, w);
	imap_worker_stop(w);
	pop3_worker_stop(w);
	seat_worker_stop(w);
	atomic_fetch_add(&svc->drained, 1);
	if (worker_index(w) != 0)
		return;
	/* The store's home is the last to leave. */
	while (atomic_load(&svc->drained) < svc->workers)
		if (fiber_sleep(POLL_MS))
			continue;
	store_close(svc->store);
	svc->store = NULL;
}

/* --- Start -------------------------------------------------------------------------------------- */

void service_relay_setup(const struct service *svc, struct addr own[SERVICE_OWN_MAX],
	struct relay_setup *out)
{
	*out = (struct relay_setup){ .conf = svc->setup->conf,
		.options = conf_options(svc->setup->conf, &relay_conf),
		.local = conf_options(svc->setup->conf, &local_conf),
		.hostname = svc->setup->service->hostname,
		.tls = svc->setup->tls_client,
		.own = own,
		.own_count = listeners_own(svc, own, SERVICE_OWN_MAX) };
}

static enum err start_relay(struct service *svc, struct out *why)
{
	struct addr own[SERVICE_OWN_MAX];
	struct relay_setup setup;

	service_relay_setup(svc, own, &setup);
	return relay_init(&setup, why);
}

static enum err bind_side_doors(struct service *svc, struct out *why)
{
	const struct service_options *o = svc->setup->service;
	char path[SETUP_CONTROL_PATH], reason[PROC_WHY] = "";
	struct addr control = { .kind = ADDR_UNIX, .path = setup_control_path(o, path) };
	/* The first start makes the data folder here: the socket may stand in it. */
	enum err err = o->control.len ? OK : file_make_dir(o->data.ptr);

	if (!err)
		err = listeners_free(&control, reason);
	if (!err)
		err = proc_bind(&control, 0600, &svc->control_fd, reason);
	if (err) {
		out_printf(why, "control socket %s: %s\n", path,
			reason[0] ? reason : err_text(err));
		return err;
	}
	if (o->metrics.kind == ADDR_NONE)
		return OK;
	err = listeners_free(&o->metrics, reason);
	if (!err)
		err = proc_bind(&o->metrics, 0660, &svc->scrape_fd, reason);
	if (err) {
		out_printf(why, "metrics: %s\n", reason);
		return err;
	}
	svc->scrape_at = o->metrics.kind == ADDR_UNIX ? o->metrics : listen_addr(svc->scrape_fd);
	return OK;
}

static void free_service(struct service *svc)
{
	listeners_done(svc);
	if (svc->control_fd >= 0)
		close(svc->control_fd);
	if (svc->scrape_fd >= 0)
		close(svc->scrape_fd);
	rate_free(svc->rate);
	login_close(svc->login);
	conf_put(svc->running);
	setup_put(svc->setup);
	pthread_mutex_destroy(&svc->setup_lock);
	free(svc);
}

static unsigned worker_count(const struct setup *setup)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (setup->service->workers)
		return (unsigned)setup->service->workers;
	return (unsigned)MIN(MAX(cores, 1), WORKERS_MAX);
}

static enum err start_workers(struct service *svc, struct out *why)
{
	const struct service_options *o = svc->setup->service;
	struct workers_config config = { .count = svc->workers,
		.job_threads = (unsigned)o->job_threads,
		.bufs_max_bytes = (size_t)o->memory_bytes,
		.start = start_worker,
		.stop = stop_worker,
		.arg = svc };
	char reason[PROC_WHY] = "";

	rsa_batch_configure(conf_options(svc->setup->conf, &rsa_batch_options_table));
	enum err err = workers_start(&config, reason, sizeof(reason));

	if (err)
		out_printf(why, "%s\n",
			svc->why[0]       ? svc->why :
				reason[0] ? reason :
					    err_text(err));
	return err;
}

enum err service_start(struct setup *setup, struct out *why, struct service **out)
{
	struct service *svc = calloc(1, sizeof(*svc));
	enum err err;

	if (!svc)
		return ERR_NOMEM;
	svc->setup = setup_hold(setup);
	svc->running = conf_hold(setup->conf);
	pthread_mutex_init(&svc->setup_lock, NULL);
	svc->workers = worker_count(setup);
	svc->control_fd = svc->scrape_fd = -1;
	svc->started_at = clock_wall();
	list_init(&svc->bindings);
	for (unsigned i = 0; i < svc->workers; i++)
		list_init(&svc->stations[i].doors);
	svc->rate = rate_new();
	err = svc->rate ? listeners_bind(svc, setup, why) : ERR_NOMEM;
	if (!err)
		err = bind_side_doors(svc, why);
	if (!err)
		err = start_relay(svc, why);
	if (!err)
		err = start_workers(svc, why);
	if (err) {
		free_service(svc);
		return err;
	}
	listeners_announce(svc);
	if (svc->scrape_at.kind != ADDR_NONE)
		log_event(LOG_INFO, "listening", log_str("service", "metrics"),
			log_addr("address", &svc->scrape_at),
			log_uint("port", svc->scrape_at.port));
	setup_put(setup); /* ours is the one that counts */
	*out = svc;
	return OK;
}

static void free_doors(struct service *svc)
{
	for (unsigned i = 0; i < svc->workers; i++) {
		struct list_link *link;

		while ((link = list_first(&svc->stations[i].doors)))
			door_free(container_of(link, struct door, link));
	}
}

void service_end(struct service *svc)
{
	workers_join();
	relay_done();
	free_doors(svc);
	free_service(svc);
}
