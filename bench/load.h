/* SPDX-License-Identifier: GPL-2.0-or-later */
/* load.h - the load generator: which task is done when, on which connection, and what came of it.
 *
 * One fiber a connection, spread over the workers. In the closed loop a connection takes the next
 * task as soon as its last one was answered (and its think time is over). In the open loop task k is due
 * at start + k / rate, whoever is free takes the next number, and latency counts from the due time, also
 * when every connection was busy then: nothing is left out of the tail (no coordinated omission). What a task
 * is, a message or a command, is the kind's. The struct is filled by load_command, then read-only but
 * for the atomics and each worker's own part. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/report.h"
#include "bench/target.h"

#include <stdatomic.h>

enum { LOAD_ADDRESS_MAX = 320 };

/* What one worker found; it alone writes. */
struct load_worker {
	struct report report;
	uint64_t live; /* fibers still running */
};

struct load_sender;
struct template;

/* The task a connection has taken on. */
struct load_task {
	uint64_t number, due_ns;
	uint64_t bytes; /* of its content; the kind says */
	bool measured;  /* began after the warm-up */
};

/* A protocol. All on the sender's fiber. */
struct load_kind {
	const char *command, *summary;
	size_t own_bytes; /* of `own`, behind each sender, zeroed */
	/* Connect, and whatever stands before the first task. */
	bool (*open)(struct load_sender *s);
	/* True: the task went well. Else talk.code is what the server said, 0 when it said nothing. */
	bool (*run)(struct load_sender *s, struct load_task *task);
	/* After a refusal: the connection is good again. */
	bool (*recover)(struct load_sender *s);
	void (*close)(struct load_sender *s, bool polite);
	void (*done)(struct load_sender *s); /* frees what `own` holds; may be NULL */
};

struct load {
	struct talk_target target;
	const struct load_kind *kind;
	void *plan;         /* the kind's options; only read while it runs */
	struct arena arena; /* for what the options are made into */
	uint64_t run;
	uint64_t tasks;          /* 0: until the time is over */
	uint64_t per_connection; /* tasks; 0: no limit */
	uint64_t connections;
	double rate; /* tasks a second; 0: closed loop */
	msec warmup_ms, duration_ms, think_ms;
	/* While it runs. */
	uint64_t start_ns;
	unsigned workers;
	struct load_worker *parts;
	atomic_uint_fast64_t next;     /* number of the next task */
	atomic_uint_fast64_t opened;   /* for kinds that number their connections */
	atomic_uint_fast64_t accepted; /* for the progress line */
	atomic_uint_fast64_t running;  /* connections whose fiber has not ended */
	atomic_uint_fast64_t end_ns;   /* when the last of them did */
	atomic_bool stop;
};

struct load_sender {
	struct load *load;
	struct load_worker *part;
	struct talk talk;
	uint64_t index;    /* of the connection, from 0 */
	unsigned failures; /* to connect, in a row: a server that is gone ends the sender */
	void *own;         /* the kind's */
};

/* On each worker, from its start hook: starts its share of the connections. */
enum err load_start(struct worker *w, struct load *load) must_use;
/* For kinds: the reply in s->talk is counted as a refusal. */
void load_count_refusal(struct load_sender *s);
/* For kinds: s->talk was opened; counts it, and how long it and its TLS took. */
void load_count_open(struct load_sender *s);
/* "user%n@d%d.test" for task 17 of 10 domains and its second recipient: "user17.1@d7.test". */
struct load_name {
	const char *pattern;
	uint64_t number, modulo, copy; /* copy 0: nothing is appended */
};
slice load_expand(const struct load_name *name, char buf[LOAD_ADDRESS_MAX]);

/* Options that every generator has; LOAD_ROWS makes them rows of a command whose struct embeds this
 * as `member`. */
struct load_args {
	struct target_args to;
	const char *mechanism, *html, *rate;
	uint64_t connections, per_connection, tasks, workers, run;
	msec duration_ms, warmup_ms, timeout_ms, every_ms, think_ms;
	bool json, quiet;
};
#define LOAD_ARGS_INIT                                                                     \
	{                                                                                  \
		.connections = 10, .tasks = UINT64_MAX, .workers = 1, .timeout_ms = 60000, \
		.every_ms = 500                                                            \
	}
