/* SPDX-License-Identifier: GPL-2.0-or-later */
/* srs.c - SRS0=hash=day=domain=local, and SRS1=hash=forwarder==hash=day=domain=local.
 *
 * The hash is 30 bits of an HMAC over everything behind it in lower case, since some systems change
 * the case of local parts. The day is two letters: it comes round every 1,024 days. */
#include "relay/srs.h"

#include "core/base/crypt.h"
#include "core/base/text.h"
#include "proto/smtp/limits.h"

enum { HASH_CHARS = 6, DAY_CHARS = 2, DAYS = 1024, DAY_MS = 24 * 3600 * 1000, TEXT_MAX = 512 };

static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";

static bool has_tag(slice local, slice tag)
{
	return local.len > tag.len && slice_starts_nocase(local, tag) &&
		memchr("=+-", local.ptr[tag.len], 3);
}

bool srs_is(slice local)
{
	return has_tag(local, SLICE("SRS0")) || has_tag(local, SLICE("SRS1"));
}

static void make_hash(const struct srs *s, slice text, char out[HASH_CHARS])
{
	unsigned char digest[SHA256_BYTES];
	char lower[TEXT_MAX];

	text = slice_sub(text, 0, sizeof(lower));
	memcpy(lower, text.ptr, text.len);
	text_lower_all(lower, text.len);
	hmac_sha256(s->secret, slice_of(lower, text.len), digest);
	for (size_t i = 0; i < HASH_CHARS; i++)
		out[i] = letters[digest[i] & 31];
}

static unsigned today(const struct srs *s)
{
	return (unsigned)(s->now / DAY_MS % DAYS);
}

static void put_day(const struct srs *s, struct out *o)
{
	out_char(o, letters[today(s) >> 5]);
	out_char(o, letters[today(s) & 31]);
}

static int letter_value(char c)
{
	const char *at = memchr(letters, text_lower(c), sizeof(letters) - 1);

	return at ? (int)(at - letters) : -1;
}

/* A day ahead is a clock that is a little off. */
static bool day_is_good(const struct srs *s, slice text)
{
	int high, low;
	unsigned age;

	if (text.len != DAY_CHARS)
		return false;
	high = letter_value(text.ptr[0]);
	low = letter_value(text.ptr[1]);
	if (high < 0 || low < 0)
		return false;
	age = (today(s) + DAYS - (unsigned)(high << 5 | low)) % DAYS;
	return age <= s->expire_ms / DAY_MS || age == DAYS - 1;
}

/* A local part that needs no quotes, or it could not stand inside another one. */
static bool is_plain(slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] <= ' ' ||
			memchr("\"<>()[]\\,;:@\177", text.ptr[i], 13))
			return false;
	return text.len > 0;
}

/* What the hash is over: everything behind its own '='. */
static void put_rest(const struct srs *s, slice local, slice domain, struct out *o)
{
	slice rest;

	if (has_tag(local, SLICE("SRS1")) && slice_find(slice_skip(local, 5), '=') >= 0) {
		rest = slice_skip(local, 5);
		out_slice(o, slice_skip(rest, (size_t)slice_find(rest, '=') + 1));
	} else if (has_tag(local, SLICE("SRS0"))) {
		out_slice(o, domain);
		out_char(o, '=');
		out_slice(o, slice_skip(local, 4));
	} else {
		put_day(s, o);
		out_char(o, '=');
		out_slice(o, domain);
		out_char(o, '=');
		out_slice(o, local);
	}
}

enum err srs_forward(const struct srs *s, slice sender, slice domain, struct out *o)
{
	ptrdiff_t at = slice_rfind(sender, '@');
	slice local = at < 0 ? sender : slice_sub(sender, 0, (size_t)at);
	char buf[TEXT_MAX], hash[HASH_CHARS];
	struct out rest = out_fixed(buf, sizeof(buf));

	if (at <= 0 || !is_plain(local) || !text_is_domain(slice_skip(sender, (size_t)at + 1)))
		return ERR_INVALID;
	put_rest(s, local, slice_skip(sender, (size_t)at + 1), &rest);
	if (!out_ok(&rest) || rest.len + 6 + HASH_CHARS > SMTP_LOCAL_MAX)
		return ERR_TOO_LARGE;
	make_hash(s, out_written(&rest), hash);
	out_str(o, srs_is(local) ? "SRS1=" : "SRS0=");
	out_bytes(o, hash, sizeof(hash));
	out_char(o, '=');
	out_slice(o, out_written(&rest));
	out_char(o, '@');
	out_slice(o, domain);
	return OK;
}

static enum err reverse_own(const struct srs *s, slice rest, struct out *o)
{
	slice day, domain;

	if (!slice_cut(&rest, '=', &day) || !slice_cut(&rest, '=', &domain) || !domain.len ||
		!rest.len)
		return ERR_AUTH;
	if (!day_is_good(s, day))
		return ERR_TIMEOUT;
	out_slice(o, rest);
	out_char(o, '@');
	out_slice(o, domain);
	return OK;
}

/* Back to who made the SRS0 inside, with the separator it used. */
static enum err reverse_other(slice rest, struct out *o)
{
	slice domain;

	if (!slice_cut(&rest, '=', &domain) || !domain.len || rest.len < 2 ||
		!memchr("=+-", rest.ptr[0], 3))
		return ERR_AUTH;
	out_str(o, "SRS0");
	out_slice(o, rest);
	out_char(o, '@');
	out_slice(o, domain);
	return OK;
}

enum err srs_reverse(const struct srs *s, slice local, struct out *o)
{
	bool own = has_tag(local, SLICE("SRS0"));
	slice rest, hash;
	char want[HASH_CHARS];

	if (!srs_is(local) || local.len > TEXT_MAX)
		return ERR_AUTH;
	rest = slice_skip(local, 5);
	if (!slice_cut(&rest, '=', &hash))
		return ERR_AUTH;
	make_hash(s, rest, want);
	/* Compared without case: an attacker learns nothing from 30 bits' timing that guessing
	 * would not tell as fast. */
	if (!slice_eq_nocase(hash, slice_of(want, sizeof(want))))
		return ERR_AUTH;
	return own ? reverse_own(s, rest, o) : reverse_other(rest, o);
}
