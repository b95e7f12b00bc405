/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bodies while they arrive: blocks of RAM, spilled to the journal as chunks when they grow, or when
 * all unfinished bodies together are over their budget, which blob_desk.c keeps. */
#include "store/blob_int.h"

#include "store/frame.h"

#include <stdlib.h>

enum { BLOCK_BYTES = 16 * 1024 };

struct block {
	struct list_link link;
	size_t len;
	char bytes[BLOCK_BYTES - sizeof(struct list_link) - sizeof(size_t)];
};

enum err blobs_new(struct store *st)
{
	struct blobs *bs = calloc(1, sizeof(*bs));

	if (!bs)
		return ERR_NOMEM;
	for (size_t i = 0; i < array_len(bs->desks); i++)
		desk_init(&bs->desks[i], st);
	st->blobs = bs;
	return OK;
}

static void end_visits(struct worker *w, void *arg)
{
	struct desk *d = arg;

	timer_disarm(&d->timer);
	timer_disarm(&d->look);
}

/* What others asked of a desk came before this. */
void blobs_free(struct store *st)
{
	struct blobs *bs = st->blobs;

	for (unsigned i = 0; bs && st->worker && atomic_load(&bs->visits) && i < workers_count();
		i++)
		post_call(i, end_visits, &bs->desks[i]);
	free(bs);
	st->blobs = NULL;
}

uint64_t blobs_ram(const struct store *st)
{
	return atomic_load(&st->blobs->ram);
}

uint64_t blobs_spilled(const struct store *st)
{
	return atomic_load(&st->blobs->spilled);
}

static void free_blocks(struct list *blocks)
{
	for (struct list_link *link; (link = list_pop(blocks));)
		free(container_of(link, struct block, link));
}

void blob_wake(struct blob_writer *b)
{
	struct fiber_wait *wait = b->waiting;

	b->waiting = NULL;
	if (wait)
		fiber_wake(wait, OK);
	else if (b->resume)
		b->resume(b);
}

/* --- Chunks --- */

static void free_chunk(struct blob_chunk *c)
{
	free_blocks(&c->blocks);
	free(c->parts);
	free(c);
}

void blob_chunk_dropped(struct blob_chunk *c, enum err err)
{
	if (!err)
		journal_release(c->store->journal, c->op.pos);
	free_chunk(c);
}

void blob_chunk_ended(struct blob_writer *b)
{
	if (!worker_self())
		return;
	if (b->waiting && !list_has(&b->pause_link))
		blob_wake(b); /* blob_settle */
	else
		desk_look_at(b);
}

static void chunk_done(struct journal_op *op, enum err err)
{
	struct blob_chunk *c = container_of(op, struct blob_chunk, op);
	struct blob_writer *b = c->writer;

	free_blocks(&c->blocks);
	desk_left(&c->store->blobs->desks[op->worker], c->len);
	if (!b) {
		blob_chunk_dropped(c, err);
		return;
	}
	b->in_flight--;
	if (err) {
		b->err = b->err ? b->err : err;
		list_remove(&c->link);
		free_chunk(c);
	} else {
		c->done = true;
		b->low = b->low ? MIN(b->low, op->pos) : op->pos;
	}
	if (b->low)
		desk_streams(b);
	blob_chunk_ended(b);
}

/* Hand all blocks of the writer to the journal as one record. */
static enum err spill(struct blob_writer *b)
{
	size_t count = blob_part_count(b);
	struct blob_chunk *c = calloc(1, sizeof(*c));

	if (!c || b->chunk_count == FRAME_CHUNKS_MAX) {
		free(c);
		return b->err = c ? ERR_TOO_LARGE : ERR_NOMEM;
	}
	c->parts = calloc(count, sizeof(*c->parts));
	if (!c->parts) {
		free(c);
		return b->err = ERR_NOMEM;
	}
	blob_parts(b, c->parts);
	c->writer = b;
	c->store = b->store;
	c->len = (uint32_t)b->ram;
	list_init(&c->blocks);
	for (struct list_link *link; (link = list_pop(&b->blocks));)
		list_push(&c->blocks, link);
	list_push(&b->chunks, &c->link);
	b->chunk_count++;
	b->in_flight++;
	desk_leaves(b);
	atomic_fetch_add(&b->store->blobs->spilled, 1);
	c->op = (struct journal_op){ .type = JOURNAL_CHUNK,
		.flags = JOURNAL_HOLD,
		.parts = c->parts,
		.part_count = (uint16_t)count,
		.done = chunk_done };
	journal_submit(b->store->journal, &c->op);
	return b->err;
}

void blob_fail(struct blob_writer *b, enum err err)
{
	b->err = b->err ? b->err : err;
	free_blocks(&b->blocks);
	desk_count(b, -(int64_t)b->ram);
	list_remove(&b->stream_link);
	list_each(&b->chunks, link)
	{
		struct blob_chunk *c = container_of(link, struct blob_chunk, link);

		if (!c->done)
			continue;
		list_remove(link);
		blob_chunk_dropped(c, OK);
	}
}

