/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_search.c - SEARCH and its answers: SEARCH of old, ESEARCH (RFC 4731), `$` (RFC 5182). */
#include "server/imap/imap_find.h"
#include "server/imap/imap_int.h"
#include "server/imap/imap_out.h"

enum { NUMBERS_A_TIME = 4000 };

/* What the answer's numbers are: uids as they are, or sequence numbers. */
static struct run_list numbers_of(struct imap_session *s, struct run_list uids)
{
	return s->run->uid ? uids : imap_uids_to_seqs(s, uids);
}

/* --- The answer of old ------------------------------------------------------------------------------- */

static enum err put_numbers(struct imap_session *s, struct run_list list)
{
	unsigned written = 0;

	for (size_t i = 0; i < list.len; i++)
		for (uint32_t n = list.runs[i].first;; n++) {
			out_char(imap_out(s), ' ');
			out_uint(imap_out(s), n);
			if (++written % NUMBERS_A_TIME == 0) {
				enum err err = imap_out_wait(s);

				if (err)
					return err;
			}
			if (n == list.runs[i].last)
				break;
		}
	return OK;
}

static enum err answer_search(struct imap_session *s, const struct imap_search *search,
	const struct find_found *found)
{
	enum err err;

	out_str(imap_out(s), "* SEARCH");
	err = put_numbers(s, numbers_of(s, found->uids));
	if (search->modseq && found->uids.len) /* RFC 7162 3.1.5 */
		out_printf(imap_out(s), " (MODSEQ %llu)", (unsigned long long)found->highest);
	out_str(imap_out(s), "\r\n");
	return err;
}

/* --- ESEARCH ------------------------------------------------------------------------------------------- */

/* RFC 7162 3.1.5: of what is returned. */
static modseq modseq_of(unsigned ret, const struct find_found *found)
{
	if (ret & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT))
		return found->highest;
	if ((ret & IMAP_RETURN_MIN) && (ret & IMAP_RETURN_MAX))
		return MAX(found->first_changed, found->last_changed);
	return ret & IMAP_RETURN_MAX ? found->last_changed : found->first_changed;
}

static void put_esearch(struct imap_session *s)
{
	struct out *o = imap_out(s);

	out_str(o, "* ESEARCH (TAG \"");
	for (size_t i = 0; i < s->run->tag.len; i++) {
		if (s->run->tag.ptr[i] == '"' || s->run->tag.ptr[i] == '\\')
			out_char(o, '\\');
		out_char(o, s->run->tag.ptr[i]);
	}
	out_str(o, s->run->uid ? "\") UID" : "\")");
}

static enum err answer_esearch(struct imap_session *s, const struct imap_search *search,
	const struct find_found *found)
{
	struct run_list list = numbers_of(s, found->uids);
	unsigned ret = search->extended ? search->ret : IMAP_RETURN_ALL;
	struct out *o = imap_out(s);

	put_esearch(s);
	if ((ret & IMAP_RETURN_MIN) && list.len)
		out_printf(o, " MIN %u", list.runs[0].first);
	if ((ret & IMAP_RETURN_MAX) && list.len)
		out_printf(o, " MAX %u", list.runs[list.len - 1].last);
	if (ret & IMAP_RETURN_COUNT)
		out_printf(o, " COUNT %llu", (unsigned long long)run_list_count(list));
	if (search->modseq && list.len)
		out_printf(o, " MODSEQ %llu", (unsigned long long)modseq_of(ret, found));
	if ((ret & IMAP_RETURN_ALL) && list.len) {
		out_str(o, " ALL ");
		for (size_t i = 0; i < list.len; i += NUMBERS_A_TIME) {
			struct run_list part = { .runs = list.runs + i,
				.len = MIN(list.len - i, (size_t)NUMBERS_A_TIME) };
			enum err err;

			if (i)
				out_char(imap_out(s), ',');
			imap_put_runs(imap_out(s), part);
			err = imap_out_wait(s);
			if (err)
				return err;
		}
	}
	out_str(imap_out(s), "\r\n");
	return OK;
}

/* --- SAVE ------------------------------------------------------------------------------------------------ */

/* RFC 5182 2.4: with MIN or MAX alone only those are kept. */
static struct run_list to_save(struct imap_session *s, unsigned ret, struct run_list uids)
{
	struct run *run = arena_array(&s->arena, struct run, 2);
	size_t n = 0;

	if (!uids.len || (ret & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT)) ||
		!(ret & (IMAP_RETURN_MIN | IMAP_RETURN_MAX)))
		return uids;
	uint32_t first = uids.runs[0].first, last = uids.runs[uids.len - 1].last;
	if (ret & IMAP_RETURN_MIN)
		run[n++] = (struct run){ first, first };
	if ((ret & IMAP_RETURN_MAX) && !(n && first == last))
		run[n++] = (struct run){ last, last };
	return (struct run_list){ .runs = run, .len = n };
}

static enum err keep_result(struct imap_session *s, const struct imap_search *search,
	struct run_list uids)
{
	if (!(search->ret & IMAP_RETURN_SAVE))
		return OK;
	return imap_save_result(s, to_save(s, search->ret, uids)) ? OK : ERR_NOMEM;
}

/* --- The command ----------------------------------------------------------------------------------------- */

static bool only_saves(const struct imap_search *search)
{
	return search->extended && search->ret == IMAP_RETURN_SAVE;
}

static enum err answer(struct imap_session *s, const struct imap_search *search,
	const struct find_found *found)
{
	enum err err = keep_result(s, search, found->uids);

	if (err || only_saves(search))
		return err;
	if (search->extended || imap_is(s, IMAP_EN_REV2))
		return answer_esearch(s, search, found);
	return answer_search(s, search, found);
}

enum verdict imap_do_search(struct imap_session *s, const union imap_args *args)
{
	const struct imap_search *search = &args->search;
	struct find_plan plan;
	struct find_found found;
	enum find_fault fault;
	enum err err;

	if (search->charset.len && imap_is(s, IMAP_EN_UTF8)) /* RFC 6855 3 */
		return imap_bad(s, "No charset behind ENABLE UTF8=ACCEPT: all is UTF-8");
	if (search->modseq)
		imap_enable_condstore(s);
	fault = find_plan_make(s, search, &plan);
	if (fault) {
		/* RFC 5182 2.1: NO empties what was saved, BAD leaves it. */
		if (fault == FIND_BAD_CHARSET)
			(void)keep_result(s, search, (struct run_list){ 0 });
		return find_refuse(s, fault);
	}
	err = find_uids(s, &plan, &found);
	if (!err)
		err = answer(s, search, &found);
	if (err) {
		(void)keep_result(s, search, (struct run_list){ 0 });
		return imap_no_err(s, err);
	}
	if (found.failed)
		return imap_no(s, IMAP_CODE_CORRUPTION, "A stored message is damaged");
	return imap_ok(s);
}
