/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stack of open parts and one machine that looks at line starts.
 *
 * A boundary line belongs to its multipart together with the line end before it (RFC 2046 5.1.1), so
 * at every line end that a '-' may follow the machine holds back: the line end and, of a line that
 * begins with two hyphens, as much as the longest boundary of an open multipart may have. The longest
 * boundary that fits wins, the inner one among equals. Headers are collected whole; their lines may
 * be boundaries too. */
#include "proto/mime/part.h"

#include <stdlib.h>

enum { IN_HEADER, IN_LONG, IN_LONG_LINE, IN_BODY, IN_TAIL, POPPING, ENDING, OVER, FAILED };
enum {
	/* Of a line over the limit so much is looked at: names and boundaries are shorter. */
	LINE_SEEN = 1000,
	HEADER_KEPT = 4096, /* so much of a header's memory stays for the next one */
	TYPE_BYTES = 512,   /* chunks for the parameters of a type */
};

struct part_frame {
	struct part part;
	unsigned children;
	bool digest; /* children are message/rfc822 by default (RFC 2046 5.1.5) */
	bool closed; /* the last boundary was seen: what follows is epilogue */
	size_t boundary_len;
	char boundary[PART_BOUNDARY_MAX];
};

static struct part_frame *top(struct part_walker *w)
{
	return &w->frames[w->open - 1];
}

static void find_longest(struct part_walker *w)
{
	w->longest = 0;
	for (unsigned i = 0; i < w->open; i++)
		if (!w->frames[i].closed)
			w->longest = MAX(w->longest, w->frames[i].boundary_len);
}

/* Most messages are flat: there is room for a few open parts first. */
static void grow_frames(struct part_walker *w)
{
	unsigned more = MIN(w->limits.depth_max, MAX(w->open_max * 2, 4u));
	struct part_frame *frames = realloc(w->frames, more * sizeof(*frames));

	must(frames);
	w->frames = frames;
	w->open_max = more;
}

/* A part begins; its header comes next. */
static void push(struct part_walker *w)
{
	if (w->open == w->open_max)
		grow_frames(w);
	struct part_frame *frame = &w->frames[w->open];

	*frame = (struct part_frame){ .part = { .number = w->count, .depth = w->open } };
	frame->part.index = w->open ? ++top(w)->children : 1;
	frame->part.root = w->open == 0 || top(w)->part.kind == PART_MESSAGE;
	w->open++;
	w->count++;
	w->state = IN_HEADER;
	w->fresh = true;
}

/* The limit is looked at before anything is put. */
static struct out header_room(const struct part_walker *w)
{
	return out_heap(w->limits.header_max + LINE_SEEN);
}

void part_init(struct part_walker *w, const struct part_limits *limits)
{
	*w = (struct part_walker){ .limits = *limits, .arena = { .chunk_bytes = TYPE_BYTES } };
	if (!w->limits.header_max)
		w->limits.header_max = HEADER_MAX_DEFAULT;
	if (!w->limits.depth_max)
		w->limits.depth_max = PART_DEPTH_DEFAULT;
	if (!w->limits.count_max)
		w->limits.count_max = PART_COUNT_DEFAULT;
	w->header = header_room(w);
	push(w);
}

size_t part_memory(const struct part_walker *w)
{
	return w->open_max * sizeof(*w->frames) + w->header.cap + w->arena.used_bytes;
}

void part_done(struct part_walker *w)
{
	free(w->frames);
	out_heap_done(&w->header);
	arena_done(&w->arena);
	*w = (struct part_walker){ .state = FAILED };
}

enum part_encoding part_encoding_of(slice value)
{
	static const struct {
		slice name;
		enum part_encoding encoding;
	} rows[] = {
		{ SLICE_INIT("7bit"), PART_7BIT },
		{ SLICE_INIT("8bit"), PART_8BIT },
		{ SLICE_INIT("binary"), PART_BINARY },
		{ SLICE_INIT("quoted-printable"), PART_QP },
		{ SLICE_INIT("base64"), PART_BASE64 },
	};
	size_t end = 0;

