/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fiber_int.h - stacks and switches beneath fiber.c; for fiber_*.c and worker_int.h.
 *
 * A context is where a suspended flow of control goes on. Our own switch saves what the calling
 * convention asks a function to keep, on the stack it leaves; elsewhere ucontext does it. */
#ifndef CORE_FIBER_INT_H
#define CORE_FIBER_INT_H

#include "core/fiber.h"

struct fiber_ctx {
	void *sp; /* first: the assembly knows. With ucontext: the ucontext_t */
};

/* A stack with a guard below it. `top` is where it begins. */
struct fiber_stack {
	char *base; /* of the mapping, guard included */
	size_t bytes;
};

enum err fiber_stack_open(struct fiber_stack *stack, size_t bytes) must_use;
void fiber_stack_close(struct fiber_stack *stack);
size_t fiber_stack_guard_bytes(void);

/* Make *ctx such that the first switch to it calls entry() on the stack ending at `top`. */
void fiber_ctx_init(struct fiber_ctx *ctx, char *base, char *top, void (*entry)(void));
void fiber_ctx_done(struct fiber_ctx *ctx);
void fiber_ctx_switch(struct fiber_ctx *from, struct fiber_ctx *to);

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif

#endif
