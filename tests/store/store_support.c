/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small stores, made-up messages, and a disk that fails to order. */
#include "tests/store/store_support.h"

#include <stdio.h>
#include <stdlib.h>

/* --- The faulty disk --- */

static struct disk *disk_of(const struct segment_home *home)
{
	return home->arg;
}

static enum err disk_list(const struct segment_home *home, const struct store_options *options,
	struct segment **out, size_t *out_len)
{
	enum err err = segment_files.list(&segment_files, options, out, out_len);

	for (size_t i = 0; !err && i < *out_len; i++)
		(*out)[i].home = home;
	return err;
}

static enum err disk_make(const struct segment_home *home, const struct store_options *options,
	uint32_t slot, struct segment *out)
{
	struct disk *d = disk_of(home);

	if (d->no_slots)
		return ERR_NOSPACE;
	d->slots++;
	enum err err = segment_files.make(&segment_files, options, slot, out);
	if (!err)
		out->home = home;
	return err;
}

static void disk_append(struct worker *w, struct segment_op *op)
{
	struct disk *d = disk_of(op->segment->home);

	d->writes++;
	if (!d->fail_from || d->writes < d->fail_from || d->writes >= d->fail_to) {
		segment_files.append(w, op);
		return;
	}
	d->failed = (struct disk_write){ op->segment->slot, op->offset, op->bytes.len };
	/* What a dying disk took of it: whole sectors. */
	size_t torn = MIN(d->torn_bytes, op->bytes.len) & ~(size_t)(FILE_ALIGN - 1);
	size_t from = d->torn_tail ? op->bytes.len - torn : 0;
	if (torn)
		(void)!file_write(op->segment->place, slice_sub(op->bytes, from, from + torn),
			op->offset + from, 0);
	op->done(op, d->fail_with);
}

static enum err disk_rewrite(struct segment *s, slice bytes, uint64_t offset)
{
	disk_of(s->home)->rewritten = (struct disk_write){ s->slot, offset, bytes.len };
	return segment_files.rewrite(s, bytes, offset);
}

void disk_init(struct disk *d)
{
	*d = (struct disk){ .home = segment_files, .fail_with = ERR_IO };
	d->home.arg = d;
	d->home.list = disk_list;
	d->home.make = disk_make;
	d->home.append = disk_append;
	d->home.rewrite = disk_rewrite;
}

/* --- Stores --- */

void box_make(struct box *b)
{
	memset(b, 0, sizeof(*b));
	tmpdir_make(&b->dir);
	disk_init(&b->disk);
	b->options = store_options_default();
	b->options.path = b->dir.path;
	b->options.segment_bytes = 1 << 20;
	b->options.journal_max_bytes = 16 << 20;
	b->options.cache_bytes = 4 << 20;
	b->options.map_bytes = 4 << 20;
	b->options.reserve_bytes = 0;
	b->options.shards = 2;
	b->options.home = &b->disk.home;
}

void box_open(struct box *b, const struct store_replay_ops *ops, void *arg)
{
	char why[256] = "";
	struct store_open args = {
		.options = &b->options, .ops = ops, .arg = arg, .why = why, .why_bytes = sizeof(why)
	};
	enum err err = store_open(&args, &b->st);

	if (err)
		fprintf(stderr, "# store_open: %s (%s)\n", err_text(err), why);
	must(!err);
}

void box_close(struct box *b)
{
	store_close(b->st);
	b->st = NULL;
}

void box_remove(struct box *b)
{
	store_close(b->st);
	tmpdir_remove(&b->dir);
}

static bool keep(void *arg, const struct blob_ref *ref, wall_ms at, slice meta)
{
	return true;
}

static bool keep_not(void *arg, const struct blob_ref *ref, wall_ms at, slice meta)
{
	return false;
}

const struct store_replay_ops keep_nothing = { .message = keep_not };
const struct store_replay_ops keep_all = { .message = keep };

/* --- Messages --- */

void body_bytes(unsigned seed, size_t from, char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t n = (from + i) * UINT64_C(0x9e3779b97f4a7c15) +
			seed * UINT64_C(0xd1b54a32d192ed03);

		buf[i] = (char)(n >> 56 ^ n >> 29);
	}
}

enum err put_message(struct store *st, unsigned seed, size_t size, struct blob_ref *out)
{
	struct blob_writer b = { 0 };
	char buf[8192], meta[16];
	enum err err = OK;

	blob_begin(&b, st);
	for (size_t at = 0; !err && at < size;) {
		size_t n = MIN(size - at, 1 + (seed * 31 + at) % sizeof(buf));

		body_bytes(seed, at, buf, n);
		err = blob_write_wait(&b, slice_of(buf, n));
		at += n;
	}
	if (err) {
		blob_drop(&b);
		return err;
	}
	snprintf(meta, sizeof(meta), "m%u", seed);
	struct store_message msg = {
		.meta = slice_str(meta), .body = &b, .at = 1700000000000 + seed
	};
	return store_message_append(st, &msg, out);
}

bool message_is(struct store *st, uint64_t id, unsigned seed, size_t size)
{
	struct blob_reader r;
	char have[5000], want[5000];
	size_t at = 0, n;

	if (blob_open(&r, st, id) || r.ref.size != size)
		return false;
	do {
		if (blob_read(&r, have, 1 + (at * 7 + seed) % sizeof(have), &n))
			return false;
		body_bytes(seed, at, want, n);
		if (memcmp(have, want, n) != 0)
			return false;
		at += n;
	} while (n);
	return at == size;
}
