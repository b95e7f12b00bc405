/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MAIL and RCPT: the path, and one table row per parameter. A row says under which offer the name is
 * known at all, and how its value is read and written. */
#include "proto/smtp/command.h"

#include "core/base/text.h"
#include "proto/smtp/limits.h"
#include "proto/smtp/xtext.h"

struct mail_row {
	slice name;
	unsigned needs; /* known if any of these is allowed */
	unsigned bit;   /* given */
	bool (*read)(struct arena *a, slice value,
		struct smtp_mail *mail); /* NULL: takes no value */
	void (*write)(struct out *o, const struct smtp_mail *mail);
};

struct rcpt_row {
	slice name;
	unsigned bit;
	bool (*read)(struct arena *a, slice value, struct smtp_rcpt *rcpt);
};

static const struct {
	slice name;
	unsigned offer;
} body_values[] = {
	[SMTP_BODY_7BIT] = { SLICE_INIT("7BIT"), SMTP_P_8BIT | SMTP_P_BINARY },
	[SMTP_BODY_8BITMIME] = { SLICE_INIT("8BITMIME"), SMTP_P_8BIT },
	[SMTP_BODY_BINARYMIME] = { SLICE_INIT("BINARYMIME"), SMTP_P_BINARY },
};

static const struct {
	slice name;
	unsigned bit;
} notify_values[] = {
	{ SLICE_INIT("NEVER"), SMTP_NOTIFY_NEVER },
	{ SLICE_INIT("SUCCESS"), SMTP_NOTIFY_SUCCESS },
	{ SLICE_INIT("FAILURE"), SMTP_NOTIFY_FAILURE },
	{ SLICE_INIT("DELAY"), SMTP_NOTIFY_DELAY },
};

static bool printable_ascii(slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < 32 || s.ptr[i] > 126)
			return false;
	return true;
}

static bool read_size(struct arena *a, slice value, struct smtp_mail *mail)
{
	return value.len <= 20 && text_parse_uint(value, INT64_MAX, &mail->size_bytes);
}

static void write_size(struct out *o, const struct smtp_mail *mail)
{
	out_uint(o, mail->size_bytes);
}

static bool read_body(struct arena *a, slice value, struct smtp_mail *mail)
{
	for (size_t i = 0; i < array_len(body_values); i++)
		if (slice_eq_nocase(value, body_values[i].name)) {
			mail->body = (enum smtp_body_type)i;
			return true;
		}
	return false;
}

static void write_body(struct out *o, const struct smtp_mail *mail)
{
	out_slice(o, body_values[mail->body].name);
}

static bool read_ret(struct arena *a, slice value, struct smtp_mail *mail)
{
	if (slice_eq_nocase(value, SLICE("FULL")))
		mail->ret = SMTP_RET_FULL;
	else if (slice_eq_nocase(value, SLICE("HDRS")))
		mail->ret = SMTP_RET_HDRS;
	else
		return false;
	return true;
}

static void write_ret(struct out *o, const struct smtp_mail *mail)
{
	out_str(o, mail->ret == SMTP_RET_FULL ? "FULL" : "HDRS");
}

static bool read_envid(struct arena *a, slice value, struct smtp_mail *mail)
{
	return xtext_get(a, value, &mail->envid) && mail->envid.len <= SMTP_ENVID_MAX &&
		printable_ascii(mail->envid);
}

static void write_envid(struct out *o, const struct smtp_mail *mail)
{
	xtext_put(o, mail->envid);
}

static bool read_auth(struct arena *a, slice value, struct smtp_mail *mail)
{
	struct mail_addr addr;

	if (!xtext_get(a, value, &mail->auth))
		return false;
	return slice_eq(mail->auth, SLICE("<>")) || mail_addr_parse(a, mail->auth, &addr);
}

static void write_auth(struct out *o, const struct smtp_mail *mail)
{
	xtext_put(o, mail->auth);
}

static bool read_hold_for(struct arena *a, slice value, struct smtp_mail *mail)
{
	uint64_t seconds;

	if (!text_parse_uint(value, 999999999, &seconds) || !seconds || value.len > 9)
		return false;
	mail->hold_for_s = (uint32_t)seconds;
	return !(mail->given & SMTP_P_HOLDUNTIL); /* RFC 4865 3.1: one of the two */
}

