/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of the queue against a model: random parks, ends and holds; pages, counters, domains. */
#include "tests/store/store_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENTRIES = 80, STEPS = 1500, DOMAINS = 5 };

struct model {
	struct box box;
	struct schedule_entry entries[ENTRIES]; /* domain.len 0: not there */
	char tails[ENTRIES][32];
	struct blob_ref ref;
};

static slice domain_name(unsigned n)
{
	static const char *const names[DOMAINS] = { "a.test", "ab.test", "b.test", "z.example",
		"x" };

	return slice_str(names[n]);
}

static void model_park(struct model *m, unsigned i)
{
	struct schedule_entry *e = &m->entries[i];
	bool held = e->domain.len && e->state == SCHEDULE_HELD;
	struct schedule_entry next = { .ref = m->ref,
		.n = i,
		.tenant = (uint32_t)rand() % 3,
		.attempts = e->attempts + 1,
		.lane = (uint8_t)(rand() % 2),
		.state = (uint8_t)(rand() % 3),
		.domain = domain_name(i % DOMAINS),
		.due = rand() % 1000 - 20,
		.first_seen = i,
		.expires = 5000,
		.reply = SLICE("450 4.2.0 busy") };

	next.tail = slice_of(m->tails[i], (size_t)snprintf(m->tails[i], 32, "t%d", rand()));
	cr_assert_eq(schedule_park(m->box.st, &next), OK);
	if (held)
		next.state = SCHEDULE_HELD;
	*e = next;
}

static void model_step(struct model *m)
{
	unsigned i = (unsigned)rand() % ENTRIES;
	struct schedule_entry *e = &m->entries[i];
	struct schedule_change change = {
		.id = m->ref.id, .n = i, .domain = domain_name(i % DOMAINS), .due = rand() % 1000
	};
	struct schedule_done end = {
		.id = m->ref.id, .n = i, .indexed = true, .domain = change.domain
	};
	enum err want = e->domain.len ? OK : ERR_NOT_FOUND;

	switch (rand() % 8) {
	case 0:
		cr_assert_eq(schedule_finish(m->box.st, &end), OK);
		*e = (struct schedule_entry){ 0 };
		break;
	case 1:
	case 2:
		change.hold = rand() % 2;
		cr_assert_eq(schedule_set_hold(m->box.st, &change), want);
		if (!want)
			e->state = change.hold ? SCHEDULE_HELD : SCHEDULE_READY;
		if (!want && !change.hold)
			e->due = change.due;
		break;
	default:
		model_park(m, i);
	}
}

static void expect_same(const struct schedule_entry *have, const struct schedule_entry *want)
{
	cr_expect_eq(have->ref.id, want->ref.id);
	cr_expect_eq(have->ref.low, want->ref.low);
	cr_expect_eq(have->ref.size, want->ref.size);
	cr_expect_eq(have->n, want->n);
	cr_expect_eq(have->tenant, want->tenant);
	cr_expect_eq(have->attempts, want->attempts);
	cr_expect_eq(have->lane, want->lane);
	cr_expect_eq(have->state, want->state);
	cr_expect_eq(have->due, want->due);
	cr_expect_eq(have->first_seen, want->first_seen);
	cr_expect_eq(have->expires, want->expires);
	cr_expect(slice_eq(have->domain, want->domain));
	cr_expect(slice_eq(have->reply, want->reply));
	cr_expect(slice_eq(have->tail, want->tail));
}

/* All that is due in a lane of a domain, in small pages: each once, tenants apart, by time. */
static void check_due(struct model *m, unsigned domain, uint8_t lane)
{
	struct schedule_due query = {
		.domain = domain_name(domain), .lane = lane, .until = 500, .limit = 3
	};
	size_t want = 0, have = 0;
	uint32_t tenant = 0;
	wall_ms due = INT64_MIN;

	for (unsigned i = domain; i < ENTRIES; i += DOMAINS)
		want += m->entries[i].domain.len && m->entries[i].state != SCHEDULE_HELD &&
			m->entries[i].lane == lane && m->entries[i].due <= query.until;
	do {
		struct arena a = { 0 };
		struct schedule_page page;

		cr_assert_eq(schedule_read_due(m->box.st, &query, &a, &page), OK);
		for (size_t i = 0; i < page.len; i++) {
			const struct schedule_entry *e = &page.entries[i];

			expect_same(e, &m->entries[e->n]);
			cr_expect(e->tenant > tenant || (e->tenant == tenant && e->due >= due));
			tenant = e->tenant;
			due = e->due;
		}
		have += page.len;
		query.from = page.next;
		arena_done(&a);
	} while (!query.from.end);
	cr_expect_eq(have, want, "domain %u, lane %u: %zu of %zu", domain, lane, have, want);
}

