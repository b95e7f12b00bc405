/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One machine reads every byte once, whether the command is collected or swallowed: quotes, escapes,
 * and the header of a literal at the end of a line. Only behind CRLF outside quotes a header
 * counts: taking `"{5}` at the end of a line for a literal would let a client and whoever stands
 * between disagree about what is a command. */
#include "proto/imap/command.h"

#include "core/base/text.h"
#include "proto/imap/lexer.h"

/* imap_reader.mode */
enum {
	COLLECT, /* a part is collected */
	LITERAL, /* so is a literal in it: `left` bytes */
	OFFERED, /* the session has to say whether it takes the message */
	MESSAGE, /* it takes it */
	SWALLOW, /* the rest of a refused command */
	SWALLOW_LITERAL,
	SWALLOW_LINE, /* imap_line_take: until it ends */
};

/* imap_reader.at */
enum {
	AT_TEXT,
	AT_ESCAPE, /* behind a backslash in quotes */
	AT_TILDE,  /* it may begin a literal8 */
	AT_NUMBER, /* behind a brace */
	AT_PLUS,   /* behind the plus */
	AT_BRACE,  /* behind the closing brace */
	AT_CR,
	AT_BRACE_CR,
};

enum event { NOTHING, LINE_END, LITERAL_HEAD };

static void blame(struct imap_reader *r, const char *why)
{
	if (!r->why)
		r->why = why;
}

static uint8_t plain(struct imap_reader *r, char c)
{
	switch (c) {
	case '\r':
		return AT_CR;
	case '\n':
		blame(r, "a line must end with CRLF");
		return AT_TEXT;
	case '\0':
		blame(r, "NUL is not allowed");
		return AT_TEXT;
	case '"':
		r->quoted = !r->quoted;
		return AT_TEXT;
	case '\\':
		return r->quoted ? AT_ESCAPE : AT_TEXT;
	case '~':
		return r->quoted ? AT_TEXT : AT_TILDE;
	case '{':
		if (r->quoted)
			return AT_TEXT;
		r->binary = r->at == AT_TILDE;
		r->plus = false;
		r->number = UINT64_MAX; /* no digit yet */
		return AT_NUMBER;
	default:
		return AT_TEXT;
	}
}

static uint8_t in_number(struct imap_reader *r, char c)
{
	bool digits = r->number != UINT64_MAX;

	if (text_is_digit(c)) {
		uint64_t n = digits ? r->number : 0;

		/* Larger than anything that is ever accepted is large enough. */
		r->number = n > INT64_MAX / 10 - 1 ? INT64_MAX : n * 10 + (uint64_t)(c - '0');
		return AT_NUMBER;
	}
	if (digits && c == '+') {
		r->plus = true;
		return AT_PLUS;
	}
	return digits && c == '}' ? AT_BRACE : plain(r, c);
}

/* A CR was there, and no LF behind it. */
static uint8_t bare_cr(struct imap_reader *r, char c)
{
	blame(r, "a line must end with CRLF");
	return plain(r, c);
}

static enum event scan(struct imap_reader *r, char c)
{
	switch (r->at) {
	case AT_ESCAPE:
		r->at = c == '\r' || c == '\n' || !c ? plain(r, c) : AT_TEXT;
		return NOTHING;
	case AT_NUMBER:
		r->at = in_number(r, c);
		return NOTHING;
	case AT_PLUS:
		r->at = c == '}' ? AT_BRACE : plain(r, c);
		return NOTHING;
	case AT_BRACE:
		r->at = c == '\r' ? AT_BRACE_CR : plain(r, c);
		return NOTHING;
	case AT_CR:
	case AT_BRACE_CR:
		if (c == '\n')
			break;
		r->at = bare_cr(r, c);
		return NOTHING;
	default:
		r->at = plain(r, c);
		return NOTHING;
	}
	bool literal = r->at == AT_BRACE_CR;

	r->at = AT_TEXT;
	if (r->quoted)
		blame(r, "a quoted string must end on its line");
	r->quoted = false;
	return literal ? LITERAL_HEAD : LINE_END;
}

/* --- What was collected --- */

static bool is_tag(slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '+' || (!imap_is_atom_char(s.ptr[i]) && s.ptr[i] != ']'))
			return false;
	return s.len > 0;
}

static slice tag_of(slice text)
{
	slice tag;

	return slice_cut(&text, ' ', &tag) && is_tag(tag) ? tag : (slice){ 0 };
}

