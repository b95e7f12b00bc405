/* SPDX-License-Identifier: GPL-2.0-or-later */
/* room.c - what is promised in accounts and domains and not in the index yet.
 *
 * A pool is an account or a domain with something on its way; its holds are shares of rooms: pending
 * while the record is being written, then known by its position until the index has committed that. What
 * a read transaction shows contains exactly the holds before its own position, so it and the others
 * make the truth, and a pending hold is the only doubt: counted it gives an upper bound, left out a
 * lower one (the index may have it already). Where the two disagree the question waits in the pool.
 * Everything here but the two calls of the header runs on the worker that keeps the domain. */
#include "store/room.h"

#include "core/base/map.h"
#include "core/worker.h"
#include "store/message_int.h"
#include "store/store_int.h"

#include <stdlib.h>

struct pool {
	struct map_link link;
	struct list holds, waiting; /* of struct room: questions that hang on it */
	struct room_sum sum;        /* of the holds */
	uint64_t account;           /* 0: the domain */
	unsigned kept;              /* by who looks at it: it may not go */
	uint8_t name_len;
	char name[];
};

struct hold {
	struct list_link link;
	struct pool *pool; /* NULL: none */
	const struct room *room;
	struct room_sum sum;
	unsigned shard;
};

/* The pools a worker keeps. */
struct desk {
	struct map pools;
	struct list pending, known; /* rooms; known ones in the order they came to be */
};

struct rooms {
	unsigned count;
	_Atomic bool used;
	struct desk desks[];
};

struct room {
	struct post post;
	struct list_link link; /* in a pool's waiting, or in one of its desk's lists */
	struct fiber_wait wait;
	struct store *st;
	struct room_ask *ask; /* until it is answered */
	unsigned here, owner; /* workers */
	bool last;            /* the index shows all there is: full is full */
	enum err err;
	modseq pos;   /* 0: pending */
	modseq ended; /* by who took it: the owner's `pos` once the post is there */
	size_t len;
	struct hold holds[]; /* two for each account: its own, and the domain's */
};

/* --- Life --- */

enum err rooms_new(struct store *st)
{
	unsigned count = MAX(workers_count(), 1u);
	struct rooms *rooms = calloc(1, sizeof(*rooms) + count * sizeof(struct desk));

	if (!rooms)
		return ERR_NOMEM;
	rooms->count = count;
	for (unsigned i = 0; i < count; i++) {
		list_init(&rooms->desks[i].pending);
		list_init(&rooms->desks[i].known);
	}
	st->rooms = rooms;
	return OK;
}

static void nothing(struct worker *w, void *arg)
{
}

static void free_pool(struct map_link *link, void *arg)
{
	struct map *pools = arg;

	map_remove(pools, link);
	free(container_of(link, struct pool, link));
}

static void free_rooms(struct list *list)
{
	for (struct list_link *link; (link = list_pop(list));)
		free(container_of(link, struct room, link));
}

/* Ends on their way name desks; behind them nothing else comes. */
void rooms_free(struct store *st)
{
	struct rooms *rooms = st->rooms;

	for (unsigned i = 0; rooms && i < rooms->count; i++) {
		struct desk *desk = &rooms->desks[i];

		if (st->worker && atomic_load(&rooms->used))
			post_call(i, nothing, NULL);
		free_rooms(&desk->pending);
		free_rooms(&desk->known);
		map_walk(&desk->pools, free_pool, &desk->pools);
		map_done(&desk->pools);
	}
	free(rooms);
	st->rooms = NULL;
}

/* --- Pools --- */

static uint64_t hash_of(slice domain, uint64_t account)
{
	static const struct map_seed seed; /* both are the operator's, not a stranger's */

	return account ? map_hash_u64(account) : map_hash(&seed, domain);
}

static struct desk *desk_of(const struct room *r)
{
	return &r->st->rooms->desks[r->owner];
}

