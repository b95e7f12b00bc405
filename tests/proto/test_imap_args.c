/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arguments of all verbs: a row says whether they parse, and what a short look at the values must
 * show. */
#include "proto/imap/args.h"

#include "tests/support/imap_text.h"

#include <criterion/criterion.h>

static struct arena arena;
static const struct imap_limits limits = { .depth_max = 10, .terms_max = 50 };

static void show_slices(struct out *o, const struct imap_slices *list)
{
	for (size_t i = 0; i < list->len; i++)
		out_printf(o, "%s%.*s", i ? "," : "", SLICE_ARG(list->items[i]));
}

static void show_login(struct out *o, const union imap_args *a)
{
	out_printf(o, "%.*s:%.*s", SLICE_ARG(a->login.user), SLICE_ARG(a->login.password));
}

static void show_auth(struct out *o, const union imap_args *a)
{
	out_printf(o, "%.*s %d %.*s", SLICE_ARG(a->authenticate.mechanism),
		a->authenticate.has_initial, SLICE_ARG(a->authenticate.initial));
}

static void show_words(struct out *o, const union imap_args *a)
{
	show_slices(o, &a->words.words);
}

static void show_id(struct out *o, const union imap_args *a)
{
	show_slices(o, &a->id.pairs);
}

static void show_select(struct out *o, const union imap_args *a)
{
	const struct imap_select *s = &a->select;

	out_printf(o, "%.*s%s%s", SLICE_ARG(s->mailbox), s->condstore ? " C" : "",
		s->qresync ? " Q" : "");
	if (!s->qresync)
		return;
	out_printf(o, " %u %llu %d ", s->uid_validity, (unsigned long long)s->modseq, s->has_known);
	imap_put_runs(o, s->known);
	out_char(o, '/');
	imap_put_runs(o, s->match_seqs);
	out_char(o, '/');
	imap_put_runs(o, s->match_uids);
}

static void show_mailbox(struct out *o, const union imap_args *a)
{
	out_slice(o, a->mailbox.name);
}

static void show_create(struct out *o, const union imap_args *a)
{
	out_printf(o, "%.*s %x %d", SLICE_ARG(a->create.mailbox), a->create.use,
		a->create.use_unknown);
}

static void show_rename(struct out *o, const union imap_args *a)
{
	out_printf(o, "%.*s>%.*s", SLICE_ARG(a->rename.from), SLICE_ARG(a->rename.to));
}

static void show_list(struct out *o, const union imap_args *a)
{
	const struct imap_list *l = &a->list;

	out_printf(o, "%d %x %x %x [%.*s] ", l->extended, l->select, l->ret, l->status,
		SLICE_ARG(l->reference));
	show_slices(o, &l->patterns);
}

static void show_status(struct out *o, const union imap_args *a)
{
	out_printf(o, "%.*s %x", SLICE_ARG(a->status.mailbox), a->status.items);
}

static void show_flags(struct out *o, const struct imap_flags *flags)
{
	imap_text_flags(o, flags);
}

static void show_append(struct out *o, const union imap_args *a)
{
	const struct imap_append_item *item = &a->append.item;

	out_printf(o, "%.*s %s", SLICE_ARG(a->append.mailbox), item->utf8 ? "utf8 " : "");
	show_flags(o, &item->flags);
	if (item->has_date)
		imap_put_date_time(o, item->date.at, item->date.zone_minutes);
}

static void show_store(struct out *o, const union imap_args *a)
{
	const struct imap_store *s = &a->store;

	imap_text_set(o, &s->set);
	out_printf(o, " %c%s ", "=+-"[s->mode], s -> silent ? "s" : "");
	show_flags(o, &s->flags);
	if (s->conditional)
		out_printf(o, " %llu", (unsigned long long)s->unchanged_since);
}

static void show_copy(struct out *o, const union imap_args *a)
{
	imap_text_set(o, &a->copy.set);
	out_printf(o, " %.*s", SLICE_ARG(a->copy.mailbox));
}

static void show_expunge(struct out *o, const union imap_args *a)
{
	imap_text_set(o, &a->expunge.set);
}

static void show_quota(struct out *o, const union imap_args *a)
{
	out_printf(o, "[%.*s]", SLICE_ARG(a->quota.root));
	for (size_t i = 0; i < a->quota.resources.len; i++)
		out_printf(o, " %.*s=%llu", SLICE_ARG(a->quota.resources.items[i]),
			(unsigned long long)a->quota.values[i]);
}

