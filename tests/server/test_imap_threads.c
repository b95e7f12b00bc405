/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conversations: the examples of RFC 5256, loops, and chains that are long. */
#include "server/imap/imap_threads.h"

#include <criterion/criterion.h>

struct row {
	uint64_t id, subject, refs[4];
	wall_ms sent;
	bool reply;
};

static const struct {
	struct row rows[8];
	const char *references, *subjects, *why;
} cases[] = {
	{ .rows = { { .id = 1, .subject = 9, .sent = 1 } },
		.references = "(1)",
		.subjects = "(1)",
		.why = "one" },
	{ .rows = { { .id = 1, .subject = 9, .sent = 1 },
		  { .id = 2, .subject = 9, .refs = { 1 }, .sent = 2, .reply = true },
		  { .id = 3, .subject = 9, .refs = { 1, 2 }, .sent = 3, .reply = true } },
		.references = "(1 2 3)",
		.subjects = "(1 (2)(3))",
		.why = "a chain" },
	{ .rows = { { .id = 1, .subject = 9, .sent = 1 },
		  { .id = 2, .subject = 9, .refs = { 1 }, .sent = 3, .reply = true },
		  { .id = 3, .subject = 9, .refs = { 1 }, .sent = 2, .reply = true },
		  { .id = 4, .subject = 9, .refs = { 1, 3 }, .sent = 4, .reply = true } },
		.references = "(1 (3 4)(2))",
		.subjects = "(1 (3)(2)(4))",
		.why = "siblings by date" },
	{ .rows = { { .id = 2, .subject = 8, .refs = { 7 }, .sent = 1 },
		  { .id = 3, .subject = 9, .refs = { 7 }, .sent = 2 } },
		.references = "((1)(2))",
		.subjects = "(1)(2)",
		.why = "a parent that is not here holds its children together" },
	{ .rows = { { .id = 3, .subject = 9, .refs = { 7 }, .sent = 2 } },
		.references = "(1)",
		.subjects = "(1)",
		.why = "and goes when it has one" },
	{ .rows = { { .id = 1, .subject = 8, .sent = 1 },
		  { .id = 2, .subject = 7, .refs = { 1, 5 }, .sent = 2 } },
		.references = "(1 2)",
		.subjects = "(1)(2)",
		.why = "what is missing in between is passed over" },
	{ .rows = { { .id = 1, .subject = 8, .refs = { 2 }, .sent = 1 },
		  { .id = 2, .subject = 7, .refs = { 1 }, .sent = 2 } },
		.references = "(2 1)",
		.subjects = "(1)(2)",
		.why = "a loop is cut" },
	{ .rows = { { .id = 5, .subject = 7, .refs = { 3 }, .sent = 1 },
		  { .id = 6, .subject = 8, .refs = { 1, 2, 3 }, .sent = 2 },
		  { .id = 1, .subject = 9, .refs = { 3 }, .sent = 3 } },
		.references = "(3 (1)(2))",
		.subjects = "(1)(2)(3)",
		.why = "by who came first, though what it says of others (1.B)" },
	{ .rows = { { .id = 5, .subject = 7, .refs = { 1, 2 }, .sent = 4 },
		  { .id = 2, .subject = 8, .refs = { 3 }, .sent = 3 },
		  { .id = 1, .subject = 9, .refs = { 2 }, .sent = 2 },
		  { .id = 3, .subject = 6, .sent = 1 } },
		.references = "(4 2 (3)(1))",
		.subjects = "(4)(3)(2)(1)",
		.why = "a parent lost is none to fear a loop of" },
	{ .rows = { { .id = 3, .subject = 7, .refs = { 1, 2 }, .sent = 3 },
		  { .id = 1, .subject = 9, .sent = 1 }, { .id = 2, .subject = 8, .sent = 2 } },
		.references = "(2)(3 1)",
		.subjects = "(2)(3)(1)",
		.why = "no references of its own: what those before it said of it is lost (1.B)" },
	{ .rows = { { .id = 1, .subject = 9, .sent = 1 }, { .id = 2, .subject = 8, .sent = 2 },
		  { .id = 3, .subject = 7, .refs = { 1, 2 }, .sent = 3 } },
		.references = "(1 2 3)",
		.subjects = "(1)(2)(3)",
		.why = "and what those behind it say counts" },
	{ .rows = { { .id = 1, .subject = 8, .refs = { 1 }, .sent = 1 } },
		.references = "(1)",
		.subjects = "(1)",
		.why = "its own parent" },
	{ .rows = { { .id = 1, .subject = 8, .sent = 2 }, { .id = 1, .subject = 9, .sent = 1 } },
		.references = "(2)(1)",
		.subjects = "(2)(1)",
		.why = "one id twice, roots by date" },
	{ .rows = { { .id = 1, .subject = 8, .sent = 1 },
		  { .id = 2, .subject = 8, .sent = 2, .reply = true } },
		.references = "(1 2)",
		.subjects = "(1 2)",
		.why = "a reply without references joins by subject" },
	{ .rows = { { .id = 1, .subject = 8, .sent = 1, .reply = true },
		  { .id = 2, .subject = 8, .sent = 2, .reply = false } },
		.references = "(2 1)",
		.subjects = "(1 2)",
		.why = "also when it came first" },
	{ .rows = { { .id = 1, .subject = 8, .sent = 1 }, { .id = 2, .subject = 8, .sent = 2 },
		  { .id = 3, .subject = 8, .sent = 3 } },
		.references = "((1)(2)(3))",
		.subjects = "(1 (2)(3))",
		.why = "none is the other's reply: a container above" },
	{ .rows = { { .id = 1, .sent = 1 }, { .id = 2, .sent = 2 } },
		.references = "(1)(2)",
		.subjects = "(1 2)",
		.why = "empty subjects do not bind" },
	{ .rows = { { .sent = 1, .subject = 3 }, { .sent = 2, .subject = 4 } },
		.references = "(1)(2)",
		.subjects = "(1)(2)",
		.why = "no ids at all" },
};

