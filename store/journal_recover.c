/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening the journal: which slots hold which segments, where the good frames end, and applying
 * again what the index lacks.
 *
 * The newest segment's head names the one before it and that one's last good sequence, and so on:
 * this chain is the journal. Slots outside it are free: recycled, or the remains of a failed write.
 * The last good frame says where the replay begins. The write it came with is made once more before
 * anything is believed: if the crash came between the write and its flush it would otherwise be gone
 * at the next power failure, after we had built on it. */
#include "store/journal_int.h"

#include <stdlib.h>

enum { FEED_PAUSE_BYTES = 16 * 1024 * 1024, SEGMENTS_MIN = 6 };

struct found {
	struct segment at;
	struct frame_head head; /* kind 0: nothing of ours */
	bool used;
};

struct recover {
	struct journal *j;
	const struct journal_open *args;
	struct found *found;
	size_t found_len;
	journal_pos from;    /* of the replay for the queue */
	uint64_t expect_seq; /* of the last frame in the segment being replayed; 0: the newest */
	uint64_t fed;
	enum err err;
};

static struct found *find_number(struct recover *rc, uint32_t number)
{
	for (size_t i = 0; i < rc->found_len; i++)
		if (rc->found[i].head.kind && rc->found[i].head.segment == number)
			return &rc->found[i];
	return NULL;
}

static struct found *newest(struct recover *rc)
{
	struct found *best = NULL;

	for (size_t i = 0; i < rc->found_len; i++) {
		struct found *f = &rc->found[i];

		if (f->head.kind && (!best || f->head.segment > best->head.segment))
			best = f;
	}
	return best;
}

static enum err list_slots(struct recover *rc)
{
	struct journal *j = rc->j;
	struct segment *all;
	size_t len;
	enum err err = j->segments->list(j->segments, j->opt, &all, &len);

	if (err)
		return err;
	rc->found = calloc(len + 1, sizeof(*rc->found));
	if (!rc->found)
		return ERR_NOMEM;
	for (size_t i = 0; i < len; i++) {
		struct found *f = &rc->found[i];

		f->at = all[i];
		j->next_slot = MAX(j->next_slot, all[i].slot + 1);
		err = journal_scan_head(&f->at, j->store_id, &f->head);
		if (err && err != ERR_CORRUPT && err != ERR_IO)
			break;
		if (err)
			f->head = (struct frame_head){ 0 };
		err = OK;
	}
	rc->found_len = len;
	free(all);
	return err;
}

/* How far numbers may spread: what there may be, and what is there. */
static enum err make_tables(struct recover *rc)
{
	struct journal *j = rc->j;
	size_t want = 4 * MAX(j->max_segments, rc->found_len) + 64, size = 256;

	while (size < want)
		size *= 2;
	j->mask = (uint32_t)size - 1;
	j->table = calloc(size, sizeof(*j->table));
	j->holds = calloc(size, sizeof(*j->holds));
	return j->table && j->holds ? OK : ERR_NOMEM;
}

static enum err add_live(struct recover *rc, struct found *f, uint64_t last_seq, uint64_t used)
{
	struct seg *s = seg_new(&f->at);

	if (!s)
		return ERR_NOMEM;
	f->used = true;
	s->used = used;
	s->last_seq = last_seq;
	s->prior = f->head.prior_segment;
	s->begins = !s->prior && f->head.prior_seq > 0;
	seg_number(rc->j, s, f->head.segment);
	return OK;
}

/* From the newest back to the oldest that is needed; entered oldest first. */
static enum err chain(struct recover *rc, const struct scan *end)
{
	struct found **path = calloc(rc->found_len, sizeof(struct found *));
	struct found *f = find_number(rc, end->number);
	size_t len = 0;
	enum err err = path ? OK : ERR_NOMEM;

	while (!err && f) {
		uint32_t prior = f->head.prior_segment;

		path[len++] = f;
		f = NULL;
		if (prior && prior < path[len - 1]->head.segment && prior >= end->last.oldest) {
			f = find_number(rc, prior);
			err = f ? OK : ERR_CORRUPT;
		}
	}
	for (size_t i = len; !err && i > 0; i--) {
		uint64_t last = i == 1 ? end->last.seq : path[i - 2]->head.prior_seq;

		err = add_live(rc, path[i - 1], last, i == 1 ? end->at : path[i - 1]->at.bytes);
	}
	free(path);
	return err;
}

