/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files. Each public function fills in a file_call; where it runs depends on who asks: reads,
 * writes and syncs of a fiber go through the ring, its other calls to a helper thread, and a
 * thread that is no worker makes the system call itself. What a fiber reads is taken from the page
 * cache at once where it is there. errno is translated here and in ring.c only. */
#include "core/file_int.h"

#include "core/job.h"
#include "core/sim.h"
#include "core/worker_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* --- The system calls --- */

static enum err last_error(void)
{
	return ring_err(errno);
}

static int open_flags(unsigned flags)
{
	int access = flags & FILE_WRITE ? flags & FILE_READ ? O_RDWR : O_WRONLY : O_RDONLY;

	return access | O_CLOEXEC | (flags & FILE_CREATE ? O_CREAT : 0) |
		(flags & FILE_EXCLUSIVE ? O_EXCL : 0) | (flags & FILE_TRUNCATE ? O_TRUNC : 0);
}

static enum err sys_open(struct file_call *call)
{
	int flags = open_flags(call->flags);
	struct file *f = call->file;

	f->direct = (call->flags & FILE_DIRECT) != 0;
	f->fd = open(call->path, flags | (f->direct ? O_DIRECT : 0), 0600);
	if (f->fd < 0 && f->direct && errno == EINVAL) {
		/* The file system has no O_DIRECT. It may have made the file before it said
		 * so. */
		f->direct = false;
		f->fd = open(call->path, flags & ~O_EXCL, 0600);
	}
	return f->fd < 0 ? last_error() : OK;
}

