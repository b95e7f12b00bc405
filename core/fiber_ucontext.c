/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Switching by ucontext, for processors we have no assembly for. Slower: every switch also
 * sets the signal mask by a system call. */
#include "core/fiber_int.h"

#include <stdlib.h>
#include <ucontext.h>

static ucontext_t *context_of(struct fiber_ctx *ctx)
{
	if (!ctx->sp)
		ctx->sp = calloc(1, sizeof(ucontext_t));
	must(ctx->sp);
	return ctx->sp;
}

void fiber_ctx_init(struct fiber_ctx *ctx, char *base, char *top, void (*entry)(void))
{
	ucontext_t *context = context_of(ctx);

	must(getcontext(context) == 0);
	context->uc_stack.ss_sp = base;
	context->uc_stack.ss_size = (size_t)(top - base);
	makecontext(context, entry, 0);
}

void fiber_ctx_done(struct fiber_ctx *ctx)
{
	free(ctx->sp);
	ctx->sp = NULL;
}

void fiber_ctx_switch(struct fiber_ctx *from, struct fiber_ctx *to)
{
	must(swapcontext(context_of(from), context_of(to)) == 0);
}
