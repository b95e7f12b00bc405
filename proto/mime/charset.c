/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Four charsets by hand (UTF-7 because glibc's takes another way through broken text when it comes in
 * other pieces), the rest by iconv behind a list of those that mail uses: what else the C
 * library can convert is seldom met, less tested, and has had overflows and endless loops.
 *
 * A character that a piece cuts in two waits in `held`; when it stays broken it is replaced. */
#include "proto/mime/charset.h"

#include "core/base/text.h"
#include "proto/mime/utf8.h"

#include <errno.h>
#include <iconv.h>

enum { UTF8, LATIN1, UTF7, BY_ICONV };

/* Beginnings of names, lower case. */
static const struct {
	slice name;
	bool ascii_based;
} families[] = {
	{ SLICE_INIT("iso-8859-"), true },
	{ SLICE_INIT("iso8859-"), true },
	{ SLICE_INIT("latin"), true },
	{ SLICE_INIT("windows-"), true },
	{ SLICE_INIT("cp125"), true },
	{ SLICE_INIT("cp874"), true },
	{ SLICE_INIT("cp437"), true },
	{ SLICE_INIT("cp85"), true },
	{ SLICE_INIT("cp86"), true },
	{ SLICE_INIT("ibm85"), true },
	{ SLICE_INIT("koi8-"), true },
	{ SLICE_INIT("euc-"), true },
	{ SLICE_INIT("gb2312"), true },
	{ SLICE_INIT("tis-620"), true },
	{ SLICE_INIT("macintosh"), true },
	{ SLICE_INIT("viscii"), true },
	/* Their second bytes lie in ASCII. */
	{ SLICE_INIT("gbk"), false },
	{ SLICE_INIT("cp936"), false },
	{ SLICE_INIT("gb18030"), false },
	{ SLICE_INIT("big5"), false },
	{ SLICE_INIT("cp950"), false },
	{ SLICE_INIT("shift_jis"), false },
	{ SLICE_INIT("shift-jis"), false },
	{ SLICE_INIT("sjis"), false },
	{ SLICE_INIT("cp932"), false },
	{ SLICE_INIT("ms_kanji"), false },
	{ SLICE_INIT("cp949"), false },
	{ SLICE_INIT("uhc"), false },
	{ SLICE_INIT("johab"), false },
	{ SLICE_INIT("iso-2022-jp"), false },
	{ SLICE_INIT("iso-2022-kr"), false },
	{ SLICE_INIT("hz"), false },
	{ SLICE_INIT("utf-16"), false },
	{ SLICE_INIT("utf-32"), false },
	{ SLICE_INIT("ucs-2"), false },
	{ SLICE_INIT("ucs-4"), false },
};

static bool is_one_of(slice name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq_nocase(name, slice_str(names[i])))
			return true;
	return false;
}

static bool is_utf8(slice name)
{
	static const char *const names[] = { "", "utf-8", "utf8", "us-ascii", "ascii",
		"ansi_x3.4-1968" };

	return is_one_of(name, names, array_len(names));
}

static bool is_latin1(slice name)
{
	static const char *const names[] = { "iso-8859-1", "iso8859-1", "latin1" };

	return is_one_of(name, names, array_len(names));
}

static bool is_utf7(slice name)
{
	static const char *const names[] = { "utf-7", "unicode-1-1-utf-7" };

	return is_one_of(name, names, array_len(names));
}

static int family_of(slice name)
{
	/* iconv takes options behind slashes, and stops at NUL; a mail must not. */
	if (name.len > CHARSET_NAME_MAX || slice_find(name, '/') >= 0 ||
		slice_find(name, '\0') >= 0)
		return -1;
	for (size_t i = 0; i < array_len(families); i++)
		if (slice_starts_nocase(name, families[i].name))
			return (int)i;
	return -1;
}

bool charset_is_ascii_based(slice name)
{
	int family = family_of(name);

	if (is_utf7(name))
		return false;
	return is_utf8(name) || (family >= 0 ? families[family].ascii_based : true);
}

/* Descriptors --------------------------------------------------------------------------------- */

void charset_cache_done(struct charset_cache *cache)
{
	for (size_t i = 0; i < CHARSET_CACHE; i++)
		if (cache->slots[i].cd)
			iconv_close(cache->slots[i].cd);
	*cache = (struct charset_cache){ 0 };
}

