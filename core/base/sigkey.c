/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wolfCrypt's two key kinds behind one name. PEM is undone here rather than by wolfCrypt, whose PEM
 * reader guesses; DER is left to wolfCrypt. Every buffer that held a secret is wiped. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/rsa.h>
#undef MIN
#undef MAX

#include "core/base/sigkey.h"

#include "core/base/codec.h"
#include "core/base/crypt.h"
#include "core/base/rsa_mb.h"

#include <stdlib.h>

struct sigkey {
	enum sigkey_type type;
	bool is_private, ready; /* ready: the wolfCrypt object was initialised */
	bool lanes_tried;
	struct rsa_mb_key *lanes;
	union {
		RsaKey rsa;
		ed25519_key ed;
	};
};

/* A 4096-bit private key in PKCS#8 has 2.4 KB of DER. */
enum { DER_MAX = 4096, PEM_MAX = 8192, DIGEST_INFO_MAX = 64 };

static struct sigkey *new_key(enum sigkey_type type)
{
	struct sigkey *key = calloc(1, sizeof(*key));

	if (!key)
		return NULL;
	key->type = type;
	int failed =
		type == SIGKEY_RSA ? wc_InitRsaKey(&key->rsa, NULL) : wc_ed25519_init(&key->ed);

	if (!failed) {
		key->ready = true;
		return key;
	}
	free(key);
	return NULL;
}

void sigkey_free(struct sigkey *key)
{
	if (!key)
		return;
	if (key->ready && key->type == SIGKEY_RSA)
		wc_FreeRsaKey(&key->rsa);
	else if (key->ready)
		wc_ed25519_free(&key->ed);
	if (key->lanes) {
		crypt_wipe(key->lanes, sizeof(*key->lanes));
		free(key->lanes);
	}
	crypt_wipe(key, sizeof(*key));
	free(key);
}

static enum err check_size(const struct sigkey *key)
{
	unsigned bits = sigkey_bits(key);

	if (key->type == SIGKEY_RSA && (bits < SIGKEY_RSA_MIN || bits > SIGKEY_RSA_MAX))
		return ERR_UNSUPPORTED;
	return OK;
}

/* Reading ------------------------------------------------------------------------------------- */

/* Base64 with blanks and line ends in it. */
static bool decode_text(slice text, unsigned char *der, size_t *out_len)
{
	char packed[PEM_MAX];
	size_t len = 0;
	bool good = true;

	for (size_t i = 0; i < text.len && good; i++) {
		if (strchr(" \t\r\n", text.ptr[i]) && text.ptr[i])
			continue;
		good = len < sizeof(packed) && codec_base64_max(len + 1) <= DER_MAX;
		if (good)
			packed[len++] = text.ptr[i];
	}
	good = good && codec_get_base64(slice_of(packed, len), der, out_len);
	crypt_wipe(packed, sizeof(packed));
	return good;
}

/* What stands between the BEGIN and END lines; *label is "RSA PRIVATE KEY" and the like. */
static bool cut_pem(slice text, slice *label, slice *body)
{
	ptrdiff_t at = slice_search(text, SLICE("-----BEGIN "));

	if (at < 0)
		return false;
	text = slice_skip(text, (size_t)at + 11);
	at = slice_search(text, SLICE("-----"));
	if (at < 0)
		return false;
	*label = slice_sub(text, 0, (size_t)at);
	text = slice_skip(text, (size_t)at + 5);
	at = slice_search(text, SLICE("-----END "));
	if (at < 0)
		return false;
	*body = slice_sub(text, 0, (size_t)at);
	return true;
}

static bool set_seed(ed25519_key *ed, const unsigned char seed[SIGKEY_ED25519_BYTES])
{
	unsigned char public[SIGKEY_ED25519_BYTES];

	return wc_ed25519_import_private_only(seed, SIGKEY_ED25519_BYTES, ed) == 0 &&
		wc_ed25519_make_public(ed, public, sizeof(public)) == 0 &&
		wc_ed25519_import_private_key(seed, SIGKEY_ED25519_BYTES, public, sizeof(public),
			ed) == 0;
}

static bool read_rsa(RsaKey *rsa, unsigned char *der, size_t len)
{
	word32 at = 0;
	int inner = wc_GetPkcs8TraditionalOffset(der, &at, (word32)len);

	/* PKCS#1 has no such wrapping and is read from its start. */
	if (inner <= 0)
		at = 0;
	return wc_RsaPrivateKeyDecode(der, &at, rsa, (word32)len) == 0;
}

static bool read_ed25519(ed25519_key *ed, const unsigned char *der, size_t len)
{
	unsigned char seed[SIGKEY_ED25519_BYTES];
	word32 at = 0, seed_len = sizeof(seed);
	bool good;

	if (len == sizeof(seed))
		return set_seed(ed, der);
	good = wc_Ed25519PrivateKeyDecode(der, &at, ed, (word32)len) == 0 &&
		wc_ed25519_export_private_only(ed, seed, &seed_len) == 0 && set_seed(ed, seed);
	crypt_wipe(seed, sizeof(seed));
	return good;
}

