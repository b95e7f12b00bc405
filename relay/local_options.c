/* SPDX-License-Identifier: GPL-2.0-or-later */
/* local_options.c - the rows of local:, with their defaults. */
#include "relay/local.h"

#include "core/conf.h"

enum { DAY_MS = 24 * 3600 * 1000, DEPTH = 10, TARGETS = 1000, SRS_DAYS = 21 };

const struct local_options local_options_default = { .separator = SLICE_INIT("+"),
	.depth_max = DEPTH,
	.targets_max = TARGETS,
	.srs_expire_ms = SRS_DAYS * (int64_t)DAY_MS,
	.srs = true };

static const char *const over_quota_words[] = { "reject", "defer", NULL };

#define AT(member) (uint32_t) offsetof(struct local_options, member)

static const struct conf_row rows[] = {
	{ "local.separator", CONF_STRING, AT(separator), CONF_RELOAD, "+", .max = 1,
		.doc = "user+folder@domain is delivered to that mailbox of user@domain, if there "
		       "is one; empty: no address is cut" },
	{ "local.postmaster", CONF_STRING, AT(postmaster), CONF_RELOAD, "", .max = 255,
		.doc = "Who gets the mail for postmaster of own domains without such an account "
		       "or alias (RFC 5321 4.5.1)" },
	{ "local.alias_depth", CONF_INT, AT(depth_max), CONF_RELOAD, "10", .min = 1, .max = 100,
		.doc = "Aliases and forwards behind each other" },
	{ "local.alias_targets", CONF_INT, AT(targets_max), CONF_RELOAD, "1000", .min = 1,
		.max = 100000,
		.doc = "Accounts and addresses that the recipients of a message may lead to" },
	{ "local.quota", CONF_SIZE, AT(quota_bytes), CONF_RELOAD, "0", .max = 1LL << 50,
		.doc = "Bytes an account may hold where neither it nor its domain says; 0: any" },
	{ "local.quota_messages", CONF_INT, AT(quota_messages), CONF_RELOAD, "0", .max = 1LL << 40,
		.doc = "The same in messages" },
	{ "local.over_quota", CONF_ENUM, AT(over_quota), CONF_RELOAD, "reject",
		.words = over_quota_words,
		.doc = "reject: mail for a full account is refused (552); defer: tried again "
		       "later (452)" },
	{ "local.srs", CONF_BOOL, AT(srs), CONF_RELOAD, "true",
		.doc = "Give forwarded mail of foreign senders an envelope sender of ours (SRS), "
		       "so that it passes SPF" },
	{ "local.srs_expire", CONF_DURATION, AT(srs_expire_ms), CONF_RELOAD, "21d", .min = DAY_MS,
		.max = 1000LL * DAY_MS,
		.doc = "Reports to such a sender are taken back for so long" },
};
#undef AT

static void check(struct conf_check *check, const void *options)
{
	const struct local_options *o = options;

	if (o->separator.len &&
		(o->separator.ptr[0] == '@' || o->separator.ptr[0] == '=' ||
			(unsigned char)o->separator.ptr[0] <= ' '))
		conf_complain(check, "local.separator", "a single character, usually + or -");
	if (o->postmaster.len && slice_rfind(o->postmaster, '@') <= 0)
		conf_complain(check, "local.postmaster", "not an address (USER@DOMAIN)");
}

const struct conf_table local_conf = { CONF_TABLE(rows, struct local_options), .check = check };
