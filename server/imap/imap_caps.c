/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_caps.c - CAPABILITY, ENABLE, ID, NAMESPACE and COMPRESS.
 *
 * One table says what is advertised and when: a row stands here only when all of its RFC works.
 * IMAP4rev2 and IMAP4rev1 are one code path; what differs asks imap_is(s, IMAP_EN_REV2). */
#include "server/imap/imap_int.h"

#include "core/metric.h"
#include "proto/imap/render.h"
#include "proto/sasl/sasl.h"

enum when {
	ALWAYS,
	BEFORE, /* the login */
	AFTER,
	CAN_STARTTLS,
	NO_LOGIN,
	CAN_COMPRESS,
};

static const struct {
	const char *word;
	enum when when;
} caps[] = {
	{ "IMAP4rev2", ALWAYS },
	{ "IMAP4rev1", ALWAYS },
	{ "STARTTLS", CAN_STARTTLS },
	{ "LOGINDISABLED", NO_LOGIN },
	{ "SASL-IR", BEFORE },
	{ "LITERAL+", ALWAYS },
	{ "ENABLE", ALWAYS },
	{ "ID", ALWAYS },
	{ "IDLE", AFTER },
	{ "NAMESPACE", AFTER },
	{ "UNSELECT", AFTER },
	{ "CHILDREN", AFTER },
	{ "LIST-EXTENDED", AFTER },
	{ "LIST-STATUS", AFTER },
	{ "SPECIAL-USE", AFTER },
	{ "CREATE-SPECIAL-USE", AFTER },
	{ "STATUS=SIZE", AFTER },
	{ "UIDPLUS", AFTER },
	{ "MOVE", AFTER },
	{ "MULTIAPPEND", AFTER },
	{ "BINARY", AFTER },
	{ "OBJECTID", AFTER },
	{ "QUOTA", AFTER },
	{ "QUOTA=RES-STORAGE", AFTER },
	{ "QUOTA=RES-MESSAGE", AFTER },
	{ "CONDSTORE", AFTER },
	{ "QRESYNC", AFTER },
	{ "ESEARCH", AFTER },
	{ "SEARCHRES", AFTER },
	{ "WITHIN", AFTER },
	{ "SORT", AFTER },
	{ "SORT=DISPLAY", AFTER },
	{ "THREAD=ORDEREDSUBJECT", AFTER },
	{ "THREAD=REFERENCES", AFTER },
	{ "PREVIEW", AFTER },
	{ "SAVEDATE", AFTER },
	{ "UTF8=ACCEPT", AFTER },
	{ "COMPRESS=DEFLATE", CAN_COMPRESS },
};

static bool can_starttls(const struct imap_session *s)
{
	return s->state == IMAP_NEW && s->head.setup->tls && !s->head.tls && s->head.door->row->tls;
}

/* COMPRESS is possible here and now. */
static bool may_compress(const struct imap_session *s)
{
	return s->head.setup->imap->compress && !conn_is_deflated(s->head.conn);
}

static bool holds(const struct imap_session *s, enum when when)
{
	switch (when) {
	case BEFORE:
		return s->state == IMAP_NEW;
	case AFTER:
		return s->state != IMAP_NEW;
	case CAN_STARTTLS:
		return can_starttls(s);
	case NO_LOGIN:
		return s->state == IMAP_NEW && !imap_auth_mechs(s);
	case CAN_COMPRESS:
		return s->state != IMAP_NEW && may_compress(s);
	default:
		return true;
	}
}

/* " AUTH=PLAIN AUTH=...": each mechanism is a word of its own. */
static void put_mechs(struct out *o, unsigned mechs)
{
	for (unsigned bit = SASL_SCRAM_SHA_256_PLUS; bit; bit >>= 1)
		if (mechs & bit)
			out_printf(o, " AUTH=%.*s", SLICE_ARG(sasl_mech_name((enum sasl_mech)bit)));
}