static void show_none(struct out *o, const union imap_args *a)
{
}

/* Without `want` it must be refused. */
struct row {
	const char *in, *want;
};

struct family {
	const char *name;
	imap_parser *parse;
	void (*show)(struct out *o, const union imap_args *args);
	struct row rows[24];
};

static const struct family families[] = {
	{ "none", imap_parse_none, show_none, { { "", "" }, { " ", "" }, { " x", NULL } } },
	{ "LOGIN", imap_parse_login, show_login,
		{ { " SMITH SESAME", "SMITH:SESAME" }, /* RFC 9051 6.2.3 */
			{ " {11}\r\nFRED FOOBAR {7}\r\nfat man", "FRED FOOBAR:fat man" },
			{ " a \"\"", "a:" }, { " a]b \"\\\"\"", "a]b:\"" }, { " a", NULL },
			{ " a b c", NULL }, { "a b", NULL }, { " a (b)", NULL } } },
	{ "AUTHENTICATE", imap_parse_authenticate, show_auth,
		{ { " GSSAPI", "GSSAPI 0 " },
			{ " PLAIN dGVzdAB0ZXN0AHRlc3Q=", /* RFC 4959 4.1 */
				"PLAIN 1 dGVzdAB0ZXN0AHRlc3Q=" },
			{ " EXTERNAL =", "EXTERNAL 1 " }, { "", NULL }, { " PLAIN a b", NULL },
			{ " \"PLAIN\"", NULL } } },
	{ "ENABLE", imap_parse_enable, show_words,
		{ { " CONDSTORE", "CONDSTORE" },
			{ " IMAP4rev2 UTF8=ACCEPT", "IMAP4rev2,UTF8=ACCEPT" }, { "", NULL },
			{ " (X)", NULL } } },
	{ "COMPRESS", imap_parse_compress, show_words,
		{ { " DEFLATE", "DEFLATE" }, { "", NULL }, { " DEFLATE x", NULL } } },
	{ "ID", imap_parse_id, show_id,
		{ { " NIL", "" }, { " (\"name\" \"sodr\" \"version\" NIL)", "name,sodr,version," },
			{ " ()", "" }, { "", NULL }, { " (\"name\")", NULL },
			{ " (NIL \"x\")", NULL }, { " (\"a\" \"b\"", NULL } } },
	{ "SELECT", imap_parse_select, show_select,
		{ { " inbox", "INBOX" }, { " INBOX (CONDSTORE)", "INBOX C" },
			{ " INBOX (QRESYNC (67890007 20050715194045000 "
			  "41,43:211,214:541))",
				"INBOX Q 67890007 20050715194045000 1 "
				"41,43:211,214:541//" },
			{ " INBOX (QRESYNC (67890007 90060115194045000 1:29997 (5000,7500,9000,"
			  "9990:9999 15000,22500,27000,29970,29973,29976,29979,29982,29985,29988,"
			  "29991,29994,29997)))",
				"INBOX Q 67890007 90060115194045000 1 "
				"1:29997/5000,7500,9000,9990:9999/"
				"15000,22500,27000,29970,29973,29976,29979,29982,29985,29988,29991,"
				"29994,29997" },
			{ " x (QRESYNC (1 2 (1,2 5)))", NULL },
			{ " x (QRESYNC (1 2 (1,2 5:6)))", "x Q 1 2 0 /1:2/5:6" },
			{ " x (QRESYNC (1 2 3 (1,2 5:6)) CONDSTORE)", "x C Q 1 2 1 3/1:2/5:6" },
			{ " x (QRESYNC (1 2))", "x Q 1 2 0 //" }, { " x (QRESYNC (0 2))", NULL },
			{ " x (QRESYNC (1 0))", NULL }, { " x (QRESYNC (1 2 1:*))", NULL },
			{ " x (QRESYNC (1 2) QRESYNC (1 2))", NULL }, { " x (FOO)", NULL },
			{ " x ()", NULL }, { "", NULL }, { " x y", NULL } } },
	{ "DELETE", imap_parse_mailbox, show_mailbox,
		{ { " blurdybloop", "blurdybloop" }, { " foo/bar", "foo/bar" },
			{ " {5}\r\ninbox", "INBOX" }, { " \"\"", NULL }, { " a b", NULL },
			{ " a%b", NULL }, { " &Jjo!", NULL } } },
	{ "CREATE", imap_parse_create, show_create,
		{ { " owatagusiam/", "owatagusiam 0 0" },
			{ " MyDrafts (USE (\\Drafts))", "MyDrafts 1 0" }, /* RFC 6154 5.3 */
			{ " Everything (USE (\\All \\Sent))", "Everything 22 0" },
			{ " x (USE (\\Foo))", "x 0 1" }, { " x (USE ())", "x 0 0" },
			{ " x (USE (Drafts))", NULL }, { " x (FOO)", NULL },
			{ " x (USE (\\All)", NULL }, { " /", NULL }, { " a//", NULL } } },
	{ "RENAME", imap_parse_rename, show_rename,
		{ { " zowie bar", "zowie>bar" }, { " INBOX old-mail", "INBOX>old-mail" },
			{ " a", NULL }, { " a b c", NULL } } },
	{ "LIST", imap_parse_list, show_list,
		{ { " \"\" \"\"", "0 0 0 0 [] " },
			{ " \"/usr/staff/jones\" \"\"", "0 0 0 0 [/usr/staff/jones] " },
			{ " ~/Mail/ %", "0 0 0 0 [~/Mail/] %" },
			/* RFC 5258 5 */
			{ " (SUBSCRIBED) \"\" \"*\"", "1 1 0 0 [] *" },
			{ " () \"\" \"%\" RETURN (CHILDREN)", "1 0 2 0 [] %" },
			{ " (REMOTE) \"\" \"%\" RETURN (CHILDREN)", "1 2 2 0 [] %" },
			{ " (SUBSCRIBED RECURSIVEMATCH) \"\" \"%\" RETURN "
			  "(CHILDREN)",
				"1 5 2 0 [] %" },
			{ " \"\" (\"INBOX\" \"Drafts\" \"Sent/%\")",
				"1 0 0 0 [] INBOX,Drafts,Sent/%" },
			/* RFC 5819 3, 6154 5.2 */
			{ " \"\" % RETURN (STATUS (MESSAGES UNSEEN))", "1 0 8 9 [] %" },
			{ " (SUBSCRIBED RECURSIVEMATCH) \"\" % RETURN "
			  "(STATUS (MESSAGES))",
				"1 5 8 1 [] %" },
			{ " (SPECIAL-USE) \"\" \"*\"", "1 8 0 0 [] *" },
			{ " \"\" \"%\" RETURN (SPECIAL-USE SUBSCRIBED)", "1 0 5 0 [] %" },
			{ " (RECURSIVEMATCH) \"\" %", NULL },
			{ " (RECURSIVEMATCH REMOTE) \"\" %", NULL }, { " (FOO) \"\" %", NULL },
			{ " \"\" % RETURN (FOO)", NULL }, { " \"\" % FOO", NULL },
			{ " \"\" ()", NULL }, { " \"\"", NULL },
			{ " \"\" % RETURN (STATUS)", NULL },
			{ " \"\" % RETURN (STATUS ())", NULL } } },
	{ "LSUB", imap_parse_lsub, show_list,
		{ { " \"#news.\" \"comp.mail.*\"", "0 0 0 0 [#news.] comp.mail.*" },
			{ " \"\"", NULL }, { " \"\" (a)", NULL } } },
	{ "STATUS", imap_parse_status, show_status,
		{ { " blurdybloop (UIDNEXT MESSAGES)", "blurdybloop 3" },
			{ " x (uidvalidity unseen deleted size recent "
			  "highestmodseq appendlimit "
			  "mailboxid deleted-storage)",
				"x 7fc" },
			{ " x ()", NULL }, { " x (FOO)", NULL }, { " x", NULL },
			{ " x (SIZE", NULL } } },
	{ "APPEND", imap_parse_append, show_append,
		{ { " saved-messages (\\Seen) ", "saved-messages (\\Seen)" }, { " x ", "x ()" },
			{ " x (\\Flagged $Junk $junk) \" 5-Feb-1994 "
			  "22:43:04 +0100\" ",
				"x (\\Flagged $Junk)\" 5-Feb-1994 22:43:04 "
				"+0100\"" },
			{ " x UTF8 (", "x utf8 ()" }, { " x", NULL }, { " x ()", NULL },
			{ " x (\\Recent) ", NULL }, { " x \"5-Feb\" ", NULL },
			{ " x text ", NULL } } },
	{ "STORE", imap_parse_store, show_store,
		{ { " 2:4 +FLAGS (\\Deleted)", "2:4 + (\\Deleted)" },
			{ " 1 (UNCHANGEDSINCE 320162338) +FLAGS.SILENT "
			  "\\Deleted", /* RFC 7162 3.1.3 */
				"1 +s (\\Deleted) 320162338" },
			{ " $ -flags $MDNSent \\seen", "$ - (\\Seen $MDNSent)" },
			{ " * FLAGS ()", "* = ()" },
			{ " 1 (UNCHANGEDSINCE 0) FLAGS ()", "1 = () 0" }, { " 1 FLAGS", NULL },
			{ " 1 FLAGS ", NULL }, { " 1 FOO (\\Seen)", NULL },
			{ " 1 FLAGS (\\Foo)", NULL }, { " 1 FLAGS \\Recent", NULL },
			{ " 1 FLAGS (\\Seen", NULL }, { " 1 FLAGS (a) b", NULL },
			{ " 1 (FOO 1) FLAGS ()", NULL }, { " 0 FLAGS ()", NULL } } },
	{ "COPY", imap_parse_copy, show_copy,
		{ { " 2:4 MEETING", "2:4 MEETING" }, { " $ inbox", "$ INBOX" }, { " 2:4", NULL },
			{ " x y", NULL } } },
	{ "EXPUNGE", imap_parse_expunge, show_expunge, { { "", "" }, { " 1", NULL } } },
	{ "UID EXPUNGE", imap_parse_expunge, show_expunge,
		{ { " 3000:3002", "3000:3002" }, { "", NULL } } },
	{ "GETQUOTA", imap_parse_getquota, show_quota,
		{ { " \"\"", "[]" }, { " #user/alice", "[#user/alice]" }, { "", NULL } } },
	{ "SETQUOTA", imap_parse_setquota, show_quota,
		{ { " \"\" (STORAGE 512)", "[] STORAGE=512" },
			{ " r (STORAGE 1 MESSAGE 2)", "[r] STORAGE=1 MESSAGE=2" },
			{ " r ()", "[r]" }, { " r (STORAGE)", NULL }, { " r (STORAGE x)", NULL },
			{ " r", NULL } } },
	{ "FETCH", imap_parse_fetch, show_none, { { " 1 FLAGS", "" }, { " 1", NULL } } },
	{ "SEARCH", imap_parse_search, show_none, { { " ALL", "" }, { "", NULL } } },
	{ "SORT", imap_parse_sort, show_none, { { " (DATE) UTF-8 ALL", "" }, { " ALL", NULL } } },
	{ "THREAD", imap_parse_thread, show_none,
		{ { " REFERENCES UTF-8 ALL", "" }, { " ALL", NULL } } },
};