/* Step over `n` bytes of a vector in place. */
static void skip_iov(struct iovec **iov, unsigned *iov_len, size_t n)
{
	while (*iov_len && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		++*iov;
		--*iov_len;
	}
	if (n) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

static enum err sys_rw(struct file_call *call)
{
	bool write = call->verb == FILE_VERB_WRITE;
	int rwf = call->flags & FILE_DSYNC ? RWF_DSYNC : 0;

	while (call->iov_len) {
		off_t at = (off_t)(call->offset + call->moved);
		ssize_t n = write ?
			pwritev2(call->file->fd, call->iov, (int)call->iov_len, at, rwf) :
			preadv(call->file->fd, call->iov, (int)call->iov_len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return last_error();
		if (n == 0)
			return write ? ERR_IO : OK;
		call->moved += (size_t)n;
		skip_iov(&call->iov, &call->iov_len, (size_t)n);
	}
	return OK;
}

static enum err sys_size(struct file_call *call)
{
	struct stat st;

	if (fstat(call->file->fd, &st) != 0)
		return last_error();
	call->offset = (uint64_t)st.st_size;
	return OK;
}

static enum err sys_allocate(struct file_call *call)
{
	int number = posix_fallocate(call->file->fd, 0, (off_t)call->offset);

	return ring_err(number);
}

static enum err sys_make_dir(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return OK;
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return OK;
	return last_error();
}

static enum err sys_sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return last_error();
	enum err err = fsync(fd) == 0 ? OK : last_error();

	close(fd);
	return err;
}

static int by_bytes(const void *a, const void *b)
{
	return slice_cmp(*(const slice *)a, *(const slice *)b);
}

static enum err sys_list(struct file_call *call)
{
	DIR *dir = opendir(call->path);
	struct dirent *entry;
	struct out names = out_arena(call->arena);
	size_t len = 0;

	if (!dir)
		return last_error();
	while ((entry = readdir(dir))) {
		slice name = slice_str(entry->d_name);

		if (slice_eq(name, SLICE(".")) || slice_eq(name, SLICE("..")))
			continue;
		name.ptr = arena_str(call->arena, name);
		out_bytes(&names, &name, sizeof(name));
		len++;
	}
	closedir(dir);
	call->names->names = (slice *)(void *)names.buf;
	call->names->len = len;
	if (len)
		qsort(names.buf, len, sizeof(slice), by_bytes);
	return OK;
}

static enum err sys_space(struct file_call *call)
{
	struct statvfs st;

	if (statvfs(call->path, &st) != 0)
		return last_error();
	call->space->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	call->space->total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
	return OK;
}

static enum err checked(int result)
{
	return result == 0 ? OK : last_error();
}

static enum err sys_call(struct file_call *call)
{
	switch (call->verb) {
	case FILE_VERB_OPEN:
		return sys_open(call);
	case FILE_VERB_CLOSE:
		return checked(close(call->file->fd));
	case FILE_VERB_READ:
	case FILE_VERB_WRITE:
		return sys_rw(call);
	case FILE_VERB_SYNC:
		return checked(fdatasync(call->file->fd));
	case FILE_VERB_SIZE:
		return sys_size(call);
	case FILE_VERB_ALLOCATE:
		return sys_allocate(call);
	case FILE_VERB_EXISTS:
		return checked(access(call->path, F_OK));
	case FILE_VERB_UNLINK:
		return checked(unlink(call->path));
	case FILE_VERB_RENAME:
		return checked(rename(call->path, call->to));
	case FILE_VERB_MAKE_DIR:
		return sys_make_dir(call->path);
	case FILE_VERB_SYNC_DIR:
		return sys_sync_dir(call->path);
	case FILE_VERB_LIST:
		return sys_list(call);
	case FILE_VERB_SPACE:
		return sys_space(call);
	}
	return ERR_INVALID;
}

void file_call_real(struct file_call *call)
{
	call->err = sys_call(call);
}

static void call_now(struct file_call *call)
{
	if (sim_active())
		sim_file_call(call);
	else
		file_call_real(call);
}

/* --- Callback form --- */

static void submit(struct file_op *fo, enum op_kind kind)
{
	struct worker *w = worker_self();
	struct ring_rw rw = { .iov = fo->iov,
		.iov_len = fo->iov_len,
		.offset = fo->offset + fo->moved,
		.flags = fo->flags & FILE_DSYNC ? RWF_DSYNC : 0 };

	if (kind == OP_WRITE)
		ring_write(w, &fo->op, fo->file->fd, &rw);
	else
		ring_read(w, &fo->op, fo->file->fd, &rw);
}

static void moved(struct op *op, int res)
{
	struct file_op *fo = container_of(op, struct file_op, op);
	enum op_kind kind = (enum op_kind)op->kind;

	if (res > 0) {
		fo->moved += (size_t)res;
		skip_iov(&fo->iov, &fo->iov_len, (size_t)res);
		if (fo->iov_len == 0) {
			fo->done(fo, OK, fo->moved);
			return;
		}
	} else if (res == 0) {
		/* A read at the end of the file; a write that moved nothing will not move
		 * more. */
		fo->done(fo, kind == OP_READ ? OK : ERR_IO, fo->moved);
		return;
	} else if (res != ERR_BUSY) {
		fo->done(fo, (enum err)res, fo->moved);
		return;
	}
	submit(fo, kind);
}

static void synced(struct op *op, int res)
{
	struct file_op *fo = container_of(op, struct file_op, op);

	fo->done(fo, res < 0 ? (enum err)res : OK, 0);
}

static void op_read(struct file_op *fo)
{
	fo->op.done = moved;
	fo->moved = 0;
	submit(fo, OP_READ);
}

void file_op_write(struct worker *w, struct file_op *fo)
{
	(void)w;
	fo->op.done = moved;
	fo->moved = 0;
	submit(fo, OP_WRITE);
}

void file_op_sync(struct worker *w, struct file_op *fo)
{
	fo->op.done = synced;
	ring_fsync(w, &fo->op, fo->file->fd, true);
}

/* --- Who runs it --- */

/* The kernel takes no more of one hint than it reads ahead by itself. */
enum { EXPECT_BYTES = 128 * 1024 };

void file_expect(struct file *f, uint64_t offset, uint64_t len)
{
	if (f->direct || sim_active())
		return;
	for (uint64_t done = 0; done < len; done += EXPECT_BYTES)
		(void)posix_fadvise(f->fd, (off_t)(offset + done),
			(off_t)MIN(len - done, (uint64_t)EXPECT_BYTES), POSIX_FADV_WILLNEED);
}

/* So much of the page cache may be read in one turn; then everybody else runs once. */
enum { CACHED_MAX = 1 << 20, CACHED_CALL = 4096 };

/* True: all of it, or all there is, was in the page cache. Else the ring fetches the rest; it would try
 * the same first, but a turn of the loop later. A simulated disk has no such cache. */
static bool by_cache(struct file_call *call)
{
	struct worker *w = worker_self();

	if (call->verb != FILE_VERB_READ || call->file->direct || ring_backend == &ring_sim)
		return false;
	while (call->iov_len && w->cached_bytes < CACHED_MAX) {
		ssize_t n = preadv2(call->file->fd, call->iov, (int)call->iov_len,
			(off_t)(call->offset + call->moved), RWF_NOWAIT);

		if (n < 0)
			return false;
		w->cached_bytes += (size_t)n + CACHED_CALL;
		call->moved += (size_t)n;
		skip_iov(&call->iov, &call->iov_len, (size_t)n);
		if (n == 0)
			return true;
	}
	return call->iov_len == 0;
}

struct fiber_op {
	struct file_op fo;
	struct fiber_wait wait;
	struct file_call *call;
};

static void fiber_op_done(struct file_op *fo, enum err err, size_t bytes)
{
	struct fiber_op *op = container_of(fo, struct fiber_op, fo);

	op->call->moved += bytes;
	fiber_wake(&op->wait, err);
}

static void by_ring(struct file_call *call)
{
	struct fiber_op op = { .fo = { .file = call->file,
				       .iov = call->iov,
				       .iov_len = call->iov_len,
				       .flags = call->flags,
				       .offset = call->offset + call->moved,
				       .done = fiber_op_done },
		.call = call };

	if (call->verb == FILE_VERB_READ)
		op_read(&op.fo);
	else if (call->verb == FILE_VERB_WRITE)
		file_op_write(worker_self(), &op.fo);
	else
		file_op_sync(worker_self(), &op.fo);
	call->err = fiber_wait_through(&op.wait);
}

static void by_helper(void *arg)
{
	call_now(arg);
}

static enum err run(struct file_call *call)
{
	if (!worker_self()) {
		call_now(call);
		return call->err;
	}
	must(fiber_self());
	if (by_cache(call))
		return OK;
	if (call->verb == FILE_VERB_READ || call->verb == FILE_VERB_WRITE ||
		call->verb == FILE_VERB_SYNC)
		by_ring(call);
	else
		job_run(by_helper, call);
	return call->err;
}

/* --- The calls --- */

enum err file_open(const char *path, unsigned flags, struct file **out)
{
	struct file *f = calloc(1, sizeof(*f));
	struct file_call call = { .verb = FILE_VERB_OPEN, .path = path, .flags = flags, .file = f };

	if (!f)
		return ERR_NOMEM;
	enum err err = run(&call);

	if (err)
		free(f);
	else
		*out = f;
	return err;
}

void file_close(struct file *f)
{
	struct file_call call = { .verb = FILE_VERB_CLOSE, .file = f };

	if (!f)
		return;
	/* Closing does not wait for the disk on the file systems we know; from a callback it
	 * must not. */
	if (worker_self() && !fiber_self())
		call_now(&call);
	else
		(void)run(&call);
	free(f);
}

bool file_is_direct(const struct file *f)
{
	return f->direct;
}

enum { IOVS_MAX = 64 };

static enum err read_or_write(struct file_call *call, const struct iovec *iov)
{
	struct iovec copy[IOVS_MAX];

	/* Short transfers change the vector; the caller's is const. */
	must(call->iov_len <= IOVS_MAX);
	memcpy(copy, iov, call->iov_len * sizeof(*iov));
	call->iov = copy;
	return run(call);
}

enum err file_readv(struct file *f, const struct iovec *iov, unsigned iov_len, uint64_t offset,
	size_t *out_len)
{
	struct file_call call = {
		.verb = FILE_VERB_READ, .file = f, .iov_len = iov_len, .offset = offset
	};
	size_t want = 0;

	for (unsigned i = 0; i < iov_len; i++)
		want += iov[i].iov_len;
	enum err err = want ? read_or_write(&call, iov) : OK;

	if (err)
		return err;
	if (out_len)
		*out_len = call.moved;
	return out_len || call.moved == want ? OK : ERR_CORRUPT;
}

enum err file_read(struct file *f, void *buf, size_t len, uint64_t offset, size_t *out_len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };

	return file_readv(f, &iov, 1, offset, out_len);
}

