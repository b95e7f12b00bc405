/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_threads.c - RFC 5256 3, step by step.
 *
 * Containers stand in one array and name each other by index; 0 is none. The first `count` belong to the
 * messages, those behind to ids that were only mentioned. Whether a link would make a loop is first asked of
 * a union-find structure: containers with different representatives are in different trees. Those with
 * the same one mostly are in one tree, and only then the way up is walked. Walking has a limit, as long
 * chains may contradict each other: behind it a link is held for a loop, and is not made.
 *
 * Of a hundred thousand messages each look at the table of ids waits for memory. So every reference is
 * looked up once, and those to come are asked for some messages ahead. */
#include "server/imap/imap_threads.h"

#include <stdlib.h>

enum { AHEAD = 8, SLOTS_LEAST = 16, STEPS_A_BOX = 64 };

struct box {
	uint32_t parent, child, last, next; /* children in order */
	uint32_t set;                       /* union-find */
	wall_ms sent;
};

struct slot {
	uint64_t key;
	uint32_t box;
};

/* To be sorted. */
struct sibling {
	wall_ms sent;
	uint32_t number, box;
};

struct threads {
	const struct thread_message *messages;
	uint32_t count;
	struct box *boxes; /* [0]: its children are the roots */
	uint32_t len;
	struct slot *slots;
	size_t slot_count, slots_used; /* a power of two; at most half of it */
	uint32_t *refs;                /* the box of every reference of every message */
	uint32_t *order;               /* room for a walk */
	struct sibling *siblings;      /* and for sorting */
	uint64_t steps;                /* that may still be walked */
};

/* --- Containers ---------------------------------------------------------------------------------------- */

static const struct thread_message *message_of(const struct threads *t, uint32_t n)
{
	return n && n <= t->count ? &t->messages[n - 1] : NULL;
}

static size_t place_of(const struct threads *t, uint64_t key)
{
	return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (t->slot_count - 1);
}

static struct slot *slot_of(const struct threads *t, uint64_t key)
{
	size_t i = place_of(t, key);

	while (t->slots[i].box && t->slots[i].key != key)
		i = (i + 1) & (t->slot_count - 1);
	return &t->slots[i];
}

static bool make_slots(struct threads *t, size_t least)
{
	size_t count = SLOTS_LEAST;

	while (count < least)
		count *= 2;
	t->slots = calloc(count, sizeof(*t->slots));
	t->slot_count = count;
	return t->slots;
}

/* Half of the slots stay free. */
static bool make_room(struct threads *t)
{
	struct slot *old = t->slots;
	size_t count = t->slot_count;

	if ((t->slots_used + 1) * 2 <= count)
		return true;
	if (!make_slots(t, count * 2)) {
		t->slots = old;
		t->slot_count = count;
		return false;
	}
	for (size_t i = 0; i < count; i++)
		if (old[i].box)
			*slot_of(t, old[i].key) = old[i];
	free(old);
	return true;
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

/* Would this link make a loop? */
static bool is_above(struct threads *t, uint32_t child, uint32_t parent)
{
	if (root_of(t, parent) != root_of(t, child))
		return false;
	while (parent && parent != child && t->steps) {
		parent = t->boxes[parent].parent;
		t->steps--;
	}
	return parent;
}

/* The child has no parent. Lists of children are made when all links are. */
static void link_to(struct threads *t, uint32_t parent, uint32_t child)
{
	if (is_above(t, child, parent))
		return;
	t->boxes[root_of(t, child)].set = root_of(t, parent);
	t->boxes[child].parent = parent;
}

/* --- Step 1: links ----------------------------------------------------------------------------------------- */

static void note_ids(struct threads *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		uint64_t id = t->messages[i].id;

		if (i + AHEAD < t->count)
			__builtin_prefetch(&t->slots[place_of(t, t->messages[i + AHEAD].id)], 1);
		struct slot *slot = id ? slot_of(t, id) : NULL;
		/* A second message with the same id stands for itself. */
		if (!slot || slot->box)
			continue;
		*slot = (struct slot){ .key = id, .box = i + 1 };
		t->slots_used++;
	}
	t->len = t->count;
}

