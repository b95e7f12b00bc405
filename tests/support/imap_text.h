/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_text.h - what the parsers of proto/imap understood, written back as a client would say it.
 *
 * Only tests and fuzzers want this: what was written is parsed again and must mean the same. All of it
 * goes to the end of an `out`; nothing fails. */
#ifndef TESTS_SUPPORT_IMAP_TEXT_H
#define TESTS_SUPPORT_IMAP_TEXT_H

#include "proto/imap/fetch.h"
#include "proto/imap/flags.h"
#include "proto/imap/search.h"

/* "4:*,5" or "$". */
void imap_text_set(struct out *o, const struct imap_seqset *set);
/* "(\Seen $Forwarded)" */
void imap_text_flags(struct out *o, const struct imap_flags *flags);
/* "1-Feb-1994" */
void imap_text_day(struct out *o, int32_t day);
/* What stands behind the verb, the space before it included. */
void imap_text_search(struct out *o, const struct imap_search *search);
/* Likewise. */
void imap_text_fetch(struct out *o, const struct imap_fetch *fetch);

#endif
