/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_batch.c - the queue of each worker, and the hook that empties it.
 *
 * A job lives on the stack of the fiber that waits for it. The hook runs once per turn. A batch that
 * is neither full nor due lets the loop sleep until it is due; after each batch fibers are awake, so
 * the loop comes back for the rest without sleeping.
 *
 * A worker that has two passes waiting gives one of them to a worker with nothing, or that much
 * less, to do: whole passes only, since half a one costs as much. Only jobs for the lanes: a key's
 * form for them may be read by any thread, wolfCrypt's belongs to one. A job is given once; what the
 * lanes got wrong comes home unmade. Its fiber stays until it is back, and with it the key, the
 * digest and the place of the signature, whatever is closed or loaded anew meanwhile. */
#include <wolfssl/options.h>

#include "core/rsa_batch.h"

#include "core/base/sigkey.h"
#include "core/entropy.h"
#include "core/fiber.h"
#include "core/post.h"
#include "core/rsa_batch_int.h"
#include "core/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <wolfssl/wolfcrypt/random.h>

/* A pass of the lanes; and 0.6 ms each for RSA-2048 by wolfCrypt: more in one turn would be felt by
 * the other connections. */
enum { PER_TURN = 4 };

struct job {
	struct list_link link;
	struct fiber_wait wait;
	struct fiber_wait back; /* of a fiber that was cancelled while its job was away */
	struct post post;       /* to another worker, and back */
	unsigned home;          /* where the fiber waits */
	bool away, given_up;
	struct rsa_key *key;
	struct sigkey *sigkey; /* instead of `key` */
	const struct rsa_mb_key *lanes;
	int64_t due_us;
	bool made;
	enum rsa_padding padding;
	const unsigned char *digest;
	struct rsa_sig *out;
};

struct batch {
	struct worker_hook hook;
	struct list waiting;
	WC_RNG rng;
	bool seeded;
	void *work; /* NULL: wolfCrypt signs */
	struct rsa_batch_stats stats;
};

/* Kept over the end of a worker for the next one with its number; *worker_slot() says whether
 * this worker has hooked it up. */
static struct batch *batches[WORKERS_MAX];
/* What each worker has before it, with what is on its way there. A glance for those who choose, so
 * relaxed; on a cache line of its own. */
static struct {
	_Alignas(64) atomic_uint jobs;
} loads[WORKERS_MAX];
static unsigned slot;
static pthread_once_t slot_once = PTHREAD_ONCE_INIT;
/* The generator of a thread that is no worker; freed with it. */
static pthread_key_t own_rng;

static void add_load(unsigned worker, int jobs)
{
	atomic_fetch_add_explicit(&loads[worker].jobs, (unsigned)jobs, memory_order_relaxed);
}

static unsigned load_of(unsigned worker)
{
	return atomic_load_explicit(&loads[worker].jobs, memory_order_relaxed);
}

/* Written by the worker alone, read by anybody. */
static void tally(uint64_t *counter, int by)
{
	__atomic_store_n(counter, *counter + (uint64_t)by, __ATOMIC_RELAXED);
}

/* --- Making signatures --- */

static enum err sign_one(const struct job *job, unsigned worker, WC_RNG *rng)
{
	if (!job->sigkey)
		return rsa_key_sign(job->key, worker, rng,
			&(struct rsa_request){ job->padding, job->digest, job->out });
	enum err err = sigkey_sign(job->sigkey, rng, job->digest, job->out->bytes, &job->out->len);

	if (err)
		return err;
	/* A fault in one half of the CRT would give the key away. */
	if (!sigkey_verify(job->sigkey, job->digest, slice_of(job->out->bytes, job->out->len)))
		return ERR_CORRUPT;
	return OK;
}

/* All of them that the lanes can make; what they get wrong stays undone. */
static void use_lanes(struct batch *b, struct job **jobs, size_t count)
{
	struct rsa_lanes_job wanted[PER_TURN];
	size_t of[PER_TURN], taken = 0;

	for (size_t i = 0; i < count; i++) {
		struct rsa_lanes_job *next = &wanted[taken];

		if (!jobs[i]->lanes)
			continue;
		*next = (struct rsa_lanes_job){ .key = jobs[i]->lanes,
			.request = { jobs[i]->padding, jobs[i]->digest, jobs[i]->out } };
		if (next->request.padding == RSA_PSS_SHA256 &&
			wc_RNG_GenerateBlock(&b->rng, next->salt, sizeof(next->salt)))
			continue;
		of[taken++] = i;
	}
	if (!taken)
		return;
	rsa_lanes_sign(b->work, wanted, taken);
	for (size_t i = 0; i < taken; i++) {
		jobs[of[i]]->made = wanted[i].good;
		tally(&b->stats.in_lanes, wanted[i].good);
		tally(&b->stats.redone, !wanted[i].good);
	}
}

static void enqueue(struct batch *b, struct job *job)
{
	list_push(&b->waiting, &job->link);
	tally(&b->stats.waiting, 1);
}

