/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The binary form of envelopes: what goes in comes out, and nothing else comes in. */
#include "relay/envelope.h"

#include <criterion/criterion.h>

static struct envelope_rcpt rcpts[] = {
	{ .address = SLICE_INIT("bob@example.org"), .notify = ENVELOPE_NOTIFY_FAILURE },
	{ .address = SLICE_INIT("\"a@b\"@example.net"), .orcpt = SLICE_INIT("rfc822;x@y") },
};

static struct envelope sample(void)
{
	return (struct envelope){
		.trace = 77,
		.received_at = 1700000000123,
		.hold_until = 1700000900000,
		.sender = SLICE("alice@example.test"),
		.envid = SLICE("QQ314159"),
		.account = SLICE("alice@example.test"),
		.size = 70000,
		.header_bytes = 512,
		.body = ENVELOPE_BINARYMIME,
		.ret = ENVELOPE_RET_FULL,
		.origin = ENVELOPE_DSN,
		.lane = ENVELOPE_BULK,
		.body_hash_form = ENVELOPE_HASH_RELAXED,
		.smtputf8 = true,
		.tls = true,
		.has_priority = true,
		.priority = -9,
		.hops = 3,
		.body_hash = { 1, 2, 3 },
		.rcpts = rcpts,
		.rcpt_count = array_len(rcpts),
	};
}

static slice encoded(char *buf, size_t cap)
{
	struct envelope e = sample();
	struct out o = out_fixed(buf, cap);

	envelope_encode(&e, &o);
	cr_assert(out_ok(&o));
	return out_written(&o);
}

Test(envelope, comes_back_as_it_was)
{
	char buf[1024];
	struct arena a = { 0 };
	struct envelope e, want = sample();

	cr_assert_eq(envelope_decode(encoded(buf, sizeof(buf)), &a, &e), OK);
	cr_assert_eq(e.trace, want.trace);
	cr_assert_eq(e.received_at, want.received_at);
	cr_assert_eq(e.hold_until, want.hold_until);
	cr_assert(slice_eq(e.sender, want.sender) && slice_eq(e.envid, want.envid));
	cr_assert_eq(e.size, want.size);
	cr_assert_eq(e.header_bytes, want.header_bytes);
	cr_assert(e.has_priority && e.priority == want.priority);
	cr_assert(e.body == want.body && e.ret == want.ret && e.origin == want.origin);
	cr_assert(e.lane == want.lane && e.body_hash_form == want.body_hash_form);
	cr_assert(e.smtputf8 && e.tls && !e.has_8bit && !e.header_8bit);
	cr_assert_eq(memcmp(e.body_hash, want.body_hash, 32), 0);
	cr_assert_eq(e.rcpt_count, 2u);
	cr_assert(slice_eq(e.rcpts[1].address, rcpts[1].address));
	cr_assert(slice_eq(e.rcpts[1].orcpt, rcpts[1].orcpt));
	cr_assert_eq(e.rcpts[0].notify, rcpts[0].notify);
	cr_assert_eq(e.rcpts[1].index, 1u);
	arena_done(&a);
}

Test(envelope, is_refused_when_cut_anywhere)
{
	char buf[1024];
	slice whole = encoded(buf, sizeof(buf));

	for (size_t len = 0; len < whole.len; len++) {
		struct arena a = { 0 };
		struct envelope e;

		cr_assert_eq(envelope_decode(slice_sub(whole, 0, len), &a, &e), ERR_CORRUPT,
			"cut at %zu", len);
		arena_done(&a);
	}
}

Test(envelope, is_refused_with_bytes_behind_it)
{
	char buf[1024];
	slice whole = encoded(buf, sizeof(buf));
	struct arena a = { 0 };
	struct envelope e;

	buf[whole.len] = 0;
	cr_assert_eq(envelope_decode(slice_of(buf, whole.len + 1), &a, &e), ERR_CORRUPT);
	buf[0] = ENVELOPE_VERSION + 1;
	cr_assert_eq(envelope_decode(whole, &a, &e), ERR_UNSUPPORTED);
	arena_done(&a);
}

Test(envelope, domain_stands_behind_the_last_at_sign)
{
	cr_assert(slice_eq(envelope_domain(SLICE("\"a@b\"@c.d")), SLICE("c.d")));
	cr_assert_eq(envelope_domain(SLICE("postmaster")).len, 0u);
}