static size_t messages_of(const struct row *rows, struct thread_message *out)
{
	size_t n = 0;

	for (; n < 8 && rows[n].sent; n++) {
		out[n] = (struct thread_message){ .number = (uint32_t)n + 1,
			.sent = rows[n].sent,
			.id = rows[n].id,
			.subject = rows[n].subject,
			.reply = rows[n].reply,
			.refs = rows[n].refs };
		while (out[n].ref_count < 4 && rows[n].refs[out[n].ref_count])
			out[n].ref_count++;
	}
	return n;
}

Test(imap_threads, small_ones)
{
	for (size_t i = 0; i < array_len(cases); i++) {
		struct thread_message messages[8];
		size_t len = messages_of(cases[i].rows, messages);
		struct arena a = { 0 };
		struct out refs = out_arena(&a), subjects = out_arena(&a);

		cr_assert(threads_by_references(messages, len, &refs));
		cr_assert(threads_by_subject(messages, len, &subjects));
		cr_expect(slice_eq(out_written(&refs), slice_str(cases[i].references)), "%s: %.*s",
			cases[i].why, SLICE_ARG(out_written(&refs)));
		cr_expect(slice_eq(out_written(&subjects), slice_str(cases[i].subjects)),
			"%s, by subject: %.*s", cases[i].why, SLICE_ARG(out_written(&subjects)));
		arena_done(&a);
	}
}

enum { LONG = 50000 };

/* Each number must stand there once, and every parenthesis be closed. */
static void check_text(slice text, uint32_t count)
{
	uint32_t seen = 0;
	int open = 0;

	for (size_t i = 0; i < text.len; i++) {
		bool digit = text.ptr[i] >= '0' && text.ptr[i] <= '9';

		seen += digit && (i == 0 || text.ptr[i - 1] < '0' || text.ptr[i - 1] > '9');
		open += text.ptr[i] == '(' ? 1 : text.ptr[i] == ')' ? -1 : 0;
		cr_assert(open >= 0);
	}
	cr_assert(open == 0 && seen == count, "%u of %u", seen, count);
}

static void thread_many(void (*make)(struct thread_message *m, uint64_t *refs, uint32_t i))
{
	struct arena a = { 0 };
	struct thread_message *messages = arena_array(&a, struct thread_message, LONG);
	uint64_t *refs = arena_array(&a, uint64_t, (size_t)LONG * 2);
	struct out o = out_arena(&a);

	for (uint32_t i = 0; i < LONG; i++) {
		messages[i] = (struct thread_message){ .number = i + 1, .sent = i, .id = i + 1 };
		messages[i].refs = refs + (size_t)i * 2;
		make(&messages[i], refs + (size_t)i * 2, i);
	}
	cr_assert(threads_by_references(messages, LONG, &o));
	check_text(out_written(&o), LONG);
	arena_done(&a);
}

static void deep(struct thread_message *m, uint64_t *refs, uint32_t i)
{
	m->ref_count = i > 0;
	refs[0] = i;
}

static void deep_backwards(struct thread_message *m, uint64_t *refs, uint32_t i)
{
	m->ref_count = i + 1 < LONG;
	refs[0] = i + 2;
}

/* Each is said to be below the one behind it, and then says the other way round. */
static void contradictory(struct thread_message *m, uint64_t *refs, uint32_t i)
{
	m->ref_count = 2;
	refs[0] = (uint64_t)LONG - i;
	refs[1] = i % 2 ? i : (uint64_t)LONG - i - 1;
}

static void tangled(struct thread_message *m, uint64_t *refs, uint32_t i)
{
	m->ref_count = 2;
	refs[0] = (i * 7919u) % LONG + 1;
	refs[1] = (i * 104729u) % LONG + 1;
	m->subject = i % 1000;
	m->reply = i % 3 == 0;
}

Test(imap_threads, long_chains_and_tangles_end)
{
	thread_many(deep);
	thread_many(deep_backwards);
	thread_many(tangled);
	thread_many(contradictory);
}
