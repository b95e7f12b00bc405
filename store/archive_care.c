/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dropping dead copies, compacting segments, verifying.
 *
 * A segment goes only when the map names nothing in it any more: what a damaged head hides stays
 * where it is until its message has ended. Copies keep the checksums they came with, so damage
 * stays visible wherever they go. */
#include "store/archive_int.h"

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

static enum err copy_on(struct archive *ar, struct file *from, const struct archive_head *head,
	uint64_t at)
{
	struct archive_copy copy = { .id = head->id,
		.at = head->at,
		.meta_len = head->meta_len,
		.deliver_len = head->deliver_len,
		.mailbox = head->mailbox,
		.account = head->account,
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
	ar->copy.meta_crc = head->meta_crc;
	ar->copy.body_crc = head->body_crc;
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
	struct archive_heads h;
	struct archive_head head;
	uint64_t at;
	enum err err = archive_heads_open(&h, ar, number);

	h.end = err ? 0 : archive_segment(ar, number)->bytes;

	/* After a start it may be the youngest, where the next copy would go. */
	ar->emptying = number;
	while (!err) {
		err = archive_heads_next(&h, &head, &at);
		if (err || !is_place(ar, &head, number, at))
			continue;
		err = copy_on(ar, h.file, &head, at);
		uint64_t bytes = archive_copy_bytes(head.meta_len, head.body_len);
		*budget -= MIN(*budget, bytes);
	}
	file_close(h.file);
	if (err == ERR_NOT_FOUND || err == ERR_CORRUPT)
		err = OK; /* what is left tells whether it was all */
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
	archive_files_forget(ar, number);
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

	archive_files_sweep(ar);
	enum err err = drop_dead(ar, care);

	for (struct arc_seg *s; !err && (s = worst(ar)) && (budget || !s->live);) {
		uint32_t number = s->number;

		if (s->live)
			err = empty_segment(ar, number, &budget);
		s = archive_segment(ar, number);
		/* It keeps what could not be found in it; fsck tells. */
		if (!err && s->live)
			s->damaged = true;
		else if (!err)
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

static enum err read_head(struct archive *ar, const struct archive_place *place,
	struct archive_head *out)
{
	char bytes[ARCHIVE_HEAD];
	struct archive_span span = {
		.segment = place->segment, .offset = place->offset, .len = sizeof(bytes)
	};
	enum err err = archive_read(ar, span, bytes);

	if (err)
		return err;
	return archive_get_head(slice_of(bytes, sizeof(bytes)), ar, out) ? OK : ERR_CORRUPT;
}

enum err archive_owner(struct archive *ar, const struct archive_place *place,
	struct archive_owner *out)
{
	struct archive_head head;
	enum err err = read_head(ar, place, &head);

	if (!err)
		*out = (struct archive_owner){ .account = head.account, .mailbox = head.mailbox };
	return err;
}

enum err archive_verify(struct archive *ar, uint64_t id, const struct archive_place *place)
{
	struct archive_head head;
	uint32_t meta_crc = 0, body_crc = 0;
	enum err err = read_head(ar, place, &head);

	if (err)
		return err;
	if (head.id != id || head.meta_len != place->meta_len ||
		head.deliver_len != place->deliver_len || head.body_len != place->body_len)
		return ERR_CORRUPT;
	struct archive_span span = { .segment = place->segment,
		.offset = place->offset + ARCHIVE_HEAD,
		.len = head.meta_len };
	err = sum(ar, span, &meta_crc);
	span.offset += head.meta_len;
	span.len = head.body_len;
	if (!err)
		err = sum(ar, span, &body_crc);
	if (!err && (meta_crc != head.meta_crc || body_crc != head.body_crc))
		err = ERR_CORRUPT;
	return err;
}
