/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Three stages: the transfer encoding is undone piece by piece, markup and blanks are taken out of
 * what comes, and at the end of the part charset and character references become UTF-8. Where ASCII
 * bytes may be halves of characters, the second stage comes last. */
#include "proto/mime/preview.h"

#include "core/base/text.h"
#include "proto/mime/utf8.h"

enum { TEXT, OPENED, TAG_NAME, IN_TAG, IN_QUOTE, DECLARATION, COMMENT, COMMENT_END, RAW_TEXT };

/* Markup -------------------------------------------------------------------------------------- */

static void keep(struct preview_strip *s, char c, struct out *o)
{
	bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';

	if (!blank || (!s->blank && o->len))
		out_char(o, blank ? ' ' : c);
	s->blank = blank;
}

static bool name_is(const struct preview_strip *s, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count && s->name_len; i++)
		if (names[i][0] == s->name[0] &&
			slice_eq(slice_of(s->name, s->name_len), slice_str(names[i])))
			return true;
	return false;
}

/* The tag is over. Most tags part words, those of words do not. */
static void end_tag(struct preview_strip *s, struct out *o)
{
	static const char *const inside[] = { "a", "b", "i", "u", "em", "strong", "span", "font",
		"small", "big", "sub", "sup", "code", "abbr", "s", "/a", "/b", "/i", "/u", "/em",
		"/strong", "/span", "/font", "/small", "/big", "/sub", "/sup", "/code", "/abbr",
		"/s" };
	static const char *const raw[] = { "style", "script", "title" };

	s->state = TEXT;
	if (name_is(s, raw, array_len(raw))) {
		memset(s->raw, 0, sizeof(s->raw));
		memcpy(s->raw, s->name, s->name_len);
		s->state = RAW_TEXT;
		s->name_len = 0;
	} else if (!name_is(s, inside, array_len(inside))) {
		keep(s, ' ', o);
	}
}

/* Behind "<". What begins no tag was text. */
static void step_opened(struct preview_strip *s, char c, struct out *o)
{
	s->name_len = 0;
	if (c == '!') {
		s->state = DECLARATION;
	} else if (c == '?') {
		s->state = IN_TAG;
	} else if (text_is_alpha(c) || c == '/') {
		s->state = TAG_NAME;
		s->name[s->name_len++] = text_lower(c);
	} else {
		s->state = TEXT;
		keep(s, '<', o);
		keep(s, c, o);
	}
}

static void step_tag(struct preview_strip *s, char c, struct out *o)
{
	bool name = text_is_alpha(c) || text_is_digit(c);

	if (c == '>') {
		end_tag(s, o);
	} else if (s->state == TAG_NAME && name && s->name_len < PREVIEW_NAME - 1) {
		s->name[s->name_len++] = text_lower(c);
	} else if (c == '"' || c == '\'') {
		s->quote = (unsigned char)c;
		s->state = IN_QUOTE;
	} else {
		s->state = IN_TAG;
	}
}

/* "<!--" ends at "-->", any other "<!" at ">". `name_len` counts the hyphens. */
static void step_comment(struct preview_strip *s, char c)
{
	if (c == '-') {
		s->name_len = (unsigned char)MIN(s->name_len + 1, 2);
		if (s->state == DECLARATION && s->name_len == 2)
			s->state = COMMENT;
		return;
	}
	if (c == '>' && (s->state == DECLARATION || s->name_len == 2))
		s->state = TEXT;
	else if (s->state == DECLARATION)
		s->state = IN_TAG;
	s->name_len = 0;
}

/* Text until "</style": `name` holds as much of that as was just seen. */
static void step_raw(struct preview_strip *s, char c)
{
	size_t at = s->name_len;
	char want = at == 0 ? '<' : at == 1 ? '/' : s->raw[at - 2];

	if (want && text_lower(c) == want) {
		s->name_len++;
	} else if (want) {
		s->name_len = c == '<';
	} else {
		s->name_len = 0;
		s->state = c == '>' ? TEXT : IN_TAG;
	}
}

static void strip_byte(struct preview_strip *s, char c, struct out *o)
{
	switch (s->state) {
	case TEXT:
		if (c == '<' && s->html)
			s->state = OPENED;
		else
			keep(s, c, o);
		return;
	case OPENED:
		step_opened(s, c, o);
		return;
	case TAG_NAME:
	case IN_TAG:
		step_tag(s, c, o);
		return;
	case IN_QUOTE:
		if ((unsigned char)c == s->quote)
			s->state = IN_TAG;
		return;
	case RAW_TEXT:
		step_raw(s, c);
		return;
	default:
		step_comment(s, c);
	}
}

/* Bytes at the front that are kept as they are: words with one space between. */
static size_t words_len(slice in)
{
	size_t len = 0;

	while (len < in.len && in.ptr[len] != '<' &&
		((unsigned char)in.ptr[len] > ' ' ||
			(in.ptr[len] == ' ' && len && in.ptr[len - 1] != ' ')))
		len++;
	return len;
}

