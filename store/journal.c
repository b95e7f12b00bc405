/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Appending: from any worker to the home, into frames, onto the disk, and back to who waits.
 *
 * One write is in flight at a time, so a frame is only ever written behind a durable one and the
 * torn end is the only doubtful place. At the end of each turn of the home's loop what is pending
 * becomes one frame. Without a worker the same functions run inline. */
#include "store/journal_int.h"

#include "core/base/codec.h"

#include <stdlib.h>

static void op_back(struct worker *w, struct post *post)
{
	struct journal_op *op = container_of(post, struct journal_op, post);

	op->done(op, op->err);
}

/* `now`: we are in a completion, so on the loop and not inside a call of the owner's. */
static void finish(struct journal *j, struct journal_op *op, enum err err, bool now)
{
	op->err = err;
	if (!j->home || (now && op->worker == j->home_index)) {
		op->done(op, err);
		return;
	}
	op->post.run = op_back;
	post_to(op->worker, &op->post);
}

static bool reserved(const struct journal_op *op)
{
	return op->flags & JOURNAL_RESERVED;
}

static size_t op_bytes(const struct journal_op *op)
{
	return frame_record_bytes(op->len);
}

/* --- The batch --- */

/* Let everybody who waits know, or only who may not wait for better times. */
static void fail_list(struct journal *j, struct list *ops, enum err err, bool all)
{
	struct list fail;

	list_init(&fail);
	list_each(ops, link)
	{
		struct journal_op *op = container_of(link, struct journal_op, link);

		if (!all && reserved(op))
			continue;
		list_remove(link);
		list_push(&fail, link);
	}
	for (struct list_link *link; (link = list_pop(&fail));) {
		struct journal_op *op = container_of(link, struct journal_op, link);

		if (ops != &j->batch)
			j->pending_bytes -= op_bytes(op);
		finish(j, op, err, true);
	}
}

/* Back to where they came from, in their order. */
static void unbatch(struct journal *j)
{
	while (!list_empty(&j->batch)) {
		struct list_link *link = j->batch.head.prev;
		struct journal_op *op = container_of(link, struct journal_op, link);

		list_remove(link);
		list_push_front(&j->pending, link);
		j->pending_bytes += op_bytes(op);
	}
}

static void put_op(struct frame_writer *fw, struct journal_op *op)
{
	struct journal_record rec = { .len = op->len,
		.crc = op->crc,
		.shards = op->shards,
		.type = op->type,
		.flags = op->flags };
	char *at = frame_add(fw, &rec);

	for (unsigned i = 0; i < op->part_count; i++) {
		if (op->parts[i].len)
			memcpy(at, op->parts[i].ptr, op->parts[i].len);
		at += op->parts[i].len;
	}
}

static struct frame_head head_of(struct journal *j, uint8_t kind)
{
	return (struct frame_head){ .store_id = j->store_id,
		.seq = ++j->write_seq,
		.replay = j->replay,
		.prior_seq = j->next_seq - 1,
		.prior_segment = j->last_good ? atomic_load(&j->last_good->number) : 0,
		.segment = atomic_load(&j->active->number),
		.oldest = seg_oldest(j),
		.kind = kind };
}

static size_t put_segment_head(struct journal *j, char *mem)
{
	struct frame_head head = head_of(j, FRAME_SEGMENT);
	struct frame_writer fw;

	frame_begin(&fw, mem);
	return frame_end(&fw, &head);
}

/* All that fits into `room`, at least one record, or none when only the fact is to be published. */
static size_t put_batch(struct journal *j, char *mem, size_t room, uint64_t offset)
{
	uint32_t number = atomic_load(&j->active->number);
	struct frame_writer fw;

	frame_begin(&fw, mem);
	list_each(&j->pending, link)
	{
		struct journal_op *op = container_of(link, struct journal_op, link);

		if (frame_round(fw.len + op_bytes(op)) + FRAME_ALIGN > room)
			break;
		/* The reserve is for what frees room; the rest gets its answer elsewhere. */
		if (j->active_reserved && !reserved(op))
			continue;
		list_remove(link);
		list_push(&j->batch, link);
		j->pending_bytes -= op_bytes(op);
		op->pos = pos_of(number, offset + fw.len);
		put_op(&fw, op);
	}
	if (list_empty(&j->batch) && !j->publish)
		return 0;
	struct frame_head head = head_of(j, FRAME_BATCH);
	return frame_end(&fw, &head);
}

