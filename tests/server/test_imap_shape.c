/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_imap_shape.c - messages of an unusual shape are not gone through again for each command: what was
 * read is counted. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/out.h"
#include "core/log.h"
#include "core/metric.h"
#include "server/imap/imap_int.h"
#include "tests/server/mailbox_house.h"

enum { PARTS = 900, FIELDS = 5000, SECTIONS = 900, STEPS = 40 };

static struct out text;

static int64_t counted(unsigned row)
{
	return metric_value(&imap_metrics, row);
}

static void begin(void)
{
	log_set_level(LOG_ERROR);
	metric_register(&imap_metrics);
	cr_assert_eq(metric_thread_start(), OK);
	text = out_heap(16 * 1024 * 1024);
}

static void select_it(void)
{
	cr_assert(house_deliver(out_written(&text)));
	house_connect("127.0.0.1");
	house_send(SLICE("l LOGIN alice@own.test secret\r\ns SELECT INBOX\r\n"));
	cr_assert(slice_search(house_replies(), SLICE("s OK")) > 0);
}

static void end(void)
{
	house_close();
	out_heap_done(&text);
	house_done();
}

static void open_house(void)
{
	begin();
	house_open(SERVICE_IMAP, "imap: { plain_login: true }\n");
}

/* What stands in the literal of the only answer. */
static slice literal(slice answer)
{
	ptrdiff_t at = slice_find(answer, '{');
	slice rest = slice_skip(answer, (size_t)(at < 0 ? 0 : at + 1));
	size_t len = strtoul(rest.ptr, NULL, 10);

	cr_assert(at > 0, "%.*s", (int)MIN(answer.len, (size_t)200), answer.ptr);
	return slice_sub(slice_skip(rest, (size_t)slice_find(rest, '\n') + 1), 0, len);
}

static slice ask(const char *command)
{
	text.len = 0;
	out_printf(&text, "t %s\r\n", command);
	house_send(out_written(&text));
	return house_replies();
}

/* --- A summary too long to be kept ----------------------------------------------------------------- */

static void put_parts(void)
{
	out_str(&text,
		"Subject: many\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/mixed; boundary=B\r\n\r\n");
	for (unsigned i = 0; i < PARTS; i++)
		out_printf(&text,
			"--B\r\nContent-Type: text/plain; name=\"the attachment %u\"\r\n"
			"Content-Disposition: attachment; filename=\"the attachment %u\"\r\n\r\n"
			"This is part %u.\r\n",
			i, i, i + 1);
	out_str(&text, "--B--\r\n");
}

Test(imap_shape, a_message_of_many_parts_is_parsed_once_for_many_commands)
{
	char command[80], want[40];

	open_house();
	put_parts();
	select_it();
	for (unsigned i = 1; i <= STEPS; i++) {
		snprintf(command, sizeof(command), "FETCH 1 BODY.PEEK[%u]<5.30>", i);
		snprintf(want, sizeof(want), "is part %u.", i);
		slice got = literal(ask(command));

		cr_assert(slice_eq(got, slice_str(want)), "%.*s", SLICE_ARG(got));
	}
	cr_assert(slice_search(ask("FETCH 1 BODYSTRUCTURE"), SLICE("the attachment 899")) > 0);
	cr_assert_eq(counted(IMAP_METRIC_PARSED), 1);
	/* Another mailbox is another matter. */
	ask("UNSELECT");
	ask("SELECT INBOX");
	ask("FETCH 1 BODY.PEEK[7]");
	cr_assert_eq(counted(IMAP_METRIC_PARSED), 2);
	end();
}

Test(imap_shape, two_messages_of_many_parts_are_not_mixed_up)
{
	open_house();
	put_parts();
	cr_assert(house_deliver(out_written(&text)));
	text.len = 0;
	put_parts();
	memcpy(text.buf, "Subject: MORE", 13);
	select_it();
	for (unsigned i = 0; i < 3; i++) {
		cr_assert(slice_search(ask("FETCH 1 ENVELOPE"), SLICE("\"many\"")) > 0);
		cr_assert(slice_search(ask("FETCH 2 ENVELOPE"), SLICE("\"MORE\"")) > 0);
	}
	cr_assert_eq(counted(IMAP_METRIC_PARSED), 6);
	end();
}

/* --- A large header ------------------------------------------------------------------------------------ */

Test(imap_shape, a_header_is_read_once_for_a_thousand_sections)
{
	struct out command;
	slice got;

	open_house();
	out_str(&text, "Subject: fields\r\n");
	for (unsigned i = 0; i < FIELDS; i++)
		out_printf(&text, "X-Field-%u: the value of %u\r\n", i, i);
	size_t header = text.len + 2;
	out_str(&text, "\r\nbody\r\n");
	select_it();
	command = out_heap(256 * 1024);
	out_str(&command, "t FETCH 1 (");
	for (unsigned i = 0; i < SECTIONS; i++)
		out_printf(&command, "%sBODY.PEEK[HEADER.FIELDS (x-field-%u)]", i ? " " : "", i);
	out_str(&command, ")\r\n");
	house_send(out_written(&command));
	got = house_replies();
	cr_assert(slice_search(got, SLICE("t OK")) > 0);
	for (unsigned i = 0; i < SECTIONS; i++) {
		char want[80];

		snprintf(want, sizeof(want), "}\r\nX-Field-%u: the value of %u\r\n\r\n", i, i);
		cr_assert(slice_search(got, slice_str(want)) > 0, "%u", i);
	}
	cr_assert_leq(counted(IMAP_METRIC_HEADERS), (int64_t)header);
	out_heap_done(&command);
	end();
}

/* Many names are looked up in order: any case, and a name that begins another one. */
Test(imap_shape, many_names_in_one_section)
{
	struct out command;
	slice got;

	open_house();
	for (unsigned i = 0; i < 100; i++)
		out_printf(&text, "X-%u: %u\r\n", i, i);
	out_str(&text, "\r\nbody\r\n");
	select_it();
	command = out_heap(64 * 1024);
	out_str(&command, "t FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (");
	for (unsigned i = 1; i < 100; i++)
		out_printf(&command, "%sx-%u", i > 1 ? " " : "", i * 37 % 100);
	out_str(&command, ")]\r\n");
	house_send(out_written(&command));
	got = literal(house_replies());
	cr_assert(slice_eq(got, SLICE("X-0: 0\r\n\r\n")), "%.*s", SLICE_ARG(got));
	out_heap_done(&command);
	end();
}
