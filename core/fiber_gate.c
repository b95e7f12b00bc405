/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues, locks and counters between fibers of one worker. What is handed over is handed to
 * the fiber that waited longest; a wake that races a time-out wins, so nothing handed over is
 * ever lost. */
#include "core/fiber.h"

struct waiter {
	struct list_link link;
	struct fiber_wait wait;
};

static void gate_init(struct fiber_gate *gate)
{
	if (!gate->waiting.head.next)
		list_init(&gate->waiting);
}

enum err fiber_gate_wait(struct fiber_gate *gate, msec timeout_ms)
{
	struct waiter me = { 0 };

	gate_init(gate);
	list_push(&gate->waiting, &me.link);
	enum err err = fiber_wait(&me.wait, timeout_ms);

	list_remove(&me.link);
	return err;
}

bool fiber_gate_wake_one(struct fiber_gate *gate, enum err err)
{
	if (fiber_gate_empty(gate))
		return false;
	struct waiter *first = container_of(list_pop(&gate->waiting), struct waiter, link);

	fiber_wake(&first->wait, err);
	return true;
}

void fiber_gate_wake_all(struct fiber_gate *gate, enum err err)
{
	while (fiber_gate_wake_one(gate, err))
		;
}

bool fiber_gate_empty(const struct fiber_gate *gate)
{
	return !gate->waiting.head.next || list_empty(&gate->waiting);
}

enum err fiber_mutex_lock(struct fiber_mutex *m, msec timeout_ms)
{
	if (m->held)
		return fiber_gate_wait(&m->gate, timeout_ms);
	m->held = true;
	return OK;
}

void fiber_mutex_unlock(struct fiber_mutex *m)
{
	must(m->held);
	m->held = fiber_gate_wake_one(&m->gate, OK);
}

enum err fiber_sem_take(struct fiber_sem *s, msec timeout_ms)
{
	if (s->free == 0)
		return fiber_gate_wait(&s->gate, timeout_ms);
	s->free--;
	return OK;
}

void fiber_sem_give(struct fiber_sem *s)
{
	if (!fiber_gate_wake_one(&s->gate, OK))
		s->free++;
}
