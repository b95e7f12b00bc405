/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mailbox server in the simulation, seed after seed.
 *
 * A seed is a life of several processes over one disk: letters come by SMTP, LMTP and APPEND, are read
 * by POP3 and IMAP, and are removed; connections break, the disk fails, the process crashes or is
 * stopped. Then everything is well, each mailbox is looked at once more, and fsck counts. Each seed
 * runs in a process of its own, ten make a test.
 *
 *   SIM_SEED=N       run this one only, and say more
 *   SIM_SEEDS=N      so many seeds, without the limit of time
 *   SIM_SECONDS=N    stop after so long
 *   SIM_LOG=1        the server's log on standard error */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "core/worker.h"
#include "relay/relay.h"
#include "tests/sim/house.h"
#include "tests/sim/mail_town.h"

enum { BATCH = 10, DEFAULT_SEEDS = 100, DEFAULT_SECONDS = 20, SEED_SECONDS = 60 };
enum { LIVES_MAX = 3, AUDIT_MS = 600 * 1000 };

/* A seed is short: what it freed is watched long enough, and most of its time went into the pages of
 * the sanitizer's usual quarantine. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=16";
}

/* What a seed's process leaves behind. */
struct outcome {
	bool finished;
	unsigned crashes, stops;
	uint64_t trace;
	struct ledger_sums sums;
};
static struct outcome *outcome;

/* --- One seed --- */

enum end { END_CRASH, END_CRASH_AT_WRITE, END_STOP };

struct plan {
	unsigned variant, lives, resets, disk_faults;
};

static struct plan make_plan(uint64_t seed)
{
	static const unsigned resets[] = { 0, 0, 1, 3, 10 }, faults[] = { 0, 0, 2, 20, 200 };
	struct plan p = { .variant = (unsigned)(seed % HOUSE_VARIANTS) };

	p.lives = 1 + (unsigned)sim_random(LIVES_MAX);
	p.resets = resets[sim_random(array_len(resets))];
	p.disk_faults = faults[sim_random(array_len(faults))];
	mail_town = (struct mail_town){ .clients = 4 + (unsigned)sim_random(6) };
	mail_town.large_per_mille = (unsigned)sim_random(3) * 60;
	mail_town.pause_ms = 1 + (msec)sim_random(2000);
	return p;
}

static void use_faults(const struct plan *p, bool on)
{
	mail_town.faults = on;
	sim_net_set(on ? p->resets : 0);
	sim_disk_set(0, on ? p->disk_faults : 0);
}

static void die(const struct plan *p)
{
	ledger_crashed(p->disk_faults);
	oracle_note((uint64_t)clock_now());
	house_crash();
	house_check(false);
	outcome->crashes++;
}

static void troubled_life(const struct plan *p)
{
	enum end end = (enum end)sim_random(3);

	mail_town.left = 5 + (unsigned)sim_random(40);
	use_faults(p, true);
	/* A server that cannot read or write its disk may refuse to start: then it is well again. */
	sim_disk_set(0, 0);
	if (end == END_CRASH_AT_WRITE)
		sim_crash_at_write(1 + (unsigned)sim_random(300));
	if (!house_open(p->variant)) {
		if (sim_crashed())
			die(p);
		return;
	}
	sim_disk_set(0, p->disk_faults);
	house_run(NULL, 50 + (msec)sim_random(sim_random(2) ? 3000 : 30000));
	if (!sim_crashed() && end == END_STOP && house_close()) {
		outcome->stops++;
		ledger_crashed(p->disk_faults);
		return;
	}
	die(p);
}

static void good_life(const struct plan *p)
{
	mail_town.left = 0;
	mail_town.clients = 1;
	mail_town.audit = true;
	use_faults(p, false);
	sim_crash_at_write(0);
	if (!house_open(p->variant))
		return;
	if (!house_run(house_idle, AUDIT_MS) || mail_town.audited != 1)
		oracle_complain("the audit does not end");
	if (house_close())
		house_check(true);
}

static void run_seed(uint64_t seed)
{
	struct sim_config config = { .seed = seed, .delay_max_ms = 1 + (msec)(seed % 7) * 5 };

	sim_start(&config);
	struct plan p = make_plan(seed);

	for (unsigned life = 0; life < p.lives && !oracle_complaints(); life++)
		troubled_life(&p);
	if (!oracle_complaints())
		good_life(&p);
	outcome->trace = oracle_trace();
	outcome->sums = ledger_sums();
	outcome->finished = true;
}

