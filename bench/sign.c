/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signatures and hashes: how many one core makes with each engine, beside what openssl makes in the
 * same minute; and whether the time of a signature tells anything about its key. Rates are per second of CPU time of one thread, as openssl's are. */
#include "bench/args.h"
#include "bench/commands.h"
#include "bench/machine.h"
#include "bench/sign.h"

#include "core/base/cpu.h"
#include "core/base/crypt.h"
#include "core/base/rsa_mb.h"
#include "core/base/sigkey.h"
#include "core/entropy.h"
#include "core/rsa_batch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct sign_args {
	uint64_t compare, leak;
	msec time_ms;
};

#define AT(member) offsetof(struct sign_args, member)
static const struct arg_row rows[] = {
	{ "time", ARG_DURATION, AT(time_ms), 100, 60000, "TIME", "per figure (default 1s)" },
	{ "compare", ARG_COUNT, AT(compare), 1, UINT64_MAX, "N",
		"instead: make N signatures with random keys in lanes, by wolfCrypt and by "
		"OpenSSL, and "
		"compare them" },
	{ "leak", ARG_COUNT, AT(leak), 1000, UINT64_MAX, "N",
		"instead: time N signatures, half with one key and block, half with others, and "
		"test whether the times differ" },
	{ 0 },
};

enum { SIZES = 3, LEAK_KEYS = 8, HASHED = 16384 };
static const unsigned sizes[SIZES] = { 2048, 3072, 4096 };

struct bench_key {
	struct sigkey *key;
	const struct rsa_mb_key *lanes;
	size_t bytes;
};

/* What a round works on. */
struct signer {
	struct bench_key *key;
	void *work;
	size_t count;
	unsigned char digest[SHA256_BYTES];
	unsigned char sigs[RSA_MB_JOBS][RSA_MB_BYTES_MAX];
};

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void hide_nothing(const void *bytes, size_t len)
{
	(void)bytes;
	(void)len;
}

static bool make_key(unsigned bits, struct bench_key *out)
{
	if (sigkey_generate(SIGKEY_RSA, bits, rsa_batch_rng(NULL), &out->key)) {
		fprintf(stderr, "no RSA-%u key could be made\n", bits);
		return false;
	}
	out->lanes = rsa_mb_here() ? sigkey_lanes(out->key, hide_nothing) : NULL;
	out->bytes = bits / 8;
	return true;
}

static void *new_work(void)
{
	void *work = aligned_alloc(64, (rsa_mb_work_bytes() + 63) & ~(size_t)63);

	must(work);
	memset(work, 0, rsa_mb_work_bytes());
	return work;
}

/* --- Rounds: each returns how many it made, 0 when one was wrong --- */

static size_t round_ifma(struct signer *s)
{
	struct rsa_mb_job jobs[RSA_MB_JOBS];
	size_t good = 0;

	for (size_t i = 0; i < s->count; i++) {
		s->digest[0]++;
		rsa_mb_pkcs1(s->digest, s->sigs[i], s->key->bytes);
		jobs[i] = (struct rsa_mb_job){ s->key->lanes, s->sigs[i], s->sigs[i], false };
	}
	rsa_mb_run(s->work, jobs, s->count);
	for (size_t i = 0; i < s->count; i++)
		good += jobs[i].good;
	return good == s->count ? good : 0;
}

/* As core/rsa_batch does it: verified, too. */
static size_t round_wolfcrypt(struct signer *s)
{
	size_t len;

	s->digest[0]++;
	if (sigkey_sign(s->key->key, rsa_batch_rng(NULL), s->digest, s->sigs[0], &len))
		return 0;
	return sigkey_verify(s->key->key, s->digest, slice_of(s->sigs[0], len));
}

static size_t round_hash(struct signer *s)
{
	static const unsigned char bytes[HASHED];

	sha256_of(slice_of(bytes, sizeof(bytes)), s->digest);
	return 1;
}

/* Per second of CPU time; 0: it failed. */
static double rate(size_t (*round)(struct signer *), struct signer *s, msec time_ms)
{
	int64_t end = clock_ns(CLOCK_MONOTONIC) + time_ms * 1000000;
	int64_t began = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	size_t made = 0, now;

	do {
		now = round(s);
		made += now;
	} while (now && clock_ns(CLOCK_MONOTONIC) < end);
	return now ? (double)made * 1e9 / (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - began) : 0;
}

