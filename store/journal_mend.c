/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A journal in which something is missing: which segments, how many frames, and joining the ends.
 *
 * A segment's head names the one before it and its last good frame. Where that is not there any more,
 * the newest segment that is takes its place: its own last good frame ends it. Joining writes
 * the head again with what is there. The head keeps its own sequence, so a gap is seen for ever after. */
#include "store/journal_int.h"

#include <stdlib.h>

struct look {
	struct journal_look *args;
	const struct segment_home *home;
	struct segment *slots;
	struct frame_head *heads; /* kind 0: nothing of ours */
	size_t len;
	uint32_t oldest; /* none before it is needed */
};

static enum err list_heads(struct look *l)
{
	enum err err = l->home->list(l->home, l->args->options, &l->slots, &l->len);

	if (err)
		return err;
	l->heads = calloc(l->len + 1, sizeof(*l->heads));
	if (!l->heads)
		err = ERR_NOMEM;
	for (size_t i = 0; !err && i < l->len; i++)
		if (journal_scan_head(&l->slots[i], l->args->store_id, &l->heads[i]))
			l->heads[i] = (struct frame_head){ 0 };
	return err;
}

static void drop_slots(struct look *l)
{
	for (size_t i = 0; i < l->len; i++)
		l->home->drop(&l->slots[i], l->args->options, false);
	free(l->slots);
	free(l->heads);
}

/* The slot of the newest segment up to this one; l->len: there is none. */
static size_t newest_to(const struct look *l, uint32_t number)
{
	size_t best = l->len;

	for (size_t i = 0; i < l->len; i++)
		if (l->heads[i].kind && l->heads[i].segment <= number &&
			(best == l->len || l->heads[i].segment > l->heads[best].segment))
			best = i;
	return best;
}

/* The last good frame of it, and where that ends. */
static enum err last_frame(struct look *l, size_t slot, struct frame_head *out,
	journal_pos *out_end)
{
	struct scan scan = { .segment = &l->slots[slot],
		.store_id = l->args->store_id,
		.number = l->heads[slot].segment };
	enum err err = journal_scan(&scan);

	*out = scan.last;
	*out_end = pos_of(scan.number, scan.at);
	return err;
}

static enum err write_head(struct look *l, struct segment *to, struct frame_head *head)
{
	char *buf = file_buffer(FRAME_ALIGN);
	struct frame_writer fw;

	if (!buf)
		return ERR_NOMEM;
	frame_begin(&fw, buf);
	size_t len = frame_end(&fw, head);
	enum err err = l->home->rewrite(to, slice_of(buf, len), 0);

	file_buffer_free(buf);
	return err;
}

/* What stands before the segment in `slot` is not what its head says: `before` (l->len: nothing), which
 * ends with frame `last`. */
static enum err tell(struct look *l, size_t slot, size_t before, uint64_t last)
{
	struct frame_head *head = &l->heads[slot];
	struct journal_gap gap = { .segment = head->segment,
		.named = head->prior_segment,
		.before = before < l->len ? l->heads[before].segment : 0,
		.frames = before < l->len ? head->prior_seq - last : 0 };

	l->args->gaps++;
	l->args->end = MAX(l->args->end, pos_of(head->segment, 0));
	if (l->args->each)
		l->args->each(l->args->arg, &gap);
	if (!l->args->mend)
		return OK;
	head->prior_segment = gap.before;
	head->prior_seq = before < l->len ? last : head->seq - 1;
	return write_head(l, &l->slots[slot], head);
}

/* What the index has of records that are gone stays, so new ones must stand behind them: in a segment with
 * a number that was never given. */
static enum err begin_anew(struct look *l, const struct frame_head *last)
{
	struct frame_head head = { .store_id = l->args->store_id,
		.seq = last->seq + 2,
		.replay = last->seq ? last->replay : l->args->position,
		.prior_seq = MAX(last->seq, UINT64_C(1)),
		.prior_segment = last->segment,
		.segment = journal_segment_of(l->args->position) + 1,
		.oldest = last->oldest,
		.kind = FRAME_SEGMENT };
	struct segment made;
	uint32_t slot = 0;

	for (size_t i = 0; i < l->len; i++)
		slot = MAX(slot, l->slots[i].slot + 1);
	enum err err = l->home->make(l->home, l->args->options, slot, &made);
	if (err)
		return err;
	err = write_head(l, &made, &head);
	l->home->drop(&made, l->args->options, false);
	return err;
}

/* The newest segment ends with frame `last`, at `end`; zeroes: there is none. */
static enum err look_at_end(struct look *l, const struct frame_head *last, journal_pos end)
{
	struct journal_gap gap = { .named = journal_segment_of(l->args->position),
		.before = last->segment };

	if (l->args->position <= end)
		return OK;
	l->args->gaps++;
	l->args->end_lost = true;
	l->args->end = l->args->position;
	if (l->args->each)
		l->args->each(l->args->arg, &gap);
	return l->args->mend ? begin_anew(l, last) : OK;
}

/* One link of the chain. *slot becomes the one before it, or l->len at the begin of all. */
static enum err look_back(struct look *l, size_t *slot)
{
	const struct frame_head *head = &l->heads[*slot];
	struct frame_head last = { 0 };
	journal_pos end;
	enum err err = OK;
	size_t here = *slot;

	*slot = l->len;
	if (!head->prior_segment || head->prior_segment >= head->segment ||
		head->prior_segment < l->oldest)
		return OK;
	/* Joined before. */
	if (head->seq != head->prior_seq + 1)
		l->args->end = MAX(l->args->end, pos_of(head->segment, 0));
	*slot = newest_to(l, head->prior_segment);
	if (*slot < l->len && l->heads[*slot].segment < l->oldest)
		*slot = l->len;
	bool named = *slot < l->len && l->heads[*slot].segment == head->prior_segment;
	if (*slot < l->len && !(named && l->args->heads_only))
		err = last_frame(l, *slot, &last, &end);
	if (err || (named && (l->args->heads_only || last.seq >= head->prior_seq)))
		return err;
	return tell(l, here, *slot, last.seq);
}

enum err journal_look(struct journal_look *args)
{
	struct look l = { .args = args,
		.home = args->options->home ? args->options->home : &segment_files };
	struct frame_head last = { 0 };
	journal_pos end = 0;
	enum err err = list_heads(&l);
	size_t slot = err ? l.len : newest_to(&l, UINT32_MAX);

	args->gaps = 0;
	args->end_lost = false;
	args->end = args->replay = 0;
	if (slot < l.len)
		err = last_frame(&l, slot, &last, &end);
	l.oldest = last.oldest;
	args->replay = last.replay;
	if (!err)
		err = look_at_end(&l, &last, end);
	while (!err && slot < l.len)
		err = look_back(&l, &slot);
	drop_slots(&l);
	return err;
}
