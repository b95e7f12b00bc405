/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Strings: quoted where every client can read them so, else literals. */
#include "proto/imap/render.h"

#include "core/base/text.h"
#include "proto/imap/lexer.h"
#include "proto/imap/mutf7.h"

enum { QUOTED_MAX = 1000 };

enum spelling { AS_QUOTED, AS_ESCAPED, AS_LITERAL };

static enum spelling spelling_of(slice s, bool utf8)
{
	bool escapes = false, foreign = false;

	if (s.len > QUOTED_MAX)
		return AS_LITERAL;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c < ' ' || c == 0x7f)
			return AS_LITERAL;
		foreign |= c >= 0x80;
		escapes |= c == '"' || c == '\\';
	}
	if (foreign && (!utf8 || !text_is_utf8(s)))
		return AS_LITERAL;
	return escapes ? AS_ESCAPED : AS_QUOTED;
}

static void put_escaped(struct out *o, slice s)
{
	size_t from = 0;

	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '"' || s.ptr[i] == '\\') {
			out_bytes(o, s.ptr + from, i - from);
			out_char(o, '\\');
			from = i;
		}
	out_bytes(o, s.ptr + from, s.len - from);
}

void imap_put_literal_head(struct out *o, uint64_t bytes, bool binary)
{
	out_str(o, binary ? "~{" : "{");
	out_uint(o, bytes);
	out_str(o, "}\r\n");
}

void imap_put_string(struct out *o, slice s, bool utf8)
{
	enum spelling spelling = spelling_of(s, utf8);

	if (spelling == AS_LITERAL) {
		imap_put_literal_head(o, s.len, false);
		out_slice(o, s);
		return;
	}
	out_char(o, '"');
	if (!s.len)
		;
	else if (spelling == AS_ESCAPED)
		put_escaped(o, s);
	else
		out_slice(o, s);
	out_char(o, '"');
}

void imap_put_astring(struct out *o, slice s, bool utf8)
{
	/* NIL would be read as nothing where an nstring could stand. */
	if (imap_is_atom(s) && !slice_eq_nocase(s, SLICE("NIL")))
		out_slice(o, s);
	else
		imap_put_string(o, s, utf8);
}

void imap_put_mailbox(struct out *o, slice name, bool utf8)
{
	char buf[IMAP_NAME_MAX * 4];
	struct out coded = out_fixed(buf, sizeof(buf));

	if (!utf8 && imap_mutf7_encode(&coded, name) && out_ok(&coded))
		name = out_written(&coded);
	imap_put_astring(o, name, utf8);
}
