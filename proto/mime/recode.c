/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The second pass trusts the notes of the first: what a part holds is known only at its end, but its
 * header, which names the encoding, must leave first. A body that is quoted-printable or base64 by
 * name and 8-bit in fact is decoded and encoded again. Preamble, epilogue and what stands behind a
 * boundary in its line are for nobody's eyes: there, bytes that cannot pass are replaced, by one that
 * no boundary holds (RFC 2046 5.1.1). Dropping one could make "--b-" CR "-" the end of a multipart. */
#include "proto/mime/recode.h"

#include "core/base/text.h"
#include "proto/mime/edit.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { LINE_MAX_BYTES = 998, RAW_LINE_MAX = 990, CHUNK = 1024, INSTEAD = '*' };

/* First note: what the body holds. Second: sealed or not. */
enum { HAS_8BIT = 1, HAS_BINARY = 2, HAS_NUL = 4, NOT_UTF8 = 8 };

/* Scan ---------------------------------------------------------------------------------------- */

void recode_scan_init(struct recode_scan *s, const struct part_limits *limits)
{
	*s = (struct recode_scan){ 0 };
	part_init(&s->walker, limits);
	s->notes = out_heap((size_t)2 * s->walker.limits.count_max);
}

void recode_scan_done(struct recode_scan *s)
{
	part_done(&s->walker);
	out_heap_done(&s->notes);
}

/* Parts whose bytes somebody signed, or whose form is somebody else's business (RFC 1847, 8551). */
static bool seals(const struct ctype *t)
{
	return ctype_is(t, "multipart", "signed") || ctype_is(t, "multipart", "encrypted") ||
		ctype_is(t, "application", "pkcs7-mime") ||
		ctype_is(t, "application", "x-pkcs7-mime");
}

static unsigned char *notes_of(const struct recode_scan *s, const struct part *part)
{
	return (unsigned char *)s->notes.buf + (size_t)2 * part->number;
}

/* Bytes in a boundary that are not as they were, or not told from what was replaced, in its line. */
static bool is_odd(slice boundary)
{
	for (size_t i = 0; i < boundary.len; i++)
		if (boundary.ptr[i] == INSTEAD || (unsigned char)boundary.ptr[i] < ' ')
			return true;
	return false;
}

static void scan_header(struct recode_scan *s, slice block)
{
	const struct part *part = &s->walker.part;
	struct header_facts facts = header_facts_of(block);
	slice boundary;

	if (!s->sealed_depth && seals(&part->type))
		s->sealed_depth = part->depth + 1;
	if (facts.eight_bit && part->number == 0)
		s->facts.header_8bit = true;
	else if (facts.eight_bit)
		s->facts.nested_8bit = true;
	s->facts.long_header |= facts.line_max > LINE_MAX_BYTES;
	s->facts.binary |= part->encoding == PART_BINARY && !s->sealed_depth;
	if (ctype_param(&part->type, "boundary", &boundary)) {
		s->facts.stuck |= !text_is_ascii(boundary);
		s->odd_boundary |= is_odd(boundary);
	}
	out_u8(&s->notes, 0);
	out_u8(&s->notes, s->sealed_depth > 0);
	s->line = s->tail = 0;
	s->cr = false;
}

/* Lead bytes say how many follow; finer rules of UTF-8 do not matter for guessing a charset. */
static unsigned char look_at_8bit(struct recode_scan *s, unsigned char c)
{
	bool follows = c < 0xc0;

	if (follows != (s->tail > 0))
		return HAS_8BIT | NOT_UTF8;
	if (follows)
		s->tail--;
	else
		s->tail = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	return HAS_8BIT;
}

