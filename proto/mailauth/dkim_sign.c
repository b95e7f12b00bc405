/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Choosing fields, hashing them once, and rendering DKIM-Signature around a signature made elsewhere.
 *
 * The text is rendered before it is signed, with b= last and empty; finishing only adds to its end,
 * so what was hashed is what is sent. */
#include "proto/mailauth/dkim_sign.h"

#include "core/base/codec.h"
#include "proto/mailauth/dkim_int.h"
#include "proto/mime/header.h"

enum { LINE = 76, B64_LINE = 72 };

/* Configuration ------------------------------------------------------------------------------- */

/* RFC 6376 5.4: these change on the way, or are not for every reader. */
static bool may_be_signed(slice name)
{
	static const slice never[] = { SLICE_INIT("Return-Path"), SLICE_INIT("Received"),
		SLICE_INIT("DKIM-Signature"), SLICE_INIT("Bcc"), SLICE_INIT("Resent-Bcc") };

	for (size_t i = 0; i < array_len(never); i++)
		if (slice_eq_nocase(name, never[i]))
			return false;
	return true;
}

static bool is_field_name(slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!header_is_name_byte((unsigned char)name.ptr[i]) || name.ptr[i] == ';')
			return false;
	return name.len > 0;
}

static bool has_name(const struct dkim_fields *fields, slice name)
{
	for (size_t i = 0; i < fields->count; i++)
		if (slice_eq_nocase(fields->rows[i].name, name))
			return true;
	return false;
}

static struct dkim_field_row read_row(slice text)
{
	struct dkim_field_row row = { .name = dkim_trim(text), .rule = DKIM_EACH };

	if (row.name.len && row.name.ptr[0] == '+')
		row.rule = DKIM_OVERSIGN;
	else if (row.name.len && row.name.ptr[0] == '~')
		row.rule = DKIM_OVERSIGN_PRESENT;
	if (row.rule != DKIM_EACH)
		row.name = slice_skip(row.name, 1);
	return row;
}

enum err dkim_fields_parse(slice option, struct arena *a, struct dkim_fields *out)
{
	struct dkim_fields fields = { 0 };
	slice rest = arena_dup(a, option), text;
	size_t max = 1;

	for (size_t i = 0; i < option.len; i++)
		max += option.ptr[i] == ':';
	fields.rows = arena_array(a, struct dkim_field_row, max);
	while (slice_cut(&rest, ':', &text)) {
		struct dkim_field_row row = read_row(text);

		if (!is_field_name(row.name) || !may_be_signed(row.name) ||
			has_name(&fields, row.name))
			return ERR_INVALID;
		fields.rows[fields.count++] = row;
	}
	if (!has_name(&fields, SLICE("From")))
		return ERR_INVALID;
	*out = fields;
	return OK;
}

/* Selection ----------------------------------------------------------------------------------- */

static size_t times_signed(const struct dkim_field_row *row, size_t present)
{
	switch (row->rule) {
	case DKIM_OVERSIGN:
		return present + 1;
	case DKIM_OVERSIGN_PRESENT:
		return present ? present + 1 : 0;
	default:
		return present;
	}
}

/* Hash the fields of one name, and note it as often. */
static void select_row(struct dkim_index *x, slice name, size_t times, struct dkim_hasher *h,
	struct dkim_selection *out)
{
	slice whole;

	for (size_t i = 0; i < times; i++) {
		out->names[out->count++] = name;
		if (dkim_index_take(x, name, &whole))
			dkim_canon_field(out->canon, whole, false, &h->out);
	}
}

enum err dkim_select(const struct dkim_fields *fields, slice block, enum dkim_canon canon,
	struct arena *a, struct dkim_selection *out)
{
	struct dkim_selection selection = { .canon = canon };
	struct dkim_hasher hasher;
	struct dkim_index index;

	dkim_index_init(&index, block, a);
	if (dkim_index_count(&index, SLICE("From")) == 0)
		return ERR_INVALID;
	/* Each field is named once at most, and each row once more than there are fields. */
	selection.names = arena_array(a, slice, index.count + fields->count);
	dkim_hasher_init(&hasher);
	for (size_t i = 0; i < fields->count; i++) {
		const struct dkim_field_row *row = &fields->rows[i];
		size_t present = dkim_index_count(&index, row->name);

		select_row(&index, row->name, times_signed(row, present), &hasher, &selection);
	}
	dkim_hasher_flush(&hasher);
	selection.hash = hasher.hash;
	*out = selection;
	return OK;
}

