/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses, read from the front so that a quoted local part may hold any byte that ends a path. Of the
 * limits only path and domain are enforced: RFC 5321 4.5.3.1 asks for none where none is needed,
 * and bounce addresses of bulk senders have local parts beyond 64 bytes. */
#include "proto/smtp/address.h"

#include "core/base/text.h"
#include "proto/smtp/limits.h"

#include <arpa/inet.h>

static bool is_atext(char c)
{
	static const char specials[] = "!#$%&'*+-/=?^_`{|}~";

	return text_is_alpha(c) || text_is_digit(c) || (c & 0x80) ||
		(c && memchr(specials, c, sizeof(specials) - 1));
}

/* The length of a dot-string at the front of s; 0 if there is none. */
static size_t dot_string(slice s)
{
	size_t n = 0;
	bool atom = false;

	for (; n < s.len && (is_atext(s.ptr[n]) || (s.ptr[n] == '.' && atom)); n++)
		atom = s.ptr[n] != '.';
	return atom ? n : 0;
}

/* The quoted string at the front of *in; resolves quoted pairs in the arena when there are any. */
static bool quoted_string(struct arena *a, slice *in, slice *out)
{
	size_t n = 1, pairs = 0;

	while (n < in->len && in->ptr[n] != '"') {
		if (in->ptr[n] == '\\') {
			pairs++;
			n++;
		}
		if (n == in->len || (unsigned char)in->ptr[n] < 0x20 || in->ptr[n] == 0x7f)
			return false;
		n++;
	}
	if (n == in->len)
		return false;
	*out = slice_sub(*in, 1, n);
	*in = slice_skip(*in, n + 1);
	if (!pairs)
		return true;
	char *copy = arena_alloc(a, out->len);
	size_t len = 0;

	for (size_t i = 0; i < out->len; i++) {
		i += out->ptr[i] == '\\';
		copy[len++] = out->ptr[i];
	}
	*out = slice_of(copy, len);
	return true;
}

static bool take_local(struct arena *a, slice *in, slice *out)
{
	size_t n;

	if (in->len && in->ptr[0] == '"')
		return quoted_string(a, in, out) && text_is_utf8(*out);
	n = dot_string(*in);
	*out = slice_sub(*in, 0, n);
	*in = slice_skip(*in, n);
	return n && text_is_utf8(*out);
}

/* The text between the brackets of a literal: an IPv4 address, IPv6:..., or tag:content. */
static bool literal_ok(slice text)
{
	static const slice ipv6 = SLICE_INIT("IPv6:");
	unsigned char address[16];
	char copy[64];
	ptrdiff_t colon = slice_find(text, ':');
	bool six = slice_starts_nocase(text, ipv6);

	if (colon > 0 && !six) {
		/* General-address-literal: an LDH tag and dcontent (RFC 5321 4.1.3). */
		slice tag = slice_sub(text, 0, (size_t)colon);

		if (!text_is_domain(tag) || slice_find(tag, '.') >= 0 || !text_is_ascii(tag))
			return false;
		for (size_t i = (size_t)colon + 1; i < text.len; i++)
			if (text.ptr[i] < 33 || text.ptr[i] > 126 || memchr("[\\]", text.ptr[i], 3))
				return false;
		return (size_t)colon + 1 < text.len;
	}
	slice number = six ? slice_skip(text, ipv6.len) : text;

	if (!number.len || number.len >= sizeof(copy) || memchr(number.ptr, 0, number.len))
		return false;
	memcpy(copy, number.ptr, number.len);
	copy[number.len] = 0;
	return inet_pton(six ? AF_INET6 : AF_INET, copy, address) == 1;
}

static bool take_domain(slice *in, struct mail_addr *addr)
{
	size_t n = 0;

	if (in->len && in->ptr[0] == '[') {
		ptrdiff_t end = slice_find(*in, ']');

		if (end < 0)
			return false;
		addr->domain = slice_sub(*in, 1, (size_t)end);
		addr->literal = true;
		*in = slice_skip(*in, (size_t)end + 1);
		return literal_ok(addr->domain);
	}
	while (n < in->len && !memchr("> ,:", in->ptr[n], 4))
		n++;
	addr->domain = slice_sub(*in, 0, n);
	*in = slice_skip(*in, n);
	return n <= SMTP_DOMAIN_MAX && text_is_domain(addr->domain);
}