/* How many bytes at the front are neither NUL, CR, LF, some other controls, nor 8-bit. */
static size_t plain_len(slice in)
{
	size_t len = 0;

#if defined(__SSE2__)
	for (; in.len - len >= 16; len += 16) {
		__m128i block = _mm_loadu_si128((const __m128i *)(const void *)(in.ptr + len));
		/* A signed comparison: 8-bit bytes are negative. */
		unsigned odd =
			(unsigned)_mm_movemask_epi8(_mm_cmplt_epi8(block, _mm_set1_epi8(14)));

		if (odd)
			return len + (size_t)__builtin_ctz(odd);
	}
#endif
	while (len < in.len && (unsigned char)in.ptr[len] - 14u < 128u - 14u)
		len++;
	return len;
}

static unsigned char look_at_byte(struct recode_scan *s, unsigned char c)
{
	unsigned char bits = 0;

	if (c >= 0x80)
		bits |= look_at_8bit(s, c);
	else if (s->tail)
		bits |= NOT_UTF8;
	if (c < 0x80)
		s->tail = 0;
	if (c == 0)
		bits |= HAS_NUL | HAS_BINARY;
	/* CR and LF come in pairs or make the body binary (RFC 3030 3). */
	if (s->cr != (c == '\n'))
		bits |= HAS_BINARY;
	s->cr = c == '\r';
	s->line = c == '\n' ? 0 : s->line + (c != '\r');
	return bits;
}

static unsigned char look_at(struct recode_scan *s, slice piece)
{
	unsigned char bits = 0;

	while (piece.len) {
		size_t plain = plain_len(piece);

		/* The first byte of a run may break what came before it, the others break nothing. */
		bits |= look_at_byte(s, (unsigned char)piece.ptr[0]);
		s->line += plain > 1 ? plain - 1 : 0;
		if (s->line > LINE_MAX_BYTES)
			bits |= HAS_BINARY;
		piece = slice_skip(piece, MAX(plain, (size_t)1));
	}
	return bits;
}

static void note(struct recode_scan *s, unsigned char bits)
{
	const struct part *part = &s->walker.part;
	unsigned char *notes = notes_of(s, part);
	bool sealed = notes[1], eight_bit = bits & HAS_8BIT, binary = bits & HAS_BINARY;

	notes[0] |= bits;
	s->facts.body_8bit |= eight_bit;
	s->facts.binary |= binary;
	s->facts.sealed_8bit |= sealed && eight_bit;
	s->facts.sealed_binary |= sealed && binary;
	s->facts.stuck |= !sealed && (eight_bit || binary) && part->kind == PART_LEAF &&
		part->encoding == PART_UNKNOWN_ENCODING;
	s->odd_raw |= !sealed && (eight_bit || binary) && part->kind != PART_LEAF;
}

static void scan_end_of_part(struct recode_scan *s)
{
	const struct part *part = &s->walker.part;

	if (s->cr)
		note(s, HAS_BINARY);
	if (s->tail)
		note(s, NOT_UTF8);
	s->line = s->tail = 0;
	s->cr = false;
	if (s->sealed_depth == part->depth + 1)
		s->sealed_depth = 0;
}

static void scan(struct recode_scan *s, slice piece, bool last)
{
	slice bytes;

	for (;;) {
		switch (part_next(&s->walker, &piece, last, &bytes)) {
		case PART_HEADER:
			scan_header(s, bytes);
			break;
		case PART_BODY:
		case PART_RAW:
			note(s, look_at(s, bytes));
			break;
		case PART_END:
			scan_end_of_part(s);
			break;
		case PART_LONG: /* not with these limits */
		case PART_LIMIT:
			s->facts.limited = true;
			return;
		case PART_MORE:
		case PART_DONE:
			s->facts.limited |= s->walker.limited || !out_ok(&s->notes);
			s->facts.parts = s->walker.count;
			return;
		}
	}
}

void recode_scan_add(struct recode_scan *s, slice piece)
{
	scan(s, piece, false);
}

void recode_scan_end(struct recode_scan *s)
{
	scan(s, (slice){ 0 }, true);
	s->facts.stuck |= s->odd_boundary && s->odd_raw;
}