/* Every slot outside the chain may be written again, if its size is today's. */
static enum err add_rest(struct recover *rc)
{
	struct journal *j = rc->j;

	for (size_t i = 0; i < rc->found_len; i++) {
		struct found *f = &rc->found[i];

		if (f->used)
			continue;
		struct seg *s = seg_new(&f->at);
		if (!s)
			return ERR_NOMEM;
		f->used = true;
		if (f->at.bytes == (uint64_t)j->opt->segment_bytes)
			seg_add_free(j, s);
		else
			list_push(&j->dead, &s->link);
	}
	return OK;
}

/* --- Replay --- */

static enum err pause_feed(struct recover *rc, size_t bytes, journal_pos pos)
{
	rc->fed += bytes;
	if (rc->fed < FEED_PAUSE_BYTES)
		return OK;
	rc->fed = 0;
	index_advance(rc->j->index, pos, true);
	return index_wait(rc->j->index, pos - 1, 0);
}

static enum err replay_frame(struct scan *scan, const struct frame_head *head, slice frame)
{
	struct recover *rc = scan->arg;
	struct journal_record rec;
	enum err err = OK;
	slice payload;

	/* What lies beyond the last good frame a later segment names is void. */
	if (rc->expect_seq && head->seq > rc->expect_seq)
		return ERR_NOT_FOUND;
	for (size_t at = FRAME_HEAD; !err && frame_next(frame, &at, &rec, &payload);) {
		rec.pos = pos_of(scan->number, scan->last_at + rec.pos);
		atomic_fetch_add(&rc->j->replayed_records, 1);
		if (rec.flags & JOURNAL_INDEXED && !rc->j->opt->read_only) {
			index_feed(rc->j->index, &rec, payload);
			err = index_behind(rc->j->index) ? ERR_NOMEM :
							   pause_feed(rc, payload.len, rec.pos + 1);
		}
		if (rec.pos >= rc->from && rc->args->replay)
			rc->args->replay(rc->args->arg, &rec, payload);
	}
	atomic_fetch_add(&rc->j->replayed_bytes, frame.len);
	return err;
}

static enum err replay_segment(struct recover *rc, struct seg *s, bool last)
{
	struct scan scan = { .segment = &s->at,
		.store_id = rc->j->store_id,
		.number = atomic_load(&s->number),
		.frame = replay_frame,
		.arg = rc };

	rc->expect_seq = last ? 0 : s->last_seq;
	enum err err = journal_scan(&scan);
	if (err == ERR_NOT_FOUND)
		err = OK; /* stopped at the void part */
	if (!err && !last && scan.last.seq < s->last_seq)
		err = ERR_CORRUPT; /* acknowledged frames are missing */
	if (!err && last)
		s->used = scan.at;
	return err;
}

static enum err replay(struct recover *rc, journal_pos from)
{
	struct journal *j = rc->j;
	uint32_t first = journal_segment_of(from);
	enum err err = OK;

	/* The chain must reach back to where the replay begins. Position 0: the begin of all. */
	struct seg *oldest = container_of(list_first(&j->live), struct seg, link);
	if (first < atomic_load(&oldest->number) && (first || oldest->prior) && !oldest->begins &&
		!rc->args->from_oldest)
		return ERR_CORRUPT;
	list_each(&j->live, link)
	{
		struct seg *s = container_of(link, struct seg, link);

		if (!err && atomic_load(&s->number) >= first)
			err = replay_segment(rc, s, link == j->live.head.prev);
	}
	return err;
}

/* A segment's head has no write of its own: the first batch takes it along. */
static enum err rewrite_last(struct seg *s, const struct scan *end)
{
	uint64_t from = end->last_at <= FRAME_ALIGN ? 0 : end->last_at;
	size_t len = (size_t)(end->at - from);
	char *buf = file_buffer(len);

	if (!buf)
		return ERR_NOMEM;
	enum err err = s->at.home->read(&s->at, buf, len, from);
	if (!err)
		err = s->at.home->rewrite(&s->at, slice_of(buf, len), from);
	file_buffer_free(buf);
	return err;
}

static enum err settle(struct recover *rc, const struct scan *end)
{
	struct journal *j = rc->j;
	struct seg *s = seg_find(j, end->number);
	journal_pos position = index_position(j->index);
	journal_pos durable = pos_of(end->number, end->at);

