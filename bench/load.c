/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection's life: open, do its share of the tasks, close, open again. */
#include "bench/load.h"

#include "core/conn.h"
#include "core/fiber.h"
#include "core/worker.h"

#include <stdlib.h>

enum { BACKOFF_MS = 100, FAILURES_MAX = 100 };

static bool over(const struct load *load)
{
	if (atomic_load_explicit(&load->stop, memory_order_relaxed))
		return true;
	return load->duration_ms &&
		talk_now_ns() - load->start_ns >=
		(uint64_t)(load->warmup_ms + load->duration_ms) * 1000000;
}

/* Waits for its due time in the open loop. False: the run is over. */
static bool take_task(struct load *load, struct load_task *task)
{
	uint64_t number;

	if (over(load))
		return false;
	number = atomic_fetch_add_explicit(&load->next, 1, memory_order_relaxed);
	if (load->tasks && number >= load->tasks)
		return false;
	*task = (struct load_task){ .number = number, .due_ns = talk_now_ns() };
	if (load->rate > 0) {
		uint64_t due = load->start_ns + (uint64_t)((double)number * 1e9 / load->rate);

		for (uint64_t now = talk_now_ns(); now < due; now = talk_now_ns()) {
			uint64_t left_ms = (due - now) / 1000000;

			if (fiber_sleep((msec)MAX(left_ms, (uint64_t)1)) != OK || over(load))
				return false;
		}
		task->due_ns = due;
	}
	task->measured = talk_now_ns() - load->start_ns >= (uint64_t)load->warmup_ms * 1000000;
	return true;
}

slice load_expand(const struct load_name *name, char buf[LOAD_ADDRESS_MAX])
{
	struct out o = out_fixed(buf, LOAD_ADDRESS_MAX);

	for (const char *p = name->pattern; *p; p++) {
		if (p[0] == '%' && p[1] == 'd') {
			out_uint(&o, name->number % name->modulo);
			p++;
		} else if (p[0] == '%' && p[1] == 'n') {
			out_uint(&o, name->number);
			if (name->copy)
				out_printf(&o, ".%llu", (unsigned long long)name->copy);
			p++;
		} else {
			out_char(&o, *p);
		}
	}
	return out_written(&o);
}

void load_count_refusal(struct load_sender *s)
{
	report_count_reply(&s->part->report, s->talk.code, s->talk.verb, slice_str(s->talk.text));
}

void load_count_open(struct load_sender *s)
{
	struct report *r = &s->part->report;

	r->connections++;
	histogram_record(&r->connect, s->talk.connect_us);
	if (s->load->target.tls != TALK_PLAIN)
		histogram_record(&r->tls, s->talk.tls_us);
}

static void count_second(struct load *load, struct report *r, uint64_t done_ns)
{
	uint64_t second =
		(done_ns - load->start_ns - (uint64_t)load->warmup_ms * 1000000) / 1000000000;

	if (second >= REPORT_SECONDS_MAX)
		return;
	if (second >= r->second_count) {
		size_t count = (size_t)second + 64;
		uint32_t *grown = realloc(r->per_second, count * sizeof(*grown));

		must(grown);
		memset(grown + r->second_count, 0, (count - r->second_count) * sizeof(*grown));
		r->per_second = grown;
		r->second_count = count;
	}
	r->per_second[second]++;
}

static void count_task(struct load_sender *s, const struct load_task *task, bool accepted)
{
	struct load *load = s->load;
	struct report *r = &s->part->report;
	uint64_t done_ns = talk_now_ns();

	if (!accepted)
		load_count_refusal(s);
	if (done_ns - load->start_ns < (uint64_t)load->warmup_ms * 1000000)
		return;
	r->messages_sent++;
	if (accepted) {
		r->messages_accepted++;
		r->bytes += task->bytes;
		histogram_record(&r->message, (done_ns - task->due_ns) / 1000);
		count_second(load, r, done_ns);
	} else if (s->talk.code) {
		r->messages_refused++;
	} else {
		r->messages_broken++;
	}
}

static bool open_sender(struct load_sender *s)
{
	struct report *r = &s->part->report;

	if (!s->load->kind->open(s)) {
		r->connections_failed++;
		load_count_refusal(s);
		return false;
	}
	return true;
}

/* False: the run is over. */
static bool think(const struct load *load)
{
	return !load->think_ms || (fiber_sleep(load->think_ms) == OK && !over(load));
}

/* Does up to per_connection tasks. False: the run is over. */
static bool use_talk(struct load_sender *s)
{
	struct load *load = s->load;
	struct load_task task;

	if (over(load) || (load->tasks && atomic_load(&load->next) >= load->tasks))
		return false;
	if (!open_sender(s))
		return ++s->failures < FAILURES_MAX && fiber_sleep(BACKOFF_MS) == OK;
	s->failures = 0;
	for (uint64_t n = 0; load->per_connection == 0 || n < load->per_connection; n++) {
		if ((n > 0 && !think(load)) || !take_task(load, &task))
			return false;
		bool accepted = load->kind->run(s, &task);

		count_task(s, &task, accepted);
		if (accepted)
			atomic_fetch_add_explicit(&load->accepted, 1, memory_order_relaxed);
		else if (!load->kind->recover(s))
			return true;
	}
	return true;
}

static void free_sender(struct load_sender *s)
{
	free(s->own);
	free(s);
}

static void run_sender(void *arg)
{
	struct load_sender *s = arg;
	const struct load_kind *kind = s->load->kind;
	bool more = true;

	while (more) {
		more = use_talk(s);
		kind->close(s, s->talk.code != 0);
	}
	if (kind->done)
		kind->done(s);
	s->part->live--;
	atomic_store(&s->load->end_ns, talk_now_ns());
	atomic_fetch_sub(&s->load->running, 1);
	free_sender(s);
}

enum err load_start(struct worker *w, struct load *load)
{
	unsigned index = worker_index(w);
	struct load_worker *part = &load->parts[index];

	for (uint64_t i = index; i < load->connections; i += load->workers) {
		struct load_sender *s = calloc(1, sizeof(*s));

		if (!s)
			return ERR_NOMEM;
		*s = (struct load_sender){ .load = load, .part = part, .index = i };
		s->own = calloc(1, load->kind->own_bytes);
		s->talk = (struct talk){ .target = &load->target, .worker = w };
		part->live++;
		enum err err = s->own ? fiber_start(w, run_sender, s) : ERR_NOMEM;

		if (err) {
			free_sender(s);
			return err;
		}
	}
	return OK;
}
