/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The budget: who has how much, who makes room, who waits for it.
 *
 * Two counters hold for all workers: bytes in memory, and those of them on their way to the disk. Who adds looks
 * afterwards whether it was too much, who waits says so before it looks, who gives back looks afterwards
 * who waits: all sequentially consistent, so that of two at the same time one sees the other. What is on
 * its way is counted first and read last: in doubt more room is made than was needed, never less. */
#include "store/blob_int.h"

/* --- Who has what --- */

/* 0: below 4 KB, which nobody is asked for. */
static uint8_t class_of(uint64_t bytes)
{
	uint8_t size = 0;

	for (uint64_t n = bytes / 4096; n && size < DESK_CLASSES - 1; n /= 2)
		size++;
	return size;
}

static void visit_in_turn(struct timer *t);
static void visit_asked(struct worker *w, struct post *post);

void desk_init(struct desk *d, struct store *st)
{
	d->store = st;
	d->timer.fire = visit_in_turn;
	d->post.run = visit_asked;
	list_init(&d->paused);
	desk_init_moves(d);
	for (size_t i = 0; i < DESK_CLASSES; i++) {
		list_init(&d->bodies[i]);
		list_init(&d->asides[i]);
	}
}

uint16_t desk_here(void)
{
	struct worker *w = worker_self();

	return w ? (uint16_t)worker_index(w) : WORKERS_MAX;
}

struct desk *desk_of(const struct blob_writer *b)
{
	return &b->store->blobs->desks[b->worker];
}

static void note_class(struct desk *d, uint8_t size)
{
	uint32_t bit = UINT32_C(1) << size;
	uint32_t filled = atomic_load_explicit(&d->filled, memory_order_relaxed);
	bool some = !list_empty(&d->bodies[size]) || !list_empty(&d->asides[size]);

	if (some != !!(filled & bit))
		atomic_store(&d->filled, filled ^ bit);
}

static void count(struct desk *d, int64_t bytes)
{
	uint64_t ram = atomic_load_explicit(&d->ram, memory_order_relaxed);

	atomic_store_explicit(&d->ram, ram + (uint64_t)bytes, memory_order_relaxed);
	atomic_fetch_add(&d->store->blobs->ram, (uint64_t)bytes);
}

/* Among those of its size; `to` NULL: among none. */
static void file_under(struct desk *d, struct list_link *link, uint8_t *size, struct list *to,
	uint8_t to_size)
{
	uint8_t old = *size;

	list_remove(link);
	if (to)
		list_push(&to[to_size], link);
	*size = to_size;
	note_class(d, old);
	note_class(d, to_size);
}

void desk_count(struct blob_writer *b, int64_t bytes)
{
	struct desk *d = desk_of(b);

	b->ram += (uint64_t)bytes;
	uint8_t size = class_of(b->ram);

	if (size != b->size_class || !list_has(&b->link))
		file_under(d, &b->link, &b->size_class, d->bodies, size);
	count(d, bytes);
}

void desk_remove(struct blob_writer *b)
{
	list_remove(&b->pause_link);
	file_under(desk_of(b), &b->link, &b->size_class, NULL, 0);
}

void desk_leaves(struct blob_writer *b)
{
	struct blobs *bs = b->store->blobs;
	int64_t bytes = (int64_t)b->ram;

	/* The budget gets them back when they are written. */
	atomic_fetch_add(&bs->ram, b->ram);
	atomic_fetch_add(&bs->leaving, b->ram);
	desk_count(b, -bytes);
}

void desk_left(struct desk *d, size_t bytes)
{
	struct blobs *bs = d->store->blobs;

	atomic_fetch_sub(&bs->leaving, bytes);
	atomic_fetch_sub(&bs->ram, bytes);
	desk_tell(d);
}

/* --- Who makes room --- */

bool desk_over_budget(const struct store *st)
{
	return blobs_ram(st) > (uint64_t)st->opt.body_ram_bytes;
}

/* And what is on its way to the disk will not make enough room. */
static bool far_over_budget(const struct store *st)
{
	uint64_t ram = blobs_ram(st);

	return ram > (uint64_t)st->opt.body_ram_bytes + atomic_load(&st->blobs->leaving);
}

/* The class of the largest that it has. */
static unsigned top_of(struct desk *d)
{
	uint32_t filled = atomic_load(&d->filled) >> 1;

	return filled ? 32 - (unsigned)__builtin_clz(filled) : 0;
}

/* Of equals, who has more in all: many small ones are no excuse. NULL: there is nothing to take. */
static struct desk *desk_with_most(struct desk *d)
{
	struct blobs *bs = d->store->blobs;
	struct desk *most = d;

