/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RSA by OpenSSL's libcrypto, found at run time: a second opinion that the build does not need. Names and
 * signatures are those of OpenSSL 1.1 and later. */
#include "bench/sign.h"

#include <dlfcn.h>
#include <stdlib.h>

struct openssl_key {
	void *pkey, *pkcs1, *raw;
};

static struct {
	void *(*bio_new)(const void *bytes, int len);
	int (*bio_free)(void *bio);
	void *(*read_key)(void *bio, void **key, void *callback, void *arg);
	void (*key_free)(void *pkey);
	void *(*context_new)(void *pkey, void *engine);
	void (*context_free)(void *context);
	int (*sign_init)(void *context);
	int (*control)(void *context, const char *name, const char *value);
	int (*sign)(void *context, unsigned char *sig, size_t *sig_len, const unsigned char *in,
		size_t len);
} ssl;

static const struct {
	const char *name;
	void *to;
} symbols[] = {
	{ "BIO_new_mem_buf", &ssl.bio_new },
	{ "BIO_free", &ssl.bio_free },
	{ "PEM_read_bio_PrivateKey", &ssl.read_key },
	{ "EVP_PKEY_free", &ssl.key_free },
	{ "EVP_PKEY_CTX_new", &ssl.context_new },
	{ "EVP_PKEY_CTX_free", &ssl.context_free },
	{ "EVP_PKEY_sign_init", &ssl.sign_init },
	{ "EVP_PKEY_CTX_ctrl_str", &ssl.control },
	{ "EVP_PKEY_sign", &ssl.sign },
};

bool openssl_load(void)
{
	static const char *const names[] = { "libcrypto.so.3", "libcrypto.so.1.1" };
	void *library = NULL;

	for (size_t i = 0; i < array_len(names) && !library; i++)
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	for (size_t i = 0; library && i < array_len(symbols); i++) {
		void *found = dlsym(library, symbols[i].name);

		if (!found)
			return false;
		/* POSIX lets a function's address be kept so. */
		memcpy(symbols[i].to, &found, sizeof(found));
	}
	return library != NULL;
}

static void *new_context(void *pkey, const char *padding, const char *digest)
{
	void *context = pkey ? ssl.context_new(pkey, NULL) : NULL;

	if (context && ssl.sign_init(context) == 1 &&
		ssl.control(context, "rsa_padding_mode", padding) == 1 &&
		(!digest || ssl.control(context, "digest", digest) == 1))
		return context;
	ssl.context_free(context);
	return NULL;
}

struct openssl_key *openssl_key_new(slice pem)
{
	struct openssl_key *key = calloc(1, sizeof(*key));
	void *bio = ssl.bio_new(pem.ptr, (int)pem.len);

	must(key && bio);
	key->pkey = ssl.read_key(bio, NULL, NULL, NULL);
	key->pkcs1 = new_context(key->pkey, "pkcs1", "SHA256");
	key->raw = new_context(key->pkey, "none", NULL);
	ssl.bio_free(bio);
	if (key->pkcs1 && key->raw)
		return key;
	openssl_key_free(key);
	return NULL;
}

void openssl_key_free(struct openssl_key *key)
{
	if (!key)
		return;
	ssl.context_free(key->pkcs1);
	ssl.context_free(key->raw);
	ssl.key_free(key->pkey);
	free(key);
}

bool openssl_sign(struct openssl_key *key, bool raw, slice in, unsigned char *sig)
{
	size_t len = 512;

	return ssl.sign(raw ? key->raw : key->pkcs1, sig, &len, (const unsigned char *)in.ptr,
		       in.len) == 1;
}
