/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generator as a command: options, start, the progress line, the report. */
#include "bench/args.h"
#include "bench/commands.h"
#include "bench/load.h"
#include "bench/machine.h"
#include "bench/template.h"

#include "core/base/text.h"
#include "core/entropy.h"
#include "core/tls.h"
#include "core/worker.h"
#include "proto/sasl/sasl.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SIZES_MAX = 16, WATCH_STEP_MS = 100 };

struct smtp_args {
	const char *target, *host, *tls, *auth, *mechanism, *from, *to, *size, *template, *html,
		*rate;
	uint64_t connections, per_connection, messages, recipients, domains, workers, run;
	msec duration_ms, warmup_ms, timeout_ms, every_ms;
	bool no_pipelining, bdat, lmtp, json, quiet;
};

#define AT(member) offsetof(struct smtp_args, member)
static const struct arg_row rows[] = {
	{ "target", ARG_STRING, AT(target), 0, 0, "ADDR:PORT",
		"the server (default 127.0.0.1:25); also unix:/path" },
	{ "connections", ARG_COUNT, AT(connections), 1, 1000000, "N",
		"at the same time (default 10)" },
	{ "per-connection", ARG_COUNT, AT(per_connection), 0, 0, "N",
		"messages on each before it is closed; 0: all (default)" },
	{ "messages", ARG_COUNT, AT(messages), 0, 0, "N",
		"in all (default 1000, or until --duration; 0: the latter)" },
	{ "duration", ARG_DURATION, AT(duration_ms), 0, 0, "TIME", "stop after this long" },
	{ "warmup", ARG_DURATION, AT(warmup_ms), 0, 0, "TIME", "not counted at the start" },
	{ "rate", ARG_STRING, AT(rate), 0, 0, "N",
		"open loop: messages a second, whatever the server does" },
	{ "size", ARG_STRING, AT(size), 0, 0, "4K:80,1M:1",
		"size of a message, or a mix with weights (default 4K)" },
	{ "template", ARG_STRING, AT(template), 0, 0, "KIND",
		"text, html, attachment or mix (default text)" },
	{ "recipients", ARG_COUNT, AT(recipients), 1, 100000, "N", "of each message (default 1)" },
	{ "from", ARG_STRING, AT(from), 0, 0, "ADDRESS", "sender; %n is the message's number" },
	{ "to", ARG_STRING, AT(to), 0, 0, "ADDRESS",
		"recipient; %n number, %d number modulo --domains" },
	{ "domains", ARG_COUNT, AT(domains), 1, 0, "N", "for %d (default 1)" },
	{ "tls", ARG_STRING, AT(tls), 0, 0, "HOW",
		"none (default), starttls, implicit; certificates are not verified" },
	{ "host", ARG_STRING, AT(host), 0, 0, "NAME", "server name asked for in TLS" },
	{ "auth", ARG_STRING, AT(auth), 0, 0, "USER:PASSWORD", "log in with this account" },
	{ "mechanism", ARG_STRING, AT(mechanism), 0, 0, "NAME",
		"PLAIN (default), LOGIN, SCRAM-SHA-256, SCRAM-SHA-256-PLUS" },
	{ "no-pipelining", ARG_FLAG, AT(no_pipelining), 0, 0, NULL, "wait for each reply" },
	{ "bdat", ARG_FLAG, AT(bdat), 0, 0, NULL, "BDAT in place of DATA" },
	{ "lmtp", ARG_FLAG, AT(lmtp), 0, 0, NULL, "speak LMTP" },
	{ "workers", ARG_COUNT, AT(workers), 1, 64, "N", "threads (default 1)" },
	{ "timeout", ARG_DURATION, AT(timeout_ms), 1, 0, "TIME", "for one reply (default 60s)" },
	{ "run", ARG_COUNT, AT(run), 0, 0, "N",
		"id of the run in the sequence header (default: random)" },
	{ "every", ARG_DURATION, AT(every_ms), 10, 0, "TIME",
		"how often progress is told (default 500ms)" },
	{ "json", ARG_FLAG, AT(json), 0, 0, NULL, "progress and report as JSON lines" },
	{ "html", ARG_STRING, AT(html), 0, 0, "FILE", "write the report as a page with plots" },
	{ "quiet", ARG_FLAG, AT(quiet), 0, 0, NULL, "no progress" },
	{ 0 },
};

static bool wrong(const char *option, const char *value, const char *allowed)
{
	fprintf(stderr, "--%s %s: wants %s\n", option, value, allowed);
	return false;
}

