/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stack that senders push to and the receiver takes whole and turns round: lock-free,
 * without limit, in order per sender. The flag `sleeping` decides who writes to the eventfd:
 * the receiver sets it and then looks at the stack, the sender pushes and then takes the flag;
 * sequential consistency of the four makes sure that one of them sees the other. */
#include "core/post.h"

#include "core/worker_int.h"

static void post_to_self(struct worker *w, struct post *post)
{
	post->next = NULL;
	*w->own_posts_end = post;
	w->own_posts_end = &post->next;
}

void post_to(unsigned index, struct post *post)
{
	struct worker *w = worker_get(index);

	must(w);
	if (w == worker_self()) {
		post_to_self(w, post);
		return;
	}
	struct post *head = atomic_load_explicit(&w->posts, memory_order_relaxed);

	do
		post->next = head;
	while (!atomic_compare_exchange_weak(&w->posts, &head, post));
	if (atomic_load(&w->sleeping) && atomic_exchange(&w->sleeping, false))
		ring_backend->wake(w);
}

static struct post *reversed(struct post *newest)
{
	struct post *oldest = NULL;

	while (newest) {
		struct post *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}

static bool run_chain(struct worker *w, struct post *post)
{
	bool some = post != NULL;

	while (post) {
		struct post *next = post->next;

		stat_add(w, posts, 1);
		post->run(w, post);
		post = next;
	}
	return some;
}

bool post_run(struct worker *w)
{
	struct post *own = w->own_posts;

	w->own_posts = NULL;
	w->own_posts_end = &w->own_posts;
	bool some = run_chain(w, own);

	if (!atomic_load_explicit(&w->posts, memory_order_relaxed))
		return some;
	return run_chain(w, reversed(atomic_exchange(&w->posts, NULL))) || some;
}

bool post_pending(const struct worker *w)
{
	return w->own_posts || atomic_load(&w->posts);
}

/* --- Calls --- */

struct call {
	struct post post;
	void (*fn)(struct worker *w, void *arg);
	enum err (*fiber_fn)(struct worker *w, void *arg);
	void *arg;
	unsigned from;
	enum err result;
	struct fiber_wait wait;
};

static void call_returned(struct worker *w, struct post *post)
{
	struct call *call = container_of(post, struct call, post);

	fiber_wake(&call->wait, call->result);
}

static void send_back(struct call *call)
{
	call->post.run = call_returned;
	post_to(call->from, &call->post);
}

static void call_here(struct worker *w, struct post *post)
{
	struct call *call = container_of(post, struct call, post);

	call->fn(w, call->arg);
	send_back(call);
}

static void call_on_fiber(void *arg)
{
	struct call *call = arg;

	call->result = call->fiber_fn(worker_self(), call->arg);
	send_back(call);
}

static void call_here_fiber(struct worker *w, struct post *post)
{
	struct call *call = container_of(post, struct call, post);
	enum err err = fiber_start(w, call_on_fiber, call);

	if (err) {
		call->result = err;
		send_back(call);
	}
}

static enum err call_and_wait(unsigned worker, struct call *call)
{
	call->from = worker_index(worker_self());
	post_to(worker, &call->post);
	return fiber_wait_through(&call->wait);
}

void post_call(unsigned worker, void (*fn)(struct worker *w, void *arg), void *arg)
{
	struct call call = { .post.run = call_here, .fn = fn, .arg = arg };

	must(fiber_self());
	if (worker_get(worker) == worker_self())
		fn(worker_self(), arg);
	else
		(void)call_and_wait(worker, &call);
}

enum err post_call_fiber(unsigned worker, enum err (*fn)(struct worker *w, void *arg), void *arg)
{
	struct call call = { .post.run = call_here_fiber, .fiber_fn = fn, .arg = arg };

	must(fiber_self());
	if (worker_get(worker) == worker_self())
		return fn(worker_self(), arg);
	return call_and_wait(worker, &call);
}
