/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signatures that a worker with a long batch gives to another: while they are away, keys are let go
 * of, fibers cancelled, and lanes fail. Runs under the thread sanitizer too. */
#include "core/base/rsa_mb.h"
#include "core/base/sigkey.h"
#include "core/fiber.h"
#include "core/post.h"
#include "core/rsa_batch.h"
#include "tests/core/workers.h"

enum { FIVE = 5 };
static struct rsa_key *key;
static struct sigkey *own_key; /* the same */
static const unsigned char digest[SIGKEY_DIGEST] = "what is signed";
static struct rsa_sig sigs[FIVE];
static unsigned signed_count;

/* What is away waits there for company, long enough to be looked at. */
static void set_up(int64_t wait_us)
{
	static unsigned char pem[4096];
	struct out o = out_fixed(pem, sizeof(pem));

	rsa_batch_configure(&(struct rsa_batch_options){ RSA_ENGINE_AUTO, wait_us });
	if (!slice_eq(slice_str(rsa_batch_engine()), SLICE("ifma")))
		cr_skip_test("this processor has no AVX-512 IFMA");
	cr_assert_eq(sigkey_generate(SIGKEY_RSA, 2048, rsa_batch_rng(NULL), &own_key), OK);
	sigkey_put_private(own_key, &o);
	cr_assert_eq(rsa_key_parse(slice_of(pem, o.len), &key), OK);
}

static void tear_down(void)
{
	for (size_t i = 0; i < FIVE && signed_count; i++)
		cr_expect(sigkey_verify(own_key, digest, slice_of(sigs[i].bytes, sigs[i].len)));
	sigkey_free(own_key);
	rsa_key_put(key);
}

static void sign_one(void *arg)
{
	struct rsa_sig *sig = arg;

	check(rsa_batch_sign(worker_self(), key, RSA_PKCS1_SHA256, digest, sig) == OK);
	signed_count++;
}

/* Four fill the batch of this worker, one more goes to the other. */
static void start_five(struct worker *w, void (*fifth)(void *arg))
{
	for (size_t i = 0; i < 4; i++)
		check(fiber_start(w, sign_one, &sigs[i]) == OK);
	check(fiber_start(w, fifth, &sigs[4]) == OK);
}

static void wait_for_signed(unsigned count)
{
	while (signed_count < count)
		check(fiber_sleep(1) == OK);
	for (size_t i = 1; i < count; i++)
		check(memcmp(sigs[i].bytes, sigs[0].bytes, sigs[0].len) == 0);
}

static void the_other_helps(struct worker *w)
{
	struct rsa_batch_stats here, there;

	start_five(w, sign_one);
	/* Only the fibers hold the key now, and one of them is away. */
	rsa_key_put(key);
	key = NULL;
	wait_for_signed(5);
	rsa_batch_stats(w, &here);
	rsa_batch_stats(worker_get(1), &there);
	check(here.handed_over == 1 && here.signatures == 4 && here.in_lanes == 4);
	check(there.signatures == 1 && there.in_lanes == 1 && there.handed_over == 0);
	check(here.waiting == 0 && there.waiting == 0);
}

Test(rsa_share, a_long_batch_hands_over)
{
	set_up(50000);
	run_on_workers(2, the_other_helps);
	tear_down();
}

static struct fiber *away;

static void sign_away(void *arg)
{
	away = fiber_self();
	sign_one(arg);
	/* The cancel was kept for the next wait. */
	check(fiber_sleep(1000) == ERR_CLOSED);
	signed_count++;
}

static void cancel_away(struct worker *w)
{
	start_five(w, sign_away);
	check(signed_count == 0);
	fiber_cancel(away, ERR_CLOSED);
	check(fiber_sleep(0) == OK);
	wait_for_signed(5);
	while (signed_count < 6)
		check(fiber_sleep(1) == OK);
}

Test(rsa_share, a_cancel_waits_for_what_is_away)
{
	set_up(50000);
	run_on_workers(2, cancel_away);
	tear_down();
}

static void sign_by_own_key(void *arg)
{
	check(rsa_batch_sign_sigkey(worker_self(), own_key, digest, arg) == OK);
	signed_count++;
}

static void hide_nothing(const void *bytes, size_t len)
{
	(void)bytes;
	(void)len;
}

/* Only its owner has a key of wolfCrypt's to mend it with. */
static void fail_away(struct worker *w)
{
	struct rsa_batch_stats here, there;
	struct rsa_mb_key *lanes =
		(struct rsa_mb_key *)(uintptr_t)sigkey_lanes(own_key, hide_nothing);

	lanes->p.digits[3] ^= 1;
	start_five(w, sign_by_own_key);
	wait_for_signed(5);
	rsa_batch_stats(w, &here);
	rsa_batch_stats(worker_get(1), &there);
	check(there.redone == 1 && there.signatures == 0);
	check(here.signatures == 5 && here.in_lanes == 4 && here.failed == 0);
}

Test(rsa_share, what_fails_away_is_made_at_home)
{
	set_up(50000);
	run_on_workers(2, fail_away);
	tear_down();
}

/* All workers sign as fast as they can, one far more than the others. */
enum { CROWD = 3, ROUNDS = 12, MANY = 20, FEW = 2 };
static _Atomic unsigned crowd_signed;

static void sign_rounds(void *arg)
{
	struct rsa_sig sig;

	(void)arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		enum rsa_padding padding = i % 2 ? RSA_PSS_SHA256 : RSA_PKCS1_SHA256;

		check(rsa_batch_sign(worker_self(), key, padding, digest, &sig) == OK);
		atomic_fetch_add(&crowd_signed, 1);
	}
}

static void start_crowd(struct worker *w, void *count)
{
	for (unsigned i = 0; i < *(unsigned *)count; i++)
		check(fiber_start(w, sign_rounds, NULL) == OK);
}

static void crowd(struct worker *w)
{
	unsigned many = MANY, few = FEW, all = ROUNDS * (many + (CROWD - 1) * few);
	uint64_t made = 0, handed_over = 0;

	for (unsigned i = 1; i < CROWD; i++)
		post_call(i, start_crowd, &few);
	start_crowd(w, &many);
	while (crowd_signed < all)
		check(fiber_sleep(1) == OK);
	for (unsigned i = 0; i < CROWD; i++) {
		struct rsa_batch_stats stats;

		rsa_batch_stats(worker_get(i), &stats);
		made += stats.signatures;
		handed_over += stats.handed_over;
		check(stats.waiting == 0 && stats.failed == 0 && stats.redone == 0);
	}
	check(made == all && handed_over > 0);
}

Test(rsa_share, a_crowd_shares_the_work)
{
	set_up(300);
	run_on_workers(CROWD, crowd);
	tear_down();
}
