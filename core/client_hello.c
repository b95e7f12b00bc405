/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client_hello.c - records to one handshake message, and the message to what we want to know.
 *
 * wolfSSL parses it again and is the judge of everything else; here only structure is checked, so
 * that what we choose by is what it will see. RFC 8446 4.1.2 (message), 4.2 (extensions), 5.1
 * (records). */
#include "core/client_hello.h"

#include "core/base/text.h"

enum {
	RECORD_HEAD = 5,
	RECORD_MAX = 16384,
	TYPE_HANDSHAKE = 22,
	HELLO = 1,
	HELLO_HEAD = 4,
};

enum extension {
	EXT_SERVER_NAME = 0,
	EXT_GROUPS = 10,
	EXT_SIGNATURES = 13,
	EXT_ALPN = 16,
	EXT_TICKET = 35,
	EXT_PSK = 41,
	EXT_VERSIONS = 43,
};

enum {
	SCHEME_RSA_PKCS1_SHA256 = 0x0401,
	SCHEME_ECDSA_P256_SHA256 = 0x0403,
	SCHEME_RSA_PSS_SHA256 = 0x0804,
	SCHEME_ED25519 = 0x0807,
	GROUP_P256 = 23,
	VERSION_12 = 0x0303,
	VERSION_13 = 0x0304,
};

struct facts {
	bool scheme_ecdsa, group_p256, suite_ecdsa, has_groups, has_schemes;
};

/* A vector with a length of one or two bytes in front, cut off *in. */
static bool take_vector(slice *in, unsigned head, slice *out)
{
	uint8_t n8 = 0;
	uint16_t n16 = 0;

	if (head == 1 ? !take_u8(in, &n8) : !take_u16(in, &n16))
		return false;
	size_t len = head == 1 ? n8 : n16;

	if (in->len < len)
		return false;
	*out = slice_sub(*in, 0, len);
	*in = slice_skip(*in, len);
	return true;
}

/* Letters, digits, hyphens, dots: what may be compared with names in certificates. */
static bool good_name(slice name)
{
	bool digits_only = true;

	if (name.len == 0 || name.len > 253)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (!text_is_alpha(c) && !text_is_digit(c) && c != '-' && c != '.' && c != '_')
			return false;
		digits_only &= text_is_digit(c) || c == '.';
	}
	return !digits_only;
}

/* RFC 6066 3. A name that cannot be one is left out rather than refused. */
static bool on_server_name(slice body, struct client_hello *h)
{
	slice list, name;
	uint8_t type;

	if (!take_vector(&body, 2, &list) || body.len)
		return false;
	while (list.len) {
		if (!take_u8(&list, &type) || !take_vector(&list, 2, &name))
			return false;
		if (type == 0 && h->sni.len == 0 && good_name(name))
			h->sni = name;
	}
	return true;
}

static bool on_alpn(slice body, struct client_hello *h)
{
	slice list, name;

	if (!take_vector(&body, 2, &list) || body.len)
		return false;
	while (list.len) {
		if (!take_vector(&list, 1, &name) || name.len == 0)
			return false;
		if (h->alpn_count < CLIENT_HELLO_ALPN_MAX)
			h->alpn[h->alpn_count++] = name;
	}
	return true;
}

static bool on_signatures(slice body, struct client_hello *h, struct facts *f)
{
	slice list;
	uint16_t scheme;

	if (!take_vector(&body, 2, &list) || body.len || list.len % 2)
		return false;
	f->has_schemes = true;
	while (take_u16(&list, &scheme)) {
		f->scheme_ecdsa |= scheme == SCHEME_ECDSA_P256_SHA256;
		h->rsa_pss |= scheme == SCHEME_RSA_PSS_SHA256;
		h->rsa_pkcs1 |= scheme == SCHEME_RSA_PKCS1_SHA256;
		h->ed25519 |= scheme == SCHEME_ED25519;
	}
	return true;
}

static bool on_groups(slice body, struct facts *f)
{
	slice list;
	uint16_t group;

	if (!take_vector(&body, 2, &list) || body.len || list.len % 2)
		return false;
	f->has_groups = true;
	while (take_u16(&list, &group))
		f->group_p256 |= group == GROUP_P256;
	return true;
}

static bool on_versions(slice body, struct client_hello *h)
{
	slice list;
	uint16_t version;

	if (!take_vector(&body, 1, &list) || body.len || list.len % 2)
		return false;
	h->tls12 = h->tls13 = false;
	while (take_u16(&list, &version)) {
		h->tls12 |= version == VERSION_12;
		h->tls13 |= version == VERSION_13;
	}
	return true;
}