void imap_put_capability(struct imap_session *s, struct out *o)
{
	out_str(o, "CAPABILITY");
	for (size_t i = 0; i < array_len(caps); i++)
		if (holds(s, caps[i].when))
			out_printf(o, " %s", caps[i].word);
	if (s->state == IMAP_NEW)
		put_mechs(o, imap_auth_mechs(s));
	else
		out_printf(o, " APPENDLIMIT=%lld", (long long)s->head.setup->imap->append_max);
}

enum verdict imap_do_capability(struct imap_session *s, const union imap_args *args)
{
	struct out *o = imap_out(s);

	out_str(o, "* ");
	imap_put_capability(s, o);
	out_str(o, "\r\n");
	return imap_ok(s);
}

/* --- ENABLE (RFC 5161) ----------------------------------------------------------------------- */

void imap_enable_condstore(struct imap_session *s)
{
	if (imap_is(s, IMAP_EN_CONDSTORE))
		return;
	s->enabled |= IMAP_EN_CONDSTORE;
	if (s->box) /* RFC 7162 3.1.2.1: from now on the client reckons with it */
		out_printf(imap_out(s), "* OK [HIGHESTMODSEQ %llu] Now you are told\r\n",
			(unsigned long long)s->box->told);
}

static unsigned enable_bits(slice word)
{
	static const struct {
		slice word;
		unsigned bits;
	} rows[] = { { SLICE_INIT("IMAP4rev2"), IMAP_EN_REV2 },
		{ SLICE_INIT("CONDSTORE"), IMAP_EN_CONDSTORE },
		{ SLICE_INIT("QRESYNC"), IMAP_EN_QRESYNC | IMAP_EN_CONDSTORE },
		{ SLICE_INIT("UTF8=ACCEPT"), IMAP_EN_UTF8 } };

	for (size_t i = 0; i < array_len(rows); i++)
		if (slice_eq_nocase(word, rows[i].word))
			return rows[i].bits;
	return 0;
}

enum verdict imap_do_enable(struct imap_session *s, const union imap_args *args)
{
	const struct imap_slices *words = &args->words.words;
	struct out *o = imap_out(s);
	unsigned condstore = 0;

	/* RFC 6855 3.1: what names mean may not change under an open mailbox. */
	for (size_t i = 0; s->box && i < words->len; i++)
		if (enable_bits(words->items[i]) & IMAP_EN_UTF8)
			return imap_bad(s, "UTF8=ACCEPT is enabled before a mailbox is selected");
	out_str(o, "* ENABLED");
	for (size_t i = 0; i < words->len; i++) {
		unsigned bits = enable_bits(words->items[i]);

		if (!bits || (bits & s->enabled & ~IMAP_EN_CONDSTORE) == bits)
			continue;
		out_printf(o, " %.*s", SLICE_ARG(words->items[i]));
		condstore |= bits & IMAP_EN_CONDSTORE;
		s->enabled |= bits & ~IMAP_EN_CONDSTORE;
	}
	out_str(o, "\r\n");
	if (condstore)
		imap_enable_condstore(s);
	return imap_ok(s);
}

/* --- The rest ---------------------------------------------------------------------------------- */

/* RFC 2971: who we are, without a version for who looks for one to attack. */
enum verdict imap_do_id(struct imap_session *s, const union imap_args *args)
{
	out_str(imap_out(s), "* ID (\"name\" \"ringpost\")\r\n");
	return imap_ok(s);
}

/* RFC 2342: one personal namespace, nothing shared. */
enum verdict imap_do_namespace(struct imap_session *s, const union imap_args *args)
{
	out_str(imap_out(s), "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
	return imap_ok(s);
}

enum verdict imap_do_compress(struct imap_session *s, const union imap_args *args)
{
	if (conn_is_deflated(s->head.conn))
		return imap_no(s, IMAP_CODE_COMPRESSIONACTIVE, "DEFLATE is active already");
	if (!slice_eq_nocase(args->words.words.items[0], SLICE("DEFLATE")))
		return imap_bad(s, "The only mechanism is DEFLATE");
	if (!may_compress(s))
		return imap_no(s, IMAP_CODE_CANNOT, "Not offered here");
	s->run->compress = true;
	return imap_ok(s);
}
