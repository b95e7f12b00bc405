/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tokens off the front of a command. The outer reader has already seen to it that literals are whole and
 * lines end well, but nothing here relies on it. */
#include "proto/imap/lexer.h"

#include "core/base/text.h"
#include "proto/imap/mutf7.h"

/* What a byte may be part of. */
enum {
	IN_ATOM = 1,    /* ATOM-CHAR */
	IN_ASTRING = 2, /* and `]` */
	IN_NAME = 4,
	IN_PATTERN = 8, /* list-char: and the wildcards */
};

static unsigned class_of(char c)
{
	unsigned char byte = (unsigned char)c;

	if (byte <= ' ' || byte >= 0x7f || c == '(' || c == ')' || c == '{' || c == '"' ||
		c == '\\')
		return 0;
	if (c == '%' || c == '*')
		return IN_PATTERN;
	if (c == ']')
		return IN_ASTRING | IN_PATTERN;
	if (text_is_alpha(c) || text_is_digit(c) || c == '-' || c == '.' || c == '_' || c == '/')
		return IN_ATOM | IN_ASTRING | IN_PATTERN | IN_NAME;
	return IN_ATOM | IN_ASTRING | IN_PATTERN;
}

bool imap_is_atom_char(char c)
{
	return class_of(c) & IN_ATOM;
}

bool imap_is_atom(slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!imap_is_atom_char(s.ptr[i]))
			return false;
	return s.len > 0;
}

bool imap_lex_fail(struct imap_lex *x, const char *why)
{
	if (!x->why)
		x->why = why;
	return false;
}

/* --- Looking and skipping --- */

bool imap_lex_at_end(const struct imap_lex *x)
{
	return !x->why && !x->rest.len;
}

bool imap_lex_at(const struct imap_lex *x, char c)
{
	return !x->why && x->rest.len && x->rest.ptr[0] == c;
}

/* The word stands here, in any case, and an atom's end behind it. */
static bool at_word(const struct imap_lex *x, slice word)
{
	return !x->why && slice_starts_nocase(x->rest, word) &&
		(x->rest.len == word.len || !(class_of(x->rest.ptr[word.len]) & IN_ATOM));
}

bool imap_lex_skip(struct imap_lex *x, char c)
{
	if (!imap_lex_at(x, c))
		return false;
	x->rest = slice_skip(x->rest, 1);
	return true;
}

bool imap_lex_skip_word(struct imap_lex *x, slice word)
{
	if (!at_word(x, word))
		return false;
	x->rest = slice_skip(x->rest, word.len);
	return true;
}

bool imap_lex_char(struct imap_lex *x, char c)
{
	if (imap_lex_skip(x, c))
		return true;
	return imap_lex_fail(x,
		c == '('         ? "a list was expected" :
			c == ')' ? "a closing parenthesis is missing" :
			c == ']' ? "a closing bracket is missing" :
				   "something else was expected");
}

bool imap_lex_space(struct imap_lex *x)
{
	if (!imap_lex_skip(x, ' '))
		return imap_lex_fail(x, "an argument is missing, or a space");
	while (imap_lex_skip(x, ' '))
		;
	return true;
}

bool imap_lex_end(struct imap_lex *x)
{
	while (imap_lex_skip(x, ' '))
		;
	return imap_lex_at_end(x) || imap_lex_fail(x, "there are too many arguments");
}

/* --- Words --- */

static bool take_word(struct imap_lex *x, unsigned class, const char *why, slice *out)
{
	size_t len = 0;

	if (x->why)
		return false;
	while (len < x->rest.len && class_of(x->rest.ptr[len]) & class)
		len++;
	/* Not even RFC 6855 3 has them outside of strings. */
	if (len < x->rest.len && (unsigned char)x->rest.ptr[len] >= 0x80)
		return imap_lex_fail(x, "what is not ASCII must stand in quotes, or in a literal");
	if (!len)
		return imap_lex_fail(x, why);
	*out = slice_sub(x->rest, 0, len);
	x->rest = slice_skip(x->rest, len);
	return true;
}

bool imap_lex_atom(struct imap_lex *x, slice *out)
{
	return take_word(x, IN_ATOM, "a word was expected", out);
}

bool imap_lex_name(struct imap_lex *x, slice *out)
{
	return take_word(x, IN_NAME, "a name was expected", out);
}

/* --- Strings --- */

static slice unescape(struct arena *a, slice raw)
{
	char *to = arena_alloc(a, raw.len);
	size_t len = 0;

	for (size_t i = 0; i < raw.len; i++) {
		i += raw.ptr[i] == '\\';
		to[len++] = raw.ptr[i];
	}
	return slice_of(to, len);
}

static bool take_quoted(struct imap_lex *x, slice *out)
{
	size_t len = 1;
	bool escapes = false, foreign = false;

	while (len < x->rest.len && x->rest.ptr[len] != '"') {
		unsigned char c = (unsigned char)x->rest.ptr[len++];

		foreign |= c >= 0x80;
		if (c == '\r' || c == '\n' || !c)
			return imap_lex_fail(x, "a quoted string must end on its line");
		if (c != '\\')
			continue;
		escapes = true;
		if (len == x->rest.len || (x->rest.ptr[len] != '"' && x->rest.ptr[len] != '\\'))
			return imap_lex_fail(x, "only quote and backslash can be escaped");
		len++;
	}
	if (len == x->rest.len)
		return imap_lex_fail(x, "a quoted string does not end");
	slice raw = slice_sub(x->rest, 1, len);

	/* Clients send UTF-8 whether or not it was enabled. */
	if (foreign && !text_is_utf8(raw))
		return imap_lex_fail(x, "a quoted string is not UTF-8");
	*out = escapes ? unescape(x->a, raw) : raw;
	x->rest = slice_skip(x->rest, len + 1);
	return true;
}

