/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_recode.c - what a hop cannot take is made 7-bit, or said to be impossible. */
#include "core/base/text.h"
#include "proto/mime/recode.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>

#define CTE "Content-Transfer-Encoding: "
#define MULTI "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
#define SIGNED "Content-Type: multipart/signed; boundary=b\r\n"
#define UE "\303\274"

static const struct part_limits none;
static const struct recode_hop plain_hop,
	eight_bit_hop = { .eight_bit = true },
	full_hop = { .eight_bit = true, .binary = true, .smtputf8 = true };

static void scan_all(struct recode_scan *s, slice message)
{
	recode_scan_init(s, &none);
	recode_scan_add(s, message);
	recode_scan_end(s);
}

struct run_state {
	struct recode_scan scan;
	struct recode_run run;
};

struct run_arg {
	slice message;
	struct recode_hop hop;
};

static void init_run(void *state, const void *arg)
{
	struct run_state *s = state;
	const struct run_arg *a = arg;

	scan_all(&s->scan, a->message);
	recode_run_init(&s->run, &s->scan, a->hop);
}

static void done_run(void *state)
{
	struct run_state *s = state;

	recode_run_done(&s->run);
	recode_scan_done(&s->scan);
}

static size_t take_run(void *state, slice in, bool last, struct out *o)
{
	struct run_state *s = state;
	enum err err = last ? recode_run_end(&s->run, o) : recode_run_add(&s->run, in, o);

	if (err)
		out_str(o, "ERROR");
	return last ? FEED_STOP : in.len;
}

static const struct feed_parser runner = { .name = "recode",
	.init = init_run,
	.done = done_run,
	.take = take_run,
	.state_size = sizeof(struct run_state) };

static const struct {
	const char *why, *in, *want;
	const struct recode_hop *hop;
} conversions[] = {
	{ "text becomes quoted-printable",
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" CTE
		"8bit\r\nA: b\r\n\r\n" UE "=\r\n",
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nA: b\r\n" CTE
		"quoted-printable\r\n\r\n=C3=BC=3D\r\n",
		&plain_hop },
	{ "no MIME at all", "A: b\r\n\r\n" UE "\r\n",
		"A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" CTE
		"quoted-printable\r\n\r\n=C3=BC\r\n",
		&plain_hop },
	{ "no MIME and no UTF-8", "A: b\r\n\r\n\374\r\n",
		"A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
		"charset=unknown-8bit\r\n" CTE "quoted-printable\r\n\r\n=FC\r\n",
		&plain_hop },
	{ "only the part that needs it",
		MULTI CTE "8bit\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: image/x\r\n" CTE
			  "8bit\r\n\r\n\377\376\r\n--b--\r\n",
		MULTI CTE "7bit\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: image/x\r\n" CTE
			  "base64\r\n\r\n//4=\r\n\r\n--b--\r\n",
		&plain_hop },
	{ "enclosed message",
		"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n" CTE
		"8bit\r\n\r\nA: b\r\n\r\n" UE "\r\n",
		"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n" CTE
		"7bit\r\n\r\nA: b\r\nMIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n" CTE
		"quoted-printable\r\n\r\n=C3=BC\r\n",
		&plain_hop },
	{ "preamble and epilogue", MULTI "\r\n" UE "\r\n--b\r\n\r\nx\r\n--b--\r\n" UE,
		MULTI "\r\n**\r\n--b\r\n\r\nx\r\n--b--\r\n**", &plain_hop },
	{ "a bare CR in the line of a boundary",
		MULTI "\r\n-\r-b\r\n--b-\r-\r\n\r\n" UE "\r\n--b--\r\r\n",
		MULTI "\r\n-*-b\r\n--b-*-\r\nContent-Type: text/plain; charset=utf-8\r\n" CTE
		      "quoted-printable\r\n\r\n=C3=BC\r\n--b--*\r\n",
		&plain_hop },
	{ "a bare CR before the boundary outside",
		MULTI "\r\n--b\r\nContent-Type: multipart/digest; boundary=c\r\n\r\n--c--\r" UE
		      "\r\r\n--b\r\n\r\nx\r\n--b--\r",
		MULTI "\r\n--b\r\nContent-Type: multipart/digest; boundary=c\r\n\r\n--c--***"
		      "*\r\n--b\r\n\r\nx\r\n--b--*",
		&plain_hop },
	{ "a question mark may belong to a boundary",
		"Content-Type: multipart/mixed; boundary=\"b?\"\r\n\r\n--b\374\r\n--b?\r\n\r\nx\r\n"
		"--b?--",
		"Content-Type: multipart/mixed; boundary=\"b?\"\r\n\r\n--b*\r\n--b?\r\n\r\nx\r\n"
		"--b?--",
		&plain_hop },
	{ "8-bit in quoted-printable",
		"MIME-Version: 1.0\r\n" CTE "quoted-printable\r\n\r\n=41" UE "\r\n",
		"MIME-Version: 1.0\r\n" CTE "quoted-printable\r\n\r\nA=C3=BC\r\n", &plain_hop },
	{ "8-bit in base64", "MIME-Version: 1.0\r\n" CTE "base64\r\n\r\nQU" UE "I=\r\n",
		"MIME-Version: 1.0\r\n" CTE "base64\r\n\r\nQUI=\r\n", &plain_hop },
	{ "sealed parts stay, others change",
		MULTI "\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n\r\n--c\r\n" CTE
		      "8bit\r\n\r\nx\r\n--c--\r\n--b\r\n\r\n" UE "\r\n--b--\r\n",
		MULTI
		"\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n\r\n--c\r\n" CTE
		"8bit\r\n\r\nx\r\n--c--\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n" CTE
		"quoted-printable\r\n\r\n=C3=BC\r\n--b--\r\n",
		&plain_hop },
	{ "binary label for an 8-bit hop",
		"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n" CTE "binary\r\n\r\n" UE "\r\n",
		"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n" CTE "8bit\r\n\r\n" UE "\r\n",
		&eight_bit_hop },
	{ "bare newlines for an 8-bit hop",
		"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n" CTE "binary\r\n\r\na\nb\r\n",
		"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n" CTE
		"quoted-printable\r\n\r\na=0Ab\r\n",
		&eight_bit_hop },
};

