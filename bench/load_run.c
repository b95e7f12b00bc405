/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A generator as a command: the options all of them have, start, the progress line, the report. */
#include "bench/load.h"
#include "bench/machine.h"
#include "bench/template.h"

#include "core/entropy.h"
#include "core/tls.h"
#include "core/worker.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SIZES_MAX = 16, WATCH_STEP_MS = 100 };

bool load_template(const struct content_args *args, struct template **out)
{
	struct template_size sizes[SIZES_MAX];
	enum template_kind which;
	size_t count;

	if (!template_parse_sizes(slice_str(args->size), sizes, SIZES_MAX, &count))
		return args_wrong("size", args->size, "SIZE or SIZE:WEIGHT,...");
	if (!template_parse_kind(slice_str(args->template), &which))
		return args_wrong("template", args->template, "text, html, attachment or mix");
	*out = template_new(which, sizes, count);
	return true;
}

static bool set_rate(struct load *load, const struct load_args *args)
{
	char *end = NULL;

	if (args->rate)
		load->rate = strtod(args->rate, &end);
	if (args->rate && (*end || !(load->rate > 0)))
		return args_wrong("rate", args->rate, "a number a second");
	return true;
}

bool load_set_up(struct load *load, const struct load_args *args)
{
	struct tls_options options = { .client_sessions = 1024, .ticket_lifetime_ms = 3600 * 1000 };

	load->run = args->run ? args->run : entropy_u64() >> 16;
	load->tasks = args->tasks;
	if (args->tasks == UINT64_MAX) /* not said */
		load->tasks = args->duration_ms ? 0 : 1000;
	load->per_connection = args->per_connection;
	load->connections = args->connections;
	load->warmup_ms = args->warmup_ms;
	load->duration_ms = args->duration_ms;
	load->think_ms = args->think_ms;
	load->workers = (unsigned)args->workers;
	load->parts = calloc(load->workers, sizeof(*load->parts));
	must(load->parts);
	load->target.timeout_ms = args->timeout_ms;
	if (!set_rate(load, args))
		return false;
	if (!load->tasks && !load->duration_ms)
		return args_wrong("duration", "0", "a time when no number is said");
	return target_set(&load->target, &args->to, &options, &load->arena);
}

static void tell_progress(const struct load *load, const struct load_args *args, double rate)
{
	uint64_t accepted = atomic_load(&load->accepted);
	double share = load->tasks ? (double)accepted / (double)load->tasks :
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
static void watch(struct load *load, const struct load_args *args, const sigset_t *signals)
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

static void tell_report(struct report *r, const struct load_args *args)
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

static int conclude(struct load *load, const struct load_args *args, struct report *r)
{
	char machine[256];

	machine_describe(machine, sizeof(machine));
	r->machine = machine;
	r->run = load->run;
	r->rate_wanted = load->rate;
	for (unsigned i = 0; i < load->workers; i++)
		report_merge(r, &load->parts[i].report);
	r->seconds -= (double)load->warmup_ms / 1e3;
	trim_seconds(r);
	tell_report(r, args);
	bool good = load->tasks ? atomic_load(&load->accepted) >= load->tasks :
				  r->messages_accepted > 0;

	free(r->per_second);
	return good ? 0 : 1;
}

static enum err start_worker(struct worker *w, void *arg)
{
	return load_start(w, arg);
}

/* False: it could not begin. */
static bool run_load(struct load *load, const struct load_args *args, double *out_seconds)
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
		return false;
	}
	watch(load, args, &signals);
	uint64_t end_ns = atomic_load(&load->running) ? talk_now_ns() : atomic_load(&load->end_ns);

	*out_seconds = (double)(end_ns - load->start_ns) / 1e9;
	workers_stop();
	workers_join();
	return true;
}

int load_command(struct load *load, const struct load_args *args, const char *title,
	const char *unit)
{
	struct report *r = calloc(1, sizeof(*r));

	must(r);
	r->title = title;
	r->unit = unit;
	int status = run_load(load, args, &r->seconds) ? conclude(load, args, r) : 1;

	free(r);
	return status;
}

static void finish(struct load *load)
{
	for (unsigned i = 0; load->parts && i < load->workers; i++)
		free(load->parts[i].report.per_second);
	free(load->parts);
	target_done(&load->target);
	arena_done(&load->arena);
}

int load_main(const struct load_program *program, struct load *load, char **argv)
{
	bool help;
	bool good = args_parse(program->rows, argv, program->args, &help);

	if (help) {
		args_help(load->kind->command, load->kind->summary, program->rows);
		return 0;
	}
	int status = 2;

	if (good && program->set_up(load, program->args))
		status = program->run(load, program->args);
	finish(load);
	return status;
}
