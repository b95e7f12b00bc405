/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Archive segments: <data>/archive/<number>, copies one behind the other.
 *
 * Bytes go out through one large buffer; places are remembered until archive_commit synced the file
 * and wrote them to the map, together with each segment's size and live bytes. What lies in a file
 * beyond the size the map knows is the remains of a crash and is written over. */
#include "store/archive.h"

#include "store/archive_int.h"
#include "store/index.h"

#include <stdio.h>
#include <stdlib.h>

/* --- Layouts --- */

static void put_head(struct out *o, const struct archive *ar, const struct archive_head *h)
{
	struct out crc_at = *o;

	out_u32(o, ARCHIVE_MAGIC);
	out_u32(o, 0);
	out_u64(o, ar->store_id);
	out_u64(o, h->id);
	out_u64(o, (uint64_t)h->at);
	out_u64(o, h->body_len);
	out_u32(o, h->meta_len);
	out_u32(o, h->meta_crc);
	out_u32(o, h->body_crc);
	out_u32(o, h->deliver_len);
	out_u32(o, h->mailbox);
	out_u64(o, h->account);
	out_fill(o, 0, ARCHIVE_HEAD - 68);
	must(out_ok(o));
	crc_at.len += 4;
	out_u32(&crc_at, codec_crc32c(0, o->buf + 8, ARCHIVE_HEAD - 8));
}

bool archive_get_head(slice in, const struct archive *ar, struct archive_head *out)
{
	uint32_t magic, crc;
	uint64_t store_id, at;
	struct archive_head h = { 0 };
	slice all = in;

	if (in.len < ARCHIVE_HEAD || !take_u32(&in, &magic) || !take_u32(&in, &crc) ||
		!take_u64(&in, &store_id) || !take_u64(&in, &h.id) || !take_u64(&in, &at) ||
		!take_u64(&in, &h.body_len) || !take_u32(&in, &h.meta_len) ||
		!take_u32(&in, &h.meta_crc) || !take_u32(&in, &h.body_crc) ||
		!take_u32(&in, &h.deliver_len) || !take_u32(&in, &h.mailbox) ||
		!take_u64(&in, &h.account))
		return false;
	if (magic != ARCHIVE_MAGIC || store_id != ar->store_id ||
		crc != codec_crc32c(0, all.ptr + 8, ARCHIVE_HEAD - 8) || h.deliver_len > h.meta_len)
		return false;
	h.at = (wall_ms)at;
	*out = h;
	return true;
}

uint64_t archive_copy_bytes(uint64_t meta_len, uint64_t body_len)
{
	return ARCHIVE_HEAD + meta_len + body_len;
}

static void put_place(struct out *o, const struct archive_place *p)
{
	out_u32(o, p->segment);
	out_u64(o, p->offset);
	out_u64(o, p->body_len);
	out_u32(o, p->meta_len);
	out_u32(o, p->meta_crc);
	out_u32(o, p->body_crc);
	out_u64(o, (uint64_t)p->at);
	out_u32(o, p->deliver_len);
}

bool archive_get_place(slice in, struct archive_place *out)
{
	struct archive_place p;
	uint64_t at;

	if (!take_u32(&in, &p.segment) || !take_u64(&in, &p.offset) ||
		!take_u64(&in, &p.body_len) || !take_u32(&in, &p.meta_len) ||
		!take_u32(&in, &p.meta_crc) || !take_u32(&in, &p.body_crc) || !take_u64(&in, &at) ||
		!take_u32(&in, &p.deliver_len) || in.len || p.deliver_len > p.meta_len)
		return false;
	p.at = (wall_ms)at;
	*out = p;
	return true;
}

struct keys_of_map archive_blob_key(uint64_t id)
{
	struct keys_of_map k;
	struct out o = out_fixed(k.bytes, sizeof(k.bytes));

	out_u8(&o, 'b');
	out_u64(&o, id);
	k.len = o.len;
	return k;
}

static struct keys_of_map segment_key(uint32_t number)
{
	struct keys_of_map k;
	struct out o = out_fixed(k.bytes, sizeof(k.bytes));

	out_u8(&o, 's');
	out_u32(&o, number);
	k.len = o.len;
	return k;
}

bool archive_path(const struct archive *ar, char path[ARCHIVE_PATH], uint32_t number)
{
	return snprintf(path, ARCHIVE_PATH, "%s/%08u", ar->path, number) < ARCHIVE_PATH;
}

/* --- Opening --- */

struct arc_seg *archive_segment(struct archive *ar, uint32_t number)
{
	for (size_t i = 0; i < ar->seg_count; i++)
		if (ar->segs[i].number == number)
			return &ar->segs[i];
	return NULL;
}

