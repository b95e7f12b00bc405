/* SPDX-License-Identifier: GPL-2.0-or-later */
/* index_map.h - one more LMDB environment: where archived bodies are.
 *
 * Rows are short byte strings under short keys. One writer at a time (the mover), whose changes of
 * one map_write are one synced transaction; readers on any thread. */
#ifndef STORE_INDEX_MAP_H
#define STORE_INDEX_MAP_H

#include "core/base/base.h"

struct map_env;

enum { MAP_VALUE_MAX = 64, MAP_KEY_MAX = 32 };

enum err map_env_open(const char *path, bool read_only, struct map_env **out) must_use;
void map_env_close(struct map_env *m);

/* Copies up to MAP_VALUE_MAX bytes; *out_len of them. ERR_NOT_FOUND. */
enum err map_env_get(struct map_env *m, slice key, char buf[MAP_VALUE_MAX],
	size_t *out_len) must_use;

/* Changes, in order; an empty value deletes (what is not there too). */
struct map_change {
	slice key, value;
};
enum err map_env_write(struct map_env *m, const struct map_change *changes, size_t len) must_use;
struct map_row {
	size_t key_len, value_len;
	char key[MAP_KEY_MAX], value[MAP_VALUE_MAX];
};
/* In order, up to `max` rows at or behind `from` that begin with its first byte; perhaps none. */
enum err map_env_page(struct map_env *m, slice from, struct map_row *rows, size_t max,
	size_t *out_len) must_use;

#endif
