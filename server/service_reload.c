/* SPDX-License-Identifier: GPL-2.0-or-later */
/* service_reload.c - another configuration in the place of the one in force.
 *
 * By the main thread: the file is read and new sockets are bound before anything changes, so that a
 * mistake leaves all as it was. Then each worker compares its doors with the new setup, and the relay
 * swaps its options. Sessions keep the setup they began with. */
#include <semaphore.h>

#include "core/fiber.h"
#include "core/log.h"
#include "core/worker.h"
#include "relay/relay.h"
#include "server/login.h"
#include "server/service_int.h"

struct reload {
	struct post post;
	struct service *svc;
	sem_t *done;
	enum err err;
	const struct relay_setup *relay;
	struct out *why;
};

static void apply_here(struct worker *w, struct post *post)
{
	struct reload *r = container_of(post, struct reload, post);

	r->err = listeners_apply(r->svc, w);
	sem_post(r->done);
}

static void reload_relay(void *arg)
{
	struct reload *r = arg;

	const struct auth_options auth = *r->svc->setup->auth;
	struct login *login = r->svc->login;

	r->err = relay_reload(worker_self(), r->relay, r->why);
	sem_post(r->done);
	/* Nobody waits for this: the disk may be full. */
	if (login_options(login, &auth))
		log_text(LOG_WARN, "a new auth.scram_iterations could not be noted");
}

static void reload_relay_here(struct worker *w, struct post *post)
{
	struct reload *r = container_of(post, struct reload, post);

	if (fiber_start(w, reload_relay, r)) {
		r->err = ERR_NOMEM;
		sem_post(r->done);
	}
}

static enum err apply_everywhere(struct service *svc)
{
	struct reload jobs[WORKERS_MAX];
	sem_t done;
	enum err err = OK;

	sem_init(&done, 0, 0);
	for (unsigned i = 0; i < svc->workers; i++) {
		jobs[i] = (struct reload){ .svc = svc, .done = &done, .post.run = apply_here };
		post_to(i, &jobs[i].post);
	}
	for (unsigned i = 0; i < svc->workers; i++)
		while (sem_wait(&done))
			continue;
	for (unsigned i = 0; i < svc->workers; i++)
		err = err ? err : jobs[i].err;
	sem_destroy(&done);
	return err;
}

static enum err apply_relay(struct service *svc, struct out *why)
{
	struct addr own[SERVICE_OWN_MAX];
	struct relay_setup relay;
	sem_t done;
	struct reload job = { .svc = svc,
		.done = &done,
		.post.run = reload_relay_here,
		.relay = &relay,
		.why = why };

	service_relay_setup(svc, own, &relay);
	sem_init(&done, 0, 0);
	post_to(0, &job.post);
	while (sem_wait(&done))
		continue;
	sem_destroy(&done);
	return job.err;
}

void service_use_log_options(const struct setup *setup)
{
	log_set_level((enum log_level)setup->service->log_level);
	log_set_format((enum log_format)setup->service->log_format);
}

enum err service_reload(struct service *svc, struct out *why)
{
	struct setup *setup, *old = svc->setup;
	enum err err = setup_load(conf_path(old->conf).ptr, why, &setup);

	if (err)
		return err;
	conf_compare(svc->running, setup->conf, why); /* names what waits for a restart */
	err = listeners_bind(svc, setup, why);
	if (err) {
		setup_put(setup);
		return err;
	}
	pthread_mutex_lock(&svc->setup_lock);
	svc->setup = setup;
	pthread_mutex_unlock(&svc->setup_lock);
	service_use_log_options(setup);
	err = apply_everywhere(svc);
	listeners_announce(svc);
	if (!err)
		err = apply_relay(svc, why);
	setup_put(old);
	return err;
}