static void *open_named(const char *name)
{
	iconv_t cd = iconv_open("UTF-8", name);

	return cd == (iconv_t)-1 ? NULL : cd;
}

/* The slot of that name, or one that may be taken for it; NULL when all are lent. */
static struct charset_slot *find_slot(struct charset_cache *cache, const char *name)
{
	struct charset_slot *slot;

	for (size_t i = 0; i < CHARSET_CACHE; i++) {
		slot = &cache->slots[i];
		if (slot->cd && !slot->lent && strcmp(slot->name, name) == 0)
			return slot;
	}
	for (size_t i = 0; i < CHARSET_CACHE; i++) {
		slot = &cache->slots[cache->turn++ % CHARSET_CACHE];
		if (!slot->lent)
			return slot;
	}
	return NULL;
}

static void open_cached(struct charset_decoder *d, const char *name, struct charset_cache *cache)
{
	struct charset_slot *slot = cache ? find_slot(cache, name) : NULL;

	if (!slot) {
		d->cd = open_named(name);
		return;
	}
	if (!slot->cd || strcmp(slot->name, name) != 0) {
		if (slot->cd)
			iconv_close(slot->cd);
		*slot = (struct charset_slot){ .cd = open_named(name) };
		if (!slot->cd)
			return;
		memcpy(slot->name, name, CHARSET_NAME_MAX + 1);
	}
	iconv(slot->cd, NULL, NULL, NULL, NULL);
	slot->lent = true;
	d->slot = slot;
	d->cd = slot->cd;
}

void charset_begin(struct charset_decoder *d, slice name, struct charset_cache *cache)
{
	char lower[CHARSET_NAME_MAX + 1] = "";

	*d = (struct charset_decoder){ 0 };
	d->how = is_latin1(name) ? LATIN1 : is_utf7(name) ? UTF7 : UTF8;
	d->known = d->how != UTF8 || is_utf8(name);
	if (d->known || family_of(name) < 0)
		return;
	memcpy(lower, name.ptr, name.len);
	text_lower_all(lower, name.len);
	open_cached(d, lower, cache);
	d->known = d->cd;
	d->how = d->cd ? BY_ICONV : UTF8;
}

/* Decoding ------------------------------------------------------------------------------------ */

static void put_char(struct out *o, uint32_t c)
{
	char buf[4];

	out_bytes(o, buf, utf8_put(c, buf));
}

static void put_bad(struct charset_decoder *d, struct out *o)
{
	d->bad = true;
	put_char(o, UTF8_REPLACEMENT);
}

static void add_latin1(slice in, struct out *o)
{
	while (in.len) {
		size_t ascii = utf8_ascii_len(in);

		out_slice(o, slice_sub(in, 0, ascii));
		if (ascii < in.len)
			put_char(o, (unsigned char)in.ptr[ascii]);
		in = slice_skip(in, ascii + 1);
	}
}

/* Returns what a character was begun with. */
static slice add_utf8(struct charset_decoder *d, slice in, struct out *o)
{
	while (in.len) {
		size_t good = utf8_ascii_len(in), len = 1;
		uint32_t c;

		while (good < in.len) {
			len = utf8_take(slice_skip(in, good), &c);
			if (len < 2 && (unsigned char)in.ptr[good] >= 0x80)
				break;
			good += len;
		}
		out_slice(o, slice_sub(in, 0, good));
		in = slice_skip(in, good);
		if (in.len && len == 0)
			return in;
		if (in.len)
			put_bad(d, o);
		in = slice_skip(in, 1);
	}
	return in;
}

static slice add_iconv(struct charset_decoder *d, slice in, struct out *o)
{
	char *from = (char *)(uintptr_t)in.ptr, buf[512];
	size_t left = in.len;

	while (left && out_ok(o)) {
		char *to = buf;
		size_t room = sizeof(buf), done = iconv(d->cd, &from, &left, &to, &room);

		out_bytes(o, buf, sizeof(buf) - room);
		if (done != (size_t)-1 || errno == E2BIG)
			continue;
		if (errno == EINVAL && left <= CHARSET_HELD / 2)
			break;
		put_bad(d, o);
		from++;
		left--;
	}
	return out_ok(o) ? slice_of(from, left) : (slice){ 0 };
}

