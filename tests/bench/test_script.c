/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules of the sink: what they say, when they hold, and what is no rule. */
#include "bench/script.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct script parsed(const char *text)
{
	struct script s = { 0 };
	char why[160] = "";

	cr_assert(script_parse(&s, slice_str(text), why, sizeof(why)), "%s", why);
	return s;
}

Test(script, rules_are_read)
{
	struct script s = parsed(
		"# misbehave\nconnect delay 50ms\nrcpt reply 451 4.7.1 later, please share 10%\n"
		"mail reply 421 4.7.0 slow down after 1000 for 10s\nbody slow 16K\n"
		"starttls absent\n");

	cr_assert_eq(s.count, 5);
	cr_assert(s.rules[0].action == SCRIPT_DELAY && s.rules[0].amount == 50);
	cr_assert(s.rules[2].after_messages == 1000 && s.rules[2].for_ms == 10000);
	cr_assert(slice_eq(s.rules[2].reply, SLICE("421 4.7.0 slow down")));
	cr_assert(s.rules[3].amount == 16384 && s.rules[4].action == SCRIPT_ABSENT);
	script_done(&s);
}

Test(script, wrong_lines_are_told)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "sometimes drop", "when" },
		{ "mail", "no action" },
		{ "mail explode", "action" },
		{ "mail reply hello", "no code" },
		{ "body slow 0", "rate" },
		{ "mail drop share 101%", "share" },
		{ "mail drop perhaps", "condition" },
	};

	for (size_t i = 0; i < array_len(bad); i++) {
		struct script s = { 0 };
		char why[160] = "", text[80];

		snprintf(text, sizeof(text), "\n%s\n", bad[i].text);
		cr_assert_not(script_parse(&s, slice_str(text), why, sizeof(why)), "%s",
			bad[i].why);
		cr_assert(strncmp(why, "line 2:", 7) == 0, "%s", why);
		script_done(&s);
	}
}

Test(script, a_share_is_about_that_share)
{
	struct script s = parsed("rcpt reply 451 x share 25%\n");
	unsigned hits = 0;

	for (uint64_t dice = 0; dice < 10000; dice++) {
		size_t at = 0;

		hits += script_next(&s, SCRIPT_RCPT, &(struct script_moment){ dice * 7919, 0, 1 },
				&at) != NULL;
	}
	cr_assert(hits > 2300 && hits < 2700, "%u", hits);
	script_done(&s);
}

Test(script, after_and_for_bound_a_rule)
{
	struct script s = parsed("mail drop after 10 for 1s\n");
	static const struct {
		uint64_t messages;
		msec now;
		bool holds;
		const char *why;
	} rows[] = {
		{ 9, 500, false, "not enough messages" },
		{ 10, 5000, true, "the clock starts here" },
		{ 11, 5999, true, "still inside" },
		{ 12, 6000, false, "over" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		size_t at = 0;

		cr_assert_eq(script_next(&s, SCRIPT_MAIL,
				     &(struct script_moment){ 0, rows[i].messages, rows[i].now },
				     &at) != NULL,
			rows[i].holds, "%s", rows[i].why);
	}
	script_done(&s);
}

Test(script, a_delay_lets_the_next_rule_speak)
{
	struct script s = parsed("dot delay 1s\ndot reply 550 no\n");
	struct script_moment now = { 0, 0, 1 };
	size_t at = 0;

	cr_assert_eq(script_next(&s, SCRIPT_DOT, &now, &at)->action, SCRIPT_DELAY);
	cr_assert_eq(script_next(&s, SCRIPT_DOT, &now, &at)->action, SCRIPT_REPLY);
	cr_assert_null(script_next(&s, SCRIPT_DOT, &now, &at));
	script_done(&s);
}
