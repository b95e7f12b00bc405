/* SPDX-License-Identifier: GPL-2.0-or-later */
/* EHLO lines, by one row per keyword. What does not read as it should is as if it were not offered. */
#include "proto/smtp/reply.h"

#include "core/base/text.h"
#include "proto/sasl/sasl.h"
#include "proto/smtp/command.h"

static void add_size(struct smtp_caps *caps, slice args)
{
	uint64_t size;

	if (text_parse_uint(args, UINT64_MAX, &size))
		caps->size_bytes = size;
}

static void add_auth(struct smtp_caps *caps, slice args)
{
	slice name;

	while (slice_cut(&args, ' ', &name))
		caps->mechanisms |= sasl_mech_find(name);
}

/* RFC 9422 3: NAME=value, unknown names ignored. */
static void add_limits(struct smtp_caps *caps, slice args)
{
	slice word, name;
	uint64_t n;

	while (slice_cut(&args, ' ', &word)) {
		if (!slice_cut(&word, '=', &name) || !text_parse_uint(word, UINT32_MAX, &n))
			continue;
		if (slice_eq_nocase(name, SLICE("MAILMAX")))
			caps->mail_max = (uint32_t)n;
		else if (slice_eq_nocase(name, SLICE("RCPTMAX")))
			caps->rcpt_max = (uint32_t)n;
		else if (slice_eq_nocase(name, SLICE("RCPTDOMAINMAX")))
			caps->rcpt_domain_max = (uint32_t)n;
	}
}

static const struct {
	slice name;
	unsigned flag;
	unsigned params;
	void (*add)(struct smtp_caps *caps, slice args);
} rows[] = {
	{ SLICE_INIT("PIPELINING"), SMTP_CAP_PIPELINING, 0, NULL },
	{ SLICE_INIT("8BITMIME"), SMTP_CAP_8BITMIME, SMTP_P_8BIT, NULL },
	{ SLICE_INIT("SIZE"), SMTP_CAP_SIZE, SMTP_P_SIZE, add_size },
	{ SLICE_INIT("STARTTLS"), SMTP_CAP_STARTTLS, 0, NULL },
	{ SLICE_INIT("AUTH"), SMTP_CAP_AUTH, SMTP_P_AUTH, add_auth },
	{ SLICE_INIT("CHUNKING"), SMTP_CAP_CHUNKING, 0, NULL },
	{ SLICE_INIT("BINARYMIME"), SMTP_CAP_BINARYMIME, SMTP_P_BINARY, NULL },
	{ SLICE_INIT("DSN"), SMTP_CAP_DSN, SMTP_P_DSN, NULL },
	{ SLICE_INIT("SMTPUTF8"), SMTP_CAP_SMTPUTF8, SMTP_P_SMTPUTF8, NULL },
	{ SLICE_INIT("ENHANCEDSTATUSCODES"), SMTP_CAP_ENHANCEDSTATUSCODES, 0, NULL },
	{ SLICE_INIT("REQUIRETLS"), SMTP_CAP_REQUIRETLS, SMTP_P_REQUIRETLS, NULL },
	{ SLICE_INIT("LIMITS"), SMTP_CAP_LIMITS, 0, add_limits },
	{ SLICE_INIT("MT-PRIORITY"), SMTP_CAP_MT_PRIORITY, SMTP_P_MT_PRIORITY, NULL },
	{ SLICE_INIT("FUTURERELEASE"), SMTP_CAP_FUTURERELEASE, SMTP_P_FUTURE, NULL },
	{ SLICE_INIT("DELIVERBY"), SMTP_CAP_DELIVERBY, SMTP_P_BY, NULL },
};

void smtp_caps_add(struct smtp_caps *caps, slice line)
{
	slice args = slice_trim(line), name;

	if (!slice_cut(&args, ' ', &name))
		return;
	/* "AUTH=LOGIN PLAIN" is how it was written before RFC 2554; some still do. */
	if (slice_starts_nocase(name, SLICE("AUTH="))) {
		add_auth(caps, slice_skip(name, 5));
		add_auth(caps, args);
		caps->flags |= SMTP_CAP_AUTH;
		return;
	}
	for (size_t i = 0; i < array_len(rows); i++)
		if (slice_eq_nocase(rows[i].name, name)) {
			caps->flags |= rows[i].flag;
			if (rows[i].add)
				rows[i].add(caps, args);
			return;
		}
}

unsigned smtp_caps_params(const struct smtp_caps *caps)
{
	unsigned params = 0;

	for (size_t i = 0; i < array_len(rows); i++)
		if (caps->flags & rows[i].flag)
			params |= rows[i].params;
	/* RFC 3030 3: BINARYMIME means nothing without CHUNKING. */
	if (!(caps->flags & SMTP_CAP_CHUNKING))
		params &= ~(unsigned)SMTP_P_BINARY;
	return params;
}
