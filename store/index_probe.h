/* SPDX-License-Identifier: GPL-2.0-or-later */
/* index_probe.h - can an LMDB file be read at all?
 *
 * LMDB trusts its file: where a page is missing or overwritten it may end the process (an assertion, SIGBUS,
 * SIGSEGV), and fsck must tell of just that. So a child process reads all of it before we do. For fsck
 * alone: it forks, and reads every page. The store must be locked, by its lock file. */
#ifndef STORE_INDEX_PROBE_H
#define STORE_INDEX_PROBE_H

#include "core/base/base.h"

/* `folder` has the data.mdb. ERR_NOT_FOUND: there is none. ERR_CORRUPT: not all of it can be read, or not all
 * keys are in order. */
enum err index_probe_folder(const char *folder) must_use;
/* The same of <path>/00 and so on, as many as there are; the first that is bad in `out_bad`. */
enum err index_probe_shards(const char *path, unsigned *out_bad) must_use;

#endif