static bool take_byte(slice *in, char byte)
{
	if (!in->len || in->ptr[0] != byte)
		return false;
	*in = slice_skip(*in, 1);
	return true;
}

static bool take_mailbox(struct arena *a, slice *in, struct mail_addr *out)
{
	struct mail_addr addr = { 0 };
	size_t len = in->len;

	if (!take_local(a, in, &addr.local) || !take_byte(in, '@') || !take_domain(in, &addr))
		return false;
	if (len - in->len > SMTP_PATH_MAX - 2)
		return false;
	addr.utf8 = !text_is_ascii(addr.local) || !text_is_ascii(addr.domain);
	*out = addr;
	return true;
}

bool mail_addr_parse(struct arena *a, slice in, struct mail_addr *out)
{
	struct mail_addr addr;

	if (!take_mailbox(a, &in, &addr) || in.len)
		return false;
	*out = addr;
	return true;
}

/* "@one,@two:" in front of a mailbox: must be accepted, should be ignored (RFC 5321 4.1.1.3). */
static bool skip_route(slice *in)
{
	struct mail_addr hop = { 0 };

	if (!in->len || in->ptr[0] != '@')
		return true;
	do {
		if (!take_byte(in, '@') || !take_domain(in, &hop))
			return false;
	} while (take_byte(in, ','));
	return take_byte(in, ':');
}

bool mail_path_parse(struct arena *a, slice *in, unsigned kinds, struct mail_addr *out)
{
	static const slice postmaster = SLICE_INIT("postmaster>");
	struct mail_addr addr = { 0 };
	slice rest = *in;
	bool brackets = take_byte(&rest, '<');

	if (brackets && (kinds & MAIL_PATH_NULL) && take_byte(&rest, '>')) {
		*in = rest;
		*out = addr;
		return true;
	}
	if (brackets && (kinds & MAIL_PATH_POSTMASTER) && slice_starts_nocase(rest, postmaster)) {
		addr.local = slice_sub(rest, 0, postmaster.len - 1);
		*in = slice_skip(rest, postmaster.len);
		*out = addr;
		return true;
	}
	if (brackets && !skip_route(&rest))
		return false;
	if (!take_mailbox(a, &rest, &addr) || (brackets && !take_byte(&rest, '>')))
		return false;
	if (rest.len && rest.ptr[0] != ' ')
		return false;
	*in = rest;
	*out = addr;
	return true;
}

static void put_local(struct out *o, slice local)
{
	if (local.len && dot_string(local) == local.len) {
		out_slice(o, local);
		return;
	}
	out_char(o, '"');
	for (size_t i = 0; i < local.len; i++) {
		if (local.ptr[i] == '"' || local.ptr[i] == '\\')
			out_char(o, '\\');
		out_char(o, local.ptr[i]);
	}
	out_char(o, '"');
}

void mail_addr_put(struct out *o, const struct mail_addr *addr)
{
	if (mail_addr_is_null(addr))
		return;
	put_local(o, addr->local);
	if (!addr->domain.len)
		return;
	out_str(o, addr->literal ? "@[" : "@");
	out_slice(o, addr->domain);
	if (addr->literal)
		out_char(o, ']');
}

void mail_path_put(struct out *o, const struct mail_addr *addr)
{
	out_char(o, '<');
	mail_addr_put(o, addr);
	out_char(o, '>');
}

slice mail_addr_text(struct arena *a, const struct mail_addr *addr)
{
	char buf[SMTP_PATH_MAX * 2 + 8];
	struct out o = out_fixed(buf, sizeof(buf));

	mail_addr_put(&o, addr);
	must(out_ok(&o));
	return arena_dup(a, out_written(&o));
}
