/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Feeding the index again what it had no memory for, from the segments. */
#include "store/journal_int.h"

enum { PAUSE_BYTES = 8 * 1024 * 1024 };

struct refill {
	struct journal *j;
	size_t fed;
};

static enum err feed(void *arg, const struct journal_record *rec, slice payload)
{
	struct refill *rf = arg;

	if (rf->j->stopping)
		return ERR_STOPPED;
	if (!(rec->flags & JOURNAL_INDEXED))
		return OK;
	enum err err = index_feed_again(rf->j->index, rec, payload);
	rf->fed += payload.len;
	if (err || rf->fed < PAUSE_BYTES)
		return err;
	rf->fed = 0;
	return index_wait_again(rf->j->index);
}

/* Everything in [from, end) that stands in live segments. Those cannot go meanwhile: the index has
 * not passed them. */
static enum err walk(struct refill *rf, journal_pos from, journal_pos end)
{
	uint32_t last = journal_segment_of(end);
	enum err err = OK;

	for (uint32_t n = journal_segment_of(from); !err && n <= last; n++) {
		struct journal_walk one = { .segment = n, .each = feed, .arg = rf };

		err = journal_walk(rf->j, &one);
		if (err == ERR_NOT_FOUND)
			err = OK; /* nothing good was ever written there */
		else if (!err && one.bad_segments)
			err = ERR_CORRUPT;
	}
	return err;
}

static enum err refill(struct journal *j)
{
	struct refill rf = { .j = j };
	enum err err = OK;

	while (!err && index_behind(j->index)) {
		journal_pos end = journal_durable(j);

		err = walk(&rf, index_missed(j->index), end);
		/* Nothing came meanwhile that the shards did not take. */
		if (!err && journal_durable(j) == end)
			index_caught_up(j->index, end);
	}
	return err;
}

static void run(void *arg)
{
	struct journal *j = arg;

	/* Without memory still: the tick tries again. */
	(void)!refill(j);
	j->refilling = false;
}

void journal_refill(struct journal *j)
{
	if (!index_behind(j->index) || j->refilling)
		return;
	if (!j->home) {
		(void)!refill(j);
		return;
	}
	j->refilling = fiber_start(j->home, run, j) == OK;
}
