/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proxy.c - PROXY protocol headers, both versions.
 *
 * Version 1 is one line of text whose parts have exactly one spelling; version 2 is binary with
 * its length in front. A header that is merely odd is refused: the only peer that may send one is
 * our own load balancer, and guessing here means believing a forged client address. */
#include "core/proxy.h"

#include "core/base/codec.h"
#include "core/base/text.h"

enum {
	V2_FIXED = 16,
	TLV_AUTHORITY = 0x02,
	TLV_CRC32C = 0x03,
	TLV_SSL = 0x20,
	SSL_CLIENT = 0x01,
};

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* --- Version 1 --- */

/* No sign, no leading zero (the protocol's text forbids them). */
static bool parse_port(slice text, uint16_t *out)
{
	uint64_t n;

	if (text.len == 0 || text.len > 5 || (text.ptr[0] == '0' && text.len > 1) ||
		!text_parse_uint(text, 65535, &n))
		return false;
	*out = (uint16_t)n;
	return true;
}

static bool parse_ip(slice text, enum addr_kind kind, struct addr *out)
{
	/* addr_parse_ip takes brackets and scopes too, which have no place here. */
	if (slice_find(text, '[') >= 0 || slice_find(text, '%') >= 0)
		return false;
	if ((slice_find(text, ':') >= 0) != (kind == ADDR_IP6))
		return false;
	return addr_parse_ip(text, out);
}

static bool parse_line(slice line, struct proxy_header *h)
{
	slice word[6];
	size_t n = 0;

	while (n < array_len(word) && slice_cut(&line, ' ', &word[n]))
		n++;
	if (n >= 2 && slice_eq(word[1], SLICE("UNKNOWN"))) {
		h->local = true;
		return true;
	}
	/* A trailing space leaves nothing to cut; the line's length tells. */
	if (n != 6 || line.len > 0)
		return false;
	enum addr_kind kind = slice_eq(word[1], SLICE("TCP4")) ? ADDR_IP4 :
		slice_eq(word[1], SLICE("TCP6"))               ? ADDR_IP6 :
								 ADDR_NONE;

	return kind != ADDR_NONE && parse_ip(word[2], kind, &h->source) &&
		parse_ip(word[3], kind, &h->dest) && parse_port(word[4], &h->source.port) &&
		parse_port(word[5], &h->dest.port);
}

static enum step parse_v1(slice in, struct proxy_header *out, size_t *out_consumed)
{
	slice seen = slice_sub(in, 0, PROXY_V1_MAX);
	ptrdiff_t lf = slice_find(seen, '\n');
	struct proxy_header h = { 0 };

	for (size_t i = 0; i < seen.len && (lf < 0 || i < (size_t)lf); i++) {
		bool before_lf = lf >= 0 && i + 1 == (size_t)lf;
		bool last = lf < 0 && i + 1 == seen.len;

		if (seen.ptr[i] == 0 || (seen.ptr[i] == '\r' && !before_lf && !last))
			return STEP_BAD;
	}
	if (lf < 0)
		return in.len >= PROXY_V1_MAX ? STEP_TOO_LONG : STEP_MORE;
	if (lf == 0 || seen.ptr[lf - 1] != '\r')
		return STEP_BAD;
	slice line = slice_sub(seen, 0, (size_t)lf - 1);

	if (line.len && line.ptr[line.len - 1] == ' ')
		return STEP_BAD;
	if (!parse_line(line, &h))
		return STEP_BAD;
	*out = h;
	*out_consumed = (size_t)lf + 1;
	return STEP_DONE;
}

/* --- Version 2 --- */

static bool take_addrs(slice *body, enum addr_kind kind, struct proxy_header *h)
{
	size_t len = kind == ADDR_IP4 ? 4 : 16;

	if (body->len < 2 * len + 4)
		return false;
	h->source.kind = h->dest.kind = (uint8_t)kind;
	memcpy(h->source.ip, body->ptr, len);
	memcpy(h->dest.ip, body->ptr + len, len);
	*body = slice_skip(*body, 2 * len);
	return take_u16(body, &h->source.port) && take_u16(body, &h->dest.port);
}