/* The text in front of the header that ends at `end`. */
static slice before_header(slice in, size_t end, bool binary)
{
	size_t at = end;

	while (in.ptr[at - 1] != '{')
		at--;
	return slice_sub(in, 0, at - 1 - binary);
}

/* Cuts a word and the spaces behind it. */
static slice cut_word(slice *rest)
{
	slice word = { 0 };

	slice_cut(rest, ' ', &word);
	while (rest->len && rest->ptr[0] == ' ')
		*rest = slice_skip(*rest, 1);
	return word;
}

/* Which literals are messages: all of APPEND and REPLACE behind the mailbox's name, whose arguments
 * hold no other (flags and dates cannot be literals). */
static bool is_message(const struct imap_reader *r, slice text)
{
	slice verb;

	if (r->later)
		return true;
	cut_word(&text);
	verb = cut_word(&text);
	if (slice_eq_nocase(verb, SLICE("UID")))
		verb = cut_word(&text);
	if (slice_eq_nocase(verb, SLICE("REPLACE")))
		cut_word(&text);
	else if (!slice_eq_nocase(verb, SLICE("APPEND")))
		return false;
	return text.len > 0;
}

/* --- What becomes of it --- */

static void restart(struct imap_reader *r, uint8_t mode, uint64_t left)
{
	*r = (struct imap_reader){ .mode = mode, .left = left };
}

/* Behind a literal's header in a command that is refused. A synchronising one will not come: the tagged
 * reply takes the place of the continuation request, RFC 9051 4.3. */
static void swallow_from(struct imap_reader *r)
{
	if (r->plus)
		restart(r, SWALLOW_LITERAL, r->number);
	else
		restart(r, COLLECT, 0);
}

static void name_part(const struct imap_reader *r, slice text, size_t *used, struct imap_part *out)
{
	out->tag = r->later ? (slice){ 0 } : tag_of(text);
	out->later = r->later;
	*used = r->seen;
}

static enum step end_part(struct imap_reader *r, slice in, size_t *used, struct imap_part *out)
{
	slice text = slice_sub(in, 0, r->seen - 2);

	name_part(r, text, used, out);
	out->why = r->why;
	if (!out->why)
		out->text = text;
	restart(r, COLLECT, 0);
	return out->why ? STEP_BAD : STEP_DONE;
}

static enum step offer_message(struct imap_reader *r, slice text, size_t *used,
	struct imap_part *out)
{
	name_part(r, text, used, out);
	out->text = text;
	out->message = true;
	*r = (struct imap_reader){
		.mode = OFFERED, .left = r->number, .plus = r->plus, .later = true
	};
	return STEP_DONE;
}

static enum step too_long(struct imap_reader *r, slice in, size_t *used, struct imap_part *out)
{
	name_part(r, slice_sub(in, 0, r->seen), used, out);
	if (out->bytes) {
		out->why = "the literal is too long";
		swallow_from(r);
	} else {
		/* In the middle of a line: what the machine knows of it stays. */
		out->why = "the command is too long";
		r->mode = SWALLOW;
		r->seen = 0;
	}
	return STEP_TOO_LONG;
}

/* A literal's header was read: STEP_MORE goes on collecting. */
static enum step literal_head(struct imap_reader *r, slice in, const struct imap_limits *limits,
	size_t *used, struct imap_part *out)
{
	slice text = before_header(in, r->seen, r->binary);

	out->sync = !r->plus;
	out->binary = r->binary;
	out->bytes = r->number;
	if (r->why) {
		out->why = r->why;
		name_part(r, text, used, out);
		swallow_from(r);
		return STEP_BAD;
	}
	if (r->plus && r->number > limits->plus_max)
		return too_long(r, in, used, out);
	if (is_message(r, text))
		return offer_message(r, text, used, out);
	/* A CRLF has to follow. */
	if (r->number > limits->literal_max || r->seen + r->number + 2 > limits->line_max)
		return too_long(r, in, used, out);
	out->prompt = !r->plus;
	r->mode = LITERAL;
	r->left = r->number;
	return STEP_MORE;
}

static enum step collect(struct imap_reader *r, slice in, const struct imap_limits *limits,
	size_t *used, struct imap_part *out)
{
	while (r->seen < in.len) {
		if (r->mode == LITERAL && r->left) {
			uint64_t n = MIN(r->left, (uint64_t)(in.len - r->seen));

			r->seen += (uint32_t)n;
			r->left -= n;
			continue;
		}
		r->mode = COLLECT;
		enum event event = scan(r, in.ptr[r->seen++]);

		if (event == LINE_END)
			return end_part(r, in, used, out);
		if (event == LITERAL_HEAD) {
			enum step step = literal_head(r, in, limits, used, out);

			if (step != STEP_MORE || out->prompt)
				return step;
			*out = (struct imap_part){ 0 };
		} else if (r->seen >= limits->line_max) {
			return too_long(r, in, used, out);
		}
	}
	return STEP_MORE;
}

