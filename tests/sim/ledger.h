/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ledger.h - what clients were told of mailboxes, kept outside the simulated process.
 *
 * A letter is named by its number, which stands in its subject; for each mailbox it was meant for
 * the ledger knows what became of it. Readers hold what they see against it: everything
 * acknowledged is there exactly once until a removal was acknowledged, with one uid and one
 * unique id for ever. Broken rules are told to oracle_complain(). */
#ifndef TESTS_SIM_LEDGER_H
#define TESTS_SIM_LEDGER_H

#include "tests/sim/oracle.h"

enum { BOXES = 3, LETTERS_MAX = 4096, UIDS_MAX = 16384 };

/* A letter in a mailbox. Times are those of the ledger's own clock; 0: not yet. */
struct stay {
	bool meant;
	enum fate fate;
	bool complete;              /* its last byte was sent */
	uint32_t accepted_at;       /* acknowledged */
	uint32_t maybe_at, gone_at; /* its removal was asked for, and acknowledged */
	uint32_t uid;
	uint64_t uidl;
};
struct letter {
	unsigned lines; /* of the body */
	struct stay in[BOXES];
};
/* NULL: enough for one run. */
struct letter *ledger_new(uint32_t *out_number);
struct letter *ledger_letter(uint32_t number); /* NULL: no such letter */

/* The answer behind the last byte: 1 yes, 0 no, -1 none came. */
void ledger_answered(struct stay *stay, int answer);
void ledger_remove_asked(unsigned box, uint32_t number);
void ledger_removed(unsigned box, uint32_t number);
/* The process died; with a faulty disk what it refused may be there all the same. */
void ledger_crashed(bool faulty_disk);
/* UIDVALIDITY never changes. */
void ledger_validity(unsigned box, uint64_t validity);

/* One reader's look at a whole mailbox, from before it was opened. */
struct view {
	unsigned box;
	uint32_t began, seen_count;
	bool partial; /* not everything could be read */
	unsigned char seen[LETTERS_MAX];
};
void view_begin(struct view *v, unsigned box);
/* By uid or by unique id; the other is 0. */
void view_sees(struct view *v, uint32_t number, uint32_t uid, uint64_t uidl);
/* Is all there that must be? */
void view_end(const struct view *v);

/* Body line i of a letter, with its CRLF; returns the length. */
enum { LETTER_LINE = 128 };
size_t letter_line(char line[LETTER_LINE], uint32_t number, unsigned i);

struct ledger_sums {
	unsigned letters, accepted, refused, unknown, removed, views;
};
struct ledger_sums ledger_sums(void);

#endif
