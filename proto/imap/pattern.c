/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Patterns of LIST, matched by following all ways at once: a set of places in the pattern, one bit each,
 * moved on by every byte of the name. So no pattern makes it slow, however many stars it has. */
#include "proto/imap/mutf7.h"

#include "core/base/text.h"

enum { PLACES_MAX = 2048, WORDS = PLACES_MAX / 64 };

struct places {
	uint64_t bits[WORDS]; /* the place behind the pattern means a match */
};

/* Most patterns need one word of many, for each byte of each name. */
static void clear(struct places *p, slice pattern)
{
	memset(p->bits, 0, (pattern.len / 64 + 1) * sizeof(uint64_t));
}

static void mark(struct places *p, slice pattern, size_t at)
{
	/* A wildcard may also stand for nothing. What is marked has marked what follows. */
	for (; !(p->bits[at / 64] >> at % 64 & 1); at++) {
		p->bits[at / 64] |= (uint64_t)1 << at % 64;
		if (at == pattern.len || (pattern.ptr[at] != '*' && pattern.ptr[at] != '%'))
			return;
	}
}

static bool same(char pattern, char c, bool nocase)
{
	return pattern == c || (nocase && text_lower(pattern) == text_lower(c));
}

/* Where one byte leads from each place. False: nowhere. */
static bool advance(struct places *p, slice pattern, char c, bool nocase)
{
	struct places next;
	bool any = false;

	clear(&next, pattern);
	for (size_t word = 0; word <= pattern.len / 64; word++)
		for (uint64_t bits = p->bits[word]; bits; bits &= bits - 1) {
			size_t at = word * 64 + (size_t)__builtin_ctzll(bits);

			if (at == pattern.len)
				continue;
			char want = pattern.ptr[at];

			if (want == '*' || (want == '%' && c != '/'))
				mark(&next, pattern, at);
			else if (want != '%' && same(want, c, nocase))
				mark(&next, pattern, at + 1);
			else
				continue;
			any = true;
		}
	memcpy(p->bits, next.bits, (pattern.len / 64 + 1) * sizeof(uint64_t));
	return any;
}

/* INBOX as a first level is the same in any case. */
static size_t nocase_bytes(slice name)
{
	slice rest = name, first;

	return slice_cut(&rest, '/', &first) && imap_name_is_inbox(first) ? first.len : 0;
}

static bool walk(struct places *p, slice pattern, slice name)
{
	size_t nocase = nocase_bytes(name);

	if (pattern.len >= PLACES_MAX)
		return false;
	clear(p, pattern);
	mark(p, pattern, 0);
	for (size_t i = 0; i < name.len; i++)
		if (!advance(p, pattern, name.ptr[i], i < nocase))
			return false;
	return true;
}

static bool has(const struct places *p, size_t at)
{
	return p->bits[at / 64] >> at % 64 & 1;
}

bool imap_pattern_match(slice pattern, slice name)
{
	struct places p;

	return walk(&p, pattern, name) && has(&p, pattern.len);
}