/* clang-format off */
#define LOAD_ROWS(type, member, unit)                                                              \
	TARGET_ROWS(type, member.to),                                                             \
	{ "connections", ARG_COUNT, offsetof(type, member.connections), 1, 1000000, "N",          \
		"at the same time (default 10)" },                                                 \
	{ "per-connection", ARG_COUNT, offsetof(type, member.per_connection), 0, 0, "N",          \
		unit " on each before it is closed; 0: all (default)" },                           \
	{ unit, ARG_COUNT, offsetof(type, member.tasks), 0, 0, "N",                               \
		"in all (default 1000, or until --duration; 0: the latter)" },                     \
	{ "duration", ARG_DURATION, offsetof(type, member.duration_ms), 0, 0, "TIME",             \
		"stop after this long" },                                                          \
	{ "warmup", ARG_DURATION, offsetof(type, member.warmup_ms), 0, 0, "TIME",                 \
		"not counted at the start" },                                                      \
	{ "rate", ARG_STRING, offsetof(type, member.rate), 0, 0, "N",                             \
		"open loop: " unit " a second, whatever the server does" },                        \
	{ "think", ARG_DURATION, offsetof(type, member.think_ms), 0, 0, "TIME",                   \
		"pause of a connection between two of its " unit },                                \
	{ "workers", ARG_COUNT, offsetof(type, member.workers), 1, 64, "N",                       \
		"threads (default 1)" },                                                           \
	{ "timeout", ARG_DURATION, offsetof(type, member.timeout_ms), 1, 0, "TIME",               \
		"for one reply (default 60s)" },                                                   \
	{ "run", ARG_COUNT, offsetof(type, member.run), 0, 0, "N",                                \
		"id of the run in the sequence header (default: random)" },                        \
	{ "every", ARG_DURATION, offsetof(type, member.every_ms), 10, 0, "TIME",                  \
		"how often progress is told (default 500ms)" },                                    \
	{ "json", ARG_FLAG, offsetof(type, member.json), 0, 0, NULL,                              \
		"progress and report as JSON lines" },                                             \
	{ "html", ARG_STRING, offsetof(type, member.html), 0, 0, "FILE",                          \
		"write the report as a page with plots" },                                         \
	{ "quiet", ARG_FLAG, offsetof(type, member.quiet), 0, 0, NULL, "no progress" }
/* clang-format on */

/* What is sent: options of the generators that send messages, as those above. */
struct content_args {
	const char *size, *template;
	uint64_t thread;
};
#define CONTENT_ARGS_INIT                        \
	{                                        \
		.size = "4K", .template = "text" \
	}
/* clang-format off */
#define CONTENT_ROWS(type, member)                                                                 \
	{ "size", ARG_STRING, offsetof(type, member.size), 0, 0, "4K:80,1M:1",                    \
		"of a message, or a mix with weights (default 4K)" },                              \
	{ "template", ARG_STRING, offsetof(type, member.template), 0, 0, "KIND",                  \
		"text, html, attachment or mix (default text)" },                                  \
	{ "thread", ARG_COUNT, offsetof(type, member.thread), 0, 0, "N",                          \
		"so many messages in a row answer one another" }
/* clang-format on */
/* False: what is wrong has been said. */
bool load_template(const struct content_args *args, struct template **out) must_use;
/* Fills the common part of *load; TLS begins. False: what is wrong has been said. */
bool load_set_up(struct load *load, const struct load_args *args) must_use;
/* Runs, watches and reports; an exit status. `title` says what is measured, `unit` what is counted. */
int load_command(struct load *load, const struct load_args *args, const char *title,
	const char *unit);

/* A generator's command from its arguments to its exit status; load->kind and load->plan are set. */
struct load_program {
	const struct arg_row *rows;
	void *args; /* what the rows fill, with its defaults */
	/* The arguments are there. False: what is wrong has been said. */
	bool (*set_up)(struct load *load, void *args);
	int (*run)(struct load *load, const void *args); /* ends in load_command */
};
int load_main(const struct load_program *program, struct load *load, char **argv);

#endif
