/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dropping dead copies, compacting segments, and making the map again from the segments. */
#include "store/archive_int.h"

#include "core/base/text.h"

#include <stdlib.h>

enum { LOOK_PAGE = 256, PIECE = 256 * 1024 };

/* One page of the map behind `after`. */
static enum err page(struct archive *ar, uint64_t after, struct map_row *rows, size_t *out_len)
{
	struct keys_of_map from = archive_blob_key(after + 1);

	return map_env_page(ar->map, slice_of(from.bytes, from.len), rows, LOOK_PAGE, out_len);
}

static bool parse(const struct map_row *row, uint64_t *out_id, struct archive_place *out)
{
	slice key = slice_of(row->key + 1, row->key_len - 1);

	return take_u64(&key, out_id) && !key.len &&
		archive_get_place(slice_of(row->value, row->value_len), out);
}

enum err archive_each(struct archive *ar,
	bool (*each)(void *arg, uint64_t id, const struct archive_place *place), void *arg)
{
	struct map_row *rows = calloc(LOOK_PAGE, sizeof(*rows));
	uint64_t after = 0;
	size_t len = rows ? LOOK_PAGE : 0;
	enum err err = rows ? OK : ERR_NOMEM;

	while (!err && len == LOOK_PAGE) {
		err = page(ar, after, rows, &len);
		for (size_t i = 0; !err && i < len; i++) {
			struct archive_place place;

			if (!parse(&rows[i], &after, &place))
				err = ERR_CORRUPT;
			else if (!each(arg, after, &place))
				goto fail;
		}
	}
fail:
	free(rows);
	return err;
}

/* --- Dead copies --- */

static enum err drop_dead(struct archive *ar, const struct archive_care *care)
{
	struct map_row *rows = calloc(LOOK_PAGE, sizeof(*rows));
	struct arc_change *changes = calloc(LOOK_PAGE + ar->seg_count, sizeof(*changes));
	size_t len = 0, n = 0;
	enum err err = rows && changes ? page(ar, ar->care_at, rows, &len) : ERR_NOMEM;

	for (size_t i = 0; !err && i < len; i++) {
		struct archive_place place;

		if (!parse(&rows[i], &ar->care_at, &place)) {
			err = ERR_CORRUPT;
		} else if (!care->alive(care->arg, ar->care_at)) {
			struct arc_seg *s = archive_segment(ar, place.segment);

			if (s)
				s->live -= MIN(s->live,
					archive_copy_bytes(place.meta_len, place.body_len));
			archive_put_blob(&changes[n++], ar->care_at, NULL);
		}
	}
	if (len < LOOK_PAGE)
		ar->care_at = 0; /* from the begin next time */
	for (size_t i = 0; !err && n && i < ar->seg_count; i++)
		archive_put_segment(&changes[n + i], &ar->segs[i]);
	if (!err && n)
		err = archive_change(ar, changes, n + ar->seg_count);
	free(changes);
	free(rows);
	return err;
}

/* --- Compaction --- */

/* Head by head through a segment file, holes skipped by what the map says the size is. */
struct heads {
	struct archive *ar;
	struct file *file;
	uint64_t at, end;
};

static enum err open_heads(struct heads *h, struct archive *ar, uint32_t number, uint64_t end)
{
	char path[ARCHIVE_PATH];

	*h = (struct heads){ .ar = ar, .end = end };
	return archive_path(ar, path, number) ? file_open(path, FILE_READ, &h->file) : ERR_INVALID;
}

/* ERR_NOT_FOUND at the end. An abandoned copy has no head: what follows it in the file is reached
 * through the map only, so it is reported as the end here and the caller decides. */
static enum err next_head(struct heads *h, struct archive_head *out, uint64_t *out_at)
{
	char buf[ARCHIVE_HEAD];
	size_t len;