struct arc_seg *archive_add_segment(struct archive *ar, uint32_t number)
{
	if (ar->seg_count == ar->seg_cap) {
		size_t cap = MAX((size_t)64, ar->seg_cap * 2);
		struct arc_seg *segs = realloc(ar->segs, cap * sizeof(*segs));

		if (!segs)
			return NULL;
		ar->segs = segs;
		ar->seg_cap = cap;
	}
	struct arc_seg *s = &ar->segs[ar->seg_count++];
	*s = (struct arc_seg){ .number = number };
	ar->next_segment = MAX(ar->next_segment, number + 1);
	return s;
}

void archive_sum_up(struct archive *ar)
{
	uint64_t bytes = 0, live = 0;

	for (size_t i = 0; i < ar->seg_count; i++) {
		bytes += ar->segs[i].bytes;
		live += ar->segs[i].live;
	}
	atomic_store(&ar->bytes, bytes);
	atomic_store(&ar->live_bytes, live);
	atomic_store(&ar->segments, ar->seg_count);
}

static enum err load_segments(struct archive *ar)
{
	struct map_row rows[64];
	char from[MAP_KEY_MAX + 1] = "s";
	size_t len = 1, n;

	do {
		enum err err =
			map_env_page(ar->map, slice_of(from, len), rows, array_len(rows), &n);

		if (err)
			return err;
		for (size_t i = 0; i < n; i++) {
			slice key = slice_of(rows[i].key + 1, rows[i].key_len - 1);
			slice value = slice_of(rows[i].value, rows[i].value_len);
			uint32_t number;
			struct arc_seg s = { 0 };

			if (!take_u32(&key, &number) || !take_u64(&value, &s.bytes) ||
				!take_u64(&value, &s.live))
				return ERR_CORRUPT;
			struct arc_seg *to = archive_add_segment(ar, number);
			if (!to)
				return ERR_NOMEM;
			to->bytes = s.bytes;
			to->live = s.live;
		}
		if (n) {
			memcpy(from, rows[n - 1].key, rows[n - 1].key_len);
			len = rows[n - 1].key_len;
			from[len++] = 0;
		}
	} while (n == array_len(rows));
	archive_sum_up(ar);
	return OK;
}

enum err archive_settle(struct archive *ar)
{
	struct map_change change = { SLICE("made"), SLICE("1") };

	return map_env_write(ar->map, &change, 1);
}

static enum err look_settled(struct archive *ar)
{
	char buf[MAP_VALUE_MAX];
	size_t len;

	return map_env_get(ar->map, SLICE("made"), buf, &len);
}

enum err archive_open(const struct archive_open *args, struct archive **out)
{
	struct archive *ar = calloc(1, sizeof(*ar));
	char path[ARCHIVE_PATH];

	if (!ar)
		return ERR_NOMEM;
	ar->options = args->options;
	ar->store_id = args->store_id;
	ar->segment_bytes =
		args->segment_bytes ? args->segment_bytes : (uint64_t)ARCHIVE_SEGMENT_BYTES;
	ar->next_segment = 1;
	list_init(&ar->pending);
	snprintf(ar->path, sizeof(ar->path), "%s", args->path);
	enum err err = snprintf(path, sizeof(path), "%s/map", args->path) < ARCHIVE_PATH ?
		OK :
		ERR_INVALID;
	if (!err && args->create)
		err = index_make_dir(path);
	if (!err)
		err = map_env_open(path, args->options->read_only, &ar->map);
	if (!err && args->create && !args->rebuild)
		err = archive_settle(ar);
	if (!err && !args->create)
		err = look_settled(ar);
	if (!err)
		err = load_segments(ar);
	if (err == ERR_NOT_FOUND)
		err = ERR_CORRUPT;
	if (err) {
		archive_close(ar);
		return err;
	}
	*out = ar;
	return OK;
}

static void forget_pending(struct archive *ar)
{
	for (struct list_link *link; (link = list_pop(&ar->pending));)
		free(container_of(link, struct arc_pending, link));
	ar->pending_count = 0;
}

void archive_close(struct archive *ar)
{
	if (!ar)
		return;
	forget_pending(ar);
	archive_files_close(ar);
	file_close(ar->file);
	file_buffer_free(ar->buf);
	map_env_close(ar->map);
	free(ar->segs);
	free(ar);
}

void archive_abandon_all(struct archive *ar)
{
	map_env_close(ar->map);
}

/* --- Copying --- */

