/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_transfer.c - quoted-printable and base64 in pieces. */
#include "proto/mime/transfer.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>

static size_t take_qp_encode(void *state, slice in, bool last, struct out *o)
{
	qp_encode(state, in, o);
	if (last)
		qp_encode_end(state, o);
	return in.len;
}

static size_t take_qp_decode(void *state, slice in, bool last, struct out *o)
{
	qp_decode(state, in, o);
	if (last)
		qp_decode_end(state, o);
	return in.len;
}

static size_t take_b64_encode(void *state, slice in, bool last, struct out *o)
{
	b64_encode(state, in, o);
	if (last)
		b64_encode_end(state, o);
	return in.len;
}

static size_t take_b64_decode(void *state, slice in, bool last, struct out *o)
{
	b64_decode(state, in, o);
	return in.len;
}

static void set_binary(void *state, const void *arg)
{
	((struct qp_encoder *)state)->binary = true;
}

static const struct feed_parser qp_encoder = {
	.name = "qp encode", .take = take_qp_encode, .state_size = sizeof(struct qp_encoder)
};
static const struct feed_parser qp_binary = { .name = "qp binary",
	.take = take_qp_encode,
	.init = set_binary,
	.state_size = sizeof(struct qp_encoder) };
static const struct feed_parser qp_decoder = {
	.name = "qp decode", .take = take_qp_decode, .state_size = sizeof(struct qp_decoder)
};
static const struct feed_parser b64_encoder = {
	.name = "b64 encode", .take = take_b64_encode, .state_size = sizeof(struct b64_encoder)
};
static const struct feed_parser b64_decoder = {
	.name = "b64 decode", .take = take_b64_decode, .state_size = sizeof(struct b64_decoder)
};

static const struct row {
	const struct feed_parser *parser;
	const char *why, *in, *want;
} rows[] = {
	{ &qp_encoder, "plain", "hello\r\nworld\r\n", "hello\r\nworld\r\n" },
	{ &qp_encoder, "8-bit", "\303\244\r\n", "=C3=A4\r\n" },
	{ &qp_encoder, "equals sign", "a=b", "a=3Db" },
	{ &qp_encoder, "blank at the end of a line", "a \r\nb\t\r\n", "a=20\r\nb=09\r\n" },
	{ &qp_encoder, "only the last blank", "a  \r\n", "a =20\r\n" },
	{ &qp_encoder, "blank at the very end", "a ", "a=20" },
	{ &qp_encoder, "lone CR and LF", "a\rb\nc", "a=0Db=0Ac" },
	{ &qp_encoder, "blank and lone CR", "a \rb", "a =0Db" },
	{ &qp_encoder, "CR at the end", "a\r", "a=0D" },
	{ &qp_encoder, "two CRs", "a\r\r\n", "a=0D\r\n" },
	{ &qp_encoder, "long line",
		"0123456789012345678901234567890123456789012345678901234567890123456789012345678",
		"012345678901234567890123456789012345678901234567890123456789012345678901234="
		"\r\n5678" },
	{ &qp_encoder, "no boundary is made", "--b\r\na-b\r\n", "=2D-b\r\na-b\r\n" },
	{ &qp_encoder, "nor behind a soft line end",
		"012345678901234567890123456789012345678901234567890123456789012345678901234--b",
		"012345678901234567890123456789012345678901234567890123456789012345678901234=\r\n="
		"2D-b" },
	{ &qp_encoder, "nothing", "", "" },
	{ &qp_binary, "line ends are data", "a\r\n", "a=0D=0A" },
	{ &qp_decoder, "plain", "hello\r\n", "hello\r\n" },
	{ &qp_decoder, "escape", "=C3=a4=3D", "\303\244=" },
	{ &qp_decoder, "soft line end", "a=\r\nb=\nc", "abc" },
	{ &qp_decoder, "soft line end with padding", "a= \t\r\nb", "ab" },
	{ &qp_decoder, "transport blanks", "a \t\r\nb", "a\r\nb" },
	{ &qp_decoder, "inner blanks stay", "a \tb", "a \tb" },
	{ &qp_decoder, "bad escapes stay", "=zz=4z=", "=zz=4z=" },
	{ &qp_decoder, "8-bit stays", "\303", "\303" },
	{ &b64_encoder, "short", "abc", "YWJj\r\n" },
	{ &b64_encoder, "padding", "a", "YQ==\r\n" },
	{ &b64_encoder, "nothing", "", "" },
	{ &b64_encoder, "a full line and more",
		"012345678901234567890123456789012345678901234567890123456789",
		"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2\r\n"
		"Nzg5\r\n" },
	{ &b64_decoder, "short", "YWJj", "abc" },
	{ &b64_decoder, "padding", "YQ==", "a" },
	{ &b64_decoder, "foreign bytes", "Y W\r\n!J\377j", "abc" },
	{ &b64_decoder, "without padding", "YWI", "ab" },
	{ &b64_decoder, "nothing behind the padding", "YQ==YQ==", "a" },
};

Test(mime_transfer, by_table)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[512];
		struct out o = out_fixed(buf, sizeof(buf));

		cr_assert(feed_all_ways(rows[i].parser, NULL, slice_str(rows[i].in), &o));
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s, %s: %.*s",
			rows[i].parser->name, rows[i].why, SLICE_ARG(out_written(&o)));
	}
}

static bool lines_are_short(slice text)
{
	slice line;

	while (slice_cut(&text, '\n', &line))
		if (line.len > TRANSFER_LINE + 1)
			return false;
	return true;
}

/* All byte pairs, in text and in binary: decoded they are what they were. */
Test(mime_transfer, round_trips)
{
	static char data[512], coded[8192], again[2048];
	const struct feed_parser *const pairs[][2] = { { &qp_encoder, &qp_decoder },
		{ &qp_binary, &qp_decoder }, { &b64_encoder, &b64_decoder } };

	for (unsigned seed = 0; seed < 50; seed++) {
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = (char)((i * i * 31 + seed * 7 * i + (i >> 3)) & 255);
		for (size_t i = 0; i + 1 < sizeof(data); i += 37)
			memcpy(data + i, "\r\n", 2);
		for (size_t p = 0; p < array_len(pairs); p++) {
			struct out o = out_fixed(coded, sizeof(coded));
			struct out back = out_fixed(again, sizeof(again));

			cr_assert(feed_few_ways(pairs[p][0], NULL, slice_of(data, sizeof(data)),
				&o));
			cr_expect(lines_are_short(out_written(&o)));
			cr_assert(feed_few_ways(pairs[p][1], NULL, out_written(&o), &back));
			cr_expect(slice_eq(out_written(&back), slice_of(data, sizeof(data))));
		}
	}
}