/* Rendering ----------------------------------------------------------------------------------- */

/* Lines of at most LINE bytes where the words allow it. */
struct folder {
	struct out *out;
	size_t col;
};

/* `text` on this line if it fits with what must follow it, else on a new one. */
static void put_word(struct folder *f, slice text, size_t follows)
{
	if (f->col + text.len + follows > LINE && f->col > 8) {
		out_str(f->out, "\r\n\t");
		f->col = 8;
	}
	out_slice(f->out, text);
	f->col += text.len;
}

/* "; name=value", the value of two parts. */
static void put_tag(struct folder *f, const char *name, slice value, slice more)
{
	size_t len = strlen(name) + value.len;

	out_char(f->out, ';');
	f->col++;
	if (f->col + 1 + len + more.len + 1 <= LINE) {
		out_char(f->out, ' ');
		f->col++;
	}
	put_word(f, slice_str(name), value.len + more.len + 1);
	out_slice(f->out, value);
	out_slice(f->out, more);
	f->col += value.len + more.len;
}

static void put_time(struct folder *f, const char *name, int64_t seconds)
{
	char digits[24];
	struct out text = out_fixed(digits, sizeof(digits));

	if (seconds == 0)
		return;
	out_int(&text, seconds);
	put_tag(f, name, out_written(&text), (slice){ 0 });
}

static void put_names(struct folder *f, const struct dkim_selection *selection)
{
	out_str(f->out, ";\r\n\th=");
	f->col = 10;
	for (size_t i = 0; i < selection->count; i++) {
		put_word(f, selection->names[i], 1);
		if (i + 1 < selection->count) {
			out_char(f->out, ':');
			f->col++;
		}
	}
}

static void put_text(const struct dkim_signer *s, const struct dkim_selection *selection,
	const unsigned char *body_hash, struct out *o)
{
	static const slice header[] = { SLICE_INIT("simple"), SLICE_INIT("relaxed") };
	static const slice body[] = { SLICE_INIT("/simple"), SLICE_INIT("/relaxed") };
	static const slice types[] = { SLICE_INIT("rsa-sha256"), SLICE_INIT("ed25519-sha256") };
	struct folder f = { .out = o, .col = 19 };
	slice none = { 0 };

	out_str(o, "DKIM-Signature: v=1");
	put_tag(&f, "a=", types[s->type], none);
	put_tag(&f, "c=", header[selection->canon], body[s->body_canon]);
	put_tag(&f, "d=", s->domain, none);
	put_tag(&f, "s=", s->selector, none);
	if (s->identity.len)
		put_tag(&f, "i=", s->identity, none);
	put_time(&f, "t=", s->signed_at);
	put_time(&f, "x=", s->expires_at);
	put_names(&f, selection);
	out_str(o, ";\r\n\tbh=");
	codec_put_base64(o, slice_of(body_hash, DKIM_HASH));
	out_str(o, ";\r\n\tb=");
}

void dkim_sign_begin(const struct dkim_signer *s, const struct dkim_selection *selection,
	const unsigned char body_hash[DKIM_HASH], struct arena *a, struct dkim_draft *out)
{
	struct out text = out_arena(a);
	struct dkim_hasher hasher;

	put_text(s, selection, body_hash, &text);
	*out = (struct dkim_draft){ .text = out_written(&text), .type = s->type };
	dkim_hasher_init(&hasher);
	hasher.hash = selection->hash;
	dkim_canon_field(selection->canon, out->text, true, &hasher.out);
	dkim_hasher_flush(&hasher);
	sha256_end(&hasher.hash, out->digest);
}

void dkim_sign_finish(const struct dkim_draft *d, slice sig, struct out *o)
{
	char text[SIGKEY_SIG_MAX / 3 * 4 + 8];
	struct out base64 = out_fixed(text, sizeof(text));
	slice rest;

	must(sig.len <= SIGKEY_SIG_MAX);
	codec_put_base64(&base64, sig);
	out_slice(o, d->text);
	for (rest = out_written(&base64); rest.len; rest = slice_skip(rest, B64_LINE)) {
		if (rest.ptr != text)
			out_str(o, "\r\n\t");
		out_slice(o, slice_sub(rest, 0, B64_LINE));
	}
	out_str(o, "\r\n");
}
