/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fibers: starting, waiting, waking. A fiber's own struct lies at the top of its stack. It is
 * resumed by whoever switches to it (the loop, or the code that started it) and a wait switches
 * back there; so a wait is always a return to somebody who runs, never a jump to a third party.
 *
 * A waiting fiber is in exactly one of three places: named by a fiber_wait, in the ready list,
 * or both gone because it ended. A wake moves it from the first to the second; only the loop
 * empties it. */
#include "core/worker_int.h"

#include <stdlib.h>
#include <sys/mman.h>
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(from, to) 0u
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#endif
#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/asan_interface.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum { KEEP_POOLED = 16, POOL_IDLE_MS = 10 * 1000 };

struct fiber {
	struct fiber_ctx ctx, *back;
	struct fiber *below; /* who was running when this one was resumed; NULL: the loop */
	struct worker *w;
	void (*fn)(void *arg);
	void *arg;
	struct list_link link; /* pool, or ready list */
	struct list_link all;
	struct timer timer;
	struct fiber_wait *wait;         /* present while suspended and not yet made ready */
	enum err result;                 /* of a wait that nobody woke */
	enum err cancel;                 /* not yet seen */
	bool interruptible, ended, cold; /* cold: its stack below the first page was given back */
	msec idle_since;
	struct fiber_stack stack;
	unsigned valgrind_id;
	void *tsan, *asan_fake;
};

/* --- Switching --- */

#ifdef FIBER_ASAN
static void asan_leave(void **fake, const void *bottom, size_t bytes)
{
	__sanitizer_start_switch_fiber(fake, bottom, bytes);
}
#endif

/* The stack of a fiber without its guard, for the sanitizer. */
static char *stack_bottom(const struct fiber *f)
{
	return f->stack.base + fiber_stack_guard_bytes();
}

/* Run f until it waits or ends. */
static void resume(struct fiber *f)
{
	struct worker *w = f->w;
	struct fiber_pool *pool = &w->fibers;

	f->below = pool->current;
	f->back = f->below ? &f->below->ctx : &pool->loop;
	pool->current = f;
#ifdef FIBER_ASAN
	void *fake = NULL;

	asan_leave(&fake, stack_bottom(f), (size_t)((char *)f - stack_bottom(f)));
#endif
#ifdef FIBER_TSAN
	void *tsan = __tsan_get_current_fiber();

	__tsan_switch_to_fiber(f->tsan, 0);
#endif
	struct fiber *below = f->below;

	fiber_ctx_switch(f->back, &f->ctx);
#ifdef FIBER_TSAN
	(void)tsan;
#endif
#ifdef FIBER_ASAN
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
	pool->current = below;
}

/* Back to whoever resumed us. `last`: for ever. */
static void suspend(struct fiber *f, bool last)
{
	struct fiber_pool *pool = &f->w->fibers;

#ifdef FIBER_ASAN
	struct fiber *to = f->below;

	asan_leave(last ? NULL : &f->asan_fake, to ? stack_bottom(to) : pool->loop_stack,
		to ? (size_t)((char *)to - stack_bottom(to)) : pool->loop_stack_bytes);
#endif
#ifdef FIBER_TSAN
	__tsan_switch_to_fiber(f->below ? f->below->tsan : pool->tsan_loop, 0);
#endif
	(void)pool;
	(void)last;
	fiber_ctx_switch(&f->ctx, f->back);
#ifdef FIBER_ASAN
	__sanitizer_finish_switch_fiber(f->asan_fake, NULL, NULL);
#endif
}

/* The first and only frame of every fiber; a pooled one goes round the loop again. */
static void run(void)
{
	struct fiber *f = worker_self()->fibers.current;

#ifdef FIBER_ASAN
	/* Whoever came first came from the thread's own stack, or from a fiber we know
	 * already. */
	const void *bottom;
	size_t bytes;

	__sanitizer_finish_switch_fiber(NULL, &bottom, &bytes);
	if (!f->below && !f->w->fibers.loop_stack) {
		f->w->fibers.loop_stack = bottom;
		f->w->fibers.loop_stack_bytes = bytes;
	}
#endif
	for (;;) {
		f->fn(f->arg);
		f->ended = true;
		suspend(f, false);
	}
}

