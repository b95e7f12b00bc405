/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_imap_args.c - every argument parser: false if and only if it says why, values inside the text or the
 * arena, limits kept, and what FETCH understood is understood the same again. The first byte picks the
 * parser. */
#include "proto/imap/args.h"
#include "proto/imap/mutf7.h"
#include "tests/support/feed.h"
#include "tests/support/imap_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct imap_limits limits = { .depth_max = 8, .terms_max = 64 };

static imap_parser *const parsers[] = {
	imap_parse_none,
	imap_parse_login,
	imap_parse_authenticate,
	imap_parse_enable,
	imap_parse_compress,
	imap_parse_id,
	imap_parse_select,
	imap_parse_mailbox,
	imap_parse_create,
	imap_parse_rename,
	imap_parse_list,
	imap_parse_lsub,
	imap_parse_status,
	imap_parse_append,
	imap_parse_store,
	imap_parse_copy,
	imap_parse_expunge,
	imap_parse_fetch,
	imap_parse_search,
	imap_parse_sort,
	imap_parse_thread,
	imap_parse_getquota,
	imap_parse_setquota,
};

/* Reads every byte, so that the address sanitizer sees a slice that points elsewhere. */
static size_t touch(slice s)
{
	size_t sum = 0;

	for (size_t i = 0; i < s.len; i++)
		sum += (unsigned char)s.ptr[i];
	return sum;
}

static void check_list(const struct imap_slices *list)
{
	must(list->len <= limits.terms_max);
	for (size_t i = 0; i < list->len; i++)
		touch(list->items[i]);
}

static void check_name(slice name)
{
	must(!imap_name_wrong(name));
	must(!imap_name_is_inbox(name) || slice_eq(name, SLICE("INBOX")));
}

static void check_flags(const struct imap_flags *flags)
{
	must(!(flags->system & ~(unsigned)IMAP_FLAGS_ALL));
	check_list(&flags->keywords);
	for (size_t i = 0; i < flags->keywords.len; i++)
		must(imap_is_keyword(flags->keywords.items[i]));
}

static void check_runs(struct run_list list)
{
	for (size_t i = 0; i < list.len; i++) {
		must(list.runs[i].first && list.runs[i].first <= list.runs[i].last);
		must(!i || list.runs[i].first > list.runs[i - 1].last + 1);
	}
}

static void check_fetch(struct arena *a, const struct imap_lex *was, const struct imap_fetch *fetch)
{
	struct out once = out_arena(a), twice = out_arena(a);
	struct imap_fetch again = { 0 };
	size_t sections = 0;

	for (const struct imap_section *s = fetch->sections; s; s = s->next, sections++) {
		must(s->part_len <= IMAP_PART_DEPTH_MAX);
		check_list(&s->fields);
	}
	must(sections == fetch->section_count && sections <= limits.terms_max);
	if (!fetch->items && !fetch->sections)
		return;
	imap_text_fetch(&once, fetch);
	struct imap_lex x = imap_lex_of(a, out_written(&once), &limits);

	x.uid = was->uid;
	must(imap_lex_fetch(&x, &again));
	imap_text_fetch(&twice, &again);
	must(slice_eq(out_written(&once), out_written(&twice)));
	must(again.sets_seen == fetch->sets_seen && again.items == fetch->items);
}

static void check_values(struct arena *a, imap_parser *parse, const struct imap_lex *x,
	const union imap_args *args)
{
	if (parse == imap_parse_login)
		must(touch(args->login.user) + touch(args->login.password) + 1);
	else if (parse == imap_parse_authenticate)
		must(touch(args->authenticate.initial) + 1 && args->authenticate.mechanism.len);
	else if (parse == imap_parse_enable || parse == imap_parse_id)
		check_list(&args->words.words);
	else if (parse == imap_parse_mailbox)
		check_name(args->mailbox.name);
	else if (parse == imap_parse_create)
		check_name(args->create.mailbox);
	else if (parse == imap_parse_copy)
		check_name(args->copy.mailbox);
	else if (parse == imap_parse_append)
		check_flags(&args->append.item.flags);
	else if (parse == imap_parse_store)
		check_flags(&args->store.flags);
	else if (parse == imap_parse_list)
		check_list(&args->list.patterns);
	else if (parse == imap_parse_fetch)
		check_fetch(a, x, &args->fetch);
	else if (parse == imap_parse_setquota)
		check_list(&args->quota.resources);
	if (parse != imap_parse_select)
		return;
	check_runs(args->select.known);
	check_runs(args->select.match_seqs);
	must(run_list_count(args->select.match_seqs) == run_list_count(args->select.match_uids));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct arena a = { 0 };
	union imap_args args = { 0 };
	struct imap_append_item item;

	if (len < 1)
		return 0;
	imap_parser *parse = parsers[(bytes[0] & 31) % array_len(parsers)];
	slice text = slice_of(bytes + 1, len - 1);
	struct imap_lex x = imap_lex_of(&a, text, &limits);

	x.utf8 = bytes[0] & 32;
	x.uid = bytes[0] & 64;
	bool good = parse(&x, &args);

	must(good == !x.why && feed_inside(x.rest, text));
	if (good)
		check_values(&a, parse, &x, &args);
	x = imap_lex_of(&a, text, &limits);
	good = imap_parse_append_next(&x, bytes[0] & 64, bytes[0] & 128, &item);
	must(good == !x.why);
	arena_done(&a);
	return 0;
}
