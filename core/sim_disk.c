/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulated disk. A file has two images: what readers see, and what would survive a crash.
 * A write goes to the first, and stays on a list until a sync takes it to the second; at a
 * crash each 512-byte sector of each write still on the list makes it or not, as the seed
 * says: torn and reordered. Names are on a list of their own until their folder is synced; of
 * those a prefix survives, as with a journalling file system. */
#include "core/sim_int.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SECTOR = 512, WRITE_US_MAX = 400 };

struct image {
	char *bytes;
	size_t size, cap;
};

/* Written, not yet safe. */
struct unsafe {
	struct list_link link;
	uint64_t id;
	uint64_t offset;
	size_t len;
	char bytes[];
};

struct inode {
	struct image seen, safe;
	struct list writes;
	unsigned opens, links, safe_links;
	bool folder;
};

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
	uint64_t used_bytes, write_count;
} disk;

static void disk_init(void)
{
	if (!disk.names.head.next) {
		list_init(&disk.names);
		list_init(&disk.safe_names);
		list_init(&disk.changes);
	}
}

/* --- Images --- */

static void image_resize(struct image *image, size_t size)
{
	if (size > image->cap) {
		size_t cap = MAX(size, image->cap * 2);

		image->bytes = realloc(image->bytes, cap);
		must(image->bytes);
		memset(image->bytes + image->cap, 0, cap - image->cap);
		image->cap = cap;
	}
	if (size < image->size)
		memset(image->bytes + size, 0, image->size - size);
	image->size = size;
}

static void image_put(struct image *image, uint64_t offset, const char *bytes, size_t len)
{
	if (offset + len > image->size)
		image_resize(image, (size_t)offset + len);
	memcpy(image->bytes + offset, bytes, len);
}

static void image_copy(struct image *to, const struct image *from)
{
	image_resize(to, from->size);
	if (from->size)
		memcpy(to->bytes, from->bytes, from->size);
}

static struct inode *inode_new(void)
{
	struct inode *inode = sim_alloc(sizeof(*inode));

	list_init(&inode->writes);
	return inode;
}

static void drop_writes(struct inode *inode)
{
	struct list_link *link;

	while ((link = list_pop(&inode->writes)))
		free(container_of(link, struct unsafe, link));
}