static enum err read_private(enum sigkey_type type, unsigned char *der, size_t len,
	struct sigkey **out)
{
	struct sigkey *key = new_key(type);
	enum err err = ERR_INVALID;

	if (!key)
		return ERR_NOMEM;
	key->is_private = true;
	if (type == SIGKEY_RSA ? read_rsa(&key->rsa, der, len) : read_ed25519(&key->ed, der, len))
		err = check_size(key);
	if (err)
		sigkey_free(key);
	else
		*out = key;
	return err;
}

enum err sigkey_parse_private(slice text, struct sigkey **out)
{
	unsigned char der[DER_MAX];
	slice label = { 0 }, body = text;
	bool pem = cut_pem(text, &label, &body);
	enum err err = ERR_INVALID;
	size_t len = 0;

	if (pem && !slice_eq(label, SLICE("PRIVATE KEY")) &&
		!slice_eq(label, SLICE("RSA PRIVATE KEY")))
		return ERR_UNSUPPORTED;
	if (decode_text(body, der, &len) && (pem || len == SIGKEY_ED25519_BYTES)) {
		err = pem ? read_private(SIGKEY_RSA, der, len, out) : ERR_INVALID;
		if (err == ERR_INVALID && !slice_eq(label, SLICE("RSA PRIVATE KEY")))
			err = read_private(SIGKEY_ED25519, der, len, out);
	}
	crypt_wipe(der, sizeof(der));
	return err;
}

enum err sigkey_parse_public(enum sigkey_type type, slice bytes, struct sigkey **out)
{
	const unsigned char *der = (const unsigned char *)bytes.ptr;
	struct sigkey *key;
	enum err err = ERR_INVALID;
	word32 at = 0;
	int failed;

	if (bytes.len == 0 || bytes.len > DER_MAX)
		return ERR_INVALID;
	if (type == SIGKEY_ED25519 && bytes.len != SIGKEY_ED25519_BYTES)
		return ERR_INVALID;
	key = new_key(type);
	if (!key)
		return ERR_NOMEM;
	if (type == SIGKEY_RSA)
		failed = wc_RsaPublicKeyDecode(der, &at, &key->rsa, (word32)bytes.len);
	else
		failed = wc_ed25519_import_public(der, (word32)bytes.len, &key->ed);
	if (!failed)
		err = check_size(key);
	if (err)
		sigkey_free(key);
	else
		*out = key;
	return err;
}

enum err sigkey_generate(enum sigkey_type type, unsigned bits, struct WC_RNG *rng,
	struct sigkey **out)
{
	struct sigkey *key;
	int failed;

	if (type == SIGKEY_RSA && (bits < 2048 || bits > SIGKEY_RSA_MAX || bits % 1024))
		return ERR_UNSUPPORTED;
	key = new_key(type);
	if (!key)
		return ERR_NOMEM;
	key->is_private = true;
	if (type == SIGKEY_RSA)
		failed = wc_MakeRsaKey(&key->rsa, (int)bits, WC_RSA_EXPONENT, rng);
	else
		failed = wc_ed25519_make_key(rng, SIGKEY_ED25519_BYTES, &key->ed);
	if (!failed) {
		*out = key;
		return OK;
	}
	sigkey_free(key);
	return ERR_INVALID;
}

enum sigkey_type sigkey_type_of(const struct sigkey *key)
{
	return key->type;
}

unsigned sigkey_bits(const struct sigkey *key)
{
	return key->type == SIGKEY_RSA ? (unsigned)wc_RsaEncryptSize(&key->rsa) * 8 : 256;
}

/* Signing ------------------------------------------------------------------------------------- */

static enum err sign_rsa(struct sigkey *key, struct WC_RNG *rng, const unsigned char *digest,
	unsigned char *sig, size_t *out_len)
{
	unsigned char info[DIGEST_INFO_MAX];
	word32 len = wc_EncodeSignature(info, digest, SIGKEY_DIGEST, SHA256h);
	int made = wc_RsaSSL_Sign(info, len, sig, SIGKEY_SIG_MAX, &key->rsa, rng);

	if (made <= 0)
		return ERR_INVALID;
	*out_len = (size_t)made;
	return OK;
}

enum err sigkey_sign(struct sigkey *key, struct WC_RNG *rng,
	const unsigned char digest[SIGKEY_DIGEST], unsigned char sig[SIGKEY_SIG_MAX],
	size_t *out_len)
{
	word32 len = SIGKEY_SIG_MAX;

	if (!key->is_private)
		return ERR_INVALID;
	if (key->type == SIGKEY_RSA)
		return sign_rsa(key, rng, digest, sig, out_len);
	if (wc_ed25519_sign_msg(digest, SIGKEY_DIGEST, sig, &len, &key->ed) != 0)
		return ERR_INVALID;
	*out_len = len;
	return OK;
}

