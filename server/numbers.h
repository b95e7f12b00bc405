/* SPDX-License-Identifier: GPL-2.0-or-later */
/* numbers.h - what modules count in structs of their own, as rows beside those of core/metric.
 *
 * The engine, the store, the relay and the signing batches keep counters that their own `_stats` call
 * sums up; a row here gives one of them its exported name, its kind and its one-line meaning.
 * Together with the tables of core/metric these are all the metrics there are. Nothing here fails. */
#ifndef SERVER_NUMBERS_H
#define SERVER_NUMBERS_H

#include "core/base/base.h"

struct service;

/* (fiber) Everything, registered tables first: Prometheus text format 0.0.4. */
void numbers_put_prometheus(struct service *svc, struct out *o);
/* The same as a Markdown table, for docs/metrics.md. The tables must have been registered. */
void numbers_print_markdown(struct out *o);

#endif
