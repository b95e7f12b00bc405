/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who gets mail for an address: rows of names, and what a message to them comes to. */
#include "relay/local.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/conf.h"
#include "relay/route.h"
#include "store/account.h"
#include "store/message.h"

/* --- The directory ----------------------------------------------------------------------------------- */

static const struct account accounts[] = {
	{ .local = SLICE_INIT("amy"), .domain = SLICE_INIT("own.test"), .id = 1 },
	{ .local = SLICE_INIT("bob"), .domain = SLICE_INIT("own.test"), .id = 2 },
	{ .local = SLICE_INIT("away"),
		.domain = SLICE_INIT("own.test"),
		.id = 3,
		.forward = SLICE_INIT("away@far.test\0bob@own.test") },
	{ .local = SLICE_INIT("gone"),
		.domain = SLICE_INIT("own.test"),
		.id = 4,
		.flags = ACCOUNT_FORWARD_ONLY,
		.forward = SLICE_INIT("Gone@far.test") },
	{ .local = SLICE_INIT("off"),
		.domain = SLICE_INIT("own.test"),
		.id = 5,
		.flags = ACCOUNT_DISABLED },
	{ .local = SLICE_INIT("full"),
		.domain = SLICE_INIT("own.test"),
		.id = 6,
		.quota_bytes = 100 },
	{ .local = SLICE_INIT("self"),
		.domain = SLICE_INIT("own.test"),
		.id = 7,
		.forward = SLICE_INIT("self@own.test") },
	{ .local = SLICE_INIT("kim"), .domain = SLICE_INIT("small.test"), .id = 8 },
	{ .local = SLICE_INIT("lee"), .domain = SLICE_INIT("xn--bcher-kva.test"), .id = 9 },
	{ .local = SLICE_INIT("x"), .domain = SLICE_INIT("routed.test"), .id = 10 },
};

static const struct alias aliases[] = {
	{ .local = SLICE_INIT("both"), .targets = SLICE_INIT("amy@own.test\0bob@own.test") },
	{ .local = SLICE_INIT("nest"), .targets = SLICE_INIT("both@own.test\0amy@own.test") },
	{ .local = SLICE_INIT("ring"), .targets = SLICE_INIT("ring2@own.test") },
	{ .local = SLICE_INIT("ring2"), .targets = SLICE_INIT("ring@own.test") },
	{ .local = SLICE_INIT("ring3"), .targets = SLICE_INIT("ring@own.test\0amy@own.test") },
	{ .local = SLICE_INIT("lost"), .targets = SLICE_INIT("nobody@own.test") },
	{ .local = SLICE_INIT("out"), .targets = SLICE_INIT("X@far.test\0y@far.test") },
	{ .local = SLICE_INIT("mixed"), .targets = SLICE_INIT("full@own.test\0amy@own.test") },
	{ .local = SLICE_INIT("\"a;b\""), .targets = SLICE_INIT("bob@own.test") },
	{ .local = SLICE_INIT("deep1"), .targets = SLICE_INIT("deep2@own.test") },
	{ .local = SLICE_INIT("deep2"), .targets = SLICE_INIT("deep3@own.test") },
	{ .local = SLICE_INIT("deep3"), .targets = SLICE_INIT("deep4@own.test") },
	{ .local = SLICE_INIT("deep4"), .targets = SLICE_INIT("amy@own.test") },
};

const struct domain *domain_find(struct store *st, slice name, enum err *failed)
{
	static const struct domain own, off = { .flags = DOMAIN_DISABLED },
					small = { .quota_messages = 3 };

	*failed = slice_eq(name, SLICE("broken.test")) ? ERR_IO : OK;
	if (slice_eq(name, SLICE("small.test")))
		return &small;
	if (slice_eq(name, SLICE("off.test")))
		return &off;
	return slice_eq(name, SLICE("own.test")) || slice_eq(name, SLICE("all.test")) ||
			slice_eq(name, SLICE("routed.test")) ||
			slice_eq(name, SLICE("xn--bcher-kva.test")) ?
		&own :
		NULL;
}

const struct account *account_find(struct store *st, slice local, slice domain, enum err *failed)
{
	*failed = OK;
	for (size_t i = 0; i < array_len(accounts); i++)
		if (slice_eq(accounts[i].local, local) && slice_eq(accounts[i].domain, domain))
			return &accounts[i];
	return NULL;
}

