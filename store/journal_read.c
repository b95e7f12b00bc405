/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading records back: from the write buffers while they are kept, else from the segment.
 *
 * Windows are the write buffers: each mirrors a stretch of one segment, frames of many batches one
 * behind the other, and they are reused in a ring, so together they are the journal's tail in RAM.
 * No lock: a reader counts himself in, then looks whether the window still is what he wants; the
 * home takes the key away, then looks whether anybody is in. Copies are short. */
#include "store/journal_int.h"

#include <stdlib.h>

enum err windows_init(struct journal *j)
{
	size_t bytes = MAX((size_t)j->opt->cache_bytes, (size_t)WINDOWS_MIN * j->window_bytes);

	j->window_count = bytes / j->window_bytes;
	j->windows = calloc(j->window_count, sizeof(*j->windows));
	if (!j->windows)
		return ERR_NOMEM;
	/* Memory is taken when a window is first used. */
	return OK;
}

void windows_done(struct journal *j)
{
	for (size_t i = 0; j->windows && i < j->window_count; i++)
		file_buffer_free(j->windows[i].mem);
	free(j->windows);
}

static bool take_window(struct journal *j, struct window *win, uint64_t start)
{
	atomic_store(&win->key, UINT64_C(0));
	if (atomic_load(&win->users))
		return false;
	if (!win->mem)
		win->mem = file_buffer(j->window_bytes);
	if (!win->mem)
		return false;
	atomic_store(&win->end, 0);
	atomic_store(&win->key, pos_of(atomic_load(&j->active->number), start));
	j->window = win;
	j->window_start = start;
	return true;
}

bool window_open(struct journal *j, uint64_t start)
{
	size_t first = j->window ? (size_t)(j->window - j->windows) + 1 : 0;

	for (size_t i = 0; i < j->window_count; i++)
		if (take_window(j, &j->windows[(first + i) % j->window_count], start))
			return true;
	return false;
}

void window_durable(struct journal *j, uint64_t end)
{
	atomic_store_explicit(&j->window->end, (uint32_t)(end - j->window_start),
		memory_order_release);
}

static size_t length_of(const struct iovec to[2])
{
	return to[0].iov_len + to[1].iov_len;
}

static void copy_to(const struct iovec to[2], const char *from)
{
	memcpy(to[0].iov_base, from, to[0].iov_len);
	if (to[1].iov_len)
		memcpy(to[1].iov_base, from + to[0].iov_len, to[1].iov_len);
}

static bool copy_from(struct window *win, journal_pos pos, const struct iovec to[2])
{
	uint64_t key;
	bool there = false;

	atomic_fetch_add(&win->users, 1);
	key = atomic_load(&win->key);
	if (key && key <= pos && pos >> 32 == key >> 32) {
		uint64_t at = pos - key;

		there = at + length_of(to) <= atomic_load_explicit(&win->end, memory_order_acquire);
		if (there)
			copy_to(to, win->mem + at);
	}
	atomic_fetch_sub(&win->users, 1);
	return there;
}

static bool cached(struct journal *j, journal_pos pos, const struct iovec to[2])
{
	for (size_t i = 0; i < j->window_count; i++) {
		uint64_t key = atomic_load_explicit(&j->windows[i].key, memory_order_relaxed);

		if (!key || key > pos || pos - key >= j->window_bytes)
			continue;
		if (copy_from(&j->windows[i], pos, to)) {
			atomic_fetch_add_explicit(&j->hits, 1, memory_order_relaxed);
			return true;
		}
	}
	return false;
}

static enum err read_aligned(struct seg *s, uint64_t offset, const struct iovec to[2])
{
	uint64_t begin = offset & ~(uint64_t)(FRAME_ALIGN - 1);
	size_t bytes = frame_round((size_t)(offset - begin) + length_of(to));

	if (begin + bytes > s->at.bytes)
		return ERR_CORRUPT;
	char *tmp = file_buffer(bytes);
	if (!tmp)
		return ERR_NOMEM;
	enum err err = s->at.home->read(&s->at, tmp, bytes, begin);
	if (!err)
		copy_to(to, tmp + (offset - begin));
	file_buffer_free(tmp);
	return err;
}