static bool set_target(struct load *load, const struct smtp_args *args, struct arena *a)
{
	static const char *const words[] = { "none", "starttls", "implicit" };
	const char *tls = args->tls ? args->tls : "none";
	struct talk_target *t = &load->target;

	if (!addr_parse(a, slice_str(args->target), &t->addr) ||
		(t->addr.kind != ADDR_UNIX && !t->addr.port))
		return wrong("target", args->target, "ADDR:PORT or unix:/path");
	for (size_t i = 0; i <= array_len(words); i++) {
		if (i == array_len(words))
			return wrong("tls", tls, "none, starttls or implicit");
		if (slice_eq(slice_str(tls), slice_str(words[i]))) {
			t->tls = (enum talk_tls)i;
			break;
		}
	}
	t->host = args->host;
	t->lmtp = args->lmtp;
	t->timeout_ms = args->timeout_ms;
	return true;
}

static bool set_login(struct load *load, const struct smtp_args *args)
{
	struct talk_target *t = &load->target;

	t->password = slice_str(args->auth);
	if (!args->auth)
		return true;
	if (!slice_cut(&t->password, ':', &t->user) || !t->user.len || !t->password.len)
		return wrong("auth", args->auth, "USER:PASSWORD");
	t->mechanism = sasl_mech_find(slice_str(args->mechanism));
	if (!t->mechanism)
		return wrong("mechanism", args->mechanism,
			"PLAIN, LOGIN, SCRAM-SHA-256 or SCRAM-SHA-256-PLUS");
	return true;
}

static bool set_mail(struct load *load, const struct smtp_args *args)
{
	struct template_size sizes[SIZES_MAX];
	enum template_kind kind;
	size_t count;
	char *end = NULL;

	if (!template_parse_sizes(slice_str(args->size), sizes, SIZES_MAX, &count))
		return wrong("size", args->size, "SIZE or SIZE:WEIGHT,...");
	if (!template_parse_kind(slice_str(args->template), &kind))
		return wrong("template", args->template, "text, html, attachment or mix");
	load->template = template_new(kind, sizes, count);
	if (args->rate)
		load->rate = strtod(args->rate, &end);
	if (args->rate && (*end || !(load->rate > 0)))
		return wrong("rate", args->rate, "messages a second");
	return true;
}

static bool set_up(struct load *load, const struct smtp_args *args, struct arena *a)
{
	struct tls_options options = { .client_sessions = 1024, .ticket_lifetime_ms = 3600 * 1000 };
	struct out why = out_heap(4096);

	load->from = args->from;
	load->to = args->to;
	load->run = args->run ? args->run : entropy_u64() >> 16;
	load->messages = args->messages;
	if (args->messages == UINT64_MAX) /* not said */
		load->messages = args->duration_ms ? 0 : 1000;
	load->per_connection = args->per_connection;
	load->connections = args->connections;
	load->recipients = args->recipients;
	load->domains = args->domains;
	load->warmup_ms = args->warmup_ms;
	load->duration_ms = args->duration_ms;
	load->pipelining = !args->no_pipelining;
	load->bdat = args->bdat;
	load->workers = (unsigned)args->workers;
	load->parts = calloc(load->workers, sizeof(*load->parts));
	must(load->parts);
	if (!set_login(load, args))
		return false;
	if (!load->messages && !load->duration_ms)
		return wrong("messages", "0", "--duration with it");
	bool good = tls_start() == OK && tls_client_new(&options, &why, &load->target.client) == OK;

	if (!good)
		fprintf(stderr, "TLS: %.*s\n", SLICE_ARG(out_written(&why)));
	out_heap_done(&why);
	return good && set_target(load, args, a) && set_mail(load, args);
}

static void tell_progress(const struct load *load, const struct smtp_args *args, double rate)
{
	uint64_t accepted = atomic_load(&load->accepted);
	double share = load->messages ? (double)accepted / (double)load->messages :
					(double)(talk_now_ns() - load->start_ns) / 1e6 /
			(double)(load->duration_ms + load->warmup_ms);
	int bars = (int)(MIN(share, 1.0) * 30);

	if (args->quiet)
		return;
	if (args->json) {
		printf("{\"progress\":%.4f,\"accepted\":%" PRIu64 ",\"rate\":%.0f}\n", share,
			accepted, rate);
		fflush(stdout);
	} else if (isatty(2)) {
		fprintf(stderr, "\r[%-30.*s] %3.0f %%  %" PRIu64 " accepted, %.0f per second ",
			bars, "##############################", share * 100, accepted, rate);
	}
}