static bool verify_rsa(struct sigkey *key, const unsigned char *digest, slice sig)
{
	unsigned char info[DIGEST_INFO_MAX], plain[SIGKEY_SIG_MAX];
	word32 len = wc_EncodeSignature(info, digest, SIGKEY_DIGEST, SHA256h);
	int got = wc_RsaSSL_Verify((const unsigned char *)sig.ptr, (word32)sig.len, plain,
		sizeof(plain), &key->rsa);

	return got > 0 && slice_eq(slice_of(plain, (size_t)got), slice_of(info, len));
}

bool sigkey_verify(struct sigkey *key, const unsigned char digest[SIGKEY_DIGEST], slice sig)
{
	int good = 0;

	if (sig.len == 0 || sig.len > SIGKEY_SIG_MAX)
		return false;
	if (key->type == SIGKEY_RSA)
		return verify_rsa(key, digest, sig);
	return wc_ed25519_verify_msg((const unsigned char *)sig.ptr, (word32)sig.len, digest,
		       SIGKEY_DIGEST, &good, &key->ed) == 0 &&
		good == 1;
}

/* Writing ------------------------------------------------------------------------------------- */

/* The PKCS#1 form inside a PKCS#8 wrapping. */
static size_t rsa_pkcs8(RsaKey *rsa, unsigned char der[DER_MAX])
{
	unsigned char inner[DER_MAX];
	int len = wc_RsaKeyToDer(rsa, inner, sizeof(inner));
	word32 size = DER_MAX;
	int made = -1;

	if (len > 0)
		made = wc_CreatePKCS8Key(der, &size, inner, (word32)len, RSAk, NULL, 0);
	crypt_wipe(inner, sizeof(inner));
	return made > 0 ? (size_t)made : 0;
}

static void put_lines(struct out *o, slice base64)
{
	while (base64.len) {
		out_slice(o, slice_sub(base64, 0, 64));
		out_char(o, '\n');
		base64 = slice_skip(base64, 64);
	}
}

const struct rsa_mb_key *sigkey_lanes(struct sigkey *key,
	void (*hide)(const void *bytes, size_t len))
{
	unsigned char der[DER_MAX];

	if (key->lanes_tried || key->type != SIGKEY_RSA || !key->is_private)
		return key->lanes;
	key->lanes_tried = true;
	struct rsa_mb_key *lanes = calloc(1, sizeof(*lanes));
	int len = wc_RsaKeyToDer(&key->rsa, der, sizeof(der));

	if (lanes && len > 0 && rsa_mb_key_pkcs1(lanes, slice_of(der, (size_t)len)) == OK)
		key->lanes = lanes;
	else
		free(lanes);
	hide(key, sizeof(*key));
	if (key->lanes)
		hide(key->lanes, sizeof(*key->lanes));
	crypt_wipe(der, sizeof(der));
	return key->lanes;
}

void sigkey_put_private(struct sigkey *key, struct out *o)
{
	unsigned char der[DER_MAX];
	char base64[PEM_MAX];
	struct out text = out_fixed(base64, sizeof(base64));
	size_t len = 0;

	if (key->is_private && key->type == SIGKEY_RSA) {
		len = rsa_pkcs8(&key->rsa, der);
	} else if (key->is_private) {
		int made = wc_Ed25519PrivateKeyToDer(&key->ed, der, sizeof(der));

		len = made > 0 ? (size_t)made : 0;
	}
	if (len) {
		codec_put_base64(&text, slice_of(der, len));
		out_str(o, "-----BEGIN PRIVATE KEY-----\n");
		put_lines(o, out_written(&text));
		out_str(o, "-----END PRIVATE KEY-----\n");
	}
	crypt_wipe(der, sizeof(der));
	crypt_wipe(base64, sizeof(base64));
}

void sigkey_put_public(struct sigkey *key, struct out *o)
{
	unsigned char der[DER_MAX];
	word32 size = sizeof(der);
	int len;

	if (key->type == SIGKEY_RSA)
		len = wc_RsaKeyToPublicDer(&key->rsa, der, sizeof(der));
	else
		len = wc_ed25519_export_public(&key->ed, der, &size) == 0 ? (int)size : 0;
	if (len > 0)
		codec_put_base64(o, slice_of(der, (size_t)len));
}

void sigkey_put_record(struct sigkey *key, struct out *o)
{
	out_str(o, key->type == SIGKEY_RSA ? "v=DKIM1; k=rsa; p=" : "v=DKIM1; k=ed25519; p=");
	sigkey_put_public(key, o);
}
