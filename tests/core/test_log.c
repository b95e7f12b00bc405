/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines: their form, what a hostile value may do (nothing), many threads, a pipe nobody
 * reads. */
#include "core/log.h"

#include "core/addr.h"
#include "core/event.h"
#include "core/log_line.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static slice line_of(const struct log_field *fields, size_t count, enum log_format format)
{
	static char buf[LOG_LINE_MAX];
	const struct log_line line = { 1795300792123, LOG_INFO, "accepted", fields, count };

	return slice_of(buf, log_line_put(&line, format, buf));
}

#define HEAD "2026-11-21T22:39:52.123Z info accepted "
#define JSON_HEAD \
	"{\"time\":\"2026-11-21T22:39:52.123Z\",\"level\":\"info\",\"event\":\"accepted\","

static const struct {
	const char *why;
	struct log_field field;
	const char *text, *json;
} forms[] = {
	{ "plain", { "id", LOG_SLICE, .text = SLICE_INIT("3f9a") }, "id=3f9a", "\"id\":\"3f9a\"" },
	{ "address", { "to", LOG_SLICE, .text = SLICE_INIT("<a@b.test>") }, "to=<a@b.test>",
		"\"to\":\"<a@b.test>\"" },
	{ "empty", { "to", LOG_SLICE, .text = SLICE_INIT("") }, "to=\"\"", "\"to\":\"\"" },
	{ "space", { "why", LOG_SLICE, .text = SLICE_INIT("no such") }, "why=\"no such\"",
		"\"why\":\"no such\"" },
	{ "forged field", { "x", LOG_SLICE, .text = SLICE_INIT("a level=b") }, "x=\"a level=b\"",
		"\"x\":\"a level=b\"" },
	{ "forged by =", { "x", LOG_SLICE, .text = SLICE_INIT("a=b") }, "x=\"a=b\"",
		"\"x\":\"a=b\"" },
	{ "quote", { "x", LOG_SLICE, .text = SLICE_INIT("a\"b\\") }, "x=\"a\\\"b\\\\\"",
		"\"x\":\"a\\\"b\\\\\"" },
	{ "line break", { "x", LOG_SLICE, .text = SLICE_INIT("a\r\nb") }, "x=\"a\\x0d\\x0ab\"",
		"\"x\":\"a\\u000d\\u000ab\"" },
	{ "escape", { "x", LOG_SLICE, .text = SLICE_INIT("\x1b[2J") }, "x=\"\\x1b[2J\"",
		"\"x\":\"\\u001b[2J\"" },
	{ "C1 control", { "x", LOG_SLICE, .text = SLICE_INIT("\xc2\x9b") }, "x=\"\\xc2\\x9b\"",
		"\"x\":\"\\ufffd\\ufffd\"" },
	{ "UTF-8", { "x", LOG_SLICE, .text = SLICE_INIT("\xc3\xa9") }, "x=\"\xc3\xa9\"",
		"\"x\":\"\xc3\xa9\"" },
	{ "broken UTF-8", { "x", LOG_SLICE, .text = SLICE_INIT("\xc3") }, "x=\"\\xc3\"", NULL },
	{ "negative", { "n", LOG_INT, .number = -5 }, "n=-5", "\"n\":-5" },
	{ "unsigned", { "n", LOG_UINT, .bits = UINT64_MAX }, "n=18446744073709551615",
		"\"n\":18446744073709551615" },
	{ "time", { "delay", LOG_MSEC, .number = 61005 }, "delay=61.005", "\"delay\":61.005" },
	{ "negative time", { "delay", LOG_MSEC, .number = -5 }, "delay=-0.005",
		"\"delay\":-0.005" },
	{ "bool", { "tls", LOG_BOOL, .bits = 1 }, "tls=true", "\"tls\":true" },
	{ "error", { "error", LOG_ERR, .number = ERR_TIMEOUT }, "error=\"timed out\"",
		"\"error\":\"timed out\"" },
};

