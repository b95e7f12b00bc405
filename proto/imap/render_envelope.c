/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ENVELOPE (RFC 9051 7.5.2). The row says of each string how it may be sent, so nearly all of this is one
 * copy between two quotes; the client that reads ten thousand of them waits for nothing else. */
#include "proto/imap/render.h"
#include "proto/imap/render_int.h"

static void put_escaped(struct out *o, slice s)
{
	out_char(o, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			out_char(o, '\\');
		out_char(o, s.ptr[i]);
	}
	out_char(o, '"');
}

static void put_plain(struct out *o, slice s)
{
	if (o->overflow || o->cap - o->len < s.len + 2) {
		out_char(o, '"');
		out_slice(o, s);
		out_char(o, '"');
		return;
	}
	char *to = o->buf + o->len;

	*to++ = '"';
	memcpy(to, s.ptr, s.len);
	to[s.len] = '"';
	o->len += s.len + 2;
}

void render_text(struct out *o, const struct summary_text *t, bool utf8)
{
	if (!t->text.ptr) {
		out_bytes(o, "NIL", 3);
	} else if (t->safe == SUMMARY_QUOTED) {
		put_plain(o, t->text);
	} else if (t->safe == SUMMARY_ESCAPED || (t->safe == SUMMARY_UTF8 && utf8)) {
		put_escaped(o, t->text);
	} else {
		imap_put_literal_head(o, t->text.len, false);
		out_slice(o, t->text);
	}
}

/* A group is its name in the place of the mailbox and no host; its end has neither. */
static void put_address(struct out *o, const struct summary_address *address, bool utf8)
{
	bool group = address->kind == SUMMARY_GROUP;

	if (address->kind != SUMMARY_ADDRESS) {
		out_bytes(o, "(NIL NIL ", 9);
		if (group)
			render_text(o, &address->name, utf8);
		else
			out_bytes(o, "NIL", 3);
		out_bytes(o, " NIL)", 5);
		return;
	}
	out_char(o, '(');
	render_text(o, &address->name, utf8);
	out_char(o, ' ');
	render_text(o, &address->route, utf8);
	out_char(o, ' ');
	render_text(o, &address->local, utf8);
	out_char(o, ' ');
	render_text(o, &address->host, utf8);
	out_char(o, ')');
}

static void put_list(struct out *o, slice list, bool utf8)
{
	struct summary_address address;
	bool any = false;

	out_char(o, ' ');
	while (summary_address_next(&list, &address)) {
		if (!any)
			out_char(o, '(');
		any = true;
		put_address(o, &address, utf8);
	}
	if (any)
		out_char(o, ')');
	else
		out_bytes(o, "NIL", 3);
}

/* A Sender or Reply-To that is missing, or empty, is the From. */
static void put_list_or_from(struct out *o, const struct summary_envelope *e,
	enum summary_list list, bool utf8)
{
	put_list(o, e->lists[e->lists[list].len ? list : SUMMARY_FROM], utf8);
}

void render_envelope(struct out *o, const struct summary_envelope *e, bool utf8)
{
	out_char(o, '(');
	render_text(o, &e->date, utf8);
	out_char(o, ' ');
	render_text(o, &e->subject, utf8);
	put_list(o, e->lists[SUMMARY_FROM], utf8);
	put_list_or_from(o, e, SUMMARY_SENDER, utf8);
	put_list_or_from(o, e, SUMMARY_REPLY_TO, utf8);
	put_list(o, e->lists[SUMMARY_TO], utf8);
	put_list(o, e->lists[SUMMARY_CC], utf8);
	put_list(o, e->lists[SUMMARY_BCC], utf8);
	out_char(o, ' ');
	render_text(o, &e->in_reply_to, utf8);
	out_char(o, ' ');
	render_text(o, &e->message_id, utf8);
	out_char(o, ')');
}

void render_no_envelope(struct out *o)
{
	out_str(o, "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
}

void imap_put_envelope(struct out *o, const struct summary *summary, bool utf8)
{
	struct summary_envelope envelope;

	if (summary_envelope(summary, &envelope))
		render_envelope(o, &envelope, utf8);
	else
		render_no_envelope(o);
}
