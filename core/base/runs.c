/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A counted B+ tree of runs. Leaves hold runs in order, inner nodes hold for each child its least
 * number and how many members are below it, so rank and nth walk down once. Everything the set does
 * is made of three steps on a path from root to leaf: change, insert or delete one run; they keep
 * the counts. Leaves begin small, since most mailboxes are one run. */
#include "core/base/runs.h"

#include <stdlib.h>

enum {
	FAN = 64,        /* runs of a leaf, children of an inner node */
	LEAF_FIRST = 4,  /* of a new leaf */
	MERGE = FAN / 4, /* a node with fewer looks for a neighbour to join */
	JOINED = FAN * 3 / 4,
	HEIGHT_MAX = 12,
	CLIMB_STEPS = 16, /* before it pays to go down from the root */
};

struct leaf {
	uint16_t len, cap;
	struct run runs[];
};

struct child {
	struct runs_node *node;
	uint32_t first; /* least number below */
	uint32_t count; /* members below */
};

struct inner {
	uint16_t len;
	struct child children[FAN];
};

/* What lies at height 0 is a leaf, above it an inner node. */
struct runs_node;

static struct leaf *leaf_of(struct runs_node *node)
{
	return (struct leaf *)(void *)node;
}

static struct inner *inner_of(struct runs_node *node)
{
	return (struct inner *)(void *)node;
}

static struct runs_node *node_of(void *node)
{
	return node;
}

/* From the root (step[height]) to a leaf (step[0]). */
struct path {
	struct {
		struct runs_node *node;
		uint16_t at; /* child, or run */
	} step[HEIGHT_MAX];
};

static uint32_t size_of(struct run run)
{
	return run.last - run.first + 1;
}

