/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote.h - the command line's way to the server: its control socket, or the data folder itself.
 *
 * When nobody listens on the socket requests run in this process (server/offline.h); the lock of the
 * data folder decides, so the two can never meet. Blocking. */
#ifndef SERVER_REMOTE_H
#define SERVER_REMOTE_H

#include <jansson.h>

#include "core/base/base.h"

struct remote;

/* `config` is a path. A server that says nothing for `timeout_ms`, to nobody who asks, is given up; one
 * that is at work is waited for. What went wrong is appended to `why`. */
enum err remote_open(const char *config, msec timeout_ms, struct out *why,
	struct remote **out) must_use;
/* A server answers. */
bool remote_is_served(const struct remote *r);
/* Takes the request over. Never NULL: a connection that broke is an {"error": ...} too. */
json_t *remote_call(struct remote *r, json_t *request) must_use;
/* The same in two steps, with what goes beside the JSON (at most CONTROL_DATA_MAX): up to REMOTE_AHEAD requests may
 * be sent before their answers are fetched, in order. *out_data lives until the next call. */
enum { REMOTE_AHEAD = 4 };
void remote_send(struct remote *r, json_t *request, slice data);
json_t *remote_answer(struct remote *r, slice *out_data) must_use;
void remote_close(struct remote *r); /* NULL is harmless */

#endif
