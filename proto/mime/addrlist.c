/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses are read in two steps: `scan` finds where a run of words ends, minding quotes and
 * comments, and `text_of` takes the quotes and comments out of what it found. Nothing recurses; the
 * bytes copied never exceed the bytes read. */
#include "proto/mime/addrlist.h"

struct scan {
	slice raw;     /* from the first word to the last */
	slice comment; /* the last one seen, without its parentheses */
	bool adjacent; /* two words without a dot between them: no local part, but a name */
	bool bad;      /* a byte that fits nowhere, a quote or comment left open */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Length of the quoted string or comment at the front; 0 when it is left open. */
static size_t quoted_len(slice in)
{
	for (size_t i = 1; i < in.len; i++) {
		if (in.ptr[i] == '\\')
			i++;
		else if (in.ptr[i] == '"')
			return i + 1;
	}
	return 0;
}

static size_t comment_len(slice in)
{
	unsigned depth = 0;

	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] == '\\')
			i++;
		else if (in.ptr[i] == '(' && ++depth > ADDRLIST_COMMENT_DEPTH)
			return 0;
		else if (in.ptr[i] == ')' && --depth == 0)
			return i + 1;
	}
	return 0;
}

/* RFC 5322 3.2.3, RFC 6532 3.2. Lenient: '[' and the like inside a name are taken as text. */
static bool is_atom(char c)
{
	static const bool others[256] = { [0 ... 32] = true,
		[127] = true,
		['('] = true,
		[')'] = true,
		['<'] = true,
		['>'] = true,
		['@'] = true,
		[','] = true,
		[';'] = true,
		[':'] = true,
		['\\'] = true,
		['"'] = true,
		['.'] = true };

	return !others[(unsigned char)c];
}

/* Skip one blank or comment; false when neither is next. */
static bool skip_gap(slice *in, struct scan *s)
{
	if (in->len && in->ptr[0] == '(') {
		size_t len = comment_len(*in);

		s->bad |= len == 0;
		s->comment = slice_sub(*in, 1, len ? len - 1 : 0);
		*in = slice_skip(*in, len ? len : in->len);
		return true;
	}
	if (in->len == 0 || !is_blank(in->ptr[0]))
		return false;
	*in = slice_skip(*in, 1);
	return true;
}

/* Length of the word, dot or bad byte at the front. */
static size_t token_len(slice in, struct scan *s)
{
	size_t len = 0;

	if (in.ptr[0] == '"') {
		len = quoted_len(in);
		s->bad |= len == 0;
		return len ? len : in.len;
	}
	while (len < in.len && is_atom(in.ptr[len]))
		len++;
	return len ? len : 1;
}

/* Words, dots, blanks and comments up to a byte of structure or the end. */
static struct scan scan(slice *in)
{
	struct scan s = { 0 };
	bool word = false;

	while (in->len) {
		size_t len;

		if (skip_gap(in, &s))
			continue;
		if (strchr("<>@,;:", in->ptr[0]) && in->ptr[0])
			break;
		len = token_len(*in, &s);
		s.bad |= in->ptr[0] == '\\' || in->ptr[0] == ')' || in->ptr[0] == '\0' ||
			in->ptr[0] == 127 || (in->ptr[0] > 0 && in->ptr[0] < 32);
		s.adjacent |= word && in->ptr[0] != '.';
		word = in->ptr[0] != '.';
		if (!s.raw.ptr)
			s.raw.ptr = in->ptr;
		s.raw.len = (size_t)(in->ptr + len - s.raw.ptr);
		*in = slice_skip(*in, len);
	}
	return s;
}

/* Is it good as it stands? In a name single spaces are. */
static bool is_plain(slice raw, bool name)
{
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i];

		if (c == '"' || c == '(' || c == '\t' || c == '\r' || c == '\n' || c == '\0')
			return false;
		if (c == ' ' && (!name || (i && raw.ptr[i - 1] == ' ')))
			return false;
	}
	return true;
}

/* The inside of a quoted string, escapes undone, line ends dropped, escaped ones too. */
static size_t unquote(slice quoted, char *to)
{
	size_t len = 0;

	for (size_t i = 1; i + 1 < quoted.len; i++) {
		if (quoted.ptr[i] == '\\' && i + 2 < quoted.len)
			i++;
		if (quoted.ptr[i] != '\r' && quoted.ptr[i] != '\n')
			to[len++] = quoted.ptr[i];
	}
	return len;
}