static size_t first_bytes(const struct journal *j)
{
	struct list_link *link = list_first(&j->pending);

	return FRAME_HEAD + (link ? op_bytes(container_of(link, struct journal_op, link)) : 0);
}

/* An active segment with room for the first record, or why there is none. */
static enum err have_segment(struct journal *j)
{
	/* One more frame always fits: it says which slots were freed when there is no other. */
	size_t need = frame_round(first_bytes(j)) + FRAME_ALIGN;

	if (j->active && j->active->at.bytes - j->active->used >= need)
		return OK;
	struct list_link *link = list_first(&j->pending);
	bool free_room = link ? reserved(container_of(link, struct journal_op, link)) : true;
	enum err err = seg_switch(j, free_room);
	if (err && j->publish && j->active && j->active->used < j->active->at.bytes)
		return OK;
	return err;
}

/* Room in the window for the first record, and not a sliver of it when much is pending. */
static bool have_window(struct journal *j)
{
	uint64_t used = j->active->used;
	size_t need = frame_round(first_bytes(j)) + 2 * FRAME_ALIGN;
	size_t want = MAX(need, MIN(j->pending_bytes, j->window_bytes / 4));

	if (j->window && atomic_load(&j->window->key) != 0 &&
		atomic_load(&j->window->key) >> 32 == atomic_load(&j->active->number) &&
		j->window_start + j->window_bytes >= used + want)
		return true;
	return window_open(j, used);
}

static void write_done(struct segment_op *op, enum err err);

static bool start_write(struct journal *j)
{
	struct seg *s = j->active;
	char *mem = j->window->mem + (s->used - j->window_start);
	size_t room = MIN(j->window_bytes - (s->used - j->window_start), s->at.bytes - s->used);
	size_t len = 0;

	j->write_seq = j->next_seq - 1;
	if (s->used == 0)
		len = put_segment_head(j, mem);
	size_t batch = put_batch(j, mem + len, room - len, s->used + len);
	if (!batch && s->used)
		return false;
	len += batch;
	j->write_from = s->used;
	j->writing = true;
	j->publish = false;
	j->urgent = !list_empty(&j->pending);
	j->write.segment = &s->at;
	j->write.bytes = slice_of(mem, len);
	j->write.offset = s->used;
	j->write.nosync = j->opt->nosync;
	j->write.done = write_done;
	s->at.home->append(j->home, &j->write);
	return true;
}

static bool has_reason(const struct journal *j)
{
	if (j->failing)
		return false; /* the tick tries */
	return j->publish || (!list_empty(&j->pending) && (j->urgent || j->stopping || !j->home));
}

/* What is not the reserve's stands aside until a segment is freed. */
static bool put_aside(struct journal *j)
{
	bool any = false;

	list_each(&j->pending, link)
	{
		if (reserved(container_of(link, struct journal_op, link)))
			continue;
		list_remove(link);
		list_push(&j->waiting, link);
		any = true;
	}
	return any;
}

/* One was freed, or can be made: they go first, as they came first. */
static void bring_back(struct journal *j)
{
	struct list_link *link = list_first(&j->waiting);

	if (!link || j->failing ||
		!seg_takes(j,
			frame_round(FRAME_HEAD +
				op_bytes(container_of(link, struct journal_op, link))) +
				FRAME_ALIGN))
		return;
	while (!list_empty(&j->waiting)) {
		link = j->waiting.head.prev;
		list_remove(link);
		list_push_front(&j->pending, link);
	}
	j->urgent = true;
}

/* Nothing can be written: who may not wait is told; if there is hope, all may. */
static void refuse(struct journal *j, enum err err)
{
	if (err == ERR_NOSPACE && seg_hopeful(j)) {
		j->urgent = put_aside(j) && !list_empty(&j->pending);
	} else {
		fail_list(j, &j->pending, err, j->stopping);
		j->urgent = false;
	}
	j->publish = false;
}

void journal_turn(struct journal *j)
{
	if (j->in_turn)
		return; /* inline completions: the loop below goes on */
	j->in_turn = true;
	if (!j->writing)
		bring_back(j);
	while (!j->writing && has_reason(j)) {
		enum err err = have_segment(j);

		if (err == ERR_BUSY)
			break; /* a slot is being made, its end comes back here */
		if (err) {
			refuse(j, err);
			if (!j->urgent)
				break;
			continue; /* the reserve's are left */
		}
		if (!have_window(j)) {
			/* All are being read just now: that takes as long as copying does. */
			if (j->home)
				timer_arm_in(j->home, &j->window_timer, WINDOW_MS);
			break;
		}
		if (!start_write(j)) {
			/* Only the reserve is left and nobody pending may use it. */
			refuse(j, ERR_NOSPACE);
			break;
		}
	}
	j->in_turn = false;
}

