/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_threads.c - RFC 5256 3, step by step.
 *
 * Containers stand in one array and name each other by index; 0 is none. The first `len` belong to the
 * messages, those behind to ids that were only mentioned. Whether a link would make a loop is asked of
 * a union-find structure: parents are only ever given to containers that have none, so two containers
 * are in one tree exactly when they have the same representative. */
#include "server/imap/imap_threads.h"

#include <stdlib.h>

struct box {
	uint32_t parent, child, last, next;   /* children in order */
	uint32_t set;                         /* union-find */
	const struct thread_message *message; /* NULL: only mentioned */
	wall_ms sent;
};

struct slot {
	uint64_t key;
	uint32_t box;
};

struct threads {
	struct arena *a;
	struct box *boxes; /* [0] is not used */
	uint32_t len, cap;
	struct slot *slots;
	size_t slot_count; /* a power of two */
	uint32_t *order;   /* room for sorting siblings */
};

/* --- Containers ---------------------------------------------------------------------------------------- */

static struct slot *slot_of(struct threads *t, uint64_t key)
{
	size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (t->slot_count - 1);

	while (t->slots[i].box && t->slots[i].key != key)
		i = (i + 1) & (t->slot_count - 1);
	return &t->slots[i];
}

static uint32_t add_box(struct threads *t, const struct thread_message *m)
{
	uint32_t n = ++t->len;

	must(n < t->cap);
	t->boxes[n] = (struct box){ .set = n, .message = m, .sent = m ? m->sent : 0 };
	return n;
}

static uint32_t box_of(struct threads *t, uint64_t id)
{
	struct slot *slot = slot_of(t, id);

	if (!slot->box) {
		slot->key = id;
		slot->box = add_box(t, NULL);
	}
	return slot->box;
}

static uint32_t root_of(struct threads *t, uint32_t n)
{
	while (t->boxes[n].set != n) {
		t->boxes[n].set = t->boxes[t->boxes[n].set].set;
		n = t->boxes[n].set;
	}
	return n;
}

static void append(struct threads *t, uint32_t parent, uint32_t child)
{
	struct box *p = &t->boxes[parent];

	t->boxes[child].parent = parent;
	t->boxes[child].next = 0;
	if (p->last)
		t->boxes[p->last].next = child;
	else
		p->child = child;
	p->last = child;
}

/* Only if the child has no parent, and none that is below it. */
static void link_to(struct threads *t, uint32_t parent, uint32_t child)
{
	uint32_t a = root_of(t, parent), b = root_of(t, child);

	if (t->boxes[child].parent || a == b)
		return;
	t->boxes[b].set = a;
	append(t, parent, child);
}

/* --- Step 1: links ----------------------------------------------------------------------------------------- */

static void make_boxes(struct threads *t, const struct thread_message *messages, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const struct thread_message *m = &messages[i];
		struct slot *slot = m->id ? slot_of(t, m->id) : NULL;
		uint32_t n = add_box(t, m);

		/* A second message with the same id stands for itself. */
		if (slot && !slot->box)
			*slot = (struct slot){ .key = m->id, .box = n };
	}
}

/* RFC 5256 3 takes the messages in order, and one without references loses the parent that those before
 * it gave it (1.B): only what comes behind it may give it one. */
static bool loses_it(const struct threads *t, uint32_t child, uint32_t by)
{
	const struct thread_message *m = t->boxes[child].message;

	return m && child > by && !m->ref_count;
}

/* What a message says of itself counts more than what others say of it: so all parents first. */
static void link_messages(struct threads *t, size_t len)
{
	for (uint32_t i = 1; i <= len; i++) {
		const struct thread_message *m = t->boxes[i].message;

		if (m->ref_count)
			link_to(t, box_of(t, m->refs[m->ref_count - 1]), i);
	}
	for (uint32_t i = 1; i <= len; i++) {
		const struct thread_message *m = t->boxes[i].message;

		for (unsigned r = 1; r < m->ref_count; r++) {
			uint32_t child = box_of(t, m->refs[r]);

			if (!loses_it(t, child, i))
				link_to(t, box_of(t, m->refs[r - 1]), child);
		}
	}
}

/* --- Step 2 and 3: the roots, without what was only mentioned ----------------------------------------------- */

/* The children of box 0 are the roots. A mentioned one gives its children to its parent; at the top it
 * stays when it has more than one, to hold them together. Deepest first: by falling index of a walk. */
