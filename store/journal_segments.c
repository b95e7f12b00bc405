/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which slot holds which segment, what is still needed of them, and where the next one comes from.
 *
 * A slot goes free -> active -> live -> free. Freed, it waits until a durable frame says so: until
 * then a crash would look for its old contents. Spare slots are made ahead by helper jobs, since
 * writing one full of zeros takes a while. A slot that failed is never written again, unless it
 * never held a good frame. */
#include "store/journal_int.h"

#include <stdlib.h>

struct seg *seg_find(const struct journal *j, uint32_t number)
{
	struct seg *s = atomic_load_explicit(&j->table[number & j->mask], memory_order_acquire);

	return number && s && atomic_load(&s->number) == number ? s : NULL;
}

struct seg *seg_new(const struct segment *at)
{
	struct seg *s = calloc(1, sizeof(*s));

	if (s)
		s->at = *at;
	return s;
}

void seg_number(struct journal *j, struct seg *s, uint32_t number)
{
	atomic_store(&s->number, number);
	atomic_store_explicit(&j->table[number & j->mask], s, memory_order_release);
	list_push(&j->live, &s->link);
	atomic_store(&j->stat_live, ++j->live_count);
}

/* Its number means nothing any more. */
static void unnumber(struct journal *j, struct seg *s)
{
	uint32_t number = atomic_load(&s->number);

	atomic_store(&s->number, 0);
	atomic_store(&j->table[number & j->mask], (struct seg *)NULL);
	list_remove(&s->link);
	atomic_store(&j->stat_live, --j->live_count);
}

void seg_add_free(struct journal *j, struct seg *s)
{
	list_push(&j->free, &s->link);
	atomic_store(&j->stat_free, ++j->free_count);
}

static struct seg *oldest(const struct journal *j)
{
	struct list_link *link = list_first(&j->live);

	return link ? container_of(link, struct seg, link) : NULL;
}

uint32_t seg_oldest(const struct journal *j)
{
	struct seg *s = oldest(j);

	return s ? atomic_load(&s->number) : j->next_number;
}

/* The table names segments by number: two that are far apart must not meet in it. */
static bool numbers_left(const struct journal *j)
{
	return j->next_number - seg_oldest(j) < j->mask;
}

static size_t count_all(const struct journal *j)
{
	return j->live_count + j->free_count + (j->making ? 1 : 0);
}

static bool room_ahead(const struct journal *j)
{
	bool more = count_all(j) < j->max_segments && !j->disk_full;

	return numbers_left(j) && (j->free_count > RESERVED_SEGMENTS || more);
}

/* --- Making slots --- */

static enum err add_made(struct journal *j)
{
	if (j->make_err) {
		j->disk_full = true;
		return j->make_err;
	}
	struct seg *s = seg_new(&j->made);
	if (!s)
		return ERR_NOMEM;
	j->disk_full = false;
	seg_add_free(j, s);
	return OK;
}

static void make_run(struct job *job)
{
	struct journal *j = container_of(job, struct journal, make_job);

	j->make_err = j->segments->make(j->segments, j->opt, j->next_slot, &j->made);
}

static void make_done(struct worker *w, struct job *job)
{
	struct journal *j = container_of(job, struct journal, make_job);

	j->making = false;
	j->next_slot++;
	(void)!add_made(j);
	if (!j->stopping)
		seg_spare(j);
	j->urgent = j->urgent || !list_empty(&j->pending);
	journal_turn(j);
}

enum err seg_make_now(struct journal *j)
{
	make_run(&j->make_job);
	j->next_slot++;
	return add_made(j);
}

void seg_spare(struct journal *j)
{
	if (!j->home || j->making || j->disk_full || j->stopping ||
		j->free_count >= SPARE_SEGMENTS || count_all(j) >= j->max_segments)
		return;
	j->making = true;
	j->make_job = (struct job){ .run = make_run, .done = make_done };
	job_send(&j->make_job, NULL);
}

/* --- The active one --- */

static struct seg *pick_free(const struct journal *j)
{
	list_each(&j->free, link)
	{
		struct seg *s = container_of(link, struct seg, link);

		if (s->free_after < j->next_seq)
			return s;
	}
	return NULL;
}

static bool can_make(const struct journal *j)
{
	return !j->disk_full && (j->making || count_all(j) < j->max_segments);
}

