/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_kept.h - the messages of one APPEND that are stored, and in no mailbox before the last one has come.
 *
 * Their bodies are on the disk, held. What a mailbox wants to know of them counts as bodies in memory do
 * (store/blob.h): when those are too many it is thrown away, and made again of the stored bodies at the
 * end. What stays is small: the command line's own bytes, and a row each. Embedded in the
 * command, on its worker; zeroed is empty. */
#ifndef SERVER_IMAP_KEPT_H
#define SERVER_IMAP_KEPT_H

#include "core/base/arena.h"
#include "core/base/base.h"
#include "store/blob.h"
#include "store/message.h"

struct fiber_mutex;
struct imap_kept_row;

struct imap_kept {
	struct store *store;
	struct imap_kept_row *rows;
	size_t len, cap;
	size_t lost;                   /* of so many from the first nothing is known any more */
	struct arena words;            /* keywords */
	struct arena known;            /* summaries and keys */
	size_t known_bytes;            /* of all, thrown away or not: they must fit into a record */
	struct blob_aside own, memory; /* of rows and words; of `known` */
};

/* A message's summary, and from it what else `d` and its target (NULL: known) say of it; keys in the arena. */
void imap_kept_describe(struct arena *a, slice summary, struct deliver *d,
	struct deliver_target *target);

void imap_kept_begin(struct imap_kept *k, struct store *st);
/* No more may come. */
bool imap_kept_full(const struct imap_kept *k);
/* They keep the journal from freeing what others need: time to let go of them. */
bool imap_kept_too_long(const struct imap_kept *k);
/* A message that was stored and is held: it is ours to let go of now, also when ERR_NOMEM comes back. What
 * `d` says is copied. */
enum err imap_kept_add(struct imap_kept *k, const struct deliver *d,
	const struct blob_ref *ref) must_use;
/* (fiber) All of them into their mailbox. `one`: of the worker; only one command at a time has what was lost made
 * again. As message_deliver_many, and what blob_read says. */
enum err imap_kept_deliver(struct imap_kept *k, struct fiber_mutex *one,
	struct delivered *out_first, modseq *out_pos) must_use;
/* Lets go of the messages. Harmless when empty. */
void imap_kept_drop(struct imap_kept *k);

#endif
