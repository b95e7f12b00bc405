/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots: a copy of every shard under <data>/snapshot, each with the position it contains.
 *
 * Made beside the last one and put in its place by renaming, so there is a whole one at any moment
 * after the first. History older than it is dropped afterwards. */
#include "store/store_int.h"

#include "core/base/text.h"
#include "core/file.h"
#include "store/history.h"

#include <stdio.h>

static enum err remove_file(const char *folder, const char *name)
{
	char path[STORE_PATH + 64];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	enum err err = file_unlink(path);
	return err == ERR_NOT_FOUND ? OK : err;
}

/* The files of a snapshot's folders; the folders stay and are used again. */
static enum err clear(const char *folder, unsigned shards)
{
	enum err err = OK;

	for (unsigned i = 0; !err && i < shards; i++) {
		char path[STORE_PATH];

		if (snprintf(path, sizeof(path), "%s/%02u", folder, i) >= STORE_PATH)
			return ERR_INVALID;
		err = remove_file(path, "data.mdb");
		if (!err)
			err = remove_file(path, "lock.mdb");
	}
	return err;
}

static enum err sync_copies(const char *folder, unsigned shards)
{
	enum err err = OK;

	for (unsigned i = 0; !err && i < shards; i++) {
		char path[STORE_PATH + 32];
		struct file *file;

		snprintf(path, sizeof(path), "%s/%02u/data.mdb", folder, i);
		err = file_open(path, FILE_WRITE, &file);
		if (err)
			break;
		err = file_sync(file);
		file_close(file);
		snprintf(path, sizeof(path), "%s/%02u", folder, i);
		if (!err)
			err = file_sync_dir(path);
	}
	return err;
}

/* Two folders take turns; the one named in "snapshot" (a file) is whole. */
static enum err publish(struct store *st, const char *name)
{
	char text[SNAPSHOT_NAME * 2];
	snprintf(text, sizeof(text), "%s\n%lld\n", name, (long long)clock_wall());
	return file_replace(st->path, "snapshot", slice_str(text));
}

enum err snapshot_current(const char *data, char name[SNAPSHOT_NAME], wall_ms *out_at)
{
	char path[STORE_PATH], text[SNAPSHOT_NAME * 2];
	struct file *file;
	uint64_t at;
	size_t len;

	if (snprintf(path, sizeof(path), "%s/snapshot", data) >= STORE_PATH)
		return ERR_INVALID;
	enum err err = file_open(path, FILE_READ, &file);
	if (err)
		return err;
	err = file_read(file, text, sizeof(text), 0, &len);
	file_close(file);
	slice in = slice_of(text, err ? 0 : len), line = { 0 }, when = { 0 };
	if (err)
		return err;
	if (!slice_cut(&in, '\n', &line) || line.len >= SNAPSHOT_NAME ||
		!slice_cut(&in, '\n', &when) || !text_parse_uint(when, INT64_MAX, &at))
		return ERR_CORRUPT;
	snprintf(name, SNAPSHOT_NAME, "%.*s", SLICE_ARG(line));
	*out_at = (wall_ms)at;
	return OK;
}

static enum err take(struct store *st)
{
	char current[SNAPSHOT_NAME] = "", folder[STORE_PATH];
	unsigned shards = index_shard_count(st->index);
	journal_pos end = journal_durable(st->journal);
	wall_ms at;
	enum err err = snapshot_current(st->path, current, &at);

	/* One that cannot be told is replaced. */
	if (err && err != ERR_NOT_FOUND && err != ERR_CORRUPT)
		return err;
	const char *name = strcmp(current, "snapshot-a") == 0 ? "snapshot-b" : "snapshot-a";
	if (!store_path(st, folder, name))
		return ERR_INVALID;
	index_advance(st->index, end, true);
	err = end ? index_wait(st->index, end - 1, 0) : OK;
	journal_pos position = index_position(st->index);
	if (!err)
		err = file_make_dir(folder);
	if (!err)
		err = clear(folder, shards);
	if (!err)
		err = index_copy(st->index, folder);
	if (!err)
		err = sync_copies(folder, shards);
	if (!err)
		err = publish(st, name);
	if (err)
		return err;
	atomic_store(&st->last_snapshot, clock_wall());
	err = history_trim(st->path, position);
	uint64_t left = 0;
	if (!err)
		err = history_size(st->path, &left);
	if (!err)
		atomic_store(&st->history, left);
	return err;
}

enum err snapshot_take(struct store *st)
{
	enum err err;

	if (atomic_exchange(&st->snapshotting, true))
		return ERR_BUSY;
	err = take(st);
	atomic_store(&st->snapshotting, false);
	return err;
}
