/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bodies while they arrive: blocks of RAM, spilled to the journal as chunks when they grow, or when
 * all unfinished bodies together are over their budget.
 *
 * Each worker knows its open writers by size class, so the largest is found at once. A writer that was
 * told to pause is looked at again whenever its worker gave memory back, and every few
 * milliseconds, since other workers share the budget. */
#include "store/store_int.h"

#include "store/frame.h"

#include <stdlib.h>

enum { BLOCK_BYTES = 16 * 1024, CLASSES = 16, LOOK_MS = 20, IN_FLIGHT_MAX = 2 };

struct block {
	struct list_link link;
	size_t len;
	char bytes[BLOCK_BYTES - sizeof(struct list_link) - sizeof(size_t)];
};

struct chunk {
	struct journal_op op;
	struct list_link link;
	struct list blocks;
	slice *parts;
	struct blob_writer *writer; /* NULL: it was dropped */
	struct store *store;
	uint32_t len;
	bool done;
};

/* The open writers of one worker, or of all threads that are none, and what goes with them. */
struct desk {
	struct store *store;
	struct list classes[CLASSES];
	struct list asides[CLASSES]; /* that can be given up */
	struct list paused;
	struct timer timer;
	struct fiber_mutex again;
};

struct blobs {
	_Atomic uint64_t ram, spilled;
	_Atomic uint64_t leaving; /* of `ram`: on the way to the disk */
	struct desk desks[WORKERS_MAX + 1];
};

static void look_again(struct timer *t);

enum err blobs_new(struct store *st)
{
	struct blobs *bs = calloc(1, sizeof(*bs));

	if (!bs)
		return ERR_NOMEM;
	for (size_t i = 0; i < array_len(bs->desks); i++) {
		struct desk *d = &bs->desks[i];

		d->store = st;
		d->timer.fire = look_again;
		list_init(&d->paused);
		for (size_t k = 0; k < CLASSES; k++) {
			list_init(&d->classes[k]);
			list_init(&d->asides[k]);
		}
	}
	st->blobs = bs;
	return OK;
}

