/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_edit.c - changes to a header block. */
#include "proto/mime/edit.h"
#include "proto/mime/header.h"

#include <criterion/criterion.h>

static const struct row {
	const char *why, *in, *remove[3], *prepend[2], *append[2], *want;
} rows[] = {
	{ "nothing to do", "A: b\r\n\r\n", .want = "A: b\r\n\r\n" },
	{ "every field of the name goes", "Bcc: a\r\n b\r\nTo: c\r\nbcc: d\r\n\r\n", { "Bcc" },
		.want = "To: c\r\n\r\n" },
	{ "all gone", "Bcc: a\r\n\r\n", { "Bcc" }, .want = "\r\n" },
	{ "two names", "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", { "a", "c" }, .want = "B: 2\r\n\r\n" },
	{ "last prepended stands first", "A: 1\r\n\r\n", .prepend = { "X: 1\r\n", "Y: 2\r\n" },
		.want = "Y: 2\r\nX: 1\r\nA: 1\r\n\r\n" },
	{ "last appended stands last", "A: 1\r\n\r\n", .append = { "X: 1\r\n", "Y: 2\r\n" },
		.want = "A: 1\r\nX: 1\r\nY: 2\r\n\r\n" },
	{ "all kinds", "A: 1\r\nB: 2\r\n\r\n", { "A" }, { "X: 1\r\n" }, { "Y: 2\r\n" },
		"X: 1\r\nB: 2\r\nY: 2\r\n\r\n" },
	{ "no blank line", "A: 1\r\n", .append = { "Y: 2\r\n" }, .want = "A: 1\r\nY: 2\r\n\r\n" },
	{ "no line end", "A: 1", .append = { "Y: 2\r\n" }, .want = "A: 1\r\nY: 2\r\n\r\n" },
	{ "empty block", "", .prepend = { "X: 1\r\n" }, .want = "X: 1\r\n\r\n" },
};

Test(mime_edit, plans_are_applied)
{
	struct arena a = { 0 };

	for (size_t i = 0; i < array_len(rows); i++) {
		const struct row *row = &rows[i];
		struct edit e = { .arena = &a };
		struct out o = out_arena(&a);

		for (size_t k = 0; k < 3 && row->remove[k]; k++)
			edit_remove(&e, slice_str(row->remove[k]));
		for (size_t k = 0; k < 2 && row->prepend[k]; k++)
			edit_prepend(&e, slice_str(row->prepend[k]));
		for (size_t k = 0; k < 2 && row->append[k]; k++)
			edit_append(&e, slice_str(row->append[k]));
		edit_apply(&e, slice_str(row->in), &o);
		cr_expect(slice_eq(out_written(&o), slice_str(row->want)), "%s: %.*s", row->why,
			SLICE_ARG(out_written(&o)));
	}
	arena_done(&a);
}

Test(mime_edit, kept_fields_are_not_copied)
{
	struct arena a = { 0 };
	struct edit e = { .arena = &a };
	slice block = SLICE("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n"), piece;

	edit_remove(&e, SLICE("C"));
	struct edit_run run = edit_run(&e, block);

	cr_assert(edit_next(&run, &piece));
	cr_expect(piece.ptr == block.ptr && piece.len == 12);
	cr_assert(edit_next(&run, &piece));
	cr_expect(piece.ptr == block.ptr + 18 && piece.len == 6);
	cr_assert(edit_next(&run, &piece));
	cr_expect(slice_eq(piece, SLICE("\r\n")));
	cr_expect_not(edit_next(&run, &piece));
	arena_done(&a);
}
