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

static enum err last_frame(struct look *l, size_t slot, struct frame_head *out)
{
	struct scan scan = { .segment = &l->slots[slot],
		.store_id = l->args->store_id,
		.number = l->heads[slot].segment };
	enum err err = journal_scan(&scan);

	*out = scan.last;
	return err;
}

static enum err write_head(struct look *l, size_t slot)
{
	char *buf = file_buffer(FRAME_ALIGN);
	struct frame_writer fw;

	if (!buf)
		return ERR_NOMEM;
	frame_begin(&fw, buf);
	size_t len = frame_end(&fw, &l->heads[slot]);
	enum err err = l->home->rewrite(&l->slots[slot], slice_of(buf, len), 0);

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
	return write_head(l, slot);
}

/* One link of the chain. *slot becomes the one before it, or l->len at the begin of all. */
static enum err look_back(struct look *l, size_t *slot)
{
	const struct frame_head *head = &l->heads[*slot];
	struct frame_head last = { 0 };
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
		err = last_frame(l, *slot, &last);
	if (err || (named && (l->args->heads_only || last.seq >= head->prior_seq)))
		return err;
	return tell(l, here, *slot, last.seq);
}

enum err journal_look(struct journal_look *args)
{
	struct look l = { .args = args,
		.home = args->options->home ? args->options->home : &segment_files };
	struct frame_head end;
	enum err err = list_heads(&l);
	size_t slot = err ? l.len : newest_to(&l, UINT32_MAX);

	args->gaps = 0;
	args->end = args->replay = 0;
	if (slot < l.len) {
		err = last_frame(&l, slot, &end);
		l.oldest = end.oldest;
		args->replay = end.replay;
	}
	while (!err && slot < l.len)
		err = look_back(&l, &slot);
	drop_slots(&l);
	return err;
}
