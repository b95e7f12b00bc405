/* SPDX-License-Identifier: GPL-2.0-or-later */
/* resolver.c - questions to libunbound, waited for on fibers.
 *
 * libunbound resolves and validates on a thread of its own, one per worker that ever asked, and
 * hands results over a pipe whose descriptor the ring polls. Its request pipe blocks when full, so
 * no more than QUESTIONS_MAX are in flight; further askers wait. Its start-up reads anchors and
 * hints with buffers larger than a fiber's stack, so that part runs on a helper thread. A resolver
 * that is closed while somebody waits is freed by the last of them. */
#include "relay/resolver_int.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>

#include "core/base/text.h"
#include "core/job.h"
#include "core/proc.h"
#include "core/ring.h"
#include "core/worker.h"

enum { QUESTIONS_MAX = 512, NAME_MAX_BYTES = 255, CLASS_IN = 1, ANSWERS_MAX = 256, TCP_FILES = 16 };

struct resolver {
	struct worker *w;
	struct resolver_options options;
	struct ub_ctx *ctx; /* made at the first question */
	struct op poll;
	struct list questions;
	struct fiber_sem slots;
	struct fiber_gate opened; /* others wait while one opens */
	unsigned users;
	bool opening, closing, stopped;
};

struct resolver_answer {
	struct arena *arena;
	slice items[ANSWERS_MAX];
	size_t count;
	uint32_t ttl_s;
};

static resolver_hook_fn *hook_fn;
static void *hook_arg;

void resolver_hook(resolver_hook_fn *hook, void *arg)
{
	hook_fn = hook;
	hook_arg = arg;
}

void resolver_answer_add(struct resolver_answer *answer, slice rdata, uint32_t ttl_s)
{
	if (answer->count == ANSWERS_MAX)
		return;
	answer->items[answer->count++] = arena_dup(answer->arena, rdata);
	answer->ttl_s = answer->count == 1 ? ttl_s : MIN(answer->ttl_s, ttl_s);
}

static void free_if_idle(struct resolver *r)
{
	if (!r->closing || r->users > 0 || op_busy(&r->poll))
		return;
	if (r->ctx)
		ub_ctx_delete(r->ctx);
	free(r);
}

static void poll_again(struct resolver *r)
{
	if (!r->closing && r->ctx && !op_busy(&r->poll))
		ring_poll(r->w, &r->poll, ub_fd(r->ctx), POLLIN);
}

static void poll_done(struct op *op, int res)
{
	struct resolver *r = container_of(op, struct resolver, poll);

	if (res >= 0 && !r->closing)
		ub_process(r->ctx);
	poll_again(r);
	free_if_idle(r);
}

enum err resolver_open(struct worker *w, const struct resolver_options *o, struct resolver **out)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return ERR_NOMEM;
	r->w = w;
	r->options = *o;
	r->poll.done = poll_done;
	r->slots.free = QUESTIONS_MAX;
	list_init(&r->questions);
	*out = r;
	return OK;
}

void resolver_stop(struct resolver *r)
{
	if (!r)
		return;
	r->stopped = true;
	list_each(&r->questions, link)
		fiber_wake(&container_of(link, struct question, link)->wait, ERR_STOPPED);
	fiber_gate_wake_all(&r->slots.gate, ERR_STOPPED);
	fiber_gate_wake_all(&r->opened, ERR_STOPPED);
}

void resolver_close(struct resolver *r)
{
	if (!r)
		return;
	resolver_stop(r);
	r->closing = true;
	if (op_busy(&r->poll))
		ring_cancel(r->w, &r->poll);
	free_if_idle(r);
}

const struct resolver_options *resolver_options_of(const struct resolver *r)
{
	return &r->options;
}

static bool add_servers(struct ub_ctx *ctx, const struct conf_addresses *servers)
{
	for (size_t i = 0; i < servers->count; i++) {
		char text[ADDR_TEXT];
		struct out o = out_fixed(text, sizeof(text) - 1);

		addr_put_ip(&o, &servers->at[i]);
		out_printf(&o, "@%u", servers->at[i].port ? servers->at[i].port : 53);
		text[o.len] = 0;
		if (ub_ctx_set_fwd(ctx, text))
			return false;
	}
	return true;
}