static void write_hold_for(struct out *o, const struct smtp_mail *mail)
{
	out_uint(o, mail->hold_for_s);
}

static bool read_hold_until(struct arena *a, slice value, struct smtp_mail *mail)
{
	return text_parse_timestamp(value, &mail->hold_until) && !(mail->given & SMTP_P_HOLDFOR);
}

static void write_hold_until(struct out *o, const struct smtp_mail *mail)
{
	text_put_timestamp(o, mail->hold_until);
}

/* A sign and up to nine digits. */
static bool read_signed(slice value, int64_t *out)
{
	bool minus = slice_starts(value, SLICE("-"));
	uint64_t n;

	if (minus || slice_starts(value, SLICE("+")))
		value = slice_skip(value, 1);
	if (value.len > 9 || !text_parse_uint(value, 999999999, &n))
		return false;
	*out = minus ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool read_priority(struct arena *a, slice value, struct smtp_mail *mail)
{
	int64_t n;

	if (value.len > 2 || slice_starts(value, SLICE("+")) || !read_signed(value, &n))
		return false;
	mail->mt_priority = (int)n;
	return n >= -9 && n <= 9;
}

static void write_priority(struct out *o, const struct smtp_mail *mail)
{
	out_int(o, mail->mt_priority);
}

static bool read_by(struct arena *a, slice value, struct smtp_mail *mail)
{
	ptrdiff_t semi = slice_find(value, ';');
	slice mode = slice_skip(value, (size_t)(semi + 1));

	if (semi < 1 || !read_signed(slice_sub(value, 0, (size_t)semi), &mail->by_s))
		return false;
	mail->by_return = slice_starts_nocase(mode, SLICE("R"));
	mail->by_trace = mode.len == 2 && text_lower(mode.ptr[1]) == 't';
	if (mode.len != 1 + (size_t)mail->by_trace)
		return false;
	/* RFC 2852 4: to give mail back needs time that is still to come. */
	return mail->by_return ? mail->by_s > 0 : slice_starts_nocase(mode, SLICE("N"));
}

static void write_by(struct out *o, const struct smtp_mail *mail)
{
	out_int(o, mail->by_s);
	out_str(o, mail->by_return ? ";R" : ";N");
	if (mail->by_trace)
		out_char(o, 'T');
}

static const struct mail_row mail_rows[] = {
	{ SLICE_INIT("SIZE"), SMTP_P_SIZE, SMTP_P_SIZE, read_size, write_size },
	{ SLICE_INIT("BODY"), SMTP_P_8BIT | SMTP_P_BINARY, SMTP_P_BODY, read_body, write_body },
	{ SLICE_INIT("SMTPUTF8"), SMTP_P_SMTPUTF8, SMTP_P_SMTPUTF8, NULL, NULL },
	{ SLICE_INIT("RET"), SMTP_P_RET, SMTP_P_RET, read_ret, write_ret },
	{ SLICE_INIT("ENVID"), SMTP_P_ENVID, SMTP_P_ENVID, read_envid, write_envid },
	{ SLICE_INIT("AUTH"), SMTP_P_AUTH, SMTP_P_AUTH, read_auth, write_auth },
	{ SLICE_INIT("HOLDFOR"), SMTP_P_HOLDFOR, SMTP_P_HOLDFOR, read_hold_for, write_hold_for },
	{ SLICE_INIT("HOLDUNTIL"), SMTP_P_HOLDUNTIL, SMTP_P_HOLDUNTIL, read_hold_until,
		write_hold_until },
	{ SLICE_INIT("MT-PRIORITY"), SMTP_P_MT_PRIORITY, SMTP_P_MT_PRIORITY, read_priority,
		write_priority },
	{ SLICE_INIT("REQUIRETLS"), SMTP_P_REQUIRETLS, SMTP_P_REQUIRETLS, NULL, NULL },
	{ SLICE_INIT("BY"), SMTP_P_BY, SMTP_P_BY, read_by, write_by },
};

static bool read_notify(struct arena *a, slice value, struct smtp_rcpt *rcpt)
{
	slice word;

	if (!value.len || value.ptr[value.len - 1] == ',')
		return false;
	while (slice_cut(&value, ',', &word)) {
		size_t i = 0;

		while (i < array_len(notify_values) &&
			!slice_eq_nocase(word, notify_values[i].name))
			i++;
		if (i == array_len(notify_values) || rcpt->notify & notify_values[i].bit)
			return false;
		rcpt->notify |= notify_values[i].bit;
	}
	return !(rcpt->notify & SMTP_NOTIFY_NEVER) || rcpt->notify == SMTP_NOTIFY_NEVER;
}

static bool is_utf8_type(slice type)
{
	return slice_eq_nocase(type, SLICE("utf-8"));
}

static bool read_orcpt(struct arena *a, slice value, struct smtp_rcpt *rcpt)
{
	slice type;

	if (value.len > SMTP_ORCPT_MAX || slice_find(value, ';') < 1)
		return false;
	if (!slice_cut(&value, ';', &type) || !value.len)
		return false;
	for (size_t i = 0; i < type.len; i++)
		if (!text_is_alpha(type.ptr[i]) && !text_is_digit(type.ptr[i]) &&
			type.ptr[i] != '-')
			return false;
	rcpt->orcpt_type = type;
	if (is_utf8_type(type))
		return xtext_get_utf8(a, value, &rcpt->orcpt);
	return xtext_get(a, value, &rcpt->orcpt) && printable_ascii(rcpt->orcpt);
}

static const struct rcpt_row rcpt_rows[] = {
	{ SLICE_INIT("NOTIFY"), SMTP_P_NOTIFY, read_notify },
	{ SLICE_INIT("ORCPT"), SMTP_P_ORCPT, read_orcpt },
};

struct param {
	slice name, value;
	bool has_value;
};

/* The next " NAME=value"; false when it is no esmtp-param (RFC 5321 4.1.2). */
static bool take_param(slice *rest, struct param *out)
{
	slice word;

	*rest = slice_trim(*rest);
	if (!slice_cut(rest, ' ', &word))
		return false;
	ptrdiff_t equals = slice_find(word, '=');

	out->has_value = equals >= 0;
	out->name = equals < 0 ? word : slice_sub(word, 0, (size_t)equals);
	out->value = slice_skip(word, out->name.len + 1);
	if (!out->name.len || out->name.ptr[0] == '-' || (out->has_value && !out->value.len))
		return false;
	for (size_t i = 0; i < out->name.len; i++) {
		char c = out->name.ptr[i];

		if (!text_is_alpha(c) && !text_is_digit(c) && c != '-')
			return false;
	}
	for (size_t i = 0; i < out->value.len; i++) {
		unsigned char c = (unsigned char)out->value.ptr[i];

		if (c < 33 || c == '=' || c == 127)
			return false;
	}
	return true;
}

static const struct mail_row *find_mail_row(slice name, unsigned allowed)
{
	for (size_t i = 0; i < array_len(mail_rows); i++)
		if (slice_eq_nocase(mail_rows[i].name, name))
			return mail_rows[i].needs & allowed ? &mail_rows[i] : NULL;
	return NULL;
}

static enum smtp_syntax add_mail_param(struct arena *a, const struct param *p, unsigned allowed,
	struct smtp_mail *mail)
{
	const struct mail_row *row = find_mail_row(p->name, allowed);

	if (!row)
		return SMTP_SYNTAX_UNKNOWN;
	if (mail->given & row->bit || p->has_value != (row->read != NULL))
		return SMTP_SYNTAX_BAD;
	if (row->read && !row->read(a, p->value, mail))
		return SMTP_SYNTAX_BAD;
	mail->given |= row->bit;
	if (row->bit == SMTP_P_BODY && !(body_values[mail->body].offer & allowed))
		return SMTP_SYNTAX_UNKNOWN;
	return SMTP_SYNTAX_OK;
}

static enum smtp_syntax add_rcpt_param(struct arena *a, const struct param *p, unsigned allowed,
	struct smtp_rcpt *rcpt)
{
	for (size_t i = 0; i < array_len(rcpt_rows); i++) {
		const struct rcpt_row *row = &rcpt_rows[i];

		if (!slice_eq_nocase(row->name, p->name) || !(row->bit & allowed))
			continue;
		if (rcpt->given & row->bit || !p->has_value || !row->read(a, p->value, rcpt))
			return SMTP_SYNTAX_BAD;
		rcpt->given |= row->bit;
		return SMTP_SYNTAX_OK;
	}
	return SMTP_SYNTAX_UNKNOWN;
}

/* "FROM:" or "TO:" and the path. White space behind the colon is wrong, and common. */
static enum smtp_syntax take_path(struct arena *a, slice *rest, slice word, struct mail_addr *out)
{
	bool from = word.len == 5;

	if (!slice_starts_nocase(*rest, word))
		return SMTP_SYNTAX_BAD;
	*rest = slice_trim(slice_skip(*rest, word.len));
	if (!rest->len)
		return SMTP_SYNTAX_BAD;
	return mail_path_parse(a, rest, from ? MAIL_PATH_NULL : MAIL_PATH_POSTMASTER, out) ?
		SMTP_SYNTAX_OK :
		SMTP_SYNTAX_ADDRESS;
}

enum smtp_syntax smtp_parse_mail(struct arena *a, slice rest, unsigned allowed,
	struct smtp_mail *out)
{
	struct smtp_mail mail = { 0 };
	struct param param;
	enum smtp_syntax answer = take_path(a, &rest, SLICE("FROM:"), &mail.from);

	while (answer == SMTP_SYNTAX_OK && rest.len) {
		if (!take_param(&rest, &param))
			return SMTP_SYNTAX_BAD;
		answer = add_mail_param(a, &param, allowed, &mail);
	}
	if (answer == SMTP_SYNTAX_OK)
		*out = mail;
	return answer;
}

enum smtp_syntax smtp_parse_rcpt(struct arena *a, slice rest, unsigned allowed,
	struct smtp_rcpt *out)
{
	struct smtp_rcpt rcpt = { 0 };
	struct param param;
	enum smtp_syntax answer = take_path(a, &rest, SLICE("TO:"), &rcpt.to);

	while (answer == SMTP_SYNTAX_OK && rest.len) {
		if (!take_param(&rest, &param))
			return SMTP_SYNTAX_BAD;
		answer = add_rcpt_param(a, &param, allowed, &rcpt);
	}
	if (answer == SMTP_SYNTAX_OK)
		*out = rcpt;
	return answer;
}

void smtp_put_mail(struct out *o, const struct smtp_mail *mail, unsigned allowed)
{
	out_str(o, "MAIL FROM:");
	mail_path_put(o, &mail->from);
	for (size_t i = 0; i < array_len(mail_rows); i++) {
		const struct mail_row *row = &mail_rows[i];
		unsigned needs =
			row->bit == SMTP_P_BODY ? body_values[mail->body].offer : row->needs;

		if (!(mail->given & row->bit) || !(allowed & needs))
			continue;
		out_char(o, ' ');
		out_slice(o, row->name);
		if (!row->write)
			continue;
		out_char(o, '=');
		row->write(o, mail);
	}
	out_str(o, "\r\n");
}

static void put_notify(struct out *o, unsigned notify)
{
	const char *between = " NOTIFY=";

	for (size_t i = 0; i < array_len(notify_values); i++)
		if (notify & notify_values[i].bit) {
			out_str(o, between);
			out_slice(o, notify_values[i].name);
			between = ",";
		}
}

void smtp_put_rcpt(struct out *o, const struct smtp_rcpt *rcpt, unsigned allowed)
{
	unsigned params = rcpt->given & allowed;

	out_str(o, "RCPT TO:");
	mail_path_put(o, &rcpt->to);
	if (params & SMTP_P_NOTIFY)
		put_notify(o, rcpt->notify);
	if (params & SMTP_P_ORCPT) {
		out_str(o, " ORCPT=");
		out_slice(o, rcpt->orcpt_type);
		out_char(o, ';');
		if (is_utf8_type(rcpt->orcpt_type))
			xtext_put_utf8(o, rcpt->orcpt, allowed & SMTP_P_SMTPUTF8);
		else
			xtext_put(o, rcpt->orcpt);
	}
	out_str(o, "\r\n");
}
