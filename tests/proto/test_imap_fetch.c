/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arguments of FETCH with the examples of the RFCs, and the names of items in answers. */
#include "proto/imap/fetch.h"

#include "tests/support/imap_text.h"

#include <criterion/criterion.h>

static struct arena arena;
static const struct imap_limits limits = { .depth_max = 10, .terms_max = 10 };

#define PART32 "1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1"

static const struct {
	const char *in, *out, *why;
	bool uid;
} rows[] = {
	{ "2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
		"2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])", "RFC 9051 6.4.5", false },
	{ "1 ALL", "1 (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", "macro", false },
	{ "1 fast", "1 (FLAGS INTERNALDATE RFC822.SIZE)", "macro", false },
	{ "1 FULL", "1 (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY)", "macro", false },
	{ "1 BODY[]", "1 (BODY[])", "everything", false },
	{ "1 BODY.PEEK[TEXT]<0.2048>", "1 (BODY.PEEK[TEXT]<0.2048>)", "partial", false },
	{ "1 (BODY[1.2.HEADER] BODY[1.MIME] BODY[4.1])",
		"1 (BODY[1.2.HEADER] BODY[1.MIME] BODY[4.1])", "parts", false },
	{ "1 BODY[3.HEADER.FIELDS.NOT (\"X Y\" Z)]", "1 (BODY[3.HEADER.FIELDS.NOT (\"X Y\" Z)])",
		"fields", false },
	{ "1 (BINARY[1] BINARY.PEEK[1.2]<5.6> BINARY.SIZE[2] BINARY[])",
		"1 (BINARY[1] BINARY.PEEK[1.2]<5.6> BINARY.SIZE[2] BINARY[])", "RFC 3516", false },
	{ "1 (RFC822 RFC822.HEADER RFC822.TEXT RFC822.SIZE)",
		"1 (RFC822.SIZE RFC822 RFC822.HEADER RFC822.TEXT)", "RFC 3501", false },
	{ "1 (BODY BODYSTRUCTURE UID)", "1 (UID BODY BODYSTRUCTURE)", "no brackets", false },
	{ "300:500 (FLAGS) (CHANGEDSINCE 12345)", "300:500 (UID FLAGS MODSEQ) (CHANGEDSINCE 12345)",
		"RFC 7162 3.1.4", true },
	{ "300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)",
		"300:500 (UID FLAGS MODSEQ) (CHANGEDSINCE 12345 VANISHED)", "RFC 7162 3.2.6",
		true },
	{ "1:* (EMAILID THREADID SAVEDATE)", "1:* (EMAILID THREADID SAVEDATE)", "RFC 8474, 8514",
		false },
	{ "1 (RFC822.SIZE PREVIEW)", "1 (RFC822.SIZE PREVIEW)", "RFC 8970 5", false },
	{ "1:3 (UID PREVIEW (LAZY))", "1:3 (UID PREVIEW (LAZY))", "RFC 8970 5", false },
	{ "1 PREVIEW (CHANGEDSINCE 1)", "1 (MODSEQ PREVIEW) (CHANGEDSINCE 1)", "no LAZY", false },
	{ "$ FLAGS", "$ (FLAGS)", "RFC 5182", false },
	{ "1 BODY[" PART32 "." PART32 "]", "1 (BODY[" PART32 "." PART32 "])", "as deep as allowed",
		false },
	{ "1 BODY[" PART32 "." PART32 ".1]", NULL, "deeper", false },
	{ "1 ()", NULL, "nothing", false },
	{ "1", NULL, "nothing", false },
	{ "1 (FLAGS", NULL, "open", false },
	{ "1 (ALL)", NULL, "a macro stands alone", false },
	{ "1 FLAGS UID", NULL, "no list", false },
	{ "1 FOO", NULL, "unknown", false },
	{ "1 ENVELOPE[]", NULL, "no section", false },
	{ "1 BODY[MIME]", NULL, "of which part", false },
	{ "1 BODY[1.]", NULL, "no more", false },
	{ "1 BODY[0]", NULL, "counts from 1", false },
	{ "1 BODY[1", NULL, "open", false },
	{ "1 BODY[FOO]", NULL, "unknown", false },
	{ "1 BODY[HEADER.FIELDS]", NULL, "which", false },
	{ "1 BODY[HEADER.FIELDS ()]", NULL, "which", false },
	{ "1 BODY[]<0>", NULL, "how many", false },
	{ "1 BODY[]<0.0>", NULL, "none", false },
	{ "1 BINARY[TEXT]", NULL, "no part", false },
	{ "1 BINARY.SIZE[1]<0.1>", NULL, "a size has no parts", false },
	{ "1 RFC822[]", NULL, "no section", false },
	{ "1 FLAGS (VANISHED)", NULL, "wants CHANGEDSINCE", true },
	{ "1 FLAGS (CHANGEDSINCE 1 VANISHED)", NULL, "wants UID", false },
	{ "1 FLAGS (CHANGEDSINCE 0)", NULL, "mod-sequence-value", false },
	{ "1 FLAGS (FOO)", NULL, "unknown", false },
	{ "1 (BODY[] BODY[] BODY[] BODY[] BODY[] BODY[] BODY[] BODY[] BODY[] BODY[] BODY[])", NULL,
		"too many", false },
};