/* Bytes at the front that change nothing: inside a tag, a quote, a style sheet. */
static size_t dull_len(const struct preview_strip *s, slice in)
{
	ptrdiff_t at = 0;
	size_t len = 0;

	if (s->state == RAW_TEXT && s->name_len == 0)
		at = slice_find(in, '<');
	else if (s->state == IN_QUOTE)
		at = slice_find(in, (char)s->quote);
	else if (s->state == IN_TAG)
		while (len < in.len && in.ptr[len] != '>' && in.ptr[len] != '"' &&
			in.ptr[len] != '\'')
			len++;
	return at < 0 ? in.len : at ? (size_t)at : len;
}

static void strip(struct preview_strip *s, slice in, struct out *o)
{
	while (in.len && out_ok(o)) {
		size_t words = s->state == TEXT ? words_len(in) : 0;
		size_t dull = s->state == TEXT ? 0 : dull_len(s, in);

		if (words) {
			out_slice(o, slice_sub(in, 0, words));
			s->blank = in.ptr[words - 1] == ' ';
		} else if (!dull) {
			strip_byte(s, in.ptr[0], o);
		}
		in = slice_skip(in, MAX(words + dull, (size_t)1));
	}
}

/* Where the n-th character begins, about: bytes that go on with one of UTF-8 are none. */
static size_t nth_char(slice text, size_t n)
{
	size_t at = 0;

	while (at < text.len && (((unsigned char)text.ptr[at] & 0xc0) == 0x80 || --n))
		at++;
	return at;
}

/* Markup holds references and padding, so that it takes more of it. What is too much is cut off, so
 * that the preview is the same however the bytes came. */
static bool is_enough(struct preview *p)
{
	size_t most = p->strip.html ? PREVIEW_CHARS * 4 : PREVIEW_CHARS, len;

	if (!out_ok(&p->text) || p->scanned >= PREVIEW_SCAN)
		return true;
	if (p->late || p->text.len < most)
		return false;
	len = nth_char(out_written(&p->text), most);
	if (len == p->text.len)
		return false;
	p->text.len = len;
	return true;
}

/* Collecting ---------------------------------------------------------------------------------- */

void preview_begin(struct preview *p, bool html, enum part_encoding coding, slice charset)
{
	*p = (struct preview){ .open = true,
		.coding = coding,
		.charset = charset,
		.text = out_fixed(p->text.buf, p->text.cap),
		.late = !charset_is_ascii_based(charset),
		.strip = { .html = html } };
}

static slice undo(struct preview *p, slice piece, struct out *o)
{
	if (p->coding == PART_QP)
		qp_decode(&p->qp, piece, o);
	else if (p->coding == PART_BASE64)
		b64_decode(&p->b64, piece, o);
	else
		return piece;
	return out_written(o);
}

void preview_add(struct preview *p, struct arena *a, slice piece)
{
	char buf[512];

	if (!p->text.buf)
		p->text = out_fixed(arena_alloc(a, PREVIEW_KEEP), PREVIEW_KEEP);
	while (piece.len && !p->full) {
		struct out decoded = out_fixed(buf, sizeof(buf));
		/* Decoded it is never longer, by much. */
		slice some = slice_sub(piece, 0, MIN((size_t)256, PREVIEW_SCAN - p->scanned));
		slice text = undo(p, some, &decoded);

		if (p->late)
			out_slice(&p->text, text);
		else
			strip(&p->strip, text, &p->text);
		p->scanned += some.len;
		p->full = is_enough(p);
		piece = slice_skip(piece, some.len);
	}
}

/* Writing ------------------------------------------------------------------------------------- */

/* Characters that are not seen: padding behind the first words of a campaign. */
static bool is_unseen(uint32_t c)
{
	return c < 32 || c == 127 || c == 0xad || c == 0x34f || (c >= 0x200b && c <= 0x200f) ||
		c == 0x2060 || c == 0xfeff || c == 0x61c || (c >= 0x202a && c <= 0x202e);
}

static bool is_space(uint32_t c)
{
	return c == ' ' || c == 0xa0 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
		c == 0x2029 || c == 0x202f || c == 0x3000;
}

static bool number_reference(slice body, uint32_t *out)
{
	bool hex = body.len > 1 && text_lower(body.ptr[1]) == 'x';
	uint32_t n = 0;
	size_t i = hex ? 2 : 1;

	if (i >= body.len)
		return false;
	for (; i < body.len; i++) {
		char c = text_lower(body.ptr[i]);
		bool digit = text_is_digit(c), letter = hex && c >= 'a' && c <= 'f';

		if (!digit && !letter)
			return false;
		n = n * (hex ? 16 : 10) + (uint32_t)(digit ? c - '0' : c - 'a' + 10);
	}
	*out = n > 0x10ffff || (n >= 0xd800 && n < 0xe000) || n == 0 ? UTF8_REPLACEMENT : n;
	return true;
}

