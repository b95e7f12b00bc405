/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_order.c - keys become words of 64 bits, and words are sorted a byte at a time.
 *
 * All keys of a row stand behind one another as words, so that rows compare as their words do, number by
 * number, until two differ; the last one says when the row was added, so two always do. A word of a text
 * holds seven bytes and, in its last, how many of the text were left there (8: more than these seven):
 * what ends there comes before what goes on, and what comes behind it begins at the same word in
 * both. A key in reverse has its bits inverted.
 *
 * So sorting fetches the first words of all rows and sorts those, a radix sort over the bytes that differ;
 * then each group of rows with the same word goes on with the next one. Texts are read in one pass a
 * word, side by side, instead of at each comparison, which waits for memory twice. */
#include "server/imap/imap_order.h"

#include <endian.h>
#include <stdlib.h>

enum {
	TEXT_BYTES = 7, /* of a word */
	TEXT_MORE = 8,
	LANE_SHIFT = 30,
	LANE_WORDS = 1 << LANE_SHIFT,
	FIRST_ROWS = 1024,
	FEW = 32, /* rows are sorted by insertion */
};

_Static_assert(ORDER_LANES <= 1 << (32 - LANE_SHIFT), "the lane and the place stand in 32 bits");

void order_init(struct order *o)
{
	*o = (struct order){ .len = 0 };
	for (uint32_t i = 0; i < ORDER_LANES; i++)
		o->lanes[i].tag = i << LANE_SHIFT;
}

void order_done(struct order *o)
{
	for (size_t i = 0; i < ORDER_LANES; i++) {
		free(o->lanes[i].items);
		free(o->lanes[i].words);
	}
	free(o->items);
	order_init(o);
}

/* --- Rows ------------------------------------------------------------------------------------------------ */

static void *grown(struct order_lane *l, void *old, size_t cap, size_t bytes)
{
	void *more = cap <= LANE_WORDS ? realloc(old, cap * bytes) : NULL;

	if (!more)
		l->full = true;
	return more;
}

/* Room for so many more words; false: none, and the row will be left out. */
static bool make_room(struct order_lane *l, size_t words)
{
	size_t cap = l->words_cap ? l->words_cap : FIRST_ROWS;

	if (l->full || l->words_cap - l->words_len >= words)
		return !l->full;
	while (cap - l->words_len < words)
		cap *= 2;
	uint64_t *more = grown(l, l->words, cap, sizeof(*more));
	if (!more)
		return false;
	l->words = more;
	l->words_cap = cap;
	return true;
}

void order_begin(struct order_lane *l, uint32_t number)
{
	if (l->len == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : FIRST_ROWS;
		struct order_item *more = grown(l, l->items, cap, sizeof(*more));

		if (!more)
			return;
		l->items = more;
		l->cap = cap;
	}
	l->items[l->len] =
		(struct order_item){ .at = l->tag | (uint32_t)l->words_len, .number = number };
}

void order_add_number(struct order_lane *l, uint64_t key, bool reverse)
{
	if (make_room(l, 1))
		l->words[l->words_len++] = reverse ? ~key : key;
}

void order_add_text(struct order_lane *l, slice key, bool reverse)
{
	uint64_t flip = reverse ? UINT64_MAX : 0;

	if (!make_room(l, key.len / TEXT_BYTES + 1))
		return;
	for (; key.len > TEXT_BYTES; key = slice_skip(key, TEXT_BYTES)) {
		uint64_t word;

		memcpy(&word, key.ptr, sizeof(word));
		word = (be64toh(word) & ~UINT64_C(0xff)) | TEXT_MORE;
		l->words[l->words_len++] = word ^ flip;
	}
	uint64_t last = 0;
	for (size_t i = 0; i < key.len; i++)
		last |= (uint64_t)(unsigned char)key.ptr[i] << (56 - 8 * i);
	l->words[l->words_len++] = (last | key.len) ^ flip;
}

