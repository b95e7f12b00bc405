/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps of RFC 5256 2.1, in order. A run of "[blobs]" is looked at once, not once for each blob
 * that is taken off, so the time is linear in the subject whatever it holds. */
#include "proto/mime/subject.h"

#include "proto/mime/charset.h"
#include "proto/mime/word.h"

/* Step 1: UTF-8, each run of blanks and line ends one space, none at the ends. */
static slice collapse(slice text, struct arena *a)
{
	char *to = arena_alloc(a, text.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';

		if (!blank)
			to[len++] = c;
		else if (len && to[len - 1] != ' ')
			to[len++] = ' ';
	}
	return slice_trim(slice_of(to, len));
}

static slice decode(slice value, struct arena *a)
{
	struct out words = out_arena(a), text = out_arena(a);
	slice raw = collapse(slice_sub(value, 0, SUBJECT_MAX), a);

	if (slice_search(raw, SLICE("=?")) >= 0) {
		word_decode(raw, &words);
		raw = collapse(slice_sub(out_written(&words), 0, SUBJECT_MAX), a);
	}
	charset_to_utf8(SLICE("utf-8"), raw, NULL, &text);
	return out_written(&text);
}

static slice skip_spaces(slice s)
{
	while (s.len && s.ptr[0] == ' ')
		s = slice_skip(s, 1);
	return s;
}

/* "[...]" and blanks; 0: none here. */
static size_t blob_len(slice s)
{
	size_t len = 1;

	if (s.len == 0 || s.ptr[0] != '[')
		return 0;
	while (len < s.len && s.ptr[len] != '[' && s.ptr[len] != ']')
		len++;
	if (len == s.len || s.ptr[len] != ']')
		return 0;
	return s.len - skip_spaces(slice_skip(s, len + 1)).len;
}

/* "Re:", "Fw [x]:", "FWD:"; 0: none here. */
static size_t mark_len(slice s)
{
	size_t len = slice_starts_nocase(s, SLICE("fwd"))                                  ? 3 :
		slice_starts_nocase(s, SLICE("re")) || slice_starts_nocase(s, SLICE("fw")) ? 2 :
											     0;
	slice rest = skip_spaces(slice_skip(s, len));

	rest = slice_skip(rest, blob_len(rest));
	if (len == 0 || rest.len == 0 || rest.ptr[0] != ':')
		return 0;
	return s.len - rest.len + 1;
}

/* Step 2. */
static slice cut_trailers(slice s, bool *reply)
{
	static const slice fwd = SLICE_INIT("(fwd)");

	for (;;) {
		s = slice_trim(s);
		if (!slice_ends_nocase(s, fwd))
			return s;
		s.len -= fwd.len;
		*reply = true;
	}
}

/* Steps 3 to 5: blobs before a mark go with it; of others the last stays if nothing is behind. */
static slice cut_leaders(slice s, bool *reply)
{
	for (;;) {
		slice rest = skip_spaces(s), last = rest;
		size_t len;

		s = rest;
		while ((len = blob_len(rest))) {
			last = rest;
			rest = slice_skip(rest, len);
		}
		len = mark_len(rest);
		if (len == 0)
			return rest.len ? rest : last;
		*reply = true;
		s = slice_skip(rest, len);
	}
}

struct subject subject_base(slice value, struct arena *a)
{
	struct subject out = { .base = decode(value, a) };

	for (;;) {
		out.base = cut_leaders(cut_trailers(out.base, &out.reply), &out.reply);
		/* Step 6: "[Fwd: ...]". */
		if (!slice_starts_nocase(out.base, SLICE("[fwd:")) ||
			out.base.ptr[out.base.len - 1] != ']')
			return out;
		out.base = slice_sub(out.base, 5, out.base.len - 1);
		out.reply = true;
	}
}