static void activate(struct journal *j, struct seg *s)
{
	if (j->active)
		j->segments->seal(&j->active->at);
	j->active_reserved = j->free_count <= RESERVED_SEGMENTS && !can_make(j);
	list_remove(&s->link);
	atomic_store(&j->stat_free, --j->free_count);
	s->used = 0;
	s->last_seq = 0;
	atomic_store(&j->direct, s->at.direct);
	seg_number(j, s, j->next_number++);
	j->active = s;
	seg_publish(j);
	seg_spare(j);
}

enum err seg_switch(struct journal *j, bool use_reserve)
{
	size_t keep = use_reserve ? 0 : RESERVED_SEGMENTS;

	if (!numbers_left(j))
		return ERR_NOSPACE;
	struct seg *s = j->free_count > keep ? pick_free(j) : NULL;
	if (!s && can_make(j)) {
		seg_spare(j);
		if (j->home)
			return ERR_BUSY;
		while (!s && can_make(j) && seg_make_now(j) == OK)
			s = j->free_count > keep ? pick_free(j) : NULL;
	}
	if (!s)
		return ERR_NOSPACE;
	activate(j, s);
	return OK;
}

bool seg_takes(const struct journal *j, size_t bytes)
{
	if (j->active && !j->active_reserved && j->active->at.bytes - j->active->used >= bytes)
		return true;
	return numbers_left(j) &&
		((j->free_count > RESERVED_SEGMENTS && pick_free(j)) || can_make(j));
}

bool seg_hopeful(struct journal *j)
{
	uint32_t first;

	if (!j->home || j->stopping || j->failing || j->disk_full)
		return false;
	if (!j->full)
		j->full_since = worker_now(j->home);
	j->full = true;
	return journal_oldest(j, &first) &&
		worker_now(j->home) - MAX(j->full_since, j->freed_at) < PATIENCE_MS;
}

void seg_fail(struct journal *j)
{
	struct seg *s = j->active;

	atomic_fetch_add(&j->segments_failed, 1);
	j->active = NULL;
	if (s->used) {
		s->failed = true;
		return;
	}
	/* It never held anything, so another try does no harm, but the others come first. */
	unnumber(j, s);
	seg_add_free(j, s);
}

/* --- What is needed --- */

void journal_hold(struct journal *j, journal_pos pos)
{
	atomic_fetch_add(&j->holds[journal_segment_of(pos) & j->mask], 1);
	atomic_fetch_add(&j->held, 1);
}

void journal_release(struct journal *j, journal_pos pos)
{
	uint32_t before = atomic_fetch_sub(&j->holds[journal_segment_of(pos) & j->mask], 1);

	must(before > 0);
	atomic_fetch_sub(&j->held, 1);
}

static uint32_t holds_of(const struct journal *j, const struct seg *s)
{
	return atomic_load(&j->holds[atomic_load(&s->number) & j->mask]);
}

void seg_look_for_replay(struct journal *j)
{
	journal_pos replay = MIN(index_position(j->index), journal_durable(j));

	list_each(&j->live, link)
	{
		struct seg *s = container_of(link, struct seg, link);
		journal_pos begin = pos_of(atomic_load(&s->number), 0);

		if (begin >= replay)
			break;
		if (holds_of(j, s)) {
			replay = begin;
			break;
		}
	}
	/* It never goes back: a hold is only taken by who has one, or on what is not yet durable. */
	j->replay = MAX(j->replay, replay);
	j->replay_age = 0;
}

bool journal_oldest(const struct journal *j, uint32_t *out_segment)
{
	struct seg *s = oldest(j);

	if (!s || s == j->active || s == j->last_good || holds_of(j, s))
		return false;
	*out_segment = atomic_load(&s->number);
	return true;
}

void journal_free_oldest(struct journal *j, uint32_t segment)
{
	struct seg *s = oldest(j);

	must(s && atomic_load(&s->number) == segment && s != j->active);
	unnumber(j, s);
	atomic_fetch_add(&j->freed, 1);
	if (j->home)
		j->freed_at = worker_now(j->home);
	s->free_after = j->writing ? j->write_seq + 1 : j->next_seq;
	if (s->failed || s->at.bytes != (uint64_t)j->opt->segment_bytes)
		list_push(&j->dead, &s->link);
	else
		seg_add_free(j, s);
	j->publish = true;
	seg_publish(j);
	if (!j->home)
		journal_turn(j);
}

