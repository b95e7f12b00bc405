/* SPDX-License-Identifier: GPL-2.0-or-later */
/* seqset.h - sequence sets (RFC 9051 9, sequence-set; RFC 5182 for `$`) and lists of runs.
 *
 * A set is parsed as it was written, `*` still unknown, and resolved when the mailbox's last number is
 * known. The result is a struct run_list: sorted, merged. All memory is the arena's; the number
 * of runs is bounded by the length of the command. Nothing but parsing fails. */
#ifndef PROTO_IMAP_SEQSET_H
#define PROTO_IMAP_SEQSET_H

#include "proto/imap/lexer.h"

struct imap_seqset {
	bool saved;               /* `$` occurs: the saved search result beside the pieces */
	bool star;                /* `*` occurs */
	const struct run *pieces; /* as written; 0 stands for `*` */
	size_t len;
};

bool imap_lex_seqset(struct imap_lex *x, struct imap_seqset *out);
/* The same without `*` and `$`: known-uids, uid-set. */
bool imap_lex_uidset(struct imap_lex *x, struct run_list *out);

/* `last`: what `*` stands for; numbers beyond it stay. 0 (nothing there): what holds `*` is nothing. Without
 * the saved result, which is the session's, and in uids whatever the pieces are. */
struct run_list imap_seqset_resolve(struct arena *a, const struct imap_seqset *set, uint32_t last);

/* "5", "1:3", with a comma before it unless it is the first. */
void imap_put_run(struct out *o, struct run run, bool first);
/* "1:3,5"; nothing for an empty list. */
void imap_put_runs(struct out *o, struct run_list list);
/* The whole of a set in the same form, members from `first` to `last`. */
void imap_put_runs_of(struct out *o, const struct runs *set, uint32_t first, uint32_t last);

bool run_list_has(struct run_list list, uint32_t n);
uint64_t run_list_count(struct run_list list);
/* The numbers that stand in both. */
struct run_list run_list_both(struct arena *a, struct run_list p, struct run_list q);
/* The numbers that stand in one of them. */
struct run_list run_list_either(struct arena *a, struct run_list p, struct run_list q);
/* Those of `list` that are members of `uids`. */
struct run_list run_list_existing(struct arena *a, struct run_list list, const struct runs *uids);

/* Building a list in ascending order; a number may come again right away. */
struct run_builder {
	struct arena *a;
	struct run *runs;
	size_t len, cap;
};
void run_builder_add(struct run_builder *b, uint32_t first, uint32_t last);
static inline struct run_list run_builder_list(const struct run_builder *b)
{
	return (struct run_list){ .runs = b->runs, .len = b->len };
}

#endif