bool journal_has(const struct journal *j, journal_pos pos)
{
	return seg_find(j, journal_segment_of(pos)) != NULL;
}

/* Bytes at a position, wherever they are now. */
static enum err read_two(struct journal *j, journal_pos pos, const struct iovec to[2])
{
	if (cached(j, pos, to))
		return OK;
	uint32_t number = journal_segment_of(pos);
	struct seg *s = seg_find(j, number);
	if (!s)
		return ERR_NOT_FOUND;
	if (pos >= journal_durable(j))
		return ERR_CORRUPT;
	atomic_fetch_add_explicit(&j->misses, 1, memory_order_relaxed);
	enum err err = s->at.home->peek ? s->at.home->peek(&s->at, to, (uint32_t)pos) :
					  read_aligned(s, (uint32_t)pos, to);
	/* Recycled meanwhile: what was read is something else. */
	return atomic_load(&s->number) == number ? err : ERR_NOT_FOUND;
}

static enum err read_bytes(struct journal *j, journal_pos pos, void *buf, size_t len)
{
	const struct iovec to[2] = { { .iov_base = buf, .iov_len = len } };

	return read_two(j, pos, to);
}

enum err journal_read_raw(struct journal *j, journal_pos pos, void *buf, size_t len,
	size_t *out_len)
{
	const struct seg *s = seg_find(j, journal_segment_of(pos));
	journal_pos durable = journal_durable(j);
	uint64_t end;

	if (!s)
		return ERR_NOT_FOUND;
	end = journal_segment_of(pos) == journal_segment_of(durable) ? (uint32_t)durable :
								       s->at.bytes;
	if ((uint32_t)pos >= end || pos >= durable)
		return ERR_CORRUPT;
	len = (size_t)MIN((uint64_t)len, end - (uint32_t)pos);
	enum err err = read_bytes(j, pos, buf, len);

	if (!err)
		*out_len = len;
	return err;
}

enum err journal_take_begin(struct journal *j, journal_pos pos, slice bytes,
	struct journal_record *out)
{
	struct journal_record rec;

	if (!frame_get_record(bytes, &rec) || rec.len > j->record_max ||
		rec.len < bytes.len - JOURNAL_RECORD_HEAD)
		return ERR_CORRUPT;
	*out = rec;
	out->pos = pos;
	return OK;
}

enum err journal_read_begin(struct journal *j, journal_pos pos, struct journal_record *out,
	struct iovec begin)
{
	char head[JOURNAL_RECORD_HEAD + JOURNAL_BEGIN_MAX];
	size_t len = JOURNAL_RECORD_HEAD + begin.iov_len;

	must(begin.iov_len <= JOURNAL_BEGIN_MAX);
	enum err err = read_bytes(j, pos, head, len);

	if (!err)
		err = journal_take_begin(j, pos, slice_of(head, len), out);
	if (!err && begin.iov_len)
		memcpy(begin.iov_base, head + JOURNAL_RECORD_HEAD, begin.iov_len);
	return err;
}

enum err journal_read_head(struct journal *j, journal_pos pos, struct journal_record *out)
{
	return journal_read_begin(j, pos, out, (struct iovec){ 0 });
}

enum err journal_read(struct journal *j, const struct journal_record *rec, struct journal_span span,
	void *buf)
{
	if ((uint64_t)span.offset + span.len > rec->len)
		return ERR_CORRUPT;
	return span.len ?
		read_bytes(j, rec->pos + JOURNAL_RECORD_HEAD + span.offset, buf, span.len) :
		OK;
}

enum err journal_read_two(struct journal *j, const struct journal_record *rec,
	const struct iovec to[2])
{
	if (length_of(to) > rec->len)
		return ERR_CORRUPT;
	return read_two(j, rec->pos + JOURNAL_RECORD_HEAD, to);
}
