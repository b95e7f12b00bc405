/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin.h - what an operator can ask of the server, as JSON in and JSON out.
 *
 * One table of requests, served through the control socket of a running server, or by the command line
 * itself on the data folder of a stopped one (server/offline.h: then `service` is NULL, and but for
 * requests that need the relay `w` is NULL too and calls block). A request is
 * {"do": "queue list", ...}; an answer is {"rows": [...], "next": cursor}, an object, or
 * {"error": "..."}. Lists come a page at a time: give "next" back as "after". Mail goes beside the JSON as it
 * is, behind a request or an answer. */
#ifndef SERVER_ADMIN_H
#define SERVER_ADMIN_H

#include <jansson.h>

#include "core/base/base.h"

struct admin_upload;
struct service;
struct setup;
struct store;
struct worker;

struct admin {
	struct service *service; /* NULL: no server runs */
	struct worker *w;
	struct store *store;
	const struct setup *setup;
	slice data; /* came behind the request */
	struct out *
		reply; /* goes behind the answer, if it is no error; empty, on the heap, of CONTROL_DATA_MAX */
	/* The asking connection's own: a message that is on its way in (admin_upload.c). */
	struct admin_upload **upload;
	struct arena arena; /* of the request; zeroed */
};
/* Whoever asked is gone: the message is forgotten. From the loop, a fiber or no worker. */
void admin_upload_drop(struct admin_upload *upload);

/* Must it run on a worker with a relay? */
bool admin_needs_relay(const json_t *request);
/* (fiber, or no worker) Never NULL; the caller drops the reference. */
json_t *admin_run(struct admin *admin, json_t *request) must_use;
json_t *admin_error(const char *fmt, ...) printf_like(1, 2);

#endif
