/* SPDX-License-Identifier: GPL-2.0-or-later */
/* talk.c - lines over a simulated connection, and letters as bytes. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/conn.h"
#include "core/dial.h"
#include "core/worker.h"
#include "tests/sim/mail_town.h"

enum { WAIT_MS = 120 * 1000 };

bool talk_open(struct talk *t, uint16_t port)
{
	struct dial_options options = { .timeout_ms = 30000 };
	struct addr at;
	bool good = addr_parse_ip(SLICE(TOWN_SERVER), &at);

	must(good);
	at.port = port;
	return dial(worker_self(), &at, &options, &t->c) == OK;
}

void talk_close(struct talk *t, bool abort)
{
	if (abort)
		conn_abort(t->c, ERR_CLOSED);
	else
		conn_close(t->c);
}

bool talk_line(struct talk *t)
{
	slice in = { 0 };
	ptrdiff_t end;

	t->len = 0;
	t->line[0] = '\0';
	do {
		if (conn_wait_data(t->c, &in, WAIT_MS))
			return false;
		end = slice_find(in, '\n');
	} while (end < 0);
	t->len = MIN((size_t)end, sizeof(t->line) - 1);
	memcpy(t->line, in.ptr, t->len);
	if (t->len && t->line[t->len - 1] == '\r')
		t->len--;
	t->line[t->len] = '\0';
	conn_consume(t->c, (size_t)end + 1);
	return true;
}

void talk_send(struct talk *t, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	out_str(conn_out(t->c), text);
}

bool talk_starts(const struct talk *t, const char *prefix)
{
	return strncmp(t->line, prefix, strlen(prefix)) == 0;
}

bool talk_until(struct talk *t, const char *prefix)
{
	do
		if (!talk_line(t))
			return false;
	while (!talk_starts(t, prefix));
	return true;
}

bool talk_flush(struct talk *t)
{
	return conn_drain_wait(t->c, WAIT_MS) == OK;
}

/* --- Letters --- */

struct letter *letter_make(uint32_t *out_number, unsigned boxes)
{
	struct letter *letter = ledger_new(out_number);

	if (!letter)
		return NULL;
	letter->lines =
		(unsigned)(sim_random(1000) < town.large_per_mille ? 1000 + sim_random(4000) :
								     sim_random(30));
	for (unsigned box = 0; box < BOXES; box++)
		if (boxes >> box & 1) /* until its last byte has left it cannot arrive */
			letter->in[box] = (struct stay){ .meant = true, .fate = FATE_REFUSED };
	return letter;
}

static int put_header(char text[256], uint32_t number)
{
	return snprintf(text, 256,
		"From: <a@far.test>\r\nTo: somebody\r\nSubject: message %u\r\n"
		"Message-ID: <%u@far.test>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\n",
		number, number);
}

size_t letter_bytes(uint32_t number, const struct letter *letter)
{
	char text[256];
	size_t bytes = (size_t)put_header(text, number);

	for (unsigned i = 0; i < letter->lines; i++)
		bytes += letter_line(text, number, i);
	return bytes;
}

bool letter_send(struct talk *t, uint32_t number, const struct letter *letter, bool dots)
{
	char text[256];
	unsigned broken_at = town_bad(60) ? (unsigned)sim_random(letter->lines + 1) : UINT32_MAX;

	put_header(text, number);
	out_str(conn_out(t->c), text);
	for (unsigned i = 0; i < letter->lines; i++) {
		size_t len = letter_line(text, number, i);

		if (i == broken_at)
			return false;
		if (dots && text[0] == '.')
			out_char(conn_out(t->c), '.');
		out_bytes(conn_out(t->c), text, len);
		if (conn_congested(t->c) && conn_send_wait(t->c, WAIT_MS))
			return false;
	}
	return true;
}

bool letter_number(const char *text, uint32_t *out)
{
	static const char word[] = "message ";
	const char *at = strstr(text, word);
	char *end;

	if (!at)
		return false;
	unsigned long n = strtoul(at + strlen(word), &end, 10);

	*out = (uint32_t)n;
	return end > at + strlen(word);
}
