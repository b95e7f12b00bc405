/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies: the same in every division. Their lines go through the reader of capabilities. */
#include "proto/smtp/reply.h"
#include "tests/support/proto_feeds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	slice in = slice_of(data, size);
	struct smtp_reply_line line;
	struct smtp_caps caps = { 0 };
	size_t used;

	must(feed_few_ways(&feed_smtp_replies, NULL, in, NULL));
	for (; smtp_reply_line(in, &used, &line) == STEP_DONE; in = slice_skip(in, used))
		smtp_caps_add(&caps, line.text);
	(void)smtp_caps_params(&caps);
	return 0;
}
