/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check.h - fsck: verify everything, rebuild the index.
 *
 * Works on the data folder of a store that is not open (ERR_BUSY otherwise), on a thread without a
 * worker or on a fiber. Verifying reads every frame of the journal, every copy of the archive and
 * every row, and writes nothing. Rebuilding makes a new index beside the old one from the last
 * snapshot, the records that were kept since, and the bodies' own heads, verifies it and puts it in
 * place; the old one stays as index.old-<n>. No body is lost with an index. What cannot be known from
 * these sources is counted in the report; queue entries restored from bodies alone come back held. */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "core/base/base.h"

struct blob_ref;
struct schedule_entry;
struct store;
struct store_options;

enum check_result {
	CHECK_CLEAN,    /* exit 0 */
	CHECK_REPAIRED, /* rebuilt, or a torn end cut off: exit 0 */
	CHECK_DAMAGED,  /* something is wrong and rebuild may help: exit 1 */
	CHECK_LOST,     /* bodies or acknowledged records are unreadable: exit 2 */
};

struct check_report {
	enum check_result result;
	uint64_t segments, frames, records, bytes;
	uint64_t messages, chunks, entries, accounts, domains, keys, archived;
	uint64_t mailboxes, kept_messages; /* and the messages in them */
	uint64_t bad_frames, bad_records, bad_bodies, missing_bodies, dead_bodies;
	uint64_t bad_rows, bad_counters, unapplied_records;
	uint64_t restored_entries; /* from the snapshot and records */
	uint64_t held_entries;     /* of them: restored from a body alone */
	/* In mailboxes, from a body alone: flags and places are those of their delivery. */
	uint64_t restored_messages;
	/* Whose mailboxes got another UIDVALIDITY, since uids may repeat. */
	uint64_t renewed_accounts;
	wall_ms snapshot;                          /* used by a rebuild; 0: none */
	uint64_t gap_records_from, gap_records_to; /* positions whose records no source has */
};

struct check_summary {
	uint64_t blob;
	slice splice, summary;
};

struct check_run {
	const struct store_options *options;
	bool rebuild;
	/* One line per finding; may be NULL. */
	void (*say)(void *arg, const char *line);
	/* Makes entry `n` of a message whose rows are lost, from its meta; called with n = 0, 1, ... until
	 * false. The entry's id, state and body are set by the caller afterwards. NULL: such bodies are
	 * only counted. */
	bool (*restore)(void *arg, const struct blob_ref *ref, slice meta, uint32_t n,
		struct schedule_entry *out);
	/* What is kept of a body for readers that do not open it is what it should be; may read the body.
	 * NULL: not looked at. */
	bool (*summary_ok)(void *arg, struct store *st, const struct check_summary *summary);
	/* Between progress: bytes done and all. May be NULL. */
	void (*progress)(void *arg, uint64_t done, uint64_t all);
	void *arg;
};
/* An error means the check itself could not run; otherwise see out->result. */
enum err check_store(const struct check_run *run, struct check_report *out) must_use;
/* The exit status that belongs to a result. */
int check_exit_status(enum check_result result);

#endif