static uint32_t *walk(struct threads *t, uint32_t from, uint32_t *out_len)
{
	uint32_t *order = arena_array(t->a, uint32_t, t->len + 1), n = 0;

	for (uint32_t at = t->boxes[from].child; at;) {
		order[n++] = at;
		if (t->boxes[at].child) {
			at = t->boxes[at].child;
			continue;
		}
		while (at != from && !t->boxes[at].next)
			at = t->boxes[at].parent;
		at = at == from ? 0 : t->boxes[at].next;
	}
	*out_len = n;
	return order;
}

static void splice_children(struct threads *t, uint32_t parent)
{
	uint32_t at = t->boxes[parent].child;

	t->boxes[parent].child = t->boxes[parent].last = 0;
	while (at) {
		uint32_t next = t->boxes[at].next, child = t->boxes[at].child;
		bool mentioned = !t->boxes[at].message;
		bool holds = parent == 0 && child && t->boxes[child].next;

		if (!mentioned || holds) {
			append(t, parent, at);
		} else {
			while (child) {
				uint32_t after = t->boxes[child].next;

				append(t, parent, child);
				child = after;
			}
		}
		at = next;
	}
}

static void prune(struct threads *t)
{
	uint32_t len, *order;

	for (uint32_t i = 1; i <= t->len; i++)
		if (!t->boxes[i].parent)
			append(t, 0, i);
	order = walk(t, 0, &len);
	while (len--)
		splice_children(t, order[len]);
	splice_children(t, 0);
}

/* --- Step 4 and 6: siblings by date ------------------------------------------------------------------------- */

static uint32_t number_of(const struct box *b, const struct box *boxes)
{
	const struct box *first = b->message || !b->child ? b : &boxes[b->child];

	return first->message ? first->message->number : 0;
}

static int by_sent(const void *a, const void *b, void *arg)
{
	const struct box *boxes = arg;
	const struct box *x = &boxes[*(const uint32_t *)a], *y = &boxes[*(const uint32_t *)b];

	if (x->sent != y->sent)
		return x->sent < y->sent ? -1 : 1;
	uint32_t m = number_of(x, boxes), n = number_of(y, boxes);
	return (m > n) - (m < n);
}

static void sort_children(struct threads *t, uint32_t parent)
{
	uint32_t n = 0;

	for (uint32_t at = t->boxes[parent].child; at; at = t->boxes[at].next)
		t->order[n++] = at;
	if (n < 2)
		return;
	qsort_r(t->order, n, sizeof(*t->order), by_sent, t->boxes);
	t->boxes[parent].child = t->boxes[parent].last = 0;
	for (uint32_t i = 0; i < n; i++)
		append(t, parent, t->order[i]);
}

/* A container without message is as old as its first child. Deepest first. */
static void sort_all(struct threads *t)
{
	uint32_t len, *order = walk(t, 0, &len);

	while (len--) {
		struct box *b = &t->boxes[order[len]];

		sort_children(t, order[len]);
		if (!b->message && b->child)
			b->sent = t->boxes[b->child].sent;
	}
	sort_children(t, 0);
}

/* --- Step 5: one subject, one thread --------------------------------------------------------------------------- */

static const struct thread_message *speaker(const struct threads *t, uint32_t n)
{
	const struct box *b = &t->boxes[n];

	return b->message ? b->message : b->child ? t->boxes[b->child].message : NULL;
}

/* Of two roots with a subject, which one gives its name to the thread: an empty one, else the one that
 * is no reply. */
static bool better(const struct threads *t, uint32_t have, uint32_t other)
{
	if (!t->boxes[have].message != !t->boxes[other].message)
		return !t->boxes[other].message;
	return speaker(t, have)->reply && !speaker(t, other)->reply;
}

static void find_subjects(struct threads *t)
{
	memset(t->slots, 0, t->slot_count * sizeof(*t->slots));
	for (uint32_t at = t->boxes[0].child; at; at = t->boxes[at].next) {
		const struct thread_message *m = speaker(t, at);

		if (!m || !m->subject)
			continue;
		struct slot *slot = slot_of(t, m->subject);
		if (!slot->box)
			*slot = (struct slot){ .key = m->subject, .box = at };
		else if (better(t, slot->box, at))
			slot->box = at;
	}
}

static void move_children(struct threads *t, uint32_t from, uint32_t to)
{
	for (uint32_t at = t->boxes[from].child; at;) {
		uint32_t next = t->boxes[at].next;

		append(t, to, at);
		at = next;
	}
}

/* A root joins the one that stands for its subject. When neither answers the other, a container above
 * both takes that one's place among the roots (`set` says which place). */
