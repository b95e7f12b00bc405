/* SPDX-License-Identifier: GPL-2.0-or-later */
/* archive_int.h - what archive.c and archive_care.c share. Nobody else includes it.
 *
 * All of struct archive but the atomics and the map's reading side is the mover's alone. */
#ifndef STORE_ARCHIVE_INT_H
#define STORE_ARCHIVE_INT_H

#include "core/base/codec.h"
#include "core/file.h"
#include "store/archive.h"
#include "store/index_map.h"
#include "store/store.h"

#include <stdatomic.h>

enum {
	ARCHIVE_PATH = 1024,
	ARCHIVE_BUFFER = 1024 * 1024,
	ARCHIVE_MAGIC = 0x52504133,
	ARCHIVE_FILES = ARCHIVE_FILES_KEPT
};

struct arc_seg {
	uint32_t number;
	uint64_t bytes, live;
	bool damaged;
};

struct arc_pending {
	struct list_link link;
	uint64_t id;
	struct archive_place place;
};

struct archive_head {
	uint64_t id, body_len, account;
	wall_ms at;
	uint32_t meta_len, meta_crc, body_crc, deliver_len, mailbox;
};

/* A segment file readers keep open. Who wants it counts himself in, then looks whether the number
 * is the one he wants; who finds nobody in may make it exclusively his and change it. */
struct arc_file {
	_Atomic uint32_t number, users;
	struct file *file;
};

struct archive {
	char path[ARCHIVE_PATH - 32];
	const struct store_options *options;
	uint64_t store_id, segment_bytes;
	struct map_env *map;
	struct arc_seg *segs; /* in order of number */
	size_t seg_count, seg_cap;
	uint32_t next_segment;

	/* The segment being written. */
	struct file *file;
	uint32_t current;
	uint32_t emptying; /* being compacted: nothing may be put there; 0: none */
	uint64_t end;      /* behind what was put */
	uint64_t buf_at;   /* of buf[0] in the file */
	char *buf;
	size_t buf_len;
	bool failed, copying, copy_damaged;
	struct archive_head copy;
	uint64_t copy_at, copy_done;
	struct list pending;
	size_t pending_count;
	uint64_t care_at; /* the blob looked at last */

	struct arc_file files[ARCHIVE_FILES];

	_Atomic uint64_t bytes, live_bytes, segments, moved_bodies, moved_bytes, reads;
};

struct keys_of_map {
	size_t len;
	char bytes[MAP_KEY_MAX];
};
struct arc_change {
	struct keys_of_map key;
	char value[MAP_VALUE_MAX];
	struct map_change change;
};

struct keys_of_map archive_blob_key(uint64_t id);
bool archive_get_place(slice in, struct archive_place *out);
bool archive_get_head(slice in, const struct archive *ar, struct archive_head *out);
uint64_t archive_copy_bytes(uint64_t meta_len, uint64_t body_len);
/* The map is whole: without this row it is none. */
enum err archive_settle(struct archive *ar) must_use;
bool archive_path(const struct archive *ar, char path[ARCHIVE_PATH], uint32_t number);
struct arc_seg *archive_segment(struct archive *ar, uint32_t number);
struct arc_seg *archive_add_segment(struct archive *ar, uint32_t number);
void archive_sum_up(struct archive *ar);
/* Rows of the map; a NULL place deletes. The change points into *c. */
void archive_put_segment(struct arc_change *c, const struct arc_seg *s);
void archive_put_blob(struct arc_change *c, uint64_t id, const struct archive_place *place);
enum err archive_change(struct archive *ar, struct arc_change *changes, size_t len);

/* --- archive_read.c: files kept open --- */
/* The segment's file was removed: give its room back as soon as nobody reads it. */
void archive_files_forget(struct archive *ar, uint32_t number);
void archive_files_sweep(struct archive *ar);
void archive_files_close(struct archive *ar);

/* --- archive_heads.c --- */
/* Copy by copy through a segment file. Where there is no good head the next one is searched, byte
 * by byte; what was passed over is counted. */
struct archive_heads {
	struct archive *ar;
	struct file *file;
	uint64_t at, end, skipped;
};
/* h->end is the file's size. */
enum err archive_heads_open(struct archive_heads *h, struct archive *ar, uint32_t number) must_use;
/* ERR_NOT_FOUND at the end. */
enum err archive_heads_next(struct archive_heads *h, struct archive_head *out,
	uint64_t *out_at) must_use;

#endif
