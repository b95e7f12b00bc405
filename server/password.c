/* SPDX-License-Identifier: GPL-2.0-or-later */
/* password.c - argon2id by libargon2, everything else by crypt(3).
 *
 * argon2id runs with 19 MiB, two passes, one lane (the OWASP minimum): memory is what an attacker
 * with graphics cards pays for. */
#include "server/password.h"

#include <argon2.h>
#include <crypt.h>
#include <stdlib.h>

#include "core/entropy.h"

enum { ARGON_MEMORY_KIB = 19 * 1024, ARGON_PASSES = 2, ARGON_LANES = 1, ARGON_BYTES = 32 };

/* crypt(3) wants a NUL; its working memory is 32 KB and does not belong on a stack. */
static bool crypt_with(const char *setting, slice password, char *out, size_t bytes)
{
	struct crypt_data *data = calloc(1, sizeof(*data));
	char *text = malloc(password.len + 1);
	const char *made = NULL;

	if (data && text) {
		memcpy(text, password.ptr, password.len);
		text[password.len] = '\0';
		made = crypt_r(text, setting, data);
		crypt_wipe(text, password.len);
	}
	bool good = made && made[0] != '*' && strlen(made) < bytes;

	if (good)
		memcpy(out, made, strlen(made) + 1);
	if (data)
		crypt_wipe(data, sizeof(*data));
	free(text);
	free(data);
	return good;
}

bool password_check(const char *stored, slice password)
{
	char made[PASSWORD_HASH_MAX];

	if (!strncmp(stored, "$argon2id$", 10))
		return argon2id_verify(stored, password.ptr, password.len) == ARGON2_OK;
	return stored[0] && !(password.len && memchr(password.ptr, 0, password.len)) &&
		crypt_with(stored, password, made, sizeof(made)) &&
		crypt_eq(slice_str(made), slice_str(stored));
}

bool password_hash(enum auth_hash scheme, slice password, char out[PASSWORD_HASH_MAX])
{
	unsigned char salt[PASSWORD_SALT];
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	entropy_fill(salt, sizeof(salt));
	if (scheme == AUTH_ARGON2ID)
		return argon2id_hash_encoded(ARGON_PASSES, ARGON_MEMORY_KIB, ARGON_LANES,
			       password.ptr, password.len, salt, sizeof(salt), ARGON_BYTES, out,
			       PASSWORD_HASH_MAX) == ARGON2_OK;
	return crypt_gensalt_rn("$y$", 0, (const char *)salt, sizeof(salt), setting,
		       sizeof(setting)) &&
		crypt_with(setting, password, out, PASSWORD_HASH_MAX);
}
