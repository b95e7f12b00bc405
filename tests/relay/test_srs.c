/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rewritten senders lead back, to us alone and not for ever. */
#include "relay/srs.h"

#include <criterion/criterion.h>

#include "core/base/text.h"

static const wall_ms day = 24 * 3600 * 1000;
static struct srs srs = { .secret = SLICE_INIT("0123456789abcdef0123456789abcdef"),
	.now = 20000 * (wall_ms)(24 * 3600 * 1000),
	.expire_ms = 21 * (msec)(24 * 3600 * 1000) };
static char made[600], back[600];

static enum err forward(const char *sender, slice *out)
{
	struct out o = out_fixed(made, sizeof(made));
	enum err err = srs_forward(&srs, slice_str(sender), SLICE("own.test"), &o);

	*out = out_written(&o);
	return err;
}

static enum err reverse(slice address, slice *out)
{
	struct out o = out_fixed(back, sizeof(back));
	enum err err = srs_reverse(&srs,
		slice_sub(address, 0, (size_t)MAX(slice_rfind(address, '@'), (ptrdiff_t)0)), &o);

	*out = out_written(&o);
	return err;
}

static const struct {
	const char *why, *sender;
	enum err err;
} rows[] = {
	{ "plain", "alice@a.test", OK },
	{ "a sender with signs of ours", "a=b=c+d@a.test", OK },
	{ "verp", "bounce+x=y.test@list.test", OK },
	{ "in quotes", "\"a b\"@a.test", ERR_INVALID },
	{ "no address", "alice", ERR_INVALID },
	{ "no local part", "@a.test", ERR_INVALID },
	{ "too long for 64 bytes",
		"a-rather-long-local-part@a-rather-long-domain-name.example.test", ERR_TOO_LARGE },
};

Test(srs, senders_lead_back)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		slice new, old;

		cr_expect_eq(forward(rows[i].sender, &new), rows[i].err, "%s", rows[i].why);
		if (rows[i].err)
			continue;
		cr_expect(srs_is(new), "%s", rows[i].why);
		cr_expect(slice_ends_nocase(new, SLICE("@own.test")), "%s", rows[i].why);
		cr_assert_eq(reverse(new, &old), OK, "%s", rows[i].why);
		cr_expect(slice_eq(old, slice_str(rows[i].sender)), "%s: %.*s", rows[i].why,
			SLICE_ARG(old));
	}
}

Test(srs, another_forwarder_is_led_back_to)
{
	slice new, old;

	cr_assert_eq(forward("SRS0=abcd=xy=a.test=alice@first.test", &new), OK);
	cr_expect(slice_starts(new, SLICE("SRS1=")));
	cr_assert_eq(reverse(new, &old), OK);
	cr_expect(slice_eq(old, SLICE("SRS0=abcd=xy=a.test=alice@first.test")));
	/* The third in the row leaves out the second. */
	cr_assert_eq(forward("SRS1=zzzz=first.test==abcd=xy=a.test=alice@second.test", &new), OK);
	cr_assert_eq(reverse(new, &old), OK);
	cr_expect(slice_eq(old, SLICE("SRS0=abcd=xy=a.test=alice@first.test")), "%.*s",
		SLICE_ARG(old));
}

Test(srs, letter_case_may_get_lost)
{
	slice new, old;

	cr_assert_eq(forward("Alice@a.test", &new), OK);
	text_lower_all(made, new.len);
	cr_assert_eq(reverse(new, &old), OK);
	cr_expect(slice_eq(old, SLICE("alice@a.test")));
}

Test(srs, what_we_did_not_make_is_refused)
{
	slice new, old;

	cr_assert_eq(forward("alice@a.test", &new), OK);
	for (size_t i = 5; i < (size_t)slice_rfind(new, '@'); i++) {
		char was = made[i];

		made[i] = was == 'q' ? 'r' : 'q';
		cr_expect_neq(reverse(new, &old), OK, "byte %zu", i);
		made[i] = was;
	}
	cr_expect_eq(reverse(SLICE("SRS0=@own.test"), &old), ERR_AUTH);
	cr_expect_eq(reverse(SLICE("SRS1==@own.test"), &old), ERR_AUTH);
	cr_expect_eq(reverse(SLICE("alice@own.test"), &old), ERR_AUTH);
	srs.secret = SLICE("another secret");
	cr_expect_eq(reverse(new, &old), ERR_AUTH);
}

Test(srs, they_expire)
{
	slice new, old;

	cr_assert_eq(forward("alice@a.test", &new), OK);
	srs.now += 21 * day;
	cr_expect_eq(reverse(new, &old), OK);
	srs.now += day;
	cr_expect_eq(reverse(new, &old), ERR_TIMEOUT);
	srs.now -= 23 * day; /* made a day ahead of us */
	cr_expect_eq(reverse(new, &old), OK);
}
