/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bodies that come slowly: their chunks would keep the journal from freeing what is behind them, until nobody
 * else's mail found room. What stands half of the journal behind its end is written there once more; if
 * there is no room left for that, the body has failed. So who is slow costs some writing, and no room.
 *
 * Writers stand in the order of their oldest chunk. A chunk that is being moved counts as in flight: an append
 * waits for it, and who drops its writer meanwhile leaves it to be freed here. */
#include "store/blob_int.h"

#include "core/base/codec.h"

#include <stdlib.h>

enum { LOOK_MS = 100 };

static void look(struct timer *t);

void desk_init_moves(struct desk *d)
{
	list_init(&d->streamed);
	d->look.fire = look;
}

void desk_streams(struct blob_writer *b)
{
	struct desk *d = desk_of(b);

	if (list_has(&b->stream_link) || !worker_self())
		return;
	list_push(&d->streamed, &b->stream_link);
	atomic_store(&b->store->blobs->visits, true);
	if (!timer_armed(&d->look))
		timer_arm_in(worker_self(), &d->look, LOOK_MS);
}

static enum err read_chunk(struct journal *j, const struct blob_chunk *c, char *buf)
{
	struct journal_span span = { .len = c->len };
	struct journal_record record;
	enum err err = journal_read_head(j, c->op.pos, &record);

	if (!err && (record.type != JOURNAL_CHUNK || record.len != c->len))
		err = ERR_CORRUPT;
	if (!err)
		err = journal_read(j, &record, span, buf);
	if (!err && !journal_record_ok(&record, codec_crc32c(0, buf, c->len)))
		err = ERR_CORRUPT;
	return err;
}

static enum err write_again(struct journal *j, struct blob_chunk *c, journal_pos *out_old)
{
	char *buf = malloc(c->len);
	slice part = slice_of(buf, c->len);
	struct journal_op op = {
		.type = JOURNAL_CHUNK, .flags = JOURNAL_HOLD, .parts = &part, .part_count = 1
	};
	enum err err = buf ? read_chunk(j, c, buf) : ERR_NOMEM;

	if (!err)
		err = journal_append(j, &op);
	if (!err) {
		*out_old = c->op.pos;
		c->op.pos = op.pos;
	}
	free(buf);
	return err;
}

/* False: its writer is gone, or wants to end; or it cannot be. */
static bool move_chunk(struct desk *d, struct blob_chunk *c)
{
	struct journal *j = d->store->journal;
	struct blob_writer *b = c->writer;
	journal_pos old = 0;

	c->done = false;
	b->in_flight++;
	d->move_err = write_again(j, c, &old);
	if (old)
		journal_release(j, old);
	c->done = true;
	b = c->writer;
	if (!b) {
		blob_chunk_dropped(c, OK);
		return false;
	}
	b->in_flight--;
	if (list_has(&b->stream_link) && (d->move_err == ERR_NOSPACE || d->move_err == ERR_CORRUPT))
		blob_fail(b, d->move_err);
	blob_chunk_ended(b);
	return !d->move_err && list_has(&b->stream_link);
}

static struct blob_chunk *chunk_behind(struct blob_writer *b, struct list_link *link)
{
	return link->next == &b->chunks.head ? NULL :
					       container_of(link->next, struct blob_chunk, link);
}

void desk_find_low(struct blob_writer *b)
{
	b->low = 0;
	for (struct blob_chunk *c = chunk_behind(b, &b->chunks.head); c;
		c = chunk_behind(b, &c->link))
		if (c->done)
			b->low = b->low ? MIN(b->low, c->op.pos) : c->op.pos;
}

/* All that it had in the journal before this began. */
static void move_writer(struct desk *d, struct blob_writer *b, journal_pos before)
{
	for (struct blob_chunk *c = chunk_behind(b, &b->chunks.head); c;
		c = chunk_behind(b, &c->link))
		if (c->done && c->op.pos < before && !move_chunk(d, c))
			return;
	desk_find_low(b);
	list_remove(&b->stream_link);
	list_push(&d->streamed, &b->stream_link);
}

/* The first that keeps what others will need. */
static struct blob_writer *first_in_the_way(struct desk *d)
{
	struct list_link *link = list_first(&d->streamed);
	struct blob_writer *b = link ? container_of(link, struct blob_writer, stream_link) : NULL;
	struct journal_stats s;

	if (!b || !b->low)
		return NULL;
	journal_stats(d->store->journal, &s);
	uint32_t behind =
		journal_segment_of(journal_durable(d->store->journal)) - journal_segment_of(b->low);

	return behind && (behind >= s.segments_max / 2 || b->low < s.pressure) ? b : NULL;
}

static void move_all(void *arg)
{
	struct desk *d = arg;
	struct blob_writer *b;
	journal_pos before = journal_durable(d->store->journal);

	d->move_err = OK;
	while (!d->move_err && (b = first_in_the_way(d)) && b->low < before)
		move_writer(d, b, before);
	d->moving = false;
}

static void look(struct timer *t)
{
	struct desk *d = container_of(t, struct desk, look);
	struct worker *w = worker_self();

	if (list_empty(&d->streamed))
		return;
	timer_arm_in(w, t, LOOK_MS);
	if (!d->moving && first_in_the_way(d))
		d->moving = fiber_start(w, move_all, d) == OK;
}

static enum err wait_for_moves(struct worker *w, void *arg)
{
	struct desk *d = arg;

	while (d->moving)
		if (fiber_sleep(1))
			continue;
	return OK;
}

void blobs_stop(struct store *st)
{
	struct blobs *bs = st->blobs;

	for (unsigned i = 0; st->worker && atomic_load(&bs->visits) && i < workers_count(); i++)
		(void)!post_call_fiber(i, wait_for_moves, &bs->desks[i]);
}