const struct alias *alias_find(struct store *st, slice local, slice domain, enum err *failed)
{
	static const struct alias all = { .targets = SLICE_INIT("bob@own.test") };

	*failed = OK;
	if (slice_eq(domain, SLICE("all.test")))
		return local.len ? NULL : &all;
	for (size_t i = 0; i < array_len(aliases); i++)
		if (slice_eq(aliases[i].local, local) && slice_eq(domain, SLICE("own.test")))
			return &aliases[i];
	return NULL;
}

bool route_exact(const struct route_table *t, slice domain)
{
	return slice_eq(domain, SLICE("routed.test"));
}

enum err mailbox_usage(struct store *st, uint64_t account, struct mailbox_usage *out)
{
	*out = (struct mailbox_usage){ .bytes = 100, .messages = 1, .mailboxes = account != 2 };
	return OK;
}

enum err mailbox_domain_usage(struct store *st, slice domain, struct mailbox_usage *out)
{
	*out = (struct mailbox_usage){ .bytes = 100, .messages = 3 };
	return OK;
}

enum err mailbox_find(struct store *st, uint64_t account, slice name, struct arena *a,
	struct mailbox *out)
{
	out->id = 44;
	return slice_eq(name, SLICE("lists")) ? OK : ERR_NOT_FOUND;
}

/* Which domains were asked, for whom, and how it ended. */
static char asked[256];
static uint64_t no_room_for;
static enum err no_answer;

printf_like(1, 2) static void note(const char *fmt, ...)
{
	size_t len = strlen(asked);
	va_list args;

	va_start(args, fmt);
	vsnprintf(asked + len, sizeof(asked) - len, fmt, args);
	va_end(args);
}

enum err room_take(struct store *st, struct room_ask *ask, struct room **out)
{
	size_t full = 0;

	if (no_answer && asked[0])
		return no_answer;
	note("%.*s", SLICE_ARG(ask->domain));
	for (size_t i = 0; i < ask->len; i++) {
		struct room_want *want = &ask->wants[i];

		want->full = want->account == no_room_for && !ask->always;
		full += want->full;
		note(" %llu=%llu", (unsigned long long)want->account,
			(unsigned long long)want->add.bytes);
	}
	note("; ");
	*out = full < ask->len ? (struct room *)asked : NULL;
	return *out ? OK : ERR_QUOTA;
}

void room_end(struct room *r, modseq pos)
{
	note("end %llu; ", (unsigned long long)pos);
}

enum err message_scan(struct store *st, struct message_scan *scan)
{
	struct message_row row = { .m.size = 40 };

	for (unsigned i = 0; i < 3; i++)
		cr_assert(scan->each(scan->arg, &row));
	return OK;
}

static unsigned made;

enum err mailbox_account_init(struct store *st, uint64_t account, slice domain)
{
	cr_assert(slice_eq(domain, SLICE("own.test")));
	made++;
	return OK;
}

enum err setting_get(struct store *st, const struct setting *name, struct arena *a, slice *out)
{
	return ERR_NOT_FOUND;
}

enum err setting_put(struct store *st, const struct setting *row, enum row_mode mode)
{
	return ERR_IO;
}

/* --- Plans --------------------------------------------------------------------------------------------- */

static struct arena arena;
static struct local_options options;

static void begin(struct local *l)
{
	*l = (struct local){ .options = &options,
		.arena = &arena,
		.secret = SLICE("0123456789abcdef0123456789abcdef"),
		.now = 1700000000000,
		.usage = true };
}

static void set_up(void)
{
	options = local_options_default;
}

static void tear_down(void)
{
	arena_done(&arena);
}

TestSuite(local, .init = set_up, .fini = tear_down);

static slice plan_text(const struct local *l)
{
	struct out o = out_arena(&arena);

	for (size_t i = 0; i < l->target_count; i++)
		out_printf(&o, "%s%.*s", o.len ? " " : "", SLICE_ARG(l->targets[i].address));
	for (size_t i = 0; i < l->remote_count; i++)
		out_printf(&o, "%s%s%.*s", o.len ? " " : "", l->remotes[i].forwarded ? ">" : "=",
			SLICE_ARG(l->remotes[i].address));
	return out_written(&o);
}

