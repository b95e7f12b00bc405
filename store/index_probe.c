/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The child opens the file for itself, without its lock file, and walks along both trees: the rows and
 * LMDB's own list of free pages. It has no other end than _exit. */
#include "store/index_probe.h"

#include "core/file.h"
#include "core/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_BYTES = 1024, SHARDS_MAX = 100, FREE_TREE = 0 };

static volatile unsigned char seen; /* so that every byte is read */

static void touch(const MDB_val *v)
{
	const unsigned char *bytes = v->mv_data;

	for (size_t i = 0; i < v->mv_size; i++)
		seen ^= bytes[i];
}

/* Keys ascend, so a tree that bites its own tail ends too. */
static bool walk(MDB_txn *txn, MDB_dbi tree)
{
	MDB_cursor *cursor;
	MDB_stat stat;
	MDB_val key, value, last = { 0 };
	size_t rows = 0;

	if (mdb_cursor_open(txn, tree, &cursor) || mdb_stat(txn, tree, &stat))
		return false;
	int rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	for (; !rc; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		touch(&key);
		touch(&value);
		if (rows++ && mdb_cmp(txn, tree, &last, &key) >= 0)
			return false;
		last = key;
	}
	return rc == MDB_NOTFOUND && rows == stat.ms_entries;
}

static bool can_be_read(const char *folder)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi rows;

	return !mdb_env_create(&env) && !mdb_env_open(env, folder, MDB_RDONLY | MDB_NOLOCK, 0) &&
		!mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) && !mdb_dbi_open(txn, NULL, 0, &rows) &&
		walk(txn, FREE_TREE) && walk(txn, rows);
}

/* What LMDB or a sanitizer says at such an end is nothing for the reader of a report. */
static void run_child(const char *folder)
{
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (nowhere >= 0)
		dup2(nowhere, STDERR_FILENO);
	_exit(can_be_read(folder) ? EXIT_SUCCESS : EXIT_FAILURE);
}

enum err index_probe_folder(const char *folder)
{
	char path[PATH_BYTES];
	int status = 0;

	if (sim_active()) /* one process, and no disk that rots */
		return OK;
	if (snprintf(path, sizeof(path), "%s/data.mdb", folder) >= PATH_BYTES)
		return ERR_INVALID;
	enum err err = file_exists(path);
	if (err)
		return err;
	pid_t child = fork();
	if (child == 0)
		run_child(folder);
	if (child < 0)
		return ERR_NOMEM;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return ERR_IO;
	return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? OK : ERR_CORRUPT;
}

enum err index_probe_shards(const char *path, unsigned *out_bad)
{
	for (unsigned i = 0; i < SHARDS_MAX; i++) {
		char folder[PATH_BYTES];

		if (snprintf(folder, sizeof(folder), "%s/%02u", path, i) >= PATH_BYTES)
			return ERR_INVALID;
		enum err err = index_probe_folder(folder);
		if (err == ERR_NOT_FOUND)
			return OK;
		if (err) {
			*out_bad = i;
			return err;
		}
	}
	return OK;
}