	while (value.len && strchr(" \t\r\n", value.ptr[0]) && value.ptr[0])
		value = slice_skip(value, 1);
	while (end < value.len && value.ptr[end] && !strchr(" \t\r\n;(", value.ptr[end]))
		end++;
	for (size_t i = 0; i < array_len(rows); i++)
		if (slice_eq_nocase(slice_sub(value, 0, end), rows[i].name))
			return rows[i].encoding;
	return end ? PART_UNKNOWN_ENCODING : PART_7BIT;
}

/* Boundaries ---------------------------------------------------------------------------------- */

/* The frame whose boundary begins this line, the longest one; -1: none. */
static int find_boundary(const struct part_walker *w, slice line)
{
	size_t best = 0;
	int found = -1;

	if (!slice_starts(line, SLICE("--")))
		return -1;
	for (unsigned i = 0; i < w->open; i++) {
		const struct part_frame *frame = &w->frames[i];
		slice boundary = slice_of(frame->boundary, frame->boundary_len);

		if (frame->closed || boundary.len == 0 || boundary.len < best ||
			boundary.len + 2 > line.len ||
			memcmp(line.ptr + 2, boundary.ptr, boundary.len) != 0)
			continue;
		best = boundary.len;
		found = (int)i;
	}
	return found;
}

/* The held line is a boundary of that frame: the parts above it end. */
static void begin_boundary(struct part_walker *w, int at)
{
	const struct part_frame *frame = &w->frames[at];
	slice line = slice_of(w->held + w->held_eol, w->held_len - w->held_eol);

	w->begins_part = !slice_starts(slice_skip(line, 2 + frame->boundary_len), SLICE("--"));
	w->pop_to = (unsigned)at + 1;
	w->state = POPPING;
}

/* Header -------------------------------------------------------------------------------------- */

/* The first of each, in one pass: most headers have other things to say. */
static void find_fields(slice block, slice *type, slice *encoding)
{
	struct header_field field;

	while (header_next(&block, &field) && !(type->ptr && encoding->ptr)) {
		if (!type->ptr && slice_eq_nocase(field.name, SLICE("Content-Type")))
			*type = field.value;
		else if (!encoding->ptr &&
			slice_eq_nocase(field.name, SLICE("Content-Transfer-Encoding")))
			*encoding = field.value;
	}
}

static void read_type(struct part_walker *w, slice block, struct part *part)
{
	bool digest = w->open > 1 && w->frames[w->open - 2].digest;
	slice type = { 0 }, encoding = { 0 };

	arena_reset(&w->arena);
	part->type = (struct ctype){ .type = SLICE("text"), .subtype = SLICE("plain") };
	find_fields(header_skip_stray(block), &type, &encoding);
	if (type.ptr)
		part->has_type = ctype_parse(type, &w->arena, &part->type);
	else if (digest)
		part->type = (struct ctype){ .type = SLICE("message"), .subtype = SLICE("rfc822") };
	if (encoding.ptr)
		part->encoding = part_encoding_of(encoding);
}

/* What may have parts inside, and may be looked into within the limits. */
static void read_kind(struct part_walker *w, struct part_frame *frame)
{
	struct part *part = &frame->part;
	slice boundary = { 0 };
	bool multipart = slice_eq_nocase(part->type.type, SLICE("multipart")) &&
		ctype_param(&part->type, "boundary", &boundary);
	bool message = ctype_is(&part->type, "message", "rfc822") && !part->implied;

	while (boundary.len && boundary.ptr[boundary.len - 1] == ' ')
		boundary.len--;
	/* RFC 2045 6.4: neither may be encoded; one that is cannot be looked into. */
	if (part->encoding > PART_BINARY || (!message && boundary.len == 0) ||
		(!message && !multipart))
		return;
	if (w->open == w->limits.depth_max || w->count == w->limits.count_max ||
		boundary.len > PART_BOUNDARY_MAX) {
		w->limited = true;
		return;
	}
	part->kind = message ? PART_MESSAGE : PART_MULTIPART;
	if (multipart) {
		memcpy(frame->boundary, boundary.ptr, boundary.len);
		frame->boundary_len = boundary.len;
		frame->digest = ctype_is(&part->type, "multipart", "digest");
		find_longest(w);
	}
}

