/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Helper threads. Senders push to a lock-free stack and post a semaphore, so a worker never waits
 * here; the mutex is only among the helper threads, who take turns at turning the stack round.
 * A queue is itself an item of the pool: it is pushed when its first job comes, runs one job, and
 * pushes itself again while it has more, so a long queue does not keep others from their turn. A queue
 * with a thread of its own never sees the pool. */
#include "core/job.h"

#include "core/entropy.h"
#include "core/worker_int.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>

enum { THREADS_MAX = 64 };

static struct {
	struct job_item *_Atomic sent; /* newest first */
	sem_t there;
	pthread_mutex_t lock;
	struct job_item *taken, *taken_end; /* oldest first */
	_Atomic bool ending;
	pthread_t threads[THREADS_MAX];
	unsigned count, waiting; /* waiting: inline, in the simulation */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void push(struct job_item *_Atomic *stack, struct job_item *item)
{
	struct job_item *head = atomic_load_explicit(stack, memory_order_relaxed);

	do
		item->next = head;
	while (!atomic_compare_exchange_weak(stack, &head, item));
}

/* The whole stack, oldest first. */
static struct job_item *take_all(struct job_item *_Atomic *stack)
{
	struct job_item *newest = atomic_exchange(stack, NULL), *oldest = NULL;

	while (newest) {
		struct job_item *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}

static void pool_push(struct job_item *item)
{
	push(&pool.sent, item);
	if (ring_backend == &ring_sim)
		pool.waiting++;
	else
		sem_post(&pool.there);
}

static void append(struct job_item *items)
{
	while (items) {
		struct job_item *next = items->next;

		items->next = NULL;
		if (pool.taken)
			pool.taken_end->next = items;
		else
			pool.taken = items;
		pool.taken_end = items;
		items = next;
	}
}

/* NULL only when the pool ends. */
static struct job_item *pool_pop(void)
{
	pthread_mutex_lock(&pool.lock);
	if (!pool.taken)
		append(take_all(&pool.sent));
	struct job_item *item = pool.taken;

	if (item)
		pool.taken = item->next;
	pthread_mutex_unlock(&pool.lock);
	return item;
}

static void *thread_main(void *arg)
{
	(void)arg;
	pthread_setname_np(pthread_self(), "helper");
	for (;;) {
		while (sem_wait(&pool.there) != 0 && errno == EINTR)
			;
		struct job_item *item = pool_pop();

		if (item)
			item->run(item);
		else if (atomic_load(&pool.ending))
			return NULL;
	}
}

enum err job_threads_start(unsigned count)
{
	pool.count = 0;
	atomic_store(&pool.ending, false);
	if (ring_backend == &ring_sim)
		return OK;
	sem_init(&pool.there, 0, 0);
	while (pool.count < MIN(count, (unsigned)THREADS_MAX) &&
		worker_thread_start(&pool.threads[pool.count], thread_main, NULL))
		pool.count++;
	return pool.count ? OK : ERR_NOMEM;
}

void job_threads_stop(void)
{
	atomic_store(&pool.ending, true);
	for (unsigned i = 0; i < pool.count; i++)
		sem_post(&pool.there);
	for (unsigned i = 0; i < pool.count; i++)
		pthread_join(pool.threads[i], NULL);
	if (pool.count)
		sem_destroy(&pool.there);
	pool.count = 0;
}

bool job_run_one_inline(void)
{
	append(take_all(&pool.sent));
	if (!pool.taken)
		return false;
	/* Any of those that wait may be the next to get a thread. */
	uint64_t skip = entropy_below(pool.waiting);
	struct job_item **at = &pool.taken, *before = NULL;

	while (skip--) {
		before = *at;
		at = &(*at)->next;
	}
	struct job_item *item = *at;

	*at = item->next;
	if (pool.taken_end == item)
		pool.taken_end = before;
	pool.waiting--;
	item->run(item);
	return true;
}

bool job_waiting_inline(void)
{
	return pool.waiting > 0;
}

void job_forget_inline(void)
{
	atomic_store(&pool.sent, NULL);
	pool.taken = NULL;
	pool.waiting = 0;
}

/* --- Queues --- */

/* One job of the queue. The count is taken down last: whoever brings it from 0 to 1 pushes the
 * queue, so it is in the pool at most once. */
static void queue_run(struct job_item *item)
{
	struct job_queue *q = container_of(item, struct job_queue, item);

	if (!q->taken)
		q->taken = take_all(&q->sent);
	struct job_item *first = q->taken;

	q->taken = first->next;
	first->run(first);
	if (atomic_fetch_sub(&q->pending, 1) > 1)
		pool_push(&q->item);
}

/* --- A thread of its own --- */

struct job_thread {
	struct job_queue *queue;
	pthread_t thread;
	sem_t there;
	_Atomic bool ending;
};

static void *own_thread_main(void *arg)
{
	struct job_thread *t = arg;

	pthread_setname_np(pthread_self(), "writer");
	for (;;) {
		struct job_item *items = take_all(&t->queue->sent);

		while (items) {
			struct job_item *item = items;

			items = item->next;
			item->run(item);
		}
		if (atomic_load(&t->ending) && !atomic_load(&t->queue->sent))
			return NULL;
		while (sem_wait(&t->there) != 0 && errno == EINTR)
			;
	}
}

enum err job_queue_start(struct job_queue *queue)
{
	struct job_thread *t;

