/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encoded words, by way of the decoders of bodies; "Q" differs from quoted-printable by its
 * underscore. UTF-8 and ASCII, nearly all of today's mail, never reach iconv. */
#include "proto/mime/word.h"

#include "core/base/codec.h"
#include "core/base/text.h"
#include "proto/mime/transfer.h"

#include <errno.h>
#include <iconv.h>

enum { WORD_MAX = 75, CHARSET_MAX = 40, TEXT_MAX = 4096 };

/* Charsets ------------------------------------------------------------------------------------ */

static bool convert(iconv_t cd, slice bytes, struct out *o)
{
	char *from = (char *)(uintptr_t)bytes.ptr, buf[512];
	size_t left = bytes.len;
	struct out text = out_heap(bytes.len * 8 + 16);
	bool good = true;

	while (good && left) {
		char *to = buf;
		size_t room = sizeof(buf), done = iconv(cd, &from, &left, &to, &room);

		out_bytes(&text, buf, sizeof(buf) - room);
		good = done != (size_t)-1 || errno == E2BIG;
	}
	good = good && out_ok(&text);
	if (good)
		out_slice(o, out_written(&text));
	out_heap_done(&text);
	return good;
}

bool word_to_utf8(slice charset, slice bytes, struct out *o)
{
	char name[CHARSET_MAX + 1] = "";
	iconv_t cd;
	bool good;

	if (slice_eq_nocase(charset, SLICE("utf-8")) ||
		slice_eq_nocase(charset, SLICE("us-ascii")) || charset.len == 0) {
		good = text_is_utf8(bytes);
		if (good)
			out_slice(o, bytes);
		return good;
	}
	/* iconv takes options behind slashes; a mail must not. */
	if (charset.len > CHARSET_MAX || slice_find(charset, '/') >= 0 ||
		slice_find(charset, '\0') >= 0)
		return false;
	memcpy(name, charset.ptr, charset.len);
	cd = iconv_open("UTF-8", name);
	if (cd == (iconv_t)-1)
		return false;
	good = convert(cd, bytes, o);
	iconv_close(cd);
	return good;
}

/* Decoding ------------------------------------------------------------------------------------ */

struct word {
	slice charset, text;
	char encoding;
	size_t len; /* of the whole word */
};

static bool find_word(slice in, struct word *out)
{
	slice rest = slice_skip(in, 2), encoding;
	ptrdiff_t end;

	if (!slice_starts(in, SLICE("=?")) || !slice_cut(&rest, '?', &out->charset) ||
		!slice_cut(&rest, '?', &encoding) || encoding.len != 1)
		return false;
	end = slice_search(rest, SLICE("?="));
	out->text = slice_sub(rest, 0, end < 0 ? 0 : (size_t)end);
	out->encoding = text_lower(encoding.ptr[0]);
	out->len = (size_t)(out->text.ptr - in.ptr) + out->text.len + 2;
	/* RFC 2231 5: a language may stand behind the charset. */
	slice_cut(&(slice){ out->charset.ptr, out->charset.len }, '*', &out->charset);
	return end >= 0 && (out->encoding == 'q' || out->encoding == 'b') &&
		slice_find(out->text, ' ') < 0 && out->text.len <= TEXT_MAX;
}

/* The word's bytes, its encoding undone. */
static bool decode_text(const struct word *word, struct out *bytes)
{
	struct b64_decoder b = { 0 };
	struct qp_decoder q = { 0 };

	if (word->encoding == 'b') {
		b64_decode(&b, word->text, bytes);
		return out_ok(bytes);
	}
	for (size_t i = 0; i < word->text.len; i++)
		qp_decode(&q,
			word->text.ptr[i] == '_' ? SLICE("=20") : slice_sub(word->text, i, i + 1),
			bytes);
	qp_decode_end(&q, bytes);
	return out_ok(bytes);
}

/* The blanks before the word and the word itself; nothing when it cannot be read. */
static bool put_word(const struct word *word, slice blanks, struct out *o)
{
	char buf[TEXT_MAX];
	struct out bytes = out_fixed(buf, sizeof(buf)), text = out_heap(TEXT_MAX * 8);
	bool good = decode_text(word, &bytes) &&
		word_to_utf8(word->charset, out_written(&bytes), &text) && out_ok(&text);

	if (good) {
		out_slice(o, blanks);
		out_slice(o, out_written(&text));
	}
	out_heap_done(&text);
	return good;
}

/* Length of what is no encoded word: up to a blank, or to where one may begin. */
static size_t plain_len(slice in)
{
	size_t len = 0;

	while (len < in.len && in.ptr[len] != ' ' && in.ptr[len] != '\t' &&
		(len == 0 || !slice_starts(slice_skip(in, len), SLICE("=?"))))
		len++;
	return len;
}

void word_decode(slice value, struct out *o)
{
	bool after_word = false;
	struct word word;

	while (value.len) {
		size_t gap = 0;

		while (gap < value.len && (value.ptr[gap] == ' ' || value.ptr[gap] == '\t'))
			gap++;
		slice blanks = slice_sub(value, 0, gap), rest = slice_skip(value, gap);

		if (find_word(rest, &word) && put_word(&word, after_word ? SLICE("") : blanks, o)) {
			after_word = true;
			value = slice_skip(rest, word.len);
			continue;
		}
		size_t len = plain_len(rest);

		out_slice(o, blanks);
		out_slice(o, slice_sub(rest, 0, len));
		value = slice_skip(rest, len);
		after_word = false;
	}
}

/* Encoding ------------------------------------------------------------------------------------ */

/* Bytes of the UTF-8 character at the front. */
static size_t char_len(slice s)
{
	size_t len = 1;

	while (len < s.len && len < 4 && ((unsigned char)s.ptr[len] & 0xc0) == 0x80)
		len++;
	return len;
}

void word_encode(slice text, struct out *o)
{
	static const size_t room = (WORD_MAX - 12) / 4 * 3; /* "=?UTF-8?B?" and "?=" */
	bool first = true;

	if (text_is_ascii(text) && slice_search(text, SLICE("=?")) < 0) {
		out_slice(o, text);
		return;
	}
	while (text.len) {
		size_t len = 0;

		while (len < text.len) {
			size_t n = char_len(slice_skip(text, len));

			if (len + n > room)
				break;
			len += n;
		}
		out_str(o, first ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?");
		codec_put_base64(o, slice_sub(text, 0, len));
		out_str(o, "?=");
		text = slice_skip(text, len);
		first = false;
	}
}
