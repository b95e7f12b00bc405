/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signatures that a worker with a long batch gives to another: while they are away, keys are let go
 * of, fibers cancelled, and lanes fail. Runs under the thread sanitizer too. */
#include "core/base/rsa_mb.h"
#include "core/base/sigkey.h"
#include "core/fiber.h"
#include "core/post.h"
#include "core/rsa_batch.h"
#include "tests/core/workers.h"

enum { PASS = 4, TWO_PASSES = 2 * PASS };
static struct rsa_key *key;
static struct sigkey *own_key; /* the same */
static const unsigned char digest[SIGKEY_DIGEST] = "what is signed";
static struct rsa_sig sigs[TWO_PASSES];
static unsigned signed_count;

static void set_up(void)
{
	static unsigned char pem[4096];
	struct out o = out_fixed(pem, sizeof(pem));

	if (!slice_eq(slice_str(rsa_batch_engine()), SLICE("ifma")))
		cr_skip_test("this processor has no AVX-512 IFMA");
	cr_assert_eq(sigkey_generate(SIGKEY_RSA, 2048, rsa_batch_rng(NULL), &own_key), OK);
	sigkey_put_private(own_key, &o);
	cr_assert_eq(rsa_key_parse(out_written(&o), &key), OK);
}

static void tear_down(void)
{
	sigkey_free(own_key);
	rsa_key_put(key);
}

static void check_sigs(unsigned first)
{
	for (unsigned i = first; i < TWO_PASSES; i++)
		check(sigkey_verify(own_key, digest, slice_of(sigs[i].bytes, sigs[i].len)));
}

static void sign_one(void *arg)
{
	struct rsa_sig *sig = arg;

	check(rsa_batch_sign(worker_self(), key, RSA_PKCS1_SHA256, digest, sig) == OK);
	signed_count++;
}

/* So many in one turn that a pass of them is given away: the first four. */
static void start_two_passes(struct worker *w, void (*first)(void *arg))
{
	check(fiber_start(w, first, &sigs[0]) == OK);
	for (size_t i = 1; i < TWO_PASSES; i++)
		check(fiber_start(w, sign_one, &sigs[i]) == OK);
}

static void wait_for_signed(unsigned count)
{
	while (signed_count < count)
		check(fiber_sleep(1) == OK);
}

static void the_other_helps(struct worker *w)
{
	struct rsa_batch_stats here, there;

	start_two_passes(w, sign_one);
	/* Only the fibers hold the key now, and some of them wait for the other worker. */
	rsa_key_put(key);
	key = NULL;
	wait_for_signed(TWO_PASSES);
	check_sigs(0);
	rsa_batch_stats(w, &here);
	rsa_batch_stats(worker_get(1), &there);
	check(here.handed_over == PASS && here.signatures == PASS && here.in_lanes == PASS);
	check(there.signatures == PASS && there.in_lanes == PASS && there.handed_over == 0);
	check(here.waiting == 0 && there.waiting == 0);
}

Test(rsa_share, a_long_batch_hands_over_a_pass)
{
	set_up();
	run_on_workers(2, the_other_helps);
	tear_down();
}

static void seven_stay(struct worker *w)
{
	struct rsa_batch_stats here;

	for (size_t i = 1; i < TWO_PASSES; i++)
		check(fiber_start(w, sign_one, &sigs[i]) == OK);
	wait_for_signed(TWO_PASSES - 1);
	check_sigs(1);
	rsa_batch_stats(w, &here);
	check(here.handed_over == 0 && here.signatures == TWO_PASSES - 1);
}

Test(rsa_share, less_than_two_passes_stay)
{
	set_up();
	run_on_workers(2, seven_stay);
	tear_down();
}

/* --- A cancel --- */

static struct fiber *victim;
static _Atomic bool let_go;

static void sign_and_be_cancelled(void *arg)
{
	victim = fiber_self();
	check(rsa_batch_sign(worker_self(), key, RSA_PKCS1_SHA256, digest, arg) == ERR_CLOSED);
	victim = NULL;
	signed_count++;
}

/* Keeps the other worker from answering. */
static void block(struct worker *w, struct post *post)
{
	while (!let_go)
		;
}

static void cancel_away(struct worker *w)
{
	struct post blocker = { .run = block };
	struct rsa_batch_stats here = { 0 };

	post_to(1, &blocker);
	start_two_passes(w, sign_and_be_cancelled);
	while (here.handed_over == 0) {
		check(fiber_sleep(1) == OK);
		rsa_batch_stats(w, &here);
	}
	fiber_cancel(victim, ERR_CLOSED);
	check(fiber_sleep(1) == OK);
	/* The other still points to its stack. */
	check(victim != NULL);
	let_go = true;
	wait_for_signed(TWO_PASSES);
	check(victim == NULL);
	check_sigs(1);
}

Test(rsa_share, a_cancel_takes_the_job_back_from_another)
{
	set_up();
	run_on_workers(2, cancel_away);
	tear_down();
}

/* --- A fault --- */

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
	start_two_passes(w, sign_by_own_key);
	wait_for_signed(TWO_PASSES);
	check_sigs(0);
	rsa_batch_stats(w, &here);
	rsa_batch_stats(worker_get(1), &there);
	check(there.redone == 1 && there.signatures == PASS - 1);
	check(here.signatures == PASS + 1 && here.in_lanes == PASS && here.failed == 0);
}

Test(rsa_share, what_fails_away_is_made_at_home)
{
	set_up();
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
	set_up();
	run_on_workers(CROWD, crowd);
	tear_down();
}
