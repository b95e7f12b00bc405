/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First the pieces as they stand, then RFC 2231 put together: name*0, name*1*, ... become one value.
 * Unquoted values reach to the next semicolon or blank, because many mailers forget the quotes. */
#include "proto/mime/ctype.h"

#include "core/base/text.h"

enum { COMMENT_DEPTH = 50, SECTION_MAX = 999 };

/* One parameter before it is put together. */
struct piece {
	slice name, value;
	int section;   /* of name*section; -1: none */
	bool extended; /* name*=: percent-encoded, the first with charset and language */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Comments nest; an open one swallows the rest. */
static void skip_comment(slice *in)
{
	unsigned depth = 0;

	while (in->len) {
		char c = in->ptr[0];

		*in = slice_skip(*in, c == '\\' ? 2 : 1);
		if (c == '(' && depth < COMMENT_DEPTH)
			depth++;
		else if (c == ')' && --depth == 0)
			return;
	}
}

static void skip_blanks(slice *in)
{
	while (in->len) {
		if (in->ptr[0] == '(')
			skip_comment(in);
		else if (is_blank(in->ptr[0]))
			*in = slice_skip(*in, 1);
		else
			return;
	}
}

static slice cut_until(slice *in, const char *stops)
{
	size_t len = 0;

	while (len < in->len && !is_blank(in->ptr[len]) &&
		!(in->ptr[len] && strchr(stops, in->ptr[len])))
		len++;
	slice head = slice_sub(*in, 0, len);

	*in = slice_skip(*in, len);
	return head;
}

/* The inside of a quoted string; copied only when something in it is escaped or folded. */
static slice cut_quoted(slice *in, struct arena *a)
{
	char *copy = NULL;
	size_t at = 1, len = 0;

	while (at < in->len && in->ptr[at] != '"') {
		if (!copy && strchr("\\\r\n", in->ptr[at]) && in->ptr[at]) {
			copy = arena_alloc(a, in->len);
			memcpy(copy, in->ptr + 1, len);
		}
		if (in->ptr[at] == '\\' && at + 1 < in->len)
			at++;
		bool keep = in->ptr[at] != '\r' && in->ptr[at] != '\n';

		if (copy && keep)
			copy[len] = in->ptr[at];
		len += keep;
		at++;
	}
	slice text = copy ? slice_of(copy, len) : slice_sub(*in, 1, at);

	*in = slice_skip(*in, at + 1);
	return text;
}

/* "name*1*" into its three parts. */
static void split_name(struct piece *piece)
{
	ptrdiff_t star;
	uint64_t section;

	piece->section = -1;
	if (piece->name.len && piece->name.ptr[piece->name.len - 1] == '*') {
		piece->extended = true;
		piece->name.len--;
	}
	star = slice_find(piece->name, '*');
	if (star < 0)
		return;
	if (text_parse_uint(slice_skip(piece->name, (size_t)star + 1), SECTION_MAX, &section))
		piece->section = (int)section;
	piece->name.len = (size_t)star;
}

static bool next_piece(slice *in, struct arena *a, struct piece *out)
{
	slice name;

	while (in->len) {
		cut_until(in, ";(\"");
		skip_blanks(in);
		if (in->len && in->ptr[0] == '"')
			cut_quoted(in, a);
		if (in->len == 0 || in->ptr[0] != ';')
			continue;
		*in = slice_skip(*in, 1);
		skip_blanks(in);
		name = cut_until(in, "=;(\"");
		skip_blanks(in);
		if (name.len == 0 || in->len == 0 || in->ptr[0] != '=')
			continue;
		*in = slice_skip(*in, 1);
		skip_blanks(in);
		*out = (struct piece){ .name = name };
		out->value = in->len && in->ptr[0] == '"' ? cut_quoted(in, a) : cut_until(in, ";");
		split_name(out);
		return out->name.len > 0;
	}
	return false;
}

/* RFC 2231 ----------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (text_is_digit(c))
		return c - '0';
	c = text_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void put_percent(struct out *o, slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		int high = s.ptr[i] == '%' && i + 2 < s.len ? hex_digit(s.ptr[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(s.ptr[i + 2]) : -1;

		if (low < 0) {
			out_char(o, s.ptr[i]);
		} else {
			out_u8(o, (uint8_t)(high << 4 | low));
			i += 2;
		}
	}
}

/* charset'language'text */
static void cut_charset(slice *value, struct ctype_param *param)
{
	slice rest = *value, charset;

	if (!slice_cut(&rest, '\'', &charset) || slice_find(rest, '\'') < 0)
		return;
	param->charset = charset;
	slice_cut(&rest, '\'', &param->language);
	*value = rest;
}

static const struct piece *find_section(const struct piece *pieces, size_t count, slice name,
	int section)
{
	for (size_t i = 0; i < count; i++)
		if (pieces[i].section == section && slice_eq_nocase(pieces[i].name, name))
			return &pieces[i];
	return NULL;
}

/* The first piece and, if it is numbered, all that follow. */
static struct ctype_param join(const struct piece *first, const struct piece *pieces, size_t count,
	struct arena *a)
{
	struct ctype_param param = { .name = first->name, .value = first->value };
	const struct piece *piece = first;
	struct out o;
	slice text = first->value;