Test(mime_recode, conversions_by_table)
{
	for (size_t i = 0; i < array_len(conversions); i++) {
		struct run_arg arg = { slice_str(conversions[i].in), *conversions[i].hop };
		char buf[2048];
		struct out o = out_fixed(buf, sizeof(buf));
		struct recode_scan scan;

		scan_all(&scan, arg.message);
		cr_expect_eq(recode_plan_for(&scan.facts, arg.hop), RECODE_CONVERT, "%s",
			conversions[i].why);
		recode_scan_done(&scan);
		cr_assert(feed_all_ways(&runner, &arg, arg.message, &o), "%s", conversions[i].why);
		cr_expect(slice_eq(out_written(&o), slice_str(conversions[i].want)), "%s:\n%.*s",
			conversions[i].why, SLICE_ARG(out_written(&o)));
		/* What came out needs no conversion any more. */
		scan_all(&scan, out_written(&o));
		cr_expect_eq(recode_plan_for(&scan.facts, arg.hop), RECODE_AS_IS, "%s",
			conversions[i].why);
		recode_scan_done(&scan);
	}
}

Test(mime_recode, NUL_makes_text_base64)
{
	slice message = SLICE("MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\na\0b\r\n");
	struct run_arg arg = { message, plain_hop };
	char buf[256];
	struct out o = out_fixed(buf, sizeof(buf));

	cr_assert(feed_all_ways(&runner, &arg, message, &o));
	cr_expect(slice_search(out_written(&o), SLICE(CTE "base64\r\n\r\nYQBiDQo=\r\n")) > 0);
}

