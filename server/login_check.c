/* SPDX-License-Identifier: GPL-2.0-or-later */
/* login_check.c - is that the password? Remembered, being found out by somebody else, or found out here. */
#include "server/login_int.h"

#include <stdlib.h>

#include "core/fiber.h"
#include "core/metric.h"
#include "core/post.h"

/* A check in progress, at the worker that owns the question. */
struct pending {
	struct map_link link;
	login_mark mark;
	struct list waiting; /* asks with the very same question */
};

struct hash_job {
	const char *stored;
	slice password;
	bool right;
};

static void check_hash(void *arg)
{
	struct hash_job *job = arg;

	job->right = password_check(job->stored, job->password);
}

static bool hash_is_right(struct login *l, const char *stored, slice password)
{
	struct hash_job job = { .stored = stored, .password = password };
	unsigned lane =
		atomic_fetch_add_explicit(&l->next_lane, 1, memory_order_relaxed) % LOGIN_LANES;

	metric_add(&login_metrics, LOGIN_M_HASHES, 1);
	job_run_in(&l->lanes[lane], check_hash, &job);
	return job.right;
}

static struct pending *find_pending(struct login_tables *t, const login_mark *mark, uint64_t hash)
{
	struct map_link *link = map_find(&t->pending, hash);

	for (; link; link = map_find_next(&t->pending, link)) {
		struct pending *p = container_of(link, struct pending, link);

		if (!memcmp(p->mark.bytes, mark->bytes, sizeof(mark->bytes)))
			return p;
	}
	return NULL;
}

/* One question, put to the worker that owns it: it knows the answer, or somebody is finding it out and
 * this one waits for it too, or the asker is to find it out and tell. So a sender that opens a thousand
 * connections costs one hash, on however many workers they land. Each worker remembers what it was
 * told, and asks no more. On the stack of the asking fiber. */
struct question {
	struct post post;
	struct list_link link;
	struct fiber_wait told;
	struct login *login;
	const struct login_try *try;
	unsigned asker;
	login_mark mark;
	uint64_t hash; /* of the mark, which is keyed: nobody's choice */
	enum { KNOWN, WAITS, OPEN } state;
	bool right;
	msec until; /* how long the answer may be remembered */
};

static void put_question(struct worker *w, void *arg)
{
	struct question *q = arg;
	struct login_tables *t = login_tables(q->login, w);
	struct pending *p = find_pending(t, &q->mark, q->hash);

	if (q->try->options->cache_ms)
		q->until = login_table_until(&t->cache, &q->mark, worker_now(w));
	if (q->until) {
		q->state = KNOWN;
		q->right = true;
		return;
	}
	if (p) {
		q->state = WAITS;
		list_push(&p->waiting, &q->link);
		return;
	}
	q->state = OPEN;
	p = calloc(1, sizeof(*p));
	if (!p) /* then others find out for themselves */
		return;
	p->mark = q->mark;
	list_init(&p->waiting);
	if (!map_insert(&t->pending, &p->link, q->hash))
		free(p);
}

static void tell_waiting(struct worker *w, struct post *post)
{
	(void)w;
	fiber_wake(&container_of(post, struct question, post)->told, OK);
}

static void put_answer(struct worker *w, void *arg)
{
	const struct question *q = arg;
	struct login_tables *t = login_tables(q->login, w);
	struct pending *p = find_pending(t, &q->mark, q->hash);

	if (q->right && q->until)
		login_table_add(&t->cache, &q->mark, q->until);
	if (!p)
		return;
	for (struct list_link *link; (link = list_pop(&p->waiting));) {
		struct question *other = container_of(link, struct question, link);

		other->right = q->right;
		other->until = q->until;
		other->post.run = tell_waiting;
		post_to(other->asker, &other->post);
	}
	map_remove(&t->pending, &p->link);
	free(p);
}

static void find_out(struct question *q, struct worker *w, slice stored)
{
	unsigned owner = (unsigned)(q->hash % workers_count());

	post_call(owner, put_question, q);
	if (q->state == WAITS)
		fiber_wait_through(&q->told);
	if (q->state != OPEN)
		return;
	q->right = hash_is_right(q->login, stored.ptr, q->try->password);
	if (q->right && q->try->options->cache_ms)
		q->until = worker_now(w) + q->try->options->cache_ms;
	post_call(owner, put_answer, q);
}

/* Remembered here, known elsewhere, or found right by its hash. */
bool login_check(struct login *l, struct worker *w, const struct login_try *t, slice stored)
{
	struct login_tables *tables = login_tables(l, w);
	struct question q = { .login = l,
		.try = t,
		.asker = worker_index(w),
		.mark = login_mark_of(slice_of(l->key, LOGIN_KEY_BYTES), t->name, stored,
			t->password) };

	memcpy(&q.hash, q.mark.bytes, sizeof(q.hash));
	if (t->options->cache_ms && login_table_until(&tables->cache, &q.mark, worker_now(w))) {
		metric_add(&login_metrics, LOGIN_M_CACHED, 1);
		return true;
	}
	find_out(&q, w, stored);
	if (q.state == KNOWN)
		metric_add(&login_metrics, LOGIN_M_CACHED, 1);
	if (q.right && q.until)
		login_table_add(&tables->cache, &q.mark, q.until);
	return q.right;
}
