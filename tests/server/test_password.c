/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_password.c - stored hashes check the password they were made of, and nothing else. */
#include <criterion/criterion.h>

#include "server/password.h"

Test(password, both_schemes_check_what_they_made)
{
	for (int scheme = AUTH_ARGON2ID; scheme <= AUTH_YESCRYPT; scheme++) {
		char made[PASSWORD_HASH_MAX], again[PASSWORD_HASH_MAX];

		cr_assert(password_hash((enum auth_hash)scheme, SLICE("s3cret"), made));
		cr_assert(password_hash((enum auth_hash)scheme, SLICE("s3cret"), again));
		cr_assert_str_neq(made, again, "salted");
		cr_assert(password_check(made, SLICE("s3cret")));
		cr_assert_not(password_check(made, SLICE("s3cre")));
		cr_assert_not(password_check(made, SLICE("s3cret ")));
		cr_assert_not(password_check(made, SLICE("")));
	}
}

Test(password, a_broken_hash_fits_nothing)
{
	static const char *const rows[] = { "", "x", "$argon2id$", "$argon2id$v=19$m=1,t=1,p=1$$",
		"$y$", "$6$", "*0", "!" };

	for (size_t i = 0; i < array_len(rows); i++) {
		cr_assert_not(password_check(rows[i], SLICE("")), "%s", rows[i]);
		cr_assert_not(password_check(rows[i], SLICE("x")), "%s", rows[i]);
	}
}

Test(password, nul_is_no_end)
{
	char made[PASSWORD_HASH_MAX];

	cr_assert(password_hash(AUTH_YESCRYPT, SLICE("abc"), made));
	cr_assert_not(password_check(made, SLICE("abc\0def")));
}