/* --- The pool --- */

static struct fiber *make(struct worker *w)
{
	struct fiber_pool *pool = &w->fibers;
	struct fiber_stack stack;

	if (fiber_stack_open(&stack, pool->stack_bytes))
		return NULL;
	/* Different cache lines for the hot tops of stacks that lie 64 KB apart. */
	size_t colour = (pool->made++ % 16) * 128;
	char *top = stack.base + stack.bytes - colour;
	struct fiber *f = (struct fiber *)((uintptr_t)(top - sizeof(*f)) & ~(uintptr_t)63);

	*f = (struct fiber){ .w = w, .stack = stack };
	f->valgrind_id = VALGRIND_STACK_REGISTER(stack_bottom(f), (char *)f);
#ifdef FIBER_TSAN
	f->tsan = __tsan_create_fiber(0);
#endif
	fiber_ctx_init(&f->ctx, stack_bottom(f), (char *)f, run);
	list_push(&pool->all, &f->all);
	return f;
}

static void destroy(struct fiber *f)
{
	struct fiber_stack stack = f->stack;

	list_remove(&f->all);
	VALGRIND_STACK_DEREGISTER(f->valgrind_id);
#ifdef FIBER_TSAN
	__tsan_destroy_fiber(f->tsan);
#endif
#ifdef FIBER_ASAN
	/* The shadow of its frames must not outlive the mapping. */
	__asan_unpoison_memory_region(stack_bottom(f), (size_t)((char *)f - stack_bottom(f)));
#endif
	fiber_ctx_done(&f->ctx);
	fiber_stack_close(&stack);
}

static void retire(struct fiber *f)
{
	struct fiber_pool *pool = &f->w->fibers;

	timer_disarm(&f->timer);
	f->idle_since = f->w->now;
	list_push_front(&pool->free, &f->link);
	pool->alive--;
	pool->pooled++;
}

static struct fiber *take(struct worker *w)
{
	struct fiber_pool *pool = &w->fibers;
	struct list_link *link = list_pop(&pool->free);

	if (!link)
		return make(w);
	pool->pooled--;
	return container_of(link, struct fiber, link);
}

void fiber_pool_init(struct worker *w, size_t stack_bytes)
{
	struct fiber_pool *pool = &w->fibers;

	list_init(&pool->free);
	list_init(&pool->ready);
	list_init(&pool->all);
#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
	pool->stack_bytes = MAX(stack_bytes, (size_t)256 * 1024);
#else
	pool->stack_bytes = stack_bytes ? stack_bytes : (size_t)64 * 1024;
#endif
#ifdef FIBER_TSAN
	pool->tsan_loop = __tsan_get_current_fiber();
#endif
}

void fiber_pool_done(struct worker *w)
{
	struct list_link *link;

	while ((link = list_pop(&w->fibers.free)))
		destroy(container_of(link, struct fiber, link));
	w->fibers.pooled = 0;
	fiber_ctx_done(&w->fibers.loop);
}

void fiber_pool_forget(struct worker *w)
{
	struct list_link *link;

	while ((link = list_first(&w->fibers.all)))
		destroy(container_of(link, struct fiber, all));
}

/* A few fibers stay, but not what their deepest call once touched (a TLS handshake: 17 KB). The
 * frame they sleep in lies in the page of the struct, or the one below. */
static void cool(struct fiber *f)
{
	size_t page = fiber_stack_guard_bytes();
	char *keep = (char *)((uintptr_t)f & ~(page - 1)) - page;

	if (!f->cold)
		madvise(stack_bottom(f), (size_t)(keep - stack_bottom(f)), MADV_DONTNEED);
	f->cold = true;
}

void fiber_pool_trim(struct worker *w)
{
	struct fiber_pool *pool = &w->fibers;

	/* Longest unused at the end. */
	for (struct list_link *link = pool->free.head.prev, *before; link != &pool->free.head;
		link = before) {
		struct fiber *f = container_of(link, struct fiber, link);

		before = link->prev;
		if (w->now - f->idle_since < POOL_IDLE_MS)
			return;
		if (pool->pooled <= KEEP_POOLED) {
			cool(f);
			continue;
		}
		list_remove(link);
		pool->pooled--;
		destroy(f);
	}
}