	j->active = j->last_good = s;
	atomic_store(&j->direct, s->at.direct);
	j->next_seq = end->last.seq + 1;
	j->next_number = end->number + 1;
	atomic_store(&j->durable, durable);
	if (index_farthest(j->index) > durable)
		return ERR_CORRUPT; /* the index knows of records that are not there */
	if (!j->opt->read_only) {
		enum err err = rewrite_last(s, end);

		if (err)
			return err;
	}
	rc->from = end->last.replay;
	j->replay = rc->from;
	return replay(rc, MIN(rc->from, position));
}

static enum err recover(struct recover *rc)
{
	struct journal *j = rc->j;
	struct found *f = newest(rc);

	if (!f) {
		j->next_number = 1;
		j->next_seq = 1;
		/* Nothing was ever written, or the journal was taken away from its index. */
		if (index_position(j->index))
			return ERR_CORRUPT;
		return add_rest(rc);
	}
	struct scan end = { .segment = &f->at, .store_id = j->store_id, .number = f->head.segment };
	enum err err = journal_scan(&end);
	if (!err)
		err = chain(rc, &end);
	if (!err)
		err = add_rest(rc);
	return err ? err : settle(rc, &end);
}

static uint64_t journal_max(const struct journal_open *args)
{
	struct file_space space;
	uint64_t most = UINT64_C(16) << 30, least = UINT64_C(1) << 30;

	if (args->options->journal_max_bytes)
		return (uint64_t)args->options->journal_max_bytes;
	if (file_space(args->path, &space))
		return least;
	return MAX(least, MIN(most, space.total_bytes / 8));
}

static enum err init(struct journal *j, const struct journal_open *args)
{
	uint64_t segment = (uint64_t)args->options->segment_bytes;

	list_init(&j->live);
	list_init(&j->free);
	list_init(&j->dead);
	list_init(&j->pending);
	list_init(&j->waiting);
	list_init(&j->batch);
	if (segment % WINDOW_BYTES_MIN || segment < WINDOW_BYTES_MIN || segment > UINT32_MAX)
		return ERR_INVALID;
	j->opt = args->options;
	j->segments = args->options->home ? args->options->home : &segment_files;
	j->path = args->path;
	j->index = args->index;
	j->store_id = args->store_id;
	j->home = worker_self();
	j->home_index = j->home ? worker_index(j->home) : 0;
	j->window_bytes = (size_t)MAX((uint64_t)WINDOW_BYTES_MIN,
		MIN(segment / 4, (uint64_t)WINDOW_BYTES_MAX));
	j->record_max = (size_t)MIN((uint64_t)j->window_bytes, segment) - 4 * FRAME_ALIGN;
	j->max_segments = (size_t)MAX(journal_max(args) / segment, (uint64_t)SEGMENTS_MIN);
	return windows_init(j);
}

static void drop_found(struct recover *rc)
{
	for (size_t i = 0; i < rc->found_len; i++)
		if (!rc->found[i].used)
			rc->j->segments->drop(&rc->found[i].at, rc->j->opt, false);
	free(rc->found);
}

/* The first batch shall find a slot. */
static enum err first_slots(struct journal *j)
{
	enum err err = OK;

	while (!err && !j->opt->read_only && j->free_count < (j->home ? SPARE_SEGMENTS : 1) &&
		j->live_count + j->free_count < j->max_segments)
		err = seg_make_now(j);
	/* A full disk is no reason not to open: what is there can be drained. */
	return err == ERR_NOSPACE ? OK : err;
}

enum err journal_open(const struct journal_open *args, struct journal **out)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (!j)
		return ERR_NOMEM;
	struct recover rc = { .j = j, .args = args };
	enum err err = init(j, args);
	*out = j; /* what replay finds may be held at once */
	if (!err)
		err = list_slots(&rc);
	if (!err)
		err = make_tables(&rc);
	if (!err)
		err = recover(&rc);
	drop_found(&rc);
	if (!err)
		err = first_slots(j);
	if (!err && !args->options->read_only) {
		index_advance(j->index, journal_durable(j), true);
		if (journal_durable(j))
			err = index_wait(j->index, journal_durable(j) - 1, 0);
	}
	if (err) {
		j->stopping = j->stopped = true;
		journal_close(j);
		*out = NULL;
		return err;
	}
	seg_publish(j);
	journal_start(j);
	return OK;
}
