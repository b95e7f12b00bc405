/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does a secret ever decide a branch or an address? The kernel over emulated lanes, with all of a key
 * marked undefined, under Memcheck: it reports exactly those two uses of undefined bits. Outside
 * Valgrind there is nothing to see, so the program starts itself anew under it, or is skipped.
 *
 * Public are lengths, the first and last byte of each number (their shape decides whether a key is
 * taken), and whether the signature verified. */
#include "core/base/crypt.h"
#include "tests/base/rsa_mb_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <valgrind/memcheck.h>

/* Here instead of crypt.c, so that wolfSSL need not be linked. */
void crypt_wipe(void *bytes, size_t len)
{
	explicit_bzero(bytes, len);
}

static struct rig_key numbers;
static struct rsa_mb_key key;
static unsigned char block[256], sig[256];
static int passed, failed;

static void result(const char *what, bool good)
{
	printf("%s: %s\n", what, good ? "ok" : "FAILED");
	passed += good;
	failed += !good;
}

static void hide(slice number)
{
	VALGRIND_MAKE_MEM_UNDEFINED(number.ptr + 1, number.len - 2);
}

static void run_and_show_outcome(struct rsa_mb_pass *pass)
{
	rsa_mb_emulated(pass);
	VALGRIND_MAKE_MEM_DEFINED(&pass->good, sizeof(pass->good));
}

/* So that silence means something: a branch on a hidden bit must be seen. */
static void see_a_leak(void)
{
	unsigned long before = VALGRIND_COUNT_ERRORS;
	volatile int odd = 0;

	if (key.p.digits[0] >> 20 & 1)
		odd = 1;
	result("a branch on a secret is seen", VALGRIND_COUNT_ERRORS > before && odd < 2);
}

static void check(void)
{
	void *work = aligned_alloc(64, (rsa_mb_work_bytes() + 63) / 64 * 64);
	struct rsa_mb_job job = { .key = &key, .block = block, .sig = sig };
	const struct rsa_mb_parts *parts = &numbers.parts;

	must(work);
	rig_load(0, &numbers);
	memset(block + 1, 0x5a, sizeof(block) - 1);
	hide(parts->p);
	hide(parts->q);
	hide(parts->dp);
	hide(parts->dq);
	hide(parts->qinv);
	result("the key is taken", rsa_mb_key_init(&key, parts) == OK);
	result("making its kernel form tells nothing", VALGRIND_COUNT_ERRORS == 0);
	rsa_mb_run_on(run_and_show_outcome, work, &job, 1);
	result("it signs", job.good);
	result("signing tells nothing", VALGRIND_COUNT_ERRORS == 0);
	result("the key was hidden", VALGRIND_CHECK_MEM_IS_DEFINED(&key.p.digits[1], 8) != 0);
	see_a_leak();
	free(work);
}

int main(int argc, char **argv)
{
	if (RUNNING_ON_VALGRIND) {
		check();
		printf("%d passed, %d failed, 0 skipped\n", passed, failed);
		return failed != 0;
	}
	execlp("valgrind", "valgrind", "-q", "--error-exitcode=0", argv[0], (char *)NULL);
	printf("skipped: no valgrind\n0 passed, 0 failed, 1 skipped\n");
	return 77;
}