void order_end(struct order_lane *l)
{
	if (!make_room(l, 1))
		return;
	l->words[l->words_len++] = (uint64_t)l->tag << 32 | l->len;
	l->len++;
}

/* --- Sorting ------------------------------------------------------------------------------------------------ */

/* Rows whose words before `word` are the same. */
struct group {
	uint32_t from, len, word;
};

struct sorter {
	const struct order *o;
	struct order_item *items, *spare;
	struct group *groups; /* still to be sorted: apart, and of two rows at least */
	size_t group_count;
};

static void insert_all(struct order_item *items, size_t len)
{
	for (size_t i = 1; i < len; i++) {
		struct order_item it = items[i];
		size_t at = i;

		for (; at && items[at - 1].word > it.word; at--)
			items[at] = items[at - 1];
		items[at] = it;
	}
}

static void by_byte(const struct order_item *from, struct order_item *to, size_t len,
	unsigned shift)
{
	uint32_t ends[256] = { 0 }, sum = 0;

	for (size_t i = 0; i < len; i++)
		ends[from[i].word >> shift & 255]++;
	for (size_t i = 0; i < 256; i++) {
		uint32_t count = ends[i];

		ends[i] = sum;
		sum += count;
	}
	for (size_t i = 0; i < len; i++)
		to[ends[from[i].word >> shift & 255]++] = from[i];
}

static void sort_words(struct order_item *items, struct order_item *spare, size_t len)
{
	struct order_item *from = items, *to = spare;
	uint64_t differs = 0;

	if (len < FEW) {
		insert_all(items, len);
		return;
	}
	for (size_t i = 1; i < len; i++)
		differs |= items[i].word ^ items[0].word;
	for (unsigned shift = 0; shift < 64; shift += 8) {
		struct order_item *last = from;

		if (!(differs >> shift & 255))
			continue;
		by_byte(from, to, len, shift);
		from = to;
		to = last;
	}
	if (from != items)
		memcpy(items, from, len * sizeof(*items));
}

static void sort_group(struct sorter *s, struct group g)
{
	struct order_item *items = s->items + g.from;

	for (size_t i = 0; i < g.len; i++) {
		const struct order_lane *l = &s->o->lanes[items[i].at >> LANE_SHIFT];

		items[i].word = l->words[(items[i].at & (LANE_WORDS - 1)) + g.word];
	}
	sort_words(items, s->spare, g.len);
	for (uint32_t i = 0, end; i < g.len; i = end) {
		for (end = i + 1; end < g.len && items[end].word == items[i].word;)
			end++;
		if (end - i > 1)
			s->groups[s->group_count++] = (struct group){
				.from = g.from + i, .len = end - i, .word = g.word + 1
			};
	}
}

/* All lanes in one array. */
static bool join(struct order *o)
{
	bool good = true;

	o->len = 0;
	for (size_t i = 0; i < ORDER_LANES; i++) {
		good = good && !o->lanes[i].full;
		o->len += o->lanes[i].len;
	}
	good = good && o->len <= UINT32_MAX;
	o->items = good && o->len ? malloc(o->len * sizeof(*o->items)) : NULL;
	if (!o->items)
		return good && !o->len;
	struct order_item *to = o->items;
	for (size_t i = 0; i < ORDER_LANES; i++) {
		const struct order_lane *l = &o->lanes[i];

		if (l->len)
			memcpy(to, l->items, l->len * sizeof(*to));
		to += l->len;
	}
	return true;
}

bool order_sort(struct order *o)
{
	if (!join(o))
		return false;
	struct sorter s = { .o = o, .items = o->items };
	s.spare = malloc((o->len + 1) * sizeof(*s.spare));
	s.groups = malloc((o->len / 2 + 1) * sizeof(*s.groups));
	bool good = s.spare && s.groups;
	if (good && o->len > 1)
		s.groups[s.group_count++] = (struct group){ .len = (uint32_t)o->len };
	while (good && s.group_count)
		sort_group(&s, s.groups[--s.group_count]);
	free(s.spare);
	free(s.groups);
	return good;
}