void blob_take(struct blob_writer *b)
{
	if (!spill(b) || !b->ram)
		return;
	blob_fail(b, b->err);
	desk_look_at(b);
}

/* --- Writing --- */

void blob_begin(struct blob_writer *b, struct store *st)
{
	void (*resume)(struct blob_writer *) = b->resume;

	*b = (struct blob_writer){ .store = st, .resume = resume };
	b->worker = desk_here();
	list_init(&b->blocks);
	list_init(&b->chunks);
}

static struct block *block_with_room(struct blob_writer *b)
{
	struct block *last = list_empty(&b->blocks) ?
		NULL :
		container_of(b->blocks.head.prev, struct block, link);

	if (last && last->len < sizeof(last->bytes))
		return last;
	last = malloc(sizeof(*last));
	if (!last)
		return NULL;
	last->link = (struct list_link){ 0 };
	last->len = 0;
	list_push(&b->blocks, &last->link);
	return last;
}

static enum err copy(struct blob_writer *b, slice bytes)
{
	while (bytes.len) {
		struct block *to = block_with_room(b);

		if (!to)
			return b->err = ERR_NOMEM;
		size_t n = MIN(bytes.len, sizeof(to->bytes) - to->len);
		memcpy(to->bytes + to->len, bytes.ptr, n);
		to->len += n;
		b->size += n;
		desk_count(b, (int64_t)n);
		bytes = slice_skip(bytes, n);
		if (b->ram >= (uint64_t)b->store->opt.spill_bytes) {
			enum err err = spill(b);

			if (err)
				return err;
		}
	}
	return OK;
}

enum err blob_write(struct blob_writer *b, slice bytes)
{
	must(b->store);
	if (b->err)
		return b->err;
	enum err err = copy(b, bytes);
	if (err)
		return err;
	desk_make_room(desk_of(b));
	if (b->err || desk_may_go_on(b) || !worker_self())
		return b->err;
	desk_pause(b);
	return ERR_BUSY;
}

enum err blob_write_wait(struct blob_writer *b, slice bytes)
{
	enum err err = blob_write(b, bytes);

	while (err == ERR_BUSY) {
		struct fiber_wait wait = { 0 };

		b->waiting = &wait;
		(void)!fiber_wait_through(&wait);
		b->waiting = NULL;
		err = b->err;
	}
	return err;
}

enum err blob_settle(struct blob_writer *b)
{
	list_remove(&b->stream_link);
	desk_remove(b); /* its record names its blocks */
	while (b->in_flight) {
		struct fiber_wait wait = { 0 };

		b->waiting = &wait;
		(void)!fiber_wait_through(&wait);
		b->waiting = NULL;
	}
	desk_find_low(b);
	return b->err;
}

enum err blob_spill_all(struct blob_writer *b)
{
	enum err err = b->ram ? spill(b) : b->err;

	return err ? err : blob_settle(b);
}

enum err blob_lock_again(struct blob_writer *b)
{
	return worker_self() ? fiber_mutex_lock(&desk_of(b)->again, FIBER_FOREVER) : OK;
}

void blob_unlock_again(struct blob_writer *b)
{
	if (worker_self())
		fiber_mutex_unlock(&desk_of(b)->again);
}

/* --- The end --- */

static void end_chunks(struct blob_writer *b, bool kept)
{
	bool low_seen = !kept;

	for (struct list_link *link; (link = list_pop(&b->chunks));) {
		struct blob_chunk *c = container_of(link, struct blob_chunk, link);

		c->writer = NULL;
		if (!c->done)
			continue; /* its end frees it */
		if (!low_seen && c->op.pos == b->low) {
			low_seen = true;
			free_chunk(c);
		} else {
			blob_chunk_dropped(c, OK);
		}
	}
}

void blob_end(struct blob_writer *b, bool kept)
{
	if (!b->store)
		return;
	struct desk *d = desk_of(b);
	desk_count(b, -(int64_t)b->ram);
	free_blocks(&b->blocks);
	end_chunks(b, kept);
	list_remove(&b->stream_link);
	desk_remove(b);
	b->store = NULL;
	desk_tell(d);
}

void blob_drop(struct blob_writer *b)
{
	blob_end(b, false);
}

/* --- What it holds --- */

size_t blob_part_count(const struct blob_writer *b)
{
	size_t n = 0;

	for (const struct list_link *l = b->blocks.head.next; l != &b->blocks.head; l = l->next)
		n++;
	return n;
}

void blob_parts(const struct blob_writer *b, slice *out)
{
	for (const struct list_link *l = b->blocks.head.next; l != &b->blocks.head; l = l->next) {
		const struct block *from = container_of(l, struct block, link);

		*out++ = slice_of(from->bytes, from->len);
	}
}

void blob_put_chunks(const struct blob_writer *b, struct out *o)
{
	for (const struct list_link *l = b->chunks.head.next; l != &b->chunks.head; l = l->next) {
		const struct blob_chunk *c = container_of(l, struct blob_chunk, link);
		struct frame_chunk row = { .pos = c->op.pos, .len = c->len };

		frame_put_chunk(o, &row);
	}
}
