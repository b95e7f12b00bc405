/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines: the same lines in every division, slices inside the input, and what parses is rendered
 * to something that parses to the same. */
#include "proto/smtp/command.h"
#include "tests/support/proto_feeds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ALL = -1 };

static const size_t line_max = 1024;

static void check_mail(struct arena *a, slice rest)
{
	struct out once = out_arena(a), twice = out_arena(a);
	struct smtp_mail mail;
	slice verb, again;

	if (smtp_parse_mail(a, rest, ALL, &mail) != SMTP_SYNTAX_OK)
		return;
	smtp_put_mail(&once, &mail, ALL);
	smtp_split(slice_sub(out_written(&once), 0, once.len - 2), &verb, &again);
	must(smtp_parse_mail(a, again, ALL, &mail) == SMTP_SYNTAX_OK);
	smtp_put_mail(&twice, &mail, ALL);
	must(slice_eq(out_written(&once), out_written(&twice)));
}

static void check_rcpt(struct arena *a, slice rest)
{
	struct out once = out_arena(a), twice = out_arena(a);
	struct smtp_rcpt rcpt, back;
	slice verb, again;

	if (smtp_parse_rcpt(a, rest, ALL, &rcpt) != SMTP_SYNTAX_OK)
		return;
	smtp_put_rcpt(&once, &rcpt, ALL);
	smtp_split(slice_sub(out_written(&once), 0, once.len - 2), &verb, &again);
	/* Written out in full an ORCPT may pass its own limit; all else must come back. */
	if (smtp_parse_rcpt(a, again, ALL, &back) != SMTP_SYNTAX_OK) {
		must(rcpt.given & SMTP_P_ORCPT && rcpt.orcpt.len > 50);
		return;
	}
	must(slice_eq(mail_addr_text(a, &rcpt.to), mail_addr_text(a, &back.to)));
	must(slice_eq(rcpt.orcpt, back.orcpt));
	smtp_put_rcpt(&twice, &back, ALL);
	must(slice_eq(out_written(&once), out_written(&twice)));
}

static void check_line(slice line)
{
	struct arena a = { 0 };
	struct smtp_auth auth;
	struct smtp_bdat bdat;
	slice verb, rest, name;

	smtp_split(line, &verb, &rest);
	must(feed_inside(verb, line) && feed_inside(rest, line));
	check_mail(&a, rest);
	check_rcpt(&a, rest);
	if (smtp_parse_hello(rest, &name) == SMTP_SYNTAX_OK)
		must(name.len && feed_inside(name, rest));
	if (smtp_parse_auth(rest, &auth) == SMTP_SYNTAX_OK)
		must(feed_inside(auth.mechanism, rest) && feed_inside(auth.initial, rest));
	if (smtp_parse_bdat(rest, &bdat) == SMTP_SYNTAX_OK)
		must(bdat.size_bytes <= INT64_MAX);
	if (smtp_parse_string(rest, &name) == SMTP_SYNTAX_OK)
		must(slice_eq(name, rest));
	arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_lines lines = { 0 };
	slice in = slice_of(data, size), line;
	size_t used = 1;

	must(feed_few_ways(&feed_smtp_lines, &line_max, in, NULL));
	while (used && in.len) {
		if (smtp_line_cut(&lines, in, line_max, &used, &line) == STEP_DONE)
			check_line(line);
		in = slice_skip(in, used);
	}
	return 0;
}
