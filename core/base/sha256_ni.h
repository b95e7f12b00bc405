/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sha256_ni.h - the SHA-256 compression function in the processor's own instructions.
 *
 * For crypt.c, which alone decides when it runs: only where cpu_has(CPU_SHA). Pure; the memory is the
 * caller's; nothing fails. */
#ifndef CORE_BASE_SHA256_NI_H
#define CORE_BASE_SHA256_NI_H

#include "core/base/base.h"

/* Take `blocks` blocks of 64 bytes into the eight words of the state (FIPS 180-4 6.2.2). */
void sha256_ni_blocks(uint32_t state[8], const unsigned char *bytes, size_t blocks);

#endif
