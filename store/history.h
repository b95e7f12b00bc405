/* SPDX-License-Identifier: GPL-2.0-or-later */
/* history.h - index records of freed segments, kept until the next snapshot holds their effect.
 *
 * <data>/history/<segment>: with the last snapshot and the journal that is still there they make
 * the whole index again, record by record. Written and synced before the segment is freed; read by
 * a rebuild. Blocks: helper threads, or a thread without a worker. */
#ifndef STORE_HISTORY_H
#define STORE_HISTORY_H

#include "core/base/base.h"
#include "store/journal.h"

struct store;

/* Keep what the segment has. Writes nothing when it has nothing. */
struct history_kept {
	uint64_t bytes;
	bool damaged; /* records the index has were not readable any more */
};
enum err history_keep(struct store *st, uint32_t segment, struct history_kept *out) must_use;
/* Of all files together. */
enum err history_size(const char *path, uint64_t *out) must_use;
/* Forget what is older than the position (a snapshot is there). */
enum err history_trim(const char *path, journal_pos before) must_use;
/* Records at or behind this position are all there; 0: since the store was made. */
enum err history_begin(const char *path, journal_pos *out) must_use;
/* Every record kept, in order; `path` is the data folder. */
struct history_read {
	const char *path;
	enum err (*each)(void *arg, const struct journal_record *rec, slice payload);
	void *arg;
	uint64_t damaged; /* out: files that end in something that is no record */
};
enum err history_each(struct history_read *read) must_use;

#endif
