/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing the strings of a row: envelope, addresses, what a part says of itself.
 *
 * Everything comes from one header block in memory; strings that had to be changed live in the arena
 * until the part is written. Of fields that occur twice the first counts, but address lists are put
 * together: some mailers write one To: for each recipient. */
#include "core/base/text.h"
#include "proto/mime/addrlist.h"
#include "proto/mime/summary_int.h"

void summary_fields_of(slice block, struct summary_fields *out)
{
	struct header_field field;

	block = header_skip_stray(block);
	*out = (struct summary_fields){ .block = block };
	while (header_next(&block, &field)) {
		enum header_id id = header_id_of(field.name);

		out->again[id] = out->value[id].ptr != NULL;
		if (!out->value[id].ptr)
			out->value[id] = field.value;
	}
}

/* Strings ------------------------------------------------------------------------------------- */

enum { BREAKS = 1, QUOTES = 2, HIGH = 4 };

static const unsigned char classes[256] = {
	[0] = BREAKS,
	['\r'] = BREAKS,
	['\n'] = BREAKS,
	['"'] = QUOTES,
	['\\'] = QUOTES,
	[128 ... 255] = HIGH,
};

static unsigned classes_of(slice s)
{
	unsigned all = 0;

	for (size_t i = 0; i < s.len; i++)
		all |= classes[(unsigned char)s.ptr[i]];
	return all;
}

static slice without_breaks(slice s, struct arena *a)
{
	char *to = arena_alloc(a, s.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < s.len; i++)
		if (!(classes[(unsigned char)s.ptr[i]] & BREAKS))
			to[len++] = s.ptr[i];
	return slice_of(to, len);
}

/* The string as it is, but for what no IMAP string may hold. False: cut. */
static bool put_cut(struct out *o, slice s, struct arena *a, size_t max)
{
	enum summary_safe safe = SUMMARY_QUOTED;
	bool whole = s.len <= max;
	unsigned found;

	s = slice_sub(s, 0, max);
	found = classes_of(s);
	if (found & BREAKS)
		s = without_breaks(s, a);
	if (s.len > SUMMARY_QUOTED_MAX || (found & HIGH && !text_is_utf8(s)))
		safe = SUMMARY_LITERAL;
	else if (found & HIGH)
		safe = SUMMARY_UTF8;
	else if (found & QUOTES)
		safe = SUMMARY_ESCAPED;
	out_varint(o, ((uint64_t)s.len << 2 | safe) + 1);
	out_slice(o, s);
	return whole;
}

static void put_exact(struct out *o, slice s, struct arena *a)
{
	(void)put_cut(o, s, a, SUMMARY_TEXT_MAX);
}

static void put_none(struct out *o)
{
	out_varint(o, 0);
}

static slice trim(slice s)
{
	while (s.len &&
		(s.ptr[0] == ' ' || s.ptr[0] == '\t' || s.ptr[0] == '\r' || s.ptr[0] == '\n'))
		s = slice_skip(s, 1);
	while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1]) && s.ptr[s.len - 1])
		s.len--;
	return s;
}

/* Unfolded, without NUL, cut to SUMMARY_TEXT_MAX. ptr NULL: none. */
static void put_string(struct out *o, slice raw, struct arena *a)
{
	if (raw.ptr)
		put_exact(o, trim(raw), a);
	else
		put_none(o);
}

void summary_put_list(struct out *o, slice items)
{
	if (!items.ptr) {
		put_none(o);
		return;
	}
	out_varint(o, items.len + 1);
	out_slice(o, items);
}

/* Envelope ------------------------------------------------------------------------------------ */

/* One list being written, of one field or several. */
struct items {
	struct out o;
	unsigned count;
	size_t left; /* bytes of the envelope */
	struct arena *a;
	struct summary_room *room;
};

static void put_name(struct items *items, slice s)
{
	if (!put_cut(&items->o, s, items->a, items->room->text))
		items->room->cut = true;
}

static void put_or_none(struct items *items, slice s)
{
	if (s.len)
		put_name(items, s);
	else
		put_none(&items->o);
}

static void put_address(struct items *items, const struct addrlist_item *item)
{
	static const unsigned char kinds[] = {
		[ADDRLIST_ADDRESS] = SUMMARY_ADDRESS,
		[ADDRLIST_GROUP] = SUMMARY_GROUP,
		[ADDRLIST_GROUP_END] = SUMMARY_GROUP_END,
	};

	out_u8(&items->o, kinds[item->kind]);
	if (item->kind == ADDRLIST_GROUP_END)
		return;
	if (item->kind == ADDRLIST_GROUP) {
		put_name(items, item->name);
		return;
	}
	put_or_none(items, trim(item->name));
	put_or_none(items, item->route);
	put_name(items, item->local);
	put_name(items, item->domain.ptr ? item->domain : SLICE(""));
}