static const struct {
	const char *why, *to; /* recipients with blanks between */
	const char *plan;
	enum err err; /* of the last one */
} rows[] = {
	{ "an account", "amy@own.test", "amy@own.test", OK },
	{ "in any case", "AMY@own.test", "amy@own.test", OK },
	{ "somebody else's", "X@far.test", "=X@far.test", OK },
	{ "nobody", "zoe@own.test", "", ERR_NOT_FOUND },
	{ "both spellings of a domain",
		"lee@b\xc3\xbc"
		"cher.test",
		"lee@xn--bcher-kva.test", OK },
	{ "a domain with a route", "x@routed.test", "=x@routed.test", OK },
	{ "a disabled domain", "x@off.test", "=x@off.test", OK },
	{ "a literal", "x@[192.0.2.1]", "=x@[192.0.2.1]", OK },
	{ "an index that cannot be read", "x@broken.test", "", ERR_IO },
	{ "a disabled account", "off@own.test", "", ERR_DENIED },
	{ "twice the same", "amy@own.test amy@own.test", "amy@own.test", OK },
	{ "an alias", "both@own.test", "amy@own.test bob@own.test", OK },
	{ "an alias of aliases", "nest@own.test", "amy@own.test bob@own.test", OK },
	{ "member and alias", "bob@own.test both@own.test", "bob@own.test amy@own.test", OK },
	{ "alias and member", "both@own.test bob@own.test", "amy@own.test bob@own.test", OK },
	{ "a circle", "ring@own.test", "", ERR_LIMIT },
	{ "a circle with a way out", "ring3@own.test", "amy@own.test", OK },
	{ "an alias for nobody", "lost@own.test", "", ERR_NOT_FOUND },
	{ "addresses elsewhere keep their case", "out@own.test", ">X@far.test >y@far.test", OK },
	{ "recipient and alias elsewhere", "y@far.test out@own.test", "=y@far.test >X@far.test",
		OK },
	{ "a forward with a copy", "away@own.test", "away@own.test bob@own.test >away@far.test",
		OK },
	{ "a forward alone", "gone@own.test", ">Gone@far.test", OK },
	{ "a forward to itself", "self@own.test", "self@own.test", OK },
	{ "a full account", "full@own.test", "full@own.test", ERR_QUOTA },
	{ "a full one among others", "mixed@own.test", "full@own.test amy@own.test", OK },
	{ "a full domain", "kim@small.test", "kim@small.test", ERR_QUOTA },
	{ "a folder", "amy+lists@own.test", "amy@own.test", OK },
	{ "account and folder", "amy@own.test amy+lists@own.test", "amy@own.test", OK },
	{ "folder and account", "amy+lists@own.test amy@own.test", "amy@own.test", OK },
	{ "a folder with odd signs", "\"amy+a;b\\\"@c\"@own.test", "amy@own.test", OK },
	{ "the account behind it", "\"amy+a;b\"@own.test amy@own.test", "amy@own.test", OK },
	{ "a quoted folder of nobody", "\"zoe+a;b\"@own.test", "", ERR_NOT_FOUND },
	{ "quotes alone", "\"amy;lists\"@own.test", "", ERR_NOT_FOUND },
	{ "a user with quotes", "\"a;b+x\"@own.test", "bob@own.test", OK },
	{ "a folder of an alias", "both+x@own.test", "amy@own.test bob@own.test", OK },
	{ "a folder of nobody", "zoe+x@own.test", "", ERR_NOT_FOUND },
	{ "an alias for all the rest", "who@all.test", "bob@own.test", OK },
	{ "a sender that is none of ours", "SRS0=aaaaaa=aa=x.test=y@own.test", "", ERR_NOT_FOUND },
	{ "postmaster", "postmaster@own.test", "", ERR_NOT_FOUND },
};

Test(local, names_lead_to_accounts_and_addresses)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		slice rest = slice_str(rows[i].to), one;
		struct local l;
		enum err err = OK;

		begin(&l);
		for (uint32_t n = 0; slice_cut(&rest, ' ', &one); n++)
			err = local_add(&l, one, n);
		cr_expect_eq(err, rows[i].err, "%s: %s", rows[i].why, err_name(err));
		cr_expect(slice_eq(plan_text(&l), slice_str(rows[i].plan)), "%s: %.*s", rows[i].why,
			SLICE_ARG(plan_text(&l)));
	}
}

