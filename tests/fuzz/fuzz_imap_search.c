/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_imap_search.c - a search that parses is written back, parsed again, and is the same; its tree is well
 * linked and within its limits. */
#include "proto/imap/search.h"

#include "tests/support/imap_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct imap_limits limits = { .depth_max = 12, .terms_max = 100 };

static size_t check_tree(const struct imap_search_node *node, unsigned depth)
{
	size_t nodes = 1, children = 0;

	must(depth <= limits.depth_max +
			!node->child); /* what is nested counts, the innermost key does not */
	for (const struct imap_search_node *child = node->child; child; child = child->next) {
		must(child->parent == node);
		must(child->next || child == node->last);
		nodes += check_tree(child, depth + 1);
		children++;
	}
	must(node->key == IMAP_KEY_AND            ? children > 0 :
			node->key == IMAP_KEY_NOT ? children == 1 :
			node->key == IMAP_KEY_OR  ? children == 2 :
						    children == 0);
	return nodes;
}

static slice written(struct arena *a, const struct imap_search *search)
{
	struct out o = out_arena(a);

	imap_text_search(&o, search);
	return out_written(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct arena a = { 0 };
	struct imap_search search = { 0 }, again = { 0 };
	struct imap_sort sort = { 0 };
	struct imap_thread thread = { 0 };
	struct imap_lex x = imap_lex_of(&a, slice_of(bytes, len), &limits), y;

	if (imap_lex_search(&x, &search)) {
		must(check_tree(search.root, 0) == search.nodes);
		must(search.nodes <= limits.terms_max);
		slice text = written(&a, &search);

		y = imap_lex_of(&a, text, &limits);
		must(imap_lex_search(&y, &again));
		must(slice_eq(text, written(&a, &again)));
		must(search.modseq == again.modseq && search.saved == again.saved &&
			search.bodies == again.bodies && search.nodes == again.nodes);
	} else {
		must(x.why);
	}
	y = imap_lex_of(&a, slice_of(bytes, len), &limits);
	must(imap_lex_sort(&y, &sort) == !y.why && sort.by_len <= IMAP_SORT_KEYS_MAX);
	y = imap_lex_of(&a, slice_of(bytes, len), &limits);
	must(imap_lex_thread(&y, &thread) == !y.why);
	arena_done(&a);
	return 0;
}