enum err file_write(struct file *f, slice bytes, uint64_t offset, unsigned flags)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes.ptr, .iov_len = bytes.len };
	struct file_call call = {
		.verb = FILE_VERB_WRITE, .file = f, .iov_len = 1, .offset = offset, .flags = flags
	};

	return bytes.len ? read_or_write(&call, &iov) : OK;
}

enum err file_sync(struct file *f)
{
	return run(&(struct file_call){ .verb = FILE_VERB_SYNC, .file = f });
}

enum err file_size(struct file *f, uint64_t *out)
{
	struct file_call call = { .verb = FILE_VERB_SIZE, .file = f };
	enum err err = run(&call);

	if (!err)
		*out = call.offset;
	return err;
}

enum err file_allocate(struct file *f, uint64_t size)
{
	return run(&(struct file_call){ .verb = FILE_VERB_ALLOCATE, .file = f, .offset = size });
}

enum err file_exists(const char *path)
{
	return run(&(struct file_call){ .verb = FILE_VERB_EXISTS, .path = path });
}

enum err file_unlink(const char *path)
{
	return run(&(struct file_call){ .verb = FILE_VERB_UNLINK, .path = path });
}

enum err file_rename(const char *from, const char *to)
{
	return run(&(struct file_call){ .verb = FILE_VERB_RENAME, .path = from, .to = to });
}

