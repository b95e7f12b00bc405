/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows by several keys, against a sort that compares the keys themselves. */
#include "core/base/map.h"
#include "server/imap/imap_order.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { KEYS_MAX = 3, ROWS_MAX = 3000 };

struct key {
	bool text, reverse;
};

struct row {
	uint64_t numbers[KEYS_MAX];
	slice texts[KEYS_MAX];
	uint32_t number;
};

struct plan {
	struct key keys[KEYS_MAX];
	size_t key_count, rows, lanes;
	struct row *all;
};

/* --- The other way --- */

static const struct plan *at_hand;

static int compare(const void *a, const void *b)
{
	const struct row *x = *(const struct row *const *)a, *y = *(const struct row *const *)b;

	for (size_t i = 0; i < at_hand->key_count; i++) {
		const struct key *k = &at_hand->keys[i];
		int order = k->text ?
			slice_cmp(x->texts[i], y->texts[i]) :
			(x->numbers[i] > y->numbers[i]) - (x->numbers[i] < y->numbers[i]);

		if (order)
			return k->reverse ? -order : order;
	}
	return x < y ? -1 : 1;
}

static void add(struct order_lane *l, const struct plan *p, const struct row *row)
{
	order_begin(l, row->number);
	for (size_t i = 0; i < p->key_count; i++)
		if (p->keys[i].text)
			order_add_text(l, row->texts[i], p->keys[i].reverse);
		else
			order_add_number(l, row->numbers[i], p->keys[i].reverse);
	order_end(l);
}

static void check(const struct plan *p, const char *why)
{
	static const struct row *naive[ROWS_MAX];
	struct order o;

	order_init(&o);
	for (size_t i = 0; i < p->rows; i++) {
		naive[i] = &p->all[i];
		add(&o.lanes[i * p->lanes / p->rows], p, &p->all[i]);
	}
	cr_assert(order_sort(&o));
	cr_assert_eq(o.len, p->rows);
	at_hand = p;
	qsort(naive, p->rows, sizeof(*naive), compare);
	for (size_t i = 0; i < p->rows; i++)
		cr_assert_eq(o.items[i].number, naive[i]->number, "%s: %zu of %zu", why, i,
			p->rows);
	order_done(&o);
}

/* --- What is sorted --- */

/* Texts that begin alike, end early, and hold any byte. */
static slice text_of(struct arena *a, uint64_t dice, size_t shared)
{
	static const char letters[] = { 'A', 'B', 0, '\xff' };
	size_t len = shared + dice % 20;
	char *text = arena_alloc(a, len + 1);

	memset(text, 'S', len);
	for (size_t i = dice >> 8 & 15; i < len - shared; i++)
		text[shared + i] = letters[dice >> (16 + 2 * (i % 16)) & 3];
	return slice_of(text, dice >> 60 ? len : 0);
}

static void fill(struct plan *p, struct arena *a, uint64_t seed)
{
	uint64_t dice = map_hash_u64(seed);
	size_t shared = dice % 4 * 7;

	p->rows = dice >> 10 & 1 ? dice >> 12 & 63 : dice >> 12 & 2047;
	p->lanes = 1 + (dice >> 40) % ORDER_LANES;
	p->key_count = 1 + (dice >> 44) % KEYS_MAX;
	for (size_t i = 0; i < p->key_count; i++)
		p->keys[i] = (struct key){ .text = dice >> (50 + i) & 1,
			.reverse = dice >> (56 + i) & 1 };
	p->all = arena_array(a, struct row, p->rows + 1);
	for (size_t n = 0; n < p->rows; n++) {
		p->all[n].number = (uint32_t)map_hash_u64(n);
		for (size_t i = 0; i < p->key_count; i++) {
			uint64_t one = map_hash_u64(seed * 31 + n * KEYS_MAX + i);

			p->all[n].numbers[i] = one >> (one & 63);
			p->all[n].texts[i] = text_of(a, one, shared);
		}
	}
}

Test(imap_order, as_a_sort_that_compares)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct arena a = { 0 };
		struct plan p = { .rows = 0 };

		fill(&p, &a, seed);
		check(&p, "random keys");
		arena_done(&a);
	}
}

/* The longest subject a row keeps, in all of them: every word of it is read, and the order is kept. */
Test(imap_order, long_texts_that_are_the_same)
{
	struct arena a = { 0 };
	struct plan p = { .keys = { { .text = true }, { .text = true, .reverse = true } },
		.key_count = 2,
		.rows = ROWS_MAX,
		.lanes = ORDER_LANES };
	char same[256];

	memset(same, 'x', sizeof(same));
	p.all = arena_array(&a, struct row, p.rows);
	for (size_t n = 0; n < p.rows; n++)
		p.all[n] = (struct row){ .texts = { slice_of(same, sizeof(same)),
						 slice_of(same, sizeof(same)) },
			.number = (uint32_t)(p.rows - n) };
	check(&p, "all the same");
	p.all[ROWS_MAX - 1].texts[1].len--;
	p.all[0].texts[0].len--;
	check(&p, "all but two");
	arena_done(&a);
}

Test(imap_order, nothing_and_one)
{
	struct order o;

	order_init(&o);
	cr_assert(order_sort(&o));
	cr_assert_eq(o.len, 0u);
	order_begin(&o.lanes[3], 7);
	order_add_text(&o.lanes[3], SLICE(""), false);
	order_end(&o.lanes[3]);
	cr_assert(order_sort(&o));
	cr_assert(o.len == 1 && o.items[0].number == 7);
	order_done(&o);
}