/* --- openssl, when it is there --- */

/* Runs `openssl speed` with those arguments; the number behind `before`, 0: not told. */
static double openssl_speed(const char *arguments, const char *before, unsigned skip)
{
	char command[128], line[256];
	double value = 0;

	snprintf(command, sizeof(command), "openssl speed -seconds 1 %s 2>/dev/null", arguments);
	FILE *f = popen(command, "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (!slice_starts(slice_str(line), slice_str(before)))
			continue;
		char *at = line + strlen(before);

		for (unsigned i = 0; i < skip; i++) {
			at += strspn(at, " ");
			at += strcspn(at, " ");
		}
		value = strtod(at, NULL);
	}
	if (f)
		pclose(f);
	return value;
}

/* "rsa 2048 bits 0.000255s 0.000016s   3927.0  61401.4" */
static double openssl_rsa(unsigned bits)
{
	char name[16], before[32];

	snprintf(name, sizeof(name), "rsa%u", bits);
	snprintf(before, sizeof(before), "rsa %u bits", bits);
	double value = openssl_speed(name, before, 2);

	/* Newer ones write "rsa  2048 bits". */
	snprintf(before, sizeof(before), "rsa  %u bits", bits);
	return value > 0 ? value : openssl_speed(name, before, 2);
}

/* --- The table --- */

static void print_rate(double value)
{
	if (value > 0)
		printf(" %12.0f", value);
	else
		printf(" %12s", "-");
}

static void print_ratio(double value, double of)
{
	if (value > 0 && of > 0)
		printf(" %9.2f x\n", value / of);
	else
		printf(" %11s\n", "-");
}

static bool print_size(unsigned bits, struct signer *s, msec time_ms)
{
	struct bench_key key;
	double ifma = 0, lone = 0;

	if (!make_key(bits, &key))
		return false;
	s->key = &key;
	double theirs = openssl_rsa(bits), wolfcrypt = rate(round_wolfcrypt, s, time_ms);

	if (key.lanes) {
		s->count = RSA_MB_JOBS;
		ifma = rate(round_ifma, s, time_ms);
		s->count = 1;
		lone = rate(round_ifma, s, time_ms / 4);
	}
	printf("RSA-%u signatures/s  ", bits);
	print_rate(ifma);
	print_rate(wolfcrypt);
	print_rate(theirs);
	print_ratio(ifma, theirs);
	if (lone > 0)
		printf("  a lone one takes     %9.2f ms\n", 1000 / lone);
	sigkey_free(key.key);
	return wolfcrypt > 0 && (!rsa_mb_here() || ifma > 0);
}

static void print_hash(struct signer *s, msec time_ms)
{
	double theirs = openssl_speed("-bytes 16384 -evp sha256", "sha256", 0) / 1000, ours = 0;
	double scale = HASHED / 1e6;

	if (cpu_has(CPU_SHA))
		ours = rate(round_hash, s, time_ms) * scale;
	cpu_hide(CPU_SHA);
	double wolfcrypt = rate(round_hash, s, time_ms) * scale;

	printf("SHA-256 MB/s, 16 KB    ");
	print_rate(ours);
	print_rate(wolfcrypt);
	print_rate(theirs);
	print_ratio(ours, theirs);
}

static int print_table(msec time_ms)
{
	struct signer *s = calloc(1, sizeof(*s));
	char machine[256];
	bool good = true;

	must(s);
	s->work = new_work();
	machine_describe(machine, sizeof(machine));
	printf("%s\none thread, per second of its CPU time; every signature verified, but "
	       "openssl's\n\n%-23s %12s %12s %12s %11s\n",
		machine, "", "lanes", "wolfCrypt", "openssl", "lanes/ssl");
	for (size_t i = 0; i < SIZES && good; i++)
		good = print_size(sizes[i], s, time_ms);
	if (good)
		print_hash(s, time_ms);
	if (!rsa_mb_here())
		printf("\nThis processor has no AVX-512 IFMA: wolfCrypt signs.\n");
	free(s->work);
	free(s);
	return good ? 0 : 1;
}