/* Debian's root anchors; a forwarder is trusted to validate or not as it likes. */
static bool add_anchor(struct ub_ctx *ctx, const struct resolver_options *o)
{
	char path[4096];

	if (o->root_key.len >= sizeof(path))
		return false;
	if (o->root_key.len > 0) {
		memcpy(path, o->root_key.ptr, o->root_key.len);
		path[o->root_key.len] = 0;
		return ub_ctx_add_ta_file(ctx, path) == 0;
	}
	if (o->servers.count == 0)
		return ub_ctx_add_ta_file(ctx, "/usr/share/dns/root.key") == 0;
	return true;
}

static void ignore(void *arg, int error, struct ub_result *result)
{
	ub_resolve_free(result);
}

struct opening {
	const struct resolver_options *options;
	struct ub_ctx *ctx; /* NULL: it failed */
};

unsigned resolver_files(void)
{
	return MIN(MAX(proc_files_max() / 128, 32u), 1024u) + TCP_FILES;
}

/* Questions beyond them wait their turn: by itself it would take thousands. */
static bool set_sockets(struct ub_ctx *ctx)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", resolver_files() - TCP_FILES);
	return ub_ctx_set_option(ctx, "outgoing-range:", number) == 0;
}

/* libunbound makes a mutex for all contexts in the first one, where two threads may be at once. */
static void make_first_ctx(void)
{
	ub_ctx_delete(ub_ctx_create());
}

/* On a helper thread. */
static void make_ctx(void *arg)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct opening *opening = arg;
	const struct resolver_options *o = opening->options;

	pthread_once(&once, make_first_ctx);
	struct ub_ctx *ctx = ub_ctx_create();

	if (!ctx)
		return;
	/* A name server on loopback is refused otherwise. */
	bool ok = ub_ctx_set_option(ctx, "do-not-query-localhost:", "no") == 0 &&
		ub_ctx_set_option(ctx, "msg-cache-size:", "8m") == 0 &&
		ub_ctx_set_option(ctx, "rrset-cache-size:", "16m") == 0 && set_sockets(ctx) &&
		ub_ctx_async(ctx, 1) == 0 && add_servers(ctx, &o->servers) && add_anchor(ctx, o);

	if (ok && o->servers.count == 0)
		ub_ctx_set_option(ctx, "root-hints:", "/usr/share/dns/root.hints");
	/* Whoever names a server means it for these too; libunbound would answer them itself. It
	 * ends the configuring, so it comes last. */
	if (ok && o->servers.count > 0)
		ok = ub_ctx_zone_remove(ctx, "test.") == 0 &&
			ub_ctx_zone_remove(ctx, "onion.") == 0;
	/* The first question starts its thread. This one it answers itself. */
	ok = ok &&
		ub_resolve_async(ctx, "localhost", RESOLVER_A, CLASS_IN, NULL, ignore, NULL) == 0;
	if (ok)
		opening->ctx = ctx;
	else
		ub_ctx_delete(ctx);
}

static bool open_ctx(struct resolver *r)
{
	struct opening opening = { .options = &r->options };

	while (r->opening)
		if (fiber_gate_wait(&r->opened, r->options.timeout_ms))
			return false;
	if (r->ctx)
		return true;
	r->opening = true;
	job_run(make_ctx, &opening);
	r->opening = false;
	r->ctx = opening.ctx;
	fiber_gate_wake_all(&r->opened, OK);
	return r->ctx != NULL;
}

static void answered(void *arg, int error, struct ub_result *result)
{
	struct question *q = arg;

	q->pending = false;
	q->result = result;
	list_remove(&q->link);
	fiber_wake(&q->wait, error ? ERR_DNS_TEMP : OK);
}

static enum err ask_hook(struct question *q, const char *name, int rrtype)
{
	struct resolver_answer *answer = calloc(1, sizeof(*answer));
	enum err err = answer ? OK : ERR_NOMEM;