Test(mime_recode, plans_by_table)
{
	static const struct {
		const char *why, *in;
		const struct recode_hop *hop;
		enum recode_plan want;
	} rows[] = {
		{ "ASCII goes anywhere", "A: b\r\n\r\nx\r\n", &plain_hop, RECODE_AS_IS },
		{ "8-bit to an 8-bit hop", "A: b\r\n\r\n" UE "\r\n", &eight_bit_hop, RECODE_AS_IS },
		{ "8-bit to a plain hop", "A: b\r\n\r\n" UE "\r\n", &plain_hop, RECODE_CONVERT },
		{ "UTF-8 header", "A: " UE "\r\n\r\nx\r\n", &eight_bit_hop, RECODE_BOUNCE_UTF8 },
		{ "UTF-8 header, SMTPUTF8 there", "A: " UE "\r\n\r\nx\r\n", &full_hop,
			RECODE_AS_IS },
		{ "UTF-8 in a part's header", MULTI "\r\n--b\r\nA: " UE "\r\n\r\nx\r\n--b--",
			&eight_bit_hop, RECODE_BOUNCE_UTF8 },
		{ "signed and 8-bit", SIGNED "\r\n--b\r\n\r\n" UE "\r\n--b--", &plain_hop,
			RECODE_BOUNCE_BODY },
		{ "signed and 8-bit to an 8-bit hop", SIGNED "\r\n--b\r\n\r\n" UE "\r\n--b--",
			&eight_bit_hop, RECODE_AS_IS },
		{ "signed and 7-bit", SIGNED "\r\n--b\r\n\r\nx\r\n--b--", &plain_hop,
			RECODE_AS_IS },
		{ "encrypted and 8-bit",
			"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\n" UE
			"\r\n--b--",
			&plain_hop, RECODE_BOUNCE_BODY },
		{ "S/MIME and 8-bit", "Content-Type: application/pkcs7-mime\r\n\r\n" UE "\r\n",
			&plain_hop, RECODE_BOUNCE_BODY },
		{ "unknown encoding and 8-bit", CTE "x-foo\r\n\r\n" UE "\r\n", &plain_hop,
			RECODE_BOUNCE_BODY },
		{ "a boundary of stars and 8-bit before it",
			"Content-Type: multipart/mixed; boundary=\"*\"\r\n\r\n" UE
			"\r\n--*\r\n\r\nx\r\n--*--",
			&plain_hop, RECODE_BOUNCE_BODY },
		{ "a boundary of stars and 8-bit inside",
			"Content-Type: multipart/mixed; boundary=\"*\"\r\n\r\n--*\r\n\r\n" UE
			"\r\n--*--",
			&plain_hop, RECODE_CONVERT },
		{ "bare LF", "A: b\r\n\r\na\nb\r\n", &eight_bit_hop, RECODE_CONVERT },
		{ "bare LF to a binary hop", "A: b\r\n\r\na\nb\r\n", &full_hop, RECODE_AS_IS },
		{ "bare CR at the end of a part", MULTI "\r\n--b\r\n\r\na\r\r\n--b--\r\n",
			&eight_bit_hop, RECODE_CONVERT },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct recode_scan scan;

		scan_all(&scan, slice_str(rows[i].in));
		cr_expect_eq(recode_plan_for(&scan.facts, *rows[i].hop), rows[i].want, "%s: %d",
			rows[i].why, recode_plan_for(&scan.facts, *rows[i].hop));
		recode_scan_done(&scan);
	}
}

Test(mime_recode, long_lines_count_as_binary)
{
	struct arena a = { 0 };
	struct out o = out_arena(&a);
	struct recode_scan scan;

	out_str(&o, "A: b\r\n\r\n");
	out_fill(&o, 'x', 998);
	out_str(&o, "\r\n");
	scan_all(&scan, out_written(&o));
	cr_expect_not(scan.facts.binary);
	recode_scan_done(&scan);
	o.len -= 2;
	out_str(&o, "x\r\n");
	scan_all(&scan, out_written(&o));
	cr_expect(scan.facts.binary);
	recode_scan_done(&scan);
	arena_done(&a);
}

Test(mime_recode, other_bytes_than_scanned_are_noticed)
{
	slice one = SLICE(MULTI "\r\n--b\r\n\r\n" UE "\r\n--b--"), two = SLICE("A: b\r\n\r\nx\r\n");
	struct recode_scan scan;
	struct recode_run r;
	char buf[1024];
	struct out o = out_fixed(buf, sizeof(buf));

	scan_all(&scan, two);
	recode_run_init(&r, &scan, plain_hop);
	enum err err = recode_run_add(&r, one, &o);

	cr_expect(err == ERR_INVALID || recode_run_end(&r, &o) == ERR_INVALID);
	recode_run_done(&r);
	recode_scan_done(&scan);
}

/* Beyond the limits nothing is understood, so nothing is converted. */
Test(mime_recode, limits_forbid_conversion)
{
	const struct part_limits two = { .count_max = 2 };
	struct recode_scan scan;

	recode_scan_init(&scan, &two);
	recode_scan_add(&scan, SLICE(MULTI "\r\n--b\r\n\r\nx\r\n--b\r\n\r\n" UE "\r\n--b--"));
	recode_scan_end(&scan);
	cr_expect(scan.facts.limited);
	cr_expect_eq(recode_plan_for(&scan.facts, plain_hop), RECODE_BOUNCE_BODY);
	recode_scan_done(&scan);
}
