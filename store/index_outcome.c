/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Outcomes of records, from when they were applied until whoever waits for them took them.
 *
 * They come in order of position, so a ring is searched by halving. Who will ask does so within
 * moments; the bounds are for those who never do. */
#include "store/index_int.h"

#include <stdlib.h>

enum {
	SOFT_COUNT = 1024, /* taken ones beyond this go */
	SOFT_BYTES = 1024 * 1024,
	HARD_COUNT = 65536, /* and beyond this all do */
	HARD_BYTES = 64 * 1024 * 1024,
	FIRST_CAP = 256
};

static struct outcome **at(const struct outcomes *k, size_t i)
{
	return &k->ring[(k->first + i) & (k->cap - 1)];
}

static void drop_first(struct outcomes *k)
{
	struct outcome *o = *at(k, 0);

	if (!o->taken)
		k->lost = o->pos;
	k->bytes -= sizeof(*o) + o->len;
	k->first = (k->first + 1) & (k->cap - 1);
	k->count--;
	free(o);
}

static void trim(struct outcomes *k)
{
	while (k->count > HARD_COUNT || k->bytes > HARD_BYTES)
		drop_first(k);
	while (k->count && (*at(k, 0))->taken && (k->count > SOFT_COUNT || k->bytes > SOFT_BYTES))
		drop_first(k);
}

static bool grow(struct outcomes *k)
{
	size_t cap = k->cap ? k->cap * 2 : FIRST_CAP;
	struct outcome **ring = calloc(cap, sizeof(struct outcome *));

	if (!ring)
		return false;
	for (size_t i = 0; i < k->count; i++)
		ring[i] = *at(k, i);
	free(k->ring);
	k->ring = ring;
	k->cap = cap;
	k->first = 0;
	return true;
}

void outcomes_add(struct outcomes *k, struct outcome *list)
{
	while (list) {
		struct outcome *o = list;

		list = o->next;
		o->next = NULL;
		if (k->count == k->cap && !grow(k)) {
			if (!k->count) {
				k->lost = o->pos;
				free(o);
				continue;
			}
			drop_first(k);
		}
		k->count++;
		k->bytes += sizeof(*o) + o->len;
		*at(k, k->count - 1) = o;
	}
	trim(k);
}

struct outcome *outcomes_find(const struct outcomes *k, journal_pos pos)
{
	size_t low = 0, high = k->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if ((*at(k, middle))->pos < pos)
			low = middle + 1;
		else
			high = middle;
	}
	return low < k->count && (*at(k, low))->pos == pos ? *at(k, low) : NULL;
}

void outcomes_take(struct outcomes *k, struct outcome *o)
{
	o->taken = true;
}

void outcomes_done(struct outcomes *k)
{
	while (k->count)
		drop_first(k);
	free(k->ring);
	*k = (struct outcomes){ 0 };
}
