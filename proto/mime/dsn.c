/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The three parts of a report, each from its own function, and the cleaning of foreign text: replies
 * of other servers and addresses go into the report only through put_clean and put_address. */
#include "proto/mime/dsn.h"

#include "core/base/text.h"
#include "proto/mime/header.h"
#include "proto/mime/transfer.h"
#include "proto/mime/word.h"

enum { LINE = 76, TEXT_MAX = 4 * 1024 * 1024, SUBJECT_MAX = 400 };

static const struct action_row {
	const char *name, *status;
	const char *subject;
	const char *said; /* to the sender, above the list of recipients */
} actions[] = {
	[DSN_FAILED] = { "failed", "5.0.0", "Undelivered mail",
		"Your message could not be delivered to:" },
	[DSN_DELAYED] = { "delayed", "4.0.0", "Delayed mail",
		"Your message has not been delivered yet. You need not send it again: delivery\r\n"
		"goes on being tried. It is late for:" },
	[DSN_DELIVERED] = { "delivered", "2.0.0", "Delivered mail",
		"Your message was delivered to:" },
	[DSN_RELAYED] = { "relayed", "2.0.0", "Relayed mail",
		"Your message was handed on to a server that sends no confirmation, for:" },
	[DSN_EXPANDED] = { "expanded", "2.0.0", "Delivered mail",
		"Your message was delivered, and sent on to several recipients, at:" },
};

/* Foreign text -------------------------------------------------------------------------------- */

/* Control bytes become blanks, and what may not be said in this report becomes a question mark. */
static void put_clean(slice text, bool utf8, struct out *o)
{
	bool keep = utf8 && text_is_utf8(text);

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c < 32 || c == 127)
			out_char(o, ' ');
		else if (c > 127 && !keep)
			out_char(o, '?');
		else
			out_char(o, (char)c);
	}
}

/* One character, or U+FFFD for what is none. */
static uint32_t take_char(slice *s)
{
	unsigned char c = (unsigned char)s->ptr[0];
	size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	uint32_t code = len == 1 ? c : c & (0xffu >> (len + 1));
	slice whole = slice_sub(*s, 0, len);

	if (whole.len < len || !text_is_utf8(whole)) {
		*s = slice_skip(*s, 1);
		return 0xfffd;
	}
	for (size_t i = 1; i < len; i++)
		code = code << 6 | ((unsigned char)whole.ptr[i] & 0x3f);
	*s = slice_skip(*s, len);
	return code;
}

/* RFC 6533 3: utf-8-addr-xtext for a report that must stay ASCII. */
static void put_addr_xtext(slice address, struct out *o)
{
	while (address.len) {
		uint32_t code = take_char(&address);

		if (code > 32 && code < 127 && code != '\\' && code != '+' && code != '=')
			out_char(o, (char)code);
		else
			out_printf(o, "\\x{%X}", code);
	}
}

/* "rfc822; bob@example.org", or the type that RFC 6533 gives to what is not ASCII. */
static void put_address(const struct dsn *d, slice type, slice address, struct out *o)
{
	bool ascii = text_is_ascii(address);

	out_slice(o, ascii ? type : SLICE("utf-8"));
	out_str(o, "; ");
	if (ascii || (d->utf8 && text_is_utf8(address)))
		put_clean(address, d->utf8, o);
	else
		put_addr_xtext(address, o);
	out_str(o, "\r\n");
}

/* Text folded at blanks, so that no line grows with what somebody else said. */
static void put_folded(const struct dsn *d, const char *begin, slice text, struct out *o)
{
	size_t col = strlen(begin);
	slice line, word;

	out_str(o, begin);
	for (bool first = true; slice_cut(&text, '\n', &line);)
		while (slice_cut(&line, ' ', &word)) {
			if (word.len && word.ptr[word.len - 1] == '\r')
				word.len--;
			/* A word of hundreds of bytes is nobody's sentence. */
			word = slice_sub(word, 0, 500);
			if (word.len == 0)
				continue;
			if (!first && col + 1 + word.len > LINE) {
				out_str(o, "\r\n");
				col = 0;
			}
			out_char(o, ' ');
			put_clean(word, d->utf8, o);
			col += 1 + word.len;
			first = false;
		}
	out_str(o, "\r\n");
}

static void put_date(const char *name, wall_ms at, struct out *o)
{
	if (at == 0)
		return;
	out_printf(o, "%s: ", name);
	text_put_date(o, at, 0);
	out_str(o, "\r\n");
}

