/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keys of SCRAM-SHA-256 and the pieces of its messages. */
#include "proto/sasl/scram_int.h"

#include "core/base/codec.h"
#include "core/base/crypt.h"
#include "core/base/text.h"

/* From the salted password (RFC 5802 3). */
static void keys_of(const unsigned char salted[SASL_KEY_BYTES], struct scram_keys *keys)
{
	unsigned char client[SASL_KEY_BYTES];
	slice key = slice_of(salted, SASL_KEY_BYTES);

	hmac_sha256(key, SLICE("Client Key"), client);
	sha256_of(slice_of(client, sizeof(client)), keys->stored);
	hmac_sha256(key, SLICE("Server Key"), keys->server);
	crypt_wipe(client, sizeof(client));
}

void scram_keys_derive(struct scram_keys *keys, slice password)
{
	unsigned char salted[SASL_KEY_BYTES];

	pbkdf2_sha256(password, slice_of(keys->salt, SASL_SALT_BYTES), keys->iterations, salted);
	keys_of(salted, keys);
	crypt_wipe(salted, sizeof(salted));
}

static void derive_false(slice secret, slice user, char what, unsigned char out[SASL_KEY_BYTES])
{
	unsigned char key[SASL_KEY_BYTES];

	/* The label goes in first, so no user name can imitate another label. */
	hmac_sha256(secret, slice_of(&what, 1), key);
	hmac_sha256(slice_of(key, sizeof(key)), user, out);
}

void scram_keys_false(struct scram_keys *keys, slice secret, slice user, uint32_t iterations)
{
	unsigned char salt[SASL_KEY_BYTES];

	derive_false(secret, user, 's', salt);
	memcpy(keys->salt, salt, SASL_SALT_BYTES);
	keys->iterations = iterations;
	derive_false(secret, user, 'c', keys->stored);
	derive_false(secret, user, 'v', keys->server);
}

bool scram_take(slice *msg, char name, slice *out)
{
	slice attribute, rest = *msg;

	if (!slice_cut(&rest, ',', &attribute) || attribute.len < 2 || attribute.ptr[0] != name ||
		attribute.ptr[1] != '=')
		return false;
	*out = slice_skip(attribute, 2);
	*msg = rest;
	return true;
}

bool scram_get_name(struct arena *a, slice in, slice *out)
{
	char *name = arena_alloc(a, in.len);
	size_t len = 0;

	for (size_t i = 0; i < in.len; i++) {
		slice code = slice_sub(in, i, i + 3);

		name[len] = in.ptr[i];
		if (in.ptr[i] == '=') {
			if (!slice_eq(code, SLICE("=2C")) && !slice_eq(code, SLICE("=3D")))
				return false;
			name[len] = code.ptr[2] == 'C' ? ',' : '=';
			i += 2;
		}
		len++;
	}
	*out = slice_of(name, len);
	return sasl_name_ok(*out);
}

void scram_put_name(struct out *o, slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == ',')
			out_str(o, "=2C");
		else if (name.ptr[i] == '=')
			out_str(o, "=3D");
		else
			out_char(o, name.ptr[i]);
	}
}

bool scram_get_bytes(slice in, void *buf, size_t len)
{
	unsigned char bytes[64];
	size_t got;

	if (in.len > 64 || !codec_get_base64(in, bytes, &got) || got != len)
		return false;
	memcpy(buf, bytes, len);
	return true;
}

bool sasl_name_ok(slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7f)
			return false;
	return name.len && name.len <= 512 && text_is_utf8(name);
}

bool scram_nonce_ok(slice nonce)
{
	for (size_t i = 0; i < nonce.len; i++)
		if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e || nonce.ptr[i] == ',')
			return false;
	return nonce.len > 0;
}

slice scram_binding(struct arena *a, slice gs2, slice binding)
{
	struct out raw = out_arena(a), coded = out_arena(a);

	out_slice(&raw, gs2);
	out_slice(&raw, binding);
	codec_put_base64(&coded, out_written(&raw));
	return out_written(&coded);
}

void scram_xor_signature(const unsigned char stored[SASL_KEY_BYTES], slice auth_message,
	unsigned char bytes[SASL_KEY_BYTES])
{
	unsigned char signature[SASL_KEY_BYTES];

	hmac_sha256(slice_of(stored, SASL_KEY_BYTES), auth_message, signature);
	for (size_t i = 0; i < SASL_KEY_BYTES; i++)
		bytes[i] ^= signature[i];
}
