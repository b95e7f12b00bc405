/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_imap_binary.c - parts taken in pieces, decoded: whatever the order of the pieces and wherever they
 * begin, they are those of the part; what was asked before is not looked for again. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/base/text.h"
#include "core/log.h"
#include "proto/mime/transfer.h"
#include "server/imap/imap_fetch.h"
#include "server/imap/imap_int.h"
#include "tests/server/mailbox_house.h"

enum { BYTES = 150 * 1000, NUL_AT = 70 * 1000, PARTS = 3 };

static const char *const codings[PARTS] = { "base64", "quoted-printable", "8bit" };
static char data[PARTS][BYTES];

/* Lines of 70, with one NUL in parts that may have it. */
static void make_data(void)
{
	for (unsigned p = 0; p < PARTS; p++)
		for (unsigned i = 0; i < BYTES; i++)
			data[p][i] = (char)("\r\n"[i % 70 & 1] * (i % 70 < 2) +
				(i % 70 >= 2) * ('!' + (i * (i + p)) % 90));
	data[0][NUL_AT] = 0;
}

static void encode(unsigned p, struct out *o)
{
	struct qp_encoder qp = { .binary = true };
	struct b64_encoder b64 = { 0 };
	slice bytes = slice_of(data[p], BYTES);

	if (p == 0) {
		b64_encode(&b64, bytes, o);
		b64_encode_end(&b64, o);
	} else if (p == 1) {
		qp_encode(&qp, bytes, o);
		qp_encode_end(&qp, o);
	} else {
		out_slice(o, bytes);
	}
}

static void come_in(void)
{
	struct out o = out_heap(8 * BYTES);

	make_data();
	log_set_level(LOG_ERROR);
	house_open(SERVICE_IMAP, "imap: { plain_login: true }\n");
	out_str(&o, "Content-Type: multipart/mixed; boundary=b-b\r\n");
	for (unsigned p = 0; p < PARTS; p++) {
		out_printf(&o,
			"\r\n--b-b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: %s\r\n\r\n",
			codings[p]);
		encode(p, &o);
	}
	out_str(&o, "\r\n--b-b--\r\n");
	cr_assert(out_ok(&o));
	cr_assert(house_deliver(out_written(&o)));
	out_heap_done(&o);
	house_connect("127.0.0.1");
	house_send(SLICE("l LOGIN alice@own.test secret\r\ns SELECT INBOX\r\n"));
	house_replies();
}

static void leave(void)
{
	house_close();
	house_done();
}

static const struct fetch_known *known(void)
{
	return ((struct imap_session *)house_session())->box->parts;
}

/* What stands behind "BINARY[..]<..> ", up to ")". */
static slice ask(const char *item)
{
	char line[128];
	slice answer;

	snprintf(line, sizeof(line), "t FETCH 1 %s\r\n", item);
	house_send(slice_str(line));
	answer = house_replies();
	ptrdiff_t at = slice_search(answer, SLICE("] ")),
		  end = slice_search(answer, SLICE(")\r\nt OK"));
	ptrdiff_t partial = slice_search(answer, SLICE("> "));

	cr_assert(end > 0, "%s: %.*s", item, (int)MIN(answer.len, (size_t)200), answer.ptr);
	if (at < 0 || (partial > 0 && partial < at))
		at = partial;
	cr_assert(at > 0 && at < end);
	return slice_sub(slice_skip(answer, (size_t)at + 2), 0, (size_t)(end - at - 2));
}

static void expect_piece(unsigned p, unsigned first, unsigned count)
{
	slice want =
		first < BYTES ? slice_of(data[p] + first, MIN(count, BYTES - first)) : SLICE("");
	bool nul = want.len && memchr(want.ptr, 0, want.len);
	char item[64], head[32];
	slice got;

	snprintf(item, sizeof(item), "BINARY.PEEK[%u]<%u.%u>", p + 1, first, count);
	got = ask(item);
	snprintf(head, sizeof(head), "%s{%zu}\r\n", nul ? "~" : "", want.len);
	if (!want.len)
		snprintf(head, sizeof(head), "\"\"");
	cr_assert(slice_starts(got, slice_str(head)), "%s: %.*s", item,
		(int)MIN(got.len, (size_t)40), got.ptr);
	cr_assert(slice_eq(slice_skip(got, strlen(head)), want), "%s", item);
}

Test(imap_binary, pieces_in_any_order_are_those_of_the_part)
{
	unsigned dice = 1;

	come_in();
	for (unsigned p = 0; p < PARTS; p++)
		for (unsigned i = 0; i < 40; i++) {
			dice = dice * 1103515245 + 12345;
			unsigned first = (dice >> 8) % (BYTES + BYTES / 8);

			dice = dice * 1103515245 + 12345;
			expect_piece(p, first, 1 + (dice >> 8) % 40000);
		}
	expect_piece(0, NUL_AT, 1);
	expect_piece(0, NUL_AT + 1, 1);
	expect_piece(0, NUL_AT - 1, 1);
	leave();
}

Test(imap_binary, one_piece_behind_the_other_goes_on_where_the_last_ended)
{
	enum { STEP = 10000 };

	come_in();
	for (unsigned p = 0; p < 2; p++)
		for (unsigned at = 0; at < BYTES; at += STEP) {
			uint64_t before = at ? known()->place.decoded : 0;

			expect_piece(p, at, STEP);
			/* Encoded bytes are read 16 KB at a time. */
			cr_assert_geq(known()->place.decoded + 16 * 1024, at + STEP);
			cr_assert_geq(known()->place.decoded, before);
		}
	leave();
}

Test(imap_binary, a_size_is_looked_for_once)
{
	come_in();
	cr_expect(slice_eq(ask("BINARY.SIZE[3]"), SLICE("150000")));
	cr_expect_eq(known()->next, 0u, "what has no encoding needs no look");
	for (unsigned i = 0; i < 3; i++) {
		cr_expect(slice_eq(ask("BINARY.SIZE[1]"), SLICE("150000")));
		cr_expect(slice_eq(ask("BINARY.SIZE[2]"), SLICE("150000")));
		cr_expect_eq(known()->next, 2u);
	}
	cr_expect(slice_starts(ask("BINARY.PEEK[1]"), SLICE("~{150000}\r\n")));
	cr_expect(slice_starts(ask("BINARY.PEEK[2]"), SLICE("{150000}\r\n")));
	cr_expect_eq(known()->next, 2u);
	leave();
}
