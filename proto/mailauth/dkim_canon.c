/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Canonical forms as a filter in front of the hash.
 *
 * Relaxed changes a byte only at a tab, at a second blank, or at a blank before a CR; next_dirty
 * finds these 64 bytes at a time, and everything between them goes on untouched. Behind that, both
 * forms share one stage, `emit`, which holds back a run of CRLFs because it may be the end of the
 * body. The run is only counted, so a body of nothing but line ends costs no memory. */
#include "proto/mailauth/dkim_canon.h"

#include "core/base/text.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

void dkim_body_init(struct dkim_body *b, enum dkim_canon canon)
{
	*b = (struct dkim_body){ .canon = canon, .room = UINT64_MAX };
	sha256_init(&b->hash);
}

void dkim_body_limit(struct dkim_body *b, uint64_t bytes)
{
	b->room = bytes;
}

/* The end of the line: bytes of the canonical form. */
static void hash(struct dkim_body *b, slice piece)
{
	slice counted = slice_sub(piece, 0, (size_t)MIN((uint64_t)piece.len, b->room));

	b->bytes += piece.len;
	if (counted.len == 0)
		return;
	b->room -= counted.len;
	sha256_add(&b->hash, counted);
	if (b->sink)
		b->sink(b->sink_arg, counted);
}

static void hash_held(struct dkim_body *b)
{
	static const char ends[] =
		"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";

	while (b->held) {
		size_t n = (size_t)MIN(b->held, (uint64_t)sizeof(ends) - 1);

		hash(b, slice_of(ends, n));
		b->held -= n;
	}
}

/* Length of the CRLFCRLF... at the end of the piece, a CR behind it included. */
static size_t trailing_ends(slice piece)
{
	size_t at = piece.len;

	if (at && piece.ptr[at - 1] == '\r')
		at--;
	while (at >= 2 && piece.ptr[at - 1] == '\n' && piece.ptr[at - 2] == '\r')
		at -= 2;
	return piece.len - at;
}

static void emit(struct dkim_body *b, slice piece)
{
	size_t more = 0;

	/* Does the held run go on? It alternates, and an odd length ends in CR. */
	if (b->held || (piece.len && piece.ptr[0] == '\r'))
		while (more < piece.len && piece.ptr[more] == ((b->held + more) & 1 ? '\n' : '\r'))
			more++;
	if (more == piece.len) {
		b->held += more;
		return;
	}
	hash_held(b);

	size_t tail = trailing_ends(piece);

	hash(b, slice_sub(piece, 0, piece.len - tail));
	b->held = tail;
}

/* Relaxed ------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Must this byte be looked at? The last byte of a piece cannot see its neighbour. */
static bool is_dirty(slice in, size_t at)
{
	if (in.ptr[at] == '\t')
		return true;
	if (in.ptr[at] != ' ')
		return false;
	return at + 1 == in.len || is_blank(in.ptr[at + 1]) || in.ptr[at + 1] == '\r';
}

#if defined(__SSE2__)
static uint64_t mask_of(const char *bytes, char c)
{
	__m128i want = _mm_set1_epi8(c);
	uint64_t mask = 0;

	for (int i = 0; i < 4; i++) {
		__m128i block = _mm_loadu_si128((const __m128i *)(const void *)(bytes + 16 * i));
		unsigned bits = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(block, want));

		mask |= (uint64_t)bits << (16 * i);
	}
	return mask;
}

/* First dirty byte among 64; 64: none. The top byte's neighbour is unknown here. */
static unsigned dirty_of_64(slice in, size_t at)
{
	uint64_t blank = mask_of(in.ptr + at, ' '), tab = mask_of(in.ptr + at, '\t');
	uint64_t cr = mask_of(in.ptr + at, '\r');
	uint64_t dirty = tab | (blank & ((blank | tab | cr) >> 1));

	if (blank >> 63 && is_dirty(in, at + 63))
		dirty |= (uint64_t)1 << 63;
	return dirty ? (unsigned)__builtin_ctzll(dirty) : 64;
}
#endif

static size_t next_dirty(slice in, size_t at)
{
#if defined(__SSE2__)
	for (; in.len - at >= 64; at += 64) {
		unsigned hit = dirty_of_64(in, at);

		if (hit < 64)
			return at + hit;
	}
#endif
	while (at < in.len && !is_dirty(in, at))
		at++;
	return at;
}

/* Blanks were seen; returns how much of the piece was needed to learn what they become. */
static size_t after_blanks(struct dkim_body *b, slice in, size_t at)
{
	while (!b->blank_cr && at < in.len && is_blank(in.ptr[at]))
		at++;
	if (at == in.len)
		return at;
	if (!b->blank_cr && in.ptr[at] == '\r') {
		b->blank_cr = true;
		if (++at == in.len)
			return at;
	}
	/* Before a line end they vanish, elsewhere they are one space. */
	if (!b->blank_cr)
		emit(b, SLICE(" "));
	else if (in.ptr[at] == '\n')
		emit(b, SLICE("\r"));
	else
		emit(b, SLICE(" \r"));
	b->blank = b->blank_cr = false;
	return at;
}