enum recode_plan recode_plan_for(const struct recode_facts *f, struct recode_hop hop)
{
	bool narrow = f->body_8bit && !hop.eight_bit, binary = f->binary && !hop.binary;

	if ((f->header_8bit || f->nested_8bit) && !hop.smtputf8)
		return RECODE_BOUNCE_UTF8;
	/* What lies behind the limits was not understood: it may be 8-bit as it stands, no more. */
	if (!narrow && !binary)
		return RECODE_AS_IS;
	if (f->limited || f->stuck || (narrow && f->sealed_8bit) || (binary && f->sealed_binary))
		return RECODE_BOUNCE_BODY;
	return RECODE_CONVERT;
}

/* Run ----------------------------------------------------------------------------------------- */

enum { COPY, TO_QP, TO_B64, QP_AGAIN, B64_AGAIN };

void recode_run_init(struct recode_run *r, const struct recode_scan *scan, struct recode_hop hop)
{
	*r = (struct recode_run){ .scan = scan, .hop = hop };
	part_init(&r->walker, &scan->walker.limits);
}

void recode_run_done(struct recode_run *r)
{
	part_done(&r->walker);
}

static unsigned char action_for(const struct recode_run *r, const struct part *part)
{
	const unsigned char *notes = notes_of(r->scan, part);
	bool narrow = (notes[0] & HAS_8BIT) && !r->hop.eight_bit;
	bool binary = (notes[0] & HAS_BINARY) && !r->hop.binary;

	if (part->kind != PART_LEAF || notes[1] || (!narrow && !binary))
		return COPY;
	if (part->encoding == PART_QP)
		return QP_AGAIN;
	if (part->encoding == PART_BASE64)
		return B64_AGAIN;
	return slice_eq_nocase(part->type.type, SLICE("text")) && !(notes[0] & HAS_NUL) ? TO_QP :
											  TO_B64;
}

/* The encoding this part's header must name; NULL: what stands there may stay. */
static const char *new_label(const struct recode_run *r, const struct part *part)
{
	if (notes_of(r->scan, part)[1] || r->action == QP_AGAIN || r->action == B64_AGAIN)
		return NULL;
	if (r->action != COPY)
		return r->action == TO_QP ? "quoted-printable" : "base64";
	if (part->encoding == PART_BINARY && !r->hop.binary)
		return r->hop.eight_bit ? "8bit" : "7bit";
	return part->encoding == PART_8BIT && !r->hop.eight_bit ? "7bit" : NULL;
}

static void put_header(struct recode_run *r, slice block, struct out *o)
{
	const struct part *part = &r->walker.part;
	bool utf8 = !(notes_of(r->scan, part)[0] & NOT_UTF8);
	struct arena arena = { 0 };
	struct edit edit = { .arena = &arena };
	const char *label;

	r->action = action_for(r, part);
	label = new_label(r, part);
	if (!label) {
		out_slice(o, block);
		return;
	}
	edit_remove(&edit, SLICE("Content-Transfer-Encoding"));
	if (part->root && header_count(block, SLICE("MIME-Version")) == 0)
		edit_append(&edit, SLICE("MIME-Version: 1.0\r\n"));
	/* 8-bit text without a word about its charset (RFC 1428 3). */
	if (r->action != COPY && header_count(block, SLICE("Content-Type")) == 0)
		edit_append(&edit,
			utf8 ? SLICE("Content-Type: text/plain; charset=utf-8\r\n") :
			       SLICE("Content-Type: text/plain; charset=unknown-8bit\r\n"));
	edit_append(&edit, arena_printf(&arena, "Content-Transfer-Encoding: %s\r\n", label));
	edit_apply(&edit, block, o);
	arena_done(&arena);
}

