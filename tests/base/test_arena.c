/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arenas: zeroed, aligned, rolled back, reset. */
#include "core/base/base.h"

#include <criterion/criterion.h>

Test(arena, memory_is_zeroed_and_aligned_after_reuse)
{
	struct arena a = { 0 };

	for (int round = 0; round < 3; round++) {
		for (size_t n = 1; n < 6000; n += 371) {
			char *p = arena_alloc(&a, n);

			cr_assert_eq((uintptr_t)p % _Alignof(max_align_t), 0);
			cr_assert(p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
			memset(p, 0xee, n);
		}
		arena_reset(&a);
		cr_assert_eq(a.used_bytes, 0);
	}
	arena_done(&a);
	cr_assert_null(a.chunk);
}

Test(arena, rollback_keeps_what_is_older)
{
	struct arena a;

	arena_init(&a, 256);
	slice kept = arena_dup(&a, SLICE("kept"));
	struct arena_mark mark = arena_mark(&a);

	for (int i = 0; i < 20; i++)
		memset(arena_alloc(&a, 100), 'x', 100);
	arena_rollback(&a, mark);
	cr_assert(slice_eq(kept, SLICE("kept")));
	cr_assert_eq(a.used_bytes, mark.used_bytes);
	char *next = arena_alloc(&a, 16);

	cr_assert_eq(next[0], 0);
	cr_assert_eq(next - kept.ptr, 16, "the rolled back room is used again");
	arena_done(&a);
}

Test(arena, rollback_to_the_empty_arena_frees_all)
{
	struct arena a = { 0 };
	struct arena_mark mark = arena_mark(&a);

	memset(arena_alloc(&a, 10), 1, 10);
	arena_rollback(&a, mark);
	cr_assert_null(a.chunk);
}

Test(arena, reset_does_not_keep_a_big_chunk)
{
	struct arena a = { 0 };

	memset(arena_alloc(&a, 1 << 20), 1, 1 << 20);
	arena_reset(&a);
	cr_assert_null(a.chunk);
	memset(arena_alloc(&a, 8), 1, 8);
	arena_reset(&a);
	cr_assert_not_null(a.chunk);
	arena_done(&a);
}

Test(arena, strings)
{
	struct arena a = { 0 };

	cr_assert_str_eq(arena_str(&a, slice_sub(SLICE("abcdef"), 1, 3)), "bc");
	cr_assert(slice_eq(arena_printf(&a, "%d-%s", 7, "x"), SLICE("7-x")));
	cr_assert_eq(arena_dup(&a, (slice){ 0 }).len, 0);
	uint32_t *numbers = arena_array(&a, uint32_t, 10);

	cr_assert_eq(numbers[9], 0);
	arena_done(&a);
}
