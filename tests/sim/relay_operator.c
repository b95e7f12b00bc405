/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operator of a town that relays. After a rebuild with a gap the queue is on hold: what happened
 * in the gap is not known to the server any more. The operator knows, by the oracle: what nobody has
 * got is released, the rest is removed. */
#include "tests/sim/oracle.h"
#include "tests/sim/relay_town.h"

#include "core/base/text.h"
#include "core/fiber.h"
#include "core/worker.h"
#include "relay/queue.h"

enum { PAGE = 20, LOOK_MS = 200 };

static unsigned released;

unsigned operator_released(void)
{
	return released;
}

/* "s<message>@sender.test": a report, about whoever of it was refused. */
static const struct oracle_message *reported_on(slice address)
{
	ptrdiff_t at = slice_find(address, '@');
	uint64_t number;

	if (!slice_starts(address, SLICE("s")) || at < 1 ||
		!text_parse_uint(slice_sub(address, 1, (size_t)at), UINT32_MAX, &number))
		return NULL;
	return oracle_message((uint32_t)number);
}

static bool is_wanted(const struct queue_row *row)
{
	const struct oracle_message *m = reported_on(row->recipient);
	const struct oracle_rcpt *r;
	uint32_t number;
	unsigned n;

	for (unsigned i = 0; m && i < m->rcpt_count; i++)
		if (m->rcpts[i].refused && !m->rcpts[i].reports) {
			oracle_report_again(); /* it may tell of others, too */
			return true;
		}
	r = oracle_find(row->recipient, &number, &n);
	return r && r->deliveries + r->reports == 0;
}

static enum err decide(struct worker *w, const struct queue_row *row)
{
	struct queue_filter one = { .id = row->id, .index = row->index, .state = QUEUE_HELD };
	bool wanted = is_wanted(row);
	uint64_t changed = 0;
	enum err err = queue_act(w, &one, wanted ? QUEUE_RELEASE : QUEUE_REMOVE, &changed);

	if (wanted)
		released += (unsigned)changed;
	return err;
}

/* One look at all that is held; how many there were. */
static size_t look(struct worker *w)
{
	struct queue_filter held = { .index = QUEUE_ALL, .state = QUEUE_HELD };
	struct queue_cursor cursor = { 0 };
	struct arena a = { 0 };
	size_t seen = 0;
	enum err err = OK;

	while (!err && !cursor.done) {
		struct queue_page page = { .arena = &a, .max = PAGE };

		err = queue_list(w, &held, &cursor, &page);
		for (size_t i = 0; !err && i < page.count; i++)
			err = decide(w, &page.rows[i]);
		seen += err ? 1 : page.count;
		arena_reset(&a);
	}
	arena_done(&a);
	return seen;
}

void operator_look_through(struct worker *w)
{
	while (look(w))
		if (fiber_sleep(LOOK_MS))
			return;
}
