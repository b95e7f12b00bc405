/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file_int.h - the disk behind file.h: the kernel's, or the simulated one. For the engine
 * only. */
#ifndef CORE_FILE_INT_H
#define CORE_FILE_INT_H

#include "core/file.h"

struct file {
	int fd;
	bool direct;
};

/* One request that may block; run by a helper thread, or by the caller where that is allowed. */
enum file_verb {
	FILE_VERB_OPEN,
	FILE_VERB_CLOSE,
	FILE_VERB_READ,
	FILE_VERB_WRITE,
	FILE_VERB_SYNC,
	FILE_VERB_SIZE,
	FILE_VERB_ALLOCATE,
	FILE_VERB_EXISTS,
	FILE_VERB_UNLINK,
	FILE_VERB_RENAME,
	FILE_VERB_MAKE_DIR,
	FILE_VERB_SYNC_DIR,
	FILE_VERB_LIST,
	FILE_VERB_SPACE,
};

struct file_call {
	enum file_verb verb;
	struct file *file;
	const char *path, *to;
	unsigned flags, iov_len;
	struct iovec *iov; /* OPEN, READ, WRITE: ours to change */
	uint64_t offset;   /* also sizes */
	size_t moved;
	struct arena *arena;
	struct file_names *names;
	struct file_space *space;
	enum err err;
};

/* Does the call at once, on the machine or in the simulation; the result is in call->err. */
void file_call_real(struct file_call *call);
void sim_file_call(struct file_call *call);

#endif
