/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The array holds the node of place p at index p - 1; its parent has place p / 2. Every move of a
 * node goes through put(), so `place` is always right. */
#include "core/base/heap.h"

#include <stdlib.h>

void heap_done(struct heap *h)
{
	free(h->nodes);
	*h = (struct heap){ 0 };
}

static void put(struct heap *h, size_t place, struct heap_node *node)
{
	h->nodes[place - 1] = node;
	node->place = place;
}

static struct heap_node *at(const struct heap *h, size_t place)
{
	return h->nodes[place - 1];
}

static void sift_up(struct heap *h, struct heap_node *node)
{
	size_t place = node->place;

	while (place > 1 && at(h, place / 2)->key > node->key) {
		put(h, place, at(h, place / 2));
		place /= 2;
	}
	put(h, place, node);
}

static void sift_down(struct heap *h, struct heap_node *node)
{
	size_t place = node->place;

	while (place * 2 <= h->len) {
		size_t child = place * 2;

		if (child < h->len && at(h, child + 1)->key < at(h, child)->key)
			child++;
		if (at(h, child)->key >= node->key)
			break;
		put(h, place, at(h, child));
		place = child;
	}
	put(h, place, node);
}

bool heap_push(struct heap *h, struct heap_node *node, int64_t key)
{
	must(node->place == 0);
	if (h->len == h->cap) {
		size_t cap = h->cap ? h->cap * 2 : 16;
		struct heap_node **nodes = reallocarray(h->nodes, cap, sizeof(*nodes));

		if (!nodes)
			return false;
		h->nodes = nodes;
		h->cap = cap;
	}
	node->key = key;
	put(h, ++h->len, node);
	sift_up(h, node);
	return true;
}

void heap_remove(struct heap *h, struct heap_node *node)
{
	size_t place = node->place;

	if (!place)
		return;
	must(place <= h->len && at(h, place) == node);
	struct heap_node *last = at(h, h->len--);

	node->place = 0;
	if (last == node)
		return;
	put(h, place, last);
	sift_up(h, last);
	sift_down(h, last);
}

struct heap_node *heap_min(const struct heap *h)
{
	return h->len ? h->nodes[0] : NULL;
}
