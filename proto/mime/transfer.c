/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quoted-printable needs one byte of hindsight (a blank before a line end must be encoded, a CR may
 * begin one); base64 needs a line's worth of input. Nothing else is kept. */
#include "proto/mime/transfer.h"

#include "core/base/codec.h"
#include "core/base/text.h"

/* Quoted-printable ---------------------------------------------------------------------------- */

static bool is_full(const struct qp_encoder *q)
{
	return q->col + 1 > TRANSFER_LINE - 1;
}

/* Text that must stay together; the last column is kept for the "=" of a soft line end. */
static void qp_put(struct qp_encoder *q, const char *text, size_t len, struct out *o)
{
	if (q->col + len > TRANSFER_LINE - 1) {
		out_str(o, "=\r\n");
		q->col = 0;
	}
	out_bytes(o, text, len);
	q->col = (unsigned char)(q->col + len);
}

static void qp_put_hex(struct qp_encoder *q, unsigned char c, struct out *o)
{
	static const char digits[] = "0123456789ABCDEF";
	char text[3] = { '=', digits[c >> 4], digits[c & 15] };

	qp_put(q, text, sizeof(text), o);
}

static void qp_release(struct qp_encoder *q, bool line_end, struct out *o)
{
	char blank = (char)q->blank;

	q->blank = 0;
	if (blank && line_end)
		qp_put_hex(q, (unsigned char)blank, o);
	else if (blank)
		qp_put(q, &blank, 1, o);
}

static void qp_byte(struct qp_encoder *q, unsigned char c, struct out *o)
{
	if (q->cr) {
		q->cr = false;
		if (c == '\n') {
			qp_release(q, true, o);
			out_str(o, "\r\n");
			q->col = 0;
			return;
		}
		qp_release(q, false, o);
		qp_put_hex(q, '\r', o);
	}
	if (c == '\r' && !q->binary) {
		q->cr = true;
		return;
	}
	qp_release(q, false, o);
	if (c == ' ' || c == '\t')
		q->blank = c;
	else if (c < 33 || c > 126 || c == '=' || (c == '-' && (q->col == 0 || is_full(q))))
		qp_put_hex(q, c, o); /* no line may begin as a boundary does */
	else
		qp_put(q, (const char *)&c, 1, o);
}

void qp_encode(struct qp_encoder *q, slice in, struct out *o)
{
	for (size_t i = 0; i < in.len; i++)
		qp_byte(q, (unsigned char)in.ptr[i], o);
}

void qp_encode_end(struct qp_encoder *q, struct out *o)
{
	qp_release(q, !q->cr, o);
	if (q->cr)
		qp_put_hex(q, '\r', o);
	*q = (struct qp_encoder){ .binary = q->binary };
}

enum { PLAIN, EQUALS, HIGH, SOFT_BLANK, SOFT_CR };