static void check_domain(struct model *m, const struct schedule_domain *d)
{
	struct schedule_domain want = { .earliest = INT64_MAX };

	for (unsigned i = 0; i < ENTRIES; i++) {
		const struct schedule_entry *e = &m->entries[i];

		if (!slice_eq(e->domain, d->domain))
			continue;
		want.held += e->state == SCHEDULE_HELD;
		want.waiting += e->state != SCHEDULE_HELD;
		want.bytes += e->ref.size;
		if (e->state != SCHEDULE_HELD)
			want.earliest = MIN(want.earliest, e->due);
	}
	cr_expect_eq(d->held, want.held);
	cr_expect_eq(d->waiting, want.waiting);
	cr_expect_eq(d->bytes, want.bytes);
	cr_expect_eq(d->earliest, want.earliest);
}

static void check_all(struct model *m)
{
	struct arena a = { 0 };
	struct schedule_domains domains;
	struct schedule_cursor from = { 0 };
	struct schedule_filter filter = { .limit = 7 };
	struct schedule_totals totals;
	size_t seen = 0, want = 0, count = 0;

	do {
		cr_assert_eq(schedule_read_domains(m->box.st, &from, 2, &a, &domains), OK);
		for (size_t i = 0; i < domains.len; i++)
			check_domain(m, &domains.domains[i]);
		count += domains.len;
		from = domains.next;
	} while (!from.end);
	do {
		struct schedule_page page;

		cr_assert_eq(schedule_read(m->box.st, &filter, &a, &page), OK);
		for (size_t i = 0; i < page.len; i++)
			expect_same(&page.entries[i], &m->entries[page.entries[i].n]);
		seen += page.len;
		filter.from = page.next;
	} while (!filter.from.end);
	for (unsigned i = 0; i < ENTRIES; i++)
		want += m->entries[i].domain.len != 0;
	cr_expect_eq(seen, want);
	cr_assert_eq(schedule_totals(m->box.st, &totals), OK);
	cr_expect_eq(totals.waiting + totals.held, want);
	cr_expect_eq(totals.domains, count);
	for (unsigned d = 0; d < DOMAINS; d++)
		for (uint8_t lane = 0; lane < 2; lane++)
			check_due(m, d, lane);
	arena_done(&a);
}

Test(schedule, rows_follow_the_model)
{
	struct model *m = calloc(1, sizeof(*m));

	srand(11);
	box_make(&m->box);
	box_open(&m->box, &keep_nothing, NULL);
	cr_assert_eq(put_message(m->box.st, 1, 777, &m->ref), OK);
	for (unsigned i = 0; i < STEPS; i++) {
		model_step(m);
		if (i % 300 == 299) {
			box_close(&m->box);
			box_open(&m->box, &keep_nothing, NULL);
			check_all(m);
		}
	}
	box_remove(&m->box);
	free(m);
}

static bool match_tail(void *arg, const struct schedule_entry *e)
{
	return slice_starts(e->tail, SLICE("pick"));
}

Test(schedule, filters_narrow_a_listing)
{
	struct arena a = { 0 };
	struct schedule_page page;
	struct box b;

	box_make(&b);
	box_open(&b, &keep_nothing, NULL);
	for (unsigned i = 0; i < 20; i++) {
		struct schedule_entry e = { .ref = { .id = 100 + i / 2, .low = 100 + i / 2 },
			.n = i % 2,
			.state = i % 3 ? SCHEDULE_DEFERRED : SCHEDULE_HELD,
			.domain = i % 4 ? SLICE("a.test") : SLICE("b.test"),
			.first_seen = 1000 + i,
			.tail = i % 5 ? SLICE("other") : SLICE("pick me") };

		cr_assert_eq(schedule_park(b.st, &e), OK);
	}
	box_close(&b);
	box_open(&b, &keep_nothing, NULL);
	static const struct {
		struct schedule_filter filter;
		size_t want;
		const char *why;
	} rows[] = {
		{ { .limit = 100 }, 20, "all" },
		{ { .id = 103, .limit = 100 }, 2, "id" },
		{ { .domain = SLICE_INIT("b.test"), .limit = 100 }, 5, "domain" },
		{ { .states = 1u << SCHEDULE_HELD, .limit = 100 }, 7, "state" },
		{ { .seen_before = 1005, .limit = 100 }, 5, "older" },
		{ { .seen_after = 1015, .limit = 100 }, 4, "newer" },
		{ { .match = match_tail, .limit = 100 }, 4, "match" },
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		cr_assert_eq(schedule_read(b.st, &rows[i].filter, &a, &page), OK);
		cr_expect_eq(page.len, rows[i].want, "%s: %zu", rows[i].why, page.len);
	}
	struct schedule_entry e;
	struct schedule_name name = { .id = 104, .n = 1 };
	cr_expect_eq(schedule_get(b.st, &name, &a, &e), OK);
	name.n = 2;
	cr_expect_eq(schedule_get(b.st, &name, &a, &e), ERR_NOT_FOUND);
	arena_done(&a);
	box_remove(&b);
}