/* First part: for humans ---------------------------------------------------------------------- */

static void say_recipient(const struct dsn *d, const struct dsn_rcpt *rcpt, struct out *o)
{
	out_str(o, "    <");
	put_clean(rcpt->final, true, o);
	out_str(o, ">\r\n");
	if (rcpt->diagnostic.len) {
		struct dsn utf8 = { .utf8 = true };

		if (rcpt->remote_mta.len) {
			out_str(o, "        ");
			put_clean(rcpt->remote_mta, true, o);
			out_str(o, " answered:\r\n");
		}
		put_folded(&utf8, "       ", rcpt->diagnostic, o);
	}
	if (rcpt->explanation.len) {
		out_str(o, "        ");
		put_clean(rcpt->explanation, true, o);
		out_str(o, "\r\n");
	}
	if (rcpt->action == DSN_DELAYED && rcpt->will_retry_until) {
		out_str(o, "        It is tried until ");
		text_put_date(o, rcpt->will_retry_until, 0);
		out_str(o, ".\r\n");
	}
}

static void say_action(const struct dsn *d, enum dsn_action action, struct out *o)
{
	bool first = true;

	for (size_t i = 0; i < d->rcpt_count; i++) {
		if (d->rcpts[i].action != action)
			continue;
		if (first)
			out_printf(o, "%s\r\n\r\n", actions[action].said);
		say_recipient(d, &d->rcpts[i], o);
		first = false;
	}
	if (!first)
		out_str(o, "\r\n");
}

static void say_all(const struct dsn *d, struct out *o)
{
	out_str(o, "This is the mail system at ");
	put_clean(d->hostname, true, o);
	out_str(o, ".\r\n\r\n");
	for (int action = DSN_FAILED; action <= DSN_EXPANDED; action++)
		say_action(d, (enum dsn_action)action, o);
	if (d->subject.len) {
		char buf[SUBJECT_MAX], plain[SUBJECT_MAX * 4];
		struct out flat = out_fixed(buf, sizeof(buf)),
			   text = out_fixed(plain, sizeof(plain));

		header_unfold(&flat, d->subject);
		word_decode(out_written(&flat), &text);
		out_str(o, "Subject of your message: ");
		put_clean(out_written(&text), true, o);
		out_str(o, "\r\n");
	}
	if (d->arrival) {
		out_str(o, "We received it on ");
		text_put_date(o, d->arrival, 0);
		out_str(o, "\r\n");
	}
	if (d->queue_id.len) {
		out_str(o, "Our number for it: ");
		put_clean(d->queue_id, true, o);
		out_str(o, "\r\n");
	}
	out_str(o,
		d->return_full ?
			"\r\nA report for programs and your message follow.\r\n" :
			"\r\nA report for programs and the header of your message follow.\r\n");
}

static void put_boundary(const struct dsn *d, struct out *o)
{
	out_str(o, "--");
	out_slice(o, d->boundary);
	out_str(o, "\r\n");
}

static void put_text(const struct dsn *d, struct out *o)
{
	struct out text = out_heap(TEXT_MAX);
	struct qp_encoder qp = { 0 };
	bool ascii;

	say_all(d, &text);
	ascii = text_is_ascii(out_written(&text));
	put_boundary(d, o);
	out_printf(o, "Content-Type: text/plain; charset=%s\r\n", ascii ? "us-ascii" : "utf-8");
	if (!ascii)
		out_printf(o, "Content-Transfer-Encoding: %s\r\n",
			d->utf8 ? "8bit" : "quoted-printable");
	out_str(o, "\r\n");
	if (ascii || d->utf8) {
		out_slice(o, out_written(&text));
	} else {
		qp_encode(&qp, out_written(&text), o);
		qp_encode_end(&qp, o);
	}
	o->overflow |= !out_ok(&text);
	out_heap_done(&text);
	out_str(o, "\r\n");
}

/* Second part: for programs (RFC 3464 2) ------------------------------------------------------ */

/* ORCPT is "type;address"; the type stays, unless RFC 6533 asks for another. */
static void put_original(const struct dsn *d, slice orcpt, struct out *o)
{
	slice type;

	slice_cut(&orcpt, ';', &type);
	out_str(o, "Original-Recipient: ");
	put_address(d, text_is_ascii(type) ? slice_trim(type) : SLICE("rfc822"), slice_trim(orcpt),
		o);
}

