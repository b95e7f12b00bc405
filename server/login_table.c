/* SPDX-License-Identifier: GPL-2.0-or-later */
/* login_table.c - two bounded tables with one shape: hash map plus a list by age.
 *
 * Entries are found by a 32-byte mark. For failures the mark is a hash of account and client, so
 * that names of any length, made up by an attacker, cost the same few bytes each. */
#include "server/login_table.h"

#include <stdlib.h>

struct entry {
	struct map_link link;
	struct list_link age;
	login_mark mark;
	msec until; /* success: valid until; failure: locked until */
	msec last;  /* failure: when the last one was */
	unsigned failures;
};

void login_table_init(struct login_table *t, const struct map_seed *seed, size_t max)
{
	*t = (struct login_table){ .seed = *seed, .max = max };
	list_init(&t->ages);
}

static void drop(struct login_table *t, struct entry *e)
{
	map_remove(&t->map, &e->link);
	list_remove(&e->age);
	free(e);
}

void login_table_done(struct login_table *t)
{
	struct list_link *age;

	if (!t->ages.head.next)
		return;
	while ((age = list_first(&t->ages)))
		drop(t, container_of(age, struct entry, age));
	map_done(&t->map);
}

static uint64_t hash_of(const struct login_table *t, const login_mark *mark)
{
	return map_hash(&t->seed, slice_of(mark->bytes, sizeof(mark->bytes)));
}

static struct entry *find(struct login_table *t, const login_mark *mark)
{
	struct map_link *link = map_find(&t->map, hash_of(t, mark));

	for (; link; link = map_find_next(&t->map, link)) {
		struct entry *e = container_of(link, struct entry, link);

		if (!memcmp(e->mark.bytes, mark->bytes, sizeof(mark->bytes)))
			return e;
	}
	return NULL;
}

/* The entry, made if need be, youngest now. NULL: no memory. */
static struct entry *touch(struct login_table *t, const login_mark *mark)
{
	struct entry *e = find(t, mark);

	if (e) {
		list_remove(&e->age);
		list_push(&t->ages, &e->age);
		return e;
	}
	if (t->map.len >= t->max && !list_empty(&t->ages))
		drop(t, container_of(list_first(&t->ages), struct entry, age));
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->mark = *mark;
	if (!map_insert(&t->map, &e->link, hash_of(t, mark))) {
		free(e);
		return NULL;
	}
	list_push(&t->ages, &e->age);
	return e;
}

/* Every part with its length before it: no two triples make the same bytes. */
static void add_part(struct sha256 *h, slice part)
{
	uint64_t len = part.len;

	sha256_add(h, slice_of(&len, sizeof(len)));
	sha256_add(h, part);
}

login_mark login_mark_of(slice key, slice name, slice stored, slice password)
{
	login_mark inner, mark;
	struct sha256 h;

	sha256_init(&h);
	add_part(&h, name);
	add_part(&h, stored);
	add_part(&h, password);
	sha256_end(&h, inner.bytes);
	hmac_sha256(key, slice_of(inner.bytes, sizeof(inner.bytes)), mark.bytes);
	crypt_wipe(&inner, sizeof(inner));
	crypt_wipe(&h, sizeof(h));
	return mark;
}

msec login_table_until(struct login_table *t, const login_mark *mark, msec now)
{
	struct entry *e = find(t, mark);

	if (e && e->until <= now) {
		drop(t, e);
		e = NULL;
	}
	return e ? e->until : 0;
}

void login_table_add(struct login_table *t, const login_mark *mark, msec until)
{
	struct entry *e = t->max ? touch(t, mark) : NULL;

	if (e)
		e->until = until;
}

static login_mark who_mark(const struct login_table *t, const struct login_who *who)
{
	struct addr client = addr_client_key(who->peer);

	return login_mark_of(slice_of(&t->seed, sizeof(t->seed)), who->name, addr_bytes(&client),
		SLICE(""));
}

bool login_table_locked(struct login_table *t, const struct login_who *who, msec now)
{
	if (t->map.len == 0)
		return false;
	login_mark mark = who_mark(t, who);
	struct entry *e = find(t, &mark);

	return e && e->until > now;
}

msec login_table_fail(struct login_table *t, const struct login_who *who,
	const struct login_limits *limits, msec now, bool *out_locked)
{
	login_mark mark = who_mark(t, who);
	struct entry *e = touch(t, &mark);
	msec delay = limits->delay_ms;

	*out_locked = false;
	if (!e)
		return limits->delay_max_ms;
	if (e->last + limits->window_ms < now)
		e->failures = 0;
	e->last = now;
	e->failures++;
	for (unsigned i = 1; i < e->failures && delay < limits->delay_max_ms; i++)
		delay *= 2;
	if (limits->lock_after && e->failures >= limits->lock_after) {
		e->until = now + limits->lock_ms;
		e->failures = 0;
		*out_locked = true;
	}
	return MIN(delay, limits->delay_max_ms);
}

void login_table_forget(struct login_table *t, const struct login_who *who)
{
	if (t->map.len == 0)
		return;
	login_mark mark = who_mark(t, who);
	struct entry *e = find(t, &mark);

	if (e)
		drop(t, e);
}
