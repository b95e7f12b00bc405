/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rig.c - starting, feeding and stopping a whole relay inside a test. */
#include "tests/relay/rig.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/fiber.h"
#include "core/post.h"
#include "core/rsa_batch.h"
#include "core/tls.h"
#include "proto/mime/header.h"

_Atomic unsigned rig_failures;
static struct rig *the_rig;

void rig_make(struct rig *rig, unsigned workers)
{
	*rig = (struct rig){ .workers = workers, .drain_ms = 5000 };
	tmpdir_make(&rig->dir);
}

void rig_remove(struct rig *rig)
{
	tmpdir_remove(&rig->dir);
}

static enum err open_store(struct rig *rig)
{
	struct store_options options = store_options_default();
	char why[256] = "";
	struct store_open args = {
		.options = &options, .ops = &queue_replay_ops, .why = why, .why_bytes = sizeof(why)
	};

	options.path = rig->dir.path;
	options.segment_bytes = 1 << 20;
	options.journal_max_bytes = 64 << 20;
	options.reserve_bytes = 0;
	options.shards = 2;
	enum err err = store_open(&args, &rig->st);

	if (err)
		fprintf(stderr, "store_open: %s %s\n", err_name(err), why);
	return err;
}

static enum err start(struct worker *w, void *arg)
{
	struct rig *rig = arg;
	enum err err = OK;

	if (worker_index(w) == 0) {
		err = open_store(rig);
		atomic_store(&rig->opened, err ? 2 : 1);
	}
	while (!atomic_load(&rig->opened))
		(void)!fiber_sleep(1);
	if (atomic_load(&rig->opened) == 2)
		return err ? err : ERR_STOPPED;
	err = relay_start(w, rig->st);
	return err;
}

static void stop(struct worker *w, void *arg)
{
	struct rig *rig = arg;

	relay_drain(w, rig->drain_ms);
	atomic_fetch_add(&rig->drained, 1);
	while (atomic_load(&rig->drained) < rig->workers)
		(void)!fiber_sleep(1);
	if (worker_index(w) == 0)
		store_close(rig->st);
}

static void body_fiber(void *arg)
{
	struct rig *rig = arg;

	rig->body(rig, worker_self());
	workers_stop();
}

static void run_body(struct worker *w, struct post *post)
{
	(void)post;
	check(fiber_start(w, body_fiber, the_rig) == OK);
}

const char *rig_route(struct rig *rig, unsigned port, const char *more)
{
	snprintf(rig->route, sizeof(rig->route),
		"relay:\n  retry: { first: 200ms, factor: 1, max: 1s, expire: 1h, warn: 0 }\n"
		"  idle: 200ms\n%s"
		"  routes:\n    - { domain: \"*\", hosts: [ 127.0.0.1 ], port: %u, tls: none }\n",
		more, port);
	return rig->route;
}

static struct conf *parse(const char *yaml)
{
	static const struct conf_table *const tables[] = { &relay_conf, &tls_options_table };
	static const struct conf_schema schema = { tables, 2 };
	struct out errors = out_heap(10000);
	struct conf *conf = NULL;
	enum err err = conf_parse(&schema, slice_str(yaml), "/tmp/rig.yaml", &errors, &conf);

	if (err)
		fprintf(stderr, "%.*s\n", (int)errors.len, errors.buf);
	out_heap_done(&errors);
	must(!err);
	return conf;
}