	for (unsigned i = 0; i < workers_count(); i++) {
		struct desk *other = &bs->desks[i];
		unsigned theirs = top_of(other), best = top_of(most);

		if (theirs > best ||
			(theirs == best && atomic_load(&other->ram) > atomic_load(&most->ram)))
			most = other;
	}
	return top_of(most) ? most : NULL;
}

/* Bodies lose nothing by it, so they come first. */
static void take_largest(struct desk *d)
{
	unsigned top = top_of(d);
	struct list_link *body = list_first(&d->bodies[top]);
	struct list_link *aside = list_first(&d->asides[top]);

	if (body) {
		blob_take(container_of(body, struct blob_writer, link));
	} else {
		struct blob_aside *a = container_of(aside, struct blob_aside, link);

		a->give_up(a);
	}
}

/* From any worker. Of several that ask before it comes there one is enough. */
static void ask_visit(struct desk *d)
{
	struct blobs *bs = d->store->blobs;

	atomic_store(&bs->visits, true);
	if (d == &bs->desks[desk_here()])
		timer_arm_in(worker_self(), &d->timer, 0);
	else if (!atomic_exchange(&d->asked, true))
		post_to((unsigned)(d - bs->desks), &d->post);
}

void desk_make_room(struct desk *d)
{
	while (far_over_budget(d->store)) {
		struct desk *most = desk_with_most(d);

		if (!most)
			return;
		if (most != d) {
			ask_visit(most);
			return;
		}
		take_largest(d);
	}
}

/* --- Who waits for it --- */

bool desk_may_go_on(const struct blob_writer *b)
{
	if (b->err || (b->in_flight < DESK_IN_FLIGHT_MAX && !desk_over_budget(b->store)))
		return true;
	return !b->in_flight && !class_of(b->ram);
}

static void wait_for_memory(struct desk *d)
{
	if (!atomic_exchange(&d->waiting, true))
		atomic_fetch_add(&d->store->blobs->waiting, 1);
	if (!desk_over_budget(d->store))
		ask_visit(d);
}

void desk_pause(struct blob_writer *b)
{
	struct desk *d = desk_of(b);

	if (!list_has(&b->pause_link))
		list_push(&d->paused, &b->pause_link);
	if (desk_over_budget(b->store))
		wait_for_memory(d);
}

void desk_look_at(struct blob_writer *b)
{
	if (!list_has(&b->pause_link))
		return;
	if (!desk_may_go_on(b)) {
		desk_pause(b);
		return;
	}
	list_remove(&b->pause_link);
	blob_wake(b);
}

void desk_tell(struct desk *d)
{
	struct blobs *bs = d->store->blobs;

	if (!atomic_load(&bs->waiting) || desk_over_budget(d->store))
		return;
	for (unsigned i = 0; i < workers_count(); i++)
		if (atomic_load(&bs->desks[i].waiting))
			ask_visit(&bs->desks[i]);
}

static void wake_paused(struct desk *d)
{
	struct list woken;

	list_init(&woken);
	list_each(&d->paused, link)
	{
		if (desk_may_go_on(container_of(link, struct blob_writer, pause_link))) {
			list_remove(link);
			list_push(&woken, link);
		}
	}
	for (struct list_link *link; (link = list_pop(&woken));)
		blob_wake(container_of(link, struct blob_writer, pause_link));
}

static void visit(struct desk *d)
{
	desk_make_room(d);
	if (desk_over_budget(d->store) || !atomic_exchange(&d->waiting, false))
		return;
	atomic_fetch_sub(&d->store->blobs->waiting, 1);
	wake_paused(d);
}

static void visit_in_turn(struct timer *t)
{
	visit(container_of(t, struct desk, timer));
}

static void visit_asked(struct worker *w, struct post *post)
{
	struct desk *d = container_of(post, struct desk, post);

	/* First: what comes from now on asks again. */
	atomic_store(&d->asked, false);
	visit(d);
}

/* --- What goes with them --- */

static void recount(struct blob_aside *a, size_t bytes)
{
	struct desk *d = &a->store->blobs->desks[a->worker];
	uint8_t size = class_of(bytes);
	struct list *to = bytes && a->give_up ? d->asides : NULL;
	int64_t more = (int64_t)bytes - (int64_t)a->bytes;

	a->bytes = bytes;
	if (!to || size != a->size_class || !list_has(&a->link))
		file_under(d, &a->link, &a->size_class, to, size);
	count(d, more);
}

void blob_aside_count(struct blob_aside *a, size_t bytes)
{
	bool more = bytes > a->bytes;

	if (!a->bytes)
		a->worker = desk_here();
	if (!a->store || bytes == a->bytes)
		return;
	struct desk *d = &a->store->blobs->desks[a->worker];

	recount(a, bytes);
	more ? desk_make_room(d) : desk_tell(d);
}