Test(local, depth_and_number_have_limits)
{
	struct local l;

	begin(&l);
	options.depth_max = 4;
	cr_expect_eq(local_add(&l, SLICE("deep1@own.test"), 0), OK);
	begin(&l);
	options.depth_max = 3;
	cr_expect_eq(local_add(&l, SLICE("deep1@own.test"), 0), ERR_LIMIT);
	begin(&l);
	options.targets_max = 1;
	cr_expect_eq(local_add(&l, SLICE("both@own.test"), 0), OK);
	cr_expect_eq(l.target_count, 1u);
	cr_expect_eq(local_add(&l, SLICE("x@far.test"), 1), ERR_LIMIT);
}

Test(local, thousands_of_addresses_are_each_there_once)
{
	struct local l;

	begin(&l);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < 900; i++)
			cr_assert_eq(local_add(&l, arena_printf(&arena, "u%u@far.test", i), i), OK);
	cr_expect_eq(l.remote_count, 900u);
	cr_expect_eq(l.remotes[899].rcpt, 899u);
}

Test(local, postmaster_and_separator_are_options)
{
	struct local l;

	options.postmaster = SLICE("amy@own.test");
	options.separator = SLICE("-");
	begin(&l);
	cr_expect_eq(local_add(&l, SLICE("Postmaster@all.test"), 0), OK);
	cr_expect(slice_eq(plan_text(&l), SLICE("amy@own.test")));
	begin(&l);
	cr_expect_eq(local_add(&l, SLICE("amy+x@own.test"), 0), ERR_NOT_FOUND);
	cr_expect_eq(local_add(&l, SLICE("amy-x@own.test"), 0), OK);
	begin(&l);
	options.separator = SLICE("");
	cr_expect_eq(local_add(&l, SLICE("amy-x@own.test"), 0), ERR_NOT_FOUND);
}

Test(local, forwarded_mail_gets_a_sender_that_leads_back)
{
	struct local l;
	slice sender;

	begin(&l);
	cr_assert_eq(local_add(&l, SLICE("out@own.test"), 0), OK);
	cr_expect(slice_eq(l.forwarder, SLICE("out@own.test")));
	sender = local_sender(&l, SLICE("Alice@a.test"));
	cr_expect(slice_starts(sender, SLICE("SRS0=")));
	cr_expect(slice_ends_nocase(sender, SLICE("=Alice@own.test")));
	/* Our own senders need none, nor does nobody. */
	cr_expect(slice_eq(local_sender(&l, SLICE("amy@own.test")), SLICE("amy@own.test")));
	cr_expect_eq(local_sender(&l, SLICE("")).len, 0u);
	begin(&l);
	cr_assert_eq(local_add(&l, sender, 0), OK);
	cr_expect(slice_eq(plan_text(&l), SLICE(">Alice@a.test")), "%.*s",
		SLICE_ARG(plan_text(&l)));
	begin(&l);
	l.now += options.srs_expire_ms + 2 * 86400000LL;
	cr_expect_eq(local_add(&l, sender, 0), ERR_TIMEOUT);
	/* Without a forward nothing changes. */
	begin(&l);
	cr_assert_eq(local_add(&l, SLICE("amy@own.test"), 0), OK);
	cr_expect(slice_eq(local_sender(&l, SLICE("a@a.test")), SLICE("a@a.test")));
}

Test(local, what_was_passed_is_known)
{
	struct local l;

	begin(&l);
	cr_assert_eq(local_add(&l, SLICE("nest@own.test"), 0), OK);
	cr_expect_eq(local_add(&l, SLICE("x@far.test"), 0), OK);
	cr_expect(local_passed(&l, SLICE("nest@own.test")));
	cr_expect(local_passed(&l, SLICE("amy@own.test")));
	cr_expect_not(local_passed(&l, SLICE("away@own.test")));
	cr_expect_not(local_passed(&l, SLICE("x@far.test")), "not ours to say");
}