/* "&amp;" and its like; 0: none here. At most 7 digits, so that no number overflows. */
static size_t take_reference(slice in, uint32_t *out)
{
	static const struct {
		slice name;
		uint32_t c;
	} rows[] = {
		{ SLICE_INIT("amp"), '&' },
		{ SLICE_INIT("lt"), '<' },
		{ SLICE_INIT("gt"), '>' },
		{ SLICE_INIT("quot"), '"' },
		{ SLICE_INIT("apos"), '\'' },
		{ SLICE_INIT("nbsp"), 0xa0 },
		{ SLICE_INIT("zwnj"), 0x200c },
		{ SLICE_INIT("zwj"), 0x200d },
		{ SLICE_INIT("shy"), 0xad },
		{ SLICE_INIT("copy"), 0xa9 },
		{ SLICE_INIT("reg"), 0xae },
		{ SLICE_INIT("trade"), 0x2122 },
		{ SLICE_INIT("hellip"), 0x2026 },
		{ SLICE_INIT("ndash"), 0x2013 },
		{ SLICE_INIT("mdash"), 0x2014 },
		{ SLICE_INIT("lsquo"), 0x2018 },
		{ SLICE_INIT("rsquo"), 0x2019 },
		{ SLICE_INIT("ldquo"), 0x201c },
		{ SLICE_INIT("rdquo"), 0x201d },
		{ SLICE_INIT("bull"), 0x2022 },
		{ SLICE_INIT("euro"), 0x20ac },
		{ SLICE_INIT("laquo"), 0xab },
		{ SLICE_INIT("raquo"), 0xbb },
		{ SLICE_INIT("auml"), 0xe4 },
		{ SLICE_INIT("ouml"), 0xf6 },
		{ SLICE_INIT("uuml"), 0xfc },
		{ SLICE_INIT("Auml"), 0xc4 },
		{ SLICE_INIT("Ouml"), 0xd6 },
		{ SLICE_INIT("Uuml"), 0xdc },
		{ SLICE_INIT("szlig"), 0xdf },
		{ SLICE_INIT("eacute"), 0xe9 },
		{ SLICE_INIT("egrave"), 0xe8 },
		{ SLICE_INIT("agrave"), 0xe0 },
		{ SLICE_INIT("aacute"), 0xe1 },
		{ SLICE_INIT("ccedil"), 0xe7 },
		{ SLICE_INIT("ntilde"), 0xf1 },
		{ SLICE_INIT("oacute"), 0xf3 },
	};
	ptrdiff_t end = slice_find(slice_sub(in, 0, 10), ';');
	slice body = slice_sub(in, 1, end < 0 ? 0 : (size_t)end);

	if (body.len && body.ptr[0] == '#')
		return number_reference(body, out) ? (size_t)end + 1 : 0;
	for (size_t i = 0; i < array_len(rows); i++)
		if (slice_eq(body, rows[i].name)) {
			*out = rows[i].c;
			return (size_t)end + 1;
		}
	return 0;
}

/* ASCII that is seen and means itself, words with one space between; no space at the end. */
static size_t plain_len(slice text, bool html)
{
	size_t len = 0;

	while (len < text.len && text.ptr[len] >= ' ' && text.ptr[len] != 127 &&
		!(html && text.ptr[len] == '&') &&
		(text.ptr[len] != ' ' || (len && text.ptr[len - 1] != ' ')))
		len++;
	return len && text.ptr[len - 1] == ' ' ? len - 1 : len;
}

/* The characters of a preview, and no more of them than wanted. */
static void put_chars(slice text, bool html, size_t max_chars, struct out *o)
{
	size_t start = o->len;
	bool gap = false;
	char buf[4];

	while (text.len && max_chars) {
		uint32_t c;
		size_t plain = gap ? 0 : plain_len(slice_sub(text, 0, max_chars), html), used;

		if (plain) {
			out_slice(o, slice_sub(text, 0, plain));
			text = slice_skip(text, plain);
			max_chars -= plain;
			continue;
		}
		used = html && text.ptr[0] == '&' ? take_reference(text, &c) : 0;

		if (!used)
			used = utf8_take(text, &c);
		if (!used)
			return;
		text = slice_skip(text, used);
		if (is_unseen(c))
			continue;
		if (is_space(c)) {
			gap = o->len > start;
			continue;
		}
		if (gap && max_chars < 2)
			return;
		if (gap) {
			out_char(o, ' ');
			max_chars--;
		}
		gap = false;
		out_bytes(o, buf, utf8_put(c, buf));
		max_chars--;
	}
}

void preview_end(struct preview *p, struct arena *a, size_t max_chars, struct out *o)
{
	slice text = out_written(&p->text);
	struct out utf8 = out_arena(a), stripped = out_arena(a);

	p->open = false;
	if (text.len == 0)
		return;
	charset_to_utf8(p->charset, text, NULL, &utf8);
	text = out_written(&utf8);
	if (p->late) {
		strip(&p->strip, text, &stripped);
		text = out_written(&stripped);
	}
	put_chars(text, p->strip.html, max_chars, o);
}
