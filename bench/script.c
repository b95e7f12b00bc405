/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line, one rule: a word for when, a row of the action table, then conditions. */
#include "bench/script.h"

#include "core/base/map.h"
#include "core/base/text.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const whens[SCRIPT_WHENS] = {
	[SCRIPT_CONNECT] = "connect",
	[SCRIPT_EHLO] = "ehlo",
	[SCRIPT_STARTTLS] = "starttls",
	[SCRIPT_MAIL] = "mail",
	[SCRIPT_RCPT] = "rcpt",
	[SCRIPT_DATA] = "data",
	[SCRIPT_BODY] = "body",
	[SCRIPT_DOT] = "dot",
};

static bool read_reply(struct script *s, struct script_rule *r, slice *rest);
static bool read_duration(struct script *s, struct script_rule *r, slice *rest);
static bool read_rate(struct script *s, struct script_rule *r, slice *rest);

static const struct action_row {
	const char *name;
	enum script_action action;
	bool (*read)(struct script *s, struct script_rule *r, slice *rest);
} actions[] = {
	{ "reply", SCRIPT_REPLY, read_reply },
	{ "delay", SCRIPT_DELAY, read_duration },
	{ "drop", SCRIPT_DROP, NULL },
	{ "slow", SCRIPT_SLOW, read_rate },
	{ "greylist", SCRIPT_GREYLIST, read_duration },
	{ "absent", SCRIPT_ABSENT, NULL },
	{ "broken", SCRIPT_BROKEN, NULL },
};

static bool take_word(slice *rest, slice *word)
{
	*rest = slice_trim(*rest);
	return slice_cut(rest, ' ', word);
}

/* The conditions stand behind the text of a reply: it ends where the first of them begins. */
static size_t conditions_at(slice rest)
{
	static const char *const names[] = { " share ", " after ", " for " };
	size_t at = rest.len;

	for (size_t i = 0; i < array_len(names); i++) {
		ptrdiff_t hit = slice_search(rest, slice_str(names[i]));

		if (hit >= 0)
			at = MIN(at, (size_t)hit);
	}
	return at;
}

static bool read_reply(struct script *s, struct script_rule *r, slice *rest)
{
	size_t end = conditions_at(*rest);
	slice text = slice_trim(slice_sub(*rest, 0, end));
	uint64_t code;

	*rest = slice_skip(*rest, end);
	if (text.len < 3 || !text_parse_uint(slice_sub(text, 0, 3), 599, &code) || code < 200)
		return false;
	r->reply = arena_dup(&s->arena, text);
	return true;
}

static bool read_duration(struct script *s, struct script_rule *r, slice *rest)
{
	slice word;
	msec ms;

	if (!take_word(rest, &word) || !text_parse_duration(word, &ms))
		return false;
	r->amount = (uint64_t)ms;
	return true;
}

static bool read_rate(struct script *s, struct script_rule *r, slice *rest)
{
	slice word;

	return take_word(rest, &word) && text_parse_size(word, &r->amount) && r->amount > 0;
}

/* "10%" or "0.5%" in millionths. */
static bool parse_share(slice word, uint32_t *out)
{
	slice whole;
	uint64_t percent, tenths = 0;

	if (word.len < 2 || word.ptr[word.len - 1] != '%')
		return false;
	word.len--;
	if (!slice_cut(&word, '.', &whole) || !text_parse_uint(whole, 100, &percent))
		return false;
	if (word.len && (word.len != 1 || !text_parse_uint(word, 9, &tenths)))
		return false;
	*out = (uint32_t)(percent * 10000 + tenths * 1000);
	return *out <= 1000000;
}

static bool read_condition(struct script_rule *r, slice name, slice *rest)
{
	slice word;

	if (!take_word(rest, &word))
		return false;
	if (slice_eq(name, SLICE("share")))
		return parse_share(word, &r->share);
	if (slice_eq(name, SLICE("after")))
		return text_parse_uint(word, UINT64_MAX, &r->after_messages);
	if (slice_eq(name, SLICE("for")))
		return text_parse_duration(word, &r->for_ms);
	return false;
}

static bool find_when(slice word, enum script_when *out)
{
	for (size_t i = 0; i < SCRIPT_WHENS; i++)
		if (slice_eq(word, slice_str(whens[i]))) {
			*out = (enum script_when)i;
			return true;
		}
	return false;
}

/* The slice *rest begins behind the action's name. */
static const struct action_row *find_action(slice word)
{
	for (size_t i = 0; i < array_len(actions); i++)
		if (slice_eq(word, slice_str(actions[i].name)))
			return &actions[i];
	return NULL;
}

static const char *parse_line(struct script *s, struct script_rule *r, slice rest)
{
	slice word;

	if (!take_word(&rest, &word) || !find_when(word, &r->when))
		return "begins with connect, ehlo, starttls, mail, rcpt, data, body or dot";
	if (!take_word(&rest, &word))
		return "wants an action";
	const struct action_row *row = find_action(word);

	if (!row)
		return "the action is reply, delay, drop, slow, greylist, absent or broken";
	r->action = row->action;
	r->share = 1000000;
	if (row->read && !row->read(s, r, &rest))
		return "the action's value is wrong";
	while (take_word(&rest, &word))
		if (!read_condition(r, word, &rest))
			return "conditions are: share N%, after N, for DURATION";
	return NULL;
}

static struct script_rule *add_rule(struct script *s)
{
	struct script_rule *rules = realloc(s->rules, (s->count + 1) * sizeof(*rules));

	must(rules);
	s->rules = rules;
	memset(&rules[s->count], 0, sizeof(rules[0]));
	return &rules[s->count++];
}

bool script_parse(struct script *s, slice text, char *why, size_t why_len)
{
	slice line;

	for (unsigned number = 1; slice_cut(&text, '\n', &line); number++) {
		slice code = slice_trim(line);
		ptrdiff_t comment = slice_find(code, '#');

		if (comment >= 0)
			code = slice_trim(slice_sub(code, 0, (size_t)comment));
		if (code.len == 0)
			continue;
		const char *wrong = parse_line(s, add_rule(s), code);

		if (wrong) {
			snprintf(why, why_len, "line %u: %s", number, wrong);
			return false;
		}
	}
	return true;
}

void script_done(struct script *s)
{
	free(s->rules);
	arena_done(&s->arena);
	*s = (struct script){ 0 };
}

/* The clock of `for` starts when the rule first holds. */
static bool still_in_time(struct script_rule *r, msec now)
{
	int_fast64_t never = 0;

	if (r->for_ms == 0)
		return true;
	atomic_compare_exchange_strong(&r->since, &never, now ? now : 1);
	return now - atomic_load(&r->since) < r->for_ms;
}

struct script_rule *script_next(struct script *s, enum script_when when,
	const struct script_moment *m, size_t *at)
{
	for (; *at < s->count; ++*at) {
		struct script_rule *r = &s->rules[*at];

		if (r->when != when || m->messages < r->after_messages)
			continue;
		/* Each rule throws a dice of its own, or shares would hang together. */
		if (map_hash_u64(m->dice + *at) % 1000000 >= r->share || !still_in_time(r, m->now))
			continue;
		++*at;
		return r;
	}
	return NULL;
}
