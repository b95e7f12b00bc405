/* SPDX-License-Identifier: GPL-2.0-or-later */
/* standalone.c - runs a fuzzer without libFuzzer: its corpus, then mutations of it.
 *
 *	fuzz_<x> CORPUS-FOLDER [SECONDS [SEED]]
 *
 * For the test suite, which is built by gcc: no coverage guides it, so it finds less than `./dev fuzz`
 * does, but every input of the corpus is run for ever after. The seed is fixed unless given. An
 * input that brings the program down is kept as crash-<pid> in the working folder. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

enum { INPUT_MAX = 1 << 16, INPUTS_MAX = 4096 };

struct input {
	uint8_t *bytes;
	size_t len;
};

static struct input corpus[INPUTS_MAX];
static size_t corpus_len;
static uint8_t current[INPUT_MAX];
static size_t current_len;
static uint64_t seed = 1;

static size_t random_below(size_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return n ? seed % n : 0;
}

/* Async-signal-safe: also runs inside the sanitizer's last moments. */
static void keep_input(void)
{
	char name[] = "crash-0000000000";
	size_t at = sizeof name - 1;
	for (unsigned pid = (unsigned)getpid(); pid && at > 6; pid /= 10)
		name[--at] = (char)('0' + pid % 10);
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, current, current_len) == (ssize_t)current_len)
		(void)!write(2, name, sizeof name - 1);
	(void)!write(2, "\n", 1);
}

static void on_signal(int sig)
{
	keep_input();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* The sanitizer sees a read past the end only on a block of exactly the size. */
static void run_current(void)
{
	uint8_t *copy = malloc(current_len ? current_len : 1);
	if (!copy)
		abort();
	memcpy(copy, current, current_len);
	LLVMFuzzerTestOneInput(copy, current_len);
	free(copy);
}

static void read_input(const char *folder, const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	if (!file)
		return;
	struct input *in = &corpus[corpus_len];
	in->bytes = malloc(INPUT_MAX);
	if (!in->bytes)
		abort();
	in->len = fread(in->bytes, 1, INPUT_MAX, file);
	corpus_len++;
	fclose(file);
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* In the order of names, so that the same seed does the same everywhere. */
static void read_corpus(const char *folder)
{
	struct dirent **entries = NULL;
	int n = scandir(folder, &entries, visible, alphasort);
	for (int i = 0; i < n; i++) {
		if (corpus_len < INPUTS_MAX)
			read_input(folder, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}

/* Replace current[at, at + cut) by the given bytes, as far as there is room. */
static void replace_run(size_t at, size_t cut, const uint8_t *bytes, size_t len)
{
	if (current_len - cut + len > INPUT_MAX)
		len = INPUT_MAX - (current_len - cut);
	memmove(current + at + len, current + at + cut, current_len - at - cut);
	memcpy(current + at, bytes, len);
	current_len += len - cut;
}

static void mutate_once(void)
{
	static const uint8_t odd[] = "\0\r\n\r\n.\r\n\x7f\x80\xff\xfe \t\"<>(),;:=*%\\/@-09azAZ";
	static uint8_t part[256];
	size_t at = random_below(current_len + 1), left = current_len - at;
	switch (random_below(6)) {
	case 0: /* flip a bit */
		if (left)
			current[at] ^= (uint8_t)(1 << random_below(8));
		break;
	case 1: /* overwrite or insert a byte that matters to parsers */
		replace_run(at, left ? random_below(2) : 0, &odd[random_below(sizeof odd - 1)], 1);
		break;
	case 2: /* cut a run out */
		replace_run(at, random_below(left + 1), part, 0);
		break;
	case 3: /* end early */
		current_len = at;
		break;
	case 4: /* say it twice */
		left = left < sizeof part ? left : sizeof part;
		memcpy(part, current + at, left);
		replace_run(at, 0, part, left);
		break;
	default: { /* a piece of another input */
		const struct input *other = &corpus[random_below(corpus_len)];
		size_t from = random_below(other->len + 1),
		       len = random_below(other->len - from + 1);
		len = len < sizeof part ? len : sizeof part;
		replace_run(at, random_below(left + 1), other->bytes + from, len);
	}
	}
}

static void load(const struct input *in)
{
	memcpy(current, in->bytes, in->len);
	current_len = in->len;
}

static unsigned long run_mutations(double seconds)
{
	struct timespec start, now;
	unsigned long runs = 0;
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		load(&corpus[random_below(corpus_len)]);
		for (size_t i = 1 + random_below(8); i; i--)
			mutate_once();
		run_current();
		runs++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 <
		seconds);
	return runs;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s CORPUS-FOLDER [SECONDS [SEED]]\n", argv[0]);
		return 2;
	}
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 2;
	seed = argc > 3 ? strtoull(argv[3], NULL, 10) | 1 : 0x5eed5eed5eedu;
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(keep_input);
	signal(SIGABRT, on_signal);

	read_corpus(argv[1]);
	for (size_t i = 0; i < corpus_len; i++) {
		load(&corpus[i]);
		run_current();
	}
	size_t seeds = corpus_len;
	if (!corpus_len) /* one empty input to start from */
		corpus[corpus_len++] = (struct input){ .bytes = calloc(1, 1), .len = 0 };
	unsigned long runs = run_mutations(seconds);
	for (size_t i = 0; i < corpus_len; i++)
		free(corpus[i].bytes);
	printf("%zu inputs of the corpus, %lu mutations\n", seeds, runs);
	printf("%d passed, %d failed, 0 skipped\n", seeds > 0, seeds == 0);
	return seeds == 0;
}