/* UTF-7 (RFC 2152): runs of base64 between '+' and '-' hold UTF-16. */
static void put_unit(struct charset_decoder *d, uint32_t unit, struct out *o)
{
	bool low = unit >= 0xdc00 && unit < 0xe000;

	if (d->high && low) {
		put_char(o, 0x10000 + ((d->high - 0xd800u) << 10) + (unit - 0xdc00));
		d->high = 0;
		return;
	}
	if (d->high || low)
		put_bad(d, o);
	d->high = unit >= 0xd800 && unit < 0xdc00 ? (uint16_t)unit : 0;
	if (!d->high && !low)
		put_char(o, unit);
}

static void end_run(struct charset_decoder *d, struct out *o)
{
	if (d->high)
		put_bad(d, o);
	d->high = 0;
	d->shifted = false;
}

static int base64_value(unsigned char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* True: the byte belonged to the run. */
static bool step_run(struct charset_decoder *d, unsigned char c, struct out *o)
{
	int value = base64_value(c);

	if (value < 0) {
		end_run(d, o);
		if (c == '-' && d->fresh)
			put_char(o, '+');
		return c == '-';
	}
	d->fresh = false;
	d->bits = d->bits << 6 | (uint32_t)value;
	d->bit_count += 6;
	if (d->bit_count >= 16) {
		d->bit_count -= 16;
		put_unit(d, d->bits >> d->bit_count & 0xffff, o);
	}
	return true;
}

static void add_utf7(struct charset_decoder *d, slice in, struct out *o)
{
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.ptr[i];

		if (d->shifted && step_run(d, c, o))
			continue;
		if (c == '+') {
			d->shifted = d->fresh = true;
			d->bits = d->bit_count = 0;
		} else if (c < 0x80) {
			out_char(o, (char)c);
		} else {
			put_bad(d, o);
		}
	}
}

static slice add_any(struct charset_decoder *d, slice in, struct out *o)
{
	if (d->how == UTF8)
		return add_utf8(d, in, o);
	if (d->how == BY_ICONV)
		return add_iconv(d, in, o);
	if (d->how == UTF7)
		add_utf7(d, in, o);
	else
		add_latin1(in, o);
	return (slice){ 0 };
}

static void hold(struct charset_decoder *d, slice rest)
{
	must(rest.len <= sizeof(d->held));
	if (rest.len)
		memmove(d->held, rest.ptr, rest.len);
	d->held_len = rest.len;
}

void charset_add(struct charset_decoder *d, slice bytes, struct out *o)
{
	/* Byte by byte until what was held is whole; a few at most. */
	while (bytes.len && d->held_len && out_ok(o)) {
		d->held[d->held_len++] = bytes.ptr[0];
		bytes = slice_skip(bytes, 1);
		hold(d, add_any(d, slice_of(d->held, d->held_len), o));
	}
	if (bytes.len && out_ok(o))
		hold(d, add_any(d, bytes, o));
}

void charset_end(struct charset_decoder *d, struct out *o)
{
	char buf[64], *to = buf;
	size_t room = sizeof(buf);

	for (size_t i = 0; i < (d->how == UTF8 ? d->held_len : d->held_len > 0); i++)
		put_bad(d, o);
	d->held_len = 0;
	end_run(d, o);
	if (d->cd && iconv(d->cd, NULL, NULL, &to, &room) != (size_t)-1)
		out_bytes(o, buf, sizeof(buf) - room);
	if (d->slot)
		d->slot->lent = false;
	else if (d->cd)
		iconv_close(d->cd);
	d->slot = NULL;
	d->cd = NULL;
	d->how = UTF8;
}

bool charset_to_utf8(slice name, slice bytes, struct charset_cache *cache, struct out *o)
{
	struct charset_decoder d;

	charset_begin(&d, name, cache);
	charset_add(&d, bytes, o);
	charset_end(&d, o);
	return d.known;
}

bool charset_known(slice name)
{
	struct charset_decoder d;
	char none[8];
	struct out o = out_fixed(none, sizeof(none));

	charset_begin(&d, name, NULL);
	charset_end(&d, &o);
	return d.known;
}
