/* SPDX-License-Identifier: GPL-2.0-or-later */
/* commands_care.c - `top`, a live screen, and `fsck`, which reads everything. */
#include "server/commands.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/tls.h"
#include "server/door.h"
#include "server/imap/imap_summary.h"
#include "server/remote.h"
#include "server/restore.h"
#include "store/check.h"
#include "store/store.h"

enum { WHY_BYTES = 64 * 1024 };

/* --- top ------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

/* A line of the screen: where the number stands, and whether it is shown as a rate. */
static const struct top_row {
	const char *part, *member, *title;
	bool rate;
} top_rows[] = {
	{ "smtp", "sessions", "sessions open", false },
	{ "smtp", "connections", "connections /s", true },
	{ "smtp", "messages", "messages in /s", true },
	{ "smtp", "bytes", "bytes in /s", true },
	{ "relay", "delivered", "delivered /s", true },
	{ "relay", "deferred", "deferred /s", true },
	{ "relay", "bounced", "bounced /s", true },
	{ "relay", "signatures", "signatures /s", true },
	{ "relay", "connections", "outgoing open", false },
	{ "relay", "ready", "ready", false },
	{ "relay", "active", "active", false },
	{ "relay", "parked", "parked", false },
	{ "relay", "held", "held", false },
	{ "store", "batches", "journal writes /s", true },
	{ "store", "appended_bytes", "journal bytes /s", true },
	{ "store", "index_lag_bytes", "index behind", false },
	{ "store", "disk_free_bytes", "disk free", false },
};

static json_int_t top_value(const json_t *stats, const struct top_row *row)
{
	return json_integer_value(json_object_get(json_object_get(stats, row->part), row->member));
}

static void print_screen(const json_t *stats, const json_t *before, double seconds)
{
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	printf("ringpost  up %" JSON_INTEGER_FORMAT " s, %" JSON_INTEGER_FORMAT " workers\n\n",
		json_integer_value(json_object_get(stats, "uptime_s")),
		json_integer_value(json_object_get(stats, "workers")));
	for (size_t i = 0; i < array_len(top_rows); i++) {
		const struct top_row *row = &top_rows[i];
		json_int_t value = top_value(stats, row);

		if (!row->rate)
			printf("  %-20s %14" JSON_INTEGER_FORMAT "\n", row->title, value);
		else if (before)
			printf("  %-20s %14.1f\n", row->title,
				(double)(value - top_value(before, row)) / seconds);
		else
			printf("  %-20s %14s\n", row->title, "-");
	}
}

static double seconds_now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static int watch(struct cli *cli, struct remote *r)
{
	json_t *before = NULL;
	double last = seconds_now();
	int status = CLI_OK;

	while (!interrupted && status == CLI_OK) {
		json_t *stats = remote_call(r, json_pack("{s:s}", "do", "stats"));
		const json_t *error = json_object_get(stats, "error");
		double now = seconds_now();

		if (error)
			status = cli_fail("%s", json_string_value(error));
		else if (cli->json)
			cli_print_object(cli, stats);
		else
			print_screen(stats, before, MAX(now - last, 0.001));
		fflush(stdout); /* into a pipe, too */
		last = now;
		json_decref(before);
		before = stats;
		if (status == CLI_OK)
			sleep(1);
	}
	json_decref(before);
	return status;
}

int command_top(struct cli *cli)
{
	struct out why = out_heap(WHY_BYTES);
	struct sigaction act = { .sa_handler = on_interrupt };
	struct remote *r = NULL;
	enum err err = remote_open(cli_config_path(cli), cli->timeout_ms, &why, &r);
	int status;

	sigaction(SIGINT, &act, NULL);
	if (err)
		status = command_why(cli, &why, err);
	else if (!remote_is_served(r))
		status = cli_fail("top: the server is not running");
	else
		status = watch(cli, r);
	remote_close(r);
	out_heap_done(&why);
	return status;
}

/* --- fsck ----------------------------------------------------------------------------------------- */

struct fsck {
	const struct cli *cli;
	json_t *findings; /* with --json */
	struct restore restore;
};

static void say(void *arg, const char *line)
{
	struct fsck *fsck = arg;

	if (!fsck->cli->json)
		printf("%s\n", line);
	else if (json_array_append_new(fsck->findings, json_string(line)))
		json_array_append_new(fsck->findings, json_string("a path that is no UTF-8"));
}

