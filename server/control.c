/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control.c - lines in, admin_run() on a fiber, lines out.
 *
 * A connection idles without a fiber; its request is copied before the fiber starts, because the
 * input dies with the callback. What is freed when: a connection in `closed`, the control itself with
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
	char *request;
	size_t request_len;
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

static void answer(struct conn *c, json_t *response)
{
	struct out *o = conn_out(c);

	json_dump_callback(response, append, o, JSON_COMPACT);
	out_char(o, '\n');
	json_decref(response);
}

/* On a fiber. */
static void run_request(struct conn *c)
{
	struct client *client = conn_owner(c);
	struct admin admin = {
		.service = client->control->svc, .w = client->control->w, .upload = &client->upload
	};
	json_error_t error;
	json_t *request = json_loadb(client->request, client->request_len, 0, &error);

	admin.store = service_store(admin.service);
	struct setup *setup = service_setup(admin.service);

	admin.setup = setup;
	answer(c, request ? admin_run(&admin, request) : admin_error("request is not JSON"));
	json_decref(request);
	setup_put(setup);
	free(client->request);
	client->request = NULL;
	conn_deadline(c, IDLE_MS);
}

static size_t on_data(struct conn *c, slice in)
{
	struct client *client = conn_owner(c);
	ptrdiff_t end = slice_find(in, '\n');

	if (end < 0)
		return 0;
	client->request = malloc((size_t)end + 1);
	if (!client->request) {
		conn_abort(c, ERR_NOMEM);
		return in.len;
	}
	memcpy(client->request, in.ptr, (size_t)end);
	client->request_len = (size_t)end;
	conn_deadline(c, 0);
	(void)conn_run(c, run_request);
	/* What follows comes again when the fiber is done. */
	return (size_t)end + 1;
}

static void on_closed(struct conn *c, enum err why)
{
	struct client *client = conn_owner(c);
	struct control *control = client->control;

	list_remove(&client->link);
	admin_upload_drop(client->upload);
	free(client->request);
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
