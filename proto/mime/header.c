/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding the end of a header block, cutting it into fields, naming and counting them.
 *
 * The end detector and header_next agree by construction on what begins a field: both ask
 * header_line_is_field's question, the one byte by byte, the other line by line. */
#include "proto/mime/header.h"

#include "core/base/text.h"

/* Names --------------------------------------------------------------------------------------- */

static const slice names[HEADER_IDS] = {
#define X(id, name) [HEADER_##id] = SLICE_INIT(name),
	HEADER_TABLE(X)
#undef X
};

enum header_id header_id_of(slice name)
{
	for (int id = HEADER_OTHER + 1; id < HEADER_IDS; id++)
		if (names[id].len == name.len && slice_eq_nocase(names[id], name))
			return (enum header_id)id;
	return HEADER_OTHER;
}

static inline bool is_name_byte(unsigned char c)
{
	return c > 32 && c < 127 && c != ':';
}

bool header_is_name_byte(unsigned char c)
{
	return is_name_byte(c);
}

bool header_line_is_field(slice line)
{
	size_t i = 0;

	while (i < line.len && is_name_byte((unsigned char)line.ptr[i]))
		i++;
	if (i == 0)
		return false;
	while (i < line.len && (line.ptr[i] == ' ' || line.ptr[i] == '\t'))
		i++;
	return i < line.len && line.ptr[i] == ':';
}

/* The end ------------------------------------------------------------------------------------- */

enum { LINE_START, BLANK_CR, IN_NAME, BEHIND_NAME, IN_LINE, ENDED };

static enum step end_at(struct header_end *e, size_t bytes, bool implied)
{
	e->bytes = bytes;
	e->implied = implied;
	e->state = ENDED;
	return STEP_DONE;
}

/* One byte that is not inside a line whose nature is known. False: the block ends before the line. */
static bool judge(struct header_end *e, unsigned char c)
{
	switch (e->state) {
	case LINE_START:
		if (c == '\r')
			e->state = BLANK_CR;
		else if (c == ' ' || c == '\t')
			e->state = IN_LINE;
		else
			e->state = IN_NAME;
		/* Folding needs something to continue. */
		return e->state != IN_LINE ? c == '\r' || header_is_name_byte(c) : e->line_at > 0;
	case BLANK_CR:
		return false; /* a CR that begins no line end */
	case IN_NAME:
		if (c == ' ' || c == '\t')
			e->state = BEHIND_NAME;
		else if (c == ':')
			e->state = IN_LINE;
		else
			return header_is_name_byte(c);
		return true;
	default: /* BEHIND_NAME */
		if (c == ':')
			e->state = IN_LINE;
		return c == ' ' || c == '\t' || c == ':';
	}
}

enum step header_end_feed(struct header_end *e, slice in)
{
	size_t max = e->max ? e->max : HEADER_MAX_DEFAULT, from = e->fed;

	must(e->state != ENDED);
	for (size_t i = 0; i < in.len; i++) {
		if (e->state == IN_LINE) {
			ptrdiff_t at = slice_find(slice_skip(in, i), '\n');

			if (at < 0)
				break;
			i += (size_t)at;
			e->state = LINE_START;
			e->line_at = from + i + 1;
			continue;
		}
		if (in.ptr[i] == '\n' && (e->state == LINE_START || e->state == BLANK_CR))
			return from + i + 1 > max ? STEP_TOO_LONG : end_at(e, from + i + 1, false);
		if (from + i >= max)
			return STEP_TOO_LONG;
		if (!judge(e, (unsigned char)in.ptr[i]))
			return end_at(e, e->line_at, true);
	}
	e->fed = from + in.len;
	return e->fed > max ? STEP_TOO_LONG : STEP_MORE;
}

void header_end_finish(struct header_end *e)
{
	/* A last line without its end that never became a field is body, as it is for header_next. */
	if (e->state == IN_NAME || e->state == BEHIND_NAME || e->state == BLANK_CR)
		end_at(e, e->line_at, true);
	else if (e->state != ENDED)
		end_at(e, e->fed, true);
}