/* Home again. Unmade: wolfCrypt's turn. */
static void came_back(struct worker *w, struct post *post)
{
	struct job *job = container_of(post, struct job, post);

	job->away = false;
	if (job->given_up) {
		fiber_wake(&job->back, OK);
		return;
	}
	if (job->made) {
		fiber_wake(&job->wait, OK);
		return;
	}
	job->lanes = NULL;
	job->due_us = 0;
	add_load(worker_index(w), 1);
	enqueue(batches[worker_index(w)], job);
}

static void send_home(struct job *job)
{
	job->post.run = came_back;
	post_to(job->home, &job->post);
}

static void finish(struct worker *w, struct batch *b, struct job *job)
{
	unsigned here = worker_index(w);
	enum err err = OK;

	add_load(here, -1);
	if (job->home != here && !job->made) {
		send_home(job);
		return;
	}
	if (!job->made)
		err = sign_one(job, here, &b->rng);
	tally(&b->stats.signatures, !err);
	tally(&b->stats.failed, err != OK);
	if (job->home == here)
		fiber_wake(&job->wait, err);
	else
		send_home(job);
}

static void make_batch(struct worker *w, struct batch *b, struct job **jobs, size_t count)
{
	use_lanes(b, jobs, count);
	for (size_t i = 0; i < count; i++)
		finish(w, b, jobs[i]);
	tally(&b->stats.batches, 1);
}

/* --- Sharing --- */

static struct batch *batch_of(struct worker *w);

static void arrived(struct worker *w, struct post *post)
{
	struct job *job = container_of(post, struct job, post);
	struct batch *b = batch_of(w);

	if (b && b->work) {
		enqueue(b, job);
		return;
	}
	add_load(worker_index(w), -1);
	send_home(job);
}

/* The worker with the least before it, if that is two passes less than here; else this one. The
 * search begins with the neighbour, so that not all choose the same, and ends with one that has
 * nothing to do. */
static unsigned shortest(unsigned here)
{
	unsigned best = here, count = workers_count(), limit = load_of(here) - 2 * PER_TURN;

	for (unsigned i = 1; i < count; i++) {
		unsigned there = (here + i) % count, load = load_of(there);

		if (load > limit)
			continue;
		best = there;
		if (!load)
			break;
		limit = load - 1;
	}
	return best;
}

/* A pass of what has waited longest. False: there is none for the lanes among it. */
static bool pick_pass(const struct batch *b, unsigned here, struct job **jobs)
{
	unsigned seen = 0, count = 0;

	for (struct list_link *l = list_first(&b->waiting);
		l && seen < 2 * PER_TURN && count < PER_TURN;
		l = list_next(&b->waiting, l), seen++) {
		struct job *job = container_of(l, struct job, link);

		if (job->lanes && job->home == here)
			jobs[count++] = job;
	}
	return count == PER_TURN;
}

static void share(struct worker *w, struct batch *b)
{
	struct job *jobs[PER_TURN];
	unsigned here = worker_index(w);

	while (b->stats.waiting >= 2 * PER_TURN) {
		unsigned there = shortest(here);

		if (there == here || !pick_pass(b, here, jobs))
			return;
		for (size_t i = 0; i < PER_TURN; i++) {
			list_remove(&jobs[i]->link);
			jobs[i]->away = true;
			jobs[i]->post.run = arrived;
			add_load(here, -1);
			add_load(there, 1);
			post_to(there, &jobs[i]->post);
		}
		tally(&b->stats.waiting, -PER_TURN);
		tally(&b->stats.handed_over, PER_TURN);
	}
}

/* --- The end of a turn --- */

/* Due when full, or when the oldest is. False: the loop was told when to come back. */
static bool due(struct worker *w, const struct batch *b)
{
	if (list_empty(&b->waiting) || b->stats.waiting >= PER_TURN)
		return true;
	const struct job *oldest = container_of(b->waiting.head.next, struct job, link);

	if (!oldest->due_us || clock_now_us() >= oldest->due_us)
		return true;
	worker_nap_until(w, oldest->due_us);
	return false;
}

static void on_turn_end(struct worker *w, struct worker_hook *hook)
{
	struct batch *b = container_of(hook, struct batch, hook);
	struct job *jobs[PER_TURN];
	size_t count = 0;

	share(w, b);
	if (!due(w, b))
		return;
	while (count < PER_TURN && !list_empty(&b->waiting)) {
		jobs[count++] = container_of(list_pop(&b->waiting), struct job, link);
		tally(&b->stats.waiting, -1);
	}
	if (count) {
		make_batch(w, b, jobs, count);
		worker_touch_clock(w);
	}
}

/* --- The queue --- */

#ifdef WC_RNG_SEED_CB /* Debian's own library lacks it and seeds itself: good, but not repeatable */
static int seed(OS_Seed *os, byte *bytes, word32 len)
{
	entropy_fill(bytes, len);
	return 0;
}
#endif

static void free_own(void *rng)
{
	wc_FreeRng(rng);
	free(rng);
}

static void once(void)
{
	worker_slot_take(&slot);
	must(pthread_key_create(&own_rng, free_own) == 0);
	rsa_batch_take_seeds();
}