static void hook_run(struct worker *w, struct worker_hook *hook)
{
	journal_turn(container_of(hook, struct journal, hook));
}

/* --- Completion --- */

static void feed_index(struct journal *j, const struct journal_op *op)
{
	struct journal_record rec = { .pos = op->pos,
		.len = op->len,
		.crc = op->crc,
		.shards = op->shards,
		.type = op->type,
		.flags = op->flags };
	uint64_t offset = (uint32_t)op->pos + JOURNAL_RECORD_HEAD;

	index_feed(j->index, &rec, slice_of(j->window->mem + (offset - j->window_start), op->len));
}

static void batch_durable(struct journal *j)
{
	struct seg *s = j->active;
	uint64_t records = 0;

	s->used = j->write_from + j->write.bytes.len;
	s->last_seq = j->write_seq;
	j->last_good = s;
	j->next_seq = j->write_seq + 1;
	window_durable(j, s->used);
	list_each(&j->batch, link)
	{
		struct journal_op *op = container_of(link, struct journal_op, link);

		records++;
		if (op->flags & JOURNAL_INDEXED)
			feed_index(j, op);
		if (op->flags & JOURNAL_HOLD)
			journal_hold(j, op->pos);
	}
	journal_pos end = pos_of(atomic_load(&s->number), s->used);
	/* First, so that shards without anything of it are known to have it all. */
	index_advance(j->index, end, false);
	atomic_store_explicit(&j->durable, end, memory_order_release);
	atomic_fetch_add(&j->batches, 1);
	atomic_fetch_add(&j->records, records);
	atomic_fetch_add(&j->bytes, j->write.bytes.len);
	if (++j->replay_age >= REPLAY_EVERY)
		seg_look_for_replay(j);
}

static void tell_batch(struct journal *j)
{
	struct list done = { 0 };

	list_init(&done);
	for (struct list_link *link; (link = list_pop(&j->batch));)
		list_push(&done, link);
	for (struct list_link *link; (link = list_pop(&done));)
		finish(j, container_of(link, struct journal_op, link), OK, true);
}

/* The segment is done for; its batch gets one more try elsewhere. */
static void batch_failed(struct journal *j, enum err err)
{
	atomic_fetch_add(&j->errors, 1);
	seg_fail(j);
	unbatch(j);
	if (!j->failing && ++j->attempts < 2) {
		j->urgent = true;
		j->publish = true;
		return;
	}
	j->failing = true;
	j->attempts = 0;
	fail_list(j, &j->pending, err, j->stopping);
	seg_publish(j);
}

static void write_done(struct segment_op *op, enum err err)
{
	struct journal *j = container_of(op, struct journal, write);

	j->writing = false;
	if (err) {
		batch_failed(j, err);
	} else {
		j->attempts = 0;
		batch_durable(j);
		if (!j->home)
			journal_refill(j);
		tell_batch(j);
		seg_spare(j);
	}
	journal_turn(j);
}

/* --- Submitting --- */

static void lazy_due(struct timer *t)
{
	struct journal *j = container_of(t, struct journal, lazy_timer);

	j->urgent = true;
}

/* Home worker. */
static void take_op(struct journal *j, struct journal_op *op)
{
	enum err err = OK;

	if (j->stopping)
		err = ERR_STOPPED;
	else if (op->len > j->record_max)
		err = ERR_TOO_LARGE;
	else if (!reserved(op) && j->failing && j->home)
		err = ERR_IO;
	else if (!reserved(op) && j->pending_bytes + op_bytes(op) > PENDING_MAX)
		err = ERR_BUSY;
	if (err) {
		finish(j, op, err, false);
		return;
	}
	list_push(&j->pending, &op->link);
	j->pending_bytes += op_bytes(op);
	if (!(op->flags & JOURNAL_LAZY))
		j->urgent = true;
	else if (j->home && !timer_armed(&j->lazy_timer))
		timer_arm_in(j->home, &j->lazy_timer, JOURNAL_LAZY_MS);
	journal_refresh(j);
	if (!j->home)
		journal_turn(j);
}

