/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process for each seed, and what they all come to. */
#include "tests/sim/runner.h"

#include "core/log.h"
#include "core/worker.h"
#include "tests/sim/house.h"
#include "tests/sim/oracle.h"
#include "tests/sim/town.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 10, SEED_SECONDS = 60, LIVES_MAX = 3 };

/* A seed is short: what it freed is watched long enough, and most of its time went into the pages of
 * the sanitizer's usual quarantine. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=16";
}

/* What a seed's process leaves behind. */
static struct outcome {
	bool finished;
	uint64_t trace;
	unsigned counts[COUNTS_MAX];
} * outcome;

static const struct runner *runner;
static unsigned counts[COUNTS_MAX], seeds_run;

/* --- One seed, in its process --- */

void runner_count(unsigned what, unsigned more)
{
	must(what < COUNTS_MAX);
	outcome->counts[what] += more;
}

void runner_crash(void)
{
	oracle_note((uint64_t)clock_now());
	house_crash();
	town_check(false);
	runner_count(COUNT_CRASHES, 1);
}

static struct life_plan make_plan(uint64_t seed)
{
	static const unsigned resets[] = { 0, 0, 1, 3, 10 }, faults[] = { 0, 0, 2, 20, 200 };
	struct life_plan plan = { .variant = (unsigned)(seed % HOUSE_VARIANTS) };

	plan.lives = 1 + (unsigned)sim_random(LIVES_MAX);
	plan.resets = resets[sim_random(array_len(resets))];
	plan.disk_faults = faults[sim_random(array_len(faults))];
	return plan;
}

static void run_seed(uint64_t seed)
{
	struct sim_config config = {
		.seed = seed, .delay_max_ms = 1 + (msec)(seed % 7) * 5, .is_real = runner->is_real
	};

	sim_start(&config);
	struct life_plan plan = make_plan(seed);

	runner->decide();
	for (unsigned life = 0; life < plan.lives && !oracle_complaints(); life++)
		runner->troubled_life(&plan);
	if (!oracle_complaints())
		runner->good_life(&plan);
	if (!oracle_complaints())
		runner->judge();
	outcome->trace = oracle_trace();
	outcome->finished = true;
}

static _Noreturn void child(uint64_t seed, int log)
{
	alarm(SEED_SECONDS);
	log_set_level(LOG_DEBUG);
	log_set_fd(getenv("SIM_LOG") ? STDERR_FILENO : log);
	run_seed(seed);
	fflush(NULL);
	_exit(oracle_complaints() ? 1 : 0);
}

/* --- Its process, from outside --- */

static uint64_t hash_file(int fd)
{
	uint64_t sum = 0, all = 0;
	char bytes[65536];
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			sum = (sum ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
		all += (uint64_t)n;
	}
	return sum ^ all;
}

static void say_end_of_log(int log)
{
	char bytes[6000];
	off_t size = lseek(log, 0, SEEK_END);
	ssize_t n = pread(log, bytes, sizeof(bytes), MAX(size - (off_t)sizeof(bytes), (off_t)0));

	if (n > 0)
		fprintf(stderr, "--- the end of the log:\n%.*s---\n", (int)n, bytes);
}

static void say_failed(uint64_t seed, int status)
{
	bool signalled = WIFSIGNALED(status);

	fprintf(stderr,
		"seed %llu failed (%s %d). Again: SIM_SEED=%llu SIM_LOG=1 "
		"build-test/tests/sim/%s\n",
		(unsigned long long)seed, signalled ? "signal" : "status",
		signalled ? WTERMSIG(status) : WEXITSTATUS(status), (unsigned long long)seed,
		runner->program);
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
	/* The log is part of the trace: the same seed must say the same, to the millisecond. */
	outcome->trace ^= hash_file(log);
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && outcome->finished;

	if (!good) {
		say_failed(seed, status);
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

static void add_up(void)
{
	for (size_t i = 0; i < COUNTS_MAX; i++)
		counts[i] += outcome->counts[i];
	seeds_run++;
}

static void say_counts(void)
{
	printf("%u seeds", seeds_run);
	for (size_t i = 0; runner->counted[i]; i++)
		printf("%s %u %s", i ? "," : ":", counts[i], runner->counted[i]);
	printf("\n");
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
	say_counts();
	printf("trace %016llx\n", (unsigned long long)outcome->trace);
	return good;
}

static void run_all(unsigned *passed, unsigned *failed)
{
	uint64_t asked = number("SIM_SEEDS", 0), first = number("SIM_FIRST", 0);
	uint64_t end = first + (asked ? asked : runner->seeds);
	time_t until = seconds() + (time_t)number("SIM_SECONDS", asked ? 1000000 : runner->seconds);

	for (uint64_t seed = first; seed < first + runner->twice; seed++)
		*(same_twice(seed) ? passed : failed) += 1;
	for (uint64_t seed = first; seed < end && seconds() < until; seed += BATCH)
		*(run_batch(seed) ? passed : failed) += 1;
	say_counts();
}

int runner_main(const struct runner *r)
{
	unsigned passed = 0, failed = 0;

	runner = r;
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		-1, 0);
	must(outcome != MAP_FAILED);
	house_make();
	if (getenv("SIM_SEED"))
		*(run_one(number("SIM_SEED", 0)) ? &passed : &failed) += 1;
	else
		run_all(&passed, &failed);
	house_remove();
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed ? 1 : 0;
}