/* The first `len` bytes collected are the header; what is behind them is taken again. */
static enum part_event end_header(struct part_walker *w, size_t len, bool implied, slice *bytes)
{
	struct part_frame *frame = top(w);
	slice block = slice_of(w->header.buf, len);

	frame->part.implied = implied;
	w->replay = slice_skip(out_written(&w->header), len);
	read_type(w, block, &frame->part);
	read_kind(w, frame);
	w->part = frame->part;
	w->state = IN_BODY;
	w->line_start = true;
	w->held_len = w->held_eol = 0;
	if (frame->part.kind == PART_MESSAGE)
		push(w);
	*bytes = block;
	return PART_HEADER;
}

/* A whole line stands at w->line_at: does the header go on behind it? */
static bool judge_line(struct part_walker *w, enum part_event *out, slice *bytes)
{
	slice line = slice_skip(out_written(&w->header), w->line_at);
	bool blank = slice_eq(line, SLICE("\r\n")) || slice_eq(line, SLICE("\n"));
	bool folded = w->line_at > w->stray && (line.ptr[0] == ' ' || line.ptr[0] == '\t');

	if (w->limits.stray && w->count == 1 && w->line_at == 0 && header_is_stray(line)) {
		w->line_at = w->stray = w->header.len;
		return false;
	}
	if (!blank && find_boundary(w, line) < 0 && (folded || header_line_is_field(line))) {
		w->line_at = w->header.len;
		return false;
	}
	/* No field follows: the stray line was text. */
	if (w->stray && w->line_at == w->stray) {
		w->line_at = 0;
		blank = false;
	}
	*out = end_header(w, blank ? w->header.len : w->line_at, !blank, bytes);
	return true;
}

/* A line over the limit, or its begin, stands at w->line_at. */
static bool judge_long(struct part_walker *w, enum part_event *out, slice *bytes)
{
	slice line = slice_skip(out_written(&w->header), w->line_at);
	bool whole = line.ptr[line.len - 1] == '\n';
	slice seen = slice_sub(line, 0, LINE_SEEN);
	bool blank = slice_eq(line, SLICE("\r\n")) || slice_eq(line, SLICE("\n"));
	bool folded =
		(w->passed || w->line_at > w->stray) && (line.ptr[0] == ' ' || line.ptr[0] == '\t');

	if (blank || find_boundary(w, seen) >= 0 || !(folded || header_line_is_field(seen))) {
		if (w->stray && w->line_at == w->stray && !w->passed) {
			w->line_at = 0; /* no field follows: the stray line was text */
			blank = false;
		}
		*out = end_header(w, blank ? w->header.len : w->line_at, !blank, bytes);
		return true;
	}
	w->state = whole ? IN_LONG : IN_LONG_LINE;
	w->passed = true;
	w->header.len = w->line_at;
	*bytes = line;
	*out = PART_LONG;
	return true;
}

/* A header over the limit: what it had until then is kept, the lines behind it are looked at one by one. */
static bool step_long(struct part_walker *w, slice *in, bool end, enum part_event *out,
	slice *bytes)
{
	size_t have = w->header.len - w->line_at;
	slice piece = slice_sub(*in, 0, have < LINE_SEEN ? LINE_SEEN - have : 0);
	ptrdiff_t lf = slice_find(piece, '\n');

	if (lf >= 0)
		piece.len = (size_t)lf + 1;
	if (piece.len) {
		out_slice(&w->header, piece);
		*in = slice_skip(*in, piece.len);
		have += piece.len;
	}
	if (lf >= 0 || have >= LINE_SEEN || (end && have))
		return judge_long(w, out, bytes);
	if (!end)
		return false;
	*out = end_header(w, w->header.len, true, bytes);
	return true;
}