/* A name keeps one space where there was a gap, a local part or domain none. */
static slice text_of(slice raw, bool name, struct arena *a)
{
	struct scan ignored = { 0 };
	bool gap = false;
	size_t len = 0;
	char *text;

	if (is_plain(raw, name))
		return raw;
	text = arena_alloc(a, raw.len + 1);
	while (raw.len) {
		if (skip_gap(&raw, &ignored)) {
			gap = true;
			continue;
		}
		size_t token = token_len(raw, &ignored);

		if (gap && name && len)
			text[len++] = ' ';
		gap = false;
		if (raw.ptr[0] == '"') {
			len += unquote(slice_sub(raw, 0, token), text + len);
		} else {
			memcpy(text + len, raw.ptr, token);
			len += token;
		}
		raw = slice_skip(raw, token);
	}
	return slice_of(text, len);
}

/* Behind the '@': labels, or a literal in brackets. */
static bool read_domain(struct addrlist *l, struct addrlist_item *out, slice *out_comment)
{
	struct scan s = { 0 };

	while (skip_gap(&l->rest, &s)) {
	}
	if (l->rest.len && l->rest.ptr[0] == '[') {
		ptrdiff_t end = slice_find(l->rest, ']');

		if (end < 0)
			return false;
		out->domain = slice_sub(l->rest, 0, (size_t)end + 1);
		l->rest = slice_skip(l->rest, (size_t)end + 1);
		while (skip_gap(&l->rest, &s)) {
		}
	} else {
		s = scan(&l->rest);
		out->domain = text_of(s.raw, false, l->arena);
	}
	*out_comment = s.comment;
	return !s.bad && !s.adjacent && out->domain.len > 0 && slice_find(s.raw, '"') < 0;
}

/* "@a,@b:" of RFC 5322 4.4. */
static bool read_route(struct addrlist *l, struct addrlist_item *out)
{
	if (l->rest.len == 0 || l->rest.ptr[0] != '@')
		return true;
	ptrdiff_t colon = slice_find(l->rest, ':');

	out->route = slice_trim(slice_sub(l->rest, 0, colon < 0 ? 0 : (size_t)colon));
	l->rest = slice_skip(l->rest, colon < 0 ? l->rest.len : (size_t)colon + 1);
	return colon >= 0;
}

static bool starts_with(const struct addrlist *l, char c)
{
	return l->rest.len && l->rest.ptr[0] == c;
}

/* Behind the '<' of "name <local@domain>". */
static bool read_angle(struct addrlist *l, struct addrlist_item *out)
{
	struct scan s = scan(&l->rest);
	slice comment;

	if (s.raw.len == 0) {
		if (!read_route(l, out))
			return false;
		s = scan(&l->rest);
	}
	if (s.bad || s.adjacent)
		return false;
	out->local = text_of(s.raw, false, l->arena);
	if (starts_with(l, '@')) {
		l->rest = slice_skip(l->rest, 1);
		if (!read_domain(l, out, &comment))
			return false;
	}
	if (!starts_with(l, '>') || out->local.len == 0)
		return false;
	l->rest = slice_skip(l->rest, 1);
	return true;
}

/* What stands before the byte of structure is known: which kind of address is it? */
static bool read_item(struct addrlist *l, struct scan *s, struct addrlist_item *out)
{
	slice comment = s->comment;

	if (s->bad)
		return false;
	if (starts_with(l, '<')) {
		l->rest = slice_skip(l->rest, 1);
		out->name = text_of(s->raw, true, l->arena);
		return read_angle(l, out);
	}
	if (s->raw.len == 0 || s->adjacent)
		return false;
	out->local = text_of(s->raw, false, l->arena);
	if (starts_with(l, '@')) {
		l->rest = slice_skip(l->rest, 1);
		if (!read_domain(l, out, &comment))
			return false;
	}
	out->name = comment;
	return true;
}

static struct addrlist_item group_begin(struct addrlist *l, slice raw)
{
	l->group = text_of(raw, true, l->arena);
	l->groups++;
	return (struct addrlist_item){
		.kind = ADDRLIST_GROUP, .name = l->group, .group = l->group
	};
}

static struct addrlist_item group_end(struct addrlist *l)
{
	l->group = (slice){ 0 };
	return (struct addrlist_item){ .kind = ADDRLIST_GROUP_END };
}