static void op_arrived(struct worker *w, struct post *post);

void journal_submit(struct journal *j, struct journal_op *op)
{
	uint64_t len = 0;
	uint32_t crc = 0;

	must(op->part_count <= JOURNAL_PARTS_MAX && op->done && op->type);
	for (unsigned i = 0; i < op->part_count; i++) {
		crc = codec_crc32c(crc, op->parts[i].ptr, op->parts[i].len);
		len += op->parts[i].len;
	}
	op->len = (uint32_t)MIN(len, (uint64_t)UINT32_MAX);
	struct journal_record rec = {
		.len = op->len, .shards = op->shards, .type = op->type, .flags = op->flags
	};
	op->crc = frame_record_crc(&rec, crc);
	op->journal = j;
	struct worker *w = worker_self();
	op->worker = w ? (uint16_t)worker_index(w) : 0;
	if (!j->home || w == j->home) {
		take_op(j, op);
		return;
	}
	op->post.run = op_arrived;
	post_to(j->home_index, &op->post);
}

static void op_arrived(struct worker *w, struct post *post)
{
	struct journal_op *op = container_of(post, struct journal_op, post);

	take_op(op->journal, op);
}

static void window_due(struct timer *t)
{
	journal_turn(container_of(t, struct journal, window_timer));
}

static void append_done(struct journal_op *op, enum err err)
{
	if (op->wait)
		fiber_wake(op->wait, err);
}

enum err journal_append(struct journal *j, struct journal_op *op)
{
	struct fiber_wait wait = { 0 };

	op->done = append_done;
	op->wait = j->home ? &wait : NULL;
	journal_submit(j, op);
	return j->home ? fiber_wait_through(&wait) : op->err;
}

journal_pos journal_durable(const struct journal *j)
{
	return atomic_load_explicit(&j->durable, memory_order_acquire);
}

size_t journal_record_max(const struct journal *j)
{
	return j->record_max;
}

/* --- Life --- */

static void tick(struct timer *t)
{
	struct journal *j = container_of(t, struct journal, tick_timer);

	seg_tick(j);
	if (!list_empty(&j->waiting) && !seg_hopeful(j))
		fail_list(j, &j->waiting, ERR_NOSPACE, true);
	timer_arm_in(j->home, t, TICK_MS);
}

void journal_start(struct journal *j)
{
	j->lazy_timer.fire = lazy_due;
	j->tick_timer.fire = tick;
	j->window_timer.fire = window_due;
	j->hook.run = hook_run;
	if (!j->home)
		return;
	worker_hook_add(j->home, &j->hook);
	timer_arm_in(j->home, &j->tick_timer, TICK_MS);
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	j->stopping = true;
	if (j->home && !j->stopped) {
		fail_list(j, &j->waiting, ERR_STOPPED, true);
		j->urgent = true;
		while (j->writing || !list_empty(&j->pending) || j->making || j->spacing ||
			j->refilling) {
			if (j->failing)
				refuse(j, ERR_STOPPED);
			(void)!fiber_sleep(1);
		}
		worker_hook_remove(&j->hook);
	}
	timer_disarm(&j->lazy_timer);
	timer_disarm(&j->tick_timer);
	timer_disarm(&j->window_timer);
	seg_done(j);
	windows_done(j);
	free(j);
}

void journal_stats(const struct journal *j, struct journal_stats *out)
{
	*out = (struct journal_stats){ .batches = atomic_load(&j->batches),
		.records = atomic_load(&j->records),
		.bytes = atomic_load(&j->bytes),
		.errors = atomic_load(&j->errors),
		.segments_failed = atomic_load(&j->segments_failed),
		.segments = atomic_load(&j->stat_live),
		.segments_max = j->max_segments,
		.free = atomic_load(&j->stat_free),
		.freed = atomic_load(&j->freed),
		.held = atomic_load(&j->held),
		.hits = atomic_load(&j->hits),
		.misses = atomic_load(&j->misses),
		.disk_free_bytes = atomic_load(&j->disk_free),
		.replayed_records = atomic_load(&j->replayed_records),
		.replayed_bytes = atomic_load(&j->replayed_bytes),
		.pressure = atomic_load(&j->pressure),
		.refusing = (enum err)atomic_load(&j->refusing),
		.direct = atomic_load(&j->direct),
		.crowded = atomic_load(&j->crowded) };
}
