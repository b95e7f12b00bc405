/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signatures through the batch: right by openssl's word, many fibers, a key that goes, a cancel. */
#include "core/rsa_batch.h"

#include "core/base/cpu.h"
#include "core/base/crypt.h"
#include "core/base/rsa_mb.h"
#include "core/base/sigkey.h"
#include "core/fiber.h"
#include "core/post.h"
#include "core/rsa_batch_int.h"
#include "tests/core/certs.h"
#include "tests/core/workers.h"

#include <inttypes.h>
#include <stdlib.h>

static struct rsa_key *key;
static const char text[] = "what is signed";
static unsigned char digest[32];
static unsigned signed_count;

static slice read_pem(const char *name)
{
	static char buf[8192];
	FILE *f = fopen(certs_path(name, "key").ptr, "r");

	cr_assert(f);
	size_t len = fread(buf, 1, sizeof(buf), f);

	fclose(f);
	return slice_of(buf, len);
}

static void set_up(void)
{
	certs_make("rsa", "rsa:2048", "DNS:a.test");
	cr_assert_eq(rsa_key_parse(read_pem("rsa"), &key), OK);
	sha256_of(SLICE("what is signed"), digest);
}

static void tear_down(void)
{
	rsa_key_put(key);
	certs_done();
}

TestSuite(rsa_batch, .init = set_up, .fini = tear_down);

static void write_file(const char *name, const void *bytes, size_t len)
{
	FILE *f = fopen(certs_path(name, "bin").ptr, "w");

	cr_assert(f);
	cr_assert_eq(fwrite(bytes, 1, len, f), len);
	fclose(f);
}

static void openssl_verifies(const struct rsa_sig *sig, const char *options)
{
	char command[1024];
	const char *dir = certs_dir.path;

	write_file("sig", sig->bytes, sig->len);
	write_file("text", text, sizeof(text) - 1);
	snprintf(command, sizeof(command),
		"openssl pkey -in %s/rsa.key -pubout -out %s/rsa.pub && openssl dgst -sha256 "
		"-verify %s/rsa.pub %s -signature %s/sig.bin %s/text.bin >/dev/null",
		dir, dir, dir, options, dir, dir);
	certs_run(command);
}

Test(rsa_batch, openssl_agrees)
{
	struct rsa_sig sig;

	cr_assert_eq(rsa_batch_sign(NULL, key, RSA_PKCS1_SHA256, digest, &sig), OK);
	cr_expect_eq(sig.len, 256);
	openssl_verifies(&sig, "");
	cr_assert_eq(rsa_batch_sign(NULL, key, RSA_PSS_SHA256, digest, &sig), OK);
	openssl_verifies(&sig, "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32");
}

static const struct {
	const char *why, *make;
	enum err err;
} refused[] = {
	{ "an EC key", "openssl ecparam -genkey -name prime256v1 -noout", ERR_UNSUPPORTED },
	{ "a small key", "openssl genrsa 1024", ERR_UNSUPPORTED },
	{ "no key", "echo nothing", ERR_INVALID },
	{ "an empty file", "true", ERR_INVALID },
};

Test(rsa_batch, refuses_other_keys)
{
	for (size_t i = 0; i < array_len(refused); i++) {
		char command[512];
		struct rsa_key *other = NULL;

		snprintf(command, sizeof(command), "%s > %s/x.key 2>/dev/null", refused[i].make,
			certs_dir.path);
		certs_run(command);
		cr_expect_eq(rsa_key_parse(read_pem("x"), &other), refused[i].err, "%s",
			refused[i].why);
		cr_expect_eq(other, NULL);
	}
}

/* Is "dd" among the flags of the mapping that holds it? */
static bool kept_from_dumps(const void *at)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	uintptr_t from, to;
	bool here = false, found = false;
	char line[512];

	cr_assert(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
			here = from <= (uintptr_t)at && (uintptr_t)at < to;
		else if (here && slice_starts(slice_str(line), SLICE("VmFlags:")))
			found = strstr(line, " dd") != NULL;
	}
	fclose(f);
	return found;
}

