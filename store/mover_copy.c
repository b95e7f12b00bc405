/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying the bodies that live in a journal segment to the archive.
 *
 * A damaged message must not keep the journal from being freed, nor vanish with it: what can be read
 * of it is copied as damaged, so its rows still name something, fsck tells of it, and who reads the
 * body gets ERR_CORRUPT until somebody ends its entries. */
#include "store/keys_mailbox.h"
#include "store/store_int.h"

#include <stdlib.h>

/* Rounds, a quarter of a second apart, before a disk that cannot read counts as damage. */
enum { PIECE = 256 * 1024, IO_TRIES = 40 };

struct moving {
	struct store *st;
	char *buf;
	bool source; /* the error at hand is that of what is copied, not of the archive */
};

static enum err copy_body(struct moving *m, struct blob_reader *r)
{
	size_t n = 1;
	enum err err = OK;

	while (!err && n) {
		err = blob_read(r, m->buf, PIECE, &n);
		m->source = err != OK;
		if (!err && n)
			err = archive_put(m->st->archive, slice_of(m->buf, n));
	}
	return err;
}

/* Whose it is, for a rebuild without an index. */
static void set_owner(struct moving *m, struct archive_copy *copy)
{
	struct keys_place place;

	if (store_owner(m->st, copy->id, &place))
		return;
	copy->account = place.account;
	copy->mailbox = place.mailbox;
}

static enum err put_front(struct archive *ar, const struct blob_front *front)
{
	enum err err = archive_put(ar, front->deliver);

	return err ? err : archive_put(ar, front->meta);
}

static enum err copy_whole(struct moving *m, uint64_t id)
{
	struct archive *ar = m->st->archive;
	struct arena a = { 0 };
	struct blob_reader r;
	struct blob_front front;
	enum err err = blob_open(&r, m->st, id);

	if (!err)
		err = blob_front(&r, &a, &front);
	m->source = err != OK;
	if (!err) {
		struct archive_copy copy = { .id = id,
			.at = r.at,
			.meta_len = (uint32_t)(front.deliver.len + front.meta.len),
			.deliver_len = (uint32_t)front.deliver.len,
			.body_len = r.ref.size };

		set_owner(m, &copy);
		err = archive_begin(ar, &copy);
		if (!err)
			err = put_front(ar, &front);
		if (!err)
			err = copy_body(m, &r);
		if (!err)
			err = archive_end(ar);
		else
			archive_abandon(ar);
	}
	arena_done(&a);
	return err;
}

/* --- What is damaged --- */

/* Zeros in the place of what cannot be read. */
static enum err salvage_body(struct moving *m, struct blob_reader *r)
{
	enum err err = OK;

	for (uint64_t at = 0; !err && at < r->ref.size;) {
		size_t want = (size_t)MIN(r->ref.size - at, (uint64_t)PIECE), n = 0;

		memset(m->buf, 0, want);
		r->offset = at;
		r->in_order = false;
		(void)!blob_read(r, m->buf, want, &n);
		err = archive_put(m->st->archive, slice_of(m->buf, want));
		at += want;
	}
	return err;
}

/* Without a head that tells its size nothing but the message's name can be kept. */
static enum err salvage(struct moving *m, uint64_t id)
{
	struct archive *ar = m->st->archive;
	struct archive_copy copy = { .id = id, .damaged = true };
	struct arena a = { 0 };
	struct blob_reader r;
	struct blob_front front = { 0 };
	enum err err = blob_open(&r, m->st, id);

	if (!err && blob_front(&r, &a, &front))
		front = (struct blob_front){ 0 };
	if (!err) {
		copy.at = r.at;
		copy.meta_len = (uint32_t)(front.deliver.len + front.meta.len);
		copy.deliver_len = (uint32_t)front.deliver.len;
		copy.body_len = r.ref.size;
	}
	set_owner(m, &copy);
	/* The size may be what is damaged. */
	bool body = !err &&
		copy.body_len <= (r.chunk_count + UINT64_C(1)) * journal_record_max(m->st->journal);
	if (!body)
		copy.body_len = 0;
	err = archive_begin(ar, &copy);
	if (!err)
		err = put_front(ar, &front);
	if (!err && body)
		err = salvage_body(m, &r);
	arena_done(&a);
	return err ? err : archive_end(ar);
}

static bool moved_already(struct moving *m, uint64_t id)
{
	struct archive_place place;

	/* After a rebuild of the map it may be the remains of a crash. */
	return archive_find(m->st->archive, id, &place) == OK &&
		archive_verify(m->st->archive, id, &place) == OK;
}

static enum err move_one(struct moving *m, uint64_t id)
{
	struct store *st = m->st;

	if (moved_already(m, id))
		return OK;
	m->source = false;
	enum err err = copy_whole(m, id);
	if (!err || !m->source)
		return err;
	if (err != ERR_CORRUPT && err != ERR_NOT_FOUND &&
		(err != ERR_IO || ++st->unreadable < IO_TRIES))
		return err;
	st->unreadable = 0;
	err = salvage(m, id);
	if (!err)
		atomic_fetch_add(&st->damaged, 1);
	return err;
}

enum err mover_copy(struct store *st, const uint64_t *ids, size_t len)
{
	struct moving m = { .st = st, .buf = malloc(PIECE) };
	enum err err = m.buf ? OK : ERR_NOMEM;

	for (size_t i = 0; !err && i < len; i++)
		err = move_one(&m, ids[i]);
	free(m.buf);
	/* What was copied before a failure stays copied. */
	enum err done = archive_commit(st->archive);
	return err ? err : done;
}