Test(log, forms)
{
	for (size_t i = 0; i < array_len(forms); i++) {
		char want[512];
		slice got = line_of(&forms[i].field, 1, LOG_TEXT);

		snprintf(want, sizeof(want), HEAD "%s\n", forms[i].text);
		cr_expect(slice_eq(got, slice_str(want)), "%s: %.*s", forms[i].why, SLICE_ARG(got));
		if (!forms[i].json)
			continue;
		got = line_of(&forms[i].field, 1, LOG_JSON);
		snprintf(want, sizeof(want), JSON_HEAD "%s}\n", forms[i].json);
		cr_expect(slice_eq(got, slice_str(want)), "%s: %.*s", forms[i].why, SLICE_ARG(got));
	}
}

/* Whatever the bytes: one line, and nothing a terminal would obey. */
Test(log, no_byte_escapes)
{
	for (int format = LOG_TEXT; format <= LOG_JSON; format++)
		for (int c = 0; c < 256; c++) {
			char bytes[3] = { 'a', (char)c, 'b' };
			struct log_field f = log_slice("x", slice_of(bytes, 3));
			slice got = line_of(&f, 1, (enum log_format)format);

			for (size_t i = 0; i + 1 < got.len; i++) {
				unsigned char o = (unsigned char)got.ptr[i];

				cr_expect(o >= 0x20 && o != 0x7f, "byte %d in format %d", c,
					format);
			}
			cr_expect_eq(got.ptr[got.len - 1], '\n');
		}
}

Test(log, absent_fields_and_addresses)
{
	struct addr addr = addr_ip4(0xc0000201, 25);
	const struct log_field fields[] = { log_str("a", NULL), log_addr("peer", &addr),
		log_addr("none", NULL), log_err(OK), log_str("z", "1") };
	slice got = line_of(fields, array_len(fields), LOG_TEXT);

	cr_expect(slice_eq(got, SLICE(HEAD "peer=192.0.2.1 z=1\n")), "%.*s", SLICE_ARG(got));
}

Test(log, a_long_line_is_cut_between_fields)
{
	static char big[2000];
	struct log_field fields[8];

	memset(big, '"', sizeof(big));
	for (size_t i = 0; i < array_len(fields); i++)
		fields[i] = log_slice("x", slice_of(big, sizeof(big)));
	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		slice got = line_of(fields, array_len(fields), (enum log_format)format);
		slice tail = format == LOG_JSON ? SLICE(",\"cut\":true}\n") : SLICE(" cut=true\n");

		cr_expect(got.len <= LOG_LINE_MAX);
		cr_expect(slice_ends_nocase(got, tail));
	}
}

/* --- Where lines go --- */

static int ends[2];

static void open_pipe(int flags)
{
	cr_assert_eq(pipe2(ends, O_CLOEXEC | flags), 0);
	log_set_fd(ends[1]);
}

static size_t read_lines(char *buf, size_t cap, const char *holding)
{
	size_t len = 0, lines = 0;
	ssize_t n;

	close(ends[1]);
	while ((n = read(ends[0], buf + len, cap - len)) > 0)
		len += (size_t)n;
	slice rest = slice_of(buf, len), line;

	while (slice_cut(&rest, '\n', &line))
		lines += slice_search(line, slice_str(holding)) >= 0;
	return lines;
}

Test(log, directly_without_a_writer)
{
	char buf[4096];

	open_pipe(0);
	log_event(LOG_INFO, "shown", log_int("n", 1));
	log_event(LOG_DEBUG, "hidden", log_int("n", 1));
	log_set_level(LOG_DEBUG);
	log_event(LOG_DEBUG, "shown", log_int("n", 2));
	log_text(LOG_ERROR, "shown %d", 3);
	cr_expect_eq(read_lines(buf, sizeof(buf), "shown"), 3);
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *arg)
{
	log_thread_start();
	for (int i = 0; i < LINES; i++)
		log_event(LOG_INFO, "line", log_str("who", arg), log_int("n", i));
	/* Half of them leave it to the end of the thread. */
	if (*(const char *)arg % 2)
		log_thread_stop();
	return NULL;
}