/* Until every sender has ended, or a signal says so; a second signal does not wait. */
static void watch(struct load *load, const struct smtp_args *args, const sigset_t *signals)
{
	struct timespec step = { .tv_nsec = WATCH_STEP_MS * 1000000 };
	uint64_t last_ns = load->start_ns, last = 0;

	while (atomic_load(&load->running) > 0) {
		if (sigtimedwait(signals, NULL, &step) > 0 && atomic_exchange(&load->stop, true))
			break;
		uint64_t now = talk_now_ns(), accepted = atomic_load(&load->accepted);

		if (now - last_ns < (uint64_t)args->every_ms * 1000000)
			continue;
		tell_progress(load, args,
			(double)(accepted - last) * 1e9 / (double)(now - last_ns));
		last_ns = now;
		last = accepted;
	}
	if (!args->quiet && !args->json && isatty(2))
		fprintf(stderr, "\r%79s\r", "");
}

static void put_file(const char *path, const struct out *o)
{
	FILE *f = fopen(path, "we");

	if (!f || fwrite(o->buf, 1, o->len, f) != o->len || fclose(f) != 0)
		fprintf(stderr, "%s: could not be written\n", path);
}

static void tell_report(struct report *r, const struct smtp_args *args)
{
	struct out o = out_heap(8 << 20);

	if (args->json)
		report_put_json(r, &o);
	else
		report_put_text(r, &o);
	fwrite(o.buf, 1, o.len, stdout);
	fflush(stdout);
	o.len = 0;
	report_put_html(r, &o);
	if (args->html)
		put_file(args->html, &o);
	out_heap_done(&o);
}

static void trim_seconds(struct report *r)
{
	while (r->second_count && r->per_second[r->second_count - 1] == 0)
		r->second_count--;
}

static int conclude(struct load *load, const struct smtp_args *args, double seconds)
{
	struct report *r = calloc(1, sizeof(*r));
	char title[256], machine[256];

	must(r);
	snprintf(title, sizeof(title), "%s: %" PRIu64 " connections, %s, tls %s%s%s", args->target,
		args->connections, args->size, args->tls ? args->tls : "none",
		args->no_pipelining ? ", no pipelining" : "", args->bdat ? ", BDAT" : "");
	machine_describe(machine, sizeof(machine));
	r->title = title;
	r->machine = machine;
	r->run = load->run;
	r->rate_wanted = load->rate;
	for (unsigned i = 0; i < load->workers; i++)
		report_merge(r, &load->parts[i].report);
	r->seconds = seconds - (double)load->warmup_ms / 1e3;
	trim_seconds(r);
	tell_report(r, args);
	bool good = load->messages ? atomic_load(&load->accepted) >= load->messages :
				     r->messages_accepted > 0;

	free(r->per_second);
	free(r);
	return good ? 0 : 1;
}

static enum err start_worker(struct worker *w, void *arg)
{
	return load_start(w, arg);
}

static int run_load(struct load *load, const struct smtp_args *args)
{
	struct workers_config config = {
		.count = load->workers, .start = start_worker, .arg = load
	};
	char why[256];
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	atomic_store(&load->running, load->connections);
	load->start_ns = talk_now_ns();
	if (workers_start(&config, why, sizeof(why)) != OK) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	watch(load, args, &signals);
	double seconds = (double)(talk_now_ns() - load->start_ns) / 1e9;

	workers_stop();
	workers_join();
	return conclude(load, args, seconds);
}

int bench_smtp(char **argv)
{
	struct smtp_args args = { .target = "127.0.0.1:25",
		.connections = 10,
		.messages = UINT64_MAX,
		.recipients = 1,
		.domains = 1,
		.workers = 1,
		.size = "4K",
		.template = "text",
		.mechanism = "PLAIN",
		.timeout_ms = 60000,
		.every_ms = 500,
		.host = "localhost",
		.from = "sender@example.test",
		.to = "user%n@d%d.example.test" };
	struct load load = { 0 };
	struct arena arena = { 0 };
	bool help;
	bool good = args_parse(rows, argv, &args, &help);

	if (help)
		args_help("smtp", "submit mail", rows);
	int status = help ? 0 : good && set_up(&load, &args, &arena) ? run_load(&load, &args) : 2;

	for (unsigned i = 0; load.parts && i < load.workers; i++)
		free(load.parts[i].report.per_second);
	free(load.parts);
	template_free(load.template);
	tls_client_put(load.target.client);
	arena_done(&arena);
	return status;
}