	if (ring_backend == &ring_sim)
		return OK;
	t = calloc(1, sizeof(*t));
	if (!t)
		return ERR_NOMEM;
	t->queue = queue;
	sem_init(&t->there, 0, 0);
	if (!worker_thread_start(&t->thread, own_thread_main, t)) {
		sem_destroy(&t->there);
		free(t);
		return ERR_NOMEM;
	}
	queue->own = t;
	return OK;
}

void job_queue_stop(struct job_queue *queue)
{
	struct job_thread *t = queue->own;

	/* The last job has come home, but a thread may not have let go of the queue. */
	while (!t && atomic_load(&queue->pending) > 0)
		sched_yield();
	if (!t)
		return;
	atomic_store(&t->ending, true);
	sem_post(&t->there);
	pthread_join(t->thread, NULL);
	sem_destroy(&t->there);
	free(t);
	queue->own = NULL;
}

static void send_item(struct job_item *item, struct job_queue *queue)
{
	if (!queue) {
		pool_push(item);
		return;
	}
	push(&queue->sent, item);
	if (queue->own) {
		sem_post(&queue->own->there);
		return;
	}
	if (atomic_fetch_add(&queue->pending, 1) == 0) {
		queue->item.run = queue_run;
		pool_push(&queue->item);
	}
}

/* --- Jobs --- */

static void back_home(struct worker *w, struct post *post)
{
	struct job *job = container_of(post, struct job, back);

	w->jobs_in_flight--;
	job->done(w, job);
}

static void run_job(struct job_item *item)
{
	struct job *job = container_of(item, struct job, item);

	job->run(job);
	job->back.run = back_home;
	post_to(job->worker, &job->back);
}

void job_send(struct job *job, struct job_queue *queue)
{
	struct worker *w = worker_self();

	must(w && job->run && job->done);
	w->jobs_in_flight++;
	job->worker = w->index;
	job->item.run = run_job;
	send_item(&job->item, queue);
}

static void run_fork(struct job *job)
{
	struct job_fork *f = container_of(job, struct job_fork, job);

	f->fn(f->arg);
}

static void fork_done(struct worker *w, struct job *job)
{
	(void)w;
	fiber_wake(&container_of(job, struct job_fork, job)->wait, OK);
}

static void fork_in(struct job_queue *queue, struct job_fork *f)
{
	must(fiber_self());
	f->job = (struct job){ .run = run_fork, .done = fork_done };
	f->wait = (struct fiber_wait){ 0 };
	f->sent = true;
	job_send(&f->job, queue);
}

void job_fork(struct job_fork *f, void (*fn)(void *arg), void *arg)
{
	*f = (struct job_fork){ .fn = fn, .arg = arg };
	if (worker_self())
		fork_in(NULL, f);
	else
		fn(arg);
}

void job_join(struct job_fork *f)
{
	if (f->sent)
		(void)fiber_wait_through(&f->wait);
	f->sent = false;
}

void job_run_in(struct job_queue *queue, void (*fn)(void *arg), void *arg)
{
	struct job_fork f = { .fn = fn, .arg = arg };

	if (!worker_self()) {
		fn(arg);
		return;
	}
	fork_in(queue, &f);
	job_join(&f);
}

void job_run(void (*fn)(void *arg), void *arg)
{
	job_run_in(NULL, fn, arg);
}
