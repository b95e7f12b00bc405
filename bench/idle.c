/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Many sessions that do nothing: opened, greeted, over TLS if asked, then left alone; with an account they
 * are those of IMAP, in IDLE, and it is counted how many of them were woken. What the server weighs is
 * measured outside, once "ready" was printed. */
#include "bench/commands.h"
#include "bench/imap_talk.h"
#include "bench/load.h"

#include "core/conn.h"
#include "core/fiber.h"
#include "core/tls.h"
#include "core/worker.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct idle_args {
	struct target_args to;
	const char *mailbox;
	uint64_t sessions, openers, users;
	bool compress;
	msec hold_ms;
};

#define AT(member) offsetof(struct idle_args, member)
static const struct arg_row rows[] = {
	TARGET_ROWS(struct idle_args, to),
	{ "sessions", ARG_COUNT, AT(sessions), 1, 1000000, "N", "how many (default 1000)" },
	{ "at-once", ARG_COUNT, AT(openers), 1, 10000, "N",
		"opened at the same time (default 32, so that the backlog is not what is "
		"measured)" },
	{ "auth", ARG_STRING, AT(to.auth), 0, 0, "USER:PASSWORD",
		"by IMAP: LOGIN, SELECT, IDLE; %d is the session's number modulo --users" },
	{ "users", ARG_COUNT, AT(users), 1, 0, "N", "for %d (default 1)" },
	{ "mailbox", ARG_STRING, AT(mailbox), 0, 0, "NAME", "with %d as above (default INBOX)" },
	{ "compress", ARG_FLAG, AT(compress), 0, 0, NULL, "COMPRESS DEFLATE after the login" },
	{ "hold", ARG_DURATION, AT(hold_ms), 0, 0, "TIME",
		"keep them this long (default: until SIGTERM)" },
	{ 0 },
};

struct idle_session {
	struct idle *idle;
	bool woken;
};

struct idle {
	struct talk_target target;
	const struct idle_args *args;
	struct idle_session *sessions;
	atomic_uint_fast64_t woken, woken_ns; /* how many, and when the last was */
	uint64_t wanted, at_once;
	uint64_t next; /* one worker: plain numbers */
	atomic_uint_fast64_t open, failed, lost, openers;
	atomic_bool stop;
};

static void on_closed(struct conn *c, enum err why)
{
	struct idle_session *s = conn_owner(c);

	atomic_fetch_add(&s->idle->lost, 1);
}

/* A 421 at the end, or news of the mailbox. "* OK Still here" is none. */
static size_t on_data(struct conn *c, slice in)
{
	struct idle_session *s = conn_owner(c);

	if (!s->woken && slice_search(in, SLICE(" EXISTS")) >= 0) {
		s->woken = true;
		atomic_store(&s->idle->woken_ns, talk_now_ns());
		atomic_fetch_add(&s->idle->woken, 1);
	}
	return in.len;
}

static const struct conn_ops ops = { .data = on_data, .closed = on_closed };

static slice expand(const struct idle *idle, const char *pattern, uint64_t number,
	char buf[LOAD_ADDRESS_MAX])
{
	return load_expand(&(struct load_name){ pattern, number, idle->args->users, 0 }, buf);
}

static bool enter_idle(struct idle *idle, struct talk *talk, uint64_t number)
{
	char user[LOAD_ADDRESS_MAX], pattern[LOAD_ADDRESS_MAX], mailbox[LOAD_ADDRESS_MAX];
	char command[LOAD_ADDRESS_MAX + 16];
	struct imap_talk imap = { .talk = talk };

	snprintf(pattern, sizeof(pattern), "%.*s", SLICE_ARG(idle->target.user));
	snprintf(command, sizeof(command), "SELECT %.*s",
		SLICE_ARG(expand(idle, idle->args->mailbox, number, mailbox)));
	bool good = imap_open(&imap) &&
		imap_login(&imap, expand(idle, pattern, number, user), idle->target.password) &&
		(!idle->args->compress || imap_compress(&imap)) &&
		imap_do(&imap, "SELECT", slice_str(command));

	if (good)
		imap_send(&imap, SLICE("IDLE"));
	if (good && imap_wait_plus(&imap, "IDLE"))
		return true;
	imap_close(&imap, false);
	return false;
}

