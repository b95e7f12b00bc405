/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys in the form a pass wants: digits of 52 bits, exponents cut into windows, and the constants of
 * Montgomery's form. Those are made by doubling modulo the prime, thousands of times: slow, simple,
 * and without a branch on a secret; a key is made once. Only its shape (lengths, the exponent e,
 * oddness) decides whether it is taken. */
#include "core/base/rsa_mb_int.h"

#include "core/base/crypt.h"

enum { DIGIT_BITS = 52 };

static slice without_zeros(slice number)
{
	while (number.len && !number.ptr[0])
		number = slice_skip(number, 1);
	return number;
}

void rsa_mb_digits(slice number, uint64_t *out, size_t count)
{
	uint64_t held = 0;
	unsigned bits = 0;
	size_t at = 0;

	for (size_t i = number.len; i-- > 0 && at < count;) {
		uint64_t byte = (unsigned char)number.ptr[i];

		held |= byte << bits;
		bits += 8;
		if (bits < DIGIT_BITS)
			continue;
		out[at++] = held & RSA_MB_DIGIT;
		bits -= DIGIT_BITS;
		held = bits ? byte >> (8 - bits) : 0;
	}
	for (; at < count; at++, held = 0)
		out[at] = held;
}

/* a = 2a mod p, for a below p. */
static void double_mod(uint64_t *a, const uint64_t *p, unsigned digits)
{
	uint64_t twice[RSA_MB_DIGITS_MAX], less[RSA_MB_DIGITS_MAX], carry = 0;
	int64_t borrow = 0;

	for (unsigned j = 0; j < digits; j++) {
		uint64_t sum = 2 * a[j] + carry;

		twice[j] = sum & RSA_MB_DIGIT;
		carry = sum >> DIGIT_BITS;
		borrow += (int64_t)twice[j] - (int64_t)p[j];
		less[j] = (uint64_t)borrow & RSA_MB_DIGIT;
		borrow >>= DIGIT_BITS;
	}
	uint64_t keep = (uint64_t)borrow; /* all ones where 2a < p */

	for (unsigned j = 0; j < digits; j++)
		a[j] = less[j] ^ ((less[j] ^ twice[j]) & keep);
}

/* a R^times mod p. */
static void times_r(uint64_t *a, const uint64_t *p, unsigned digits, unsigned times)
{
	for (unsigned i = 0; i < times * digits * DIGIT_BITS; i++)
		double_mod(a, p, digits);
}

/* -1/p mod 2^52, for odd p: each step of Newton's doubles the bits that are right. */
static uint64_t negative_inverse(uint64_t p)
{
	uint64_t inverse = 1;

	for (unsigned i = 0; i < 6; i++)
		inverse *= 2 - p * inverse;
	return (0 - inverse) & RSA_MB_DIGIT;
}

static unsigned bit_of(slice number, unsigned bit)
{
	size_t byte = bit / 8;

	return byte < number.len ? (unsigned char)number.ptr[number.len - 1 - byte] >> bit % 8 & 1 :
				   0;
}

static void cut_windows(unsigned char *windows, slice exponent, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		windows[i] = 0;
		for (unsigned bit = 0; bit < RSA_MB_WINDOW_BITS; bit++)
			windows[i] |= (unsigned char)(bit_of(exponent, i * RSA_MB_WINDOW_BITS + bit)
				<< bit);
	}
}

static bool make_prime(struct rsa_mb_prime *prime, slice p, slice exponent, unsigned digits)
{
	size_t bytes = rsa_mb_prime_bits(digits) / 8;

	if (p.len != bytes || !(p.ptr[0] & 0x80) || !(p.ptr[bytes - 1] & 1) || exponent.len > bytes)
		return false;
	rsa_mb_digits(p, prime->digits, digits);
	prime->k0 = negative_inverse(prime->digits[0]);
	cut_windows(prime->windows, exponent, rsa_mb_windows(digits));
	prime->one[0] = 1;
	times_r(prime->one, prime->digits, digits, 1);
	memcpy(prime->enter, prime->one, sizeof(prime->enter));
	times_r(prime->enter, prime->digits, digits, 2);
	return true;
}

/* 0: not a size of ours. */
static unsigned digits_for(slice n)
{
	for (unsigned digits = 20; digits <= RSA_MB_DIGITS_MAX; digits += 10)
		if (n.len == rsa_mb_prime_bits(digits) / 4)
			return n.ptr[0] & 0x80 ? digits : 0;
	return 0;
}

enum err rsa_mb_key_init(struct rsa_mb_key *key, const struct rsa_mb_parts *parts)
{
	slice n = without_zeros(parts->n), p = without_zeros(parts->p);
	slice q = without_zeros(parts->q), qinv = without_zeros(parts->qinv);
	unsigned digits = digits_for(n);

	*key = (struct rsa_mb_key){ .digits = digits };
	if (!digits || !slice_eq(without_zeros(parts->e), SLICE("\1\0\1")))
		return ERR_UNSUPPORTED;
	if (!make_prime(&key->p, p, without_zeros(parts->dp), digits) ||
		!make_prime(&key->q, q, without_zeros(parts->dq), digits) || qinv.len > p.len) {
		crypt_wipe(key, sizeof(*key));
		return ERR_UNSUPPORTED;
	}
	rsa_mb_digits(n, key->n, 2 * digits);
	rsa_mb_digits(qinv, key->qinv, digits);
	times_r(key->qinv, key->p.digits, digits, 1);
	rsa_mb_wipe_stack();
	return OK;
}

/* Cut the value with that tag off the front of *der (X.690 10.1: the shortest definite form; up to
 * 64 KB). */
static bool take(slice *der, unsigned tag, slice *value)
{
	const unsigned char *at = (const unsigned char *)der->ptr;

	if (der->len < 2 || at[0] != tag)
		return false;
	size_t more = at[1] & 0x80 ? at[1] & 0x7f : 0, len = more ? 0 : at[1];

	if (more > 2 || (at[1] == 0x80) || der->len < 2 + more)
		return false;
	for (size_t i = 0; i < more; i++)
		len = len << 8 | at[2 + i];
	if (der->len - 2 - more < len || (more && len < (more == 1 ? 0x80 : 0x100)))
		return false;
	*value = slice_sub(*der, 2 + more, 2 + more + len);
	*der = slice_skip(*der, 2 + more + len);
	return true;
}

/* Not negative, and without needless zeros (X.690 8.3). */
static bool take_number(slice *der, slice *value)
{
	if (!take(der, 0x02, value) || !value->len || (value->ptr[0] & 0x80))
		return false;
	return value->len == 1 || value->ptr[0] || (value->ptr[1] & 0x80);
}

enum err rsa_mb_key_pkcs1(struct rsa_mb_key *key, slice der)
{
	enum { SEQUENCE = 0x30 };
	struct rsa_mb_parts parts;
	slice body, version, d;
	slice *numbers[] = { &version, &parts.n, &parts.e, &d, &parts.p, &parts.q, &parts.dp,
		&parts.dq, &parts.qinv };

	if (!take(&der, SEQUENCE, &body) || der.len)
		return ERR_INVALID;
	for (size_t i = 0; i < array_len(numbers); i++)
		if (!take_number(&body, numbers[i]))
			return ERR_INVALID;
	/* Another version has more primes (RFC 8017 A.1.2). */
	if (version.len != 1 || version.ptr[0] || body.len)
		return ERR_INVALID;
	return rsa_mb_key_init(key, &parts);
}

size_t rsa_mb_key_bytes(const struct rsa_mb_key *key)
{
	return rsa_mb_prime_bits(key->digits) / 4;
}
