/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control.c - lines in, admin_run() on a fiber, lines out.
 *
 * A connection idles without a fiber; its request is parsed, and what stands behind it is copied, before the
 * fiber starts, because the input dies with the callback. What is freed when: a connection in `closed`, the control itself with
 * the last of them after control_stop. */
#include "server/control.h"

#include <jansson.h>
#include <stdlib.h>

#include "core/conn.h"
#include "core/listen.h"
#include "core/ring.h"
#include "core/worker.h"
#include "server/admin.h"
#include "server/door.h"
#include "server/service.h"

enum { IDLE_MS = 300 * 1000 };

struct control {
	struct service *svc;
	struct worker *w;
	struct listener *listener;
	struct list clients;
	bool stopping;
};

struct client {
	struct list_link link;
	struct control *control;
	struct conn *conn;
	struct admin_upload *upload;
	json_t *request;
	struct out data; /* what stands behind it */
	size_t data_want;
};

static void free_if_done(struct control *control)
{
	if (control->stopping && list_empty(&control->clients))
		free(control);
}

static int append(const char *bytes, size_t len, void *arg)
{
	out_bytes(arg, bytes, len);
	return 0;
}

/* Takes both over. */
static void answer(struct conn *c, json_t *response, struct out *data)
{
	struct out *o = conn_out(c);

	if (data->len && !json_object_get(response, "error"))
		json_object_set_new(response, "behind", json_integer((json_int_t)data->len));
	json_dump_callback(response, append, o, JSON_COMPACT);
	out_char(o, '\n');
	if (json_object_get(response, "behind"))
		out_slice(o, out_written(data));
	json_decref(response);
	out_heap_done(data);
}

static void drop_request(struct client *client)
{
	json_decref(client->request);
	client->request = NULL;
	out_heap_done(&client->data);
}

/* On a fiber. */
static void run_request(struct conn *c)
{
	struct client *client = conn_owner(c);
	struct out reply = out_heap(CONTROL_DATA_MAX);
	struct admin admin = { .service = client->control->svc,
		.w = client->control->w,
		.upload = &client->upload,
		.data = out_written(&client->data),
		.reply = &reply };
	struct setup *setup = service_setup(admin.service);

	admin.store = service_store(admin.service);
	admin.setup = setup;
	answer(c, admin_run(&admin, client->request), &reply);
	setup_put(setup);
	drop_request(client);
	conn_deadline(c, IDLE_MS);
}

/* With a wrong length nothing that follows can be understood. */
static bool begin_request(struct conn *c, slice line)
{
	struct client *client = conn_owner(c);
	struct out none = { 0 };
	json_error_t error;
	json_t *request = json_loadb(line.ptr, line.len, 0, &error);
	json_int_t bytes = json_integer_value(json_object_get(request, "behind"));

	if (!request) {
		answer(c, admin_error("request is not JSON"), &none);
		return true;
	}
	if (bytes < 0 || bytes > CONTROL_DATA_MAX) {
		json_decref(request);
		conn_abort(c, ERR_TOO_LARGE);
		return false;
	}
	client->request = request;
	client->data_want = (size_t)bytes;
	client->data = out_heap(client->data_want);
	return true;
}

static size_t on_data(struct conn *c, slice in)
{
	struct client *client = conn_owner(c);
	size_t used = 0;

	if (!client->request) {
		ptrdiff_t end = slice_find(in, '\n');

		if (end < 0)
			return 0;
		if (!begin_request(c, slice_sub(in, 0, (size_t)end)))
			return in.len;
		used = (size_t)end + 1;
	}
	if (!client->request)
		return used;
	slice data = slice_sub(slice_skip(in, used), 0, client->data_want);
	out_slice(&client->data, data);
	client->data_want -= data.len;
	if (!out_ok(&client->data)) {
		conn_abort(c, ERR_NOMEM);
		return in.len;
	}
	conn_deadline(c, client->data_want ? IDLE_MS : 0);
	/* What follows comes again when the fiber is done. */
	if (!client->data_want)
		(void)conn_run(c, run_request);
	return used + data.len;
}

static void on_closed(struct conn *c, enum err why)
{
	struct client *client = conn_owner(c);
	struct control *control = client->control;

	list_remove(&client->link);
	admin_upload_drop(client->upload);
	drop_request(client);
	free(client);
	free_if_done(control);
}

static void on_accepted(struct listener *l, int fd, const struct addr *peer)
{
	static const struct conn_ops ops = { .data = on_data, .closed = on_closed };
	struct control *control = listener_owner(l);
	struct client *client = calloc(1, sizeof(*client));
	struct conn_open open = {
		.fd = fd, .peer = peer, .ops = &ops, .owner = client, .listener = l
	};

	if (!client) {
		ring_close(fd);
		listener_gone(l, peer);
		return;
	}
	client->control = control;
	if (conn_open(control->w, &open, &client->conn)) {
		free(client);
		return;
	}
	list_push(&control->clients, &client->link);
	conn_set_hold_max(client->conn, CONTROL_REQUEST_MAX);
	conn_deadline(client->conn, IDLE_MS);
}

enum err control_start(struct service *svc, struct worker *w, int fd, struct control **out)
{
	struct control *control = calloc(1, sizeof(*control));
	struct listen_config config = { .fd = fd,
		.operators = true,
		.shared_fd = false,
		.conns_max = SIDE_CONNS_MAX,
		.accepted = on_accepted,
		.owner = control };
	enum err err;

	if (!control) {
		ring_close(fd);
		return ERR_NOMEM;
	}
	*control = (struct control){ .svc = svc, .w = w };
	list_init(&control->clients);
	err = listener_start(w, &config, &control->listener);
	if (err)
		free(control);
	else
		*out = control;
	return err;
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	listener_stop(control->listener);
	control->stopping = true;
	list_each(&control->clients, link)
		conn_close(container_of(link, struct client, link)->conn);
	free_if_done(control);
}
