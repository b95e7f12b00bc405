/* SPDX-License-Identifier: GPL-2.0-or-later */
/* History files: a position, then the record as the journal had it, again and again. */
#include "store/history.h"

#include "core/base/codec.h"
#include "core/base/text.h"
#include "core/file.h"
#include "store/frame.h"
#include "store/journal_int.h"
#include "store/store_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUFFER = 256 * 1024, NAME = 16, RECORD_MAX = 64 * 1024 };

struct keeping {
	struct file *file;
	char *buf;
	size_t len;
	uint64_t at;
	uint32_t segment;
	uint64_t last_seq;
};

static enum err flush(struct keeping *k)
{
	enum err err = k->len ? file_write(k->file, slice_of(k->buf, k->len), k->at, 0) : OK;

	k->at += k->len;
	k->len = 0;
	return err;
}

static enum err put(struct keeping *k, slice bytes)
{
	enum err err = OK;

	while (!err && bytes.len) {
		size_t n = MIN(bytes.len, BUFFER - k->len);

		memcpy(k->buf + k->len, bytes.ptr, n);
		k->len += n;
		bytes = slice_skip(bytes, n);
		if (k->len == BUFFER)
			err = flush(k);
	}
	return err;
}

static enum err keep_record(struct keeping *k, const struct journal_record *rec, slice raw)
{
	char pos[8];
	struct out o = out_fixed(pos, sizeof(pos));

	out_u64(&o, rec->pos);
	enum err err = put(k, out_written(&o));
	return err ? err : put(k, raw);
}

static enum err keep_frame(struct scan *scan, const struct frame_head *head, slice frame)
{
	struct keeping *k = scan->arg;
	struct journal_record rec;
	slice payload;
	enum err err = OK;

	if (head->seq > k->last_seq)
		return ERR_NOT_FOUND;
	for (size_t at = FRAME_HEAD; !err && frame_next(frame, &at, &rec, &payload);) {
		if (!(rec.flags & JOURNAL_INDEXED))
			continue;
		slice raw = slice_of(payload.ptr - JOURNAL_RECORD_HEAD,
			JOURNAL_RECORD_HEAD + payload.len);
		rec.pos = pos_of(k->segment, scan->last_at + rec.pos);
		err = keep_record(k, &rec, raw);
	}
	return err;
}

static enum err open_file(struct store *st, struct keeping *k, char path[STORE_PATH])
{
	char name[NAME + 16];

	snprintf(name, sizeof(name), "history/%010u", k->segment);
	if (!store_path(st, path, name))
		return ERR_INVALID;
	return file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &k->file);
}

enum err history_keep(struct store *st, uint32_t segment)
{
	struct seg *s = seg_find(st->journal, segment);
	struct keeping k = { .segment = segment, .buf = malloc(BUFFER) };
	char path[STORE_PATH], folder[STORE_PATH];

	if (!s || !k.buf) {
		free(k.buf);
		return s ? ERR_NOMEM : ERR_NOT_FOUND;
	}
	k.last_seq = s->last_seq;
	enum err err = open_file(st, &k, path);
	if (!err) {
		struct scan scan = { .segment = &s->at,
			.store_id = st->id,
			.number = segment,
			.frame = keep_frame,
			.arg = &k };

		err = journal_scan(&scan);
		err = err == ERR_NOT_FOUND ? OK : err;
	}
	if (!err)
		err = flush(&k);
	bool empty = !err && k.at == 0;
	if (!err && !empty)
		err = file_sync(k.file);
	file_close(k.file);
	free(k.buf);
	if (empty)
		return file_unlink(path);
	if (!err)
		err = store_path(st, folder, "history") ? file_sync_dir(folder) : ERR_INVALID;
	return err;
}

/* --- The files there are --- */

static enum err list(struct arena *a, const char *path, char folder[STORE_PATH],
	struct file_names *out)
{
	if (snprintf(folder, STORE_PATH, "%s/history", path) >= STORE_PATH)
		return ERR_INVALID;
	return file_list(a, folder, out);
}

enum err history_trim(const char *path, journal_pos before)
{
	char folder[STORE_PATH], file[STORE_PATH + 64];
	struct arena a = { 0 };
	struct file_names names = { 0 };
	enum err err = list(&a, path, folder, &names);

	for (size_t i = 0; !err && i < names.len; i++) {
		uint64_t segment;

		if (!text_parse_uint(names.names[i], UINT32_MAX, &segment) ||
			segment >= journal_segment_of(before))
			continue;
		snprintf(file, sizeof(file), "%s/%.*s", folder, SLICE_ARG(names.names[i]));
		err = file_unlink(file);
	}
	arena_done(&a);
	return err == ERR_NOT_FOUND ? OK : err;
}

static bool take_record(slice *in, struct journal_record *rec, slice *payload)
{
	slice rest = *in;
	uint64_t pos;

	if (!take_u64(&rest, &pos) || rest.len < JOURNAL_RECORD_HEAD ||
		!frame_get_record(rest, rec) || rec->len > rest.len - JOURNAL_RECORD_HEAD)
		return false;
	*payload = slice_sub(rest, JOURNAL_RECORD_HEAD, JOURNAL_RECORD_HEAD + rec->len);
	if (!journal_record_ok(rec, codec_crc32c(0, payload->ptr, payload->len)))
		return false;
	rec->pos = pos;
	*in = slice_skip(rest, JOURNAL_RECORD_HEAD + rec->len);
	return true;
}

static enum err read_file(struct history_read *read, const char *path)
{
	struct file *file;
	uint64_t size;
	enum err err = file_open(path, FILE_READ, &file);

	if (err)
		return err;
	err = file_size(file, &size);
	/* At most what one segment had of index records. */
	char *buf = err ? NULL : malloc((size_t)size + 1);
	if (!err)
		err = buf ? file_read(file, buf, (size_t)size, 0, NULL) : ERR_NOMEM;
	file_close(file);
	slice rest = slice_of(buf, (size_t)size);
	struct journal_record rec;
	slice payload;
	while (!err && take_record(&rest, &rec, &payload))
		err = read->each(read->arg, &rec, payload);
	if (!err && rest.len)
		read->damaged++;
	free(buf);
	return err;
}

enum err history_each(struct history_read *read)
{
	char folder[STORE_PATH], file[STORE_PATH + 64];
	struct arena a = { 0 };
	struct file_names names = { 0 };
	enum err err = list(&a, read->path, folder, &names);

	if (err == ERR_NOT_FOUND)
		err = OK;
	/* Ten digits each, so the order of names is that of segments. */
	for (size_t i = 0; !err && i < names.len; i++) {
		snprintf(file, sizeof(file), "%s/%.*s", folder, SLICE_ARG(names.names[i]));
		err = read_file(read, file);
	}
	arena_done(&a);
	return err;
}