static void ask_for_refs(const struct threads *t, uint32_t i)
{
	const struct thread_message *m = i < t->count ? &t->messages[i] : NULL;

	for (unsigned r = 0; m && r < m->ref_count; r++)
		__builtin_prefetch(&t->slots[place_of(t, m->refs[r])], 1);
}

/* Gives those that were only mentioned their numbers. */
static bool note_refs(struct threads *t)
{
	uint32_t *to = t->refs;

	for (uint32_t i = 0; i < t->count; i++) {
		const struct thread_message *m = &t->messages[i];

		ask_for_refs(t, i + AHEAD);
		for (unsigned r = 0; r < m->ref_count; r++) {
			if (!make_room(t))
				return false;
			struct slot *slot = slot_of(t, m->refs[r]);
			if (!slot->box) {
				*slot = (struct slot){ .key = m->refs[r], .box = ++t->len };
				t->slots_used++;
			}
			*to++ = slot->box;
		}
	}
	return true;
}

/* All that are known, and those that step 5 may add: one for two roots. */
static bool make_boxes(struct threads *t)
{
	size_t most = (size_t)t->len + t->count + 1;

	t->boxes = calloc(most, sizeof(*t->boxes));
	t->order = malloc(most * sizeof(*t->order));
	t->siblings = malloc(most * sizeof(*t->siblings));
	if (!t->boxes || !t->order || !t->siblings)
		return false;
	for (uint32_t n = 1; n <= t->len; n++)
		t->boxes[n].set = n;
	for (uint32_t n = 1; n <= t->count; n++)
		t->boxes[n].sent = t->messages[n - 1].sent;
	return true;
}

/* The references of a message link those they name, unless these have a parent (1.A). Then the last one
 * becomes its own parent, in place of the one that others gave it (1.B). */
static void link_message(struct threads *t, uint32_t n, const uint32_t *refs)
{
	unsigned count = t->messages[n - 1].ref_count;
	uint32_t parent = count ? refs[count - 1] : 0;

	for (unsigned r = 1; r < count; r++)
		if (!t->boxes[refs[r]].parent)
			link_to(t, refs[r - 1], refs[r]);
	if (t->boxes[n].parent == parent)
		return;
	t->boxes[n].parent = 0;
	if (parent)
		link_to(t, parent, n);
}

static void link_messages(struct threads *t)
{
	const uint32_t *refs = t->refs;

	t->steps = (uint64_t)t->len * STEPS_A_BOX;
	for (uint32_t n = 1; n <= t->count; n++) {
		link_message(t, n, refs);
		refs += t->messages[n - 1].ref_count;
	}
}

/* --- Step 2 and 3: the roots, without what was only mentioned ----------------------------------------------- */

/* The children of box 0 are the roots. A mentioned one gives its children to its parent; at the top it
 * stays when it has more than one, to hold them together. Deepest first: by falling index of a walk. */
static uint32_t walk(struct threads *t)
{
	uint32_t n = 0;

	for (uint32_t at = t->boxes[0].child; at;) {
		t->order[n++] = at;
		if (t->boxes[at].child) {
			at = t->boxes[at].child;
			continue;
		}
		while (at && !t->boxes[at].next)
			at = t->boxes[at].parent;
		at = t->boxes[at].next;
	}
	return n;
}

