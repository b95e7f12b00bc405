/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From head to head through a segment file, over whatever is damaged, and the map made again.
 *
 * Copies stand one behind the other, so one head leads to the next. Behind a damaged head, or in
 * what a crash left beyond the end, the next good one is searched byte by byte: magic, store id and
 * checksum make it one. When a body stands in two places (a crash between a copy and the removal of
 * the old one, remains beyond the end) the map names a copy whose checksums hold. */
#include "store/archive_int.h"

#include "core/base/text.h"

#include <stdlib.h>

enum { SCAN_BYTES = 256 * 1024, BATCH = 256 };

enum err archive_heads_open(struct archive_heads *h, struct archive *ar, uint32_t number)
{
	char path[ARCHIVE_PATH];

	*h = (struct archive_heads){ .ar = ar };
	enum err err =
		archive_path(ar, path, number) ? file_open(path, FILE_READ, &h->file) : ERR_INVALID;
	return err ? err : file_size(h->file, &h->end);
}

static bool fits(const struct archive_heads *h, uint64_t at, const struct archive_head *head)
{
	uint64_t room = h->end - at;

	return head->body_len <= room && archive_copy_bytes(head->meta_len, head->body_len) <= room;
}

/* A good head in buf, which stands at h->at; false: none begins in its first `len` - 63 bytes. */
static bool scan_piece(struct archive_heads *h, slice piece, struct archive_head *out,
	size_t *out_at)
{
	char magic[4];
	struct out o = out_fixed(magic, sizeof(magic));

	out_u32(&o, ARCHIVE_MAGIC);
	for (size_t at = 0; piece.len - at >= ARCHIVE_HEAD; at++) {
		ptrdiff_t found = slice_search(slice_skip(piece, at), out_written(&o));

		if (found < 0)
			return false;
		at += (size_t)found;
		if (archive_get_head(slice_skip(piece, at), h->ar, out) &&
			fits(h, h->at + at, out)) {
			*out_at = at;
			return true;
		}
	}
	return false;
}

/* The next good head behind h->at. */
static enum err search(struct archive_heads *h, struct archive_head *out)
{
	char *buf = malloc(SCAN_BYTES);
	enum err err = buf ? OK : ERR_NOMEM;
	bool found = false;

	h->at++;
	while (!err && !found) {
		size_t len = (size_t)MIN(h->end - MIN(h->end, h->at), (uint64_t)SCAN_BYTES), at = 0;

		if (len < ARCHIVE_HEAD) {
			err = ERR_NOT_FOUND;
			break;
		}
		err = file_read(h->file, buf, len, h->at, &len);
		if (!err && len < ARCHIVE_HEAD)
			err = ERR_NOT_FOUND;
		if (err)
			break;
		found = scan_piece(h, slice_of(buf, len), out, &at);
		h->at += found ? at : len - ARCHIVE_HEAD + 1;
	}
	free(buf);
	return err;
}

enum err archive_heads_next(struct archive_heads *h, struct archive_head *out, uint64_t *out_at)
{
	char buf[ARCHIVE_HEAD];
	uint64_t from = h->at;
	size_t len;

	if (h->end - MIN(h->at, h->end) < ARCHIVE_HEAD)
		return ERR_NOT_FOUND;
	enum err err = file_read(h->file, buf, sizeof(buf), h->at, &len);
	if (err)
		return err;
	if (!archive_get_head(slice_of(buf, len), h->ar, out) || !fits(h, h->at, out)) {
		err = search(h, out);
		h->skipped += (err ? h->end : h->at) - from;
		if (err)
			return err;
	}
	*out_at = h->at;
	h->at += archive_copy_bytes(out->meta_len, out->body_len);
	return OK;
}

/* --- The map --- */

struct rebuilding {
	struct archive *ar;
	struct arc_seg *segment;
	struct arc_change changes[BATCH + 1];
	uint64_t ids[BATCH];
	size_t len;
	uint64_t found;
};

static enum err write_batch(struct rebuilding *rb)
{
	archive_put_segment(&rb->changes[rb->len], rb->segment);
	enum err err = archive_change(rb->ar, rb->changes, rb->len + 1);
	rb->len = 0;
	return err;
}

static bool in_batch(const struct rebuilding *rb, uint64_t id)
{
	for (size_t i = 0; i < rb->len; i++)
		if (rb->ids[i] == id)
			return true;
	return false;
}

/* The other place of it is not named any more. */
static enum err forget(struct rebuilding *rb, const struct archive_place *old)
{
	struct arc_seg *s = archive_segment(rb->ar, old->segment);
	struct arc_change change;

	if (!s)
		return OK;
	s->live -= MIN(s->live, archive_copy_bytes(old->meta_len, old->body_len));
	archive_put_segment(&change, s);
	return archive_change(rb->ar, &change, 1);
}

static enum err take_copy(struct rebuilding *rb, const struct archive_head *head, uint64_t at)
{
	struct archive *ar = rb->ar;
	struct archive_place old,
		place = { .offset = at,
			.body_len = head->body_len,
			.segment = rb->segment->number,
			.meta_len = head->meta_len,
			.deliver_len = head->deliver_len,
			.meta_crc = head->meta_crc,
			.body_crc = head->body_crc,
			.at = head->at };
	enum err err = in_batch(rb, head->id) || rb->len == BATCH ? write_batch(rb) : OK;

	if (err)
		return err;
	bool known = archive_find(ar, head->id, &old) == OK;
	if (known && archive_verify(ar, head->id, &place) != OK)
		return OK;
	if (known)
		err = forget(rb, &old);
	rb->segment->live += archive_copy_bytes(head->meta_len, head->body_len);
	rb->ids[rb->len] = head->id;
	archive_put_blob(&rb->changes[rb->len++], head->id, &place);
	rb->found += !known;
	return err;
}

static enum err rebuild_segment(struct rebuilding *rb, uint32_t number, uint64_t *skipped)
{
	struct archive_heads h;
	struct archive_head head;
	uint64_t at;
	enum err err = archive_heads_open(&h, rb->ar, number);

	if (err)
		return err;
	rb->segment = archive_add_segment(rb->ar, number);
	if (!rb->segment)
		err = ERR_NOMEM;
	while (!err) {
		err = archive_heads_next(&h, &head, &at);
		if (err)
			break;
		rb->segment->bytes = h.at;
		err = take_copy(rb, &head, at);
	}
	file_close(h.file);
	*skipped += h.skipped;
	if (err == ERR_NOT_FOUND)
		err = OK;
	return err ? err : write_batch(rb);
}

enum err archive_rebuild(struct archive *ar, struct archive_rebuilt *out)
{
	struct rebuilding *rb = calloc(1, sizeof(*rb));
	struct arena a = { 0 };
	struct file_names names = { 0 };
	enum err err = rb ? file_list(&a, ar->path, &names) : ERR_NOMEM;

	*out = (struct archive_rebuilt){ 0 };
	for (size_t i = 0; !err && i < names.len; i++) {
		uint64_t number;

		rb->ar = ar;
		if (text_parse_uint(names.names[i], UINT32_MAX, &number) && number)
			err = rebuild_segment(rb, (uint32_t)number, &out->skipped_bytes);
	}
	if (rb)
		out->found = rb->found;
	arena_done(&a);
	free(rb);
	archive_sum_up(ar);
	return err ? err : archive_settle(ar);
}