static bool on_extension(unsigned type, slice body, struct client_hello *h, struct facts *f)
{
	switch (type) {
	case EXT_SERVER_NAME:
		return on_server_name(body, h);
	case EXT_ALPN:
		return on_alpn(body, h);
	case EXT_SIGNATURES:
		return on_signatures(body, h, f);
	case EXT_GROUPS:
		return on_groups(body, f);
	case EXT_VERSIONS:
		return on_versions(body, h);
	case EXT_TICKET:
		h->ticket |= body.len > 0;
		return true;
	case EXT_PSK:
		h->ticket = true;
		return true;
	default:
		return true;
	}
}

/* TLS 1.3 suites say nothing of the certificate; of the older ones the name does. */
static void on_suites(slice suites, struct facts *f)
{
	uint16_t suite;

	while (take_u16(&suites, &suite))
		f->suite_ecdsa |= suite == 0xc02b || suite == 0xc02c || suite == 0xcca9;
}

/* RFC 8446 4.1.2: version, random, session id, suites, compression, extensions. */
static bool parse_message(slice in, struct client_hello *h)
{
	struct facts f = { 0 };
	slice id, suites, compression, all, body;
	uint16_t type;

	if (!take_u16(&in, &h->legacy_version) || in.len < 32)
		return false;
	in = slice_skip(in, 32);
	if (!take_vector(&in, 1, &id) || id.len > 32 || !take_vector(&in, 2, &suites) ||
		suites.len < 2 || suites.len % 2 || !take_vector(&in, 1, &compression))
		return false;
	h->tls12 = h->legacy_version >= VERSION_12;
	on_suites(suites, &f);
	if (in.len > 0) {
		if (!take_vector(&in, 2, &all) || in.len)
			return false;
		while (all.len)
			if (!take_u16(&all, &type) || !take_vector(&all, 2, &body) ||
				!on_extension(type, body, h, &f))
				return false;
	}
	h->ecdsa_p256 = f.scheme_ecdsa && (f.group_p256 || !f.has_groups || h->tls13) &&
		(h->tls13 || f.suite_ecdsa);
	/* RFC 5246 7.4.1.4.1: without the extension SHA-1 was meant, which we never use; RSA is
	 * what such clients take. */
	if (!f.has_schemes)
		h->rsa_pkcs1 = true;
	return true;
}

/* One record off *in, its payload appended. STEP_DONE: a record; the message may go on. */
static enum step take_record(slice *in, char *buf, size_t *len)
{
	const unsigned char *p = (const unsigned char *)in->ptr;

	if ((in->len > 0 && p[0] != TYPE_HANDSHAKE) || (in->len > 1 && p[1] != 3) ||
		(in->len > 2 && p[2] > 4))
		return STEP_BAD;
	if (in->len < RECORD_HEAD)
		return STEP_MORE;
	size_t body = (size_t)(p[3] << 8 | p[4]);

	/* RFC 8446 5.1: handshake records are never empty. */
	if (body == 0 || body > RECORD_MAX)
		return STEP_BAD;
	if (*len + body > CLIENT_HELLO_MAX)
		return STEP_TOO_LONG;
	if (in->len < RECORD_HEAD + body)
		return STEP_MORE;
	memcpy(buf + *len, p + RECORD_HEAD, body);
	*len += body;
	*in = slice_skip(*in, RECORD_HEAD + body);
	return STEP_DONE;
}

enum step client_hello_parse(slice in, void *buf, struct client_hello *out)
{
	const unsigned char *message = buf;
	size_t len = 0, wanted = HELLO_HEAD;

	while (len < wanted) {
		enum step step = take_record(&in, buf, &len);

		if (len > 0 && message[0] != HELLO)
			return STEP_BAD;
		if (step != STEP_DONE)
			return step;
		if (len >= HELLO_HEAD)
			wanted = HELLO_HEAD +
				(size_t)(message[1] << 16 | message[2] << 8 | message[3]);
		if (wanted > CLIENT_HELLO_MAX)
			return STEP_TOO_LONG;
	}
	struct client_hello h = { 0 };

	if (!parse_message(slice_sub(slice_of(buf, len), HELLO_HEAD, wanted), &h))
		return STEP_BAD;
	*out = h;
	return STEP_DONE;
}