/* The rest of such a line. */
static bool step_long_line(struct part_walker *w, slice *in, bool end, enum part_event *out,
	slice *bytes)
{
	ptrdiff_t lf = slice_find(*in, '\n');

	if (end || lf >= 0)
		w->state = IN_LONG;
	*bytes = slice_sub(*in, 0, lf < 0 ? in->len : (size_t)lf + 1);
	*in = slice_skip(*in, bytes->len);
	*out = PART_LONG;
	return bytes->len > 0;
}

static bool step_header(struct part_walker *w, slice *in, bool end, enum part_event *out,
	slice *bytes)
{
	ptrdiff_t lf = slice_find(*in, '\n');
	slice piece = slice_sub(*in, 0, lf < 0 ? in->len : (size_t)lf + 1);

	if (w->fresh) {
		w->header.len = w->line_at = w->stray = 0;
		w->fresh = w->passed = false;
	}
	if (end) {
		if (w->header.len > w->line_at && judge_line(w, out, bytes))
			return true;
		/* All of it is header, but for a stray line alone. */
		*out = end_header(w, w->header.len > w->stray ? w->header.len : 0, true, bytes);
		return true;
	}
	if (w->limits.long_headers && piece.len > w->limits.header_max - w->header.len) {
		w->state = IN_LONG;
		return step_long(w, in, end, out, bytes);
	}
	*in = slice_skip(*in, piece.len);
	if (piece.len <= w->limits.header_max - w->header.len)
		out_slice(&w->header, piece);
	else
		w->header.overflow = true;
	if (!out_ok(&w->header)) {
		w->state = FAILED;
		*bytes = slice_of(w->header.buf, w->line_at);
		*out = PART_LIMIT;
		return true;
	}
	return lf >= 0 && judge_line(w, out, bytes);
}

/* Body ---------------------------------------------------------------------------------------- */

static bool emit(struct part_walker *w, slice piece, enum part_event *out, slice *bytes)
{
	w->part = top(w)->part;
	*out = w->part.kind == PART_LEAF ? PART_BODY : PART_RAW;
	*bytes = piece;
	return piece.len > 0;
}

/* What was held is body after all. */
static bool emit_held(struct part_walker *w, enum part_event *out, slice *bytes)
{
	slice held = slice_of(w->held, w->held_len);

	w->held_len = w->held_eol = 0;
	w->line_start = false;
	return emit(w, held, out, bytes);
}

/* How much of the piece is body for certain; the line end behind it may belong to a boundary. */
static size_t certain_len(slice in)
{
	const char *end = in.ptr + in.len, *lf = in.ptr;

	while ((lf = memchr(lf, '\n', (size_t)(end - lf)))) {
		if (lf + 1 == end || lf[1] == '-')
			return (size_t)(lf - in.ptr) - (lf > in.ptr && lf[-1] == '\r');
		lf++;
	}
	return in.len - (end[-1] == '\r');
}

/* Hold the CR and LF that may belong to a boundary line. */
static bool hold_line_end(struct part_walker *w, slice *in, enum part_event *out, slice *bytes)
{
	char c = in->ptr[0];

	if (w->held_len && c != '\n')
		return emit_held(w, out, bytes);
	w->held[w->held_len++] = c;
	*in = slice_skip(*in, 1);
	w->line_start = c == '\n';
	w->held_eol = w->held_len;
	return false;
}

/* A line that begins with two hyphens is held until it ends (no boundary holds a CR), or is longer
 * than any boundary: then it is compared, once, so that lines made to look like boundaries cost
 * little. */
static bool hold_line(struct part_walker *w, slice *in, bool end, enum part_event *out,
	slice *bytes)
{
	size_t len = w->held_len - w->held_eol, room = len < 2 ? 1 : w->longest + 4 - len;
	slice piece = slice_sub(*in, 0, room);
	size_t line = 0;

	while (line < piece.len && piece.ptr[line] != '\r' && piece.ptr[line] != '\n')
		line++;
	end |= line < piece.len;
	piece.len = line;
	if (len < 2 && !slice_eq(piece, SLICE("-")))
		return emit_held(w, out, bytes);
	if (piece.len)
		memcpy(w->held + w->held_len, piece.ptr, piece.len);
	w->held_len += piece.len;
	*in = slice_skip(*in, piece.len);
	len += piece.len;
	if (!end && len < w->longest + 4)
		return false;
	int at = find_boundary(w, slice_of(w->held + w->held_eol, len));

	if (at < 0)
		return emit_held(w, out, bytes);
	begin_boundary(w, at);
	return false;
}

