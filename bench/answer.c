/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines are looked for with memchr, and literals skipped by their length: next to nothing a byte. */
#include "bench/answer.h"

#include "core/base/text.h"
#include "proto/pop3/dots.h"

/* As much as fits. */
static void keep_head(char *head, unsigned *len, slice bytes)
{
	size_t n = MIN(bytes.len, (size_t)ANSWER_HEAD - *len);

	memcpy(head + *len, bytes.ptr, n);
	*len += (unsigned)n;
}

static void trim_head(char *head, unsigned *len)
{
	while (*len && (head[*len - 1] == '\n' || head[*len - 1] == '\r'))
		--*len;
}

/* --- IMAP --- */

static void keep_tail(struct imap_answer *a, slice bytes)
{
	unsigned old;

	if (bytes.len >= ANSWER_TAIL) {
		memcpy(a->tail, bytes.ptr + bytes.len - ANSWER_TAIL, ANSWER_TAIL);
		a->tail_len = ANSWER_TAIL;
		return;
	}
	old = MIN(a->tail_len, ANSWER_TAIL - (unsigned)bytes.len);
	memmove(a->tail, a->tail + a->tail_len - old, old);
	memcpy(a->tail + old, bytes.ptr, bytes.len);
	a->tail_len = old + (unsigned)bytes.len;
}

/* Words for people may end in a brace; data that ends in one announces a literal. */
static bool is_words(const struct imap_answer *a)
{
	static const char *const states[] = { "* OK ", "* NO ", "* BAD ", "* BYE ", "* PREAUTH " };
	slice head = slice_of(a->head, a->head_len);

	if (!slice_starts(head, SLICE("* ")))
		return true;
	for (size_t i = 0; i < array_len(states); i++)
		if (slice_starts_nocase(head, slice_str(states[i])))
			return true;
	return false;
}

/* The line ended: "{123}" before its end? */
static bool announces(const struct imap_answer *a, uint64_t *out)
{
	slice line = slice_of(a->tail, a->tail_len);

	if (is_words(a) || !slice_ends_nocase(line, SLICE("}\r\n")))
		return false;
	line.len -= 3;
	ptrdiff_t open = slice_rfind(line, '{');

	return open >= 0 && text_parse_uint(slice_skip(line, (size_t)open + 1), INT64_MAX, out);
}

static void begin_answer(struct imap_answer *a)
{
	a->head_len = a->tail_len = 0;
	a->later = a->over = false;
}

enum step imap_answer_feed(struct imap_answer *a, slice in, size_t *used)
{
	slice rest = in;

	if (a->over)
		begin_answer(a);
	while (rest.len) {
		size_t literal = (size_t)MIN(a->literal, (uint64_t)rest.len);

		a->literal -= literal;
		rest = slice_skip(rest, literal);
		if (!rest.len)
			break;
		ptrdiff_t end = slice_find(rest, '\n');
		slice line = slice_sub(rest, 0, end < 0 ? rest.len : (size_t)end + 1);

		if (!a->later)
			keep_head(a->head, &a->head_len, line);
		keep_tail(a, line);
		rest = slice_skip(rest, line.len);
		if (end < 0)
			break;
		if (announces(a, &a->literal)) {
			a->later = true;
			a->tail_len = 0;
			continue;
		}
		trim_head(a->head, &a->head_len);
		a->over = true;
		*used = in.len - rest.len;
		return STEP_DONE;
	}
	*used = in.len;
	return STEP_MORE;
}

/* --- POP3 --- */

/* Ends at a line of one dot. What begins with a dot and goes on was stuffed. */
static bool skip_line(struct pop3_answer *a, slice line, bool ended)
{
	if (a->at_line == 0 && line.len)
		a->dot = line.ptr[0] == '.';
	size_t seen = MIN(a->at_line + line.len, (size_t)4);

	a->at_line = (uint8_t)seen;
	if (!ended)
		return false;
	a->at_line = 0;
	return a->dot && seen <= 3; /* ".\r\n" */
}

static bool first_line(struct pop3_answer *a, slice line, bool ended)
{
	keep_head(a->head, &a->head_len, line);
	if (!ended)
		return false;
	trim_head(a->head, &a->head_len);
	a->body = a->multi && a->head_len && a->head[0] == '+';
	return !a->body;
}

/* At the begin of a line: as many whole lines as none of which begins with a dot. */
static slice skip_lines(slice rest)
{
	if (rest.ptr[0] == '.')
		return rest;
	size_t lines = pop3_dots_find(rest);

	if (lines == rest.len)
		lines = (size_t)(slice_rfind(rest, '\n') + 1);
	return slice_skip(rest, lines);
}

enum step pop3_answer_feed(struct pop3_answer *a, slice in, size_t *used)
{
	slice rest = in;

	if (a->over) {
		a->head_len = 0;
		a->over = a->body = false;
	}
	while (rest.len) {
		if (a->body && !a->at_line)
			rest = skip_lines(rest);
		ptrdiff_t end = slice_find(rest, '\n');
		slice line = slice_sub(rest, 0, end < 0 ? rest.len : (size_t)end + 1);

		rest = slice_skip(rest, line.len);
		if (a->body ? !skip_line(a, line, end >= 0) : !first_line(a, line, end >= 0))
			continue;
		a->over = true;
		*used = in.len - rest.len;
		return STEP_DONE;
	}
	*used = in.len;
	return STEP_MORE;
}
