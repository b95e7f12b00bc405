/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fiber.h - straight-line code that may wait.
 *
 * A fiber has its own stack, from a pool of its worker, and never leaves that worker. It runs
 * until it waits or returns; nothing else runs meanwhile. It is never destroyed while
 * suspended: whoever wants it to end cancels it, its wait returns an error and it returns by
 * itself. Resuming happens from the loop only, never inside the call that wakes. Memory: a
 * stack (64 KB of address space, 4 to 8 KB resident). */
#ifndef CORE_FIBER_H
#define CORE_FIBER_H

#include "core/base/base.h"
#include "core/timer.h"

struct fiber;
struct worker;

#define FIBER_FOREVER ((msec)-1)

/* Runs fn(arg) now, on the calling worker, until it first waits; then the call returns. May be
 * called from a fiber, which goes on afterwards. ERR_NOMEM: no stack could be had, fn was not
 * called. */
enum err fiber_start(struct worker *w, void (*fn)(void *arg), void *arg) must_use;
/* The running one; NULL outside. */
struct fiber *fiber_self(void);

/* What a fiber waits for: usually on its own stack, zeroed, handed to whoever will wake it. */
struct fiber_wait {
	struct fiber *fiber; /* waiting now */
	enum err err;
	bool woken;
};

/* Wait until fiber_wake, the time-out (FIBER_FOREVER: none; ERR_TIMEOUT) or a cancel (its
 * error). A wake that came first makes it return at once, without looking at a pending cancel.
 * After an error the waker may still hold the pointer: take it back before returning. */
enum err fiber_wait(struct fiber_wait *wait, msec timeout_ms) must_use;
/* The same, but a cancel is remembered for the next interruptible wait. For what must be seen
 * to its end: an operation in flight that points into this stack, a journal append. */
enum err fiber_wait_through(struct fiber_wait *wait);
/* On the fiber's worker. The first wake counts, further ones do nothing. */
void fiber_wake(struct fiber_wait *wait, enum err err);

/* OK, or the error of a cancel. 0: let everybody else run once. */
enum err fiber_sleep(msec ms) must_use;
/* Makes the present or the next interruptible wait return `err`, once. */
void fiber_cancel(struct fiber *f, enum err err);

/* A queue of fibers of one worker waiting for its state to change. Zeroed is ready. */
struct fiber_gate {
	struct list waiting;
};
enum err fiber_gate_wait(struct fiber_gate *gate, msec timeout_ms) must_use;
/* Longest waiting first. False: nobody waits. */
bool fiber_gate_wake_one(struct fiber_gate *gate, enum err err);
void fiber_gate_wake_all(struct fiber_gate *gate, enum err err);
bool fiber_gate_empty(const struct fiber_gate *gate);

/* Only between fibers of one worker; handed over in order of arrival. The wait may be
 * cancelled. */
struct fiber_mutex {
	struct fiber_gate gate;
	bool held;
};
enum err fiber_mutex_lock(struct fiber_mutex *m, msec timeout_ms) must_use;
void fiber_mutex_unlock(struct fiber_mutex *m);

/* `free` units; set it before first use. */
struct fiber_sem {
	struct fiber_gate gate;
	unsigned free;
};
enum err fiber_sem_take(struct fiber_sem *s, msec timeout_ms) must_use;
void fiber_sem_give(struct fiber_sem *s);

#endif