	if (!answer)
		return err;
	answer->arena = q->arena;
	err = hook_fn(hook_arg, name, rrtype, answer);
	if (!err && answer->count == 0)
		err = ERR_NOT_FOUND;
	if (!err) {
		q->out = arena_new(q->arena, struct resolver_rdata);
		q->out->items = arena_array(q->arena, slice, answer->count);
		memcpy(q->out->items, answer->items, answer->count * sizeof(slice));
		q->out->count = answer->count;
		q->out->ttl_s = answer->ttl_s;
	}
	free(answer);
	return err;
}

void resolver_ask(struct resolver *r, slice name, int rrtype, struct question *q)
{
	char text[NAME_MAX_BYTES + 1];

	q->resolver = r;
	r->users++;
	if (name.len == 0 || name.len > NAME_MAX_BYTES || memchr(name.ptr, 0, name.len)) {
		q->err = ERR_INVALID;
		return;
	}
	memcpy(text, name.ptr, name.len);
	text[name.len] = 0;
	if (hook_fn) {
		q->err = ask_hook(q, text, rrtype);
		return;
	}
	q->err = r->stopped ? ERR_STOPPED : fiber_sem_take(&r->slots, r->options.timeout_ms);
	if (q->err)
		return;
	if (r->stopped || !open_ctx(r)) {
		fiber_sem_give(&r->slots);
		q->err = r->stopped ? ERR_STOPPED : ERR_DNS_TEMP;
		return;
	}
	q->pending = true;
	list_push(&r->questions, &q->link);
	if (ub_resolve_async(r->ctx, text, rrtype, CLASS_IN, q, answered, &q->async_id)) {
		q->pending = false;
		list_remove(&q->link);
		fiber_wake(&q->wait, ERR_DNS_TEMP);
	}
	poll_again(r);
}

static enum err outcome_of(const struct ub_result *result)
{
	if (result->bogus)
		return ERR_DNS_BOGUS;
	if (result->nxdomain)
		return ERR_DNS_NXDOMAIN;
	if (result->rcode != 0)
		return ERR_DNS_TEMP;
	return result->havedata ? OK : ERR_NOT_FOUND;
}

static void copy_result(const struct ub_result *result, struct arena *a, struct resolver_rdata *out)
{
	size_t count = 0;

	while (result->data[count] && count < ANSWERS_MAX)
		count++;
	*out = (struct resolver_rdata){
		.items = arena_array(a, slice, count),
		.count = count,
		.ttl_s = result->ttl < 0 ? 0 : (uint32_t)result->ttl,
		.secure = result->secure,
	};
	for (size_t i = 0; i < count; i++)
		out->items[i] = arena_dup(a, slice_of(result->data[i], (size_t)result->len[i]));
}

/* The slot was taken when the question reached libunbound or tried to. */
static enum err await_network(struct question *q, struct resolver_rdata *out)
{
	struct resolver *r = q->resolver;
	enum err err = fiber_wait(&q->wait, r->options.timeout_ms);

	if (q->pending) {
		ub_cancel(r->ctx, q->async_id);
		list_remove(&q->link);
	}
	fiber_sem_give(&r->slots);
	if (!err && q->result)
		err = outcome_of(q->result);
	if (!err && q->result)
		copy_result(q->result, q->arena, out);
	ub_resolve_free(q->result);
	return err == ERR_TIMEOUT ? ERR_DNS_TEMP : err;
}

enum err resolver_await(struct question *q, struct resolver_rdata *out)
{
	struct resolver *r = q->resolver;
	enum err err = q->err;

	if (!err && q->out)
		*out = *q->out;
	else if (!err)
		err = await_network(q, out);
	r->users--;
	free_if_idle(r);
	return err;
}

enum err resolver_query(struct resolver *r, slice name, int rrtype, struct arena *a,
	struct resolver_rdata *out)
{
	struct question q = { .arena = a };

	resolver_ask(r, name, rrtype, &q);
	return resolver_await(&q, out);
}
