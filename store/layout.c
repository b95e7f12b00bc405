/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The data folder: who may use it, and what it is.
 *
 *   lock               locked while a process has the store open
 *   store              "ringpost store 6", the store's id, the count of index shards
 *   rebuilding         a rebuild has begun and not ended
 *   journal/ index/ archive/ snapshot/                                                        */
#include "store/store_int.h"

#include "core/base/codec.h"
#include "core/base/text.h"
#include "core/entropy.h"
#include "core/file.h"
#include "core/sim.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { IDENTITY_BYTES = 4096, FORMAT = 7 };

#define MARK "ringpost store "

static const char *const folders[] = { "journal", "index", "archive", "history" };

bool store_path(const struct store *st, char out[STORE_PATH], const char *name)
{
	return snprintf(out, STORE_PATH, "%s/%s", st->path, name) < STORE_PATH;
}

/* A lock of the kernel's: it goes with the process. The simulation is one process. */
static enum err lock(struct store *st)
{
	char path[STORE_PATH];

	st->lock_fd = -1;
	if (sim_active())
		return OK;
	if (!store_path(st, path, "lock"))
		return ERR_INVALID;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return ERR_DENIED;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return ERR_BUSY;
	}
	st->lock_fd = fd;
	return OK;
}

/* "new" stands in it until the first opening went to its end: a crash before that leaves parts
 * that are missing, not damaged. */
static enum err write_identity(struct store *st, bool is_new)
{
	char text[IDENTITY_BYTES];

	snprintf(text, sizeof(text), MARK "%u\nid %016llx\nshards %u\n%s", FORMAT,
		(unsigned long long)st->id, st->shards, is_new ? "new\n" : "");
	return file_replace(st->path, "store", slice_str(text));
}

/* The first line is the same in all formats. */
static bool parse_format(slice *in, uint64_t *out)
{
	slice line;

	return slice_cut(in, '\n', &line) && slice_starts(line, SLICE(MARK)) &&
		text_parse_uint(slice_skip(line, sizeof(MARK) - 1), UINT32_MAX, out);
}

static bool parse_identity(struct store *st, slice in, bool *out_new)
{
	unsigned char raw[16];
	uint64_t shards;
	slice line;
	size_t len;

	if (!slice_cut(&in, '\n', &line) || !slice_starts(line, SLICE("id ")) ||
		line.len != 3 + 16 || !codec_get_hex(slice_skip(line, 3), raw, &len))
		return false;
	line = slice_of(raw, len);
	if (!take_u64(&line, &st->id) || !slice_cut(&in, '\n', &line) ||
		!slice_starts(line, SLICE("shards ")) ||
		!text_parse_uint(slice_skip(line, 7), INDEX_SHARDS_MAX, &shards) || !shards)
		return false;
	st->shards = (unsigned)shards;
	*out_new = slice_eq(in, SLICE("new\n"));
	return *out_new || !in.len;
}

static enum err load_identity(const char *folder, char text[IDENTITY_BYTES], slice *out)
{
	char path[STORE_PATH];
	struct file *file;
	size_t len;

	if (snprintf(path, sizeof(path), "%s/store", folder) >= STORE_PATH)
		return ERR_INVALID;
	enum err err = file_open(path, FILE_READ, &file);
	if (err)
		return err;
	err = file_read(file, text, IDENTITY_BYTES, 0, &len);
	file_close(file);
	*out = slice_of(text, err ? 0 : len);
	return err;
}

static enum err read_identity(struct store *st, bool *out_new)
{
	char text[IDENTITY_BYTES];
	uint64_t format;
	slice in;
	enum err err = load_identity(st->path, text, &in);

	if (err)
		return err;
	if (!parse_format(&in, &format))
		return ERR_CORRUPT;
	if (format != FORMAT)
		return ERR_UNSUPPORTED;
	return parse_identity(st, in, out_new) ? OK : ERR_CORRUPT;
}

bool store_other_format(const char *folder, char *why, size_t why_bytes)
{
	static const char *const advice[] = {
		"an older version wrote it; with that one, export the mailboxes, then import them "
		"into a new folder",
		"a newer version wrote it and is needed to read it",
	};
	char text[IDENTITY_BYTES];
	uint64_t format;
	slice in;

	if (load_identity(folder, text, &in) || !parse_format(&in, &format) || format == FORMAT)
		return false;
	snprintf(why, why_bytes, "the data folder has format %u, this version understands %u: %s",
		(unsigned)format, FORMAT, advice[format > FORMAT]);
	return true;
}

/* The identity is lost: with another one nothing of what is there could be read again. */
static bool has_journal(const struct store *st)
{
	struct arena a = { 0 };
	struct file_names names = { 0 };
	char path[STORE_PATH];
	bool has = store_path(st, path, "journal") && !file_list(&a, path, &names) && names.len;

	arena_done(&a);
	return has;
}

enum err layout_open(struct store *st, bool *out_new)
{
	char path[STORE_PATH];
	enum err err = st->opt.read_only ? OK : file_make_dir(st->path);

	if (!err)
		err = lock(st);
	if (!err)
		err = read_identity(st, out_new);
	if (err == ERR_NOT_FOUND && has_journal(st))
		return ERR_CORRUPT;
	if (st->opt.read_only || (err && err != ERR_NOT_FOUND))
		return err;
	bool is_new = err == ERR_NOT_FOUND;
	/* Nothing is made in a folder that somebody else's version wrote. */
	err = OK;
	for (size_t i = 0; !err && i < array_len(folders); i++)
		err = store_path(st, path, folders[i]) ? file_make_dir(path) : ERR_INVALID;
	if (err || !is_new)
		return err;
	*out_new = true;
	/* A secret too: nobody outside can write bytes that pass for a frame. */
	st->id = entropy_u64();
	/* Records name shards, so their count outlives the index. */
	st->shards = index_default_shards(&st->opt);
	return write_identity(st, true);
}

enum err layout_settle(struct store *st)
{
	return write_identity(st, false);
}

enum err layout_rebuilding(struct store *st, bool on)
{
	char path[STORE_PATH];
	struct file *file;

	if (!store_path(st, path, "rebuilding"))
		return ERR_INVALID;
	enum err err = on ? file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file) :
			    file_unlink(path);
	if (!err && on)
		file_close(file);
	return err ? err : file_sync_dir(st->path);
}

bool layout_is_rebuilding(const struct store *st)
{
	char path[STORE_PATH];

	return store_path(st, path, "rebuilding") && file_exists(path) == OK;
}

void layout_close(struct store *st)
{
	if (st->lock_fd >= 0)
		close(st->lock_fd);
	st->lock_fd = -1;
}