/* --- Starting and the ready list --- */

static void resume_and_retire(struct fiber *f)
{
	resume(f);
	if (f->ended)
		retire(f);
}

enum err fiber_start(struct worker *w, void (*fn)(void *arg), void *arg)
{
	must(w == worker_self());
	struct fiber *f = take(w);

	if (!f)
		return ERR_NOMEM;
	f->fn = fn;
	f->arg = arg;
	f->wait = NULL;
	f->cancel = OK;
	f->ended = f->cold = false;
	w->fibers.alive++;
	stat_add(w, fibers_started, 1);
	resume_and_retire(f);
	return OK;
}

void fiber_run_ready(struct worker *w)
{
	struct list now;
	struct list_link *link;

	list_init(&now);
	while ((link = list_pop(&w->fibers.ready)))
		list_push(&now, link);
	while ((link = list_pop(&now))) {
		stat_add(w, wakes, 1);
		resume_and_retire(container_of(link, struct fiber, link));
	}
}

struct fiber *fiber_self(void)
{
	struct worker *w = worker_self();

	return w ? w->fibers.current : NULL;
}

/* --- Waiting --- */

static void make_ready(struct fiber *f)
{
	if (f->wait)
		f->wait->fiber = NULL;
	f->wait = NULL;
	timer_disarm(&f->timer);
	list_push(&f->w->fibers.ready, &f->link);
}

static void timed_out(struct timer *t)
{
	struct fiber *f = container_of(t, struct fiber, timer);

	f->result = ERR_TIMEOUT;
	make_ready(f);
}

static enum err take_wake(struct fiber_wait *wait)
{
	enum err err = wait->err;

	*wait = (struct fiber_wait){ 0 };
	return err;
}

static enum err take_cancel(struct fiber *f)
{
	enum err err = f->cancel;

	f->cancel = OK;
	return err;
}

enum err fiber_wait(struct fiber_wait *wait, msec timeout_ms)
{
	struct fiber *f = fiber_self();

	must(f);
	if (wait->woken)
		return take_wake(wait);
	if (f->cancel)
		return take_cancel(f);
	if (timeout_ms == 0)
		return ERR_TIMEOUT;
	if (timeout_ms > 0) {
		f->timer.fire = timed_out;
		timer_arm_in(f->w, &f->timer, timeout_ms);
	}
	wait->fiber = f;
	f->wait = wait;
	f->interruptible = true;
	f->result = OK;
	suspend(f, false);
	return wait->woken ? take_wake(wait) : f->result;
}

enum err fiber_wait_through(struct fiber_wait *wait)
{
	struct fiber *f = fiber_self();

	must(f);
	if (!wait->woken) {
		wait->fiber = f;
		f->wait = wait;
		f->interruptible = false;
		suspend(f, false);
	}
	return take_wake(wait);
}

void fiber_wake(struct fiber_wait *wait, enum err err)
{
	if (wait->woken)
		return;
	wait->woken = true;
	wait->err = err;
	if (wait->fiber) {
		must(wait->fiber->w == worker_self());
		make_ready(wait->fiber);
	}
}

void fiber_cancel(struct fiber *f, enum err err)
{
	must(f->w == worker_self() && err != OK);
	if (f->wait && f->interruptible) {
		f->result = err;
		make_ready(f);
	} else if (!f->cancel) {
		f->cancel = err;
	}
}

enum err fiber_sleep(msec ms)
{
	struct fiber_wait wait = { 0 };
	struct fiber *f = fiber_self();

	must(f);
	if (ms > 0) {
		enum err err = fiber_wait(&wait, ms);

		return err == ERR_TIMEOUT ? OK : err;
	}
	if (f->cancel)
		return take_cancel(f);
	list_push(&f->w->fibers.ready, &f->link);
	suspend(f, false);
	return OK;
}
