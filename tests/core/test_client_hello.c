/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ClientHello: built by hand, cut into records in every size, and broken in many places. */
#include "core/client_hello.h"

#include "tests/support/feed.h"

#include <criterion/criterion.h>

struct sample {
	bool no_schemes, only_rsa, tls12, no_extensions, ticket;
	const char *sni, *alpn[3];
};

static void put_vector16(struct out *o, slice body)
{
	out_u16(o, (uint16_t)body.len);
	out_slice(o, body);
}

static void put_extension(struct out *o, uint16_t type, slice body)
{
	out_u16(o, type);
	put_vector16(o, body);
}

static void put_sni(struct out *o, const char *name)
{
	char buf[600];
	struct out b = out_fixed(buf, sizeof(buf));

	out_u16(&b, (uint16_t)(strlen(name) + 3));
	out_u8(&b, 0);
	put_vector16(&b, slice_str(name));
	put_extension(o, 0, out_written(&b));
}

static void put_alpn(struct out *o, const char *const *names)
{
	char buf[600], list[500];
	struct out b = out_fixed(buf, sizeof(buf)), l = out_fixed(list, sizeof(list));

	for (size_t i = 0; i < 3 && names[i]; i++) {
		out_u8(&l, (uint8_t)strlen(names[i]));
		out_str(&l, names[i]);
	}
	put_vector16(&b, out_written(&l));
	put_extension(o, 16, out_written(&b));
}

static void put_extensions(struct out *o, const struct sample *s)
{
	if (s->sni)
		put_sni(o, s->sni);
	if (s->alpn[0])
		put_alpn(o, s->alpn);
	if (!s->no_schemes)
		put_extension(o, 13,
			s->only_rsa ? SLICE("\0\4\x08\x04\x04\x01") :
				      SLICE("\0\6\x04\x03\x08\x04\x04\x01"));
	put_extension(o, 10, SLICE("\0\4\0\x1d\0\x17"));
	if (!s->tls12)
		put_extension(o, 43, SLICE("\4\x03\x04\x03\x03"));
	if (s->ticket)
		put_extension(o, 35, SLICE("ticket"));
}

/* The handshake message, head included. */
static slice message(const struct sample *s, char *buf, size_t cap)
{
	char ext[2048], body[4096];
	struct out e = out_fixed(ext, sizeof(ext)), b = out_fixed(body, sizeof(body));
	struct out o = out_fixed(buf, cap);

	put_extensions(&e, s);
	out_u16(&b, 0x0303);
	out_fill(&b, 'r', 32);
	out_u8(&b, 0);
	put_vector16(&b, SLICE("\x13\x01\xc0\x2b\xc0\x2f"));
	out_slice(&b, SLICE("\1\0"));
	if (!s->no_extensions)
		put_vector16(&b, out_written(&e));
	out_u8(&o, 1);
	out_u8(&o, 0);
	put_vector16(&o, out_written(&b));
	cr_assert(out_ok(&o) && out_ok(&b) && out_ok(&e));
	return out_written(&o);
}

/* The message in records of `size` bytes. */
static slice records(slice text, size_t size, struct out *o)
{
	while (text.len) {
		slice piece = slice_sub(text, 0, size);

		out_u8(o, 22);
		out_u16(o, 0x0301);
		put_vector16(o, piece);
		text = slice_skip(text, piece.len);
	}
	return out_written(o);
}

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct client_hello h;
	char buf[CLIENT_HELLO_MAX];

	(void)state;
	(void)last;
	switch (client_hello_parse(in, buf, &h)) {
	case STEP_MORE:
		return 0;
	case STEP_DONE:
		out_printf(o, "sni=%.*s alpn=", SLICE_ARG(h.sni));
		for (size_t i = 0; i < h.alpn_count; i++)
			out_printf(o, "%.*s,", SLICE_ARG(h.alpn[i]));
		out_printf(o, "%s%s%s%s%s%s%s", h.tls12 ? " 1.2" : "", h.tls13 ? " 1.3" : "",
			h.ecdsa_p256 ? " ecdsa" : "", h.rsa_pss ? " pss" : "",
			h.rsa_pkcs1 ? " pkcs1" : "", h.ed25519 ? " ed25519" : "",
			h.ticket ? " ticket" : "");
		return FEED_STOP;
	case STEP_TOO_LONG:
		out_str(o, "too long");
		return FEED_STOP;
	default:
		out_str(o, "bad");
		return FEED_STOP;
	}
}
static const struct feed_parser parser = { .name = "client_hello", .take = take };

