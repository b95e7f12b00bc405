/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The heap against a plain array: every operation leaves the least key on top. */
#include "core/base/heap.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { NODES = 200 };

static int64_t least(const struct heap_node *nodes)
{
	int64_t min = INT64_MAX;

	for (int i = 0; i < NODES; i++)
		if (nodes[i].place && nodes[i].key < min)
			min = nodes[i].key;
	return min;
}

static void act(struct heap *h, struct heap_node *node, unsigned seed)
{
	int64_t key = (int64_t)(seed >> 8) % 100 - 50;

	if (!node->place)
		cr_assert(heap_push(h, node, key));
	else
		heap_remove(h, node);
}

Test(heap, agrees_with_a_scan)
{
	static struct heap_node nodes[NODES];
	struct heap h = { 0 };
	unsigned seed = 1;

	cr_assert_null(heap_min(&h));
	for (int step = 0; step < 5000; step++) {
		seed = seed * 1103515245 + 12345;
		act(&h, &nodes[(seed >> 16) % NODES], seed >> 4);
		if (h.len)
			cr_assert_eq(heap_min(&h)->key, least(nodes));
		for (size_t i = 0; step % 1000 == 0 && i < h.len; i++)
			cr_assert_eq(h.nodes[i]->place, i + 1);
	}
	heap_done(&h);
}

Test(heap, pops_in_order_and_forgets)
{
	struct heap_node nodes[5] = { 0 };
	struct heap h = { 0 };
	static const int64_t keys[5] = { 3, -1, 7, 3, 0 };
	int64_t last = INT64_MIN;

	for (int i = 0; i < 5; i++)
		cr_assert(heap_push(&h, &nodes[i], keys[i]));
	while (heap_min(&h)) {
		struct heap_node *node = heap_min(&h);

		cr_assert_geq(node->key, last);
		last = node->key;
		heap_remove(&h, node);
		heap_remove(&h, node);
		cr_assert_eq(node->place, 0);
	}
	cr_assert_eq(last, 7);
	heap_done(&h);
}