/* --- Does the time tell? Welch's t-test of a fixed input against random ones, as dudect does --- */

struct moments {
	double count, mean, squares;
};

static void add_value(struct moments *m, double value)
{
	double off = value - m->mean;

	m->count++;
	m->mean += off / m->count;
	m->squares += off * (value - m->mean);
}

static double welch(const struct moments *a, const struct moments *b)
{
	double va = a->squares / (a->count - 1) / a->count;
	double vb = b->squares / (b->count - 1) / b->count;

	return (a->mean - b->mean) / sqrt(va + vb);
}

struct sample {
	double ns;
	unsigned group;
};

static int by_time(const void *a, const void *b)
{
	double x = ((const struct sample *)a)->ns, y = ((const struct sample *)b)->ns;

	return (x > y) - (x < y);
}

/* Every input is copied to the same place first, so that only its value differs. */
static bool take_sample(struct signer *s, const struct bench_key *keys, struct rsa_mb_key *place,
	struct sample *out)
{
	static const unsigned char fixed[SHA256_BYTES];
	unsigned char dice[2];
	struct bench_key key = { .lanes = place, .bytes = 256 };

	entropy_fill(dice, sizeof(dice));
	entropy_fill(s->digest, sizeof(s->digest));
	out->group = dice[0] & 1;
	if (!out->group)
		memcpy(s->digest, fixed, sizeof(fixed));
	*place = *keys[out->group ? 1 + dice[1] % (LEAK_KEYS - 1) : 0].lanes;
	s->key = &key;
	s->count = 1;
	int64_t began = clock_ns(CLOCK_MONOTONIC);
	bool good = round_ifma(s);

	out->ns = (double)(clock_ns(CLOCK_MONOTONIC) - began);
	return good;
}

/* The slowest samples met an interrupt or another process; what is left must not differ. 4.5 is
 * dudect's bound. */
static int judge(struct sample *samples, size_t count)
{
	static const unsigned kept[] = { 50, 75, 90 };
	bool leak = false;

	qsort(samples, count, sizeof(*samples), by_time);
	for (size_t k = 0; k < array_len(kept); k++) {
		struct moments groups[2] = { 0 };

		for (size_t i = 0; i < count * kept[k] / 100; i++)
			add_value(&groups[samples[i].group], samples[i].ns);
		double t = welch(&groups[0], &groups[1]);

		leak |= fabs(t) > 4.5;
		printf("fastest %u%%: fixed %.0f ns, random %.0f ns, t = %.2f\n", kept[k],
			groups[0].mean, groups[1].mean, t);
	}
	puts(leak ? "the times differ: look closer, on an idle machine" : "no difference seen");
	return leak;
}

static int find_leak(uint64_t count)
{
	struct signer *s = calloc(1, sizeof(*s));
	struct sample *samples = calloc(count, sizeof(*samples));
	struct rsa_mb_key *place = calloc(1, sizeof(*place));
	struct bench_key keys[LEAK_KEYS] = { 0 };

	must(s && samples && place);
	s->work = new_work();
	for (size_t i = 0; i < LEAK_KEYS; i++)
		if (!make_key(2048, &keys[i]))
			return 1;
	for (uint64_t i = 0; i < count; i++)
		must(take_sample(s, keys, place, &samples[i]));
	int status = judge(samples, count);

	for (size_t i = 0; i < LEAK_KEYS; i++)
		sigkey_free(keys[i].key);
	free(s->work);
	free(samples);
	free(place);
	free(s);
	return status;
}

int bench_sign(char **argv)
{
	struct sign_args args = { .time_ms = 1000 };
	bool help = false;

	if (!args_parse(rows, argv, &args, &help))
		return 2;
	if (help) {
		args_help("sign", "how fast RSA signatures and SHA-256 are made here", rows);
		return 0;
	}
	if ((args.compare || args.leak) && !rsa_mb_here()) {
		fprintf(stderr, "this processor has no AVX-512 IFMA: there is nothing to try\n");
		return 1;
	}
	if (args.compare)
		return sign_compare(args.compare);
	return args.leak ? find_leak(args.leak) : print_table(args.time_ms);
}