void blobs_free(struct store *st)
{
	free(st->blobs);
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

static bool over_budget(const struct store *st)
{
	return blobs_ram(st) > (uint64_t)st->opt.body_ram_bytes;
}

/* And what is on its way to the disk will not make enough room. */
static bool far_over_budget(const struct store *st)
{
	return blobs_ram(st) > (uint64_t)st->opt.body_ram_bytes + atomic_load(&st->blobs->leaving);
}

static struct desk *desk_of(const struct blob_writer *b)
{
	return &b->store->blobs->desks[b->worker];
}

/* --- RAM --- */

/* 0: below 4 KB, which nobody is asked for. */
static uint8_t class_of(uint64_t bytes)
{
	uint8_t size = 0;

	for (uint64_t n = bytes / 4096; n && size < CLASSES - 1; n /= 2)
		size++;
	return size;
}

static void account(struct blob_writer *b, int64_t bytes)
{
	atomic_fetch_add(&b->store->blobs->ram, (uint64_t)bytes);
	b->ram += (uint64_t)bytes;
	uint8_t size = class_of(b->ram);

	if (size != b->size_class || !list_has(&b->link)) {
		list_remove(&b->link);
		list_push(&desk_of(b)->classes[size], &b->link);
		b->size_class = size;
	}
}

static void free_blocks(struct list *blocks)
{
	for (struct list_link *link; (link = list_pop(blocks));)
		free(container_of(link, struct block, link));
}

static void wake(struct blob_writer *b)
{
	struct fiber_wait *wait = b->waiting;

	b->waiting = NULL;
	if (wait)
		fiber_wake(wait, OK);
	else if (b->resume)
		b->resume(b);
}

static bool may_go_on(const struct blob_writer *b)
{
	return b->err || (b->in_flight < IN_FLIGHT_MAX && !over_budget(b->store));
}

static void wake_paused(struct desk *d)
{
	struct list woken;

	list_init(&woken);
	list_each(&d->paused, link)
	{
		struct blob_writer *b = container_of(link, struct blob_writer, pause_link);

		if (may_go_on(b)) {
			list_remove(link);
			list_push(&woken, link);
		}
	}
	for (struct list_link *link; (link = list_pop(&woken));)
		wake(container_of(link, struct blob_writer, pause_link));
}

static void look_again(struct timer *t)
{
	struct desk *d = container_of(t, struct desk, timer);

	wake_paused(d);
	if (!list_empty(&d->paused))
		timer_arm_in(worker_self(), t, LOOK_MS);
}

static void pause_writer(struct blob_writer *b)
{
	struct desk *d = desk_of(b);

	if (!list_has(&b->pause_link))
		list_push(&d->paused, &b->pause_link);
	if (!timer_armed(&d->timer))
		timer_arm_in(worker_self(), &d->timer, LOOK_MS);
}

/* --- Chunks --- */

static void free_chunk(struct chunk *c)
{
	free_blocks(&c->blocks);
	free(c->parts);
	free(c);
}

static void chunk_of_dropped(struct chunk *c, enum err err)
{
	if (!err)
		journal_release(c->store->journal, c->op.pos);
	free_chunk(c);
}

static void chunk_done(struct journal_op *op, enum err err)
{
	struct chunk *c = container_of(op, struct chunk, op);
	struct blob_writer *b = c->writer;
	struct desk *d = &c->store->blobs->desks[op->worker];

	atomic_fetch_sub(&c->store->blobs->ram, c->len);
	atomic_fetch_sub(&c->store->blobs->leaving, c->len);
	free_blocks(&c->blocks);
	if (!b) {
		chunk_of_dropped(c, err);
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
	if (!worker_self())
		return;
	if (b->waiting && !list_has(&b->pause_link))
		wake(b); /* blob_settle */
	wake_paused(d);
}

/* Hand all blocks of the writer to the journal as one record. */
static enum err spill(struct blob_writer *b)
{
	size_t count = blob_part_count(b);
	struct chunk *c = calloc(1, sizeof(*c));

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
	/* The budget gets them back when they are written. */
	atomic_fetch_add(&b->store->blobs->ram, c->len);
	atomic_fetch_add(&b->store->blobs->leaving, c->len);
	account(b, -(int64_t)c->len);
	atomic_fetch_add(&b->store->blobs->spilled, 1);
	c->op = (struct journal_op){ .type = JOURNAL_CHUNK,
		.flags = JOURNAL_HOLD,
		.parts = c->parts,
		.part_count = (uint16_t)count,
		.done = chunk_done };
	journal_submit(b->store->journal, &c->op);
	return b->err;
}

/* Over the budget: the largest of this worker makes room first. Bodies lose nothing by it; what goes with
 * them is asked for only when it must be. */
static void make_room(struct desk *d)
{
	bool far = far_over_budget(d->store);

	for (size_t i = CLASSES; i-- > 1;) {
		struct list_link *body = list_first(&d->classes[i]);
		struct list_link *aside = far ? list_first(&d->asides[i]) : NULL;

		if (body) {
			(void)!spill(container_of(body, struct blob_writer, link));
			return;
		}
		if (aside) {
			struct blob_aside *a = container_of(aside, struct blob_aside, link);

			a->give_up(a);
			return;
		}
	}
}

/* --- What goes with them --- */

static void recount(struct blob_aside *a, size_t bytes)
{
	struct desk *d = &a->store->blobs->desks[a->worker];
	uint8_t size = class_of(bytes);

	atomic_fetch_add(&a->store->blobs->ram, (uint64_t)bytes - (uint64_t)a->bytes);
	a->bytes = bytes;
	if (size == a->size_class && list_has(&a->link) && bytes && a->give_up)
		return;
	list_remove(&a->link);
	a->size_class = size;
	if (bytes && a->give_up)
		list_push(&d->asides[size], &a->link);
}

void blob_aside_count(struct blob_aside *a, size_t bytes)
{
	struct worker *w = worker_self();
	bool more = bytes > a->bytes;

	if (!a->bytes)
		a->worker = w ? (uint16_t)worker_index(w) : WORKERS_MAX;
	if (!a->store || bytes == a->bytes)
		return;
	recount(a, bytes);
	if (more && over_budget(a->store))
		make_room(&a->store->blobs->desks[a->worker]);
	else if (!bytes && !list_empty(&a->store->blobs->desks[a->worker].paused) && w)
		timer_arm_in(w, &a->store->blobs->desks[a->worker].timer, 0);
}

/* --- Writing --- */

void blob_begin(struct blob_writer *b, struct store *st)
{
	struct worker *w = worker_self();
	void (*resume)(struct blob_writer *) = b->resume;

	*b = (struct blob_writer){ .store = st, .resume = resume };
	b->worker = w ? (uint16_t)worker_index(w) : WORKERS_MAX;
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
		account(b, (int64_t)n);
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
	if (over_budget(b->store))
		make_room(desk_of(b));
	if (b->err || may_go_on(b) || !worker_self())
		return b->err;
	pause_writer(b);
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
	list_remove(&b->pause_link);
	list_remove(&b->link); /* its record names its blocks: make_room must not take them */
	while (b->in_flight) {
		struct fiber_wait wait = { 0 };

		b->waiting = &wait;
		(void)!fiber_wait_through(&wait);
		b->waiting = NULL;
	}
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
		struct chunk *c = container_of(link, struct chunk, link);

		c->writer = NULL;
		if (!c->done)
			continue; /* its end frees it */
		if (!low_seen && c->op.pos == b->low) {
			low_seen = true;
			free_chunk(c);
		} else {
			chunk_of_dropped(c, OK);
		}
	}
}

void blob_end(struct blob_writer *b, bool kept)
{
	if (!b->store)
		return;
	struct desk *d = desk_of(b);
	account(b, -(int64_t)b->ram);
	free_blocks(&b->blocks);
	end_chunks(b, kept);
	list_remove(&b->link);
	list_remove(&b->pause_link);
	b->store = NULL;
	if (!list_empty(&d->paused))
		timer_arm_in(worker_self(), &d->timer, 0);
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
		const struct chunk *c = container_of(l, struct chunk, link);
		struct frame_chunk row = { .pos = c->op.pos, .len = c->len };

		frame_put_chunk(o, &row);
	}
}