static void inode_put(struct inode *inode)
{
	if (inode->opens || inode->links || inode->safe_links)
		return;
	disk.used_bytes -= inode->seen.size;
	drop_writes(inode);
	free(inode->seen.bytes);
	free(inode->safe.bytes);
	free(inode);
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

/* --- Writing and syncing --- */

static struct inode *inode_of(int fd)
{
	size_t at = (size_t)(fd - SIM_FILES);

	must(fd >= SIM_FILES && at < disk.handle_count && disk.handles[at]);
	return disk.handles[at];
}

static void make_write_safe(struct inode *inode, struct unsafe *write)
{
	image_put(&inode->safe, write->offset, write->bytes, write->len);
	list_remove(&write->link);
	free(write);
}

static void tear_write(struct inode *inode, const struct unsafe *write, unsigned survive)
{
	for (size_t at = 0; at < write->len;) {
		size_t n = MIN(write->len - at, SECTOR - (size_t)((write->offset + at) % SECTOR));

		if (sim_chance(survive))
			image_put(&inode->safe, write->offset + at, write->bytes + at, n);
		at += n;
	}
}

/* Sometimes all of it made it, sometimes nothing. */
static unsigned share_that_survives(void)
{
	static const unsigned shares[] = { 0, 100, 500, 900, 1000 };

	return shares[sim_random(array_len(shares))];
}

/* What an earlier write, one that failed perhaps, left below this one is decided before it: later it
 * cannot come back. */
static void settle_below(struct inode *inode, const struct unsafe *write)
{
	list_each(&inode->writes, link)
	{
		struct unsafe *below = container_of(link, struct unsafe, link);

		if (below->id >= write->id || below->offset >= write->offset + write->len ||
			write->offset >= below->offset + below->len)
			continue;
		tear_write(inode, below, share_that_survives());
		list_remove(link);
		free(below);
	}
}

/* The write with this number, if no sync took it meanwhile. */
static void make_one_safe(struct inode *inode, uint64_t id)
{
	list_each(&inode->writes, link)
	{
		struct unsafe *write = container_of(link, struct unsafe, link);

		if (write->id == id) {
			settle_below(inode, write);
			make_write_safe(inode, write);
			return;
		}
	}
}

static void make_safe(struct inode *inode)
{
	while (!list_empty(&inode->writes))
		make_write_safe(inode,
			container_of(list_first(&inode->writes), struct unsafe, link));
	if (inode->safe.size < inode->seen.size)
		image_resize(&inode->safe, inode->seen.size);
}

static bool has_room(const struct inode *inode, uint64_t size)
{
	uint64_t more = size > inode->seen.size ? size - inode->seen.size : 0;

	return sim.config.disk_bytes == 0 || disk.used_bytes + more <= sim.config.disk_bytes;
}

static void set_size(struct inode *inode, uint64_t size)
{
	disk.used_bytes = disk.used_bytes - inode->seen.size + size;
	image_resize(&inode->seen, (size_t)size);
}

static size_t iov_bytes(const struct iovec *iov, unsigned iov_len)
{
	size_t len = 0;

	for (unsigned i = 0; i < iov_len; i++)
		len += iov[i].iov_len;
	return len;
}

/* The data is seen at once; a crash between now and the answer may tear it. */
static int write_now(struct inode *inode, const struct ring_rw *rw)
{
	size_t len = iov_bytes(rw->iov, rw->iov_len);

	if (sim.crashed)
		return ERR_IO;
	if (!has_room(inode, rw->offset + len))
		return ERR_NOSPACE;
	struct unsafe *write = sim_alloc(sizeof(*write) + len);
	char *to = write->bytes;

	write->id = ++disk.write_count;
	write->offset = rw->offset;
	write->len = len;
	for (unsigned i = 0; i < rw->iov_len; i++) {
		if (rw->iov[i].iov_len)
			memcpy(to, rw->iov[i].iov_base, rw->iov[i].iov_len);
		to += rw->iov[i].iov_len;
	}
	set_size(inode, MAX(inode->seen.size, rw->offset + len));
	image_put(&inode->seen, rw->offset, write->bytes, len);
	list_push(&inode->writes, &write->link);
	if (sim_count_write())
		return ERR_IO;
	return sim_chance(sim.config.write_fail_per_mille) ? ERR_IO : (int)len;
}

static int read_now(const struct inode *inode, const struct ring_rw *rw)
{
	uint64_t at = rw->offset;
	size_t done = 0;

	for (unsigned i = 0; i < rw->iov_len && at < inode->seen.size; i++) {
		size_t n = MIN(rw->iov[i].iov_len, (size_t)(inode->seen.size - at));

		memcpy(rw->iov[i].iov_base, inode->seen.bytes + at, n);
		at += n;
		done += n;
	}
	return (int)done;
}

static int sync_now(struct inode *inode)
{
	if (sim_count_write())
		return ERR_IO;
	if (sim_chance(sim.config.write_fail_per_mille)) {
		/* What Linux does: the pages are clean now, and lost. */
		drop_writes(inode);
		return ERR_IO;
	}
	make_safe(inode);
	return 0;
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
		make_one_safe(d->inode, d->write_id);
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
		d->res = read_now(d->inode, &rw);
	} else if (op->kind == OP_WRITE) {
		d->res = write_now(d->inode, &rw);
		d->write_id = op->flags & RWF_DSYNC ? disk.write_count : 0;
	} else {
		d->res = sync_now(d->inode);
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
	if (call->flags & FILE_TRUNCATE) {
		drop_writes(inode);
		set_size(inode, 0);
		image_resize(&inode->safe, 0);
	}
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
	int res = call->verb == FILE_VERB_READ ? read_now(inode, &rw) : write_now(inode, &rw);

	if (res < 0)
		return (enum err)res;
	if (call->verb == FILE_VERB_WRITE && call->flags & FILE_DSYNC)
		make_one_safe(inode, disk.write_count);
	call->moved = (size_t)res;
	return OK;
}

static enum err disk_size(struct file_call *call)
{
	struct inode *inode = inode_of(call->file->fd);

	if (call->verb == FILE_VERB_SIZE) {
		call->offset = inode->seen.size;
		return OK;
	}
	if (call->verb == FILE_VERB_ALLOCATE && call->offset <= inode->seen.size)
		return OK;
	if (!has_room(inode, call->offset))
		return ERR_NOSPACE;
	/* Sizes are safe at once, as ext4's journal nearly makes them. */
	set_size(inode, call->offset);
	image_resize(&inode->safe, (size_t)call->offset);
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
	call->space->free_bytes = total - MIN(total, disk.used_bytes);
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
		return (enum err)sync_now(inode_of(call->file->fd));
	case FILE_VERB_SIZE:
	case FILE_VERB_TRUNCATE:
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

static void crash_inode(struct inode *inode)
{
	unsigned survive = share_that_survives();

	list_each(&inode->writes, link)
		tear_write(inode, container_of(link, struct unsafe, link), survive);
	drop_writes(inode);
	image_copy(&inode->seen, &inode->safe);
}

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

		crash_inode(inode);
		inode->opens = 0;
	}
	drop_names(&disk.names);
	list_each(&disk.safe_names, link)
	{
		struct name *name = container_of(link, struct name, link);

		put_name(&disk.names, name->path, name->inode);
	}
	disk.used_bytes = count_bytes();
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
}
