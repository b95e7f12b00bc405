/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cpu.h - which of the instruction sets we have kernels for this processor runs.
 *
 * Asked of the processor and of the state the system saves (CPUID, XGETBV) at first use, then kept:
 * in a virtual machine the question costs microseconds. Callable from anywhere; nothing fails. */
#ifndef CORE_BASE_CPU_H
#define CORE_BASE_CPU_H

#include "core/base/base.h"

enum cpu_feature {
	CPU_SHA = 1 << 0,      /* SHA-NI, with SSSE3 and SSE4.1 */
	CPU_IFMA = 1 << 1,     /* AVX-512 F, DQ, BW, VL and IFMA */
	CPU_CRC = 1 << 2,      /* SSE4.2 with PCLMULQDQ; CRC32 of ARMv8 */
	CPU_CRC_WIDE = 1 << 3, /* CPU_CRC, AVX-512 F and VL, VPCLMULQDQ */
};

/* All of them, when several are given. */
bool cpu_has(unsigned features);
/* From here on cpu_has() denies them: before the first use of what depends on it, to run the
 * portable path (tests, benchmarks). */
void cpu_hide(unsigned features);

#endif
