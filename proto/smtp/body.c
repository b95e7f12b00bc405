/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hot path of every message. Clean content passes in runs as long as the input, at two memchr a
 * line and one vector pass; only a dot at the start of a line, a held CR and bad content cut a run.
 *
 * A CR is held back until the byte behind it is known. A line start is "true" only behind a real
 * CRLF: the dot is looked at there and nowhere else (RFC 5321 4.1.1.4, 2.3.8). */
#include "proto/smtp/body.h"

#include "proto/smtp/limits.h"

enum { AT_START, IN_TEXT, CR_HELD, DOT, DOT_CR };

typedef unsigned char vec __attribute__((vector_size(16)));

/* NUL and 8-bit bytes: whether there are any is all that is asked. */
static void look_at(struct smtp_body *b, slice piece)
{
	vec high = { 0 }, zero = { 0 };
	size_t i = 0;
	unsigned char flags = 0;

	for (; piece.len - i >= sizeof(vec); i += sizeof(vec)) {
		vec v;

		memcpy(&v, piece.ptr + i, sizeof(v));
		high |= v;
		zero |= (vec)(v == 0);
	}
	for (size_t j = 0; i && j < sizeof(vec); j++) {
		flags |= high[j] & 0x80 ? SMTP_SAW_8BIT : 0;
		flags |= zero[j] ? SMTP_SAW_NUL : 0;
	}
	for (; i < piece.len; i++) {
		flags |= piece.ptr[i] & 0x80 ? SMTP_SAW_8BIT : 0;
		flags |= piece.ptr[i] ? 0 : SMTP_SAW_NUL;
	}
	b->flags |= flags;
}

void smtp_body_init(struct smtp_body *b, unsigned options)
{
	*b = (struct smtp_body){ .options = (uint8_t)options };
}

static void line_grows(struct smtp_body *b, size_t n)
{
	const uint32_t over = SMTP_TEXT_LINE_MAX + 1;
	uint32_t more = (uint32_t)MIN(n, (size_t)over);

	b->line_bytes = MIN(b->line_bytes + more, over);
	b->out_line_bytes = MIN(b->out_line_bytes + more, over);
	if (b->line_bytes == over)
		b->flags |= SMTP_SAW_LONG_LINE;
}

static void line_ends(struct smtp_body *b)
{
	b->line_bytes = b->out_line_bytes = 0;
}

/* The held CR turned out to be alone. */
static slice bare_cr(struct smtp_body *b)
{
	b->flags |= SMTP_SAW_BARE_CR;
	b->state = IN_TEXT;
	if (b->options & SMTP_BODY_FIX) {
		line_ends(b);
		return SLICE("\r\n");
	}
	line_grows(b, 1);
	return SLICE("\r");
}

/* A bare LF at the front of *in. */
static slice bare_lf(struct smtp_body *b, slice *in)
{
	*in = slice_skip(*in, 1);
	b->flags |= SMTP_SAW_BARE_LF;
	b->state = IN_TEXT;
	line_ends(b);
	return b->options & SMTP_BODY_FIX ? SLICE("\r\n") : SLICE("\n");
}

/* The states that hang on one byte. True when *piece or *step has something to tell. */
static bool resolve(struct smtp_body *b, slice *in, slice *piece, enum step *step)
{
	char next = in->ptr[0];

	switch (b->state) {
	case AT_START:
		b->state = IN_TEXT;
		if (next == '.' && b->options & SMTP_BODY_DOTS) {
			b->state = DOT;
			*in = slice_skip(*in, 1);
		}
		return false;
	case DOT:
		b->state = IN_TEXT;
		if (next == '\r') {
			b->state = DOT_CR;
			*in = slice_skip(*in, 1);
		}
		return false;
	case DOT_CR:
	case CR_HELD:
		if (next != '\n') {
			*piece = bare_cr(b);
			return true;
		}
		*in = slice_skip(*in, 1);
		if (b->state == DOT_CR) {
			*step = STEP_DONE;
			return true;
		}
		b->state = AT_START;
		line_ends(b);
		*piece = SLICE("\r\n");
		return true;
	default:
		must(0);
	}
}

