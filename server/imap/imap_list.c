/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_list.c - LIST with its extensions (RFC 9051 6.3.9, 5258, 5819, 6154) and LSUB.
 *
 * The account's names are read once, in byte order; superior names that do not exist are added, so that
 * `%` finds its way down. What is below a name is then one stretch of that list, found by binary
 * search: the time is names times patterns, whatever the tree. */
#include "server/imap/imap_int.h"

#include "core/job.h"
#include "proto/imap/mutf7.h"
#include "proto/imap/render.h"
#include "server/imap/imap_out.h"
#include "store/mailbox.h"

/* A step of matching is a byte of a pattern seen for a name; more of them than the worker can spare go
 * to a helper thread. */
enum { PAGE = 1000, STEPS_HERE = 20000, NAMES_A_TIME = 1000, PATTERNS_MAX = 4096 };

struct name {
	slice text;
	const struct mailbox *row; /* NULL: does not exist, something below does */
	bool matches;
};

struct names {
	struct arena *a;
	struct name *items;
	size_t len, cap;
};

struct listing {
	struct imap_session *s;
	const struct imap_list *args;
	struct names names;
	slice *patterns; /* with the reference in front */
	size_t pattern_count, pattern_bytes;
	size_t at; /* names below were matched */
	bool lsub;
};

/* --- The names ------------------------------------------------------------------------------------ */

static void add(struct names *names, slice text, const struct mailbox *row)
{
	if (names->len == names->cap) {
		size_t cap = names->cap ? names->cap * 2 : 64;
		struct name *more = arena_array(names->a, struct name, cap);

		if (names->len)
			memcpy(more, names->items, names->len * sizeof(*more));
		names->items = more;
		names->cap = cap;
	}
	names->items[names->len++] = (struct name){ .text = text, .row = row };
}

static bool below(slice name, slice parent)
{
	return name.len > parent.len && name.ptr[parent.len] == '/' && slice_starts(name, parent);
}

