/* SPDX-License-Identifier: GPL-2.0-or-later */
/* password.c - argon2id by libargon2, everything else by crypt(3).
 *
 * argon2id runs with 19 MiB, two passes, one lane (the OWASP minimum): memory is what an attacker
 * with graphics cards pays for. */
#include "server/password.h"

#include <argon2.h>
#include <crypt.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/codec.h"
#include "core/base/crypt.h"
#include "core/entropy.h"

enum { ARGON_MEMORY_KIB = 19 * 1024, ARGON_PASSES = 2, ARGON_LANES = 1, ARGON_BYTES = 32 };

/* How the hashes begin that were made here; salt and hash follow, base64 without padding. */
static const char argon_own[] = "$argon2id$v=19$m=19456,t=2,p=1$";

/* --- Memory of argon2id ----------------------------------------------------------------------- */

/* Memory fresh from the system costs half a hash again, and left to the heap every helper thread would
 * keep such a block for ever. One is kept for all. */
static unsigned char *_Atomic spare;

enum { ARGON_BLOCK = ARGON_MEMORY_KIB * 1024 };

static int take_memory(unsigned char **out, size_t bytes)
{
	unsigned char *memory = bytes == ARGON_BLOCK ? atomic_exchange(&spare, NULL) : NULL;

	*out = memory ? memory : malloc(bytes);
	return *out ? ARGON2_OK : ARGON2_MEMORY_ALLOCATION_ERROR;
}

static void leave_memory(unsigned char *memory, size_t bytes)
{
	unsigned char *none = NULL;

	if (bytes != ARGON_BLOCK || !atomic_compare_exchange_strong(&spare, &none, memory))
		free(memory);
}

static bool get_base64(slice text, unsigned char *buf, size_t want)
{
	char padded[64];
	struct out o = out_fixed(padded, sizeof(padded));
	unsigned char bytes[sizeof(padded)];
	size_t len;

	out_slice(&o, text);
	while (o.len % 4)
		out_char(&o, '=');
	if (!out_ok(&o) || !codec_get_base64(out_written(&o), bytes, &len) || len != want)
		return false;
	memcpy(buf, bytes, want);
	return true;
}

/* Of a hash as those made here; *out_fits only then. */
static bool check_own(const char *stored, slice password, bool *out_fits)
{
	unsigned char salt[PASSWORD_SALT], hash[ARGON_BYTES], made[ARGON_BYTES];
	slice rest = slice_str(stored), first;
	argon2_context context = { .out = made,
		.outlen = sizeof(made),
		.pwd = (unsigned char *)(uintptr_t)password.ptr,
		.pwdlen = (uint32_t)password.len,
		.salt = salt,
		.saltlen = sizeof(salt),
		.t_cost = ARGON_PASSES,
		.m_cost = ARGON_MEMORY_KIB,
		.lanes = ARGON_LANES,
		.threads = ARGON_LANES,
		.version = ARGON2_VERSION_13,
		.allocate_cbk = take_memory,
		.free_cbk = leave_memory };

	if (!slice_starts(rest, slice_str(argon_own)))
		return false;
	rest = slice_skip(rest, strlen(argon_own));
	if (!slice_cut(&rest, '$', &first) || !get_base64(first, salt, sizeof(salt)) ||
		!get_base64(rest, hash, sizeof(hash)))
		return false;
	*out_fits = argon2id_ctx(&context) == ARGON2_OK &&
		crypt_eq(slice_of(made, sizeof(made)), slice_of(hash, sizeof(hash)));
	return true;
}

static bool check_argon(const char *stored, slice password)
{
	bool fits;

	if (check_own(stored, password, &fits))
		return fits;
	return argon2id_verify(stored, password.ptr, password.len) == ARGON2_OK;
}

/* --- crypt(3) ------------------------------------------------------------------------------------ */

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

/* --- Both ------------------------------------------------------------------------------------------- */

bool password_check(const char *stored, slice password)
{
	char made[PASSWORD_HASH_MAX];

	if (!strncmp(stored, "$argon2id$", 10))
		return check_argon(stored, password);
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
