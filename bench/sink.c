/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink as a command: options, listeners on every worker, a line of numbers now and then, and the
 * account at the end. */
#include "bench/args.h"
#include "bench/commands.h"
#include "bench/report.h"
#include "bench/sink_int.h"

#include "core/base/codec.h"
#include "core/base/text.h"
#include "core/entropy.h"
#include "core/listen.h"
#include "core/tls.h"
#include "core/worker.h"
#include "proto/smtp/reply.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct sink_args {
	struct arg_list listen, without;
	const char *cert, *key, *keys, *script, *auth, *hostname;
	uint64_t workers, verify_every, expect;
	msec every_ms, timeout_ms;
	bool json, lmtp, quiet;
};

#define AT(member) offsetof(struct sink_args, member)
static const struct arg_row rows[] = {
	{ "listen", ARG_LIST, AT(listen), 0, 0, "ADDR:PORT",
		"where to listen, also unix:/path; port 0 takes a free one (several times)" },
	{ "workers", ARG_COUNT, AT(workers), 1, 64, "N", "threads (default 1)" },
	{ "hostname", ARG_STRING, AT(hostname), 0, 0, "NAME",
		"how it calls itself (default sink.invalid)" },
	{ "cert", ARG_STRING, AT(cert), 0, 0, "FILE", "certificate, PEM: offers STARTTLS" },
	{ "key", ARG_STRING, AT(key), 0, 0, "FILE", "its key, PEM" },
	{ "keys", ARG_STRING, AT(keys), 0, 0, "FILE", "DKIM key records; signatures are verified" },
	{ "verify-every", ARG_COUNT, AT(verify_every), 1, 0, "N",
		"verify one message in N (default 1)" },
	{ "script", ARG_STRING, AT(script), 0, 0, "FILE", "how to misbehave (see docs/bench.md)" },
	{ "auth", ARG_STRING, AT(auth), 0, 0, "USER:PASSWORD", "offer AUTH PLAIN with this login" },
	{ "without", ARG_LIST, AT(without), 0, 0, "KEYWORD",
		"leave an EHLO keyword out (several times)" },
	{ "lmtp", ARG_FLAG, AT(lmtp), 0, 0, NULL, "one reply a recipient behind the body" },
	{ "expect", ARG_COUNT, AT(expect), 0, 0, "N", "stop when numbers 0 to N-1 have arrived" },
	{ "timeout", ARG_DURATION, AT(timeout_ms), 0, 0, "TIME", "stop after this long" },
	{ "every", ARG_DURATION, AT(every_ms), 10, 0, "TIME",
		"how often numbers are printed (default 1s)" },
	{ "json", ARG_FLAG, AT(json), 0, 0, NULL, "print JSON lines" },
	{ "quiet", ARG_FLAG, AT(quiet), 0, 0, NULL, "print the account only" },
	{ 0 },
};

struct sink_run {
	struct sink sink;
	struct sink_args args;
	struct arena arena;
	struct addr *addrs;
	int *fds; /* workers x addresses */
	unsigned workers;
};

static void on_accepted(struct listener *l, int fd, const struct addr *peer)
{
	sink_session_open(listener_owner(l), l, fd, peer);
}

static enum err start_worker(struct worker *w, void *arg)
{
	struct sink_run *run = arg;
	size_t count = run->args.listen.len;
	enum err err = OK;

	for (size_t i = 0; i < count && err == OK; i++) {
		struct listen_config config = { .fd = run->fds[worker_index(w) * count + i],
			.accepted = on_accepted,
			.owner = &run->sink };
		struct listener *l;

		err = listener_start(w, &config, &l);
	}
	return err;
}

/* All sockets are opened before the workers start: a port 0 is settled by the first of them. */
static bool open_listeners(struct sink_run *run)
{
	size_t count = run->args.listen.len;

	run->addrs = arena_array(&run->arena, struct addr, count);
	run->fds = arena_array(&run->arena, int, count * run->workers);
	for (size_t i = 0; i < count; i++) {
		const char *text = run->args.listen.items[i];

		if (!addr_parse(&run->arena, slice_str(text), &run->addrs[i])) {
			fprintf(stderr, "--listen %s: wants ADDR:PORT or unix:/path\n", text);
			return false;
		}
		for (unsigned k = 0; k < run->workers; k++) {
			int *fd = &run->fds[k * count + i];
			enum err err = listen_open(&run->addrs[i], 1024, fd);

			if (err) {
				fprintf(stderr, "%s: %s\n", text, err_text(err));
				return false;
			}
			if (k == 0 && run->addrs[i].kind != ADDR_UNIX)
				run->addrs[i] = listen_addr(*fd);
		}
	}
	return true;
}

