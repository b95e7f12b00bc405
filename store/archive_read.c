/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking up and reading archived bodies: any fiber of any worker, any thread.
 *
 * Some segment files stay open, each in the slot its number chooses. Nobody waits for a slot: who
 * finds it taken, or being changed, opens the file for himself. */
#include "store/archive_int.h"

enum { EXCLUSIVE = 1 << 30 };

enum err archive_find(struct archive *ar, uint64_t id, struct archive_place *out)
{
	struct keys_of_map key = archive_blob_key(id);
	char buf[MAP_VALUE_MAX];
	size_t len;
	enum err err = map_env_get(ar->map, slice_of(key.bytes, key.len), buf, &len);

	if (err)
		return err;
	return archive_get_place(slice_of(buf, len), out) ? OK : ERR_CORRUPT;
}

/* --- Open files --- */

static struct arc_file *slot_of(struct archive *ar, uint32_t number)
{
	return &ar->files[number % ARCHIVE_FILES];
}

static bool enter(struct arc_file *f, uint32_t number)
{
	uint32_t users;

	if (atomic_load_explicit(&f->number, memory_order_relaxed) != number)
		return false;
	users = atomic_fetch_add(&f->users, 1);
	if (users < EXCLUSIVE && atomic_load(&f->number) == number)
		return true;
	atomic_fetch_sub(&f->users, 1);
	return false;
}

static bool claim(struct arc_file *f)
{
	uint32_t nobody = 0;

	return atomic_compare_exchange_strong(&f->users, &nobody, (uint32_t)EXCLUSIVE);
}

static void clear(struct arc_file *f)
{
	atomic_store(&f->number, 0);
	file_close(f->file);
	f->file = NULL;
}

/* Put the file into its slot if that is free, and count us in. */
static bool keep(struct arc_file *f, uint32_t number, struct file *file)
{
	if (!claim(f))
		return false;
	clear(f);
	f->file = file;
	atomic_store(&f->number, number);
	atomic_fetch_sub(&f->users, EXCLUSIVE - 1);
	return true;
}

void archive_files_forget(struct archive *ar, uint32_t number)
{
	struct arc_file *f = slot_of(ar, number);
	uint32_t have = number;

	if (atomic_compare_exchange_strong(&f->number, &have, 0))
		archive_files_sweep(ar);
}

void archive_files_sweep(struct archive *ar)
{
	for (size_t i = 0; i < ARCHIVE_FILES; i++) {
		struct arc_file *f = &ar->files[i];

		if (atomic_load(&f->number) || !claim(f))
			continue;
		if (!atomic_load(&f->number))
			clear(f);
		atomic_fetch_sub(&f->users, EXCLUSIVE);
	}
}

void archive_files_close(struct archive *ar)
{
	for (size_t i = 0; i < ARCHIVE_FILES; i++)
		clear(&ar->files[i]);
}

/* --- Reading --- */

static enum err open_file(struct archive *ar, uint32_t number, struct file **out)
{
	char path[ARCHIVE_PATH];

	return archive_path(ar, path, number) ? file_open(path, FILE_READ, out) : ERR_INVALID;
}

/* Opened, and perhaps kept in its slot; ended by let_go. */
struct using
{
	struct arc_file *slot;
	struct file *file;
	bool kept;
};

static enum err use(struct archive *ar, uint32_t number, struct using *out)
{
	struct arc_file *f = slot_of(ar, number);
	enum err err = OK;

	*out = (struct using){ .slot = f, .kept = enter(f, number) };
	if (!out->kept) {
		err = open_file(ar, number, &out->file);
		if (err)
			return err;
		out->kept = keep(f, number, out->file);
	}
	if (out->kept)
		out->file = f->file;
	return OK;
}

static void let_go(struct using *u)
{
	if (u->kept)
		atomic_fetch_sub(&u->slot->users, 1);
	else
		file_close(u->file);
}

enum err archive_read(struct archive *ar, struct archive_span span, void *buf)
{
	struct using u;
	enum err err = use(ar, span.segment, &u);

	if (err)
		return err;
	atomic_fetch_add(&ar->reads, 1);
	if (span.len)
		err = file_read(u.file, buf, span.len, span.offset, NULL);
	let_go(&u);
	return err;
}

void archive_expect(struct archive *ar, struct archive_span span)
{
	struct using u;

	if (use(ar, span.segment, &u))
		return;
	file_expect(u.file, span.offset, span.len);
	let_go(&u);
}