enum { REPLACE_PATH = 1024 };

enum err file_replace(const char *folder, const char *name, slice content)
{
	char path[REPLACE_PATH], fresh[REPLACE_PATH]; /* on a small stack */
	struct file *file;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path) ||
		snprintf(fresh, sizeof(fresh), "%s.new", path) >= (int)sizeof(fresh))
		return ERR_INVALID;
	enum err err = file_open(fresh, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);
	if (err)
		return err;
	err = file_write(file, content, 0, 0);
	if (!err)
		err = file_sync(file);
	file_close(file);
	if (!err)
		err = file_rename(fresh, path);
	return err ? err : file_sync_dir(folder);
}

enum err file_make_dir(const char *path)
{
	return run(&(struct file_call){ .verb = FILE_VERB_MAKE_DIR, .path = path });
}

enum err file_sync_dir(const char *path)
{
	return run(&(struct file_call){ .verb = FILE_VERB_SYNC_DIR, .path = path });
}

enum err file_list(struct arena *a, const char *path, struct file_names *out)
{
	return run(&(struct file_call){
		.verb = FILE_VERB_LIST, .path = path, .arena = a, .names = out });
}

enum err file_space(const char *path, struct file_space *out)
{
	return run(&(struct file_call){ .verb = FILE_VERB_SPACE, .path = path, .space = out });
}

void *file_buffer(size_t bytes)
{
	return aligned_alloc(FILE_ALIGN, (bytes + FILE_ALIGN - 1) & ~(size_t)(FILE_ALIGN - 1));
}

void file_buffer_free(void *buf)
{
	free(buf);
}
