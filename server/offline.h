/* SPDX-License-Identifier: GPL-2.0-or-later */
/* offline.h - the data folder of a stopped server, opened by a command.
 *
 * Names and keys need the store alone. The queue needs more: one worker with a relay that stands
 * still, so that the same requests run as in a server, and nothing is delivered, asked or reported
 * before one runs again; what they change is durable, and the next server goes by it. Either is begun
 * when first needed. Blocks; one at a time in a process. */
#ifndef SERVER_OFFLINE_H
#define SERVER_OFFLINE_H

#include <jansson.h>

#include "core/base/base.h"

struct offline;
struct setup;

/* NULL without memory. The setup is borrowed. */
struct offline *offline_new(struct setup *setup) must_use;
/* Never NULL: that the folder cannot be opened is an {"error": ...} too. `data` stands behind the request, what
 * stands behind the answer is added to `reply`. */
json_t *offline_run(struct offline *off, json_t *request, slice data, struct out *reply) must_use;
void offline_free(struct offline *off); /* NULL is harmless */

#endif
