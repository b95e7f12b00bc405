/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records on their way into the shards: copied once, in journal order, on the home worker.
 *
 * The journal has them all, so memory is never the only place: when there is none, the shard notes
 * which record it missed and takes no more. Whoever feeds reads them from the journal later. */
#include "store/index_int.h"

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
		size_t cap = MAX((size_t)FEED_BYTES, bytes);
		struct feed *f = calloc(1, sizeof(*f) + cap);

		if (!f)
			return NULL;
		f->cap = cap;
		if (sh->last)
			sh->last->next = f;
		else
			sh->first = f;
		sh->last = f;
	}
	return sh->last;
}

static bool feed_shard(struct shard *sh, const struct journal_record *rec, slice payload)
{
	size_t bytes = (sizeof(*rec) + payload.len + 7) & ~(size_t)7;
	struct feed *f = room_for(sh, bytes);

	if (!f)
		return false;
	memcpy(f->bytes + f->len, rec, sizeof(*rec));
	memcpy(f->bytes + f->len + sizeof(*rec), payload.ptr, payload.len);
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