static bool take_unix(slice *body, struct proxy_header *h)
{
	if (body->len < 216)
		return false;
	*body = slice_skip(*body, 216);
	h->source.kind = h->dest.kind = ADDR_UNIX;
	return true;
}

/* The checksum is taken over the whole header with its own four bytes zero. */
static bool crc_right(slice header, size_t at, uint32_t said)
{
	static const char zero[4];
	uint32_t crc = codec_crc32c(0, header.ptr, at);

	crc = codec_crc32c(crc, zero, sizeof(zero));
	return codec_crc32c(crc, header.ptr + at + 4, header.len - at - 4) == said;
}

static bool take_tlvs(slice header, slice body, struct proxy_header *h)
{
	while (body.len > 0) {
		uint8_t type;
		uint16_t len;
		uint32_t crc;

		if (!take_u8(&body, &type) || !take_u16(&body, &len) || body.len < len)
			return false;
		slice value = slice_sub(body, 0, len);

		body = slice_skip(body, len);
		if (type == TLV_AUTHORITY)
			h->authority = value;
		if (type == TLV_SSL)
			h->tls = len > 0 && (value.ptr[0] & SSL_CLIENT);
		if (type != TLV_CRC32C)
			continue;
		size_t at = (size_t)(value.ptr - header.ptr);

		if (len != 4 || !take_u32(&value, &crc) || !crc_right(header, at, crc))
			return false;
	}
	return true;
}

static bool parse_body(slice header, struct proxy_header *h)
{
	unsigned char command = (unsigned char)header.ptr[12];
	unsigned char family = (unsigned char)header.ptr[13];
	slice body = slice_skip(header, V2_FIXED);
	bool known = true;

	if ((command & 0x0f) > 1 || (family >> 4) > 3 || (family & 0x0f) > 2)
		return false;
	/* LOCAL and UNSPEC: whatever follows is to be ignored (section 2.2). */
	h->local = (command & 0x0f) == 0 || family == 0;
	if (h->local)
		return true;
	if ((family & 0x0f) == 0)
		return false;
	if (family >> 4 == 1)
		known = take_addrs(&body, ADDR_IP4, h);
	else if (family >> 4 == 2)
		known = take_addrs(&body, ADDR_IP6, h);
	else if (family >> 4 == 3)
		known = take_unix(&body, h);
	else
		return false;
	return known && take_tlvs(header, body, h);
}

static enum step parse_v2(slice in, struct proxy_header *out, size_t *out_consumed)
{
	struct proxy_header h = { 0 };

	if (in.len > 12 && ((unsigned char)in.ptr[12] >> 4) != 2)
		return STEP_BAD;
	if (in.len < V2_FIXED)
		return STEP_MORE;
	size_t len =
		V2_FIXED + (size_t)((unsigned char)in.ptr[14] << 8 | (unsigned char)in.ptr[15]);

	if (len > PROXY_V2_MAX)
		return STEP_TOO_LONG;
	if (in.len < len)
		return STEP_MORE;
	if (!parse_body(slice_sub(in, 0, len), &h))
		return STEP_BAD;
	*out = h;
	*out_consumed = len;
	return STEP_DONE;
}

enum step proxy_parse(slice in, struct proxy_header *out, size_t *out_consumed)
{
	slice v1 = SLICE("PROXY "), v2 = slice_of(v2_signature, sizeof(v2_signature));

	if (slice_starts(in, v1))
		return parse_v1(in, out, out_consumed);
	if (slice_starts(in, v2))
		return parse_v2(in, out, out_consumed);
	if (slice_starts(v1, in) || slice_starts(v2, in))
		return STEP_MORE;
	return STEP_BAD;
}
