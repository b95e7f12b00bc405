/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log_line.c - what a line of the log looks like, as key=value or JSON.
 *
 * Values come from outside: a byte that could end the line, forge a field or talk to a terminal
 * (C0, DEL, C1, broken UTF-8) never passes as it is. */
#include "core/log_line.h"

#include "core/addr.h"
#include "core/base/text.h"

enum { TAIL = 32 }; /* room for what closes a cut line */

/* Bytes of a value that needs no quotes. */
static const bool bare[256] = {
	['0' ... '9'] = true,
	['A' ... 'Z'] = true,
	['a' ... 'z'] = true,
	['.'] = true,
	['-'] = true,
	['_'] = true,
	['@'] = true,
	[':'] = true,
	['/'] = true,
	['+'] = true,
	['<'] = true,
	['>'] = true,
	['['] = true,
	[']'] = true,
	['*'] = true,
	[','] = true,
	['%'] = true,
	['#'] = true,
	['!'] = true,
	['~'] = true,
	['$'] = true,
	['&'] = true,
	['('] = true,
	[')'] = true,
	[';'] = true,
};

static bool is_bare(slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!bare[(unsigned char)text.ptr[i]])
			return false;
	return text.len > 0;
}

/* Length of the UTF-8 sequence at the start that may be shown as it is; 0: none. */
static size_t shown_sequence(slice text)
{
	unsigned char c = (unsigned char)text.ptr[0];
	size_t len = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (len == 0 || len > text.len || !text_is_utf8(slice_sub(text, 0, len)))
		return 0;
	/* U+0080 to U+009F are controls to many terminals. */
	if (c == 0xc2 && (unsigned char)text.ptr[1] < 0xa0)
		return 0;
	return len;
}

/* U+009B and U+007F are legal in a JSON text and still reach the terminal of whoever reads it. */
static void put_escape(struct out *o, slice text, enum log_format format)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char c = (unsigned char)text.ptr[0];
	const char x[] = { '\\', 'x', hex[c >> 4], hex[c & 15] };
	const char u[] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

	if (format == LOG_TEXT)
		out_bytes(o, x, sizeof(x));
	else if (c < 0x80)
		out_bytes(o, u, sizeof(u));
	else
		out_str(o, "\\ufffd");
}

static void put_quoted(struct out *o, slice text, enum log_format format)
{
	out_char(o, '"');
	for (size_t i = 0, len; i < text.len; i += len) {
		unsigned char c = (unsigned char)text.ptr[i];

		len = 1;
		if (c == '"' || c == '\\') {
			out_char(o, '\\');
			out_char(o, (char)c);
		} else if (c >= ' ' && c < 0x7f) {
			out_char(o, (char)c);
		} else if (c > 0x7f && shown_sequence(slice_skip(text, i)) > 0) {
			len = shown_sequence(slice_skip(text, i));
			out_bytes(o, text.ptr + i, len);
		} else {
			put_escape(o, slice_skip(text, i), format);
		}
	}
	out_char(o, '"');
}

static void put_text(struct out *o, slice text, enum log_format format)
{
	text = slice_sub(text, 0, LOG_VALUE_MAX);
	if (format == LOG_TEXT && is_bare(text))
		out_slice(o, text);
	else
		put_quoted(o, text, format);
}

static void put_seconds(struct out *o, msec ms)
{
	uint64_t n = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;

	if (ms < 0)
		out_char(o, '-');
	out_uint(o, n / 1000);
	out_char(o, '.');
	for (unsigned digit = 100; digit > 0; digit /= 10)
		out_char(o, (char)('0' + n / digit % 10));
}

static void put_addr(struct out *o, const struct addr *addr, enum log_format format)
{
	char buf[ADDR_TEXT];
	struct out text = out_fixed(buf, sizeof(buf));

	addr_put_ip(&text, addr);
	put_text(o, out_written(&text), format);
}

static void put_value(struct out *o, const struct log_field *f, enum log_format format)
{
	switch (f->kind) {
	case LOG_SLICE:
		put_text(o, f->text, format);
		break;
	case LOG_INT:
		out_int(o, f->number);
		break;
	case LOG_UINT:
		out_uint(o, f->bits);
		break;
	case LOG_MSEC:
		put_seconds(o, f->number);
		break;
	case LOG_BOOL:
		out_str(o, f->bits ? "true" : "false");
		break;
	case LOG_ADDR:
		put_addr(o, f->addr, format);
		break;
	case LOG_ERR:
		put_text(o, slice_str(err_text((enum err)f->number)), format);
		break;
	}
}

/* The date is the costly part and changes once a second. */
static void put_time(struct out *o, wall_ms at)
{
	static _Thread_local struct {
		wall_ms second;
		char text[20]; /* 2026-11-21T22:39:52. */
	} last;
	wall_ms second = at / 1000;
	unsigned ms = (unsigned)(at % 1000);

	if (second != last.second || last.text[0] == 0) {
		char buf[32];
		struct out fresh = out_fixed(buf, sizeof(buf));

		text_put_timestamp(&fresh, second * 1000);
		memcpy(last.text, buf, sizeof(last.text));
		last.second = second;
	}
	const char tail[] = { (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
		(char)('0' + ms % 10), 'Z' };

	out_bytes(o, last.text, sizeof(last.text));
	out_bytes(o, tail, sizeof(tail));
}

static void put_head(struct out *o, const struct log_line *line, enum log_format format)
{
	if (format == LOG_JSON)
		out_str(o, "{\"time\":\"");
	put_time(o, line->at);
	out_str(o, format == LOG_JSON ? "\",\"level\":\"" : " ");
	out_str(o, log_level_words[line->level]);
	out_str(o, format == LOG_JSON ? "\",\"event\":\"" : " ");
	out_str(o, line->event);
	if (format == LOG_JSON)
		out_char(o, '"');
}

static void put_field(struct out *o, const struct log_field *f, enum log_format format)
{
	out_str(o, format == LOG_JSON ? ",\"" : " ");
	out_str(o, f->name);
	out_str(o, format == LOG_JSON ? "\":" : "=");
	put_value(o, f, format);
}

size_t log_line_put(const struct log_line *line, enum log_format format, char buf[LOG_LINE_MAX])
{
	struct out o = out_fixed(buf, LOG_LINE_MAX - TAIL);
	bool cut = false;

	put_head(&o, line, format);
	for (size_t i = 0; i < line->count; i++) {
		size_t before = o.len;

		if (!line->fields[i].name)
			continue;
		put_field(&o, &line->fields[i], format);
		if (out_ok(&o))
			continue;
		o.len = before;
		o.overflow = false;
		cut = true;
	}
	o.cap = LOG_LINE_MAX;
	if (cut)
		out_str(&o, format == LOG_JSON ? ",\"cut\":true" : " cut=true");
	if (format == LOG_JSON)
		out_char(&o, '}');
	out_char(&o, '\n');
	return o.len;
}