static int hex_digit(char c)
{
	if (text_is_digit(c))
		return c - '0';
	c = text_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void qp_flush(struct qp_decoder *q, struct out *o)
{
	out_bytes(o, q->blanks, q->blanks_len);
	q->blanks_len = 0;
}

static void qp_hold(struct qp_decoder *q, char blank, struct out *o)
{
	if (q->blanks_len == sizeof(q->blanks))
		qp_flush(q, o);
	q->blanks[q->blanks_len++] = blank;
}

static void qp_plain(struct qp_decoder *q, char c, struct out *o)
{
	q->state = PLAIN;
	if (c == ' ' || c == '\t') {
		qp_hold(q, c, o);
		return;
	}
	/* RFC 2045 6.7 (3): blanks at the end of a line came from transport. */
	if (c == '\r' || c == '\n')
		q->blanks_len = 0;
	qp_flush(q, o);
	if (c == '=')
		q->state = EQUALS;
	else
		out_char(o, c);
}

/* A byte after "=", "=X", "= " or "=CR". What makes no sense stays as it is. */
static void qp_escaped(struct qp_decoder *q, char c, struct out *o)
{
	int digit = hex_digit(c);

	if (q->state == HIGH) {
		if (digit >= 0) {
			out_u8(o, (uint8_t)(hex_digit((char)q->high) << 4 | digit));
			q->state = PLAIN;
			return;
		}
		out_char(o, '=');
		out_char(o, (char)q->high);
	} else if (q->state == SOFT_CR) {
		q->state = PLAIN;
		if (c == '\n')
			return;
	} else if (c == '\r' || c == '\n') {
		q->blanks_len = 0;
		q->state = c == '\r' ? SOFT_CR : PLAIN;
		return;
	} else if (q->state == EQUALS && digit >= 0) {
		q->high = (unsigned char)c;
		q->state = HIGH;
		return;
	} else if (c == ' ' || c == '\t') {
		if (q->blanks_len == sizeof(q->blanks))
			q->blanks_len--;
		qp_hold(q, c, o);
		q->state = SOFT_BLANK;
		return;
	} else {
		out_char(o, '=');
	}
	qp_plain(q, c, o);
}

/* How many bytes stand for themselves: a word, and more with blanks before them. None when a blank
 * comes first, lest a long run of blanks is looked through again for each of them. */
static size_t literal_len(slice in)
{
	static const unsigned char kinds[256] = {
		['='] = 2,
		['\r'] = 2,
		['\n'] = 2,
		[' '] = 1,
		['\t'] = 1,
	};
	size_t len = 0, words = 0;

	for (; len < in.len; len++) {
		unsigned kind = kinds[(unsigned char)in.ptr[len]];

		if (kind == 2 || (kind && !words))
			break;
		if (kind == 0)
			words = len + 1;
	}
	return words;
}

void qp_decode(struct qp_decoder *q, slice in, struct out *o)
{
	while (in.len) {
		size_t run = q->state == PLAIN ? literal_len(in) : 0;

		if (run) {
			qp_flush(q, o);
			out_slice(o, slice_sub(in, 0, run));
		} else if (q->state == PLAIN) {
			qp_plain(q, in.ptr[0], o);
		} else {
			qp_escaped(q, in.ptr[0], o);
		}
		in = slice_skip(in, run ? run : 1);
	}
}

void qp_decode_end(struct qp_decoder *q, struct out *o)
{
	if (q->state == EQUALS || q->state == HIGH)
		out_char(o, '=');
	if (q->state == HIGH)
		out_char(o, (char)q->high);
	*q = (struct qp_decoder){ 0 };
}

/* Base64 -------------------------------------------------------------------------------------- */

static void b64_line(struct b64_encoder *b, struct out *o)
{
	codec_put_base64(o, slice_of(b->held, b->len));
	out_str(o, "\r\n");
	b->len = 0;
}

void b64_encode(struct b64_encoder *b, slice in, struct out *o)
{
	while (in.len) {
		size_t n = MIN(in.len, sizeof(b->held) - b->len);

		memcpy(b->held + b->len, in.ptr, n);
		b->len += n;
		in = slice_skip(in, n);
		if (b->len == sizeof(b->held))
			b64_line(b, o);
	}
}

void b64_encode_end(struct b64_encoder *b, struct out *o)
{
	if (b->len)
		b64_line(b, o);
}

/* 0: not a byte of base64; else its value and 1. */
static const unsigned char b64_values[256] = {
	['A'] = 1,
	2,
	3,
	4,
	5,
	6,
	7,
	8,
	9,
	10,
	11,
	12,
	13,
	14,
	15,
	16,
	17,
	18,
	19,
	20,
	21,
	22,
	23,
	24,
	25,
	26,
	['a'] = 27,
	28,
	29,
	30,
	31,
	32,
	33,
	34,
	35,
	36,
	37,
	38,
	39,
	40,
	41,
	42,
	43,
	44,
	45,
	46,
	47,
	48,
	49,
	50,
	51,
	52,
	['0'] = 53,
	54,
	55,
	56,
	57,
	58,
	59,
	60,
	61,
	62,
	['+'] = 63,
	['/'] = 64,
};

void b64_decode(struct b64_decoder *b, slice in, struct out *o)
{
	unsigned char bytes[192];
	size_t len = 0;

	for (size_t i = 0; i < in.len && !b->ended; i++) {
		unsigned value = b64_values[(unsigned char)in.ptr[i]];

		if (value) {
			b->bits = b->bits << 6 | (value - 1);
			b->count += 6;
		} else {
			b->ended = in.ptr[i] == '=';
		}
		if (b->count >= 8) {
			b->count -= 8;
			bytes[len++] = (unsigned char)(b->bits >> b->count);
		}
		if (len == sizeof(bytes)) {
			out_bytes(o, bytes, len);
			len = 0;
		}
	}
	out_bytes(o, bytes, len);
}
