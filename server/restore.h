/* SPDX-License-Identifier: GPL-2.0-or-later */
/* restore.h - queue entries from stored envelopes, for `fsck --rebuild`.
 *
 * When the rows of a message are lost with the index, its body's record still holds the envelope; each
 * recipient becomes an entry again, on hold, so that nothing is sent twice by itself. The entry's
 * slices live until the next call. */
#ifndef SERVER_RESTORE_H
#define SERVER_RESTORE_H

#include "relay/envelope.h"
#include "relay/relay.h"
#include "store/schedule.h"

/* Zeroed but for `relay`. */
struct restore {
	const struct relay_options *relay;
	struct arena arena;
	struct envelope env; /* of message `id` */
	uint64_t id;
	char tail[SCHEDULE_TAIL_MAX];
};

/* Entry `n` of the message; false behind its last recipient, or when `meta` is no envelope. */
bool restore_entry(struct restore *r, const struct blob_ref *ref, slice meta, uint32_t n,
	struct schedule_entry *out) must_use;
void restore_done(struct restore *r);

#endif
