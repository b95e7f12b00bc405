/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BODY and BODYSTRUCTURE (RFC 9051 7.5.2), without recursion: the open parts stand on a small stack, each as
 * the place of its row, which is read again when it closes. What is damaged or was flattened is
 * filled up, so that the answer is always well-formed. */
#include "proto/imap/render.h"
#include "proto/imap/render_int.h"

struct open_part {
	slice at;      /* its row */
	unsigned left; /* children still to come */
	bool message, empty;
};

struct structure {
	struct out *o;
	bool extended, utf8;
	unsigned depth;
	struct open_part open[SUMMARY_DEPTH_MAX + 2];
};

/* In the place of a part that is not there but must be by the grammar. */
static void put_placeholder(struct structure *st)
{
	out_str(st->o, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0");
	out_str(st->o, st->extended ? " NIL NIL NIL NIL)" : ")");
}

static void put_params(struct structure *st, slice params)
{
	struct summary_text text;
	unsigned texts = 0;

	for (; summary_text_next(&params, &text); texts++)
		render_text(st->o, texts ? ' ' : '(', &text, st->utf8);
	/* They come in pairs, unless the row is damaged. */
	if (!texts)
		render_bytes(st->o, "NIL", 3);
	else
		out_str(st->o, texts % 2 ? " \"\")" : ")");
}

static void put_disposition(struct structure *st, const struct summary_part *part)
{
	if (!part->disposition.text.ptr) {
		render_bytes(st->o, "NIL", 3);
		return;
	}
	render_text(st->o, '(', &part->disposition, st->utf8);
	render_bytes(st->o, " ", 1);
	put_params(st, part->disposition_params);
	render_bytes(st->o, ")", 1);
}

static void put_languages(struct structure *st, slice languages)
{
	struct summary_text text;
	bool any = false;

	for (; summary_text_next(&languages, &text); any = true)
		render_text(st->o, any ? ' ' : '(', &text, st->utf8);
	out_str(st->o, any ? ")" : "NIL");
}

/* Disposition, language, location: the end of both extended forms. */
static void put_extension(struct structure *st, const struct summary_part *part)
{
	render_bytes(st->o, " ", 1);
	put_disposition(st, part);
	render_bytes(st->o, " ", 1);
	put_languages(st, part->languages);
	render_text(st->o, ' ', &part->location, st->utf8);
}

/* ("text" "plain" (...) id description encoding octets */
static void put_basic(struct structure *st, const struct summary_part *part)
{
	struct out *o = st->o;

	render_text(o, '(', &part->type, st->utf8);
	render_text(o, ' ', &part->subtype, st->utf8);
	render_bytes(o, " ", 1);
	put_params(st, part->params);
	render_text(o, ' ', &part->id, st->utf8);
	render_text(o, ' ', &part->description, st->utf8);
	render_text(o, ' ', &part->encoding, st->utf8);
	render_bytes(o, " ", 1);
	out_uint(o, part->body_len);
}

static void close_single(struct structure *st, const struct summary_part *part, bool lines)
{
	if (lines) {
		render_bytes(st->o, " ", 1);
		out_uint(st->o, part->lines);
	}
	if (st->extended) {
		render_text(st->o, ' ', &part->md5, st->utf8);
		put_extension(st, part);
	}
	render_bytes(st->o, ")", 1);
}

static void close_multipart(struct structure *st, const struct summary_part *part)
{
	render_text(st->o, ' ', &part->subtype, st->utf8);
	if (st->extended) {
		render_bytes(st->o, " ", 1);
		put_params(st, part->params);
		put_extension(st, part);
	}
	render_bytes(st->o, ")", 1);
}

static bool is_type(const struct summary_text *text, slice type)
{
	return slice_eq_nocase(text->text, type);
}

static bool is_message(const struct summary_part *part)
{
	return is_type(&part->type, SLICE("message")) &&
		(is_type(&part->subtype, SLICE("rfc822")) ||
			is_type(&part->subtype, SLICE("global")));
}

/* A message that was flattened still has to look like one. */
static void put_leaf(struct structure *st, const struct summary_part *part)
{
	bool message = is_message(part);

	put_basic(st, part);
	if (message) {
		render_bytes(st->o, " ", 1);
		render_no_envelope(st->o);
		render_bytes(st->o, " ", 1);
		put_placeholder(st);
	}
	close_single(st, part, message || is_type(&part->type, SLICE("text")));
}

static void push(struct structure *st, slice at, const struct summary_part *part)
{
	st->open[st->depth++] = (struct open_part){
		.at = at,
		.left = part->children,
		.message = part->kind == PART_MESSAGE,
		.empty = true,
	};
	if (part->kind == PART_MULTIPART) {
		render_bytes(st->o, "(", 1);
		return;
	}
	put_basic(st, part);
	render_bytes(st->o, " ", 1);
}

/* The envelope in front of an enclosed message's body is that message's, the child's. */
static void put_enclosed_envelope(struct structure *st, const struct summary_part *child)
{
	struct summary_envelope envelope;

	if (child && child->root && summary_part_envelope(child, &envelope))
		render_envelope(st->o, &envelope, st->utf8);
	else
		render_no_envelope(st->o);
	render_bytes(st->o, " ", 1);
}

static void close_top(struct structure *st)
{
	struct open_part *top = &st->open[st->depth - 1];
	struct summary_part part;
	slice at = top->at;

	if (top->empty) {
		if (top->message)
			put_enclosed_envelope(st, NULL);
		put_placeholder(st);
	}
	must(summary_part_next(&at, &part)); /* it was read before */
	if (top->message)
		close_single(st, &part, true);
	else
		close_multipart(st, &part);
	st->depth--;
}

/* One part; false when there is none. */
static bool put_part(struct structure *st, slice *parts)
{
	struct open_part *top = st->depth ? &st->open[st->depth - 1] : NULL;
	struct summary_part part;
	slice at = *parts;

	if (!summary_part_next(parts, &part))
		return false;
	if (top && top->message)
		put_enclosed_envelope(st, &part);
	if (top) {
		top->left--;
		top->empty = false;
	}
	if (part.kind == PART_LEAF || st->depth == array_len(st->open))
		put_leaf(st, &part);
	else
		push(st, at, &part);
	return true;
}

void imap_put_body(struct out *o, const struct summary *summary, bool extended, bool utf8)
{
	struct structure st = { .o = o, .extended = extended, .utf8 = utf8 };
	slice parts = summary_parts(summary);

	if (!put_part(&st, &parts))
		put_placeholder(&st);
	while (st.depth) {
		struct open_part *top = &st.open[st.depth - 1];

		/* A message has one child, whatever a damaged row says. */
		if (!top->left || (top->message && !top->empty) || !put_part(&st, &parts))
			close_top(&st);
	}
}
