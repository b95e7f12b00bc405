/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Appending, reading back, recovering. */
#include "tests/store/store_support.h"

#include <criterion/criterion.h>

Test(journal, bodies_come_back)
{
	static const size_t sizes[] = { 0, 1, 4096, 100000, 300000, 700000 };
	struct blob_ref refs[array_len(sizes)];
	struct box b;

	box_make(&b);
	b.options.cache_bytes = 0;
	box_open(&b, NULL, NULL);
	for (unsigned i = 0; i < array_len(sizes); i++)
		cr_assert_eq(put_message(b.st, i, sizes[i], &refs[i]), OK);
	for (unsigned i = 0; i < array_len(sizes); i++)
		cr_expect(message_is(b.st, refs[i].id, i, sizes[i]), "size %zu", sizes[i]);
	box_close(&b);
	box_open(&b, &keep_all, NULL);
	for (unsigned i = 0; i < array_len(sizes); i++)
		cr_expect(message_is(b.st, refs[i].id, i, sizes[i]), "size %zu again", sizes[i]);
	box_remove(&b);
}
