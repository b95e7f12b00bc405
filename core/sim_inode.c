/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of the simulated disk. At a crash each 512-byte sector of each write that was not synced makes it
 * or not, as the seed says: torn and reordered. */
#include "core/sim_inode.h"

#include <stdlib.h>
#include <sys/uio.h>

enum { SECTOR = 512 };

/* Written, not yet safe. */
struct unsafe {
	struct list_link link;
	uint64_t id;
	uint64_t offset;
	size_t len;
	char bytes[];
};

static uint64_t used_bytes, write_count;

/* --- Images --- */

static void image_resize(struct inode_image *image, size_t size)
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

static void image_put(struct inode_image *image, uint64_t offset, const char *bytes, size_t len)
{
	if (offset + len > image->size)
		image_resize(image, (size_t)offset + len);
	memcpy(image->bytes + offset, bytes, len);
}

static void image_copy(struct inode_image *to, const struct inode_image *from)
{
	image_resize(to, from->size);
	if (from->size)
		memcpy(to->bytes, from->bytes, from->size);
}

struct inode *inode_new(void)
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

void inode_put(struct inode *inode)
{
	if (inode->opens || inode->links || inode->safe_links)
		return;
	used_bytes -= inode->seen.size;
	drop_writes(inode);
	free(inode->seen.bytes);
	free(inode->safe.bytes);
	free(inode);
}

/* --- Writing and syncing --- */

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

void inode_sync_write(struct inode *inode, uint64_t id)
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

	return sim.config.disk_bytes == 0 || used_bytes + more <= sim.config.disk_bytes;
}

static void set_size(struct inode *inode, uint64_t size)
{
	used_bytes = used_bytes - inode->seen.size + size;
	image_resize(&inode->seen, (size_t)size);
}

static size_t iov_bytes(const struct iovec *iov, unsigned iov_len)
{
	size_t len = 0;

	for (unsigned i = 0; i < iov_len; i++)
		len += iov[i].iov_len;
	return len;
}

int inode_write(struct inode *inode, const struct ring_rw *rw, uint64_t *out_id)
{
	size_t len = iov_bytes(rw->iov, rw->iov_len);

	if (sim.crashed)
		return ERR_IO;
	if (!has_room(inode, rw->offset + len))
		return ERR_NOSPACE;
	struct unsafe *write = sim_alloc(sizeof(*write) + len);
	char *to = write->bytes;

	write->id = ++write_count;
	if (out_id)
		*out_id = write->id;
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

int inode_read(const struct inode *inode, const struct ring_rw *rw)
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

int inode_sync(struct inode *inode)
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

void inode_crash(struct inode *inode)
{
	unsigned survive = share_that_survives();

	list_each(&inode->writes, link)
		tear_write(inode, container_of(link, struct unsafe, link), survive);
	drop_writes(inode);
	image_copy(&inode->seen, &inode->safe);
}

void inode_truncate(struct inode *inode)
{
	drop_writes(inode);
	set_size(inode, 0);
	image_resize(&inode->safe, 0);
}

enum err inode_allocate(struct inode *inode, uint64_t size)
{
	if (size <= inode->seen.size)
		return OK;
	if (!has_room(inode, size))
		return ERR_NOSPACE;
	/* Sizes are safe at once, as ext4's journal nearly makes them. */
	set_size(inode, size);
	image_resize(&inode->safe, (size_t)size);
	return OK;
}

uint64_t inode_used_bytes(void)
{
	return used_bytes;
}

void inode_set_used_bytes(uint64_t bytes)
{
	used_bytes = bytes;
}
