/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulated disk: names, handles and calls; what a file holds is sim_inode.c's. Changes of names are
 * on a list of their own until their folder is synced; of those a prefix survives, as with a
 * journalling file system. */
#include "core/sim_inode.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE_US_MAX = 400 };

struct name {
	struct list_link link;
	char *path;
	struct inode *inode;
};

enum change_kind { NAME_ADDED, NAME_REMOVED };

struct change {
	struct list_link link;
	enum change_kind kind;
	bool more; /* a part of what the next one does: they survive together */
	char *path;
	struct inode *inode;
};

static struct {
	struct list names, safe_names, changes;
	struct inode **handles;
	size_t handle_count;
} disk;

static void disk_init(void)
{
	if (!disk.names.head.next) {
		list_init(&disk.names);
		list_init(&disk.safe_names);
		list_init(&disk.changes);
	}
}

/* --- Names --- */

static struct name *find_name(struct list *names, const char *path)
{
	list_each(names, link)
	{
		struct name *name = container_of(link, struct name, link);

		if (strcmp(name->path, path) == 0)
			return name;
	}
	return NULL;
}

static unsigned *links_of(struct list *names, struct inode *inode)
{
	return names == &disk.names ? &inode->links : &inode->safe_links;
}

static void put_name(struct list *names, const char *path, struct inode *inode)
{
	struct name *name = sim_alloc(sizeof(*name));

	name->path = strdup(path);
	name->inode = inode;
	++*links_of(names, inode);
	list_push(names, &name->link);
}

static void remove_name(struct list *names, const char *path)
{
	struct name *name = find_name(names, path);

	if (!name)
		return;
	list_remove(&name->link);
	--*links_of(names, name->inode);
	inode_put(name->inode);
	free(name->path);
	free(name);
}

static void note_change(enum change_kind kind, const char *path, struct inode *inode)
{
	struct change *change = sim_alloc(sizeof(*change));

	*change = (struct change){ .kind = kind, .path = strdup(path), .inode = inode };
	if (inode)
		inode->opens++;
	list_push(&disk.changes, &change->link);
}

static void drop_change(struct change *change)
{
	list_remove(&change->link);
	if (change->inode) {
		change->inode->opens--;
		inode_put(change->inode);
	}
	free(change->path);
	free(change);
}

/* True: the next one belongs to it. */
static bool make_change_safe(struct change *change)
{
	bool more = change->more;

	remove_name(&disk.safe_names, change->path);
	if (change->kind == NAME_ADDED)
		put_name(&disk.safe_names, change->path, change->inode);
	drop_change(change);
	return more;
}

static void add_name(const char *path, struct inode *inode)
{
	put_name(&disk.names, path, inode);
	note_change(NAME_ADDED, path, inode);
}

static void delete_name(const char *path)
{
	note_change(NAME_REMOVED, path, NULL);
	remove_name(&disk.names, path);
}

static struct inode *inode_of(int fd)
{
	size_t at = (size_t)(fd - SIM_FILES);

	must(fd >= SIM_FILES && at < disk.handle_count && disk.handles[at]);
	return disk.handles[at];
}

/* --- Operations of the ring --- */

struct disk_event {
	struct sim_event event;
	struct sim_op_ref ref;
	struct inode *inode;
	int res;
	uint64_t write_id; /* safe when it is answered; 0: none */
};

static void answer(struct sim_event *event)
{
	struct disk_event *d = container_of(event, struct disk_event, event);

	if (d->write_id && d->res >= 0)
		inode_sync_write(d->inode, d->write_id);
	d->inode->opens--;
	inode_put(d->inode);
	sim_complete(d->ref, d->res);
	free(d);
}

/* A file of the real disk, at once. */
static int real_now(const struct op *op)
{
	ssize_t n;

	if (op->kind == OP_READ)
		n = preadv(op->fd, op->ptr, (int)op->len, (off_t)op->offset);
	else if (sim.crashed)
		return ERR_IO;
	else if (op->kind == OP_WRITE)
		n = pwritev(op->fd, op->ptr, (int)op->len, (off_t)op->offset);
	else
		n = fdatasync(op->fd);
	return n < 0 ? ring_err(errno) : (int)n;
}

void sim_disk_begin(struct worker *w, struct op *op)
{
	if (op->fd < SIM_FILES) {
		sim_complete(sim_op_ref(w, op), real_now(op));
		return;
	}
	struct disk_event *d = sim_alloc(sizeof(*d));
	struct ring_rw rw = { .iov = op->ptr, .iov_len = op->len, .offset = op->offset };

	d->ref = sim_op_ref(w, op);
	d->inode = inode_of(op->fd);
	d->inode->opens++;
	d->event.fire = answer;
	if (op->kind == OP_READ) {
		d->res = inode_read(d->inode, &rw);
	} else if (op->kind == OP_WRITE) {
		uint64_t id = 0;

		d->res = inode_write(d->inode, &rw, &id);
		d->write_id = op->flags & RWF_DSYNC ? id : 0;
	} else {
		d->res = inode_sync(d->inode);
	}
	sim_at(1 + (int64_t)sim_random(WRITE_US_MAX), &d->event);
}

