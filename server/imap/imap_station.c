/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_station.c - what the IMAP sessions of a worker share. */
#include "server/imap/imap_int.h"

#include <stdlib.h>

#include "core/worker.h"

static unsigned slot;

void imap_init(void)
{
	worker_slot_take(&slot);
}

enum err imap_worker_start(struct worker *w)
{
	struct imap_station *st = calloc(1, sizeof(*st));

	*worker_slot(w, slot) = st;
	return st ? OK : ERR_NOMEM;
}

void imap_worker_stop(struct worker *w)
{
	struct imap_station *st = imap_station_of(w);

	if (!st)
		return;
	while (st->spares)
		arena_done(&st->spare[--st->spares]);
	map_done(&st->views);
	free(st);
	*worker_slot(w, slot) = NULL;
}

struct imap_station *imap_station_of(struct worker *w)
{
	return *worker_slot(w, slot);
}