/* To the end of the command, or of `in`. */
static size_t swallow(struct imap_reader *r, slice in)
{
	size_t at = 0;

	while (at < in.len) {
		if (r->mode == SWALLOW_LITERAL) {
			uint64_t n = MIN(r->left, (uint64_t)(in.len - at));

			at += (size_t)n;
			r->left -= n;
			if (!r->left)
				restart(r, SWALLOW, 0);
			continue;
		}
		enum event event = scan(r, in.ptr[at++]);

		if (event == LINE_END)
			restart(r, COLLECT, 0);
		else if (event == LITERAL_HEAD)
			swallow_from(r);
		if (r->mode == COLLECT)
			break;
	}
	return at;
}

enum step imap_command_take(struct imap_reader *r, slice in, const struct imap_limits *limits,
	size_t *used, struct imap_part *out)
{
	*out = (struct imap_part){ 0 };
	*used = 0;
	must(r->mode != OFFERED && r->mode != MESSAGE && r->mode != SWALLOW_LINE);
	must(r->seen <= in.len || r->mode >= SWALLOW);
	if (r->mode < SWALLOW)
		return collect(r, in, limits, used, out);
	*used = swallow(r, in);
	return STEP_MORE;
}

/* --- Messages --- */

static void end_message(struct imap_reader *r)
{
	if (!r->left)
		*r = (struct imap_reader){ .mode = COLLECT, .later = true };
}

bool imap_message_accept(struct imap_reader *r)
{
	bool sync = !r->plus;

	must(r->mode == OFFERED);
	r->mode = MESSAGE;
	end_message(r);
	return sync;
}

slice imap_message_take(struct imap_reader *r, slice in)
{
	if (r->mode != MESSAGE)
		return (slice){ 0 };
	slice piece = slice_sub(in, 0, (size_t)MIN((uint64_t)in.len, r->left));

	r->left -= piece.len;
	end_message(r);
	return piece;
}

void imap_message_refuse(struct imap_reader *r)
{
	if (r->mode == OFFERED && !r->plus)
		restart(r, COLLECT, 0);
	else if (r->left)
		restart(r, SWALLOW_LITERAL, r->left);
	else
		restart(r, SWALLOW, 0);
}

/* --- Lines --- */

enum step imap_line_take(struct imap_reader *r, slice in, size_t max, size_t *used, slice *line)
{
	size_t end = slice_crlf(in, r->seen);
	/* A CR that may turn out to begin the end of the line must stay. */
	size_t open = in.len && in.ptr[in.len - 1] == '\r';

	*used = end;
	if (!end) {
		r->seen = (uint32_t)(in.len - open);
		if (in.len >= max)
			r->mode = SWALLOW_LINE;
		if (r->mode != SWALLOW_LINE)
			return STEP_MORE;
		*used = r->seen;
		r->seen = 0;
		return STEP_MORE;
	}
	bool swallowed = r->mode == SWALLOW_LINE;

	restart(r, COLLECT, 0);
	if (swallowed || end > max)
		return STEP_TOO_LONG;
	slice text = slice_sub(in, 0, end - 2);

	if (slice_find(text, '\r') >= 0 || slice_find(text, '\n') >= 0 || slice_find(text, 0) >= 0)
		return STEP_BAD;
	*line = text;
	return STEP_DONE;
}

bool imap_command_split(slice text, struct imap_command *out, const char **why)
{
	slice rest = text;

	*out = (struct imap_command){ .tag = tag_of(text) };
	*why = "a command begins with a tag";
	if (!out->tag.len)
		return false;
	cut_word(&rest);
	*why = "the command is missing";
	for (int uid = 0; uid < 2; uid++) {
		out->verb =
			slice_sub(rest, 0, (size_t)MIN((size_t)slice_find(rest, ' '), rest.len));
		if (!out->verb.len)
			return false;
		out->args = slice_skip(rest, out->verb.len);
		if (uid || !slice_eq_nocase(out->verb, SLICE("UID")))
			break;
		out->uid = true;
		cut_word(&rest);
	}
	*why = NULL;
	return true;
}
