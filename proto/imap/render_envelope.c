/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ENVELOPE (RFC 9051 7.5.2). The row says of each string how it may be sent, so nearly all of this is one
 * copy between two quotes; the client that reads ten thousand of them waits for nothing else. */
#include "proto/imap/render.h"
#include "proto/imap/render_int.h"

enum { FROM_MAX = 512 };

static void put_escaped(struct out *o, char lead, slice s)
{
	out_char(o, lead);
	out_char(o, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			out_char(o, '\\');
		out_char(o, s.ptr[i]);
	}
	out_char(o, '"');
}

static void put_plain(struct out *o, char lead, slice s)
{
	char open[2] = { lead, '"' };

	if (o->overflow || o->cap - o->len < s.len + 3) {
		out_bytes(o, open, 2);
		out_slice(o, s);
		out_char(o, '"');
		return;
	}
	char *to = o->buf + o->len;

	memcpy(to, open, 2);
	memcpy(to + 2, s.ptr, s.len);
	to[s.len + 2] = '"';
	o->len += s.len + 3;
}

static void put_nil(struct out *o, char lead)
{
	char nil[4] = { lead, 'N', 'I', 'L' };

	render_bytes(o, nil, 4);
}

void render_text(struct out *o, char lead, const struct summary_text *t, bool utf8)
{
	if (!t->text.ptr) {
		put_nil(o, lead);
	} else if (t->safe == SUMMARY_QUOTED) {
		put_plain(o, lead, t->text);
	} else if (t->safe == SUMMARY_ESCAPED || (t->safe == SUMMARY_UTF8 && utf8)) {
		put_escaped(o, lead, t->text);
	} else {
		out_char(o, lead);
		imap_put_literal_head(o, t->text.len, false);
		out_slice(o, t->text);
	}
}

/* A group is its name in the place of the mailbox and no host; its end has neither. */
static void put_address(struct out *o, const struct summary_address *address, bool utf8)
{
	static const struct summary_text nil;
	bool whole = address->kind == SUMMARY_ADDRESS;

	render_text(o, '(', whole ? &address->name : &nil, utf8);
	render_text(o, ' ', whole ? &address->route : &nil, utf8);
	render_text(o, ' ',
		whole                                  ? &address->local :
			address->kind == SUMMARY_GROUP ? &address->name :
							 &nil,
		utf8);
	render_text(o, ' ', whole ? &address->host : &nil, utf8);
	render_bytes(o, ")", 1);
}

/* With a space in front. */
static void put_list(struct out *o, slice list, bool utf8)
{
	struct summary_address address;

	if (!list.len || !summary_address_next(&list, &address)) {
		put_nil(o, ' ');
		return;
	}
	render_bytes(o, " (", 2);
	do {
		put_address(o, &address, utf8);
	} while (summary_address_next(&list, &address));
	render_bytes(o, ")", 1);
}

/* From, Sender and Reply-To: who is missing, or empty, is the From, so that one is mostly written three
 * times and made once. */
static void put_senders(struct out *o, const struct summary_envelope *e, bool utf8)
{
	char buf[FROM_MAX];
	struct out from = out_fixed(buf, sizeof(buf));

	put_list(&from, e->lists[SUMMARY_FROM], utf8);
	for (enum summary_list i = SUMMARY_FROM; i <= SUMMARY_REPLY_TO; i++)
		if (i > SUMMARY_FROM && e->lists[i].len)
			put_list(o, e->lists[i], utf8);
		else if (out_ok(&from))
			render_bytes(o, from.buf, from.len);
		else
			put_list(o, e->lists[SUMMARY_FROM], utf8);
}

void render_envelope(struct out *o, const struct summary_envelope *e, bool utf8)
{
	render_text(o, '(', &e->date, utf8);
	render_text(o, ' ', &e->subject, utf8);
	put_senders(o, e, utf8);
	put_list(o, e->lists[SUMMARY_TO], utf8);
	put_list(o, e->lists[SUMMARY_CC], utf8);
	put_list(o, e->lists[SUMMARY_BCC], utf8);
	render_text(o, ' ', &e->in_reply_to, utf8);
	render_text(o, ' ', &e->message_id, utf8);
	render_bytes(o, ")", 1);
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
