/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file.h - files of the store: real ones, or the simulated disk.
 *
 * On a fiber every call waits without blocking the worker (reads and writes by the ring, the
 * rest by a helper thread), uninterruptibly. On a thread that is no worker (a helper job, a
 * tool, the start of the program) the same calls simply block. On a worker outside a fiber
 * only the file_op form may be used. The file is the caller's from open to close; it may be
 * shared by all workers. Failures: ERR_IO, ERR_NOSPACE (also quota), ERR_NOT_FOUND,
 * ERR_EXISTS, ERR_DENIED, ERR_NOFILES, ERR_NOMEM, ERR_INVALID. After the first write or sync
 * error of a file nothing it says about its contents is to be believed. */
#ifndef CORE_FILE_H
#define CORE_FILE_H

#include "core/op.h"

#include <sys/uio.h>

struct file;
struct worker;

enum file_flags {
	FILE_READ = 1 << 0,
	FILE_WRITE = 1 << 1,
	FILE_CREATE = 1 << 2,    /* if it is not there, mode 0600 */
	FILE_EXCLUSIVE = 1 << 3, /* it must not be there */
	FILE_TRUNCATE = 1 << 4,
	/* Past the page cache when the file system can; see file_is_direct. Buffers, offsets
	 * and lengths are multiples of FILE_ALIGN then. */
	FILE_DIRECT = 1 << 5,
	FILE_DSYNC = 1 << 6, /* of one write: durable when it returns */
};
enum { FILE_ALIGN = 4096 };

enum err file_open(const char *path, unsigned flags, struct file **out) must_use;
/* Nothing of it may be in flight. NULL is harmless. */
void file_close(struct file *f);
/* False: the file system refused O_DIRECT, the file is buffered. FILE_DSYNC works all the
 * same. */
bool file_is_direct(const struct file *f);

/* At `offset`; at most 64 iovecs. A read may come short only at the end of the file; *out_len
 * may be NULL when short is an error (ERR_CORRUPT). */
enum err file_read(struct file *f, void *buf, size_t len, uint64_t offset,
	size_t *out_len) must_use;
enum err file_readv(struct file *f, const struct iovec *iov, unsigned iov_len, uint64_t offset,
	size_t *out_len) must_use;
/* A hint: these bytes are going to be read, so the disk may fetch them meanwhile. It may wait a moment, so not
 * on a worker; nothing depends on it. */
void file_expect(struct file *f, uint64_t offset, uint64_t len);
/* All of it or an error. `flags`: 0 or FILE_DSYNC. */
enum err file_write(struct file *f, slice bytes, uint64_t offset, unsigned flags) must_use;
/* fdatasync (with the size when it changed). */
enum err file_sync(struct file *f) must_use;
enum err file_size(struct file *f, uint64_t *out) must_use;
/* Give [0, size) room on the disk; the size becomes at least this. */
enum err file_allocate(struct file *f, uint64_t size) must_use;

/* Callback form, for a worker outside fibers: `done` runs on its loop, once. iov stays until
 * then and is changed by short transfers. */
struct file_op {
	struct op op;
	struct file *file;
	struct iovec *iov;
	unsigned iov_len, flags;
	uint64_t offset;
	size_t moved;
	/* `moved` bytes are there; on OK of a write that is all of them. */
	void (*done)(struct file_op *fo, enum err err, size_t moved);
};
void file_op_write(struct worker *w, struct file_op *fo);
void file_op_sync(struct worker *w, struct file_op *fo);

/* Names. A new, renamed or removed name is durable after file_sync_dir of its folder. */
enum err file_exists(const char *path) must_use; /* OK or ERR_NOT_FOUND */
enum err file_unlink(const char *path) must_use;
enum err file_rename(const char *from, const char *to) must_use;
/* A file with this content in the folder, durable, in place of an older one: never half of it, whatever
 * happens. Uses the name with ".new" behind it. ERR_INVALID: too long a path. */
enum err file_replace(const char *folder, const char *name, slice content) must_use;
enum err file_make_dir(const char *path) must_use; /* mode 0700; OK if it is there */
enum err file_sync_dir(const char *path) must_use;
/* Names in a folder, sorted, without "." and ".."; NUL-terminated slices in the arena. */
struct file_names {
	slice *names;
	size_t len;
};
enum err file_list(struct arena *a, const char *path, struct file_names *out) must_use;
/* Of the file system that holds `path`: bytes free for us, and in all. */
struct file_space {
	uint64_t free_bytes, total_bytes;
};
enum err file_space(const char *path, struct file_space *out) must_use;

/* Memory fit for FILE_DIRECT, not zeroed; NULL when there is none. Free with file_buffer_free. */
void *file_buffer(size_t bytes) must_use;
void file_buffer_free(void *buf);

#endif
