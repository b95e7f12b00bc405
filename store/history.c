/* SPDX-License-Identifier: GPL-2.0-or-later */
/* History files: a position, then the record as the journal had it, again and again. */
#include "store/history.h"

#include "core/base/codec.h"
#include "core/base/text.h"
#include "core/file.h"
#include "store/frame.h"
#include "store/store_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUFFER = 256 * 1024, NAME = 16 };

struct keeping {
	struct file *file;
	char *buf;
	size_t len;
	uint64_t at;
	uint32_t segment;
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

/* Of a message what the index gets of it, under a checksum of its own. */
static enum err keep_record(void *arg, const struct journal_record *rec, slice payload)
{
	struct keeping *k = arg;
	struct journal_record kept = *rec;
	slice part = frame_index_part(rec, payload);
	char head[8 + JOURNAL_RECORD_HEAD];
	struct out o = out_fixed(head, sizeof(head));

	if (!(rec->flags & JOURNAL_INDEXED))
		return OK;
	kept.len = (uint32_t)part.len;
	kept.crc = frame_record_crc(&kept, codec_crc32c(0, part.ptr, part.len));
	out_u64(&o, rec->pos);
	frame_put_record(&o, &kept);
	enum err err = put(k, out_written(&o));
	return err ? err : put(k, part);
}

/* Under another name until it is whole: what a crash left of it is no history, and no damage, for
 * the segment is still in the journal then. */
static enum err open_file(struct store *st, struct keeping *k, char path[STORE_PATH])
{
	char name[NAME + 16];

	snprintf(name, sizeof(name), "history/%010u.new", k->segment);
	if (!store_path(st, path, name))
		return ERR_INVALID;
	return file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &k->file);
}

static enum err name_file(struct store *st, const struct keeping *k, const char *path)
{
	char name[NAME + 16], whole[STORE_PATH], folder[STORE_PATH];

	snprintf(name, sizeof(name), "history/%010u", k->segment);
	if (!store_path(st, whole, name) || !store_path(st, folder, "history"))
		return ERR_INVALID;
	enum err err = file_rename(path, whole);
	return err ? err : file_sync_dir(folder);
}

enum err history_keep(struct store *st, uint32_t segment, struct history_kept *out)
{
	struct keeping k = { .segment = segment, .buf = malloc(BUFFER) };
	struct journal_walk walk = { .segment = segment, .each = keep_record, .arg = &k };
	char path[STORE_PATH];

	if (!k.buf)
		return ERR_NOMEM;
	enum err err = open_file(st, &k, path);
	if (!err)
		err = journal_walk(st->journal, &walk);
	if (!err)
		err = flush(&k);
	bool empty = !err && k.at == 0;
	*out = (struct history_kept){ .bytes = k.at, .damaged = walk.bad_segments > 0 };
	if (!err && !empty)
		err = file_sync(k.file);
	file_close(k.file);
	free(k.buf);
	if (empty)
		return file_unlink(path);
	return err ? err : name_file(st, &k, path);
}

/* --- The files there are --- */

static enum err list(struct arena *a, const char *path, char folder[STORE_PATH],
	struct file_names *out)
{
	if (snprintf(folder, STORE_PATH, "%s/history", path) >= STORE_PATH)
		return ERR_INVALID;
	return file_list(a, folder, out);
}

/* Where the history begins stands in a file of its own, written before anything is removed. */
static enum err put_begin(const char *folder, journal_pos pos)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)pos);
	return file_replace(folder, "begin", slice_str(text));
}

enum err history_begin(const char *path, journal_pos *out)
{
	char name[STORE_PATH + 64], text[32];
	struct file *file;
	size_t len = 0;

	snprintf(name, sizeof(name), "%s/history/begin", path);
	*out = 0;
	enum err err = file_open(name, FILE_READ, &file);
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	err = file_read(file, text, sizeof(text), 0, &len);
	file_close(file);
	if (!err &&
		!text_parse_uint(slice_trim(slice_sub(slice_of(text, len), 0, len ? len - 1 : 0)),
			UINT64_MAX, out))
		err = ERR_CORRUPT;
	return err;
}

enum err history_trim(const char *path, journal_pos before)
{
	char folder[STORE_PATH], file[STORE_PATH + 64];
	struct arena a = { 0 };
	struct file_names names = { 0 };
	enum err err = list(&a, path, folder, &names);

	if (!err)
		err = put_begin(folder, before);
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

enum err history_size(const char *path, uint64_t *out)
{
	char folder[STORE_PATH], name[STORE_PATH + 64];
	struct arena a = { 0 };
	struct file_names names = { 0 };
	enum err err = list(&a, path, folder, &names);

	*out = 0;
	for (size_t i = 0; !err && i < names.len; i++) {
		struct file *file;
		uint64_t size = 0;

		snprintf(name, sizeof(name), "%s/%.*s", folder, SLICE_ARG(names.names[i]));
		err = file_open(name, FILE_READ, &file);
		if (err)
			break;
		err = file_size(file, &size);
		file_close(file);
		*out += size;
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
		uint64_t segment;

		if (!text_parse_uint(names.names[i], UINT32_MAX, &segment))
			continue;
		snprintf(file, sizeof(file), "%s/%.*s", folder, SLICE_ARG(names.names[i]));
		err = read_file(read, file);
	}
	arena_done(&a);
	return err;
}
