/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scrape.h - the Prometheus endpoint: GET /metrics over plain HTTP.
 *
 * A listener of its own on the first worker, for loopback or a private network: no TLS, no login, one
 * answer a connection. What is in it is server/numbers.h. */
#ifndef SERVER_SCRAPE_H
#define SERVER_SCRAPE_H

#include "core/base/base.h"

struct scrape;
struct service;
struct worker;

/* Takes the listening descriptor over, whatever happens. */
enum err scrape_start(struct service *svc, struct worker *w, int fd, struct scrape **out) must_use;
/* On its worker. NULL is harmless. */
void scrape_stop(struct scrape *scrape);

#endif