static void *count_lines(void *arg)
{
	int next[THREADS + 1] = { 0 };
	FILE *f = fdopen(ends[0], "r");
	char line[512], who;
	int n;
	size_t *good = arg;

	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, " who=");

		/* Whole, and in the order of its thread. */
		if (at && sscanf(at, " who=%c n=%d", &who, &n) == 2 && next[who - 'a'] == n) {
			next[who - 'a']++;
			++*good;
		}
	}
	fclose(f);
	return NULL;
}

Test(log, threads_lose_nothing)
{
	static char *const names[] = { "a", "b", "c", "d", "e" };
	pthread_t threads[THREADS], reader;
	size_t good = 0;

	open_pipe(0);
	cr_assert_eq(log_start(0), OK);
	cr_assert_eq(log_start(0), ERR_EXISTS);
	pthread_create(&reader, NULL, count_lines, &good);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_lines, names[i]);
	/* This thread has no ring and takes the shared one. */
	for (int i = 0; i < LINES; i++)
		log_event(LOG_INFO, "line", log_str("who", "e"), log_int("n", i));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	log_stop(10000);
	close(ends[1]);
	pthread_join(reader, NULL);
	cr_expect_eq(good, (THREADS + 1) * LINES, "%zu", good);
	cr_expect_eq(log_dropped(), 0);
}

enum { TURNS = 20000 };
static _Atomic int turn;

/* Two threads that answer each other: a line is said because the other's was. */
static void *take_turns(void *arg)
{
	int odd = *(const char *)arg == 'b';

	log_thread_start();
	for (int i = odd; i < TURNS; i += 2) {
		while (turn != i)
			sched_yield();
		log_event(LOG_INFO, "turn", log_int("n", i));
		turn = i + 1;
	}
	return NULL;
}

static void *count_turns(void *arg)
{
	FILE *f = fdopen(ends[0], "r");
	char line[512];
	int *next = arg;

	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, " n=");

		*next += at && strtol(at + 3, NULL, 10) == *next;
	}
	fclose(f);
	return NULL;
}

Test(log, an_answer_stands_behind_what_it_answers)
{
	pthread_t threads[2], reader;
	int next = 0;

	open_pipe(0);
	cr_assert_eq(log_start(16 << 20), OK);
	pthread_create(&reader, NULL, count_turns, &next);
	pthread_create(&threads[0], NULL, take_turns, "a");
	pthread_create(&threads[1], NULL, take_turns, "b");
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	log_stop(60000);
	close(ends[1]);
	pthread_join(reader, NULL);
	cr_expect_eq(next, TURNS, "in order up to %d", next);
	cr_expect_eq(log_dropped(), 0);
}

/* Nobody reads: the pipe fills, then the ring; writing goes on at once and the drops are counted.
 */
Test(log, a_full_pipe_blocks_nobody)
{
	open_pipe(0);
	cr_assert_eq(log_start(16384), OK);
	log_thread_start();
	for (int i = 0; i < 5000; i++)
		log_event(LOG_INFO, "line",
			log_str("text", "0123456789012345678901234567890123456789"));
	cr_expect(log_dropped() > 1000);
	log_thread_stop();
	log_stop(10);
}

/* --- Events --- */

enum { EV_ACCEPTED, EV_NOISE };
static const struct event_row event_rows[] = {
	[EV_ACCEPTED] = { "accepted", LOG_INFO, "Messages taken" },
	[EV_NOISE] = { "noise", LOG_DEBUG, "Seen only at debug" },
};
static struct event_table events = EVENT_TABLE("test", event_rows);

Test(event, logs_and_counts)
{
	char buf[4096];

	event_register(&events);
	event_register(&events);
	cr_assert_eq(metric_thread_start(), OK);
	open_pipe(0);
	event_emit(&events, EV_ACCEPTED, log_int("n", 1));
	event_emit(&events, EV_NOISE, log_int("n", 2));
	event_emit(&events, EV_NOISE, log_int("n", 3));
	cr_expect_eq(metric_value(&events.metrics, EV_ACCEPTED), 1);
	cr_expect_eq(metric_value(&events.metrics, EV_NOISE), 2);
	cr_expect_eq(read_lines(buf, sizeof(buf), " n="), 1);
	metric_thread_stop();
}