/* Take `n` bytes off *in as the piece. */
static slice take_run(struct smtp_body *b, slice *in, size_t n)
{
	slice piece = slice_sub(*in, 0, n);

	*in = slice_skip(*in, n);
	look_at(b, piece);
	return piece;
}

/* The line would pass the limit at the byte behind in[at]: first what still fits, on the next call
 * the fold. */
static slice wrap(struct smtp_body *b, slice *in, size_t at)
{
	size_t fits = SMTP_TEXT_LINE_MAX - MIN(b->out_line_bytes, (uint32_t)SMTP_TEXT_LINE_MAX);

	if (at + fits) {
		line_grows(b, fits);
		return take_run(b, in, at + fits);
	}
	b->out_line_bytes = 1;
	return SLICE("\r\n ");
}

/* long: one scan over the lines of the input, whose branches share where it stands */
static slice take_text(struct smtp_body *b, slice *in)
{
	const char *begin = in->ptr, *end = begin + in->len, *p = begin;
	slice piece;

	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		const char *stop = lf ? lf : end;
		const char *cr = memchr(p, '\r', (size_t)(stop - p));
		size_t n = (size_t)((cr ? cr : stop) - p);

		if (b->options & SMTP_BODY_WRAP && b->out_line_bytes + n > SMTP_TEXT_LINE_MAX)
			return wrap(b, in, (size_t)(p - begin));
		line_grows(b, n);
		p += n;
		if (cr && cr + 1 == lf) {
			p = lf + 1;
			line_ends(b);
			if (p == end || (*p == '.' && b->options & SMTP_BODY_DOTS)) {
				b->state = AT_START;
				break;
			}
		} else if (cr) {
			/* Bare, or the last byte we have: the next call knows. */
			piece = take_run(b, in, (size_t)(p - begin));
			*in = slice_skip(*in, 1);
			b->state = CR_HELD;
			return piece;
		} else if (lf) {
			if (p == begin)
				return bare_lf(b, in);
			break;
		}
	}
	return take_run(b, in, (size_t)(p - begin));
}

enum step smtp_body_take(struct smtp_body *b, slice *in, slice *piece)
{
	enum step step = STEP_MORE;

	*piece = (slice){ 0 };
	if (b->options & SMTP_BODY_OPAQUE) {
		*piece = *in;
		*in = slice_skip(*in, in->len);
		b->size_bytes += piece->len;
		return STEP_MORE;
	}
	while (in->len && b->state != IN_TEXT)
		if (resolve(b, in, piece, &step))
			break;
	if (in->len && !piece->len && step == STEP_MORE)
		*piece = take_text(b, in);
	b->size_bytes += piece->len;
	return step;
}

slice smtp_body_end(struct smtp_body *b)
{
	slice piece = { 0 };

	if (b->state == CR_HELD)
		piece = bare_cr(b);
	b->size_bytes += piece.len;
	return piece;
}

enum { STUFF_START, STUFF_TEXT, STUFF_CR };

slice smtp_stuff_take(struct smtp_stuff *s, slice *in)
{
	const char *begin = in->ptr, *end = begin + in->len, *p = begin;
	slice piece;

	if (!in->len)
		return *in;
	if (s->state == STUFF_START && *p == '.') {
		s->state = STUFF_TEXT;
		*in = slice_skip(*in, 1);
		return SLICE("..");
	}
	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));

		if (!lf) {
			s->state = end[-1] == '\r' ? STUFF_CR : STUFF_TEXT;
			p = end;
			break;
		}
		bool line = lf > begin ? lf[-1] == '\r' : s->state == STUFF_CR;

		p = lf + 1;
		s->state = line ? STUFF_START : STUFF_TEXT;
		if (line && p < end && *p == '.')
			break;
	}
	piece = slice_of(begin, (size_t)(p - begin));
	*in = slice_skip(*in, piece.len);
	return piece;
}

slice smtp_stuff_end(const struct smtp_stuff *s)
{
	return s->state == STUFF_START ? SLICE(".\r\n") : SLICE("\r\n.\r\n");
}