/* --- Calls --- */

static int new_handle(struct inode *inode)
{
	size_t at = 0;

	while (at < disk.handle_count && disk.handles[at])
		at++;
	if (at == disk.handle_count) {
		disk.handles = realloc(disk.handles, ++disk.handle_count * sizeof(*disk.handles));
		must(disk.handles);
	}
	disk.handles[at] = inode;
	inode->opens++;
	return (int)at + SIM_FILES;
}

static enum err disk_open(struct file_call *call)
{
	struct name *name = find_name(&disk.names, call->path);
	struct inode *inode = name ? name->inode : NULL;

	if (inode && call->flags & FILE_EXCLUSIVE)
		return ERR_EXISTS;
	if (!inode && !(call->flags & FILE_CREATE))
		return ERR_NOT_FOUND;
	if (inode && inode->folder)
		return ERR_DENIED;
	if (!inode) {
		inode = inode_new();
		add_name(call->path, inode);
	}
	if (call->flags & FILE_TRUNCATE)
		inode_truncate(inode);
	call->file->direct = (call->flags & FILE_DIRECT) != 0;
	call->file->fd = new_handle(inode);
	return OK;
}

static enum err disk_close(struct file_call *call)
{
	struct inode *inode = inode_of(call->file->fd);

	disk.handles[call->file->fd - SIM_FILES] = NULL;
	inode->opens--;
	inode_put(inode);
	return OK;
}

static enum err disk_rw(struct file_call *call)
{
	struct inode *inode = inode_of(call->file->fd);
	struct ring_rw rw = { .iov = call->iov, .iov_len = call->iov_len, .offset = call->offset };
	uint64_t id = 0;
	int res = call->verb == FILE_VERB_READ ? inode_read(inode, &rw) :
						 inode_write(inode, &rw, &id);

	if (res < 0)
		return (enum err)res;
	if (call->verb == FILE_VERB_WRITE && call->flags & FILE_DSYNC)
		inode_sync_write(inode, id);
	call->moved = (size_t)res;
	return OK;
}

static enum err disk_size(struct file_call *call)
{
	struct inode *inode = inode_of(call->file->fd);

	if (call->verb == FILE_VERB_ALLOCATE)
		return inode_allocate(inode, call->offset);
	call->offset = inode->seen.size;
	return OK;
}

/* The last change goes with the next: a rename is one step, whatever it replaces. */
static void join_change(void)
{
	container_of(disk.changes.head.prev, struct change, link)->more = true;
}

static enum err disk_rename(struct file_call *call)
{
	struct name *name = find_name(&disk.names, call->path);

	if (!name)
		return ERR_NOT_FOUND;
	struct inode *inode = name->inode;

	inode->opens++;
	if (find_name(&disk.names, call->to)) {
		delete_name(call->to);
		join_change();
	}
	delete_name(call->path);
	join_change();
	add_name(call->to, inode);
	inode->opens--;
	return OK;
}

static enum err disk_make_dir(struct file_call *call)
{
	struct name *name = find_name(&disk.names, call->path);

	if (name)
		return name->inode->folder ? OK : ERR_EXISTS;
	struct inode *inode = inode_new();

	inode->folder = true;
	add_name(call->path, inode);
	return OK;
}

/* The name within the folder, or NULL when it lies elsewhere. */
static const char *name_in(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	while (len > 1 && folder[len - 1] == '/')
		len--;
	if (strncmp(path, folder, len) != 0 || path[len] != '/')
		return NULL;
	return strchr(path + len + 1, '/') ? NULL : path + len + 1;
}

/* All changes up to the last one in this folder: they share one journal. */
static enum err disk_sync_dir(struct file_call *call)
{
	struct change *last = NULL;

	if (sim_count_write())
		return ERR_IO;
	list_each(&disk.changes, link)
	{
		struct change *change = container_of(link, struct change, link);

		if (name_in(change->path, call->path))
			last = change;
	}
	while (last) {
		struct change *first = container_of(list_first(&disk.changes), struct change, link);
		bool end = first == last;

		if (!make_change_safe(first) && end)
			break;
		if (end)
			last = container_of(list_first(&disk.changes), struct change, link);
	}
	return OK;
}

static int by_bytes(const void *a, const void *b)
{
	return slice_cmp(*(const slice *)a, *(const slice *)b);
}

