/* SPDX-License-Identifier: GPL-2.0-or-later */
/* heap.h - a binary heap of embedded nodes: the smallest key first.
 *
 * The node lives in its object and knows its place, so removing takes O(log n). The array
 * of pointers is the heap's own and grows by doubling; heap_push is false when memory ran out. */
#ifndef CORE_BASE_HEAP_H
#define CORE_BASE_HEAP_H

#include "core/base/base.h"

struct heap_node {
	int64_t key;
	size_t place; /* 1-based; 0: in no heap */
};

struct heap {
	struct heap_node **nodes;
	size_t len, cap;
};

/* A zeroed struct heap is ready; heap_done frees the array, and touches no node. */
void heap_done(struct heap *h);
/* The node must be in no heap. Equal keys come out in any order. */
bool heap_push(struct heap *h, struct heap_node *node, int64_t key) must_use;
/* Harmless when the node is in no heap. */
void heap_remove(struct heap *h, struct heap_node *node);
/* NULL when empty. */
struct heap_node *heap_min(const struct heap *h);

#endif