static void put_recipient(const struct dsn *d, const struct dsn_rcpt *rcpt, struct out *o)
{
	out_str(o, "\r\n");
	if (slice_find(rcpt->original, ';') > 0)
		put_original(d, rcpt->original, o);
	out_str(o, "Final-Recipient: ");
	put_address(d, SLICE("rfc822"), rcpt->final, o);
	out_printf(o, "Action: %s\r\nStatus: ", actions[rcpt->action].name);
	if (rcpt->status.len)
		put_clean(rcpt->status, false, o);
	else
		out_str(o, actions[rcpt->action].status);
	out_str(o, "\r\n");
	if (rcpt->remote_mta.len) {
		out_str(o, "Remote-MTA: dns; ");
		put_clean(rcpt->remote_mta, d->utf8, o);
		out_str(o, "\r\n");
	}
	if (rcpt->diagnostic.len)
		put_folded(d, "Diagnostic-Code: smtp;", rcpt->diagnostic, o);
	put_date("Last-Attempt-Date", rcpt->last_attempt, o);
	if (rcpt->action == DSN_DELAYED)
		put_date("Will-Retry-Until", rcpt->will_retry_until, o);
}

static void put_status(const struct dsn *d, struct out *o)
{
	put_boundary(d, o);
	out_str(o,
		d->utf8 ? "Content-Type: message/global-delivery-status\r\n"
			  "Content-Transfer-Encoding: 8bit\r\n\r\n" :
			  "Content-Type: message/delivery-status\r\n\r\n");
	if (d->envid.len) {
		out_str(o, "Original-Envelope-Id: ");
		put_clean(d->envid, d->utf8, o);
		out_str(o, "\r\n");
	}
	out_str(o, "Reporting-MTA: dns; ");
	put_clean(d->hostname, d->utf8, o);
	out_str(o, "\r\n");
	put_date("Arrival-Date", d->arrival, o);
	for (size_t i = 0; i < d->rcpt_count; i++)
		put_recipient(d, &d->rcpts[i], o);
	out_str(o, "\r\n");
}

/* -------------------------------------------------------------------------------------------- */

/* The worst news names the report. */
static enum dsn_action worst(const struct dsn *d)
{
	enum dsn_action action = DSN_EXPANDED;

	for (size_t i = 0; i < d->rcpt_count; i++)
		action = MIN(action, d->rcpts[i].action);
	return action;
}

bool dsn_is_8bit(const struct dsn *d)
{
	return d->utf8 || d->original_8bit;
}

static void put_header(const struct dsn *d, struct out *o)
{
	out_str(o, "From: Mail Delivery System <");
	if (d->from.len) {
		put_clean(d->from, d->utf8, o);
	} else {
		out_str(o, "MAILER-DAEMON@");
		put_clean(d->hostname, d->utf8, o);
	}
	out_str(o, ">\r\nTo: <");
	put_clean(d->to, d->utf8, o);
	out_printf(o, ">\r\nSubject: %s\r\nDate: ", actions[worst(d)].subject);
	text_put_date(o, d->now, 0);
	out_str(o, "\r\nMessage-ID: ");
	put_clean(d->message_id, d->utf8, o);
	/* RFC 3834 5: so that nobody answers automatically. */
	out_str(o,
		"\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=");
	out_str(o, d->utf8 ? "global-delivery-status" : "delivery-status");
	out_str(o, ";\r\n\tboundary=\"");
	out_slice(o, d->boundary);
	out_str(o, "\"\r\n");
	if (dsn_is_8bit(d))
		out_str(o, "Content-Transfer-Encoding: 8bit\r\n");
	out_str(o, "\r\n");
}

void dsn_put_head(const struct dsn *d, struct out *o)
{
	const char *type = d->return_full ? d->utf8 ? "message/global" : "message/rfc822" :
		d->utf8                   ? "message/global-headers" :
					    "text/rfc822-headers";

	put_header(d, o);
	put_text(d, o);
	put_status(d, o);
	put_boundary(d, o);
	out_printf(o, "Content-Type: %s\r\n", type);
	if (dsn_is_8bit(d))
		out_str(o, "Content-Transfer-Encoding: 8bit\r\n");
	out_str(o, "\r\n");
}

void dsn_put_tail(const struct dsn *d, struct out *o)
{
	/* This CRLF belongs to the boundary (RFC 2046 5.1.1), the original keeps its own. */
	out_str(o, "\r\n--");
	out_slice(o, d->boundary);
	out_str(o, "--\r\n");
}
