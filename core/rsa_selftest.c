/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_selftest.c - known answers for both paddings, at start.
 *
 * PKCS#1 signatures are a function of key and digest, so the answer is compared; PSS ones are
 * salted, and prove themselves by verifying, which rsa_key_sign() does. The key below protects
 * nothing. */
#include "core/rsa_batch_int.h"

#include "core/base/crypt.h"
#include "core/base/rsa_mb.h"

static const char test_key[] = "-----BEGIN RSA PRIVATE KEY-----\n"
			       "MIIEpAIBAAKCAQEAoJnx8OrYPgSgEzy3ZWFE2RHZnbtdBfGxIKJEm46VOq8zWoxk\n"
			       "5W1o38iM+my4gBH+NOtHGJRpL1MGbWps0XaTOZuF0L+agH+4OSsDPpwoW32gzo0+\n"
			       "WixOPAmYZ1D5+qS0A+pGPj58trDUy8wXqFQATkxXVUQ2N07k0d5WY58NkId6JXe0\n"
			       "3K+4PCt9+cIVikWrBxbhn1aFqefvfbSdnVAYvzvqiVCGPqbcOxuDZJfqgE0sCZfm\n"
			       "N+H6eGipyL41h8nrDxFVY1ZRYVuJlsAIccOrk82gcpkyu74ym0e/4dikScaiCR7f\n"
			       "8Wai9moVwHU7MHca6mecTABLlsniYdZ8Z+Y6pQIDAQABAoIBAC57sC+bQWBd5Vj8\n"
			       "C1bP+uXbCUHif2+ffzVjUfk2IRIdsH7mQLO44ZBX0xoOSq5ixtFZQbgnCHS2kpcr\n"
			       "pPhRWhZj4azEMDs9/Durq+I8v1+PsnHmJqRhy3kMC+znXpsBfcreTVtpqZ4U+1pL\n"
			       "JZPGUFpZNTPMLOcAMjFeKWHnIL1ySs2ljo1KGLzcGW3o+Pu46S7AkdPYBWwcIx7Y\n"
			       "hZQWRiQrMk0MDaYqC++45GhDfjbf6MHx7pQfjtQeqmNtTsFolegNyN4BdI3Dzo79\n"
			       "7LcgxLONYABV/8BQWXnr1vJ69D4LSg2tDDYwrnJyDgNA2LpuC09+6IlgMKP945Mh\n"
			       "L54DHGcCgYEA4TmCq3HZDVY3cwxq8k0HFvR01TRbllC54kCKEQE52+JDl4EUK0ik\n"
			       "kIInu5iQyivREqGCsOwkl5DM8EFlLxzabjtWmVg0nY1n4ZDIEhNgOq4Dq8eOKyhV\n"
			       "ey8PdccrdgswKVMTU8B7/d2x8Wp4A7cjM5rMbNfUJ/0WLTjGN3s8po8CgYEAtovf\n"
			       "tdhWOadF5i1d9GDXe7lD8/GnFkvU3CI9WayTBOw6wJp3sCbjmP9Ng5X2xq8pwgxt\n"
			       "tVGYYXw4YU96aW91dW+j3BswBxh8lT8LLY9kkfqXj4vK/xGu/klxac8SqUgFZqyR\n"
			       "y2BdCSCs2mFM/ENTiuxTg5yEDVs/okd3dqlZBYsCgYEA00E+b9G55eiY2jErn1rg\n"
			       "64cgj1stDTFrKe2fk5Oy0azJ+bH5WSAqO+HZovzX0sqGsRMNoyXcrM4FbNXqMua9\n"
			       "e+fssqkpsR6R8eH7x/ikqmXOy7HCiHistX7O4YqQGYklA54I4uYJZ3YrEmbra5C8\n"
			       "VAs+9Fj9hwS9aG14f1H48cECgYBDWdAsU6lclC7iAhMMOz7F01ETDDHNtCTRI4Dn\n"
			       "ORj1VANJVLScNXz70hZTWl02aSJLCjLgFz7VmPNkU+KiTBFWRt56Mz3BIHO2zQ/e\n"
			       "u20rvv10ZOt8uJWMFKTXmSMVehEkFL+l/ePVnkyoNgYlfOGx/AfEI1dFZklQInYd\n"
			       "PdYuiQKBgQCdc1tUpdDq1PwtVemQjahQBJPYjyBQ2RA5k+TvJIxw55DVKWmVSr8L\n"
			       "rgR/ZCsKfs9IQLXV64OFtsgEtaKTwNhJKzmnxpUYy22XAZR7720jehFriQ8SBy6A\n"
			       "YPFoqs5lPWvGaDXsp3dX8tt98Awogsof9iwhLsh1gxazb+jqFrMEjg==\n"
			       "-----END RSA PRIVATE KEY-----\n";

/* SHA-256 of the signature of "ringpost", as openssl makes it. */
static const unsigned char answer[SHA256_BYTES] = { 0x78, 0xd7, 0xff, 0xd8, 0x47, 0x44, 0x77, 0xb0,
	0x89, 0xe7, 0xc4, 0x51, 0x79, 0x83, 0x42, 0x54, 0x3a, 0x5a, 0x31, 0x43, 0xcf, 0x39, 0x23,
	0x59, 0x86, 0x89, 0x41, 0x03, 0x07, 0x83, 0xa7, 0x09 };

static bool is_answer(const struct rsa_sig *sig)
{
	unsigned char got[SHA256_BYTES];

	sha256_of(slice_of(sig->bytes, sig->len), got);
	return memcmp(got, answer, sizeof(got)) == 0;
}

/* The same job in every lane: all must come to the known answer. */
static bool try_lanes(void *work, const struct rsa_key *key)
{
	struct rsa_lanes_job jobs[RSA_MB_JOBS];
	struct rsa_sig sigs[RSA_MB_JOBS];
	unsigned char digest[SHA256_BYTES];
	bool good = true;

	sha256_of(SLICE("ringpost"), digest);
	for (size_t i = 0; i < RSA_MB_JOBS; i++)
		jobs[i] = (struct rsa_lanes_job){ .key = rsa_key_lanes(key),
			.request = { RSA_PKCS1_SHA256, digest, &sigs[i] } };
	rsa_lanes_sign(work, jobs, RSA_MB_JOBS);
	for (size_t i = 0; i < RSA_MB_JOBS; i++)
		good &= jobs[i].good && is_answer(&sigs[i]);
	return good;
}

bool rsa_lanes_self_test(void)
{
	struct rsa_key *key;
	void *work = rsa_lanes_work_new();

	if (!work || rsa_key_parse(slice_of(test_key, sizeof(test_key) - 1), &key)) {
		rsa_lanes_work_free(work);
		return false;
	}
	bool good = rsa_key_lanes(key) && try_lanes(work, key);

	rsa_key_put(key);
	rsa_lanes_work_free(work);
	return good;
}
