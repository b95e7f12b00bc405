/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding rows of the directory on the mail path: a cache per worker, no lock, no wait.
 *
 * An entry is believed while the directory's generation is the one it was read in. Entries, also of
 * names that are not there, are in order of use and the least recently used go first; what was
 * replaced goes the same way, so a pointer just handed out stays good until its fiber waits. */
#include "store/account_int.h"

#include "core/base/map.h"
#include "core/entropy.h"

#include <stdlib.h>

enum { CACHE_BYTES = 8 * 1024 * 1024, ENTRY_COST = 512, KEEP_LAST = 64 };

struct cached {
	struct map_link map_link;
	struct list_link use; /* least recently used first */
	struct arena arena;
	uint64_t generation;
	slice key;
	bool in_map, there;
	union {
		struct domain domain;
		struct account account;
		struct alias alias;
		struct {
			struct domain_key *rows;
			size_t len;
		} keys;
	};
};

struct cache {
	struct map map;
	struct list use;
	size_t bytes, count;
};

struct accounts {
	struct map_seed seed;
	struct cache caches[WORKERS_MAX + 1];
};

enum err accounts_new(struct store *st)
{
	struct accounts *all = calloc(1, sizeof(*all));

	if (!all)
		return ERR_NOMEM;
	entropy_fill(&all->seed, sizeof(all->seed));
	for (size_t i = 0; i < array_len(all->caches); i++)
		list_init(&all->caches[i].use);
	st->accounts = all;
	return OK;
}

static size_t cost(const struct cached *e)
{
	return ENTRY_COST + e->arena.used_bytes;
}

static void forget(struct cache *c, struct cached *e)
{
	if (e->in_map)
		map_remove(&c->map, &e->map_link);
	list_remove(&e->use);
	c->bytes -= cost(e);
	c->count--;
	arena_done(&e->arena);
	free(e);
}

void accounts_free(struct store *st)
{
	struct accounts *all = st->accounts;

	for (size_t i = 0; all && i < array_len(all->caches); i++) {
		struct cache *c = &all->caches[i];

		while (!list_empty(&c->use))
			forget(c, container_of(list_first(&c->use), struct cached, use));
		map_done(&c->map);
	}
	free(all);
	st->accounts = NULL;
}

static struct cache *cache_here(struct store *st)
{
	struct worker *w = worker_self();

	return &st->accounts->caches[w ? worker_index(w) : WORKERS_MAX];
}

static struct cached *look_up(struct store *st, struct cache *c, slice key, uint64_t hash)
{
	uint64_t now = index_generation(st->index);

	for (struct map_link *l = map_find(&c->map, hash); l; l = map_find_next(&c->map, l)) {
		struct cached *e = container_of(l, struct cached, map_link);

		if (!slice_eq(e->key, key))
			continue;
		list_remove(&e->use);
		list_push(&c->use, &e->use);
		if (e->generation == now)
			return e;
		map_remove(&c->map, &e->map_link);
		e->in_map = false;
		return NULL;
	}
	return NULL;
}

static void trim(struct cache *c)
{
	while (c->bytes > CACHE_BYTES && c->count > KEEP_LAST)
		forget(c, container_of(list_first(&c->use), struct cached, use));
}

/* --- Filling --- */

static enum err fill(struct index_txn *txn, void *arg)
{
	struct cached *e = arg;
	struct arena *a = &e->arena;
	slice value, first, second;

