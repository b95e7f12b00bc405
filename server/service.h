/* SPDX-License-Identifier: GPL-2.0-or-later */
/* service.h - the running server as a whole: start, reload, drain, stop.
 *
 * There is one. It is made in the main thread, which then only waits for signals; everything else
 * happens on the workers. SIGTERM and SIGINT drain and end, SIGHUP loads the configuration anew and swaps it
 * whole: listeners are compared and only those that changed are touched, sessions go on. */
#ifndef SERVER_SERVICE_H
#define SERVER_SERVICE_H

#include "core/base/base.h"
#include "server/door.h"

struct service;

/* Connections at once to the control socket, and to the metrics. */
enum { SIDE_CONNS_MAX = 64 };

/* All events and metrics of the program; before any thread. A second time is harmless. */
void service_register_tables(void);

/* `ringpost serve`: returns the exit status. */
int service_run(const char *config_path);

/* For tests and the simulation, in place of service_run: the same without signals. The errors of a
 * start are appended to `why`. `setup` is taken over in success. */
enum err service_start(struct setup *setup, struct out *why, struct service **out) must_use;
/* Wait until all has ended, after workers_stop(). */
void service_end(struct service *svc);

/* (fiber, or the main thread) Load the file again and swap; complaints are appended to `why`. */
enum err service_reload(struct service *svc, struct out *why) must_use;

/* What the admin commands work on. */
struct store *service_store(struct service *svc);
/* The one in force, held for the caller: setup_put. From any thread. */
struct setup *service_setup(struct service *svc) must_use;
wall_ms service_started_at(const struct service *svc);
/* (fiber) End the sessions of an account that may log in no more, or of all accounts of a domain
 * ("@domain"). What they have not been told is done was perhaps done. */
void service_expel(struct service *svc, slice name);
/* Open sessions, of all doors and workers. */
uint64_t service_sessions(struct service *svc);

#endif