static bool take_literal(struct imap_lex *x, bool binary, slice *out)
{
	slice in = slice_skip(x->rest, 1 + binary), digits = in;
	uint64_t bytes;

	while (in.len && text_is_digit(in.ptr[0]))
		in = slice_skip(in, 1);
	digits.len -= in.len;
	if (slice_starts(in, SLICE("+")))
		in = slice_skip(in, 1);
	if (!slice_starts(in, SLICE("}\r\n")) || !text_parse_uint(digits, INT64_MAX, &bytes) ||
		bytes > in.len - 3)
		return imap_lex_fail(x, "a literal is malformed");
	*out = slice_sub(in, 3, 3 + (size_t)bytes);
	if (!binary && slice_find(*out, 0) >= 0)
		return imap_lex_fail(x, "NUL in a literal");
	x->rest = slice_skip(in, 3 + (size_t)bytes);
	return true;
}

bool imap_lex_string(struct imap_lex *x, slice *out)
{
	if (imap_lex_at(x, '"'))
		return take_quoted(x, out);
	if (imap_lex_at(x, '{'))
		return take_literal(x, false, out);
	return imap_lex_fail(x, "a string was expected");
}

static bool at_string(const struct imap_lex *x)
{
	return imap_lex_at(x, '"') || imap_lex_at(x, '{');
}

bool imap_lex_astring(struct imap_lex *x, slice *out)
{
	if (at_string(x))
		return imap_lex_string(x, out);
	return take_word(x, IN_ASTRING, "a word or a string was expected", out);
}

bool imap_lex_nstring(struct imap_lex *x, slice *out)
{
	if (!imap_lex_skip_word(x, SLICE("NIL")))
		return imap_lex_string(x, out);
	*out = (slice){ 0 };
	return true;
}

/* --- Numbers --- */

bool imap_lex_number(struct imap_lex *x, uint64_t first, uint64_t max, uint64_t *out)
{
	slice digits = x->rest;
	uint64_t n;

	if (x->why)
		return false;
	while (x->rest.len && text_is_digit(x->rest.ptr[0]))
		x->rest = slice_skip(x->rest, 1);
	digits.len -= x->rest.len;
	if (!digits.len)
		return imap_lex_fail(x, "a number was expected");
	if (!text_parse_uint(digits, max, &n) || n < first)
		return imap_lex_fail(x, "a number is out of range");
	*out = n;
	return true;
}

bool imap_lex_number64(struct imap_lex *x, uint64_t *out)
{
	return imap_lex_number(x, 0, INT64_MAX, out);
}

bool imap_lex_nz(struct imap_lex *x, uint32_t *out)
{
	uint64_t n;

	if (!imap_lex_number(x, 1, UINT32_MAX, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

/* --- Names of mailboxes --- */

/* To UTF-8. */
static bool decode_name(struct imap_lex *x, slice raw, slice *out)
{
	struct out o = out_arena(x->a);

	if (x->utf8 || (text_is_ascii(raw) && slice_find(raw, '&') < 0)) {
		*out = raw;
		return text_is_utf8(raw) || imap_lex_fail(x, "the mailbox name is not UTF-8");
	}
	if (!imap_mutf7_decode(&o, raw))
		return imap_lex_fail(x, "the mailbox name is not in modified UTF-7");
	*out = out_written(&o);
	return true;
}

static bool take_mailbox(struct imap_lex *x, bool create, slice *out)
{
	slice raw, name;

	if (!imap_lex_astring(x, &raw))
		return false;
	/* Or the begin of a name would be judged as if it were all of it. */
	if (!imap_lex_at_end(x) && !imap_lex_at(x, ' '))
		return imap_lex_fail(x,
			"behind the mailbox name a space is missing, or the name needs quotes");
	if (!decode_name(x, raw, &name))
		return false;
	if (create && name.len > 1 && name.ptr[name.len - 1] == '/')
		name.len--;
	const char *why = imap_name_wrong(name);

	if (!why && create && !imap_name_is_normal(name))
		why = "the mailbox name is not in Unicode's normal form C"; /* RFC 9051 6.3.4 */
	if (why) {
		x->no_name = true;
		return imap_lex_fail(x, why);
	}
	*out = imap_name_canon(x->a, name);
	return true;
}

bool imap_lex_mailbox(struct imap_lex *x, slice *out)
{
	return take_mailbox(x, false, out);
}

bool imap_lex_new_mailbox(struct imap_lex *x, slice *out)
{
	return take_mailbox(x, true, out);
}

bool imap_lex_pattern(struct imap_lex *x, slice *out)
{
	slice raw;
	bool is = at_string(x) ? imap_lex_string(x, &raw) :
				 take_word(x, IN_PATTERN, "a mailbox pattern was expected", &raw);

	if (is && raw.len > 2 * (size_t)IMAP_NAME_MAX * 4)
		return imap_lex_fail(x, "the mailbox pattern is too long");
	return is && decode_name(x, raw, out);
}

bool imap_lex_add(struct imap_lex *x, struct imap_slices *list, slice item)
{
	if (x->why)
		return false;
	if (list->len >= x->limits->terms_max)
		return imap_lex_fail(x, "a list is too long");
	if (list->len == list->cap) {
		size_t cap = MAX((size_t)4, list->cap * 2);
		slice *items = arena_array(x->a, slice, cap);

		if (list->len)
			memcpy(items, list->items, list->len * sizeof(slice));
		list->items = items;
		list->cap = cap;
	}
	list->items[list->len++] = item;
	return true;
}