static bool restore(void *arg, const struct blob_ref *ref, slice meta, uint32_t n,
	struct schedule_entry *out)
{
	struct fsck *fsck = arg;

	return restore_entry(&fsck->restore, ref, meta, n, out);
}

/* Of mailboxes: what readers are shown of a body that they do not open. */
static bool summary_ok(void *arg, struct store *st, const struct check_summary *sum)
{
	(void)arg;
	return imap_summary_is(st, sum->summary, sum->blob);
}

static void progress(void *arg, uint64_t done, uint64_t all)
{
	(void)arg;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%3u %%\r", (unsigned)(all ? done * 100 / all : 100));
}

static const char *result_word(enum check_result result)
{
	static const char *const words[] = { [CHECK_CLEAN] = "clean",
		[CHECK_REPAIRED] = "repaired",
		[CHECK_DAMAGED] = "damaged",
		[CHECK_LOST] = "lost" };

	return words[result];
}

static json_t *report_of(const struct check_report *r)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = { { "segments", r->segments }, { "frames", r->frames },
		{ "records", r->records }, { "bytes", r->bytes }, { "messages", r->messages },
		{ "entries", r->entries }, { "accounts", r->accounts }, { "domains", r->domains },
		{ "keys", r->keys }, { "mailboxes", r->mailboxes },
		{ "kept_messages", r->kept_messages }, { "archived", r->archived },
		{ "bad_frames", r->bad_frames }, { "bad_records", r->bad_records },
		{ "bad_bodies", r->bad_bodies }, { "missing_bodies", r->missing_bodies },
		{ "dead_bodies", r->dead_bodies }, { "bad_rows", r->bad_rows },
		{ "bad_counters", r->bad_counters }, { "unapplied_records", r->unapplied_records },
		{ "restored_entries", r->restored_entries }, { "held_entries", r->held_entries },
		{ "restored_messages", r->restored_messages },
		{ "renewed_accounts", r->renewed_accounts } };
	json_t *o = json_pack("{s:s}", "result", result_word(r->result));

	for (size_t i = 0; i < array_len(rows); i++)
		json_object_set_new(o, rows[i].name, json_integer((json_int_t)rows[i].value));
	return o;
}

static int check_folder(struct cli *cli, const struct setup *setup)
{
	struct store_options options =
		*(const struct store_options *)conf_options(setup->conf, &store_conf_table);
	struct fsck fsck = { .cli = cli, .findings = json_array() };
	struct check_run run = { .options = &options,
		.rebuild = cli_flag(cli, "rebuild") != NULL,
		.say = say,
		.restore = restore,
		.summary_ok = summary_ok,
		.progress = progress,
		.arg = &fsck };
	struct check_report report = { 0 };
	char why[512];
	enum err err;

	fsck.restore.relay = conf_options(setup->conf, &relay_conf);
	options.path = setup->service->data.ptr;
	err = check_store(&run, &report);
	restore_done(&fsck.restore);
	if (err == ERR_BUSY)
		cli_fail("%s is in use: stop the server first", options.path);
	else if (err == ERR_UNSUPPORTED && store_other_format(options.path, why, sizeof(why)))
		cli_fail("%s: %s", options.path, why);
	else if (err == ERR_NOT_FOUND && !run.rebuild)
		cli_fail("%s: parts are missing; fsck --rebuild makes a lost index anew",
			options.path);
	else if (err)
		cli_fail("%s: %s", options.path, err_text(err));
	if (err) {
		json_decref(fsck.findings);
		return CLI_FAILED;
	}
	json_t *answer = report_of(&report);

	json_object_set(answer, "findings", cli->json ? fsck.findings : NULL);
	cli_print_object(cli, answer);
	json_decref(answer);
	json_decref(fsck.findings);
	return check_exit_status(report.result);
}

int command_fsck(struct cli *cli)
{
	struct out why = out_heap(WHY_BYTES);
	struct setup *setup = NULL;
	enum err err = tls_start();
	int status = CLI_FAILED;

	if (!err)
		err = setup_load_options(cli_config_path(cli), &why, &setup);
	if (!err)
		err = setup_become_user(setup, &why);
	if (err)
		command_why(cli, &why, err);
	else
		status = check_folder(cli, setup);
	setup_put(setup);
	out_heap_done(&why);
	return status;
}