static void join(struct threads *t, struct slot *slot, uint32_t *roots, uint32_t at)
{
	uint32_t with = slot->box;

	if (!t->boxes[with].message && !t->boxes[at].message) {
		move_children(t, at, with);
		return;
	}
	if (!t->boxes[with].message || (speaker(t, at)->reply && !speaker(t, with)->reply)) {
		append(t, with, at);
		return;
	}
	uint32_t above = add_box(t, NULL);
	t->boxes[above].set = t->boxes[with].set;
	t->boxes[above].sent = t->boxes[with].sent;
	roots[t->boxes[with].set] = above;
	slot->box = above;
	append(t, above, with);
	append(t, above, at);
}

static struct slot *subject_of(struct threads *t, uint32_t root)
{
	const struct thread_message *m = speaker(t, root);

	return m && m->subject ? slot_of(t, m->subject) : NULL;
}

static void gather_subjects(struct threads *t)
{
	uint32_t *roots = arena_array(t->a, uint32_t, t->len + 1), len = 0, next;
	uint32_t *others = arena_array(t->a, uint32_t, t->len + 1), other_len = 0;

	find_subjects(t);
	for (uint32_t at = t->boxes[0].child; at; at = next) {
		struct slot *slot = subject_of(t, at);

		next = t->boxes[at].next;
		if (slot && slot->box != at) {
			others[other_len++] = at;
			continue;
		}
		t->boxes[at].set = len;
		roots[len++] = at;
	}
	for (uint32_t i = 0; i < other_len; i++)
		join(t, subject_of(t, others[i]), roots, others[i]);
	t->boxes[0].child = t->boxes[0].last = 0;
	for (uint32_t i = 0; i < len; i++)
		append(t, 0, roots[i]);
}

/* --- Writing ------------------------------------------------------------------------------------------------- */

/* Up from the end of a chain, closing what ends with it; the next sibling, or 0. */
static uint32_t close_up(struct threads *t, uint32_t at, uint32_t root, struct out *o)
{
	for (;;) {
		while (at != root && t->boxes[t->boxes[at].parent].child == at &&
			!t->boxes[at].next)
			at = t->boxes[at].parent;
		out_char(o, ')');
		if (at == root)
			return 0;
		if (t->boxes[at].next)
			return t->boxes[at].next;
		at = t->boxes[at].parent;
	}
}

static void put_thread(struct threads *t, uint32_t root, struct out *o)
{
	const char *gap = "(";

	for (uint32_t at = root; at;) {
		const struct box *b = &t->boxes[at];

		out_str(o, gap);
		if (b->message)
			out_uint(o, b->message->number);
		if (!b->child) {
			at = close_up(t, at, root, o);
			gap = "(";
		} else {
			bool one = !t->boxes[b->child].next;

			at = b->child;
			gap = one ? (b->message ? " " : "") : b->message ? " (" : "(";
		}
	}
}

static void put_all(struct threads *t, struct out *o)
{
	for (uint32_t at = t->boxes[0].child; at; at = t->boxes[at].next)
		put_thread(t, at, o);
}

/* --- The two algorithms ---------------------------------------------------------------------------------------- */

static void begin(struct threads *t, struct arena *a, size_t len, size_t mentions)
{
	size_t boxes = 2 * len + mentions + 2, slots = 16;

	while (slots < 2 * boxes)
		slots *= 2;
	*t = (struct threads){ .a = a, .cap = (uint32_t)boxes, .slot_count = slots };
	t->boxes = arena_array(a, struct box, boxes);
	t->slots = arena_array(a, struct slot, slots);
	t->order = arena_array(a, uint32_t, boxes);
}

void threads_by_references(struct arena *a, const struct thread_message *messages, size_t len,
	struct out *o)
{
	struct threads t;
	size_t mentions = 0;

	for (size_t i = 0; i < len; i++)
		mentions += messages[i].ref_count;
	begin(&t, a, len, mentions);
	make_boxes(&t, messages, len);
	link_messages(&t, len);
	prune(&t);
	sort_all(&t);
	gather_subjects(&t);
	sort_all(&t);
	put_all(&t, o);
}

void threads_by_subject(struct arena *a, const struct thread_message *messages, size_t len,
	struct out *o)
{
	struct threads t;

	begin(&t, a, len, 0);
	for (size_t i = 0; i < len; i++)
		append(&t, 0, add_box(&t, &messages[i]));
	sort_children(&t, 0);
	uint32_t at = t.boxes[0].child;
	t.boxes[0].child = t.boxes[0].last = 0;
	while (at) {
		uint32_t next = t.boxes[at].next;
		struct slot *slot = slot_of(&t, t.boxes[at].message->subject);

		if (!slot->box)
			*slot = (struct slot){ .key = t.boxes[at].message->subject, .box = at };
		append(&t, slot->box == at ? 0 : slot->box, at);
		at = next;
	}
	put_all(&t, o);
}
