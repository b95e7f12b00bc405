/* SPDX-License-Identifier: GPL-2.0-or-later */
/* entropy.h - random bytes: the kernel's, or a seeded stream in the simulation.
 *
 * Fit for keys and tokens outside the simulation. From any thread; never fails (a kernel without
 * getrandom ends the program at the first call). */
#ifndef CORE_ENTROPY_H
#define CORE_ENTROPY_H

#include "core/base/base.h"

void entropy_fill(void *bytes, size_t len);
uint64_t entropy_u64(void);
/* Uniform in [0, n); n > 0. */
uint64_t entropy_below(uint64_t n);

/* From here on everything is drawn from this seed (simulation and tests only, one thread). */
void entropy_seed(uint64_t seed);
/* Back to the kernel. */
void entropy_unseed(void);

#endif
