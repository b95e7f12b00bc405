/* SPDX-License-Identifier: GPL-2.0-or-later */
/* import_int.h - shared by import.c, which talks to the server and remembers how far it got, and the
 * readers of mailbox files. Nobody else includes it.
 *
 * A reader walks folders in a fixed order, and the messages of each from where import_at() says. One
 * message: import_begin, its bytes in pieces, import_end with the place behind it. Everything is false
 * when the server or the disk failed: it was told already, and there is nothing more to do. */
#ifndef SERVER_IMPORT_INT_H
#define SERVER_IMPORT_INT_H

#include <jansson.h>

#include "core/base/base.h"

struct cli;
struct remote;

enum { IMPORT_PATH = 4096, IMPORT_KEY = 40, IMPORT_PIECE = 256 * 1024, IMPORT_TOGETHER = 64 };

/* Unique ids that a mailbox has: hashes in open addressing. Zeroed: none. */
struct import_ids {
	uint64_t *slots;
	size_t len, cap;
};

struct import {
	struct cli *cli;
	struct remote *remote;
	const char *account;
	char source[IMPORT_PATH]; /* absolute */
	char state_path[IMPORT_PATH];
	slice under;    /* --mailbox, or empty */
	json_t *state;  /* what the state file holds */
	json_t *folder; /* of it: the one at hand */
	json_t *recent; /* keys that may have arrived since the state was written; an object */
	struct import_ids ids; /* taken in it, with ids_known */
	bool ids_known;
	char mailbox[256];
	struct arena arena; /* of the message */
	json_t *head;       /* of the message at hand; NULL: none, or its first piece was sent */
	json_t *whole;      /* an array: heads of those before it in `piece`, which are complete */
	size_t heads_bytes; /* of their texts, about */
	char piece[IMPORT_PIECE];
	size_t piece_len, begin; /* where the message at hand begins */
	bool last_cr;
	char at[IMPORT_PATH]; /* behind the last message, which may be on its way; beyond the folder's "at" */
	unsigned unsaved, ahead; /* requests whose answers were not fetched */
	uint64_t imported, skipped, failed, folders;
};

/* Messages go from `folder` (a name for the state file) to the mailbox, which is made. */
bool import_folder(struct import *im, slice folder, slice mailbox);
/* Where to go on in it; empty: at the begin. */
slice import_at(const struct import *im);

struct import_head {
	slice place;  /* names it within its folder, for ever */
	slice flags;  /* "\Seen,$Junk" */
	slice uidl;   /* it had one; or empty */
	wall_ms date; /* 0: unknown */
};
/* *out_skip: it has arrived already. */
bool import_begin(struct import *im, const struct import_head *head, bool *out_skip);
/* Line ends become CR LF. */
bool import_bytes(struct import *im, slice bytes);
bool import_end(struct import *im, slice at);
/* After import_begin said so. */
bool import_skip(struct import *im, slice at);
/* One that cannot be read is counted, and passed over for good. */
bool import_give_up(struct import *im, slice what, slice at);

/* --- import_ids.c --- */
/* The key of a message without an id of its own. */
void import_key_of_place(const struct import *im, slice place, char out[IMPORT_KEY]);
/* False: it was there (or there is no room for more). */
bool import_ids_take(struct import_ids *ids, slice id);
void import_ids_done(struct import_ids *ids);

/* --- Readers. The path is im->source --- */
bool import_mbox_tree(struct import *im);
bool import_maildir_tree(struct import *im);
/* Is it one? */
bool import_is_mbox(const char *path);
bool import_is_maildir(const char *path);

#endif
