/* SPDX-License-Identifier: GPL-2.0-or-later */
/* export_int.h - shared by export.c, which asks for the messages, and the writers of mailbox files.
 * Nobody else includes it. */
#ifndef SERVER_EXPORT_INT_H
#define SERVER_EXPORT_INT_H

#include <jansson.h>
#include <stdio.h>

#include "core/base/codec.h"
#include "core/base/text.h"
#include "server/cli.h"
#include "server/control.h"

enum { EXPORT_PATH = 4096, EXPORT_KEYWORDS = 26 };

struct export;
struct remote;

/* All are false when something failed, and told. */
struct export_format {
	/* The mailbox ex->mailbox begins; sets ex->uid to the last one that is there already. */
	bool (*open)(struct export *ex);
	bool (*message)(struct export *ex, const json_t *row);
	bool (*close)(struct export *ex);
};
extern const struct export_format export_mbox, export_maildir;

struct export
{
	struct cli *cli;
	struct remote *remote;
	const struct export_format *format;
	const char *account, *only;
	const char *mailbox; /* at hand */
	json_int_t uid, uid_validity;
	char path[EXPORT_PATH];
	bool single; /* an mbox that is a file, not a folder of them */
	bool one;    /* no message is wanted behind the first */
	uint64_t exported, mailboxes;
	/* The writer's. */
	FILE *file;
	char here[EXPORT_PATH]; /* the file or folder of the mailbox */
	char keywords[EXPORT_KEYWORDS][128];
	size_t keyword_count;
	unsigned unsaved;
	unsigned matched; /* bytes of "From " at a line's begin */
	bool line_begins, last_cr;
	/* Messages that came together: those not yet asked for, and the bytes of all. */
	json_t *ahead;
	size_t ahead_at;
	slice data; /* from the next one on */
	char buf[CONTROL_DATA_MAX];
};

/* For a name that had to be shortened: "-" and by what it differs from others that begin alike. */
enum { EXPORT_MARK = 10 };
void export_mark(slice name, char out[EXPORT_MARK]);
/* The bytes of a message, in pieces. Those behind it are fetched with it, and cost little if they come next. */
bool export_body(struct export *ex, json_int_t uid, bool (*each)(struct export *ex, slice bytes));

#endif