	if (h->end - h->at < ARCHIVE_HEAD)
		return ERR_NOT_FOUND;
	enum err err = file_read(h->file, buf, sizeof(buf), h->at, &len);
	if (err)
		return err;
	if (!archive_get_head(slice_of(buf, len), h->ar, out))
		return ERR_CORRUPT;
	*out_at = h->at;
	h->at += archive_copy_bytes(out->meta_len, out->body_len);
	return h->at <= h->end ? OK : ERR_CORRUPT;
}

static enum err copy_on(struct archive *ar, struct file *from, const struct archive_head *head,
	uint64_t at)
{
	struct archive_copy copy = { .id = head->id,
		.at = head->at,
		.meta_len = head->meta_len,
		.body_len = head->body_len };
	uint64_t left = archive_copy_bytes(head->meta_len, head->body_len) - ARCHIVE_HEAD;
	char *buf = malloc(PIECE);
	enum err err = buf ? archive_begin(ar, &copy) : ERR_NOMEM;

	for (at += ARCHIVE_HEAD; !err && left;) {
		size_t n = (size_t)MIN(left, (uint64_t)PIECE);

		err = file_read(from, buf, n, at, NULL);
		if (err)
			archive_abandon(ar);
		else
			err = archive_put(ar, slice_of(buf, n));
		at += n;
		left -= n;
	}
	free(buf);
	/* Damage must not be laundered into a fresh checksum. */
	if (!err && (ar->copy.meta_crc != head->meta_crc || ar->copy.body_crc != head->body_crc)) {
		archive_abandon(ar);
		return ERR_CORRUPT;
	}
	return err ? err : archive_end(ar);
}

static bool is_place(struct archive *ar, const struct archive_head *head, uint32_t number,
	uint64_t at)
{
	struct archive_place place;

	return archive_find(ar, head->id, &place) == OK && place.segment == number &&
		place.offset == at;
}

/* Everything of the segment that the map still names goes to the end of the archive. */
static enum err empty_segment(struct archive *ar, uint32_t number, uint64_t *budget)
{
	struct heads h;
	struct archive_head head;
	uint64_t at;
	enum err err = open_heads(&h, ar, number, archive_segment(ar, number)->bytes);

	/* After a start it may be the youngest, where the next copy would go. */
	ar->emptying = number;
	while (!err) {
		err = next_head(&h, &head, &at);
		if (err || !is_place(ar, &head, number, at))
			continue;
		err = copy_on(ar, h.file, &head, at);
		uint64_t bytes = archive_copy_bytes(head.meta_len, head.body_len);
		*budget -= MIN(*budget, bytes);
	}
	file_close(h.file);
	if (err == ERR_NOT_FOUND)
		err = OK;
	enum err done = archive_commit(ar);
	ar->emptying = 0;
	return err ? err : done;
}

static enum err drop_segment(struct archive *ar, uint32_t number)
{
	struct arc_change change;
	struct arc_seg *s = archive_segment(ar, number);
	char path[ARCHIVE_PATH];

	archive_put_segment(&change, s);
	change.change.value = (slice){ "", 0 };
	enum err err = archive_change(ar, &change, 1);
	if (err)
		return err;
	size_t at = (size_t)(s - ar->segs);
	memmove(s, s + 1, (ar->seg_count - at - 1) * sizeof(*s));
	ar->seg_count--;
	archive_sum_up(ar);
	return archive_path(ar, path, number) ? file_unlink(path) : ERR_INVALID;
}

static struct arc_seg *worst(struct archive *ar)
{
	struct arc_seg *best = NULL;

	for (size_t i = 0; i < ar->seg_count; i++) {
		struct arc_seg *s = &ar->segs[i];

		if (s->damaged || !s->bytes || (ar->file && s->number == ar->current))
			continue;
		if (s->live * 100 >= s->bytes * (uint64_t)ar->options->archive_live_percent)
			continue;
		if (!best || s->live < best->live)
			best = s;
	}
	return best;
}

enum err archive_compact(struct archive *ar, const struct archive_care *care)
{
	uint64_t budget = care->budget;
	enum err err = drop_dead(ar, care);