/* The first of `len` names that is not less than `text` (with `slash` behind it). */
static size_t lower_bound(const struct names *names, size_t len, slice text, bool slash)
{
	size_t low = 0, high = len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		slice at = names->items[mid].text;
		int cmp = slice_cmp(slash ? slice_sub(at, 0, text.len) : at, text);

		if (slash && cmp == 0)
			cmp = at.len == text.len ? -1 : at.ptr[text.len] < '/' ? -1 : 1;
		if (cmp < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool has_name(const struct names *names, size_t len, slice text)
{
	size_t at = lower_bound(names, len, text, false);

	return at < len && slice_eq(names->items[at].text, text);
}

/* Superior names that nobody made. `before`: the name in front, whose superiors were added then. */
static void add_superiors(struct names *names, size_t real, slice name, slice before)
{
	for (size_t i = 1; i < name.len; i++) {
		slice superior = slice_sub(name, 0, i);

		if (name.ptr[i] == '/' && !below(before, superior) &&
			!has_name(names, real, superior))
			add(names, superior, NULL);
	}
}

static void sift(struct name *heap, size_t len, size_t at)
{
	for (;;) {
		size_t child = at * 2 + 1;
		struct name swap = heap[at];

		if (child >= len)
			return;
		if (child + 1 < len && slice_cmp(heap[child].text, heap[child + 1].text) < 0)
			child++;
		if (slice_cmp(heap[at].text, heap[child].text) >= 0)
			return;
		heap[at] = heap[child];
		heap[child] = swap;
		at = child;
	}
}

static void sort(struct names *names)
{
	struct name *heap = names->items;

	for (size_t i = names->len / 2; i-- > 0;)
		sift(heap, names->len, i);
	for (size_t i = names->len; i-- > 1;) {
		struct name last = heap[i];

		heap[i] = heap[0];
		heap[0] = last;
		sift(heap, i, 0);
	}
}

static enum err read_names(struct imap_session *s, struct names *names)
{
	struct mailbox_query query = { .account = s->account, .limit = PAGE };
	struct mailbox_page page;
	size_t real;

	do {
		enum err err = mailbox_list(imap_store_of(s), &query, names->a, &page);

		if (err)
			return err;
		for (size_t i = 0; i < page.len; i++)
			add(names, page.rows[i].name, &page.rows[i]);
		if (page.len)
			query.after = page.rows[page.len - 1].name;
	} while (page.more && page.len);
	real = names->len;
	for (size_t i = 0; i < real; i++)
		add_superiors(names, real, names->items[i].text,
			i ? names->items[i - 1].text : SLICE(""));
	if (names->len > real)
		sort(names);
	return OK;
}

/* --- What matches ---------------------------------------------------------------------------------- */

static bool exists(const struct name *n)
{
	return n->row && n->row->id;
}

static bool subscribed(const struct name *n)
{
	return n->row && n->row->subscribed;
}

static bool matches(const struct listing *l, slice text)
{
	for (size_t i = 0; i < l->pattern_count; i++)
		if (imap_pattern_match(l->patterns[i], text))
			return true;
	return false;
}

static void match_some(void *arg)
{
	struct listing *l = arg;
	size_t end = MIN(l->names.len, l->at + NAMES_A_TIME);

	for (; l->at < end; l->at++)
		l->names.items[l->at].matches = matches(l, l->names.items[l->at].text);
}

static enum err match_all(struct listing *l)
{
	bool few = l->names.len * l->pattern_bytes <= STEPS_HERE;
	enum err err = OK;

	while (!err && l->at < l->names.len) {
		if (few) {
			match_some(l);
			continue;
		}
		job_run(match_some, l);
		err = imap_out_wait(l->s); /* has the client left? */
	}
	return err;
}

enum what {
	EXISTS,
	SELECTED,
	UNTOLD, /* selected, and no pattern matches it */
};

static bool selected(const struct listing *l, const struct name *n);

/* Is there such a name below? */
static bool any_below(const struct listing *l, const struct name *n, enum what what)
{
	const struct names *names = &l->names;
	bool found = false;

	for (size_t i = lower_bound(names, names->len, n->text, true);
		!found && i < names->len && below(names->items[i].text, n->text); i++) {
		const struct name *at = &names->items[i];

		if (what == EXISTS)
			found = exists(at);
		else
			found = at->row && selected(l, at) && !(what == UNTOLD && at->matches);
	}
	return found;
}

/* The selection options of RFC 5258 3.1: what is told answers to all of them. */
static bool selected(const struct listing *l, const struct name *n)
{
	unsigned select = l->args->select;

	if (select & IMAP_LIST_SPECIAL_USE && !(exists(n) && n->row->use))
		return false;
	if (select & IMAP_LIST_SUBSCRIBED)
		return subscribed(n);
	return exists(n) || any_below(l, n, EXISTS);
}

/* --- Lines ------------------------------------------------------------------------------------------ */

static void attribute(struct out *o, bool *any, const char *word)
{
	out_printf(o, "%s%s", *any ? " " : "", word);
	*any = true;
}

static void put_attributes(const struct listing *l, struct out *o, const struct name *n)
{
	const struct imap_list *args = l->args;
	bool modern = args->extended || imap_is(l->s, IMAP_EN_REV2), any = false;
	bool shows = args->ret & IMAP_RETURN_SUBSCRIBED || args->select & IMAP_LIST_SUBSCRIBED;

	if (!exists(n))
		attribute(o, &any, modern ? "\\NonExistent" : "\\Noselect");
	if (shows && subscribed(n))
		attribute(o, &any, "\\Subscribed");
	attribute(o, &any, any_below(l, n, EXISTS) ? "\\HasChildren" : "\\HasNoChildren");
	if (exists(n) && n->row->use) {
		out_char(o, ' ');
		imap_put_uses(o, n->row->use);
	}
}

static enum err put_name(struct listing *l, const struct name *n, bool childinfo)
{
	struct imap_session *s = l->s;
	struct out *o = imap_out(s);
	enum err err = OK;

	out_printf(o, "* %s (", l->lsub ? "LSUB" : "LIST");
	if (!l->lsub)
		put_attributes(l, o, n);
	else if (!subscribed(n))
		out_str(o, "\\Noselect");
	out_str(o, ") \"/\" ");
	imap_put_mailbox(o, n->text, imap_utf8(s));
	if (childinfo)
		out_printf(o, " (\"CHILDINFO\" (\"%s\"))",
			l->args->select & IMAP_LIST_SUBSCRIBED ? "SUBSCRIBED" : "SPECIAL-USE");
	out_str(o, "\r\n");
	/* Not for names that are only told for what is below them (RFC 5819 3). */
	if ((l->args->ret & IMAP_RETURN_STATUS) && exists(n) && selected(l, n))
		err = imap_tell_status(s, n->row, l->args->status);
	return err ? err : imap_out_wait(s);
}

/* RECURSIVEMATCH (RFC 5258 3.5): a name says when there are selected ones below it; one that is not selected
 * itself is told only for those that no pattern tells. */
static enum err list_name(struct listing *l, const struct name *n)
{
	bool recursive = l->args->select & IMAP_LIST_RECURSIVEMATCH;
	bool info, own;

	if (!n->matches)
		return OK;
	own = selected(l, n);
	info = recursive && any_below(l, n, own ? SELECTED : UNTOLD);
	return info || own ? put_name(l, n, info) : OK;
}

/* `%` shows a name above subscribed ones too (RFC 3501 6.3.9). */
static enum err lsub_name(struct listing *l, const struct name *n)
{
	if (!n->matches)
		return OK;
	return subscribed(n) || any_below(l, n, UNTOLD) ? put_name(l, n, false) : OK;
}

static void join_patterns(struct listing *l)
{
	const struct imap_list *args = l->args;

	l->pattern_count = args->patterns.len;
	l->patterns = arena_array(&l->s->arena, slice, l->pattern_count);
	for (size_t i = 0; i < l->pattern_count; i++) {
		l->patterns[i] = arena_printf(&l->s->arena, "%.*s%.*s", SLICE_ARG(args->reference),
			SLICE_ARG(args->patterns.items[i]));
		l->pattern_bytes += l->patterns[i].len;
	}
}

static enum verdict list(struct imap_session *s, const struct imap_list *args, bool lsub)
{
	struct listing l = { .s = s, .args = args, .names = { .a = &s->arena }, .lsub = lsub };
	enum err err;

	if (args->patterns.len == 1 && !args->patterns.items[0].len && !args->extended) {
		out_printf(imap_out(s), "* %s (\\Noselect) \"/\" \"\"\r\n", lsub ? "LSUB" : "LIST");
		return imap_ok(s);
	}
	join_patterns(&l);
	if (l.pattern_bytes > PATTERNS_MAX)
		return imap_no(s, IMAP_CODE_LIMIT, "The patterns are too long");
	/* Names are there as anybody was told of them: mailbox_list. */
	err = args->ret & IMAP_RETURN_STATUS ? store_sync_all(imap_store_of(s), s->account) : OK;
	if (!err)
		err = read_names(s, &l.names);
	if (!err)
		err = match_all(&l);
	for (size_t i = 0; !err && i < l.names.len; i++)
		err = lsub ? lsub_name(&l, &l.names.items[i]) : list_name(&l, &l.names.items[i]);
	return err ? imap_no_err(s, err) : imap_ok(s);
}

enum verdict imap_do_list(struct imap_session *s, const union imap_args *args)
{
	return list(s, &args->list, false);
}

enum verdict imap_do_lsub(struct imap_session *s, const union imap_args *args)
{
	struct imap_list lsub = args->list;

	lsub.select = IMAP_LIST_SUBSCRIBED;
	lsub.ret = 0;
	return list(s, &lsub, true);
}