static bool load_script(struct sink_run *run)
{
	struct out text = out_heap(1 << 20);
	FILE *f = run->args.script ? fopen(run->args.script, "re") : NULL;
	char buf[4096], why[160] = "cannot be read";
	size_t n;

	if (!run->args.script)
		return true;
	while (f && (n = fread(buf, 1, sizeof(buf), f)) > 0)
		out_bytes(&text, buf, n);
	bool good = f && script_parse(&run->sink.script, out_written(&text), why, sizeof(why));

	if (!good)
		fprintf(stderr, "%s: %s\n", run->args.script, why);
	if (f)
		fclose(f);
	out_heap_done(&text);
	return good;
}

static bool load_tls(struct sink_run *run)
{
	struct tls_cert_options cert = { slice_str(run->args.cert), slice_str(run->args.key) };
	struct tls_options options = { .certificates = { &cert, 1 },
		.ticket_lifetime_ms = 3600 * 1000 };
	struct out why = out_heap(4096);

	if (!run->args.cert)
		return true;
	bool good = tls_server_new(&options, &why, &run->sink.tls) == OK;

	if (!good)
		fprintf(stderr, "%.*s", SLICE_ARG(out_written(&why)));
	out_heap_done(&why);
	return good;
}

static bool load_keys(struct sink_run *run)
{
	unsigned line;

	if (!run->args.keys)
		return true;
	run->sink.verify_every = MAX(run->args.verify_every, (uint64_t)1);
	enum err err = keyfile_load(&run->sink.keys, run->args.keys, &line);

	if (err)
		fprintf(stderr, "%s:%u: %s\n", run->args.keys, line,
			err == ERR_INVALID ? "not a key record" : err_text(err));
	return err == OK;
}

static bool read_without(struct sink_run *run)
{
	for (size_t i = 0; i < run->args.without.len; i++) {
		struct smtp_caps caps = { 0 };

		smtp_caps_add(&caps, slice_str(run->args.without.items[i]));
		if (!caps.flags) {
			fprintf(stderr, "--without %s: no such keyword\n",
				run->args.without.items[i]);
			return false;
		}
		run->sink.without |= caps.flags;
	}
	return true;
}

static void read_auth(struct sink_run *run)
{
	slice text = slice_str(run->args.auth), user;
	struct out plain = out_arena(&run->arena), base64 = out_arena(&run->arena);

	if (!text.len || !slice_cut(&text, ':', &user))
		return;
	out_char(&plain, 0);
	out_slice(&plain, user);
	out_char(&plain, 0);
	out_slice(&plain, text);
	codec_put_base64(&base64, out_written(&plain));
	run->sink.auth = out_written(&base64);
}

struct totals {
	struct sink_stats sum;
	uint64_t seen, doubles, out_of_range, highest;
};

static void add_up(struct sink_run *run, struct totals *t)
{
	memset(t, 0, sizeof(*t));
	for (unsigned i = 0; i < run->workers; i++) {
#define X(name) t->sum.name += __atomic_load_n(&run->sink.stats[i].name, __ATOMIC_RELAXED);
		SINK_COUNTERS(X)
#undef X
		histogram_merge(&t->sum.end_to_end, &run->sink.stats[i].end_to_end);
	}
	t->seen = atomic_load(&run->sink.track.seen);
	t->doubles = atomic_load(&run->sink.track.doubles);
	t->out_of_range = atomic_load(&run->sink.track.out_of_range);
	t->highest = atomic_load(&run->sink.track.highest);
}

static void put_json(const struct totals *t, struct out *o)
{
	const struct histogram *h = &t->sum.end_to_end;

	out_printf(o, "{\"seen\":%" PRIu64 ",\"doubles\":%" PRIu64 ",\"highest\":%" PRIu64, t->seen,
		t->doubles, t->highest);
#define X(name) out_printf(o, ",\"" #name "\":%" PRIu64, t->sum.name);
	SINK_COUNTERS(X)
#undef X
	out_printf(o, ",\"end_to_end_us\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64,
		histogram_percentile(h, 50), histogram_percentile(h, 99));
	out_printf(o, ",\"p99.9\":%" PRIu64 ",\"max\":%" PRIu64 "}", histogram_percentile(h, 99.9),
		histogram_max(h));
}

static void print_now(struct sink_run *run, struct totals *t)
{
	struct out o = out_heap(1 << 16);

	if (run->args.json) {
		put_json(t, &o);
		out_str(&o, "}\n");
	} else {
		out_printf(&o, "accepted %" PRIu64 "  unique %" PRIu64 "  doubles %" PRIu64,
			t->sum.accepted, t->seen, t->doubles);
		out_printf(&o, "  signatures %" PRIu64 " good %" PRIu64 " bad\n",
			t->sum.signatures_good, t->sum.signatures_bad);
	}
	fwrite(o.buf, 1, o.len, stdout);
	fflush(stdout);
	out_heap_done(&o);
}

