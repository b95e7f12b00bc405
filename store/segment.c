/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Journal segments as files: <data>/journal/slot-<number>. A slot is written full of zeros once,
 * so that later writes change no metadata and one write with RWF_DSYNC is all a batch costs. */
#include "store/segment.h"

#include "core/base/text.h"
#include "store/frame.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATH_BYTES = 1024, FILL_BYTES = 1024 * 1024 };

static bool slot_path(char path[PATH_BYTES], const struct store_options *options, uint32_t slot)
{
	return snprintf(path, PATH_BYTES, "%s/journal/slot-%08u", options->path, slot) < PATH_BYTES;
}

static unsigned open_flags(const struct store_options *options)
{
	return FILE_DIRECT | FILE_READ | (options->read_only ? 0 : FILE_WRITE);
}

static void close_slot(struct segment *s)
{
	file_close(s->reader);
	file_close(s->place);
	s->reader = s->place = NULL;
}

static enum err open_slot(const struct store_options *options, uint32_t slot, unsigned more,
	struct segment *out)
{
	char path[PATH_BYTES];
	struct file *file;

	if (!slot_path(path, options, slot))
		return ERR_INVALID;
	enum err err = file_open(path, open_flags(options) | more, &file);
	if (err)
		return err;
	*out = (struct segment){
		.home = &segment_files, .place = file, .slot = slot, .direct = file_is_direct(file)
	};
	err = file_size(file, &out->bytes);
	out->bytes -= out->bytes % FRAME_ALIGN; /* cut off by somebody: what is whole can be read */
	if (!err && out->direct) {
		err = file_open(path, FILE_READ, &file);
		if (!err)
			out->reader = file;
	}
	if (err)
		close_slot(out);
	return err;
}

static bool parse_slot(slice name, uint32_t *out)
{
	uint64_t n;

	if (!slice_starts(name, SLICE("slot-")) ||
		!text_parse_uint(slice_skip(name, 5), UINT32_MAX, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static enum err files_list(const struct segment_home *home, const struct store_options *options,
	struct segment **out, size_t *out_len)
{
	struct arena a = { 0 };
	struct file_names names;
	char path[PATH_BYTES];
	struct segment *all = NULL;
	size_t len = 0;

	snprintf(path, sizeof(path), "%s/journal", options->path);
	enum err err = file_list(&a, path, &names);
	if (err)
		goto fail;
	all = calloc(names.len + 1, sizeof(*all));
	err = all ? OK : ERR_NOMEM;
	for (size_t i = 0; !err && i < names.len; i++) {
		uint32_t slot;

		if (parse_slot(names.names[i], &slot))
			err = open_slot(options, slot, 0, &all[len++]);
	}
	if (!err) {
		*out = all;
		*out_len = len;
		arena_done(&a);
		return OK;
	}
	for (size_t i = 0; len && i < len - 1; i++)
		close_slot(&all[i]);
fail:
	free(all);
	arena_done(&a);
	return err;
}

#ifdef RP_FAULTS
/* For tests of the whole program: the disk is broken while the file that RINGPOST_BROKEN_DISK names is
 * there. Bytes may be written all the same, as with a sync that failed. */
static enum err disk(void)
{
	const char *path = getenv("RINGPOST_BROKEN_DISK");

	return path && access(path, F_OK) == 0 ? ERR_IO : OK;
}
#else
static enum err disk(void)
{
	return OK;
}
#endif

static enum err fill(struct file *file, uint64_t bytes)
{
	void *zeros = file_buffer(FILL_BYTES);
	enum err err = zeros ? OK : ERR_NOMEM;

	if (zeros)
		memset(zeros, 0, FILL_BYTES);
	for (uint64_t at = 0; !err && at < bytes; at += FILL_BYTES)
		err = file_write(file, slice_of(zeros, MIN((uint64_t)FILL_BYTES, bytes - at)), at,
			0);
	file_buffer_free(zeros);
	return err ? err : file_sync(file);
}

static enum err files_make(const struct segment_home *home, const struct store_options *options,
	uint32_t slot, struct segment *out)
{
	char path[PATH_BYTES];
	uint64_t bytes = (uint64_t)options->segment_bytes;

	if (!slot_path(path, options, slot))
		return ERR_INVALID;
	enum err err = disk();
	if (!err)
		err = open_slot(options, slot, FILE_CREATE | FILE_TRUNCATE, out);
	if (err)
		return err;
	struct file *file = out->place;
	err = file_allocate(file, bytes);
	if (!err || err == ERR_UNSUPPORTED)
		err = fill(file, bytes);
	if (!err) {
		char folder[PATH_BYTES];

		snprintf(folder, sizeof(folder), "%s/journal", options->path);
		err = file_sync_dir(folder);
	}
	if (err) {
		close_slot(out);
		/* Half a slot is no slot; if even this fails, list and recovery ignore it. */
		(void)!file_unlink(path);
		return err;
	}
	out->bytes = bytes;
	return OK;
}

static void write_done(struct file_op *fo, enum err err, size_t moved)
{
	struct segment_op *op = container_of(fo, struct segment_op, file_op);

	op->done(op, err ? err : disk());
}

static void files_append(struct worker *w, struct segment_op *op)
{
	unsigned flags = op->nosync ? 0 : FILE_DSYNC;

	if (!w) {
		op->done(op, file_write(op->segment->place, op->bytes, op->offset, flags));
		return;
	}
	op->iov = (struct iovec){ .iov_base = (void *)(uintptr_t)op->bytes.ptr,
		.iov_len = op->bytes.len };
	op->file_op = (struct file_op){ .file = op->segment->place,
		.iov = &op->iov,
		.iov_len = 1,
		.flags = flags,
		.offset = op->offset,
		.done = write_done };
	file_op_write(w, &op->file_op);
}

static enum err files_read(struct segment *s, void *buf, size_t len, uint64_t offset)
{
	return file_read(s->place, buf, len, offset, NULL);
}

/* A direct write takes what it overwrites out of the page cache, and nobody reads what is not yet
 * durable: the two ways to a slot never disagree. */
static enum err files_peek(struct segment *s, const struct iovec to[2], uint64_t offset)
{
	if (offset + to[0].iov_len + to[1].iov_len > s->bytes)
		return ERR_CORRUPT;
	return file_readv(s->reader ? s->reader : s->place, to, to[1].iov_len ? 2 : 1, offset,
		NULL);
}

static enum err files_rewrite(struct segment *s, slice bytes, uint64_t offset)
{
	return file_write(s->place, bytes, offset, FILE_DSYNC);
}

static void files_seal(struct segment *s)
{
}

static void files_drop(struct segment *s, const struct store_options *options, bool remove)
{
	char path[PATH_BYTES];

	close_slot(s);
	if (remove && slot_path(path, options, s->slot))
		(void)!file_unlink(path);
}

const struct segment_home segment_files = {
	.list = files_list,
	.make = files_make,
	.append = files_append,
	.read = files_read,
	.peek = files_peek,
	.rewrite = files_rewrite,
	.seal = files_seal,
	.drop = files_drop,
};