/* Index of the last child whose least number is <= n, or 0. */
static uint16_t child_of(const struct inner *inner, uint32_t n)
{
	uint16_t low = 0, high = inner->len;

	if (inner->children[high - 1].first <= n) /* sets grow at their end */
		return (uint16_t)(high - 1);
	while (high - low > 1) {
		uint16_t mid = (uint16_t)((low + high) / 2);

		if (inner->children[mid].first <= n)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* Index of the first run that ends at or behind n; len if none does. */
static uint16_t run_of(const struct leaf *leaf, uint32_t n)
{
	uint16_t low = 0, high = leaf->len;

	if (high && leaf->runs[high - 1].last < n)
		return high;
	while (low < high) {
		uint16_t mid = (uint16_t)((low + high) / 2);

		if (leaf->runs[mid].last < n)
			low = (uint16_t)(mid + 1);
		else
			high = mid;
	}
	return low;
}

/* To the leaf where n belongs; step[0].at may be its end. The tree is not empty. */
static void descend(const struct runs *r, uint32_t n, struct path *p)
{
	struct runs_node *node = r->root;

	for (uint32_t h = r->height; h > 0; h--) {
		p->step[h].node = node;
		p->step[h].at = child_of(inner_of(node), n);
		node = inner_of(node)->children[p->step[h].at].node;
	}
	p->step[0].node = node;
	p->step[0].at = run_of(leaf_of(node), n);
}

/* From the end of a leaf to the begin of the next; false at the end of all. */
static bool next_leaf(const struct runs *r, struct path *p)
{
	uint32_t h = 1;

	while (h <= r->height && p->step[h].at + 1 == inner_of(p->step[h].node)->len)
		h++;
	if (h > r->height)
		return false;
	p->step[h].at++;
	for (; h > 0; h--) {
		p->step[h - 1].node = inner_of(p->step[h].node)->children[p->step[h].at].node;
		p->step[h - 1].at = 0;
	}
	return true;
}

/* The first run that ends at or behind n. */
static bool find(const struct runs *r, uint32_t n, struct path *p, struct run *out)
{
	if (!r->root)
		return false;
	descend(r, n, p);
	if (p->step[0].at == leaf_of(p->step[0].node)->len && !next_leaf(r, p))
		return false;
	*out = leaf_of(p->step[0].node)->runs[p->step[0].at];
	return true;
}

/* --- The three steps --- */

static uint32_t first_below(struct runs_node *node, uint32_t height)
{
	return height ? inner_of(node)->children[0].first : leaf_of(node)->runs[0].first;
}

/* Members below the path's nodes changed by `delta` (modulo 2^32). */
static void recount(struct runs *r, const struct path *p, uint32_t delta)
{
	r->count += delta;
	for (uint32_t h = 1; h <= r->height; h++) {
		struct child *child = &inner_of(p->step[h].node)->children[p->step[h].at];

		child->count += delta;
		child->first = first_below(child->node, h - 1);
	}
}

static void run_change(struct runs *r, const struct path *p, struct run to)
{
	struct run *run = &leaf_of(p->step[0].node)->runs[p->step[0].at];
	uint32_t delta = size_of(to) - size_of(*run);

	*run = to;
	recount(r, p, delta);
}

static struct leaf *leaf_new(struct leaf *old, uint16_t cap)
{
	struct leaf *leaf = realloc(old, sizeof(*leaf) + cap * sizeof(struct run));

	if (!leaf)
		return NULL;
	if (!old)
		leaf->len = 0;
	leaf->cap = cap;
	return leaf;
}

static uint32_t leaf_count(const struct leaf *leaf)
{
	uint32_t count = 0;

	for (uint16_t i = 0; i < leaf->len; i++)
		count += size_of(leaf->runs[i]);
	return count;
}

static uint32_t inner_count(const struct inner *inner)
{
	uint32_t count = 0;

	for (uint16_t i = 0; i < inner->len; i++)
		count += inner->children[i].count;
	return count;
}

static uint32_t count_below(struct runs_node *node, uint32_t height)
{
	return height ? inner_count(inner_of(node)) : leaf_count(leaf_of(node));
}

/* Nodes set aside before anything is changed, so that a split cannot fail half-way: a half for each
 * full node of the path, and a root. */
struct spare {
	struct leaf *leaf;
	struct inner *inners[HEIGHT_MAX];
	uint32_t len;
};

static void spare_free(struct spare *spare)
{
	free(spare->leaf);
	while (spare->len)
		free(spare->inners[--spare->len]);
}

static bool spare_get(const struct runs *r, const struct path *p, struct spare *spare)
{
	uint32_t h = 1;

	*spare = (struct spare){ .leaf = leaf_new(NULL, FAN) };
	while (h <= r->height && inner_of(p->step[h].node)->len == FAN)
		h++;
	uint32_t want = h > r->height ? h : h - 1; /* one more for a new root */

	if (!spare->leaf)
		return false;
	must(h <= r->height || r->height + 2 < HEIGHT_MAX);
	while (spare->len < want) {
		struct inner *inner = malloc(sizeof(*inner));

		if (!inner) {
			spare_free(spare);
			return false;
		}
		inner->len = 0;
		spare->inners[spare->len++] = inner;
	}
	return true;
}

/* Where to cut a full node: appending at the end leaves a full one behind. */
static uint16_t cut_at(uint16_t at)
{
	return at == FAN - 1 || at == FAN ? FAN - 1 : FAN / 2;
}

static struct runs_node *split_leaf(struct leaf *leaf, struct leaf *half, uint16_t at)
{
	uint16_t cut = cut_at(at);

	half->len = (uint16_t)(leaf->len - cut);
	memcpy(half->runs, leaf->runs + cut, half->len * sizeof(struct run));
	leaf->len = cut;
	return node_of(half);
}

static struct runs_node *split_inner(struct inner *inner, struct inner *half, uint16_t at)
{
	uint16_t cut = cut_at(at);

	half->len = (uint16_t)(inner->len - cut);
	memcpy(half->children, inner->children + cut, half->len * sizeof(struct child));
	inner->len = cut;
	return node_of(half);
}

static struct child child_for(struct runs_node *node, uint32_t height)
{
	return (struct child){
		.node = node,
		.first = first_below(node, height),
		.count = count_below(node, height),
	};
}

static void grow_root(struct runs *r, struct inner *root)
{
	root->len = 1;
	root->children[0] = child_for(r->root, r->height);
	r->root = node_of(root);
	r->height++;
}

/* `half` was cut off the child that the path takes at height h. */
static void add_half(struct inner *inner, uint16_t at, struct runs_node *half, uint32_t height)
{
	memmove(inner->children + at + 2, inner->children + at + 1,
		(size_t)(inner->len - at - 1) * sizeof(struct child));
	inner->children[at] = child_for(inner->children[at].node, height - 1);
	inner->children[at + 1] = child_for(half, height - 1);
	inner->len++;
}

/* Make room in the leaf of a path by splitting what is full, root first. */
static bool split_path(struct runs *r, const struct path *p)
{
	struct spare spare;
	uint32_t h = 1;

	if (!spare_get(r, p, &spare))
		return false;
	while (h <= r->height && inner_of(p->step[h].node)->len == FAN)
		h++;
	struct inner *above = h <= r->height ? inner_of(p->step[h].node) : NULL;
	uint16_t at = above ? p->step[h].at : 0;

	if (!above) {
		above = spare.inners[--spare.len];
		grow_root(r, above);
	}
	for (h--; h > 0; h--) {
		struct inner *inner = inner_of(p->step[h].node);
		uint16_t in_child = p->step[h].at;
		struct runs_node *half = split_inner(inner, spare.inners[--spare.len], in_child);

		add_half(above, at, half, h + 1);
		above = in_child < inner->len ? inner : inner_of(half);
		at = in_child < inner->len ? in_child : (uint16_t)(in_child - inner->len);
	}
	add_half(above, at, split_leaf(leaf_of(p->step[0].node), spare.leaf, p->step[0].at), 1);
	return true;
}

/* The leaf of the path moved. */
static void leaf_moved(struct runs *r, const struct path *p, struct leaf *leaf)
{
	if (r->height)
		inner_of(p->step[1].node)->children[p->step[1].at].node = node_of(leaf);
	else
		r->root = node_of(leaf);
}

/* Room for one more run where n belongs, and the path to it. */
static bool make_room(struct runs *r, uint32_t n, struct path *p)
{
	if (!r->root) {
		r->root = node_of(leaf_new(NULL, LEAF_FIRST));
		if (!r->root)
			return false;
	}
	descend(r, n, p);
	struct leaf *leaf = leaf_of(p->step[0].node);

	if (leaf->len == FAN) {
		if (!split_path(r, p))
			return false;
		descend(r, n, p);
		leaf = leaf_of(p->step[0].node);
	}
	if (leaf->len == leaf->cap) {
		leaf = leaf_new(leaf, (uint16_t)MIN(FAN, leaf->cap * 2));
		if (!leaf)
			return false;
		leaf_moved(r, p, leaf);
		p->step[0].node = node_of(leaf);
	}
	return true;
}

/* It touches no run that is there. */
static bool run_insert(struct runs *r, struct run run)
{
	struct path p;

	if (!make_room(r, run.first, &p))
		return false;
	struct leaf *leaf = leaf_of(p.step[0].node);
	uint16_t at = p.step[0].at;

	memmove(leaf->runs + at + 1, leaf->runs + at, (size_t)(leaf->len - at) * sizeof(run));
	leaf->runs[at] = run;
	leaf->len++;
	r->runs++;
	recount(r, &p, size_of(run));
	return true;
}

/* --- Deleting --- */

static void drop_child(struct inner *inner, uint16_t at)
{
	inner->len--;
	memmove(inner->children + at, inner->children + at + 1,
		(size_t)(inner->len - at) * sizeof(struct child));
}

static bool join_leaves(struct inner *above, uint16_t at)
{
	struct leaf *left = leaf_of(above->children[at].node);
	struct leaf *right = leaf_of(above->children[at + 1].node);

	if (left->len + right->len > JOINED)
		return false;
	if (left->len + right->len > left->cap) {
		left = leaf_new(left, FAN);
		if (!left)
			return false; /* two small leaves do no harm */
		above->children[at].node = node_of(left);
	}
	memcpy(left->runs + left->len, right->runs, right->len * sizeof(struct run));
	left->len = (uint16_t)(left->len + right->len);
	free(right);
	return true;
}

static bool join_inners(struct inner *above, uint16_t at)
{
	struct inner *left = inner_of(above->children[at].node);
	struct inner *right = inner_of(above->children[at + 1].node);

	if (left->len + right->len > JOINED)
		return false;
	memcpy(left->children + left->len, right->children, right->len * sizeof(struct child));
	left->len = (uint16_t)(left->len + right->len);
	free(right);
	return true;
}

/* Children `at` and `at + 1`, at that height, into one if they are small. */
static void join(struct inner *above, uint16_t at, uint32_t height)
{
	if (at + 1 >= above->len)
		return;
	if (!(height ? join_inners(above, at) : join_leaves(above, at)))
		return;
	above->children[at].count += above->children[at + 1].count;
	drop_child(above, (uint16_t)(at + 1));
}

static uint16_t len_of(struct runs_node *node, uint32_t height)
{
	return height ? inner_of(node)->len : leaf_of(node)->len;
}

static void shrink_root(struct runs *r)
{
	while (r->height && inner_of(r->root)->len == 1) {
		struct runs_node *root = r->root;

		r->root = inner_of(root)->children[0].node;
		r->height--;
		free(root);
	}
	if (r->root && !len_of(r->root, r->height)) {
		free(r->root);
		r->root = NULL;
		r->height = 0;
	}
}

/* A node of the path became small or empty. */
static void tidy(struct runs *r, const struct path *p)
{
	for (uint32_t h = 0; h < r->height; h++) {
		struct inner *above = inner_of(p->step[h + 1].node);
		uint16_t at = p->step[h + 1].at, len = len_of(p->step[h].node, h);

		if (len == 0) {
			free(p->step[h].node);
			drop_child(above, at);
		} else if (len < MERGE) {
			join(above, at, h);
			if (at)
				join(above, (uint16_t)(at - 1), h);
		}
	}
	shrink_root(r);
}

/* Counts and least numbers from the leaf up, of nodes that still have something. */
static void run_delete(struct runs *r, const struct path *p)
{
	struct leaf *leaf = leaf_of(p->step[0].node);
	uint16_t at = p->step[0].at;
	uint32_t size = size_of(leaf->runs[at]);

	leaf->len--;
	memmove(leaf->runs + at, leaf->runs + at + 1,
		(size_t)(leaf->len - at) * sizeof(struct run));
	r->runs--;
	r->count -= size;
	for (uint32_t h = 1; h <= r->height; h++) {
		struct inner *inner = inner_of(p->step[h].node);
		struct child *child = &inner->children[p->step[h].at];

		child->count -= size;
		if (child->count == 0)
			continue; /* tidy drops it; the least number above comes from its neighbour */
		child->first = first_below(child->node, h - 1);
	}
	tidy(r, p);
}

/* --- Sets --- */

static void free_below(struct runs_node *node, uint32_t height)
{
	if (height)
		for (uint16_t i = 0; i < inner_of(node)->len; i++)
			free_below(inner_of(node)->children[i].node, height - 1);
	free(node);
}

void runs_done(struct runs *r)
{
	if (r->root)
		free_below(r->root, r->height);
	*r = (struct runs){ 0 };
}

/* The common case: uids behind all others. False: not that case. */
static bool add_at_end(struct runs *r, struct run all)
{
	struct path p;

	if (!r->root)
		return false;
	descend(r, UINT32_MAX, &p);
	struct leaf *leaf = leaf_of(p.step[0].node);
	struct run *run = &leaf->runs[leaf->len - 1];

	if (all.first <= run->last || run->last == UINT32_MAX)
		return false;
	if (all.first == run->last + 1) {
		run->last = all.last;
	} else if (leaf->len < leaf->cap) {
		leaf->runs[leaf->len++] = all;
		r->runs++;
	} else {
		return false;
	}
	recount(r, &p, size_of(all));
	return true;
}

bool runs_add_range(struct runs *r, uint32_t first, uint32_t last)
{
	struct path p;
	struct run run, all = { .first = MAX(first, 1u), .last = last };

	must(last >= first);
	if (!last || add_at_end(r, all))
		return true;
	/* Everything that overlaps or touches becomes one run with it: the first of them is
	 * widened, so that only a new run needs memory. */
	if (!find(r, all.first > 1 ? all.first - 1 : 1, &p, &run) ||
		(last < UINT32_MAX && run.first > last + 1))
		return run_insert(r, all);
	all.first = MIN(all.first, run.first);
	if (run.last >= last) {
		run.first = all.first;
		run_change(r, &p, run);
		return true;
	}
	struct run next;

	while (run.last < UINT32_MAX && find(r, run.last + 1, &p, &next) &&
		(last == UINT32_MAX || next.first <= last + 1)) {
		all.last = MAX(all.last, next.last);
		run_delete(r, &p);
	}
	must(find(r, run.first, &p, &run));
	run_change(r, &p, all);
	return true;
}

bool runs_add(struct runs *r, uint32_t n)
{
	return runs_add_range(r, n, n);
}

/* Behind all others, and touching none of them: a whole leaf, where there is as much. */
static bool append_leaf(struct runs *r, const struct run *runs, uint16_t len)
{
	struct path p;
	struct leaf *leaf;
	uint32_t count = 0;

	if (!run_insert(r, runs[0]))
		return false;
	descend(r, UINT32_MAX, &p);
	leaf = leaf_of(p.step[0].node);
	if (len > leaf->cap - (leaf->len - 1)) {
		leaf = leaf_new(leaf, (uint16_t)(leaf->len - 1 + len));
		if (!leaf)
			return false;
		leaf_moved(r, &p, leaf);
		p.step[0].node = node_of(leaf);
	}
	memcpy(leaf->runs + leaf->len, runs + 1, (size_t)(len - 1) * sizeof(*runs));
	for (uint16_t i = 1; i < len; i++)
		count += size_of(runs[i]);
	leaf->len = (uint16_t)(leaf->len + len - 1);
	r->runs += (uint32_t)len - 1;
	recount(r, &p, count);
	return true;
}

/* The first leaf is filled, then one run after the other begins a leaf of its own: cut_at leaves full
 * nodes behind. */
bool runs_build(struct runs *r, struct run_list list)
{
	must(!r->root);
	for (size_t at = 0; at < list.len;) {
		uint16_t len = (uint16_t)MIN(list.len - at, (size_t)(at ? FAN - 1 : FAN));

		if (!append_leaf(r, list.runs + at, len)) {
			runs_done(r);
			return false;
		}
		at += len;
	}
	return true;
}

/* A hole inside one run; undone when the second half finds no memory. */
static bool punch(struct runs *r, const struct path *p, struct run run, struct run hole)
{
	struct path again;
	struct run left = { .first = run.first, .last = hole.first - 1 };

	run_change(r, p, left);
	if (run_insert(r, (struct run){ .first = hole.last + 1, .last = run.last }))
		return true;
	must(find(r, left.first, &again, &left));
	run_change(r, &again, run);
	return false;
}

bool runs_remove_range(struct runs *r, uint32_t first, uint32_t last)
{
	struct path p;
	struct run run;

	must(last >= first);
	while (find(r, first, &p, &run) && run.first <= last) {
		if (run.first < first && run.last > last)
			return punch(r, &p, run, (struct run){ .first = first, .last = last });
		if (run.first >= first && run.last <= last)
			run_delete(r, &p);
		else if (run.first < first)
			run_change(r, &p, (struct run){ .first = run.first, .last = first - 1 });
		else
			run_change(r, &p, (struct run){ .first = last + 1, .last = run.last });
	}
	return true;
}

bool runs_next(const struct runs *r, uint32_t from, struct run *out)
{
	struct path p;
	struct run run;

	if (!find(r, from, &p, &run))
		return false;
	*out = (struct run){ .first = MAX(run.first, from), .last = run.last };
	return true;
}

/* A walk goes down the tree once a leaf. */
bool runs_walk_next(struct runs_walk *w, struct run *out)
{
	struct path p;

	if (w->at == w->end) {
		uint32_t from = w->end ? w->end[-1].last + 1 : MAX(w->from, 1u);

		if (from == 0 || !find(w->set, from, &p, out))
			return false;
		w->at = &leaf_of(p.step[0].node)->runs[p.step[0].at];
		w->end = leaf_of(p.step[0].node)->runs + leaf_of(p.step[0].node)->len;
	}
	*out = *w->at++;
	out->first = MAX(out->first, w->from);
	return true;
}

bool runs_has(const struct runs *r, uint32_t n)
{
	struct path p;
	struct run run;

	return n && find(r, n, &p, &run) && run.first <= n;
}

uint32_t runs_rank(const struct runs *r, uint32_t n)
{
	struct path p;
	uint32_t rank = 0;

	if (!r->root)
		return 0;
	descend(r, n, &p);
	for (uint32_t h = r->height; h > 0; h--)
		for (uint16_t i = 0; i < p.step[h].at; i++)
			rank += inner_of(p.step[h].node)->children[i].count;
	const struct leaf *leaf = leaf_of(p.step[0].node);

	for (uint16_t i = 0; i < p.step[0].at; i++)
		rank += size_of(leaf->runs[i]);
	if (p.step[0].at < leaf->len && leaf->runs[p.step[0].at].first <= n)
		rank += n - leaf->runs[p.step[0].at].first + 1;
	return rank;
}

static void climb_to(struct runs_climb *c, uint32_t n)
{
	c->walk = (struct runs_walk){ .set = c->set, .from = n };
	c->there = runs_walk_next(&c->walk, &c->run);
	c->before = n ? runs_rank(c->set, n - 1) : 0;
	c->begun = true;
}

uint32_t runs_climb_rank(struct runs_climb *c, uint32_t n)
{
	for (unsigned i = 0; i < CLIMB_STEPS && c->there && c->run.last < n; i++) {
		c->before += size_of(c->run);
		c->there = runs_walk_next(&c->walk, &c->run);
	}
	if (!c->begun || (c->there && c->run.last < n))
		climb_to(c, n);
	if (!c->there)
		return c->set->count;
	return c->before + (n >= c->run.first ? n - c->run.first + 1 : 0);
}

uint32_t runs_nth(const struct runs *r, uint32_t rank)
{
	struct runs_node *node = r->root;

	if (!rank || rank > r->count)
		return 0;
	for (uint32_t h = r->height; h > 0; h--) {
		const struct child *child = inner_of(node)->children;

		while (rank > child->count)
			rank -= child++->count;
		node = child->node;
	}
	const struct run *run = leaf_of(node)->runs;

	while (rank > size_of(*run))
		rank -= size_of(*run++);
	return run->first + rank - 1;
}

uint32_t runs_first(const struct runs *r)
{
	struct run run;

	return runs_next(r, 1, &run) ? run.first : 0;
}

uint32_t runs_last(const struct runs *r)
{
	return runs_nth(r, r->count);
}