Test(local, each_target_has_its_own_splice)
{
	struct local_mail mail = { .sender = SLICE("a@b.test"), .received = 77 };
	const struct deliver *d;
	struct local l;

	begin(&l);
	cr_assert_eq(local_add(&l, SLICE("amy+lists@own.test"), 0), OK);
	cr_assert_eq(local_add(&l, SLICE("bob+lists@own.test"), 1), OK);
	cr_assert_eq(local_add(&l, SLICE("away+none@own.test"), 2), OK);
	cr_assert_eq(local_deliver(&l, &mail, &d), OK);
	cr_assert_eq(d->target_count, 3u);
	cr_expect(slice_eq(d->targets[0].splice,
		SLICE("Return-Path: <a@b.test>\r\nDelivered-To: amy@own.test\r\n")));
	cr_expect_eq(d->targets[0].mailbox, 44u);
	cr_expect_eq(d->targets[1].account, 2u);
	cr_expect_eq(d->targets[1].mailbox, 0u, "it had no mailboxes at all");
	cr_expect_eq(d->targets[2].mailbox, 0u);
	cr_expect_eq(d->targets[2].received, 77);
	cr_expect_eq(made, 1u);
}

Test(local, room_is_taken_domain_by_domain)
{
	struct local_load load = { .sender = SLICE("a@b.test"), .bytes = 1000 };
	struct local_taken taken;
	struct local l;

	begin(&l);
	(void)!local_add(&l, SLICE("kim@small.test"), 0);
	cr_assert_eq(local_add(&l, SLICE("mixed@own.test"), 1), OK);
	cr_assert_eq(local_take(&l, &load, &taken), OK);
	/* amy has no limit, nor has her domain; the splice counts. */
	cr_expect_str_eq(asked, "own.test 6=1054; small.test 8=1055; ");
	cr_expect_not(taken.any_full);
	local_end(&taken, 77);
	cr_expect(strstr(asked, "end 77; end 77; "));
	local_end(&taken, 0);
	cr_expect_not(strstr(asked, "end 0"), "once each");
}

Test(local, without_an_answer_nothing_stays_taken)
{
	struct local_load load = { .sender = SLICE("a@b.test"), .bytes = 1000 };
	struct local_taken taken;
	struct local l;

	begin(&l);
	(void)!local_add(&l, SLICE("kim@small.test"), 0);
	(void)!local_add(&l, SLICE("full@own.test"), 1);
	no_answer = ERR_IO;
	cr_expect_eq(local_take(&l, &load, &taken), ERR_IO);
	cr_expect_str_eq(asked, "own.test 6=1054; end 0; ");
}

Test(local, who_got_no_room_gets_no_message)
{
	struct local_load load = { .sender = SLICE("a@b.test"), .bytes = 1000 };
	struct local_mail mail = { .sender = SLICE("a@b.test"), .received = 77 };
	struct local_taken taken;
	const struct deliver *d;
	struct local l;

	begin(&l);
	no_room_for = 6;
	cr_assert_eq(local_add(&l, SLICE("mixed@own.test"), 0), OK);
	cr_assert_eq(local_take(&l, &load, &taken), OK);
	cr_assert(taken.any_full);
	begin(&l);
	l.taken = &taken;
	cr_expect_eq(local_add(&l, SLICE("full@own.test"), 0), ERR_QUOTA);
	cr_expect_eq(local_add(&l, SLICE("mixed@own.test"), 1), OK);
	cr_expect_eq(local_add(&l, SLICE("bob@own.test"), 2), ERR_BUSY, "he was not asked for");
	cr_assert_eq(local_deliver(&l, &mail, &d), OK);
	cr_assert_eq(d->target_count, 1u);
	cr_expect_eq(d->targets[0].account, 1u);
	/* A report finds room all the same. */
	begin(&l);
	(void)!local_add(&l, SLICE("full@own.test"), 0);
	load.always = true;
	cr_assert_eq(local_take(&l, &load, &taken), OK);
	cr_expect_not(taken.any_full);
}

Test(local, a_copy_takes_what_its_messages_weigh)
{
	struct local_room kim = { .options = &options, .account = &accounts[7] };
	struct message_copy copy = { .account = 8 };
	struct room *room;

	cr_assert(slice_eq(kim.account->local, SLICE("kim")));
	cr_expect_eq(local_take_copy(&kim, &copy, &room), OK);
	cr_expect_str_eq(asked, "small.test 8=120; ");
	copy.move = true;
	cr_expect_eq(local_take_copy(&kim, &copy, &room), OK);
	cr_expect_null(room);
	cr_expect_str_eq(asked, "small.test 8=120; ");
}
