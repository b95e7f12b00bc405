/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walking the frames of a segment up to the first that is not good: recovery and fsck. */
#include "store/journal_int.h"

enum { SCAN_BYTES = 8 * 1024 * 1024 };

struct walk {
	struct scan *scan;
	char *buf;
	uint64_t begin; /* offset of buf[0] */
	size_t len;
};

/* The frame must continue what came before, or it is of an earlier use of the slot. */
static bool follows(const struct scan *scan, const struct frame_head *head)
{
	if (head->store_id != scan->store_id || head->segment != scan->number)
		return false;
	if (!scan->last.kind)
		return head->kind == FRAME_SEGMENT;
	return head->kind == FRAME_BATCH && head->seq == scan->last.seq + 1;
}

static enum err load(struct walk *wk)
{
	struct scan *scan = wk->scan;
	uint64_t left = scan->segment->bytes - scan->at;

	wk->begin = scan->at;
	wk->len = (size_t)MIN(left, (uint64_t)SCAN_BYTES);
	return wk->len ? scan->segment->home->read(scan->segment, wk->buf, wk->len, wk->begin) : OK;
}

/* One frame. *out_more false: the good ones end here. */
static enum err step(struct walk *wk, bool *out_more)
{
	struct scan *scan = wk->scan;
	slice rest = slice_skip(slice_of(wk->buf, wk->len), (size_t)(scan->at - wk->begin));
	struct frame_head head;
	enum step step = frame_check(rest, &head);

	*out_more = false;
	if (step == STEP_MORE && scan->at != wk->begin) {
		*out_more = true;
		return load(wk);
	}
	if (step != STEP_DONE || !follows(scan, &head))
		return OK;
	if (!scan->last.kind)
		scan->first = head;
	scan->last = head;
	scan->last_at = scan->at;
	scan->at += frame_round(head.bytes);
	*out_more = true;
	return scan->frame ? scan->frame(scan, &head, slice_sub(rest, 0, head.bytes)) : OK;
}

enum err journal_scan(struct scan *scan)
{
	struct walk wk = { .scan = scan, .buf = file_buffer(SCAN_BYTES) };
	bool more = true;

	if (!wk.buf)
		return ERR_NOMEM;
	scan->at = 0;
	scan->last = (struct frame_head){ 0 };
	enum err err = load(&wk);
	while (!err && more)
		err = step(&wk, &more);
	file_buffer_free(wk.buf);
	return err;
}

enum err journal_scan_head(struct segment *s, uint64_t store_id, struct frame_head *out)
{
	char *buf = file_buffer(FRAME_ALIGN);
	struct frame_head head;

	if (!buf)
		return ERR_NOMEM;
	enum err err =
		s->bytes >= FRAME_ALIGN ? s->home->read(s, buf, FRAME_ALIGN, 0) : ERR_CORRUPT;
	if (!err &&
		(frame_check(slice_of(buf, FRAME_ALIGN), &head) != STEP_DONE ||
			head.kind != FRAME_SEGMENT || head.store_id != store_id))
		err = ERR_CORRUPT;
	if (!err)
		*out = head;
	file_buffer_free(buf);
	return err;
}

/* --- Walking live segments --- */

struct walking {
	struct journal_walk *walk;
	uint64_t last_seq;
	uint32_t number;
	bool ended; /* what follows is void */
};

static enum err walk_frame(struct scan *scan, const struct frame_head *head, slice frame)
{
	struct walking *w = scan->arg;
	struct journal_record rec;
	enum err err = OK;
	slice payload;

	if (w->ended || head->seq > w->last_seq) {
		w->ended = true;
		return OK;
	}
	w->walk->frames++;
	w->walk->bytes += frame.len;
	for (size_t at = FRAME_HEAD; !err && frame_next(frame, &at, &rec, &payload);) {
		rec.pos = pos_of(w->number, scan->last_at + rec.pos);
		w->walk->records++;
		err = w->walk->each(w->walk->arg, &rec, payload);
	}
	return err;
}

static enum err walk_segment(struct journal *j, struct journal_walk *walk, struct seg *s)
{
	struct walking w = {
		.walk = walk, .last_seq = s->last_seq, .number = atomic_load(&s->number)
	};
	struct scan scan = { .segment = &s->at,
		.store_id = j->store_id,
		.number = w.number,
		.frame = walk_frame,
		.arg = &w };
	enum err err = journal_scan(&scan);

	walk->segments++;
	if (!err && (!scan.last.kind || scan.last.seq < s->last_seq))
		walk->bad_segments++;
	return err;
}

enum err journal_walk(struct journal *j, struct journal_walk *walk)
{
	struct seg *one = walk->segment ? seg_find(j, walk->segment) : NULL;
	enum err err = OK;

	if (walk->segment)
		return one ? walk_segment(j, walk, one) : ERR_NOT_FOUND;
	list_each(&j->live, link) if (!err) err =
		walk_segment(j, walk, container_of(link, struct seg, link));
	return err;
}