/* --- Its process --- */

static _Noreturn void child(uint64_t seed, int log)
{
	alarm(SEED_SECONDS);
	log_set_level(LOG_DEBUG);
	log_set_fd(getenv("SIM_LOG") ? STDERR_FILENO : log);
	run_seed(seed);
	fflush(NULL);
	_exit(oracle_complaints() ? 1 : 0);
}

static void say_end_of_log(int log)
{
	char bytes[6000];
	off_t size = lseek(log, 0, SEEK_END);
	ssize_t n = pread(log, bytes, sizeof(bytes), MAX(size - (off_t)sizeof(bytes), (off_t)0));

	if (n > 0)
		fprintf(stderr, "--- the end of the log:\n%.*s---\n", (int)n, bytes);
}

/* True: all was well. */
static bool try_seed(uint64_t seed, bool verbose)
{
	int log = memfd_create("log", 0), status;

	house_clean();
	*outcome = (struct outcome){ 0 };
	fflush(NULL);
	pid_t pid = fork();

	must(log >= 0 && pid >= 0);
	if (pid == 0)
		child(seed, log);
	must(waitpid(pid, &status, 0) == pid);
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && outcome->finished;

	if (!good) {
		fprintf(stderr,
			"seed %llu failed (%s %d). Again: SIM_SEED=%llu SIM_LOG=1 "
			"build-test/tests/sim/test_mail_sim\n",
			(unsigned long long)seed, WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
			(unsigned long long)seed);
		if (verbose || !outcome->finished)
			say_end_of_log(log);
	}
	close(log);
	return good;
}

/* --- All of them --- */

static uint64_t number(const char *name, uint64_t usual)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : usual;
}

static time_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static struct ledger_sums sums;
static unsigned crashes, stops, seeds_run;

static void add_up(void)
{
	sums.accepted += outcome->sums.accepted;
	sums.refused += outcome->sums.refused;
	sums.unknown += outcome->sums.unknown;
	sums.removed += outcome->sums.removed;
	sums.views += outcome->sums.views;
	crashes += outcome->crashes;
	stops += outcome->stops;
	seeds_run++;
}

static void say_sums(void)
{
	printf("%u seeds: %u crashes, %u stops; %u deliveries accepted, %u refused, %u unknown; "
	       "%u removed; mailboxes looked at %u times\n",
		seeds_run, crashes, stops, sums.accepted, sums.refused, sums.unknown, sums.removed,
		sums.views);
}

static bool run_batch(uint64_t first)
{
	unsigned failed = 0;

	for (uint64_t seed = first; seed < first + BATCH; seed++) {
		failed += !try_seed(seed, false);
		add_up();
	}
	printf("%s seeds %llu to %llu\n", failed ? "FAILED" : "ok", (unsigned long long)first,
		(unsigned long long)first + BATCH - 1);
	fflush(stdout);
	return !failed;
}

static bool same_twice(uint64_t seed)
{
	bool good = try_seed(seed, false);
	uint64_t first = outcome->trace;

	good = try_seed(seed, false) && good;
	if (outcome->trace != first)
		fprintf(stderr, "seed %llu ran differently the second time\n",
			(unsigned long long)seed);
	return good && outcome->trace == first;
}

static bool run_one(uint64_t seed)
{
	bool good = try_seed(seed, true);

	add_up();
	say_sums();
	printf("trace %016llx\n", (unsigned long long)outcome->trace);
	return good;
}

int main(void)
{
	unsigned passed = 0, failed = 0;
	uint64_t seeds = number("SIM_SEEDS", 0), first = number("SIM_FIRST", 0);
	time_t until = seconds() + (time_t)number("SIM_SECONDS", seeds ? 1000000 : DEFAULT_SECONDS);

	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		-1, 0);
	must(outcome != MAP_FAILED);
	house_make();
	if (getenv("SIM_SEED")) {
		bool good = run_one(number("SIM_SEED", 0));

		passed = good, failed = !good;
	} else {
		*(same_twice(first) ? &passed : &failed) += 1;
		seeds = seeds ? seeds : DEFAULT_SEEDS;
		for (uint64_t seed = first; seed < first + seeds && seconds() < until;
			seed += BATCH)
			*(run_batch(seed) ? &passed : &failed) += 1;
		say_sums();
	}
	house_remove();
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed ? 1 : 0;
}