/* The end: with the numbers that never came, when it was told how many to expect. */
static bool print_account(struct sink_run *run, struct totals *t)
{
	uint64_t end = run->args.expect ? run->args.expect : t->highest, first[16];
	uint64_t missing = track_missing(&run->sink.track, end);
	size_t listed = track_list_missing(&run->sink.track, end, first, array_len(first));
	struct out o = out_heap(1 << 16);

	if (run->args.json) {
		put_json(t, &o);
		out_printf(&o, ",\"final\":true,\"missing\":%" PRIu64 "}\n", missing);
	} else {
#define X(name) out_printf(&o, "  %-16s %" PRIu64 "\n", #name, t->sum.name);
		SINK_COUNTERS(X)
#undef X
		out_printf(&o, "  %-16s %" PRIu64 "\n  %-16s %" PRIu64 "\n  %-16s %" PRIu64,
			"unique", t->seen, "doubles", t->doubles, "missing", missing);
		for (size_t i = 0; i < listed; i++)
			out_printf(&o, "%s%" PRIu64, i ? ", " : ": ", first[i]);
		out_str(&o, "\n  end to end       p50 ");
		report_put_time(&o, histogram_percentile(&t->sum.end_to_end, 50));
		out_str(&o, ", p99 ");
		report_put_time(&o, histogram_percentile(&t->sum.end_to_end, 99));
		out_str(&o, "\n");
	}
	fwrite(o.buf, 1, o.len, stdout);
	fflush(stdout);
	out_heap_done(&o);
	return missing == 0 || !run->args.expect;
}

static void print_addresses(struct sink_run *run)
{
	for (size_t i = 0; i < run->args.listen.len; i++) {
		char text[ADDR_TEXT];

		if (run->args.json)
			printf("{\"listening\":\"%s\"}\n", addr_text(&run->addrs[i], text));
		else
			printf("listening on %s\n", addr_text(&run->addrs[i], text));
	}
	fflush(stdout);
}

/* Waits in steps so that a signal, the expected count and the time limit all end it soon. */
static bool watch(struct sink_run *run, const sigset_t *signals)
{
	msec started = clock_now(), printed = started;
	struct totals *t = calloc(1, sizeof(*t));
	struct timespec step = { .tv_nsec = 50 * 1000000 };

	must(t);
	for (;;) {
		int got = sigtimedwait(signals, NULL, &step);
		msec now = clock_now();

		if (now - printed >= run->args.every_ms && !run->args.quiet) {
			add_up(run, t);
			print_now(run, t);
			printed = now;
		}
		if (got > 0 || (run->args.timeout_ms && now - started >= run->args.timeout_ms) ||
			(run->args.expect &&
				atomic_load(&run->sink.track.seen) >= run->args.expect))
			break;
	}
	add_up(run, t);
	bool good = print_account(run, t);

	free(t);
	return good;
}

static bool prepare(struct sink_run *run)
{
	run->workers = (unsigned)run->args.workers;
	run->sink.stats = calloc(run->workers, sizeof(*run->sink.stats));
	run->sink.hostname = run->args.hostname;
	run->sink.lmtp = run->args.lmtp;
	run->sink.keys.seed = (struct map_seed){ entropy_u64(), entropy_u64() };
	must(run->sink.stats);
	read_auth(run);
	return tls_start() == OK && load_script(run) && load_tls(run) && load_keys(run) &&
		read_without(run) && open_listeners(run);
}

static int run_sink(struct sink_run *run)
{
	struct workers_config config = { .count = run->workers, .start = start_worker, .arg = run };
	char why[256];
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	if (!prepare(run))
		return 2;
	if (workers_start(&config, why, sizeof(why)) != OK) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	print_addresses(run);
	bool good = watch(run, &signals);

	workers_stop();
	workers_join();
	return good ? 0 : 1;
}

int bench_sink(char **argv)
{
	struct sink_run *run = calloc(1, sizeof(*run));
	bool help;

	must(run);
	run->args =
		(struct sink_args){ .workers = 1, .every_ms = 1000, .hostname = "sink.invalid" };
	bool good = args_parse(rows, argv, &run->args, &help);

	if (help)
		args_help("sink", "be the world", rows);
	else if (good && run->args.listen.len == 0)
		fprintf(stderr, "--listen ADDR:PORT is missing (see --help)\n");
	int status = help ? 0 : good && run->args.listen.len ? run_sink(run) : 2;

	tls_server_put(run->sink.tls);
	keyfile_done(&run->sink.keys);
	script_done(&run->sink.script);
	track_done(&run->sink.track);
	arena_done(&run->arena);
	free(run->sink.stats);
	free(run->args.listen.items);
	free(run->args.without.items);
	free(run);
	return status;
}
