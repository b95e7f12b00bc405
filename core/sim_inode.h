/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim_inode.h - what one file of the simulated disk holds; for sim_disk.c, which has the names.
 *
 * Two images: what readers see, and what would survive a crash. A write goes to the first at once, and
 * stays on a list until it is synced into the second. On the heap, until nothing refers to it any
 * more; one thread. Writes and syncs fail as struct sim_config says. */
#ifndef CORE_SIM_INODE_H
#define CORE_SIM_INODE_H

#include "core/sim_int.h"

struct inode_image {
	char *bytes;
	size_t size, cap;
};

struct inode {
	struct inode_image seen, safe;
	struct list writes;         /* not yet safe */
	unsigned opens;             /* handles, and operations in flight */
	unsigned links, safe_links; /* names; those that would survive */
	bool folder;
};

struct inode *inode_new(void);
/* Frees it, if nothing refers to it. */
void inode_put(struct inode *inode);

/* Bytes read. */
int inode_read(const struct inode *inode, const struct ring_rw *rw);
/* The data is seen at once; a crash before it is synced may tear it. Bytes, ERR_IO or ERR_NOSPACE; *out_id
 * (may be NULL) names the write. */
int inode_write(struct inode *inode, const struct ring_rw *rw, uint64_t *out_id);
/* RWF_DSYNC: that write is safe, if no sync took it meanwhile. */
void inode_sync_write(struct inode *inode, uint64_t id);
/* 0 or ERR_IO, after which the writes are lost. */
int inode_sync(struct inode *inode);
/* Safe at once. */
void inode_truncate(struct inode *inode);
enum err inode_allocate(struct inode *inode, uint64_t size) must_use;
/* Each sector of what was not safe is there or not, as the seed says. */
void inode_crash(struct inode *inode);

/* Of all files: bytes seen. Behind a crash they are counted anew. */
uint64_t inode_used_bytes(void);
void inode_set_used_bytes(uint64_t bytes);

#endif