/* Decode and encode again in bounded steps. */
static void put_again(struct recode_run *r, slice piece, struct out *o)
{
	char buf[CHUNK * 2];

	while (piece.len) {
		struct out plain = out_fixed(buf, sizeof(buf));
		slice step = slice_sub(piece, 0, CHUNK);

		if (r->action == QP_AGAIN) {
			qp_decode(&r->qp_in, step, &plain);
			qp_encode(&r->qp, out_written(&plain), o);
		} else {
			b64_decode(&r->b64_in, step, &plain);
			b64_encode(&r->b64, out_written(&plain), o);
		}
		piece = slice_skip(piece, step.len);
	}
}

static void put_body(struct recode_run *r, slice piece, struct out *o)
{
	switch (r->action) {
	case COPY:
		out_slice(o, piece);
		break;
	case TO_QP:
		qp_encode(&r->qp, piece, o);
		break;
	case TO_B64:
		b64_encode(&r->b64, piece, o);
		break;
	default:
		put_again(r, piece, o);
		break;
	}
}

static void put_raw_char(struct recode_run *r, char c, struct out *o)
{
	if (++r->line <= RAW_LINE_MAX)
		out_char(o, c);
}

/* A CR that no LF followed. */
static void put_bare_cr(struct recode_run *r, struct out *o)
{
	if (r->cr)
		put_raw_char(r, INSTEAD, o);
	r->cr = false;
}

static void end_body(struct recode_run *r, struct out *o)
{
	char buf[8];
	struct out plain = out_fixed(buf, sizeof(buf));

	if (r->action == QP_AGAIN) {
		qp_decode_end(&r->qp_in, &plain);
		qp_encode(&r->qp, out_written(&plain), o);
	}
	if (r->action == TO_QP || r->action == QP_AGAIN)
		qp_encode_end(&r->qp, o);
	if (r->action == TO_B64 || r->action == B64_AGAIN)
		b64_encode_end(&r->b64, o);
	put_bare_cr(r, o);
	r->action = COPY;
	r->qp_in = (struct qp_decoder){ 0 };
	r->b64_in = (struct b64_decoder){ 0 };
	r->line = 0;
}

/* One byte outside of any part, made fit for the hop. */
static void put_raw_byte(struct recode_run *r, char c, struct out *o)
{
	if (c == '\n') {
		out_str(o, "\r\n");
		r->line = 0;
		r->cr = false;
		return;
	}
	put_bare_cr(r, o);
	r->cr = c == '\r';
	if (!r->cr) {
		bool bad = c == 0 || ((unsigned char)c > 127 && !r->hop.eight_bit);

		put_raw_char(r, bad ? INSTEAD : c, o);
	}
}

static void put_raw(struct recode_run *r, slice piece, struct out *o)
{
	const unsigned char *notes = notes_of(r->scan, &r->walker.part);

	if (notes[1] || !(notes[0] & (HAS_8BIT | HAS_BINARY))) {
		out_slice(o, piece);
		return;
	}
	for (size_t i = 0; i < piece.len; i++)
		put_raw_byte(r, piece.ptr[i], o);
}

static enum err run(struct recode_run *r, slice piece, bool last, struct out *o)
{
	slice bytes;

	for (;;) {
		enum part_event event = part_next(&r->walker, &piece, last, &bytes);

		if (event == PART_MORE)
			return OK;
		if (event == PART_DONE)
			return r->walker.count == r->scan->facts.parts ? OK : ERR_INVALID;
		if (event == PART_LIMIT || r->scan->notes.len < (size_t)2 * r->walker.count)
			return ERR_INVALID;
		if (event == PART_HEADER)
			put_header(r, bytes, o);
		else if (event == PART_BODY)
			put_body(r, bytes, o);
		else if (event == PART_RAW)
			put_raw(r, bytes, o);
		else
			end_body(r, o);
	}
}

enum err recode_run_add(struct recode_run *r, slice piece, struct out *o)
{
	return run(r, piece, false, o);
}

enum err recode_run_end(struct recode_run *r, struct out *o)
{
	return run(r, (slice){ 0 }, true, o);
}