void rsa_batch_prepare(void)
{
	pthread_once(&slot_once, once);
}

void rsa_batch_take_seeds(void)
{
#ifdef WC_RNG_SEED_CB
	wc_SetSeed_Cb(seed);
#endif
}

/* NULL: out of memory. */
static struct batch *batch_of(struct worker *w)
{
	rsa_batch_prepare();
	void **mine = worker_slot(w, slot);
	struct batch **kept = &batches[worker_index(w)];

	if (*mine)
		return *mine;
	if (!*kept)
		*kept = calloc(1, sizeof(**kept));
	if (!*kept)
		return NULL;
	if ((*kept)->seeded)
		wc_FreeRng(&(*kept)->rng);
	rsa_lanes_work_free((*kept)->work);
	**kept = (struct batch){ .hook.run = on_turn_end };
	if (rsa_lanes_usable())
		(*kept)->work = rsa_lanes_work_new();
	(*kept)->seeded = wc_InitRng(&(*kept)->rng) == 0;
	if (!(*kept)->seeded)
		return NULL;
	list_init(&(*kept)->waiting);
	worker_hook_add(w, &(*kept)->hook);
	__atomic_store_n(mine, *kept, __ATOMIC_RELEASE);
	return *mine;
}

struct WC_RNG *rsa_batch_rng(struct worker *w)
{
	rsa_batch_prepare();
	if (w) {
		struct batch *b = batch_of(w);

		return b ? &b->rng : NULL;
	}
	WC_RNG *rng = pthread_getspecific(own_rng);

	if (rng)
		return rng;
	rng = calloc(1, sizeof(*rng));
	if (rng && wc_InitRng(rng) == 0 && pthread_setspecific(own_rng, rng) == 0)
		return rng;
	free(rng);
	return NULL;
}

/* What the lanes cannot make gains nothing by waiting. */
static void prepare(struct batch *b, struct job *job)
{
	if (b->work)
		job->lanes = job->sigkey ? sigkey_lanes(job->sigkey, rsa_lanes_hide) :
					   rsa_key_lanes(job->key);
	if (job->lanes && rsa_lanes_wait_us())
		job->due_us = clock_now_us() + rsa_lanes_wait_us();
}

static enum err wait_for(struct worker *w, struct batch *b, struct job *job)
{
	prepare(b, job);
	job->home = worker_index(w);
	add_load(job->home, 1);
	enqueue(b, job);
	enum err err = fiber_wait(&job->wait, FIBER_FOREVER);

	/* A cancel while it still waits in the queue, or with another worker, who points to it. */
	if (list_has(&job->link)) {
		list_remove(&job->link);
		tally(&b->stats.waiting, -1);
		add_load(job->home, -1);
	} else if (job->away) {
		job->given_up = true;
		(void)fiber_wait_through(&job->back);
	}
	return err;
}

static enum err run(struct worker *w, struct job *job)
{
	struct WC_RNG *rng = rsa_batch_rng(w);

	if (!rng)
		return ERR_NOMEM;
	if (!w || !fiber_self())
		return sign_one(job, w ? worker_index(w) : RSA_NO_WORKER, rng);
	return wait_for(w, batch_of(w), job);
}

enum err rsa_batch_sign(struct worker *w, struct rsa_key *key, enum rsa_padding padding,
	const unsigned char digest[32], struct rsa_sig *out)
{
	struct job job = {
		.key = rsa_key_hold(key), .padding = padding, .digest = digest, .out = out
	};
	enum err err = run(w, &job);

	rsa_key_put(key);
	return err;
}

enum err rsa_batch_sign_sigkey(struct worker *w, struct sigkey *key, const unsigned char digest[32],
	struct rsa_sig *out)
{
	struct job job = { .sigkey = key, .digest = digest, .out = out };

	if (sigkey_type_of(key) == SIGKEY_RSA)
		return run(w, &job);
	return sigkey_sign(key, NULL, digest, out->bytes, &out->len);
}

void rsa_batch_stats(struct worker *w, struct rsa_batch_stats *out)
{
	/* Another's worker: only look whether it has made its own. */
	rsa_batch_prepare();
	const struct batch *b = __atomic_load_n(worker_slot(w, slot), __ATOMIC_ACQUIRE);

	*out = (struct rsa_batch_stats){ 0 };
	if (!b)
		return;
	out->signatures = __atomic_load_n(&b->stats.signatures, __ATOMIC_RELAXED);
	out->batches = __atomic_load_n(&b->stats.batches, __ATOMIC_RELAXED);
	out->waiting = __atomic_load_n(&b->stats.waiting, __ATOMIC_RELAXED);
	out->failed = __atomic_load_n(&b->stats.failed, __ATOMIC_RELAXED);
	out->in_lanes = __atomic_load_n(&b->stats.in_lanes, __ATOMIC_RELAXED);
	out->redone = __atomic_load_n(&b->stats.redone, __ATOMIC_RELAXED);
	out->handed_over = __atomic_load_n(&b->stats.handed_over, __ATOMIC_RELAXED);
}