/* --- Once a second --- */

static void publish_pressure(struct journal *j)
{
	uint64_t segments =
		MAX((uint64_t)j->opt->replay_max_bytes / (uint64_t)j->opt->segment_bytes,
			UINT64_C(2));
	uint64_t behind = segments / 2, newest = j->next_number;
	journal_pos to = 0;

	if (j->replay && newest - journal_segment_of(j->replay) > behind)
		to = pos_of((uint32_t)(newest - behind / 2), 0);
	/* The journal itself is nearly full of what is held. */
	if (j->live_count + SPARE_SEGMENTS >= j->max_segments && j->live_count > 2)
		to = MAX(to, pos_of((uint32_t)(newest - j->live_count / 2), 0));
	atomic_store(&j->pressure, to);
}

static void publish_refusing(struct journal *j)
{
	enum err why = OK;
	bool active_room = j->active && !j->active_reserved &&
		j->active->at.bytes - j->active->used > j->active->at.bytes / 8;

	if (j->stopping)
		why = ERR_STOPPED;
	else if (j->failing)
		why = ERR_IO;
	else if (room_ahead(j) || active_room)
		j->full = false;
	else if (!seg_hopeful(j))
		why = ERR_NOSPACE;
	if (!why && j->space.total_bytes && j->space.free_bytes < (uint64_t)j->opt->reserve_bytes)
		why = ERR_NOSPACE;
	atomic_store(&j->refusing, (int)why);
	atomic_store(&j->crowded,
		j->live_count * 2 > j->max_segments || j->disk_full ||
			(j->space.total_bytes &&
				j->space.free_bytes < 2 * (uint64_t)j->opt->reserve_bytes));
}

static void space_run(struct job *job)
{
	struct journal *j = container_of(job, struct journal, space_job);

	j->space_err = file_space(j->path, &j->space_seen);
}

static void space_done(struct worker *w, struct job *job)
{
	struct journal *j = container_of(job, struct journal, space_job);

	j->spacing = false;
	if (!j->space_err) {
		j->space = j->space_seen;
		atomic_store(&j->disk_free, j->space.free_bytes);
	}
	publish_refusing(j);
}

void seg_publish(struct journal *j)
{
	if (room_ahead(j))
		j->active_reserved = false;
	seg_look_for_replay(j);
	publish_pressure(j);
	publish_refusing(j);
}

/* Without a home nobody looks again by the clock, so every message does. */
void journal_refresh(struct journal *j)
{
	if (j->home)
		return;
	j->failing = false;
	j->disk_full = false;
	journal_refill(j);
	seg_publish(j);
}

/* Try again what failed: a segment, a new slot, what waits for either. */
static void try_again(struct journal *j)
{
	if (j->failing && !j->writing) {
		j->failing = false;
		j->attempts = 1;
		j->publish = true;
	}
	j->disk_full = false;
	j->urgent = j->urgent || !list_empty(&j->pending);
	seg_spare(j);
}

void seg_tick(struct journal *j)
{
	seg_publish(j);
	if (!j->home || j->stopping)
		return;
	try_again(j);
	journal_refill(j);
	if (!j->spacing) {
		j->spacing = true;
		j->space_job = (struct job){ .run = space_run, .done = space_done };
		job_send(&j->space_job, NULL);
	}
}

/* --- The end --- */

static void drop_list(struct journal *j, struct list *l, bool remove)
{
	for (struct list_link *link; (link = list_pop(l));) {
		struct seg *s = container_of(link, struct seg, link);

		s->at.home->drop(&s->at, j->opt, remove);
		free(s);
	}
}

void seg_done(struct journal *j)
{
	drop_list(j, &j->live, false);
	/* What no durable frame says is free will be looked for by the next start. */
	list_each(&j->dead, link)
	{
		struct seg *s = container_of(link, struct seg, link);

		if (s->free_after >= j->next_seq) {
			list_remove(link);
			list_push(&j->free, link);
		}
	}
	drop_list(j, &j->dead, !j->opt->read_only);
	drop_list(j, &j->free, false);
	free(j->table);
	free(j->holds);
}