static enum err disk_list(struct file_call *call)
{
	struct out names = out_arena(call->arena);
	size_t len = 0;

	list_each(&disk.names, link)
	{
		const char *base = name_in(container_of(link, struct name, link)->path, call->path);
		slice name = slice_str(base);

		if (!base)
			continue;
		name.ptr = arena_str(call->arena, name);
		out_bytes(&names, &name, sizeof(name));
		len++;
	}
	call->names->names = (slice *)(void *)names.buf;
	call->names->len = len;
	if (len)
		qsort(names.buf, len, sizeof(slice), by_bytes);
	return OK;
}

static enum err disk_space(struct file_call *call)
{
	uint64_t total = sim.config.disk_bytes ? sim.config.disk_bytes : 1ull << 40;

	call->space->total_bytes = total;
	call->space->free_bytes = total - MIN(total, inode_used_bytes());
	return OK;
}

/* A job runs to its end after the crash that its write began; nothing it does then may be seen. */
static bool too_late(const struct file_call *call)
{
	return sim.crashed && call->verb != FILE_VERB_READ && call->verb != FILE_VERB_CLOSE;
}

static enum err disk_call(struct file_call *call)
{
	if (too_late(call))
		return ERR_IO;
	switch (call->verb) {
	case FILE_VERB_OPEN:
		return disk_open(call);
	case FILE_VERB_CLOSE:
		return disk_close(call);
	case FILE_VERB_READ:
	case FILE_VERB_WRITE:
		return disk_rw(call);
	case FILE_VERB_SYNC:
		return (enum err)inode_sync(inode_of(call->file->fd));
	case FILE_VERB_SIZE:
	case FILE_VERB_ALLOCATE:
		return disk_size(call);
	case FILE_VERB_EXISTS:
		return find_name(&disk.names, call->path) ? OK : ERR_NOT_FOUND;
	case FILE_VERB_UNLINK:
		if (!find_name(&disk.names, call->path))
			return ERR_NOT_FOUND;
		delete_name(call->path);
		return OK;
	case FILE_VERB_RENAME:
		return disk_rename(call);
	case FILE_VERB_MAKE_DIR:
		return disk_make_dir(call);
	case FILE_VERB_SYNC_DIR:
		return disk_sync_dir(call);
	case FILE_VERB_LIST:
		return disk_list(call);
	case FILE_VERB_SPACE:
		return disk_space(call);
	}
	return ERR_INVALID;
}

static bool on_real_disk(const struct file_call *call)
{
	if (call->verb != FILE_VERB_OPEN && call->file)
		return call->file->fd < SIM_FILES;
	return sim.config.is_real && call->path && sim.config.is_real(call->path);
}

void sim_file_call(struct file_call *call)
{
	disk_init();
	if (!on_real_disk(call))
		call->err = disk_call(call);
	else if (too_late(call))
		call->err = ERR_IO;
	else
		file_call_real(call);
}

/* --- Crashes --- */

static void drop_names(struct list *names)
{
	while (!list_empty(names))
		remove_name(names, container_of(list_first(names), struct name, link)->path);
}

static uint64_t count_bytes(void)
{
	uint64_t bytes = 0;

	list_each(&disk.names, link) bytes +=
		container_of(link, struct name, link)->inode->seen.size;
	return bytes;
}

void sim_disk_crash(void)
{
	size_t changes = 0;

	disk_init();
	list_each(&disk.changes, link) changes++;
	bool more = false;

	for (uint64_t keep = sim_random(changes + 1); keep || more; keep -= keep > 0)
		more = make_change_safe(container_of(list_first(&disk.changes), struct change,
			link));
	while (!list_empty(&disk.changes))
		drop_change(container_of(list_first(&disk.changes), struct change, link));
	/* Handles and half-done operations of the dead process; a reference they held is a
	 * leak. */
	free(disk.handles);
	disk.handles = NULL;
	disk.handle_count = 0;
	list_each(&disk.safe_names, link)
	{
		struct inode *inode = container_of(link, struct name, link)->inode;

		inode_crash(inode);
		inode->opens = 0;
	}
	drop_names(&disk.names);
	list_each(&disk.safe_names, link)
	{
		struct name *name = container_of(link, struct name, link);

		put_name(&disk.names, name->path, name->inode);
	}
	inode_set_used_bytes(count_bytes());
}

void sim_disk_drop(void)
{
	disk_init();
	while (!list_empty(&disk.changes))
		drop_change(container_of(list_first(&disk.changes), struct change, link));
	drop_names(&disk.names);
	drop_names(&disk.safe_names);
	free(disk.handles);
	memset(&disk, 0, sizeof(disk));
	inode_set_used_bytes(0);
}
