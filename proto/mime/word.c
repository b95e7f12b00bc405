/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encoded words: base64, or "Q", which differs from quoted-printable by its underscore. UTF-8 and
 * ASCII, nearly all of today's mail, never reach iconv. */
#include "proto/mime/word.h"

#include "core/base/codec.h"
#include "core/base/text.h"
#include "proto/mime/charset.h"
#include "proto/mime/transfer.h"

enum { TEXT_MAX = 4096 };

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
	end = slice_search(slice_sub(rest, 0, TEXT_MAX + 2), SLICE("?="));
	out->text = slice_sub(rest, 0, end < 0 ? 0 : (size_t)end);
	out->encoding = text_lower(encoding.ptr[0]);
	out->len = (size_t)(out->text.ptr - in.ptr) + out->text.len + 2;
	/* RFC 2231 5: a language may stand behind the charset. */
	slice_cut(&(slice){ out->charset.ptr, out->charset.len }, '*', &out->charset);
	return end >= 0 && (out->encoding == 'q' || out->encoding == 'b') &&
		slice_find(out->text, ' ') < 0 && out->text.len <= TEXT_MAX;
}

static int hex_digit(char c)
{
	if (text_is_digit(c))
		return c - '0';
	c = text_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void decode_q(slice text, struct out *bytes)
{
	for (size_t i = 0; i < text.len; i++) {
		bool escape = text.ptr[i] == '=' && i + 2 < text.len;
		int high = escape ? hex_digit(text.ptr[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;

		if (low >= 0) {
			out_u8(bytes, (uint8_t)(high << 4 | low));
			i += 2;
		} else {
			out_char(bytes, text.ptr[i] == '_' ? ' ' : text.ptr[i]);
		}
	}
}

/* The word's text goes on where that of the word before it ended: many mailers cut characters. */
static void put_word(const struct word *word, struct charset_decoder *d, struct out *o)
{
	char buf[TEXT_MAX];
	struct out bytes = out_fixed(buf, sizeof(buf));
	struct b64_decoder b = { 0 };

	if (word->encoding == 'b')
		b64_decode(&b, word->text, &bytes);
	else
		decode_q(word->text, &bytes);
	charset_add(d, out_written(&bytes), o);
}

/* Words side by side in one charset are one text. */
struct run {
	struct charset_decoder decoder;
	slice charset;
	bool open;
};

static void end_run(struct run *run, struct out *o)
{
	if (run->open)
		charset_end(&run->decoder, o);
	run->open = false;
}

/* False: the charset is unknown, so the word stays as it stands. */
static bool begin_run(struct run *run, slice charset, struct charset_cache *cache)
{
	struct out none = out_fixed(NULL, 0);

	charset_begin(&run->decoder, charset, cache);
	run->open = run->decoder.known;
	run->charset = charset;
	if (!run->open)
		charset_end(&run->decoder, &none);
	return run->open;
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

static size_t blanks_len(slice in)
{
	size_t len = 0;

	while (len < in.len && (in.ptr[len] == ' ' || in.ptr[len] == '\t'))
		len++;
	return len;
}

void word_decode_with(slice value, struct charset_cache *cache, struct out *o)
{
	struct run run = { .open = false };
	struct word word;

	while (value.len) {
		slice blanks = slice_sub(value, 0, blanks_len(value));
		slice rest = slice_skip(value, blanks.len);
		bool is_word = find_word(rest, &word), after_word = run.open;

		if (is_word && run.open && slice_eq_nocase(run.charset, word.charset)) {
			put_word(&word, &run.decoder, o);
			value = slice_skip(rest, word.len);
			continue;
		}
		end_run(&run, o);
		is_word = is_word && begin_run(&run, word.charset, cache);
		if (!is_word || !after_word)
			out_slice(o, blanks);
		if (is_word) {
			put_word(&word, &run.decoder, o);
			value = slice_skip(rest, word.len);
			continue;
		}
		size_t len = plain_len(rest);

		out_slice(o, slice_sub(rest, 0, len));
		value = slice_skip(rest, len);
	}
	end_run(&run, o);
}

void word_decode(slice value, struct out *o)
{
	word_decode_with(value, NULL, o);
}