static struct pool *find_pool(const struct room *r, uint64_t account)
{
	const struct map *pools = &desk_of(r)->pools;
	slice domain = r->ask->domain;
	struct map_link *link = map_find(pools, hash_of(domain, account));

	for (; link; link = map_find_next(pools, link)) {
		struct pool *p = container_of(link, struct pool, link);

		if (p->account == account && slice_eq(slice_of(p->name, p->name_len), domain))
			return p;
	}
	return NULL;
}

static struct pool *get_pool(const struct room *r, uint64_t account)
{
	struct pool *p = find_pool(r, account);
	slice domain = r->ask->domain;

	if (p)
		return p;
	p = calloc(1, sizeof(*p) + domain.len);
	if (!p)
		return NULL;
	p->account = account;
	p->name_len = (uint8_t)domain.len;
	memcpy(p->name, domain.ptr, domain.len);
	list_init(&p->holds);
	list_init(&p->waiting);
	if (map_insert(&desk_of(r)->pools, &p->link, hash_of(domain, account)))
		return p;
	free(p);
	return NULL;
}

static void put_pool(struct desk *desk, struct pool *p)
{
	if (p->kept || !list_empty(&p->holds) || !list_empty(&p->waiting))
		return;
	free_pool(&p->link, &desk->pools);
}

/* --- Holds --- */

static void unhold(struct hold *h)
{
	if (!list_has(&h->link))
		return;
	list_remove(&h->link);
	h->pool->sum.bytes -= h->sum.bytes;
	h->pool->sum.messages -= h->sum.messages;
}

static void unhold_all(struct room *r)
{
	for (size_t i = 0; i < r->len; i++)
		unhold(&r->holds[i]);
}

/* The domain's pool stands behind every second hold, and goes last. */
static void put_pools(struct room *r)
{
	struct pool *domain = NULL;

	for (size_t i = 0; i < r->len; i++) {
		struct pool *p = r->holds[i].pool;

		if (p && p->account)
			put_pool(desk_of(r), p);
		else if (p)
			domain = p;
		r->holds[i].pool = NULL;
	}
	if (domain)
		put_pool(desk_of(r), domain);
}

static bool hold(struct room *r, const struct room_want *want, uint64_t account)
{
	struct hold *h = &r->holds[r->len];

	*h = (struct hold){ .pool = get_pool(r, account),
		.room = r,
		.sum = want->add,
		.shard = mailbox_home(r->st, want->account) };
	if (!h->pool)
		return false;
	r->len++;
	list_push(&h->pool->holds, &h->link);
	h->pool->sum.bytes += h->sum.bytes;
	h->pool->sum.messages += h->sum.messages;
	return true;
}

static enum err hold_all(struct room *r)
{
	bool good = true;

	for (size_t i = 0; good && i < r->ask->len; i++) {
		const struct room_want *want = &r->ask->wants[i];

		good = want->full || (hold(r, want, want->account) && hold(r, want, 0));
	}
	if (good)
		return r->len ? OK : ERR_QUOTA;
	unhold_all(r);
	put_pools(r);
	r->len = 0;
	return ERR_NOMEM;
}

/* What the index has by now. In the order in which they came to be known, which is about that of their
 * positions; one that stands longer holds up nothing but memory. */
static void forget_committed(const struct room *some)
{
	struct desk *desk = desk_of(some);
	struct list_link *link;

	while ((link = list_first(&desk->known))) {
		struct room *r = container_of(link, struct room, link);

		for (size_t i = 0; i < r->len; i++)
			if (r->pos >= index_shard_position(r->st->index, r->holds[i].shard))
				return;
		list_remove(link);
		unhold_all(r);
		put_pools(r);
		free(r);
	}
}

/* --- Is there room? --- */

enum fit { FITS, FULL, HANGS };

static bool is_limited(const struct room_sum *limit)
{
	return limit->bytes || limit->messages;
}