Test(rsa_batch, keys_are_not_dumped)
{
	void *work = rsa_lanes_work_new();

	cr_expect(kept_from_dumps(key));
	cr_expect(kept_from_dumps(work));
	cr_expect(!rsa_key_lanes(key) || kept_from_dumps(rsa_key_lanes(key)));
	cr_expect_not(kept_from_dumps(&signed_count), "what is no secret is dumped");
	rsa_lanes_work_free(work);
}

/* --- On workers --- */

enum { FIBERS = 20 };
static struct rsa_sig sigs[FIBERS];

static void sign_one(void *arg)
{
	struct rsa_sig *sig = arg;

	check(rsa_batch_sign(worker_self(), key, RSA_PKCS1_SHA256, digest, sig) == OK);
	signed_count++;
}

static void many_fibers(struct worker *w)
{
	struct rsa_batch_stats stats;

	for (size_t i = 0; i < FIBERS; i++)
		check(fiber_start(w, sign_one, &sigs[i]) == OK);
	/* They wait: nothing is signed inside the call. */
	check(signed_count == 0);
	while (signed_count < FIBERS)
		check(fiber_sleep(1) == OK);
	for (size_t i = 1; i < FIBERS; i++)
		check(memcmp(&sigs[i].bytes, &sigs[0].bytes, sigs[0].len) == 0);
	rsa_batch_stats(w, &stats);
	check(stats.signatures == FIBERS && stats.waiting == 0 && stats.failed == 0);
	/* Gathered, and not all in one turn. */
	check(stats.batches > 1 && stats.batches < FIBERS);
}

Test(rsa_batch, gathers_what_fibers_want)
{
	run_on_workers(1, many_fibers);
	openssl_verifies(&sigs[0], "");
}

/* The portable path, whatever the processor. */
Test(rsa_batch, gathers_for_wolfcrypt_too)
{
	rsa_batch_configure(&(struct rsa_batch_options){
		RSA_ENGINE_WOLFCRYPT, .batch_wait_us = 300 });
	cr_expect_str_eq(rsa_batch_engine(), "wolfcrypt");
	run_on_workers(1, many_fibers);
	openssl_verifies(&sigs[0], "");
}

Test(rsa_batch, no_processor_no_lanes)
{
	cpu_hide(CPU_IFMA);
	cr_expect_str_eq(rsa_batch_engine(), "wolfcrypt");
	run_on_workers(1, many_fibers);
}

/* --- In lanes --- */

static struct sigkey *dkim_key;

static void sign_pss(void *arg)
{
	check(rsa_batch_sign(worker_self(), key, RSA_PSS_SHA256, digest, arg) == OK);
	signed_count++;
}

static void sign_by_sigkey(void *arg)
{
	check(rsa_batch_sign_sigkey(worker_self(), dkim_key, digest, arg) == OK);
	signed_count++;
}

/* Four at once, of both kinds of key and both paddings; then one that waits for nobody. */
static void lanes_sign(struct worker *w)
{
	struct rsa_batch_stats stats;

	check(sigkey_parse_private(read_pem("rsa"), &dkim_key) == OK);
	check(fiber_start(w, sign_one, &sigs[0]) == OK);
	check(fiber_start(w, sign_pss, &sigs[1]) == OK);
	check(fiber_start(w, sign_by_sigkey, &sigs[2]) == OK);
	check(fiber_start(w, sign_pss, &sigs[3]) == OK);
	while (signed_count < 4)
		check(fiber_sleep(1) == OK);
	rsa_batch_stats(w, &stats);
	check(stats.signatures == 4 && stats.in_lanes == 4 && stats.batches == 1);
	check(fiber_start(w, sign_one, &sigs[4]) == OK);
	while (signed_count < 5)
		check(fiber_sleep(1) == OK);
	rsa_batch_stats(w, &stats);
	check(stats.in_lanes == 5 && stats.batches == 2);
	check(stats.redone == 0 && stats.failed == 0);
	check(memcmp(sigs[0].bytes, sigs[2].bytes, sigs[0].len) == 0);
	check(memcmp(sigs[0].bytes, sigs[4].bytes, sigs[0].len) == 0);
	check(memcmp(sigs[1].bytes, sigs[3].bytes, sigs[1].len) != 0);
	sigkey_free(dkim_key);
}