static void splice_children(struct threads *t, uint32_t parent)
{
	uint32_t at = t->boxes[parent].child;

	t->boxes[parent].child = t->boxes[parent].last = 0;
	while (at) {
		uint32_t next = t->boxes[at].next, child = t->boxes[at].child;
		bool mentioned = !message_of(t, at);
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
	for (uint32_t i = 1; i <= t->len; i++)
		append(t, t->boxes[i].parent, i);
	for (uint32_t len = walk(t); len--;)
		if (t->boxes[t->order[len]].child)
			splice_children(t, t->order[len]);
	splice_children(t, 0);
}

/* --- Step 4 and 6: siblings by date ------------------------------------------------------------------------- */

/* Who speaks for a container: its message, or else its first child's. */
static const struct thread_message *speaker(const struct threads *t, uint32_t n)
{
	const struct thread_message *m = message_of(t, n);

	return m || !t->boxes[n].child ? m : message_of(t, t->boxes[n].child);
}

static int by_sent(const void *a, const void *b)
{
	const struct sibling *x = a, *y = b;

	if (x->sent != y->sent)
		return x->sent < y->sent ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

/* Most are in order: mail is answered later than sent. */
static void sort_children(struct threads *t, uint32_t parent)
{
	struct sibling *all = t->siblings;
	bool sorted = true;
	uint32_t n = 0;

	for (uint32_t at = t->boxes[parent].child; at; at = t->boxes[at].next) {
		const struct thread_message *m = speaker(t, at);

		all[n++] = (struct sibling){
			.sent = t->boxes[at].sent, .number = m ? m->number : 0, .box = at
		};
		sorted = sorted && (n < 2 || by_sent(&all[n - 2], &all[n - 1]) <= 0);
	}
	if (sorted)
		return;
	qsort(all, n, sizeof(*all), by_sent);
	t->boxes[parent].child = t->boxes[parent].last = 0;
	for (uint32_t i = 0; i < n; i++)
		append(t, parent, all[i].box);
}

/* A container without message is as old as its first child. Deepest first. */
static void sort_all(struct threads *t)
{
	for (uint32_t len = walk(t); len--;) {
		uint32_t at = t->order[len];
		struct box *b = &t->boxes[at];

		if (b->child != b->last)
			sort_children(t, at);
		if (!message_of(t, at) && b->child)
			b->sent = t->boxes[b->child].sent;
	}
	sort_children(t, 0);
}

/* --- Step 5: one subject, one thread --------------------------------------------------------------------------- */

/* A root and where its subject stands in the table; slot_count: it has none. */
struct root {
	uint32_t box;
	size_t slot;
};

/* Of two roots with a subject, which one gives its name to the thread: an empty one, else the one that
 * is no reply. */
static bool better(const struct threads *t, uint32_t have, uint32_t other)
{
	if (!message_of(t, have) != !message_of(t, other))
		return !message_of(t, other);
	return speaker(t, have)->reply && !speaker(t, other)->reply;
}

static void ask_for_subject(const struct threads *t, const struct root *root)
{
	const struct thread_message *m = speaker(t, root->box);

	if (m)
		__builtin_prefetch(&t->slots[place_of(t, m->subject)], 1);
}

/* There are no more roots than messages, and so slots enough. */
static void find_subjects(struct threads *t, struct root *roots, uint32_t len)
{
	memset(t->slots, 0, t->slot_count * sizeof(*t->slots));
	for (uint32_t i = 0; i < len; i++) {
		uint32_t at = roots[i].box;
		const struct thread_message *m = speaker(t, at);

		if (i + AHEAD < len)
			ask_for_subject(t, &roots[i + AHEAD]);
		roots[i].slot = t->slot_count;
		if (!m || !m->subject)
			continue;
		struct slot *slot = slot_of(t, m->subject);
		roots[i].slot = (size_t)(slot - t->slots);
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

	if (!message_of(t, with) && !message_of(t, at)) {
		move_children(t, at, with);
		return;
	}
	if (!message_of(t, with) || (speaker(t, at)->reply && !speaker(t, with)->reply)) {
		append(t, with, at);
		return;
	}
	uint32_t above = ++t->len;
	t->boxes[above].set = t->boxes[with].set;
	t->boxes[above].sent = t->boxes[with].sent;
	roots[t->boxes[with].set] = above;
	slot->box = above;
	append(t, above, with);
	append(t, above, at);
}

static void gather_subjects(struct threads *t, struct root *roots, uint32_t *places)
{
	uint32_t len = 0, place = 0, others = 0;

	for (uint32_t at = t->boxes[0].child; at; at = t->boxes[at].next)
		roots[len++].box = at;
	find_subjects(t, roots, len);
	for (uint32_t i = 0; i < len; i++) {
		uint32_t at = roots[i].box;

		if (roots[i].slot < t->slot_count && t->slots[roots[i].slot].box != at) {
			roots[others++] = roots[i];
			continue;
		}
		t->boxes[at].set = place;
		places[place++] = at;
	}
	for (uint32_t i = 0; i < others; i++)
		join(t, &t->slots[roots[i].slot], places, roots[i].box);
	t->boxes[0].child = t->boxes[0].last = 0;
	for (uint32_t i = 0; i < place; i++)
		append(t, 0, places[i]);
}

static bool by_subjects(struct threads *t)
{
	struct root *roots = malloc((t->len + 1) * sizeof(*roots));
	uint32_t *places = malloc((t->len + 1) * sizeof(*places));
	bool good = roots && places;

	if (good)
		gather_subjects(t, roots, places);
	free(roots);
	free(places);
	return good;
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
		const struct thread_message *m = message_of(t, at);

		out_str(o, gap);
		if (m)
			out_uint(o, m->number);
		if (!b->child) {
			at = close_up(t, at, root, o);
			gap = "(";
		} else {
			bool one = !t->boxes[b->child].next;

			at = b->child;
			gap = one ? (m ? " " : "") : m ? " (" : "(";
		}
	}
}

static void put_all(struct threads *t, struct out *o)
{
	for (uint32_t at = t->boxes[0].child; at; at = t->boxes[at].next)
		put_thread(t, at, o);
}

/* --- The two algorithms ---------------------------------------------------------------------------------------- */

static void end(struct threads *t)
{
	free(t->boxes);
	free(t->slots);
	free(t->refs);
	free(t->order);
	free(t->siblings);
}

static bool prepare(struct threads *t, size_t mentions)
{
	if (!make_slots(t, 2 * (size_t)t->count + 2))
		return false;
	note_ids(t);
	t->refs = malloc((mentions + 1) * sizeof(*t->refs));
	return t->refs && note_refs(t) && make_boxes(t);
}

bool threads_by_references(const struct thread_message *messages, size_t len, struct out *o)
{
	struct threads t = { .messages = messages, .count = (uint32_t)len };
	size_t mentions = 0;

	for (size_t i = 0; i < len; i++)
		mentions += messages[i].ref_count;
	bool good = len < UINT32_MAX / 2 && mentions < UINT32_MAX / 4 && prepare(&t, mentions);
	if (good) {
		link_messages(&t);
		prune(&t);
		sort_all(&t);
		good = by_subjects(&t);
	}
	if (good) {
		sort_all(&t);
		put_all(&t, o);
	}
	end(&t);
	return good;
}

static void first_of_subject(struct threads *t)
{
	uint32_t at = t->boxes[0].child;

	t->boxes[0].child = t->boxes[0].last = 0;
	while (at) {
		uint32_t next = t->boxes[at].next;
		uint64_t subject = t->messages[at - 1].subject;
		struct slot *slot = slot_of(t, subject);

		if (!slot->box)
			*slot = (struct slot){ .key = subject, .box = at };
		append(t, slot->box == at ? 0 : slot->box, at);
		at = next;
	}
}

bool threads_by_subject(const struct thread_message *messages, size_t len, struct out *o)
{
	struct threads t = { .messages = messages, .count = (uint32_t)len, .len = (uint32_t)len };
	bool good = len < UINT32_MAX / 2 && make_slots(&t, 2 * len + 2) && make_boxes(&t);

	for (uint32_t i = 1; good && i <= t.len; i++)
		append(&t, 0, i);
	if (good) {
		sort_children(&t, 0);
		first_of_subject(&t);
		put_all(&t, o);
	}
	end(&t);
	return good;
}