enum found { FOUND_END, FOUND_MARK, FOUND_ITEM };

/* Separators, group ends and group names before the next address. */
static enum found skip_to_item(struct addrlist *l, struct scan *s, struct addrlist_item *mark)
{
	for (;;) {
		bool marked = false;

		*s = scan(&l->rest);
		if (starts_with(l, ':') && !s->bad && s->raw.len) {
			/* A group inside a group ends the first one. */
			if (l->marks && l->group.ptr) {
				l->rest = slice_of(s->raw.ptr,
					(size_t)(l->rest.ptr + l->rest.len - s->raw.ptr));
				*mark = group_end(l);
				return FOUND_MARK;
			}
			*mark = group_begin(l, s->raw);
			marked = true;
		} else if (s->raw.len || s->bad) {
			return FOUND_ITEM;
		} else if (starts_with(l, ';')) {
			/* Outlook's separator; RFC 5322 has none but the comma. */
			l->bad |= !l->group.ptr;
			marked = l->group.ptr;
			*mark = group_end(l);
		} else if (l->rest.len == 0) {
			if (!l->marks || !l->group.ptr)
				return FOUND_END;
			*mark = group_end(l);
			return FOUND_MARK;
		} else if (!starts_with(l, ',')) {
			return FOUND_ITEM;
		}
		l->rest = slice_skip(l->rest, 1);
		if (marked && l->marks)
			return FOUND_MARK;
	}
}

/* "a@x <b@y>", where somebody forgot the quotes: what stands in front of the angle is the name, as
 * everybody means it who writes so. `begin` is its first byte. */
static bool read_named(struct addrlist *l, const char *begin, struct addrlist_item *out)
{
	struct scan s = { 0 };
	slice name;

	while (starts_with(l, '@') && !s.bad) {
		l->rest = slice_skip(l->rest, 1);
		s = scan(&l->rest);
	}
	if (s.bad || !starts_with(l, '<'))
		return false;
	name = slice_trim(slice_of(begin, (size_t)(l->rest.ptr - begin)));
	l->rest = slice_skip(l->rest, 1);
	*out = (struct addrlist_item){ .name = text_of(name, true, l->arena), .group = l->group };
	return read_angle(l, out);
}

/* Nothing but comments stand between a whole address and the next. */
static bool ends_well(struct addrlist *l)
{
	struct scan s = scan(&l->rest);

	if (s.bad || s.raw.len)
		return false;
	return l->rest.len == 0 || l->rest.ptr[0] == ',' || l->rest.ptr[0] == ';';
}

bool addrlist_next(struct addrlist *l, struct addrlist_item *out)
{
	enum found found;
	struct scan s;

	while ((found = skip_to_item(l, &s, out)) != FOUND_END) {
		struct addrlist_item item = { .group = l->group };
		bool angle = starts_with(l, '<'), whole;

		if (found == FOUND_MARK)
			return true;
		whole = read_item(l, &s, &item);
		*out = item;
		if (whole && ends_well(l))
			return true;
		l->bad = true;
		if (l->salvage && s.raw.len && !angle && !s.bad &&
			read_named(l, s.raw.ptr, &item)) {
			*out = item;
			angle = whole = true;
		}
		ptrdiff_t comma = slice_find(l->rest, ',');

		l->rest = slice_skip(l->rest, comma < 0 ? l->rest.len : (size_t)comma + 1);
		if (whole && angle && l->salvage)
			return true;
	}
	return false;
}

void addrlist_put(struct out *o, const struct addrlist_item *item)
{
	bool quote = item->local.len == 0 || item->local.ptr[0] == '.' ||
		item->local.ptr[item->local.len - 1] == '.' ||
		slice_search(item->local, SLICE("..")) >= 0;

	for (size_t i = 0; i < item->local.len; i++)
		quote |= item->local.ptr[i] != '.' &&
			(!is_atom(item->local.ptr[i]) || strchr("[]", item->local.ptr[i]));
	if (quote)
		out_char(o, '"');
	for (size_t i = 0; i < item->local.len; i++) {
		if (quote && (item->local.ptr[i] == '"' || item->local.ptr[i] == '\\'))
			out_char(o, '\\');
		out_char(o, item->local.ptr[i]);
	}
	if (quote)
		out_char(o, '"');
	if (item->domain.len) {
		out_char(o, '@');
		out_slice(o, item->domain);
	}
}