	if (!keys_split(e->key, &first, &second))
		return ERR_INVALID;
	if (e->key.ptr[0] == KEYS_KEY) {
		enum err err = read_keys(txn, first, a, &e->keys.rows, &e->keys.len);

		e->there = !err && e->keys.len;
		return err;
	}
	enum err err = index_get(txn, e->key, &value);
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	value = arena_dup(a, value);
	e->there = true;
	if (e->key.ptr[0] == KEYS_DOMAIN) {
		e->domain.name = first;
		return row_get_domain(value, &e->domain) ? OK : ERR_CORRUPT;
	}
	if (e->key.ptr[0] == KEYS_ALIAS) {
		e->alias.domain = first;
		e->alias.local = second;
		return row_get_alias(value, &e->alias) ? OK : ERR_CORRUPT;
	}
	e->account.domain = first;
	e->account.local = second;
	return row_get_account(value, &e->account) ? OK : ERR_CORRUPT;
}

static struct cached *find(struct store *st, slice key, enum err *failed)
{
	struct cache *c = cache_here(st);
	uint64_t hash = map_hash(&st->accounts->seed, key);
	struct cached *e = look_up(st, c, key, hash);
	enum err err = OK;

	if (failed)
		*failed = OK;
	if (e)
		return e->there ? e : NULL;
	e = calloc(1, sizeof(*e));
	if (!e) {
		err = ERR_NOMEM;
	} else {
		/* The generation first: what changes while we read makes the entry stale. */
		e->generation = index_generation(st->index);
		e->key = arena_dup(&e->arena, key);
		err = index_read_here(st->index, DIRECTORY_SHARD, fill, e);
	}
	if (e && !err && !map_insert(&c->map, &e->map_link, hash))
		err = ERR_NOMEM;
	if (err) {
		if (e)
			arena_done(&e->arena);
		free(e);
		if (failed)
			*failed = err;
		return NULL;
	}
	e->in_map = true;
	list_push(&c->use, &e->use);
	c->bytes += cost(e);
	c->count++;
	trim(c);
	return e->there ? e : NULL;
}

static bool is_name(slice s, size_t max)
{
	return s.len && s.len <= max && !memchr(s.ptr, 0, s.len);
}

const struct domain *domain_find(struct store *st, slice name, enum err *failed)
{
	struct keys_buf key;

	if (failed)
		*failed = OK;
	if (!is_name(name, SCHEDULE_DOMAIN_MAX))
		return NULL;
	keys_name(&key, KEYS_DOMAIN, name);
	struct cached *e = find(st, keys_slice(&key), failed);
	return e ? &e->domain : NULL;
}

const struct account *account_find(struct store *st, slice local, slice domain, enum err *failed)
{
	struct keys_buf key;

	if (failed)
		*failed = OK;
	if (!is_name(local, ACCOUNT_LOCAL_MAX) || !is_name(domain, SCHEDULE_DOMAIN_MAX))
		return NULL;
	keys_two(&key,
		&(struct keys_pair){ .kind = KEYS_ACCOUNT, .first = domain, .second = local });
	struct cached *e = find(st, keys_slice(&key), failed);
	return e ? &e->account : NULL;
}

const struct alias *alias_find(struct store *st, slice local, slice domain, enum err *failed)
{
	struct keys_buf key;

	if (failed)
		*failed = OK;
	if ((local.len && !is_name(local, ACCOUNT_LOCAL_MAX)) ||
		!is_name(domain, SCHEDULE_DOMAIN_MAX))
		return NULL;
	keys_two(&key, &(struct keys_pair){ .kind = KEYS_ALIAS, .first = domain, .second = local });
	struct cached *e = find(st, keys_slice(&key), failed);
	return e ? &e->alias : NULL;
}

const struct domain_key *domain_keys(struct store *st, slice domain, size_t *out_count)
{
	struct keys_buf key;

	*out_count = 0;
	if (!is_name(domain, SCHEDULE_DOMAIN_MAX))
		return NULL;
	keys_two(&key, &(struct keys_pair){ .kind = KEYS_KEY, .first = domain });
	struct cached *e = find(st, keys_slice(&key), NULL);
	if (!e)
		return NULL;
	*out_count = e->keys.len;
	return e->keys.rows;
}

uint64_t account_generation(const struct store *st)
{
	return index_generation(st->index);
}
