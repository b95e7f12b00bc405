/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stacks with a guard page, and the first frame of a new one. Guards installed by madvise
 * (Linux 6.13) keep neighbouring stacks in one mapping; by mprotect each costs two, and
 * vm.max_map_count ends the matter at some 32,000 stacks. */
#include "core/fiber_int.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

size_t fiber_stack_guard_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static bool install_guard(char *base, size_t bytes)
{
	static _Atomic bool no_madvise;

	if (!atomic_load_explicit(&no_madvise, memory_order_relaxed)) {
		if (madvise(base, bytes, MADV_GUARD_INSTALL) == 0)
			return true;
		atomic_store_explicit(&no_madvise, true, memory_order_relaxed);
	}
	return mprotect(base, bytes, PROT_NONE) == 0;
}

enum err fiber_stack_open(struct fiber_stack *stack, size_t bytes)
{
	size_t guard = fiber_stack_guard_bytes();
	size_t all = ((bytes + guard - 1) & ~(guard - 1)) + guard;
	char *base = mmap(NULL, all, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (base == MAP_FAILED)
		return ERR_NOMEM;
	/* One touched byte must not make two megabytes resident. */
	madvise(base, all, MADV_NOHUGEPAGE);
	if (!install_guard(base, guard)) {
		munmap(base, all);
		return ERR_NOMEM;
	}
	*stack = (struct fiber_stack){ .base = base, .bytes = all };
	return OK;
}

void fiber_stack_close(struct fiber_stack *stack)
{
	if (stack->base)
		munmap(stack->base, stack->bytes);
	*stack = (struct fiber_stack){ 0 };
}

/* FIBER_UCONTEXT: to try fiber_ucontext.c where it is not needed. */
#if !defined(FIBER_UCONTEXT) && (defined(__x86_64__) || defined(__aarch64__))
void fiber_ctx_entry(void);

/* Lay out what fiber_ctx_switch pops, so that it "returns" into fiber_ctx_entry. */
void fiber_ctx_init(struct fiber_ctx *ctx, char *base, char *top, void (*entry)(void))
{
	uintptr_t end = (uintptr_t)top & ~(uintptr_t)15;
	void **frame;

	(void)base;
#if defined(__x86_64__)
	/* mxcsr and x87 word, r15 r14 r13 r12 rbx rbp, return address, and the two words that
	 * keep the stack aligned to 16 at the call in fiber_ctx_entry. */
	frame = (void **)end - 10;
	memset(frame, 0, 10 * sizeof(*frame));
	__asm__ volatile("stmxcsr (%0)\n\tfnstcw 4(%0)" : : "r"(frame) : "memory");
	frame[5] = (void *)(uintptr_t)entry;
	frame[7] = (void *)(uintptr_t)fiber_ctx_entry;
#else
	frame = (void **)end - 20;
	memset(frame, 0, 20 * sizeof(*frame));
	frame[0] = (void *)(uintptr_t)entry;
	frame[11] = (void *)(uintptr_t)fiber_ctx_entry;
#endif
	ctx->sp = frame;
}

void fiber_ctx_done(struct fiber_ctx *ctx)
{
	ctx->sp = NULL;
}
#endif
