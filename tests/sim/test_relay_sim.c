/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The relay in the simulation: while mail comes in, next hops misbehave, connections break, the disk
 * fails and is full, the process crashes or is stopped; then everything is well, the queue drains, and
 * the oracle compares what was promised with what came. How seeds are run: see runner.h. */
#include "tests/sim/house.h"
#include "tests/sim/relay_town.h"
#include "tests/sim/runner.h"

#include "relay/relay.h"

enum { DRAIN_MS = 4 * 3600 * 1000 };

enum {
	COUNT_REBUILDS = COUNT_TOWN,
	COUNT_GAPS,
	COUNT_RELEASED,
	COUNT_ACCEPTED,
	COUNT_REFUSED,
	COUNT_UNKNOWN,
	COUNT_DELIVERIES,
	COUNT_DOUBLES,
	COUNT_REPORTS,
	COUNT_SIGNATURES,
};
static const char *const counted[] = { "crashes", "stops", "rebuilds", "with a gap", "released",
	"messages accepted", "refused", "unknown", "deliveries", "doubles (all excused)", "reports",
	"good signatures", NULL };

/* What this town's seed decides besides. */
static struct {
	uint64_t room;  /* of the disk while it is short of it; 0: it is not */
	msec wall_jump; /* of the clock on the wall, now and then */
	bool faulty_disk_now;
} plan;

static void decide(void)
{
	if (sim_random(4) == 0)
		plan.room = (2 + sim_random(6)) << 20;
	if (sim_random(4) == 0)
		plan.wall_jump = (msec)sim_random(400 * 1000) - 200 * 1000;
	town = (struct town){ .clients = 1 + (unsigned)sim_random(6) };
	/* Much of it wants several segments: then some are freed, and a snapshot lets them be forgotten. */
	town.large_per_mille = sim_random(3) ? (unsigned)sim_random(3) * 60 : 500;
	town.pause_ms = 1 + (msec)sim_random(3000);
}

static void use_faults(const struct life_plan *p, bool on)
{
	town.faults = on;
	sim_net_set(on ? p->resets : 0);
	plan.faulty_disk_now = on && (p->disk_faults || plan.room);
	sim_disk_set(on ? plan.room : 0, on ? p->disk_faults : 0);
}

static void die(void)
{
	oracle_crashed(!plan.faulty_disk_now);
	runner_crash();
	if (sim_random(2) && !oracle_complaints()) {
		sim_disk_set(0, 0);
		runner_count(COUNT_GAPS, town_rebuild(sim_random(2) == 0));
		runner_count(COUNT_REBUILDS, 1);
	}
}

static bool clients_done(void *arg)
{
	return town.busy == 0;
}

/* A process that does not live to see its queue empty. */
static void troubled_life(const struct life_plan *p)
{
	enum life_end end = (enum life_end)sim_random(3);

	town.left = 3 + (unsigned)sim_random(30);
	use_faults(p, true);
	if (end == LIFE_CRASH_AT_WRITE)
		sim_crash_at_write(1 + (unsigned)sim_random(300));
	/* A server that cannot read or write its disk may refuse to start: then it is well again. */
	sim_disk_set(0, 0);
	if (!house_open(p->variant)) {
		if (sim_crashed())
			die();
		return;
	}
	sim_disk_set(plan.room, p->disk_faults);
	house_run(NULL, (msec)sim_random(2000));
	sim_wall_jump(plan.wall_jump);
	house_run(sim_random(2) ? clients_done : NULL,
		50 + (msec)sim_random(sim_random(2) ? 3000 : 90000));
	uint64_t given_up = relay_given_up();

	if (!sim_crashed() && end == LIFE_STOP && house_close()) {
		/* With results left behind on a bad disk a stop is no better than a crash. */
		if (relay_given_up() > given_up)
			oracle_crashed(false);
		else
			oracle_stopped(!plan.faulty_disk_now);
		runner_count(COUNT_STOPS, 1);
		return;
	}
	die();
}

static void good_life(const struct life_plan *p)
{
	town.left = 5;
	use_faults(p, false);
	sim_crash_at_write(0);
	sim_wall_jump(plan.wall_jump);
	if (!house_open(p->variant))
		return;
	if (!house_run(town_idle, DRAIN_MS))
		town_say_queue();
	if (house_close())
		town_check(true);
}

static void judge(void)
{
	oracle_judge();
	struct oracle_sums sums = oracle_sums();

	runner_count(COUNT_RELEASED, operator_released());
	runner_count(COUNT_ACCEPTED, sums.accepted);
	runner_count(COUNT_REFUSED, sums.refused);
	runner_count(COUNT_UNKNOWN, sums.unknown);
	runner_count(COUNT_DELIVERIES, sums.deliveries);
	runner_count(COUNT_DOUBLES, sums.doubles);
	runner_count(COUNT_REPORTS, sums.reports);
	runner_count(COUNT_SIGNATURES, sums.signatures);
}

int main(void)
{
	static const struct runner runner = { .program = "test_relay_sim",
		.seeds = 250,
		.seconds = 70,
		.twice = 3,
		.counted = counted,
		.is_real = house_is_real,
		.decide = decide,
		.troubled_life = troubled_life,
		.good_life = good_life,
		.judge = judge };

	return runner_main(&runner);
}