void rig_run(struct rig *rig, const char *yaml, void (*body)(struct rig *rig, struct worker *w))
{
	struct workers_config config = {
		.count = rig->workers, .start = start, .stop = stop, .arg = rig, .job_threads = 2
	};
	struct relay_setup setup = { .hostname = SLICE("relay.test") };
	struct post post = { .run = run_body };
	char why[256] = "";
	struct out o = out_fixed(why, sizeof(why) - 1);

	the_rig = rig;
	rig->body = body;
	rig->opened = rig->drained = 0;
	setup.conf = rig->conf = parse(yaml);
	setup.options = conf_options(rig->conf, &relay_conf);
	cr_assert_eq(tls_start(), OK);
	cr_assert_eq(tls_client_new(conf_options(rig->conf, &tls_options_table), &o, &setup.tls),
		OK);
	cr_assert_eq(relay_init(&setup, &o), OK, "%s", why);
	tls_client_put(setup.tls);
	enum err err = workers_start(&config, why, sizeof(why));

	cr_assert_eq(err, OK, "%s %s", err_name(err), why);
	post_to(0, &post);
	workers_join();
	relay_done();
	conf_put(rig->conf);
	tls_stop();
	cr_assert_eq(rig_failures, 0u);
}

static uint32_t split(slice to, struct envelope_rcpt *rows, uint8_t notify)
{
	uint32_t count = 0;
	slice one;

	while (slice_cut(&to, ' ', &one))
		rows[count++] = (struct envelope_rcpt){ .address = one, .notify = notify };
	return count;
}

enum err rig_send(struct rig *rig, struct worker *w, const struct rig_mail *mail, queue_id *out)
{
	struct envelope_rcpt rows[64];
	struct blob_writer body = { 0 };
	slice text = slice_str(mail->text);
	ptrdiff_t blank = slice_search(text, SLICE("\r\n\r\n"));
	struct envelope e = {
		.received_at = worker_wall(w),
		.sender = slice_str(mail->from),
		.size = text.len,
		.header_bytes = (uint32_t)(blank < 0 ? (ptrdiff_t)text.len : blank + 4),
		.origin = mail->origin,
		.ret = mail->ret,
		.body = mail->eight_bit ? ENVELOPE_8BITMIME : ENVELOPE_7BIT,
		.has_8bit = mail->eight_bit,
		.smtputf8 = mail->smtputf8,
		.header_8bit = !text_is_ascii(slice_sub(text, 0, blank < 0 ? 0 : (size_t)blank)),
		.lane = mail->bulk ? ENVELOPE_BULK : ENVELOPE_TRANSACTIONAL,
		.has_priority = mail->priority != 0,
		.priority = mail->priority,
		.trace = queue_trace_new(w),
		.hold_until = mail->hold_ms ? worker_wall(w) + mail->hold_ms : 0,
		.rcpts = rows,
	};
	queue_id id;

	e.rcpt_count = split(slice_str(mail->to), rows, mail->notify);
	blob_begin(&body, rig->st);
	enum err err = blob_write_wait(&body, text);

	if (err) {
		blob_drop(&body);
		return err;
	}
	const struct queue_mail queued = {
		.envelope = &e, .body = &body, .accepted = mail->accepted
	};

	err = queue_submit(w, &queued, &id);
	if (!err && out)
		*out = id;
	return err;
}

bool rig_wait(bool (*done)(void *arg), void *arg, msec ms)
{
	msec until = clock_now() + ms;

	while (!done(arg)) {
		if (clock_now() > until)
			return false;
		(void)!fiber_sleep(5);
	}
	return true;
}

uint64_t rig_waiting(struct worker *w)
{
	struct relay_stats stats;
	uint64_t ended, known;

	(void)w;
	relay_stats(&stats);
	/* What was parked is seen on disk only when the index has committed it. */
	ended = stats.delivered + stats.bounced + stats.removed;
	known = stats.rcpts_ready + stats.rcpts_active + stats.rcpts_parked + stats.rcpts_held;
	return MAX(known, stats.accepted_rcpts > ended ? stats.accepted_rcpts - ended : 0);
}

bool rig_idle(struct worker *w, msec ms)
{
	msec until = clock_now() + ms;

	/* Between a failure and its report there is a moment without either. */
	for (unsigned calm = 0; calm < 40; calm = rig_waiting(w) == 0 ? calm + 1 : 0) {
		if (clock_now() > until)
			return false;
		(void)!fiber_sleep(5);
	}
	return true;
}
