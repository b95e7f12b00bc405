/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole server in the simulation, seed after seed.
 *
 * A seed is a life of several processes over one disk: while mail comes in, next hops misbehave,
 * connections break, the disk fails and is full, the process crashes or is stopped; then everything
 * is well, the queue drains, and the oracle compares what was promised with what came. Each seed
 * runs in a process of its own, ten make a test.
 *
 *   SIM_SEED=N       run this one only, and say more
 *   SIM_SEEDS=N      so many seeds, without the limit of time
 *   SIM_SECONDS=N    stop after so long
 *   SIM_LOG=1        the server's log on standard error */
#include "tests/sim/house.h"
#include "tests/sim/town.h"

#include "core/log.h"
#include "relay/relay.h"
#include "core/base/map.h"
#include "core/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 10, DEFAULT_SEEDS = 250, DEFAULT_SECONDS = 70, SEED_SECONDS = 60 };
enum { LIVES_MAX = 3, DRAIN_MS = 4 * 3600 * 1000 };

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
	unsigned complaints, crashes, stops, rebuilds;
	uint64_t trace;
	struct oracle_sums sums;
};
static struct outcome *outcome;

/* --- One seed --- */

enum end { END_CRASH, END_CRASH_AT_WRITE, END_STOP };

struct plan {
	unsigned variant, lives, resets, disk_faults;
	uint64_t room;  /* of the disk while it is short of it; 0: it is not */
	msec wall_jump; /* of the clock on the wall, now and then */
	bool faulty_disk_now;
};

static struct plan make_plan(uint64_t seed)
{
	static const unsigned resets[] = { 0, 0, 1, 3, 10 }, faults[] = { 0, 0, 2, 20, 200 };
	struct plan p = { .variant = (unsigned)(seed % HOUSE_VARIANTS) };

	p.lives = 1 + (unsigned)sim_random(LIVES_MAX);
	p.resets = resets[sim_random(array_len(resets))];
	p.disk_faults = faults[sim_random(array_len(faults))];
	if (sim_random(4) == 0)
		p.room = (2 + sim_random(6)) << 20;
	if (sim_random(4) == 0)
		p.wall_jump = (msec)sim_random(400 * 1000) - 200 * 1000;
	town = (struct town){ .clients = 1 + (unsigned)sim_random(6) };
	town.large_per_mille = (unsigned)sim_random(3) * 60;
	town.client_pause_ms = 1 + (msec)sim_random(3000);
	return p;
}

static void use_faults(struct plan *p, bool on)
{
	town.faults = on;
	sim_net_set(on ? p->resets : 0);
	p->faulty_disk_now = on && (p->disk_faults || p->room);
	sim_disk_set(on ? p->room : 0, on ? p->disk_faults : 0);
}

static void die(const struct plan *p)
{
	oracle_crashed(!p->faulty_disk_now);
	oracle_note((uint64_t)clock_now());
	house_crash();
	house_check(false);
	outcome->crashes++;
	if (sim_random(3) == 0 && !oracle_complaints()) {
		sim_disk_set(0, 0);
		house_rebuild();
		outcome->rebuilds++;
	}
}

static bool clients_done(void *arg)
{
	(void)arg;
	return town.clients_busy == 0;
}

/* A process that does not live to see its queue empty. */
static void troubled_life(struct plan *p)
{
	enum end end = (enum end)sim_random(3);

	town.left = 3 + (unsigned)sim_random(30);
	use_faults(p, true);
	if (end == END_CRASH_AT_WRITE)
		sim_crash_at_write(1 + (unsigned)sim_random(300));
	/* A server that cannot read or write its disk may refuse to start: then it is well again. */
	if (p->faulty_disk_now)
		sim_disk_set(0, 0);
	if (!house_open(p->variant)) {
		if (sim_crashed())
			die(p);
		return;
	}
	if (p->faulty_disk_now)
		sim_disk_set(p->room, p->disk_faults);
	house_run(NULL, (msec)sim_random(2000));
	sim_wall_jump(p->wall_jump);
	house_run(sim_random(2) ? clients_done : NULL,
		50 + (msec)sim_random(sim_random(2) ? 3000 : 90000));
	uint64_t given_up = relay_given_up();

	if (!sim_crashed() && end == END_STOP && house_close()) {
		/* With results left behind on a bad disk a stop is no better than a crash. */
		if (relay_given_up() > given_up)
			oracle_crashed(false);
		else
			oracle_stopped(!p->faulty_disk_now);
		outcome->stops++;
		return;
	}
	die(p);
}

static void good_life(struct plan *p)
{
	town.left = 5;
	use_faults(p, false);
	sim_crash_at_write(0);
	sim_wall_jump(p->wall_jump);
	if (!house_open(p->variant))
		return;
	if (!house_run(house_idle, DRAIN_MS))
		house_say_queue();
	if (house_close())
		house_check(true);
}

static void run_seed(uint64_t seed)
{
	struct sim_config config = {
		.seed = seed, .delay_max_ms = 1 + (msec)(seed % 7) * 5, .is_real = house_is_real
	};

	sim_start(&config);
	struct plan p = make_plan(seed);

	for (unsigned life = 0; life < p.lives && !oracle_complaints(); life++)
		troubled_life(&p);
	if (!oracle_complaints())
		good_life(&p);
	if (!oracle_complaints())
		oracle_judge();
	outcome->trace = oracle_trace();
	outcome->complaints = oracle_complaints();
	outcome->sums = oracle_sums();
	outcome->finished = true;
}

/* --- Its process --- */

/* The log is part of the trace: the same seed must say the same, to the millisecond. */
static uint64_t hash_file(int fd)
{
	struct body_hash h = { 0 };
	char bytes[65536];
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		body_hash_add(&h, slice_of(bytes, (size_t)n));
	return h.sum ^ h.bytes;
}

static _Noreturn void child(uint64_t seed, int log)
{
	alarm(SEED_SECONDS);
	log_set_level(LOG_DEBUG);
	log_set_fd(getenv("SIM_LOG") ? STDERR_FILENO : log);
	run_seed(seed);
	fflush(NULL);
	_exit(outcome->complaints ? 1 : 0);
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
	outcome->trace ^= hash_file(log);
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && outcome->finished;

	if (!good) {
		fprintf(stderr,
			"seed %llu failed (%s %d). Again: SIM_SEED=%llu SIM_LOG=1 "
			"build-test/tests/sim/test_relay_sim\n",
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

static struct oracle_sums sums;
static unsigned crashes, stops, rebuilds, seeds_run;

static void add_up(void)
{
	sums.accepted += outcome->sums.accepted;
	sums.refused += outcome->sums.refused;
	sums.unknown += outcome->sums.unknown;
	sums.deliveries += outcome->sums.deliveries;
	sums.doubles += outcome->sums.doubles;
	sums.reports += outcome->sums.reports;
	sums.signatures += outcome->sums.signatures;
	crashes += outcome->crashes;
	stops += outcome->stops;
	rebuilds += outcome->rebuilds;
	seeds_run++;
}

static void say_sums(void)
{
	printf("%u seeds: %u crashes, %u stops, %u rebuilds; %u messages accepted, %u refused, %u "
	       "unknown; "
	       "%u deliveries (%u doubles, all excused), %u reports, %u good signatures\n",
		seeds_run, crashes, stops, rebuilds, sums.accepted, sums.refused, sums.unknown,
		sums.deliveries, sums.doubles, sums.reports, sums.signatures);
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
		for (uint64_t seed = first; seed < first + 3; seed++)
			*(same_twice(seed) ? &passed : &failed) += 1;
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
