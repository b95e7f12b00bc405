/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_password.c - stored hashes check the password they were made of, and nothing else. */
#include <argon2.h>
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

/* Checked with memory of our own; the library's way is the yardstick. */
Test(password, hashes_of_others_are_checked_too)
{
	static const unsigned char salt[] = "saltsaltsaltsalt";
	static const uint32_t costs[][2] = { { 2, 19456 }, { 3, 19456 }, { 1, 64 } };
	char made[PASSWORD_HASH_MAX];

	for (size_t i = 0; i < array_len(costs); i++) {
		for (uint32_t lanes = 1; lanes <= 2; lanes++) {
			int rc = argon2id_hash_encoded(costs[i][0], costs[i][1], lanes, "s3cret", 6,
				salt, i == 1 ? 12 : 16, 32, made, sizeof(made));

			cr_assert_eq(rc, ARGON2_OK);
			cr_assert(password_check(made, SLICE("s3cret")), "%s", made);
			cr_assert_not(password_check(made, SLICE("s3cres")), "%s", made);
			made[strlen(made) - 3] ^= 1;
			cr_assert_not(password_check(made, SLICE("s3cret")), "%s", made);
		}
	}
}

Test(password, a_broken_hash_fits_nothing)
{
	static const char *const rows[] = { "", "x", "$argon2id$", "$argon2id$v=19$m=1,t=1,p=1$$",
		"$argon2id$v=19$m=19456,t=2,p=1$",
		"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$",
		"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAA", "$y$", "$6$", "*0",
		"!" };

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
