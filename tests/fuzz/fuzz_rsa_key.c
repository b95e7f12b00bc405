/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RSA private keys: what our small PKCS#1 reader takes for the lanes wolfCrypt takes too, and both read
 * the same numbers; primes of unequal length it leaves to wolfCrypt. The same bytes as PEM, PKCS#1 or
 * PKCS#8: what is taken is written and read again alike. */
#include <wolfssl/options.h>

#include "core/base/codec.h"
#include "core/base/rsa_mb_int.h"
#include "core/base/sigkey.h"

#include <stdlib.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/rsa.h>

enum { DER_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One of wolfCrypt's numbers, as digits. */
static void read_number(mp_int *from, uint64_t *out, size_t count)
{
	unsigned char bytes[DER_MAX];
	size_t len = (size_t)mp_unsigned_bin_size(from);

	must(len <= sizeof(bytes) && mp_to_unsigned_bin(from, bytes) == MP_OKAY);
	rsa_mb_digits(slice_of(bytes, len), out, count);
}

static void must_be_number(const uint64_t *digits, size_t count, mp_int *theirs)
{
	uint64_t other[2 * RSA_MB_DIGITS_MAX];

	read_number(theirs, other, count);
	must(memcmp(digits, other, count * sizeof(*digits)) == 0);
}

static void must_be_exponent(const struct rsa_mb_prime *prime, unsigned digits, mp_int *theirs)
{
	uint64_t other[RSA_MB_DIGITS_MAX];

	read_number(theirs, other, digits);
	for (unsigned bit = 0; bit < rsa_mb_windows(digits) * RSA_MB_WINDOW_BITS; bit++) {
		unsigned window = prime->windows[bit / RSA_MB_WINDOW_BITS];
		uint64_t digit = bit / 52 < digits ? other[bit / 52] : 0;

		must((window >> bit % RSA_MB_WINDOW_BITS & 1) == (digit >> bit % 52 & 1));
	}
}

static void must_agree(const struct rsa_mb_key *ours, RsaKey *theirs)
{
	must_be_number(ours->n, 2 * ours->digits, &theirs->n);
	must_be_number(ours->p.digits, ours->digits, &theirs->p);
	must_be_number(ours->q.digits, ours->digits, &theirs->q);
	must_be_exponent(&ours->p, ours->digits, &theirs->dP);
	must_be_exponent(&ours->q, ours->digits, &theirs->dQ);
	must(mp_count_bits(&theirs->p) == mp_count_bits(&theirs->q));
	must(mp_count_bits(&theirs->n) == 2 * mp_count_bits(&theirs->p));
}

static bool read_der(slice der, struct rsa_mb_key *key)
{
	bool taken = rsa_mb_key_pkcs1(key, der) == OK;
	word32 at = 0;
	RsaKey theirs;

	must(wc_InitRsaKey(&theirs, NULL) == 0);
	int err = wc_RsaPrivateKeyDecode((const byte *)der.ptr, &at, &theirs, (word32)der.len);

	if (taken) {
		must(err == 0);
		must_agree(key, &theirs);
	}
	wc_FreeRsaKey(&theirs);
	return taken;
}

static void hide_nothing(const void *bytes, size_t len)
{
	(void)bytes;
	(void)len;
}

static void put_pem(struct out *o, const char *label, slice der)
{
	out_printf(o, "-----BEGIN %s-----\n", label);
	codec_put_base64(o, der);
	out_printf(o, "\n-----END %s-----\n", label);
}

/* Written and read again it is the same key. */
static void must_last(struct sigkey *key)
{
	struct out o = out_heap(1 << 16), first = out_heap(1 << 16), second = out_heap(1 << 16);
	struct sigkey *again = NULL;

	sigkey_put_private(key, &o);
	sigkey_put_public(key, &first);
	if (out_written(&o).len) {
		must(sigkey_parse_private(out_written(&o), &again) == OK);
		sigkey_put_public(again, &second);
		must(slice_eq(out_written(&first), out_written(&second)));
	}
	sigkey_free(again);
	out_heap_done(&o);
	out_heap_done(&first);
	out_heap_done(&second);
}

static void read_pem(const char *label, slice der, const struct rsa_mb_key *taken)
{
	struct out o = out_heap(1 << 16);
	struct sigkey *key = NULL;

	put_pem(&o, label, der);
	enum err err = sigkey_parse_private(out_written(&o), &key);

	must((err == OK) == (key != NULL) && (!taken || key));
	if (key) {
		const struct rsa_mb_key *lanes = sigkey_lanes(key, hide_nothing);

		must(!taken || (lanes && memcmp(lanes, taken, sizeof(*lanes)) == 0));
		must_last(key);
	}
	sigkey_free(key);
	out_heap_done(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	slice der = slice_of(data, size);
	struct rsa_mb_key key;

	if (size > DER_MAX * 3 / 4)
		return 0;
	bool taken = read_der(der, &key);

	read_pem("RSA PRIVATE KEY", der, taken ? &key : NULL);
	read_pem("PRIVATE KEY", der, NULL);
	return 0;
}
