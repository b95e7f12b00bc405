/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records on their way into the shards: copied once, in journal order, on the home worker.
 *
 * The journal has them all, so memory is never the only place: when there is none, the shard notes
 * which record it missed and takes no more. Whoever feeds reads them from the journal later. */
#include "store/index_int.h"

#include "store/frame.h"

#include <stdlib.h>

#ifdef RP_FAULTS
static _Atomic unsigned faults;

void index_fault_feed(unsigned count)
{
	atomic_store(&faults, count);
}

static bool fault(void)
{
	unsigned left = atomic_load(&faults);

	if (left)
		atomic_store(&faults, left - 1);
	return left > 0;
}
#else
void index_fault_feed(unsigned count)
{
}

static bool fault(void)
{
	return false;
}
#endif

static struct feed *room_for(struct shard *sh, size_t bytes)
{
	if (fault())
		return NULL;
	if (!sh->last || sh->last->cap - sh->last->len < bytes) {
		/* Small when little comes, since all of it stays until the commit. */
		size_t cap = MAX((size_t)FEED_BYTES_MIN, MIN(sh->fed_bytes, (size_t)FEED_BYTES));
		struct feed *f = malloc(sizeof(*f) + MAX(cap, bytes));

		if (!f)
			return NULL;
		*f = (struct feed){ .cap = MAX(cap, bytes) };
		if (sh->last)
			sh->last->next = f;
		else
			sh->first = f;
		sh->last = f;
	}
	return sh->last;
}

/* Somebody will ask what it came to. */
static bool is_eager(const struct journal_record *rec)
{
	return rec->type == JOURNAL_MAILBOX ||
		(rec->type == JOURNAL_MESSAGE && rec->flags & JOURNAL_OUTCOME);
}

static bool feed_shard(struct shard *sh, const struct journal_record *rec, slice payload)
{
	slice part = frame_index_part(rec, payload);
	size_t bytes = (sizeof(struct journal_record) + part.len + 7) & ~(size_t)7;
	struct feed *f = room_for(sh, bytes);

	if (!f)
		return false;
	struct journal_record copy = *rec;
	copy.len = (uint32_t)part.len;
	memcpy(f->bytes + f->len, &copy, sizeof(copy));
	if (part.len)
		memcpy(f->bytes + f->len + sizeof(copy), part.ptr, part.len);
	sh->eager = sh->eager || is_eager(rec);
	f->len += bytes;
	sh->fed_bytes += bytes;
	atomic_fetch_add(&sh->ix->lag, bytes);
	return true;
}

void index_feed(struct index *ix, const struct journal_record *rec, slice payload)
{
	for (unsigned i = 0; i < ix->count; i++) {
		struct shard *sh = &ix->shards[i];

		if (sh->missed || rec->pos < MAX(shard_position(sh), sh->fed_to))
			continue; /* later; or replayed and known */
		if (!(rec->shards & 1u << i))
			continue;
		if (feed_shard(sh, rec, payload)) {
			sh->fed_to = rec->pos + 1;
			shard_kick(sh);
		} else {
			sh->missed = rec->pos;
			atomic_fetch_add(&ix->behind, 1);
		}
	}
}

void index_advance(struct index *ix, journal_pos pos, bool commit)
{
	for (unsigned i = 0; i < ix->count; i++) {
		struct shard *sh = &ix->shards[i];

		if (pos > sh->fed_to && !sh->missed)
			sh->fed_to = pos;
		shard_look_clean(sh);
		if (commit && sh->fed_to > shard_position(sh)) {
			sh->commit_wanted = true;
			shard_kick(sh);
		}
	}
}

/* --- Again --- */

bool index_behind(const struct index *ix)
{
	return atomic_load_explicit(&ix->behind, memory_order_relaxed) > 0;
}

journal_pos index_missed(const struct index *ix)
{
	journal_pos least = 0;

	for (unsigned i = 0; i < ix->count; i++) {
		journal_pos missed = ix->shards[i].missed;

		if (missed && (!least || missed < least))
			least = missed;
	}
	return least;
}

enum err index_feed_again(struct index *ix, const struct journal_record *rec, slice payload)
{
	for (unsigned i = 0; i < ix->count; i++) {
		struct shard *sh = &ix->shards[i];

		if (!sh->missed || rec->pos < sh->missed)
			continue;
		if (rec->shards & 1u << i && !feed_shard(sh, rec, payload))
			return ERR_NOMEM;
		sh->missed = sh->fed_to = rec->pos + 1;
		shard_kick(sh);
	}
	return OK;
}

enum err index_wait_again(struct index *ix)
{
	enum err err = OK;

	index_advance(ix, 0, true);
	for (unsigned i = 0; !err && i < ix->count; i++)
		if (ix->shards[i].missed && ix->shards[i].fed_to)
			err = index_wait(ix, ix->shards[i].fed_to - 1, 1u << i);
	return err;
}

void index_caught_up(struct index *ix, journal_pos pos)
{
	for (unsigned i = 0; i < ix->count; i++)
		ix->shards[i].missed = 0;
	atomic_store(&ix->behind, 0);
	index_advance(ix, pos, false);
}
