/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proto_feeds.h - parsers of proto/ as feed.h takes them, where a test and a fuzzer both do.
 *
 * What each writes is its whole outcome, so that is what may not depend on the cuts. */
#ifndef TESTS_SUPPORT_PROTO_FEEDS_H
#define TESTS_SUPPORT_PROTO_FEEDS_H

#include "tests/support/feed.h"

/* A message in, the row of its summary out. */
extern const struct feed_parser feed_summary;
/* Text in, UTF-8 out; the argument is a slice with the name of the text's charset. */
extern const struct feed_parser feed_charset;
/* Lines of an SMTP client, each on a line of its own, and how many bytes are left at the end; the
 * argument is a size_t, the longest line. */
extern const struct feed_parser feed_smtp_lines;
/* Replies of an SMTP server, up to the first that is none; a text of more than FEED_REPLY_TEXT bytes is
 * cut. */
enum { FEED_REPLY_TEXT = 64 };
extern const struct feed_parser feed_smtp_replies;

#endif
