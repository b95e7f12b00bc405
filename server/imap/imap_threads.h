/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_threads.h - conversations out of references: the algorithm of RFC 5256 3 (THREAD=REFERENCES), and
 * ORDEREDSUBJECT.
 *
 * Pure: messages come as hashes of their ids, references and base subjects, which the summary keeps.
 * Time is that of sorting, whatever the references say; nothing recurses, so a chain of a hundred
 * thousand replies is no deeper than any other. Memory is the heap's: some 100 bytes a message, and 8 for
 * each reference; without it the answer is false and nothing is written. */
#ifndef SERVER_IMAP_IMAP_THREADS_H
#define SERVER_IMAP_IMAP_THREADS_H

#include "core/base/base.h"

struct thread_message {
	uint32_t number; /* what is written: ascending in order of arrival */
	wall_ms sent;
	uint64_t id;          /* 0: none */
	uint64_t subject;     /* of the base subject; 0: that is empty */
	bool reply;           /* its subject says so */
	const uint64_t *refs; /* oldest first; the last one is the parent */
	unsigned ref_count;
};

/* Writes "(2)(3 6 (4 23)(44 7 96))". Messages ascend by number. */
bool threads_by_references(const struct thread_message *messages, size_t len,
	struct out *o) must_use;
bool threads_by_subject(const struct thread_message *messages, size_t len, struct out *o) must_use;

#endif