/* What was no address at all is shown as a name: better than nobody. */
static void put_wreck(struct items *items, slice value)
{
	struct addrlist_item item = { .name = trim(value) };

	if (item.name.len)
		put_address(items, &item);
}

/* False: the rest was left out. */
static bool add_addresses(struct items *items, slice value)
{
	struct addrlist list = { .rest = value, .arena = items->a, .marks = true, .salvage = true };
	struct addrlist_item item;
	bool all = true;

	while (all && addrlist_next(&list, &item)) {
		put_address(items, &item);
		all = ++items->count < items->room->addresses && items->o.len < items->left;
	}
	/* A group that was left open when the room ran out. */
	if (!all && list.group.ptr)
		out_u8(&items->o, SUMMARY_GROUP_END);
	return all;
}

/* The fields of that name behind the first. */
static bool add_others(struct items *items, const struct summary_fields *f, enum header_id id)
{
	struct header_field field;
	slice rest = f->block;
	bool all = true;

	while (all && header_next(&rest, &field))
		if (field.value.ptr != f->value[id].ptr && header_id_of(field.name) == id)
			all = add_addresses(items, field.value);
	return all;
}

static void put_addresses(struct out *o, const struct summary_fields *f, enum header_id id,
	struct items items)
{
	bool all;

	items.o = out_arena(items.a);
	items.left = items.room->all - MIN(o->len, items.room->all);
	if (!f->value[id].ptr) {
		put_none(o);
		return;
	}
	all = add_addresses(&items, f->value[id]);
	/* A message has one sender. */
	if (all && f->again[id] && id != HEADER_SENDER)
		all = add_others(&items, f, id);
	if (items.count == 0)
		put_wreck(&items, f->value[id]);
	summary_put_list(o, items.o.len ? out_written(&items.o) : SLICE(""));
	items.room->cut |= !all;
}

void summary_put_envelope(struct out *o, const struct summary_fields *f, struct arena *a,
	struct summary_room *room)
{
	static const unsigned char texts[] = { HEADER_DATE, HEADER_SUBJECT, HEADER_MESSAGE_ID,
		HEADER_IN_REPLY_TO, HEADER_REFERENCES, HEADER_LIST_ID };
	static const unsigned char lists[SUMMARY_LISTS] = {
		[SUMMARY_FROM] = HEADER_FROM,
		[SUMMARY_SENDER] = HEADER_SENDER,
		[SUMMARY_REPLY_TO] = HEADER_REPLY_TO,
		[SUMMARY_TO] = HEADER_TO,
		[SUMMARY_CC] = HEADER_CC,
		[SUMMARY_BCC] = HEADER_BCC,
	};

	for (size_t i = 0; i < array_len(texts); i++) {
		slice raw = f->value[texts[i]];

		if (!raw.ptr)
			put_none(o);
		else if (!put_cut(o, trim(raw), a, room->text))
			room->cut = true;
	}
	for (size_t i = 0; i < SUMMARY_LISTS; i++)
		put_addresses(o, f, (enum header_id)lists[i],
			(struct items){ .a = a, .room = room });
}

void summary_make_envelope(slice header, struct out *o)
{
	struct summary_room room = { .text = SUMMARY_LONG_MAX,
		.all = SUMMARY_LONG_ENVELOPE_MAX,
		.addresses = SUMMARY_LONG_ADDRESSES_MAX };
	struct summary_fields fields;
	struct arena a = { 0 };

	summary_fields_of(slice_sub(header, 0, SUMMARY_LONG_MAX), &fields);
	summary_put_envelope(o, &fields, &a, &room);
	arena_done(&a);
}

/* Parts --------------------------------------------------------------------------------------- */

/* RFC 2231 4: charset'language'bytes, percent-encoded. */
static slice extended_value(const struct ctype_param *param, struct arena *a)
{
	static const char hex[] = "0123456789ABCDEF";
	struct out o = out_arena(a);

	out_slice(&o, param->charset);
	out_char(&o, '\'');
	out_slice(&o, param->language);
	out_char(&o, '\'');
	for (size_t i = 0; i < param->value.len && o.len < SUMMARY_TEXT_MAX; i++) {
		unsigned char c = (unsigned char)param->value.ptr[i];

		if (text_is_alpha((char)c) || text_is_digit((char)c) || (c && strchr("-._~", c))) {
			out_u8(&o, c);
			continue;
		}
		out_char(&o, '%');
		out_char(&o, hex[c >> 4]);
		out_char(&o, hex[c & 15]);
	}
	return out_written(&o);
}