static const struct {
	const char *why;
	struct sample sample;
	const char *result;
} good[] = {
	{ "all of it", { .sni = "MX.example.test", .alpn = { "h2", "http/1.1" } },
		"sni=MX.example.test alpn=h2,http/1.1, 1.2 1.3 ecdsa pss pkcs1" },
	{ "RSA only", { .only_rsa = true }, "sni= alpn= 1.2 1.3 pss pkcs1" },
	{ "TLS 1.2", { .tls12 = true, .ticket = true }, "sni= alpn= 1.2 ecdsa pss pkcs1 ticket" },
	{ "no schemes", { .no_schemes = true, .tls12 = true }, "sni= alpn= 1.2 pkcs1" },
	{ "nothing", { .no_extensions = true }, "sni= alpn= 1.2 pkcs1" },
	{ "an address is no name", { .sni = "192.0.2.1" }, "sni= alpn= 1.2 1.3 ecdsa pss pkcs1" },
	{ "a strange name is none", { .sni = "a b" }, "sni= alpn= 1.2 1.3 ecdsa pss pkcs1" },
};

Test(client_hello, reads_what_is_offered)
{
	for (size_t i = 0; i < array_len(good); i++) {
		char buf[4096];
		slice text = message(&good[i].sample, buf, sizeof(buf));

		for (size_t size = 1; size < 400; size = size * 3 + 1) {
			struct out o = out_heap(65536), seen = out_heap(4096);
			slice all = records(text, size, &o);

			cr_expect(feed_all_ways(&parser, NULL, all, &seen), "%s", good[i].why);
			cr_expect(slice_eq(out_written(&seen), slice_str(good[i].result)),
				"%s, records of %zu: %.*s", good[i].why, size,
				SLICE_ARG(out_written(&seen)));
			out_heap_done(&o);
			out_heap_done(&seen);
		}
	}
}

static const struct {
	const char *why;
	slice bytes;
	enum step step;
} bad[] = {
	{ "SMTP", SLICE_INIT("EHLO x\r\n"), STEP_BAD },
	{ "SSL 2", SLICE_INIT("\x80\x2e\x01\x03\x01"), STEP_BAD },
	{ "another record", SLICE_INIT("\x17\x03\x03"), STEP_BAD },
	{ "empty record", SLICE_INIT("\x16\x03\x01\0\0"), STEP_BAD },
	{ "record too large", SLICE_INIT("\x16\x03\x01\x40\x01"), STEP_BAD },
	{ "not a ClientHello", SLICE_INIT("\x16\x03\x01\0\4\2\0\0\0"), STEP_BAD },
	{ "message too long", SLICE_INIT("\x16\x03\x01\0\4\1\1\0\0"), STEP_TOO_LONG },
	{ "too short inside", SLICE_INIT("\x16\x03\x01\0\6\1\0\0\2\3\3"), STEP_BAD },
	{ "begun", SLICE_INIT("\x16\x03\x01"), STEP_MORE },
};

Test(client_hello, refuses)
{
	for (size_t i = 0; i < array_len(bad); i++) {
		char buf[CLIENT_HELLO_MAX];
		struct client_hello h;

		cr_expect_eq(client_hello_parse(bad[i].bytes, buf, &h), bad[i].step, "%s",
			bad[i].why);
	}
}

/* Whatever one byte is changed to, the answer comes without a read outside (the sanitizer looks).
 */
Test(client_hello, survives_changed_bytes)
{
	char buf[4096], hello[CLIENT_HELLO_MAX];
	slice text = message(&good[0].sample, buf, sizeof(buf));
	struct out o = out_heap(65536);
	slice all = records(text, 400, &o);
	unsigned done = 0, refused = 0;

	for (size_t i = 0; i < all.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			struct client_hello h;

			o.buf[i] ^= (char)(1 << bit);
			enum step step = client_hello_parse(all, hello, &h);

			done += step == STEP_DONE;
			refused += step == STEP_BAD || step == STEP_TOO_LONG;
			o.buf[i] ^= (char)(1 << bit);
		}
	cr_expect(done > 0 && refused > 0);
	out_heap_done(&o);
}