/* Blanks that end within the piece are settled without a state: the first one is their space, or they
 * vanish. Returns where to go on, or `at` when the slow way must decide. */
static size_t settle_blanks(struct dkim_body *b, slice in, size_t at, size_t dirty)
{
	size_t end = dirty;

	while (end < in.len && is_blank(in.ptr[end]))
		end++;
	if (end + 1 >= in.len)
		return at;
	if (in.ptr[end] == '\r' && in.ptr[end + 1] == '\n') {
		if (dirty > at)
			emit(b, slice_sub(in, at, dirty));
		return end;
	}
	if (in.ptr[end] == '\r' || in.ptr[dirty] == '\t')
		return at;
	emit(b, slice_sub(in, at, dirty + 1));
	return end;
}

static void add_relaxed(struct dkim_body *b, slice in)
{
	size_t at = 0;

	while (at < in.len) {
		if (b->blank) {
			at = after_blanks(b, in, at);
			continue;
		}
		size_t dirty = next_dirty(in, at);
		size_t next = dirty < in.len ? settle_blanks(b, in, at, dirty) : at;

		if (next > at) {
			at = next;
			continue;
		}
		if (dirty > at)
			emit(b, slice_sub(in, at, dirty));
		at = dirty;
		b->blank = at < in.len;
	}
}

void dkim_body_add(struct dkim_body *b, slice piece)
{
	if (b->canon == DKIM_RELAXED)
		add_relaxed(b, piece);
	else if (piece.len)
		emit(b, piece);
}

void dkim_body_end(struct dkim_body *b, unsigned char out[DKIM_HASH])
{
	if (b->blank_cr)
		emit(b, SLICE(" \r"));
	/* A lone CR is no line end: the run before it is inside the body after all. */
	if (b->held & 1)
		hash_held(b);
	/* RFC 6376 3.4.3: an empty body is one CRLF; 3.4.4: relaxed leaves it empty. */
	if (b->bytes || b->canon == DKIM_SIMPLE)
		hash(b, SLICE("\r\n"));
	sha256_end(&b->hash, out);
}

/* Header fields ------------------------------------------------------------------------------- */

static bool is_fold(char c)
{
	return is_blank(c) || c == '\r' || c == '\n';
}

/* RFC 6376 3.4.2: unfolded, runs of blanks one space, none at either end. */
static void relaxed_value(slice value, struct out *o)
{
	bool gap = false, begun = false;
	size_t at = 0;

	while (at < value.len) {
		size_t from = at;

		while (at < value.len && !is_fold(value.ptr[at]))
			at++;
		if (at > from) {
			if (gap && begun)
				out_char(o, ' ');
			out_slice(o, slice_sub(value, from, at));
			begun = true;
			gap = false;
		}
		/* A line end alone is removed; only the blanks behind it make the space. */
		for (; at < value.len && is_fold(value.ptr[at]); at++)
			gap |= is_blank(value.ptr[at]);
	}
}

static void lower_name(slice name, struct out *o)
{
	char text[64];

	while (name.len) {
		size_t len = MIN(name.len, sizeof(text));

		memcpy(text, name.ptr, len);
		text_lower_all(text, len);
		out_bytes(o, text, len);
		name = slice_skip(name, len);
	}
}

void dkim_canon_field(enum dkim_canon canon, slice field, bool bare, struct out *o)
{
	ptrdiff_t colon = slice_find(field, ':');

	if (field.len && field.ptr[field.len - 1] == '\n')
		field.len -= field.len > 1 && field.ptr[field.len - 2] == '\r' ? 2 : 1;
	if (canon == DKIM_SIMPLE || colon < 0) {
		out_slice(o, field);
	} else {
		slice name = slice_trim(slice_sub(field, 0, (size_t)colon));

		lower_name(name, o);
		out_char(o, ':');
		relaxed_value(slice_skip(field, (size_t)colon + 1), o);
	}
	if (!bare)
		out_str(o, "\r\n");
}

/* The hashing writer -------------------------------------------------------------------------- */

static bool hash_buffer(struct out *o, size_t want)
{
	struct dkim_hasher *h = o->owner;

	dkim_hasher_flush(h);
	return true;
}

void dkim_hasher_init(struct dkim_hasher *h)
{
	sha256_init(&h->hash);
	h->out = out_fixed(h->buf, sizeof(h->buf));
	h->out.more = hash_buffer;
	h->out.owner = h;
}

void dkim_hasher_flush(struct dkim_hasher *h)
{
	sha256_add(&h->hash, out_written(&h->out));
	h->out.len = 0;
}
