/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID leaf 7 says what the processor has, XCR0 which registers the system saves for us; a feature
 * needs both. The answer is the one thing here that is kept: it cannot change, and threads that
 * race for it write the same. */
#include "core/base/cpu.h"

#include <stdatomic.h>

#ifdef __aarch64__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#ifdef __x86_64__
#include <cpuid.h>

enum { KNOWN = 1u << 31, XCR0_AVX512 = 0xe6 }; /* SSE, AVX, opmask, both halves of ZMM */

static unsigned saved_registers(void)
{
	unsigned low, high;

	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low;
}

static unsigned ask(void)
{
	const unsigned avx512 =
		bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL | bit_AVX512IFMA;
	const unsigned crc = bit_SSE4_2 | bit_PCLMUL, wide = bit_AVX512F | bit_AVX512VL;
	unsigned eax, ebx, ecx, edx, found = KNOWN;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx))
		return found;
	bool sse = (ecx & bit_SSSE3) && (ecx & bit_SSE4_1);
	bool zmm = (ecx & bit_OSXSAVE) && (saved_registers() & XCR0_AVX512) == XCR0_AVX512;

	if ((ecx & crc) == crc)
		found |= CPU_CRC;

	if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		return found;
	if (sse && (ebx & bit_SHA))
		found |= CPU_SHA;
	if (zmm && (ebx & avx512) == avx512)
		found |= CPU_IFMA;
	if (zmm && (found & CPU_CRC) && (ebx & wide) == wide && (ecx & bit_VPCLMULQDQ))
		found |= CPU_CRC_WIDE;
	return found;
}
#else
enum { KNOWN = 1u << 31 };

static unsigned ask(void)
{
#ifdef __aarch64__
	if (getauxval(AT_HWCAP) & HWCAP_CRC32)
		return KNOWN | CPU_CRC;
#endif
	return KNOWN;
}
#endif

static atomic_uint kept, hidden;

bool cpu_has(unsigned features)
{
	unsigned found = atomic_load_explicit(&kept, memory_order_relaxed);

	if (!found) {
		found = ask() & ~atomic_load_explicit(&hidden, memory_order_relaxed);
		atomic_store_explicit(&kept, found, memory_order_relaxed);
	}
	return (found & features) == features;
}

void cpu_hide(unsigned features)
{
	atomic_fetch_or_explicit(&hidden, features, memory_order_relaxed);
	atomic_store_explicit(&kept, 0, memory_order_relaxed);
}
