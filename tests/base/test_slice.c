/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slices: comparing, searching, cutting, and the empty slice without a pointer. */
#include "core/base/base.h"

#include <criterion/criterion.h>

Test(slice, order_is_by_bytes_then_length)
{
	cr_assert_lt(slice_cmp(SLICE("a"), SLICE("b")), 0);
	cr_assert_lt(slice_cmp(SLICE("a"), SLICE("ab")), 0);
	cr_assert_gt(slice_cmp(SLICE("\xff"), SLICE("a")), 0);
	cr_assert_eq(slice_cmp(SLICE("ab"), SLICE("ab")), 0);
	cr_assert_eq(slice_cmp((slice){ 0 }, SLICE("")), 0);
}

Test(slice, nocase_knows_ascii_letters_only)
{
	cr_assert(slice_eq_nocase(SLICE("MaIl"), SLICE("mAiL")));
	cr_assert_not(slice_eq_nocase(SLICE("\xc3\x84"), SLICE("\xc3\xa4")));
	cr_assert_not(slice_eq_nocase(SLICE("@"), SLICE("`")));
	cr_assert(slice_starts_nocase(SLICE("MAIL FROM"), SLICE("mail ")));
	cr_assert_not(slice_starts_nocase(SLICE("MA"), SLICE("mail")));
	cr_assert(slice_ends_nocase(SLICE("a.EXAMPLE"), SLICE(".example")));
	cr_assert_not(slice_ends_nocase(SLICE("e"), SLICE(".example")));
	cr_assert(slice_starts(SLICE("abc"), SLICE("")));
	cr_assert_not(slice_starts(SLICE("abc"), SLICE("B")));
}

Test(slice, sub_is_clamped)
{
	cr_assert(slice_eq(slice_sub(SLICE("abc"), 1, 9), SLICE("bc")));
	cr_assert_eq(slice_sub(SLICE("abc"), 5, 9).len, 0);
	cr_assert_eq(slice_sub(SLICE("abc"), 2, 1).len, 0);
	cr_assert_eq(slice_skip((slice){ 0 }, 3).len, 0);
}

Test(slice, finding)
{
	slice s = SLICE("a.b.c");

	cr_assert_eq(slice_find(s, '.'), 1);
	cr_assert_eq(slice_rfind(s, '.'), 3);
	cr_assert_eq(slice_find(s, 'x'), -1);
	cr_assert_eq(slice_find((slice){ 0 }, 'x'), -1);
	cr_assert_eq(slice_rfind((slice){ 0 }, 'x'), -1);
	cr_assert_eq(slice_search(s, SLICE("b.c")), 2);
	cr_assert_eq(slice_search(s, SLICE("")), 0);
	cr_assert_eq(slice_search((slice){ 0 }, SLICE("b")), -1);
}

Test(slice, crlf_is_found_from_anywhere_before_its_end)
{
	slice s = SLICE("a\nb\r\nc\r\r\n\r");

	cr_assert_eq(slice_crlf(s, 0), 5u);
	cr_assert_eq(slice_crlf(s, 4), 5u, "the CR was seen before");
	cr_assert_eq(slice_crlf(s, 5), 9u);
	cr_assert_eq(slice_crlf(s, 9), 0u);
	cr_assert_eq(slice_crlf(s, s.len), 0u);
	cr_assert_eq(slice_crlf(SLICE("\n"), 0), 0u);
}

Test(slice, cut_gives_every_piece)
{
	slice s = SLICE("a,,b,"), head;
	size_t n = 0;
	static const char *const want[] = { "a", "", "b" };

	while (slice_cut(&s, ',', &head)) {
		cr_assert_lt(n, array_len(want));
		cr_assert(slice_eq(head, slice_str(want[n])));
		n++;
	}
	cr_assert_eq(n, array_len(want));
}

Test(slice, trim_takes_blanks_only)
{
	cr_assert(slice_eq(slice_trim(SLICE(" \t a b\t ")), SLICE("a b")));
	cr_assert_eq(slice_trim(SLICE(" \t ")).len, 0);
	cr_assert(slice_eq(slice_trim(SLICE("\r\n")), SLICE("\r\n")));
}
