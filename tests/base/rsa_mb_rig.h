/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_mb_rig.h - fixed RSA keys for the tests of core/base/rsa_mb.
 *
 * Shared by test_rsa_mb.c and leak_rsa_mb.c, which runs under Valgrind without Criterion. */
#ifndef TESTS_BASE_RSA_MB_RIG_H
#define TESTS_BASE_RSA_MB_RIG_H

#include "core/base/rsa_mb_int.h"

enum { RIG_KEYS = 4, RIG_SMALL = 2 }; /* the first two have 2048 bits */

struct rig_key {
	unsigned char bytes[6][RSA_MB_BYTES_MAX]; /* n p q dp dq qinv */
	struct rsa_mb_parts parts;                /* pointing there */
};

/* Key 0 to 3: 2048, 2048, 3072 and 4096 bits. */
void rig_load(size_t which, struct rig_key *out);

#endif