Test(rsa_batch, lanes_sign_four_at_once)
{
	if (!slice_eq(slice_str(rsa_batch_engine()), SLICE("ifma")))
		cr_skip_test("this processor has no AVX-512 IFMA");
	run_on_workers(1, lanes_sign);
	openssl_verifies(&sigs[0], "");
	for (size_t i = 1; i < 4; i += 2)
		openssl_verifies(&sigs[i],
			"-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32");
}

static void hide_nothing(const void *bytes, size_t len)
{
	(void)bytes;
	(void)len;
}

/* A bit of the key flips in memory: the lanes notice, and wolfCrypt makes it from its own copy. */
static void lanes_fail(struct worker *w)
{
	struct rsa_batch_stats stats;

	check(sigkey_parse_private(read_pem("rsa"), &dkim_key) == OK);
	struct rsa_mb_key *lanes =
		(struct rsa_mb_key *)(uintptr_t)sigkey_lanes(dkim_key, hide_nothing);

	check(lanes != NULL);
	lanes->q.digits[7] ^= 1 << 9;
	check(fiber_start(w, sign_by_sigkey, &sigs[0]) == OK);
	check(fiber_start(w, sign_one, &sigs[1]) == OK);
	while (signed_count < 2)
		check(fiber_sleep(1) == OK);
	rsa_batch_stats(w, &stats);
	check(stats.signatures == 2 && stats.in_lanes == 1 && stats.redone == 1);
	check(stats.failed == 0);
	check(memcmp(sigs[0].bytes, sigs[1].bytes, sigs[0].len) == 0);
	sigkey_free(dkim_key);
}

Test(rsa_batch, what_lanes_make_wrong_is_made_again)
{
	if (!slice_eq(slice_str(rsa_batch_engine()), SLICE("ifma")))
		cr_skip_test("this processor has no AVX-512 IFMA");
	run_on_workers(1, lanes_fail);
	openssl_verifies(&sigs[0], "");
}

static void waits_for_company(struct worker *w)
{
	struct rsa_batch_stats stats;
	int64_t since = clock_now_us();

	check(fiber_start(w, sign_one, &sigs[0]) == OK);
	check(fiber_sleep(0) == OK);
	check(signed_count == 0);
	rsa_batch_stats(w, &stats);
	check(stats.waiting == 1);
	while (!signed_count)
		check(fiber_sleep(1) == OK);
	check(clock_now_us() - since >= 30000);
}

Test(rsa_batch, one_waits_as_long_as_the_option_says)
{
	rsa_batch_configure(&(struct rsa_batch_options){ RSA_ENGINE_AUTO, 30000 });
	if (!slice_eq(slice_str(rsa_batch_engine()), SLICE("ifma")))
		cr_skip_test("this processor has no AVX-512 IFMA");
	run_on_workers(1, waits_for_company);
}

static struct fiber *victim;
static enum err victim_err;

static void sign_cancelled(void *arg)
{
	struct rsa_sig sig;

	(void)arg;
	victim = fiber_self();
	victim_err = rsa_batch_sign(worker_self(), key, RSA_PSS_SHA256, digest, &sig);
	victim = NULL;
}

static void cancel_one(struct worker *w)
{
	struct rsa_batch_stats stats;

	check(fiber_start(w, sign_cancelled, NULL) == OK);
	check(victim != NULL);
	fiber_cancel(victim, ERR_CLOSED);
	check(fiber_sleep(5) == OK);
	check(victim == NULL && victim_err == ERR_CLOSED);
	rsa_batch_stats(w, &stats);
	check(stats.waiting == 0);
}

Test(rsa_batch, a_cancel_takes_the_job_back)
{
	run_on_workers(1, cancel_one);
}

/* Every worker decodes the key for itself. */
static enum err sign_there(struct worker *w, void *arg)
{
	return rsa_batch_sign(w, key, RSA_PKCS1_SHA256, digest, arg);
}

static void both_workers(struct worker *w)
{
	check(sign_there(w, &sigs[0]) == OK);
	check(post_call_fiber(1, sign_there, &sigs[1]) == OK);
	check(memcmp(sigs[0].bytes, sigs[1].bytes, sigs[0].len) == 0);
}

Test(rsa_batch, a_key_is_shared_by_workers)
{
	run_on_workers(2, both_workers);
}
