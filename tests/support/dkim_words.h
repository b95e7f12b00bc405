/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dkim_words.h - results of a DKIM check by the words of RFC 8601 2.7.1, for tests that show them.
 *
 * Static strings; nothing fails. */
#ifndef TESTS_SUPPORT_DKIM_WORDS_H
#define TESTS_SUPPORT_DKIM_WORDS_H

#include "proto/mailauth/dkim_verify.h"

static inline const char *dkim_word(enum dkim_result result)
{
	static const char *const words[] = { "none", "pass", "fail", "temperror", "permerror" };

	return words[result];
}

#endif
