/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mailbox server in the simulation: letters come by SMTP, LMTP and APPEND, are read by POP3 and
 * IMAP, and are removed; connections break, the disk fails, the process crashes or is stopped. Then
 * everything is well, each mailbox is looked at once more, and fsck counts. How seeds are run: see
 * runner.h. */
#include "tests/sim/house.h"
#include "tests/sim/mail_town.h"
#include "tests/sim/runner.h"

enum { AUDIT_MS = 600 * 1000 };

enum { COUNT_ACCEPTED = COUNT_TOWN, COUNT_REFUSED, COUNT_UNKNOWN, COUNT_REMOVED, COUNT_VIEWS };
static const char *const counted[] = { "crashes", "stops", "deliveries accepted", "refused",
	"unknown", "removed", "mailboxes looked at", NULL };

static void decide(void)
{
	town = (struct town){ .clients = 4 + (unsigned)sim_random(6) };
	town.large_per_mille = (unsigned)sim_random(3) * 60;
	town.pause_ms = 1 + (msec)sim_random(2000);
}

static void use_faults(const struct life_plan *p, bool on)
{
	town.faults = on;
	sim_net_set(on ? p->resets : 0);
	sim_disk_set(0, on ? p->disk_faults : 0);
}

static void die(const struct life_plan *p)
{
	ledger_crashed(p->disk_faults);
	runner_crash();
}

static void troubled_life(const struct life_plan *p)
{
	enum life_end end = (enum life_end)sim_random(3);

	town.left = 5 + (unsigned)sim_random(40);
	use_faults(p, true);
	/* A server that cannot read or write its disk may refuse to start: then it is well again. */
	sim_disk_set(0, 0);
	if (end == LIFE_CRASH_AT_WRITE)
		sim_crash_at_write(1 + (unsigned)sim_random(300));
	if (!house_open(p->variant)) {
		if (sim_crashed())
			die(p);
		return;
	}
	sim_disk_set(0, p->disk_faults);
	house_run(NULL, 50 + (msec)sim_random(sim_random(2) ? 3000 : 30000));
	if (!sim_crashed() && end == LIFE_STOP && house_close()) {
		runner_count(COUNT_STOPS, 1);
		ledger_crashed(p->disk_faults);
		return;
	}
	die(p);
}

static void good_life(const struct life_plan *p)
{
	town.left = 0;
	town.clients = 1;
	mail_audit.on = true;
	use_faults(p, false);
	sim_crash_at_write(0);
	if (!house_open(p->variant))
		return;
	if (!house_run(town_idle, AUDIT_MS) || mail_audit.done != 1)
		oracle_complain("the audit does not end");
	if (house_close())
		town_check(true);
}

static void count(void)
{
	struct ledger_sums sums = ledger_sums();

	runner_count(COUNT_ACCEPTED, sums.accepted);
	runner_count(COUNT_REFUSED, sums.refused);
	runner_count(COUNT_UNKNOWN, sums.unknown);
	runner_count(COUNT_REMOVED, sums.removed);
	runner_count(COUNT_VIEWS, sums.views);
}

int main(void)
{
	static const struct runner runner = { .program = "test_mail_sim",
		.seeds = 100,
		.seconds = 20,
		.twice = 1,
		.counted = counted,
		.decide = decide,
		.troubled_life = troubled_life,
		.good_life = good_life,
		.judge = count };

	return runner_main(&runner);
}