/* Fields -------------------------------------------------------------------------------------- */

/* Length of the line at the front, its end included. */
static size_t line_len(slice rest)
{
	ptrdiff_t at = slice_find(rest, '\n');

	return at < 0 ? rest.len : (size_t)at + 1;
}

static slice without_line_end(slice s)
{
	if (s.len && s.ptr[s.len - 1] == '\n') {
		s.len--;
		if (s.len && s.ptr[s.len - 1] == '\r')
			s.len--;
	}
	return s;
}

bool header_next(slice *rest, struct header_field *out)
{
	size_t len = line_len(*rest);

	if (!header_line_is_field(slice_sub(*rest, 0, len)))
		return false;
	while (len < rest->len && (rest->ptr[len] == ' ' || rest->ptr[len] == '\t'))
		len += line_len(slice_skip(*rest, len));

	slice whole = slice_sub(*rest, 0, len);
	size_t colon = (size_t)slice_find(whole, ':');

	*out = (struct header_field){
		.whole = whole,
		.name = slice_trim(slice_sub(whole, 0, colon)),
		.value = without_line_end(slice_skip(whole, colon + 1)),
	};
	*rest = slice_skip(*rest, len);
	return true;
}

bool header_is_stray(slice line)
{
	bool blank = line.len && (line.ptr[0] == ' ' || line.ptr[0] == '\t');

	return blank || (slice_starts(line, SLICE("From ")) && !header_line_is_field(line));
}

slice header_skip_stray(slice block)
{
	size_t len = line_len(block);
	slice rest = slice_skip(block, len);
	bool stray = header_is_stray(slice_sub(block, 0, len));

	return stray && header_line_is_field(rest) ? rest : block;
}

bool header_find(slice block, slice name, struct header_field *out)
{
	struct header_field field;

	while (header_next(&block, &field))
		if (slice_eq_nocase(field.name, name)) {
			*out = field;
			return true;
		}
	return false;
}

size_t header_count(slice block, slice name)
{
	struct header_field field;
	size_t count = 0;

	while (header_next(&block, &field))
		count += slice_eq_nocase(field.name, name);
	return count;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void header_unfold(struct out *o, slice value)
{
	while (value.len && is_blank(value.ptr[0]))
		value = slice_skip(value, 1);
	while (value.len && is_blank(value.ptr[value.len - 1]))
		value.len--;
	while (value.len) {
		size_t run = 0;

		while (run < value.len && value.ptr[run] != '\r' && value.ptr[run] != '\n')
			run++;
		out_slice(o, slice_sub(value, 0, run));
		while (run < value.len && (value.ptr[run] == '\r' || value.ptr[run] == '\n'))
			run++;
		value = slice_skip(value, run);
	}
}

/* Facts --------------------------------------------------------------------------------------- */

static bool has_bare_newline(slice line)
{
	for (size_t i = 0; i < line.len; i++) {
		bool lone_cr =
			line.ptr[i] == '\r' && (i + 1 == line.len || line.ptr[i + 1] != '\n');
		bool lone_lf = line.ptr[i] == '\n' && (i == 0 || line.ptr[i - 1] != '\r');

		if (lone_cr || lone_lf)
			return true;
	}
	return false;
}

static void look_at_lines(slice block, struct header_facts *facts)
{
	while (block.len) {
		slice line = slice_sub(block, 0, line_len(block));

		facts->line_max = MAX(facts->line_max, without_line_end(line).len);
		block = slice_skip(block, line.len);
	}
}

struct header_facts header_facts_of(slice block)
{
	struct header_facts facts = { 0 };
	struct header_field field;
	slice rest = block;

	while (header_next(&rest, &field)) {
		facts.count[header_id_of(field.name)]++;
		facts.fields++;
	}
	facts.hops = facts.count[HEADER_RECEIVED];
	facts.eight_bit = !text_is_ascii(block);
	facts.utf8 = !facts.eight_bit || text_is_utf8(block);
	facts.nul = slice_find(block, '\0') >= 0;
	facts.bare_newline = has_bare_newline(block);
	look_at_lines(block, &facts);
	return facts;
}