static void put_params(struct out *o, const struct ctype *t, struct arena *a)
{
	struct out list = out_arena(a);

	for (size_t i = 0; i < t->count; i++) {
		const struct ctype_param *param = &t->params[i];

		if (param->charset.len || param->language.len) {
			put_exact(&list, arena_printf(a, "%.*s*", SLICE_ARG(param->name)), a);
			put_exact(&list, extended_value(param, a), a);
		} else {
			put_exact(&list, param->name, a);
			put_exact(&list, param->value, a);
		}
	}
	summary_put_list(o, out_written(&list));
}

/* RFC 3282: tags with commas between. */
static void put_languages(struct out *o, slice value, struct arena *a)
{
	struct out list = out_arena(a);
	slice tag;

	while (slice_cut(&value, ',', &tag))
		if (trim(tag).len)
			put_exact(&list, trim(tag), a);
	summary_put_list(o, out_written(&list));
}

static bool is_token(slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!header_is_name_byte((unsigned char)s.ptr[i]))
			return false;
	return s.len > 0;
}

/* Only what has parts may be called multipart, or a message; what is no name says nothing. */
static struct ctype shown_type(const struct summary_dress *d, struct arena *a)
{
	static const struct ctype_param ascii = { .name = SLICE_INIT("charset"),
		.value = SLICE_INIT("us-ascii") };
	struct ctype plain = { .type = SLICE("text"), .subtype = SLICE("plain"), .count = 1 };
	const struct part *part = d->part;
	bool leaf = part->kind == PART_LEAF;
	bool multipart = slice_eq_nocase(part->type.type, SLICE("multipart"));

	if (d->flat || (leaf && ctype_is(&part->type, "message", "rfc822")))
		return (struct ctype){ .type = SLICE("application"),
			.subtype = SLICE("octet-stream") };
	if (part->has_type ? !(leaf && multipart) : !leaf) {
		plain = part->type;
		if (!is_token(plain.type) || !is_token(plain.subtype)) {
			plain.type = multipart ? plain.type : SLICE("application");
			plain.subtype = multipart ? SLICE("mixed") : SLICE("octet-stream");
		}
		return plain;
	}
	plain.params = arena_new(a, struct ctype_param);
	*plain.params = ascii;
	return plain;
}

static slice encoding_of(const struct summary_dress *d)
{
	slice value = trim(d->fields->value[HEADER_CONTENT_ENCODING]);
	size_t len = 0;

	while (len < value.len && !strchr(" \t\r\n;(", value.ptr[len]))
		len++;
	return len && !d->flat ? slice_sub(value, 0, len) : SLICE("7bit");
}

/* What a reader would offer for saving: not the text, nor an image that it refers to, nor a signature. */
static bool is_attachment(const struct summary_dress *d, const struct ctype *disposition)
{
	const struct ctype *t = &d->part->type;
	slice name;
	bool named = ctype_param(t, "name", &name) || ctype_param(disposition, "filename", &name);
	bool signature = slice_ends_nocase(t->subtype, SLICE("-signature")) &&
		slice_eq_nocase(t->type, SLICE("application"));
	bool referred = d->fields->value[HEADER_CONTENT_ID].ptr &&
		slice_eq_nocase(disposition->type, SLICE("inline"));

	if (d->part->kind == PART_MULTIPART || signature)
		return false;
	return d->attached || (named && !referred);
}

void summary_put_part(struct out *o, struct summary_dress *d, struct arena *a)
{
	static const struct summary_fields none;
	const struct summary_fields *f = d->flat ? &none : d->fields;
	struct ctype type = shown_type(d, a), disposition = { 0 };
	slice value = f->value[HEADER_CONTENT_DISPOSITION];

	if (value.ptr && !ctype_parse_disposition(value, a, &disposition))
		value.ptr = NULL;
	d->attached = slice_eq_nocase(disposition.type, SLICE("attachment"));
	d->has_attachment = is_attachment(d, &disposition);
	put_exact(o, type.type, a);
	put_exact(o, type.subtype, a);
	put_string(o, f->value[HEADER_CONTENT_ID], a);
	put_string(o, f->value[HEADER_CONTENT_DESCRIPTION], a);
	put_exact(o, encoding_of(d), a);
	put_string(o, f->value[HEADER_CONTENT_MD5], a);
	put_string(o, value.ptr ? disposition.type : (slice){ 0 }, a);
	put_string(o, f->value[HEADER_CONTENT_LOCATION], a);
	put_params(o, &type, a);
	put_params(o, &disposition, a);
	put_languages(o, f->value[HEADER_CONTENT_LANGUAGE], a);
}