static enum err open_segment(struct archive *ar)
{
	struct arc_seg *s = ar->seg_count ? &ar->segs[ar->seg_count - 1] : NULL;
	char path[ARCHIVE_PATH];

	if (!ar->buf)
		ar->buf = file_buffer(ARCHIVE_BUFFER);
	if (!ar->buf)
		return ERR_NOMEM;
	if (!s || ar->failed || s->number == ar->emptying || s->number + 1 != ar->next_segment ||
		s->bytes >= ar->segment_bytes)
		s = archive_add_segment(ar, ar->next_segment);
	if (!s || !archive_path(ar, path, s->number))
		return s ? ERR_INVALID : ERR_NOMEM;
	enum err err = file_open(path, FILE_WRITE | FILE_CREATE, &ar->file);
	if (!err)
		err = file_sync_dir(ar->path);
	ar->failed = false;
	ar->current = s->number;
	ar->end = s->bytes;
	ar->buf_at = s->bytes;
	ar->buf_len = 0;
	return err;
}

static enum err flush(struct archive *ar)
{
	enum err err = ar->buf_len ?
		file_write(ar->file, slice_of(ar->buf, ar->buf_len), ar->buf_at, 0) :
		OK;

	ar->buf_at += ar->buf_len;
	ar->buf_len = 0;
	return err;
}

/* The file is not to be trusted any more; what was not committed is copied again elsewhere. */
static enum err fail(struct archive *ar, enum err err)
{
	forget_pending(ar);
	file_close(ar->file);
	ar->file = NULL;
	ar->failed = true;
	ar->copying = false;
	return err;
}

static enum err put_raw(struct archive *ar, slice bytes)
{
	while (bytes.len) {
		size_t n = MIN(bytes.len, ARCHIVE_BUFFER - ar->buf_len);

		memcpy(ar->buf + ar->buf_len, bytes.ptr, n);
		ar->buf_len += n;
		ar->end += n;
		bytes = slice_skip(bytes, n);
		if (ar->buf_len == ARCHIVE_BUFFER) {
			enum err err = flush(ar);

			if (err)
				return fail(ar, err);
		}
	}
	return OK;
}

enum err archive_begin(struct archive *ar, const struct archive_copy *copy)
{
	static const char zeros[ARCHIVE_HEAD];
	enum err err = OK;

	must(!ar->copying);
	if (ar->file && ar->end >= ar->segment_bytes) {
		err = archive_commit(ar);
		file_close(ar->file);
		ar->file = NULL;
	}
	if (!err && !ar->file)
		err = open_segment(ar);
	if (err)
		return fail(ar, err);
	ar->copy = (struct archive_head){ .id = copy->id,
		.at = copy->at,
		.meta_len = copy->meta_len,
		.deliver_len = copy->deliver_len,
		.mailbox = copy->mailbox,
		.account = copy->account,
		.body_len = copy->body_len };
	ar->copy_at = ar->end;
	ar->copy_done = 0;
	ar->copy_damaged = copy->damaged;
	ar->copying = true;
	/* The head comes last, when the checksums are known. */
	err = put_raw(ar, slice_of(zeros, sizeof(zeros)));
	return err;
}

enum err archive_put(struct archive *ar, slice bytes)
{
	struct archive_head *h = &ar->copy;
	size_t meta = 0;

	must(ar->copying);
	if (ar->copy_done < h->meta_len) {
		meta = (size_t)MIN((uint64_t)bytes.len, h->meta_len - ar->copy_done);
		h->meta_crc = codec_crc32c(h->meta_crc, bytes.ptr, meta);
	}
	h->body_crc = codec_crc32c(h->body_crc, bytes.ptr + meta, bytes.len - meta);
	ar->copy_done += bytes.len;
	return put_raw(ar, bytes);
}

static enum err write_head(struct archive *ar)
{
	char head[ARCHIVE_HEAD];
	struct out o = out_fixed(head, sizeof(head));

	put_head(&o, ar, &ar->copy);
	if (ar->copy_at >= ar->buf_at) {
		memcpy(ar->buf + (ar->copy_at - ar->buf_at), head, sizeof(head));
		return OK;
	}
	/* It has left the buffer, or part of it. */
	enum err err = flush(ar);
	return err ? err : file_write(ar->file, slice_of(head, sizeof(head)), ar->copy_at, 0);
}

enum err archive_end(struct archive *ar)
{
	struct arc_pending *p = calloc(1, sizeof(*p));