static slice parsed(const char *in, bool uid, struct imap_fetch *out, const char **why)
{
	struct imap_lex x = imap_lex_of(&arena, arena_printf(&arena, " %s", in), &limits);
	struct out o = out_arena(&arena);

	*out = (struct imap_fetch){ 0 };
	x.uid = uid;
	if (!imap_lex_fetch(&x, out)) {
		*why = x.why;
		return (slice){ 0 };
	}
	imap_text_fetch(&o, out);
	return slice_skip(out_written(&o), 1);
}

Test(imap_fetch, items)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		struct imap_fetch fetch;
		const char *why = NULL;
		slice got = parsed(rows[i].in, rows[i].uid, &fetch, &why);

		cr_assert_eq(got.ptr == NULL, rows[i].out == NULL, "%s: %s (%s)", rows[i].why,
			rows[i].in, why ? why : "accepted");
		cr_assert_eq(got.ptr == NULL, why != NULL);
		cr_assert(!got.ptr || slice_eq(got, slice_str(rows[i].out)), "%s: %.*s",
			rows[i].why, SLICE_ARG(got));
	}
	arena_done(&arena);
}

Test(imap_fetch, names_in_answers_and_what_sets_seen)
{
	static const struct {
		const char *in, *name;
		bool seen;
	} names[] = {
		{ "1 BODY.PEEK[]<5.10>", "BODY[]<5>", false },
		{ "1 BODY[1.TEXT]", "BODY[1.TEXT]", true },
		{ "1 BODY[HEADER.FIELDS (date \"\")]", "BODY[HEADER.FIELDS (date \"\")]", true },
		{ "1 BINARY.PEEK[1]", "BINARY[1]", false },
		{ "1 BINARY.SIZE[1.2]", "BINARY.SIZE[1.2]", false },
		{ "1 RFC822", "RFC822", true },
		{ "1 RFC822.HEADER", "RFC822.HEADER", false },
		{ "1 RFC822.TEXT", "RFC822.TEXT", true },
	};

	for (size_t i = 0; i < array_len(names); i++) {
		struct imap_fetch fetch;
		struct out o = out_arena(&arena);
		const char *why;

		cr_assert(parsed(names[i].in, false, &fetch, &why).ptr, "%s", names[i].in);
		imap_put_section(&o, fetch.sections);
		cr_assert(slice_eq(out_written(&o), slice_str(names[i].name)), "%.*s",
			SLICE_ARG(out_written(&o)));
		cr_assert_eq(fetch.sets_seen, names[i].seen, "%s", names[i].in);
	}
	arena_done(&arena);
}
