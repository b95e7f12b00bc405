/* SPDX-License-Identifier: GPL-2.0-or-later */
/* offline.c - the store alone, or a worker with a relay that stands still.
 *
 * A request is posted to the worker and runs on a fiber there; this thread waits for its answer. The
 * lock of the data folder keeps a server and a command apart. */
#include "server/offline.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/fiber.h"
#include "core/log.h"
#include "core/metric.h"
#include "core/post.h"
#include "core/proc.h"
#include "core/tls.h"
#include "core/worker.h"
#include "relay/queue.h"
#include "relay/local.h"
#include "relay/relay.h"
#include "server/admin.h"
#include "server/door.h"
#include "server/service.h"
#include "store/store.h"

enum { WHY_BYTES = 512, DRAIN_MS = 60000 };

struct offline {
	struct setup *setup;
	struct store *store;
	struct admin_upload *upload;
	bool ready; /* user and crypto: once */
	bool working;
	char why[WHY_BYTES];
};

static enum err open_store(struct offline *off, const struct store_replay_ops *ops)
{
	struct store_options options =
		*(const struct store_options *)conf_options(off->setup->conf, &store_conf_table);
	char reason[PROC_WHY] = "";
	struct store_open args = {
		.options = &options, .ops = ops, .why = reason, .why_bytes = sizeof(reason)
	};
	enum err err;

	options.path = off->setup->service->data.ptr;
	err = store_open(&args, &off->store);
	if (err)
		snprintf(off->why, sizeof(off->why), "%s: %s", options.path,
			reason[0] ? reason : err_text(err));
	return err;
}

/* --- With a worker ------------------------------------------------------------------------------- */

static enum err start_worker(struct worker *w, void *arg)
{
	struct offline *off = arg;
	enum err err = metric_thread_start();

	if (!err)
		err = open_store(off, &queue_replay_ops);
	if (!err)
		err = relay_start(w, off->store);
	if (!err)
		err = relay_settle(w);
	return err;
}

static void stop_worker(struct worker *w, void *arg)
{
	struct offline *off = arg;

	admin_upload_drop(off->upload);
	off->upload = NULL;
	relay_drain(w, DRAIN_MS);
	store_close(off->store);
	off->store = NULL;
}

static enum err start_engine(struct offline *off)
{
	struct relay_setup relay = { .conf = off->setup->conf,
		.options = conf_options(off->setup->conf, &relay_conf),
		.local = conf_options(off->setup->conf, &local_conf),
		.hostname = off->setup->service->hostname,
		.still = true };
	struct workers_config config = {
		.count = 1, .start = start_worker, .stop = stop_worker, .arg = off
	};
	struct out why = out_fixed(off->why, sizeof(off->why) - 1);
	char reason[PROC_WHY] = "";
	enum err err;

	/* What happens to each recipient is the answer's to say, not the log's. */
	log_set_level(LOG_ERROR);
	service_register_tables();
	err = relay_init(&relay, &why);
	if (err)
		return err;
	err = workers_start(&config, reason, sizeof(reason));
	if (err) {
		if (!off->why[0])
			snprintf(off->why, sizeof(off->why), "%s",
				reason[0] ? reason : err_text(err));
		relay_done();
		return err;
	}
	off->working = true;
	return OK;
}

struct call {
	struct post post;
	struct offline *off;
	json_t *request, *answer;
	slice data;
	struct out *reply;
	sem_t done;
};

static void run_call(void *arg)
{
	struct call *call = arg;
	struct admin admin = {
		.w = worker_self(),
		.store = call->off->store,
		.setup = call->off->setup,
		.upload = &call->off->upload,
		.data = call->data,
		.reply = call->reply,
	};
	enum err err;

	call->answer = admin_run(&admin, call->request);
	err = relay_settle(admin.w);
	if (err) {
		json_decref(call->answer);
		call->answer = admin_error("the queue: %s", err_text(err));
	}
	sem_post(&call->done);
}

static void begin_call(struct worker *w, struct post *post)
{
	struct call *call = container_of(post, struct call, post);

	if (!fiber_start(w, run_call, call))
		return;
	call->answer = admin_error("%s", err_text(ERR_NOMEM));
	sem_post(&call->done);
}

/* Fills in call->answer. */
static void ask_worker(struct call *call)
{
	call->post.run = begin_call;
	sem_init(&call->done, 0, 0);
	post_to(0, &call->post);
	while (sem_wait(&call->done))
		continue;
	sem_destroy(&call->done);
}

/* --- For commands ----------------------------------------------------------------------------------- */

struct offline *offline_new(struct setup *setup)
{
	struct offline *off = calloc(1, sizeof(*off));

	if (off)
		off->setup = setup;
	return off;
}

static enum err get_ready(struct offline *off)
{
	struct out why = out_fixed(off->why, sizeof(off->why) - 1);
	enum err err = off->ready ? OK : setup_become_user(off->setup, &why);

	if (!err && !off->ready)
		err = tls_start();
	off->ready = !err;
	off->why[strcspn(off->why, "\n")] = '\0';
	return err;
}

json_t *offline_run(struct offline *off, json_t *request, slice data, struct out *reply)
{
	struct admin admin = {
		.setup = off->setup, .upload = &off->upload, .data = data, .reply = reply
	};
	struct call call = { .off = off, .request = request, .data = data, .reply = reply };
	bool queue = admin_needs_relay(request);
	enum err err = get_ready(off);

	if (!err && queue && !off->working)
		err = start_engine(off);
	else if (!err && !off->store)
		err = open_store(off, NULL);
	if (err)
		return admin_error("%s", off->why[0] ? off->why : err_text(err));
	if (off->working) { /* the store is its worker's */
		ask_worker(&call);
		return call.answer;
	}
	admin.store = off->store;
	return admin_run(&admin, request);
}

void offline_free(struct offline *off)
{
	if (!off)
		return;
	if (off->working) {
		workers_stop();
		workers_join();
		relay_done();
	}
	store_close(off->store);
	free(off);
}