static void check(const struct family *family, const struct row *row)
{
	struct imap_lex x = imap_lex_of(&arena, slice_str(row->in), &limits);
	struct out o = out_arena(&arena);
	union imap_args args = { 0 };

	x.uid = slice_starts(slice_str(family->name), SLICE("UID "));
	bool good = family->parse(&x, &args);

	cr_assert_eq(good, row->want != NULL, "%s%s: %s", family->name, row->in,
		x.why ? x.why : "accepted");
	cr_assert_eq(good, !x.why, "%s%s", family->name, row->in);
	if (!good)
		return;
	family->show(&o, &args);
	cr_assert(slice_eq(out_written(&o), slice_str(row->want)), "%s%s: %.*s", family->name,
		row->in, SLICE_ARG(out_written(&o)));
}

Test(imap_args, every_family)
{
	for (size_t i = 0; i < array_len(families); i++)
		for (const struct row *row = families[i].rows;
			row < families[i].rows + array_len(families[i].rows) && row->in; row++)
			check(&families[i], row);
	arena_done(&arena);
}

Test(imap_args, later_parts_of_append)
{
	static const struct {
		const char *in;
		bool utf8, message, good;
	} rows[] = {
		{ "", false, false, true },
		{ " ", false, false, false },
		{ " x", false, false, false },
		{ " ", false, true, true },
		{ "", false, true, false },
		{ " (\\Seen) \" 7-Feb-1994 22:43:04 -0800\" ", false, true, true }, /* RFC 3502 */
		{ " (\\Seen)", false, true, false },
		{ ")", true, false, true },
		{ "", true, false, false },
		{ ") (\\Draft) UTF8 (", true, true, true },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct imap_lex x = imap_lex_of(&arena, slice_str(rows[i].in), &limits);
		struct imap_append_item item = { 0 };

		cr_assert_eq(imap_parse_append_next(&x, rows[i].utf8, rows[i].message, &item),
			rows[i].good, "%zu", i);
		cr_assert_eq(!x.why, rows[i].good, "%zu", i);
	}
	arena_done(&arena);
}