	for (struct arc_seg *s; !err && (s = worst(ar)) && (budget || !s->live);) {
		uint32_t number = s->number;

		if (s->live)
			err = empty_segment(ar, number, &budget);
		if (err == ERR_CORRUPT) {
			/* It keeps what it has; fsck tells. */
			archive_segment(ar, number)->damaged = true;
			err = OK;
			continue;
		}
		if (!err)
			err = drop_segment(ar, number);
	}
	archive_sum_up(ar);
	return err;
}

/* --- Verifying --- */

static enum err sum(struct archive *ar, struct archive_span span, uint32_t *out_crc)
{
	char *buf = malloc(PIECE);
	enum err err = buf ? OK : ERR_NOMEM;
	uint64_t left = span.len;

	*out_crc = 0;
	while (!err && left) {
		span.len = MIN(left, (uint64_t)PIECE);
		err = archive_read(ar, span, buf);
		if (!err)
			*out_crc = codec_crc32c(*out_crc, buf, span.len);
		span.offset += span.len;
		left -= span.len;
	}
	free(buf);
	return err;
}

enum err archive_verify(struct archive *ar, uint64_t id, const struct archive_place *place)
{
	char bytes[ARCHIVE_HEAD];
	struct archive_head head;
	uint32_t meta_crc = 0, body_crc = 0;
	struct archive_span span = {
		.segment = place->segment, .offset = place->offset, .len = sizeof(bytes)
	};
	enum err err = archive_read(ar, span, bytes);

	if (err)
		return err;
	if (!archive_get_head(slice_of(bytes, sizeof(bytes)), ar, &head) || head.id != id ||
		head.meta_len != place->meta_len || head.body_len != place->body_len)
		return ERR_CORRUPT;
	span.offset += ARCHIVE_HEAD;
	span.len = head.meta_len;
	err = sum(ar, span, &meta_crc);
	span.offset += head.meta_len;
	span.len = head.body_len;
	if (!err)
		err = sum(ar, span, &body_crc);
	if (!err && (meta_crc != head.meta_crc || body_crc != head.body_crc))
		err = ERR_CORRUPT;
	return err;
}

/* --- Rebuild --- */

static enum err rebuild_segment(struct archive *ar, uint32_t number, uint64_t *found)
{
	struct heads h;
	struct archive_head head;
	uint64_t at, size = 0;
	enum err err = open_heads(&h, ar, number, 0);

	if (err)
		return err;
	err = file_size(h.file, &size);
	h.end = size;
	struct arc_seg *s = archive_add_segment(ar, number);
	while (!err && s) {
		struct arc_change change;

		err = next_head(&h, &head, &at);
		if (err)
			break;
		struct archive_place place = { .offset = at,
			.body_len = head.body_len,
			.segment = number,
			.meta_len = head.meta_len,
			.meta_crc = head.meta_crc,
			.body_crc = head.body_crc,
			.at = head.at };
		s->live += archive_copy_bytes(head.meta_len, head.body_len);
		s->bytes = h.at;
		archive_put_blob(&change, head.id, &place);
		err = archive_change(ar, &change, 1);
		++*found;
	}
	file_close(h.file);
	if (!s)
		return ERR_NOMEM;
	struct arc_change change;
	archive_put_segment(&change, s);
	enum err done = archive_change(ar, &change, 1);
	return err == ERR_NOT_FOUND || err == ERR_CORRUPT ? done : err;
}

enum err archive_rebuild(struct archive *ar, uint64_t *out_found)
{
	struct arena a = { 0 };
	struct file_names names;
	enum err err = file_list(&a, ar->path, &names);

	*out_found = 0;
	for (size_t i = 0; !err && i < names.len; i++) {
		uint64_t number;

		if (text_parse_uint(names.names[i], UINT32_MAX, &number))
			err = rebuild_segment(ar, (uint32_t)number, out_found);
	}
	arena_done(&a);
	archive_sum_up(ar);
	return err;
}
