/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A text becomes a stream of key bytes, and the needle's key is looked for in that stream by Knuth,
 * Morris and Pratt: one pass, no memory, whatever the cuts. While nothing has matched, bytes that
 * cannot begin the key are passed over by a table. */
#include "proto/mime/collate.h"

#include "proto/mime/utf8.h"

#include <utf8proc.h>

/* The longest decomposition is 18 characters. */
enum { DECOMPOSED_MAX = 32, KEY_CHAR_MAX = DECOMPOSED_MAX * 4 };

static char to_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

/* RFC 5051 2: title case, then decomposed as far as it goes. Bytes written. */
static size_t key_of_char(uint32_t c, char buf[KEY_CHAR_MAX])
{
	utf8proc_int32_t parts[DECOMPOSED_MAX], title = utf8proc_totitle((utf8proc_int32_t)c);
	int boundary = 0;
	utf8proc_ssize_t count = utf8proc_decompose_char(title, parts, DECOMPOSED_MAX,
		UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, &boundary);
	size_t len = 0;

	if (count < 0 || count > DECOMPOSED_MAX)
		return utf8_put(UTF8_REPLACEMENT, buf);
	for (utf8proc_ssize_t i = 0; i < count; i++)
		len += utf8_put((uint32_t)parts[i], buf + len);
	return len;
}

void collate_key(struct out *o, slice utf8)
{
	char buf[KEY_CHAR_MAX];
	uint32_t c;

	while (utf8.len) {
		size_t ascii = utf8_ascii_len(utf8), used;

		for (size_t i = 0; i < ascii;) {
			size_t n = MIN(ascii - i, sizeof(buf));

			for (size_t at = 0; at < n; at++)
				buf[at] = to_upper(utf8.ptr[i + at]);
			out_bytes(o, buf, n);
			i += n;
		}
		utf8 = slice_skip(utf8, ascii);
		if (utf8.len == 0)
			break;
		used = utf8_take(utf8, &c);
		out_bytes(o, buf, key_of_char(c, buf));
		utf8 = slice_skip(utf8, used ? used : 1);
	}
}

/* Finding ------------------------------------------------------------------------------------- */

void collate_needle_init(struct collate_needle *n, slice utf8, struct arena *a)
{
	struct out o = out_arena(a);
	size_t matched = 0;

	collate_key(&o, utf8);
	*n = (struct collate_needle){ .key = out_written(&o) };
	n->back = arena_array(a, uint32_t, n->key.len + 1);
	for (size_t i = 1; i < n->key.len; i++) {
		while (matched && n->key.ptr[i] != n->key.ptr[matched])
			matched = n->back[matched];
		matched += n->key.ptr[i] == n->key.ptr[matched];
		n->back[i + 1] = (uint32_t)matched;
	}
	for (int c = 0; c < 256; c++)
		n->stop[c] = c >= 0x80 || (n->key.len && to_upper((char)c) == n->key.ptr[0]);
}

static void match(struct collate_find *f, char c)
{
	const struct collate_needle *n = f->needle;

	while (f->matched && n->key.ptr[f->matched] != c)
		f->matched = n->back[f->matched];
	f->matched += n->key.ptr[f->matched] == c;
	f->found |= f->matched == n->key.len;
}

static void match_char(struct collate_find *f, uint32_t c)
{
	char buf[KEY_CHAR_MAX];
	size_t len = key_of_char(c, buf);

	for (size_t i = 0; i < len && !f->found; i++)
		match(f, buf[i]);
}

/* Returns what a character was begun with. */
static slice find_in(struct collate_find *f, slice in)
{
	const unsigned char *at = (const unsigned char *)in.ptr, *end = at + in.len;
	uint32_t c;

	while (at < end && !f->found) {
		while (f->matched == 0 && !f->needle->stop[*at])
			if (++at == end)
				return (slice){ 0 };
		if (*at < 0x80) {
			match(f, to_upper((char)*at++));
			continue;
		}
		size_t used = utf8_take(slice_of(at, (size_t)(end - at)), &c);

		if (used == 0)
			break;
		match_char(f, c);
		at += used;
	}
	return slice_of(at, (size_t)(end - at));
}

static void hold(struct collate_find *f, slice rest)
{
	f->held_len = 0;
	if (f->found)
		return;
	must(rest.len <= sizeof(f->held));
	if (rest.len)
		memmove(f->held, rest.ptr, rest.len);
	f->held_len = (unsigned char)rest.len;
}

bool collate_find_add(struct collate_find *f, slice piece)
{
	f->found |= f->needle->key.len == 0;
	while (f->held_len && piece.len && !f->found) {
		f->held[f->held_len++] = piece.ptr[0];
		piece = slice_skip(piece, 1);
		hold(f, find_in(f, slice_of(f->held, f->held_len)));
	}
	if (piece.len && !f->found)
		hold(f, find_in(f, piece));
	return f->found;
}

bool collate_find_end(struct collate_find *f)
{
	f->found |= f->needle->key.len == 0;
	for (unsigned i = 0; i < f->held_len && !f->found; i++)
		match_char(f, UTF8_REPLACEMENT);
	f->held_len = 0;
	return f->found;
}

bool collate_has(const struct collate_needle *n, slice utf8)
{
	struct collate_find f = { .needle = n };

	return collate_find_add(&f, utf8) || collate_find_end(&f);
}
