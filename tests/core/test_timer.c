/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The wheel against a plain list: whatever was armed fires at its millisecond, once, in order. */
#include "core/timer.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct probe {
	struct timer timer;
	msec expect;
	unsigned fired;
};

static struct timer_wheel wheel;
static msec last_fired;

static void probe_fire(struct timer *t)
{
	struct probe *p = container_of(t, struct probe, timer);

	p->fired++;
	cr_assert_geq(wheel.now, p->expect);
	cr_assert_geq(p->expect, last_fired, "out of order");
	last_fired = p->expect;
}

static void arm(struct probe *p, msec due)
{
	p->timer.fire = probe_fire;
	p->expect = due;
	timer_wheel_arm(&wheel, &p->timer, due);
}

Test(timer, fires_at_its_millisecond_on_every_level)
{
	static const msec delays[] = { 1, 2, 63, 64, 65, 4095, 4096, 4097, 262143, 262144, 262145,
		16777216, 1073741824, 86400000ll * 365, 1ll << 43 };

	for (size_t i = 0; i < array_len(delays); i++) {
		struct probe p = { 0 };
		msec start = 1234567 + (msec)i * 77;

		timer_wheel_init(&wheel, start);
		last_fired = 0;
		arm(&p, start + delays[i]);
		cr_assert_eq(timer_wheel_run(&wheel, start + delays[i] - 1), 0u);
		cr_assert_eq(timer_wheel_run(&wheel, start + delays[i]), 1u, "delay %zu", i);
		cr_assert_eq(p.fired, 1u);
		cr_assert_not(timer_armed(&p.timer));
	}
}

Test(timer, the_past_fires_in_the_next_run)
{
	struct probe p = { 0 };

	timer_wheel_init(&wheel, 1000);
	arm(&p, 10);
	cr_assert_eq(timer_wheel_next(&wheel), 0);
	cr_assert_eq(timer_wheel_run(&wheel, 1000), 1u);
}

Test(timer, a_disarmed_timer_is_silent)
{
	struct probe p = { 0 };

	timer_wheel_init(&wheel, 0);
	arm(&p, 5000);
	timer_disarm(&p.timer);
	timer_disarm(&p.timer);
	cr_assert_eq(timer_wheel_next(&wheel), -1);
	cr_assert_eq(timer_wheel_run(&wheel, 100000), 0u);
	cr_assert_eq(p.fired, 0u);
}

static struct probe victim, killer;

static void kill_the_other(struct timer *t)
{
	(void)t;
	killer.fired++;
	timer_disarm(&victim.timer);
}

Test(timer, a_callback_may_disarm_one_due_in_the_same_run)
{
	timer_wheel_init(&wheel, 0);
	killer.timer.fire = kill_the_other;
	timer_wheel_arm(&wheel, &killer.timer, 10);
	arm(&victim, 10);
	cr_assert_eq(timer_wheel_run(&wheel, 10), 1u);
	cr_assert_eq(killer.fired, 1u);
	cr_assert_eq(victim.fired, 0u);
}

static void rearm(struct timer *t)
{
	struct probe *p = container_of(t, struct probe, timer);

	p->fired++;
	timer_wheel_arm(&wheel, t, wheel.now);
}

Test(timer, rearming_for_now_does_not_loop)
{
	struct probe p = { .timer.fire = rearm };

	timer_wheel_init(&wheel, 0);
	timer_wheel_arm(&wheel, &p.timer, 1);
	cr_assert_eq(timer_wheel_run(&wheel, 1), 1u);
	cr_assert_eq(timer_wheel_run(&wheel, 1), 1u);
}

enum { MANY = 2000 };
static struct probe probes[MANY];

/* next() never points beyond a deadline: stepping by it must fire everything on time. */
Test(timer, random_deadlines_all_fire_when_stepping_by_next)
{
	msec now = 987654321, end = now;
	unsigned fired = 0, disarmed = 0;

	srand(7);
	timer_wheel_init(&wheel, now);
	for (unsigned i = 0; i < MANY; i++) {
		msec delay = (msec)1 + rand() % (1 << (rand() % 24));

		arm(&probes[i], now + delay);
		end = MAX(end, now + delay);
	}
	for (unsigned i = 0; i < MANY; i += 3) {
		timer_disarm(&probes[i].timer);
		disarmed++;
	}
	for (msec step; (step = timer_wheel_next(&wheel)) >= 0;) {
		now += step;
		fired += timer_wheel_run(&wheel, now);
		cr_assert_leq(now, end);
	}
	cr_assert_eq(fired + disarmed, (unsigned)MANY);
	for (unsigned i = 0; i < MANY; i++)
		cr_assert_eq(probes[i].fired, i % 3 ? 1u : 0u);
}
