/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory.c - plays the dialogues against a session in memory (tests/server/house.h). */
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "tests/server/house.h"
#include "tests/wire/script.h"

static struct out pending; /* replies not yet read */
static size_t pending_at;
static enum door_kind kind;
static char yaml_now[4096];

static bool serves(const char *service)
{
	for (kind = SERVICE_SMTP; kind < SERVICE_COUNT; kind++)
		if (!strcmp(service, service_words[kind]))
			return house_serves(kind);
	return false;
}

static bool start(const char *service, const char *yaml)
{
	for (kind = SERVICE_SMTP; kind < SERVICE_COUNT; kind++)
		if (!strcmp(service, service_words[kind]))
			break;
	snprintf(yaml_now, sizeof(yaml_now), "%s", yaml);
	house_open(kind, yaml_now);
	pending = out_heap(32 << 20);
	pending_at = 0;
	return true;
}

static void stop(void)
{
	house_close();
	out_heap_done(&pending);
}

static void collect(void)
{
	out_slice(&pending, house_replies());
}

static bool connect_it(void)
{
	pending.len = pending_at = 0;
	/* A login in clear is for loopback. */
	house_connect(kind <= SERVICE_LMTP ? "192.0.2.7" : "127.0.0.1");
	collect();
	return true;
}

static void send_it(slice bytes)
{
	house_send(bytes);
	collect();
}

static bool line(struct out *o)
{
	slice rest = slice_skip(out_written(&pending), pending_at);
	ptrdiff_t end = slice_search(rest, SLICE("\r\n"));

	if (end < 0)
		return false;
	out_slice(o, slice_sub(rest, 0, (size_t)end));
	pending_at += (size_t)end + 2;
	return true;
}

static void clock_it(msec ms)
{
	house_clock(ms);
	collect();
}

static unsigned messages(void)
{
	return house.submitted;
}

static slice stored(void)
{
	return out_written(&house.stored);
}

static bool mail(slice message)
{
	return house_deliver(message);
}

static slice binding(void)
{
	return SLICE("0123456789abcdef0123456789abcdef");
}

static const struct wire_transport transport = { .name = "memory",
	.serves = serves,
	.start = start,
	.stop = stop,
	.connect = connect_it,
	.send = send_it,
	.line = line,
	.closed = house_closed,
	.hangup = house_hang_up,
	.tls = house_tls,
	.clock = clock_it,
	.messages = messages,
	.stored = stored,
	.mail = mail,
	.binding = binding };

int main(int argc, char **argv)
{
	log_set_level(LOG_ERROR);
	int status = argc == 2 ? wire_play_all(&transport, argv[1]) : 2;

	house_done();
	return status;
}
