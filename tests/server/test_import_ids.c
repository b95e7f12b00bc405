/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which ids POP3 clients are shown, and to whom an imported one belongs. */
#include <criterion/criterion.h>

#include <stdio.h>

#include "server/import_int.h"
#include "server/uidl.h"

Test(uidl, what_is_no_id_or_looks_like_ours_is_not_shown)
{
	static const struct {
		const char *text, *why;
		bool shown;
	} rows[] = {
		{ "from-qpopper.1", "an id", true },
		{ "0123456789012345678901234567890123456789012345678901234567890123456789", "70",
			true },
		{ "01234567890123456789012345678901234567890123456789012345678901234567890", "71",
			false },
		{ "", "nothing", false },
		{ "import 0011", "a blank", false },
		{ "tab\there", "a control", false },
		{ "caf\xc3\xa9", "beyond ASCII", false },
		{ "0000000100000abc", "ours", false },
		{ "0000000100000abc.17", "ours, of a copy", false },
		{ "0000000100000abcd", "a digit more", true },
		{ "0000000100000ab", "a digit less", true },
		{ "0000000100000ABC", "another case", true },
	};

	for (size_t i = 0; i < array_len(rows); i++)
		cr_expect_eq(uidl_may_be_shown(slice_str(rows[i].text)), rows[i].shown, "%s",
			rows[i].why);
}

Test(uidl, our_own_look_like_ours)
{
	for (uint32_t uid = 0; uid < 2; uid++) {
		char buf[UIDL_MAX];
		struct out o = out_fixed(buf, sizeof(buf));

		uidl_put_own(&o, 0xfedcba9876543210, uid ? UINT32_MAX : 0);
		cr_assert(out_ok(&o));
		cr_expect_not(uidl_may_be_shown(out_written(&o)));
	}
}

Test(import_ids, every_id_is_taken_once)
{
	enum { MANY = 5000 };
	struct import_ids ids = { 0 };

	for (unsigned round = 0; round < 2; round++)
		for (unsigned n = 0; n < MANY; n++) {
			char id[16];

			snprintf(id, sizeof(id), "id-%u", n);
			cr_assert_eq(import_ids_take(&ids, slice_str(id)), round == 0, "%s", id);
		}
	cr_expect_eq(ids.len, MANY);
	import_ids_done(&ids);
}

Test(import_ids, the_key_of_a_place_is_no_id)
{
	struct import im = { .account = "a@b.test" };
	char key[IMPORT_KEY], other[IMPORT_KEY];

	import_key_of_place(&im, SLICE("12"), key);
	import_key_of_place(&im, SLICE("13"), other);
	cr_expect_str_neq(key, other);
	cr_expect_not(uidl_may_be_shown(slice_str(key)));
}