static bool step_body(struct part_walker *w, slice *in, bool end, enum part_event *out,
	slice *bytes)
{
	size_t len;

	if (w->longest && w->line_start)
		return hold_line(w, in, end, out, bytes);
	if (end) {
		w->state = ENDING;
		return emit_held(w, out, bytes);
	}
	len = w->longest ? certain_len(*in) : in->len;
	if (w->longest && (w->held_len || len == 0))
		return hold_line_end(w, in, out, bytes);
	slice piece = slice_sub(*in, 0, len);

	*in = slice_skip(*in, len);
	return emit(w, piece, out, bytes);
}

/* The rest of a boundary line, then what it announced. */
static bool step_tail(struct part_walker *w, slice *in, bool end, enum part_event *out,
	slice *bytes)
{
	ptrdiff_t lf = slice_find(*in, '\n');
	slice piece = slice_sub(*in, 0, lf < 0 ? in->len : (size_t)lf + 1);

	if (!w->begins_part) {
		/* The epilogue begins at once: the line end may belong to an outer boundary. */
		top(w)->closed = true;
		find_longest(w);
		w->state = IN_BODY;
		w->line_start = false;
		return false;
	}
	*in = slice_skip(*in, piece.len);
	emit(w, piece, out, bytes);
	if (lf < 0 && !end)
		return true;
	w->state = end ? ENDING : IN_BODY;
	w->line_start = true;
	if (w->count >= w->limits.count_max || w->open >= w->limits.depth_max)
		w->limited = true;
	else if (!end)
		push(w);
	return piece.len > 0;
}

static enum part_event pop(struct part_walker *w)
{
	w->part = top(w)->part;
	w->open--;
	find_longest(w);
	return PART_END;
}

/* Steps that need no byte. */
static bool step_pop(struct part_walker *w, enum part_event *out, slice *bytes)
{
	if (w->open > w->pop_to) {
		*out = pop(w);
		return true;
	}
	w->state = IN_TAIL;
	return emit_held(w, out, bytes);
}

static bool step_end(struct part_walker *w, enum part_event *out)
{
	*out = PART_DONE;
	if (w->open)
		*out = pop(w);
	else
		w->state = OVER;
	return true;
}

static bool step(struct part_walker *w, slice *in, bool end, enum part_event *out, slice *bytes)
{
	switch (w->state) {
	case IN_HEADER:
		return step_header(w, in, end, out, bytes);
	case IN_LONG:
		return step_long(w, in, end, out, bytes);
	case IN_LONG_LINE:
		return step_long_line(w, in, end, out, bytes);
	case IN_BODY:
		return step_body(w, in, end, out, bytes);
	case IN_TAIL:
		return step_tail(w, in, end, out, bytes);
	case POPPING:
		return step_pop(w, out, bytes);
	case ENDING:
		return step_end(w, out);
	default:
		*out = w->state == OVER ? PART_DONE : PART_LIMIT;
		return true;
	}
}

/* What the last event named of it is not valid any more: a body may take long. */
static void forget_header(struct part_walker *w)
{
	arena_done(&w->arena);
	if (w->header.cap <= HEADER_KEPT)
		return;
	out_heap_done(&w->header);
	w->header = header_room(w);
}

enum part_event part_next(struct part_walker *w, slice *in, bool last, slice *bytes)
{
	enum part_event event;

	*bytes = (slice){ 0 };
	if (w->state == IN_BODY && w->header.cap && !w->replay.len)
		forget_header(w);
	for (;;) {
		slice *from = w->replay.len ? &w->replay : in;
		bool hungry = w->state <= IN_TAIL;

		if (hungry && from->len == 0 && !last)
			return PART_MORE;
		if (step(w, from, from->len == 0, &event, bytes))
			return event;
	}
}
