/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mailbox_support.h - deliveries and sets for the tests of mailboxes. What goes wrong ends the test by
 * must(), unless an error is returned. */
#ifndef TESTS_STORE_MAILBOX_SUPPORT_H
#define TESTS_STORE_MAILBOX_SUPPORT_H

#include "core/base/runs.h"
#include "store/mailbox.h"
#include "store/message.h"
#include "tests/store/store_support.h"

/* A message of `size` bytes into a mailbox, with all that `t` says but for account and mailbox. */
struct delivering {
	uint64_t account;
	uint32_t mailbox;
	unsigned seed;
	size_t size;
	uint32_t flags;
	slice keywords, splice, summary;
	uint64_t thread_keys[8];
	size_t thread_key_count;
	struct delivered at; /* out */
	struct blob_ref ref; /* out; released */
};
enum err deliver_one(struct store *st, struct delivering *d);

/* "1:3,7" as a set. */
struct runs runs_of(const char *text);
/* The set as text. */
const char *runs_text(const struct runs *runs, char buf[256]);

/* Messages of an account's INBOX into one of its mailboxes. */
enum err copy_some(struct store *st, uint64_t account, const char *uids, uint32_t to);

/* Everything is visible afterwards. */
void sync_all(struct store *st, uint64_t account);

/* The rows of a mailbox, flat. */
struct scanned {
	struct message rows[4096];
	char summary[4096]; /* of the last row */
	size_t len, summary_len, splice_len;
};
enum err scan_all(struct store *st, struct message_scan *scan, struct scanned *out);

/* Every row of the index but its positions. Ended by out_heap_done. */
struct out index_rows(struct store *st);

#endif
