/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_smtp_session.c - dialogues whole, line by line and cut at random, against a session in memory.
 *
 * The first byte picks the door, TLS and options, the second seeds the cuts. Oracle: line by line, and
 * with lines cut anywhere, the replies and the messages are the same (only groups of commands may
 * be answered by how they are cut); every reply line is well formed; the house checks sizes and
 * leaks. */
#include <stdint.h>
#include <stdlib.h>

#include "core/log.h"
#include "tests/server/house.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_replies(slice all)
{
	slice line;

	while (slice_cut(&all, '\n', &line)) {
		must(line.len >= 5 && line.ptr[line.len - 1] == '\r' && line.len <= 2048);
		must(line.ptr[0] >= '2' && line.ptr[0] <= '5');
		must(line.ptr[3] == ' ' || line.ptr[3] == '-');
	}
}

static unsigned play(const uint8_t *how, slice bytes, enum feed_cut cut, struct out *replies)
{
	static const char *const options[] = { "",
		"smtp: { bare_newline: fix, long_lines: wrap }\n",
		"smtp: { size: 64K, header: 4K, errors: 5 }\n", "smtp: { plain_login: true }\n" };
	uint32_t seed = how[1];
	unsigned messages;

	house_open((enum door_kind)(how[0] & 3), options[how[0] >> 2 & 3]);
	if (how[0] & 16)
		house.write_err = ERR_BUSY;
	house_connect(how[0] & 32 ? "127.0.0.1" : "192.0.2.7");
	while (bytes.len && !house_closed()) {
		size_t piece = feed_segment(bytes, cut, &seed);

		house_send(slice_sub(bytes, 0, piece));
		bytes = slice_skip(bytes, piece);
		out_slice(replies, house_replies());
	}
	out_slice(replies, house_replies());
	messages = house.submitted;
	house_close();
	return messages;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct out replies[3];
	unsigned messages[3];

	log_set_level(LOG_ERROR);
	if (len < 2)
		return 0;
	for (int cut = FEED_WHOLE; cut <= FEED_INSIDE_LINES; cut++) {
		replies[cut] = out_heap(16 << 20);
		messages[cut] =
			play(data, slice_of(data + 2, len - 2), (enum feed_cut)cut, &replies[cut]);
		check_replies(out_written(&replies[cut]));
	}
	must(messages[FEED_LINES] == messages[FEED_INSIDE_LINES]);
	must(slice_eq(out_written(&replies[FEED_LINES]), out_written(&replies[FEED_INSIDE_LINES])));
	for (int cut = FEED_WHOLE; cut <= FEED_INSIDE_LINES; cut++)
		out_heap_done(&replies[cut]);
	return 0;
}