static void open_some(void *arg)
{
	struct idle *idle = arg;

	while (idle->next < idle->wanted && !atomic_load(&idle->stop)) {
		struct talk talk = { .target = &idle->target, .worker = worker_self() };

		uint64_t number = idle->next++;
		struct idle_session *s = &idle->sessions[number];

		s->idle = idle;
		if (!(idle->target.user.len ? enter_idle(idle, &talk, number) : talk_open(&talk))) {
			if (atomic_fetch_add(&idle->failed, 1) == 0)
				fprintf(stderr, "%s: %u %s\n", talk.verb, talk.code, talk.text);
			continue;
		}
		conn_set_owner(talk.conn, &ops, s);
		atomic_fetch_add(&idle->open, 1);
	}
	atomic_fetch_sub(&idle->openers, 1);
}

static enum err start_worker(struct worker *w, void *arg)
{
	struct idle *idle = arg;

	for (uint64_t i = 0; i < idle->at_once; i++) {
		enum err err = fiber_start(w, open_some, idle);

		if (err)
			return err;
	}
	return OK;
}

/* The clock is CLOCK_MONOTONIC, which others on this machine can read too. */
static void tell_woken(struct idle *idle, uint64_t *told)
{
	uint64_t woken = atomic_load(&idle->woken);

	if (woken == *told)
		return;
	*told = woken;
	printf("woken %" PRIu64 " at %.6f\n", woken, (double)atomic_load(&idle->woken_ns) / 1e9);
	fflush(stdout);
}

static int hold(struct idle *idle, msec hold_ms)
{
	struct workers_config config = { .count = 1, .start = start_worker, .arg = idle };
	struct timespec step = { .tv_nsec = 50 * 1000000 };
	sigset_t signals;
	char why[256];
	msec ready_at = 0;
	uint64_t told = 0;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	atomic_store(&idle->openers, idle->at_once);
	if (workers_start(&config, why, sizeof(why)) != OK) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	while (sigtimedwait(&signals, NULL, &step) <= 0) {
		if (!ready_at && atomic_load(&idle->openers) == 0) {
			ready_at = clock_now();
			printf("ready %" PRIuFAST64 " failed %" PRIuFAST64 "\n",
				atomic_load(&idle->open), atomic_load(&idle->failed));
			fflush(stdout);
		}
		tell_woken(idle, &told);
		if (ready_at && hold_ms && clock_now() - ready_at >= hold_ms)
			break;
	}
	atomic_store(&idle->stop, true);
	printf("lost %" PRIuFAST64 "\n", atomic_load(&idle->lost));
	bool good = atomic_load(&idle->failed) == 0 && atomic_load(&idle->lost) == 0;

	workers_stop();
	workers_join();
	return good ? 0 : 1;
}

int bench_idle(char **argv)
{
	struct idle_args args = { .to.target = "127.0.0.1:25",
		.sessions = 1000,
		.openers = 32,
		.users = 1,
		.mailbox = "INBOX" };
	struct tls_options options = { .client_sessions = 0 };
	struct idle idle = { .target.timeout_ms = 60000, .args = &args };
	struct arena arena = { 0 };
	bool help;
	bool good = args_parse(rows, argv, &args, &help);
	int status = 2;

	if (help) {
		args_help("idle", "hold idle sessions", rows);
		return 0;
	}
	if (good && target_set(&idle.target, &args.to, &options, &arena)) {
		idle.sessions = calloc(args.sessions, sizeof(*idle.sessions));
		must(idle.sessions);
		idle.wanted = args.sessions;
		idle.at_once = args.openers;
		status = hold(&idle, args.hold_ms);
	}
	free(idle.sessions);
	target_done(&idle.target);
	arena_done(&arena);
	return status;
}
