/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sign.h - between the parts of `ringpost-bench sign`: the table and the timing test (sign.c), the
 * engines against each other (sign_compare.c), OpenSSL's library (sign_openssl.c). */
#ifndef BENCH_SIGN_H
#define BENCH_SIGN_H

#include "core/base/base.h"

/* --- OpenSSL's library, when this machine has it: nothing is linked --- */

struct openssl_key;

/* False: there is none. */
bool openssl_load(void);
/* From PEM; NULL: it does not take it. */
struct openssl_key *openssl_key_new(slice pem);
void openssl_key_free(struct openssl_key *key);
/* PKCS#1 v1.5 of a SHA-256 digest, or `raw`: the private operation on a block of the modulus'
 * length. */
bool openssl_sign(struct openssl_key *key, bool raw, slice in, unsigned char *sig);

/* --- The comparison --- */
/* At least that many signatures; an exit status. */
int sign_compare(uint64_t count);

#endif