	must(ar->copying && ar->copy_done == ar->copy.meta_len + ar->copy.body_len);
	/* The sum that its bytes do not have: readers and fsck find it wrong, for ever. */
	if (ar->copy_damaged)
		ar->copy.body_crc = ~ar->copy.body_crc;
	enum err err = p ? write_head(ar) : ERR_NOMEM;
	if (err) {
		free(p);
		return fail(ar, err);
	}
	ar->copying = false;
	p->id = ar->copy.id;
	p->place = (struct archive_place){ .offset = ar->copy_at,
		.body_len = ar->copy.body_len,
		.segment = ar->current,
		.meta_len = ar->copy.meta_len,
		.deliver_len = ar->copy.deliver_len,
		.meta_crc = ar->copy.meta_crc,
		.body_crc = ar->copy.body_crc,
		.at = ar->copy.at };
	list_push(&ar->pending, &p->link);
	ar->pending_count++;
	return OK;
}

void archive_abandon(struct archive *ar)
{
	if (!ar->copying)
		return; /* the archive itself failed */
	/* The next copy is written over it. */
	ar->copying = false;
	ar->end = ar->copy_at;
	if (ar->copy_at >= ar->buf_at) {
		ar->buf_len = (size_t)(ar->copy_at - ar->buf_at);
	} else {
		ar->buf_at = ar->copy_at;
		ar->buf_len = 0;
	}
}

/* --- Committing --- */

void archive_put_segment(struct arc_change *c, const struct arc_seg *s)
{
	struct out o = out_fixed(c->value, sizeof(c->value));

	c->key = segment_key(s->number);
	out_u64(&o, s->bytes);
	out_u64(&o, s->live);
	c->change = (struct map_change){ slice_of(c->key.bytes, c->key.len), out_written(&o) };
}

void archive_put_blob(struct arc_change *c, uint64_t id, const struct archive_place *place)
{
	struct out o = out_fixed(c->value, sizeof(c->value));

	c->key = archive_blob_key(id);
	if (place)
		put_place(&o, place);
	c->change = (struct map_change){ slice_of(c->key.bytes, c->key.len), out_written(&o) };
}

enum err archive_change(struct archive *ar, struct arc_change *changes, size_t len)
{
	struct map_change *flat = calloc(len + 1, sizeof(*flat));

	if (!flat)
		return ERR_NOMEM;
	for (size_t i = 0; i < len; i++)
		flat[i] = changes[i].change;
	enum err err = map_env_write(ar->map, flat, len);
	free(flat);
	return err;
}

/* A blob that was here already (compaction) stops being live where it was. */
static void move_live(struct archive *ar, const struct arc_pending *p)
{
	struct archive_place old;
	struct arc_seg *s;
	uint64_t bytes = archive_copy_bytes(p->place.meta_len, p->place.body_len);

	if (archive_find(ar, p->id, &old) == OK) {
		s = archive_segment(ar, old.segment);
		if (s)
			s->live -= MIN(s->live, bytes);
	}
	s = archive_segment(ar, p->place.segment);
	s->live += bytes;
	atomic_fetch_add(&ar->moved_bodies, 1);
	atomic_fetch_add(&ar->moved_bytes, bytes);
}

enum err archive_commit(struct archive *ar)
{
	must(!ar->copying);
	if (!ar->file || list_empty(&ar->pending))
		return OK;
	enum err err = flush(ar);
	if (!err)
		err = file_sync(ar->file);
	if (err)
		return fail(ar, err);
	struct arc_change *changes = calloc(ar->pending_count + ar->seg_count, sizeof(*changes));
	size_t n = 0;
	if (!changes)
		return fail(ar, ERR_NOMEM);
	archive_segment(ar, ar->current)->bytes = ar->end;
	list_each(&ar->pending, link)
	{
		struct arc_pending *p = container_of(link, struct arc_pending, link);

		move_live(ar, p);
		archive_put_blob(&changes[n++], p->id, &p->place);
	}
	for (size_t i = 0; i < ar->seg_count; i++)
		archive_put_segment(&changes[n++], &ar->segs[i]);
	err = archive_change(ar, changes, n);
	free(changes);
	if (err)
		return fail(ar, err);
	forget_pending(ar);
	archive_sum_up(ar);
	return OK;
}

void archive_stats(const struct archive *ar, struct archive_stats *out)
{
	*out = (struct archive_stats){ .segments = atomic_load(&ar->segments),
		.bytes = atomic_load(&ar->bytes),
		.live_bytes = atomic_load(&ar->live_bytes),
		.moved_bodies = atomic_load(&ar->moved_bodies),
		.moved_bytes = atomic_load(&ar->moved_bytes),
		.reads = atomic_load(&ar->reads) };
}