static bool over(const struct room_sum *used, const struct room_sum *limit,
	const struct room_sum *before)
{
	return (limit->bytes && used->bytes + before->bytes >= limit->bytes) ||
		(limit->messages && used->messages + before->messages >= limit->messages);
}

static void add(struct room_sum *sum, const struct room_sum *more)
{
	sum->bytes += more->bytes;
	sum->messages += more->messages;
}

static enum fit weigh(const struct pool *p, const struct room_ask *ask,
	const struct room_sum *limit, const struct usage_seen *seen)
{
	struct room_sum least = { seen->bytes, seen->messages }, most = least;

	if (p)
		add(&most, &p->sum);
	if (!over(&most, limit, &ask->before))
		return FITS;
	most = least;
	if (p)
		list_each(&p->holds, link)
		{
			const struct hold *h = container_of(link, struct hold, link);

			if (h->room->pos && h->room->pos < seen->at[h->shard])
				continue;
			if (h->room->pos)
				add(&least, &h->sum);
			add(&most, &h->sum);
		}
	if (over(&least, limit, &ask->before))
		return FULL;
	return over(&most, limit, &ask->before) ? HANGS : FITS;
}

static enum err weigh_domain(struct room *r, struct pool **out_pool, enum fit *out)
{
	struct usage_seen seen;

	*out = FITS;
	if (!is_limited(&r->ask->limit))
		return OK;
	enum err err = read_domain_usage(r->st, r->ask->domain, &seen);
	*out_pool = find_pool(r, 0);
	if (!err)
		*out = weigh(*out_pool, r->ask, &r->ask->limit, &seen);
	return err;
}

static enum err weigh_account(struct room *r, const struct room_want *want, struct pool **out_pool,
	enum fit *out)
{
	struct usage_seen seen;

	*out = FITS;
	if (!is_limited(&want->limit))
		return OK;
	enum err err = read_usage(r->st, want->account, &seen);
	*out_pool = find_pool(r, want->account);
	if (!err)
		*out = weigh(*out_pool, r->ask, &want->limit, &seen);
	return err;
}

/* Marks who is full. *out_hangs: the pool that the answer hangs on. */
static enum err judge(struct room *r, struct pool **out_hangs, bool *out_full)
{
	struct room_ask *ask = r->ask;
	struct pool *p = NULL;
	enum fit domain = FITS;
	enum err err = ask->always ? OK : weigh_domain(r, &p, &domain);

	*out_hangs = domain == HANGS ? p : NULL;
	*out_full = domain == FULL;
	for (size_t i = 0; !err && !*out_hangs && i < ask->len; i++) {
		enum fit own = FITS;

		if (!ask->always && domain == FITS)
			err = weigh_account(r, &ask->wants[i], &p, &own);
		*out_hangs = own == HANGS ? p : NULL;
		ask->wants[i].full = domain == FULL || own == FULL;
		*out_full = *out_full || own == FULL;
	}
	return err;
}

/* --- Questions --- */

static void tell_there(struct worker *w, struct post *post)
{
	struct room *r = container_of(post, struct room, post);

	fiber_wake(&r->wait, r->err);
}

/* Who asked may free it from here on. */
static void tell(struct room *r, enum err err)
{
	r->err = err;
	if (!worker_self())
		return;
	r->post.run = tell_there;
	if (r->here == r->owner)
		tell_there(worker_self(), &r->post);
	else
		post_to(r->here, &r->post);
}

/* Answers, or says which pool the answer hangs on. ERR_BUSY: look again behind a commit. */
static struct pool *consider(struct room *r)
{
	struct pool *hangs;
	bool full;

	forget_committed(r);
	enum err err = judge(r, &hangs, &full);
	if (!err && hangs)
		return hangs;
	if (!err && full && !r->last)
		err = ERR_BUSY;
	if (!err)
		err = hold_all(r);
	if (!err)
		list_push(&desk_of(r)->pending, &r->link);
	tell(r, err);
	return NULL;
}