	if (!first->extended && first->section < 0)
		return param;
	if (first->extended)
		cut_charset(&text, &param);
	o = out_arena(a);
	for (int section = 1; piece; section++) {
		if (piece->extended)
			put_percent(&o, text);
		else
			out_slice(&o, text);
		piece = first->section < 0 ? NULL :
					     find_section(pieces, count, first->name, section);
		text = piece ? piece->value : text;
	}
	param.value = out_written(&o);
	return param;
}

static void add_param(struct ctype *t, struct ctype_param param, bool extended)
{
	for (size_t i = 0; i < t->count; i++)
		if (slice_eq_nocase(t->params[i].name, param.name)) {
			/* RFC 2231 4.1's form is the better one when both are there. */
			if (extended)
				t->params[i] = param;
			return;
		}
	t->params[t->count++] = param;
}

static void read_params(slice in, struct arena *a, struct ctype *out)
{
	struct piece pieces[CTYPE_PARAMS_MAX];
	size_t count = 0;

	while (count < CTYPE_PARAMS_MAX && in.len)
		if (next_piece(&in, a, &pieces[count]))
			count++;
	if (count == 0)
		return;
	out->params = arena_array(a, struct ctype_param, count);
	for (size_t i = 0; i < count; i++)
		if (pieces[i].section <= 0)
			add_param(out, join(&pieces[i], pieces, count, a),
				pieces[i].extended || pieces[i].section == 0);
}

/* -------------------------------------------------------------------------------------------- */

bool ctype_parse(slice value, struct arena *a, struct ctype *out)
{
	static const char stops[] = "/;()<>@,\\:\"[]?=";
	struct ctype t = { 0 };

	*out = (struct ctype){ .type = SLICE("text"), .subtype = SLICE("plain") };
	skip_blanks(&value);
	t.type = cut_until(&value, stops);
	skip_blanks(&value);
	if (t.type.len == 0 || value.len == 0 || value.ptr[0] != '/')
		return false;
	value = slice_skip(value, 1);
	skip_blanks(&value);
	t.subtype = cut_until(&value, stops);
	if (t.subtype.len == 0)
		return false;
	read_params(value, a, &t);
	*out = t;
	return true;
}

bool ctype_parse_disposition(slice value, struct arena *a, struct ctype *out)
{
	bool good;

	*out = (struct ctype){ 0 };
	skip_blanks(&value);
	out->type = cut_until(&value, "/;()<>@,\\:\"[]?=");
	good = out->type.len > 0;
	if (!good)
		out->type = SLICE("attachment");
	read_params(value, a, out);
	return good;
}

bool ctype_is(const struct ctype *t, const char *type, const char *subtype)
{
	return slice_eq_nocase(t->type, slice_str(type)) &&
		slice_eq_nocase(t->subtype, slice_str(subtype));
}

bool ctype_param(const struct ctype *t, const char *name, slice *out)
{
	for (size_t i = 0; i < t->count; i++)
		if (slice_eq_nocase(t->params[i].name, slice_str(name))) {
			*out = t->params[i].value;
			return true;
		}
	return false;
}