/* In the order of their coming, as far as there is something to say: they ask the same, so what the
 * first hangs on the others do too. */
static void answer_waiting(struct pool *p)
{
	struct pool *hangs = NULL;

	while (hangs != p && !list_empty(&p->waiting)) {
		struct list_link *link = list_pop(&p->waiting);

		hangs = consider(container_of(link, struct room, link));
		if (hangs == p)
			list_push_front(&p->waiting, link);
		else if (hangs)
			list_push(&hangs->waiting, link);
	}
}

/* Both pools of each account; the domain's comes again with each. */
static void end_here(struct room *r)
{
	struct desk *desk = desk_of(r);

	r->pos = r->ended;
	list_remove(&r->link);
	if (!r->pos)
		unhold_all(r);
	for (size_t i = 0; i < r->len; i++)
		r->holds[i].pool->kept++;
	for (size_t i = 0; i < r->len; i++)
		answer_waiting(r->holds[i].pool);
	for (size_t i = 0; i < r->len; i++)
		r->holds[i].pool->kept--;
	if (r->pos) {
		list_push(&desk->known, &r->link);
		return;
	}
	put_pools(r);
	free(r);
}

/* --- The calling side --- */

static void consider_there(struct worker *w, struct post *post)
{
	struct room *r = container_of(post, struct room, post);
	struct pool *hangs = consider(r);

	if (hangs)
		list_push(&hangs->waiting, &r->link);
}

static void end_there(struct worker *w, struct post *post)
{
	end_here(container_of(post, struct room, post));
}

/* Without a worker nobody else could end what it hangs on: nobody gets any. */
static enum err ask_owner(struct room *r)
{
	struct worker *w = worker_self();

	r->wait = (struct fiber_wait){ 0 };
	if (!w) {
		if (!consider(r))
			return r->err;
		for (size_t i = 0; i < r->ask->len; i++)
			r->ask->wants[i].full = true;
		return ERR_QUOTA;
	}
	r->post.run = consider_there;
	if (r->here == r->owner)
		consider_there(w, &r->post);
	else
		post_to(r->owner, &r->post);
	return fiber_wait_through(&r->wait);
}

static bool any_limit(struct room_ask *ask)
{
	bool any = is_limited(&ask->limit);

	for (size_t i = 0; i < ask->len; i++) {
		ask->wants[i].full = false;
		any = any || is_limited(&ask->wants[i].limit);
	}
	return any;
}

static struct room *new_room(struct store *st, struct room_ask *ask)
{
	struct room *r = calloc(1, sizeof(*r) + 2 * ask->len * sizeof(struct hold));
	struct worker *w = worker_self();

	if (!r)
		return NULL;
	r->st = st;
	r->ask = ask;
	r->here = w ? worker_index(w) : 0;
	r->owner = (unsigned)(hash_of(ask->domain, 0) % st->rooms->count);
	return r;
}

enum err room_take(struct store *st, struct room_ask *ask, struct room **out)
{
	*out = NULL;
	if (!any_limit(ask))
		return OK;
	if (!ask->domain.len || ask->domain.len > KEYS_DOMAIN_MAX)
		return ERR_INVALID;
	struct room *r = new_room(st, ask);
	if (!r)
		return ERR_NOMEM;
	atomic_store(&st->rooms->used, true);
	enum err err = ask_owner(r);
	if (err == ERR_BUSY) {
		err = store_sync_everything(st);
		r->last = true;
		if (!err)
			err = ask_owner(r);
	}
	if (err) {
		free(r);
		return err;
	}
	*out = r;
	return OK;
}

void room_end(struct room *r, modseq pos)
{
	if (!r)
		return;
	r->ended = pos;
	r->ask = NULL;
	if (r->here == r->owner) {
		end_here(r);
		return;
	}
	r->post.run = end_there;
	post_to(r->owner, &r->post);
}
