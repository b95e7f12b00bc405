/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules: all that was acknowledged arrives or is reported; nothing that was refused arrives; a
 * recipient comes twice only when the connection or the process broke between the final dot and the
 * durable result; nobody is told of a failure that did not happen. */
#include "tests/sim/oracle.h"

#include "core/base/map.h"
#include "core/base/text.h"
#include "core/worker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* A result is durable 20 ms after its reply came; the rest is the network's. */
enum { WINDOW_MS = 250, SAID_MAX = 20, CRASHES_SAID = 8 };

struct taken {
	struct delivery d;
	msec at; /* answered */
	bool excused;
};

static struct {
	struct oracle_message **messages;
	uint32_t count, room;
	struct taken *taken;
	size_t taken_count, taken_room;
	size_t life_first; /* of `taken`: the first of this life of the process */
	uint32_t life_messages;
	unsigned complaints, crashes, broken_reports, signatures;
	msec crashed_at[CRASHES_SAID];
	uint64_t trace;
} o;

void oracle_reset(void)
{
	for (uint32_t i = 0; i < o.count; i++)
		free(o.messages[i]);
	free(o.messages);
	free(o.taken);
	memset(&o, 0, sizeof(o));
}

void oracle_note(uint64_t what)
{
	o.trace = map_hash_u64(o.trace ^ what);
}

uint64_t oracle_trace(void)
{
	return o.trace;
}

void oracle_complain(const char *fmt, ...)
{
	va_list args;

	if (o.complaints++ >= SAID_MAX)
		return;
	va_start(args, fmt);
	fputs("sim: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
}

unsigned oracle_complaints(void)
{
	return o.complaints;
}

struct oracle_message *oracle_new(uint32_t *out_number)
{
	if (o.count == o.room) {
		o.room = o.room ? o.room * 2 : 64;
		o.messages = realloc(o.messages, o.room * sizeof(*o.messages));
		must(o.messages);
	}
	o.messages[o.count] = calloc(1, sizeof(struct oracle_message));
	must(o.messages[o.count]);
	*out_number = o.count;
	return o.messages[o.count++];
}

struct oracle_message *oracle_message(uint32_t number)
{
	return number < o.count ? o.messages[number] : NULL;
}

uint32_t oracle_count(void)
{
	return o.count;
}

struct oracle_rcpt *oracle_find(slice address, uint32_t *out_message, unsigned *out_n)
{
	ptrdiff_t dash = slice_find(address, '-'), at = slice_find(address, '@');
	uint64_t message, n;

	if (!slice_starts(address, SLICE("r")) || dash < 1 || at < dash ||
		!text_parse_uint(slice_sub(address, 1, (size_t)dash), UINT32_MAX, &message) ||
		!text_parse_uint(slice_sub(address, (size_t)dash + 1, (size_t)at), UINT32_MAX, &n))
		return NULL;
	struct oracle_message *m = oracle_message((uint32_t)message);

	if (!m || n >= m->rcpt_count)
		return NULL;
	*out_message = (uint32_t)message;
	*out_n = (unsigned)n;
	return &m->rcpts[n];
}

/* --- Deliveries --- */

void oracle_refused(struct oracle_rcpt *rcpt)
{
	rcpt->refused = true;
	rcpt->refused_at = clock_now();
}

void oracle_delivered(const struct delivery *d)
{
	struct oracle_rcpt *rcpt = &o.messages[d->message]->rcpts[d->n];

	oracle_note((uint64_t)d->message << 8 | d->n | (uint64_t)d->report << 7);
	oracle_note((uint64_t)clock_now());
	if (d->report)
		rcpt->reports++;
	else
		rcpt->deliveries++;
	if (o.taken_count == o.taken_room) {
		o.taken_room = o.taken_room ? o.taken_room * 2 : 256;
		o.taken = realloc(o.taken, o.taken_room * sizeof(*o.taken));
		must(o.taken);
	}
	o.taken[o.taken_count++] = (struct taken){ .d = *d, .at = clock_now() };
}

void oracle_report_again(void)
{
	o.broken_reports++;
}

void oracle_signed(void)
{
	o.signatures++;
}

static void excuse(struct taken *t)
{
	if (t->excused)
		return;
	t->excused = true;
	if (t->d.report)
		o.broken_reports++;
	else
		o.messages[t->d.message]->rcpts[t->d.n].excused++;
}

/* Those of the session's last transaction; back to front from i. */
static bool of_last(const struct delivery *last, size_t i)
{
	const struct taken *t = &o.taken[i];

	return t->d.session == last->session && t->d.transaction == last->transaction;
}

static const struct delivery *last_of(unsigned session)
{
	for (size_t i = o.taken_count; i > o.life_first; i--)
		if (o.taken[i - 1].d.session == session)
			return &o.taken[i - 1].d;
	return NULL;
}

void oracle_answered(unsigned session, bool gone)
{
	const struct delivery *last = last_of(session);

	for (size_t i = o.taken_count; last && i > o.life_first; i--) {
		if (!of_last(last, i - 1))
			continue;
		o.taken[i - 1].at = clock_now();
		o.taken[i - 1].d.late = false;
		if (gone)
			excuse(&o.taken[i - 1]);
	}
}

/* Its answer was not sent long enough ago to be sure of the result. */
static bool doubtful(const struct taken *t)
{
	return t->d.late || t->at >= clock_now() - WINDOW_MS;
}

void oracle_broken(unsigned session)
{
	for (size_t i = o.taken_count; i > o.life_first; i--) {
		struct taken *t = &o.taken[i - 1];

		if (t->d.session == session && doubtful(t))
			excuse(t);
	}
}

/* What a failing disk made the server refuse may have reached it all the same, and is found there
 * if the process ends before its next good write. */
static void doubt_refusals(void)
{
	for (uint32_t i = o.life_messages; i < o.count; i++)
		if (o.messages[i]->fate == FATE_REFUSED && o.messages[i]->complete)
			o.messages[i]->fate = FATE_UNKNOWN;
}

/* The report to the sender is durable before the result. */
static void doubt_reports(bool safe)
{
	for (uint32_t i = 0; i < o.count; i++)
		for (unsigned n = 0; n < o.messages[i]->rcpt_count; n++) {
			struct oracle_rcpt *r = &o.messages[i]->rcpts[n];

			if (r->refused_at && (!safe || r->refused_at >= clock_now() - WINDOW_MS))
				r->doubtful = true;
		}
}

static void end_life(void)
{
	o.life_messages = o.count;
	o.life_first = o.taken_count;
}

void oracle_stopped(bool safe)
{
	if (!safe)
		doubt_refusals();
	end_life();
}

void oracle_crashed(bool safe)
{
	if (!safe)
		doubt_refusals();
	doubt_reports(safe);
	for (size_t i = o.taken_count; i > o.life_first; i--)
		if (!safe || doubtful(&o.taken[i - 1]))
			excuse(&o.taken[i - 1]);
	end_life();
	if (o.crashes < CRASHES_SAID)
		o.crashed_at[o.crashes] = clock_now();
	o.crashes++;
}

/* --- Judgement --- */

static void say_history(uint32_t number, unsigned n)
{
	for (size_t i = 0; i < o.taken_count; i++) {
		const struct taken *t = &o.taken[i];

		if (t->d.message == number && t->d.n == n)
			fprintf(stderr, "sim:   %s at %lld in session %u%s\n",
				t->d.report ? "reported" : "taken", (long long)t->at, t->d.session,
				t->excused ? ", excused" : "");
	}
	for (unsigned i = 0; i < MIN(o.crashes, (unsigned)CRASHES_SAID); i++)
		fprintf(stderr, "sim:   crash at %lld\n", (long long)o.crashed_at[i]);
}

static void judge_rcpt(const struct oracle_message *m, uint32_t number, unsigned n)
{
	const struct oracle_rcpt *r = &m->rcpts[n];
	/* Ends the relay must have known of. */
	unsigned known = r->deliveries - r->excused + (r->reports > 0 && !r->doubtful);

	if (m->fate == FATE_ACCEPTED && r->taken && r->deliveries + r->reports == 0)
		oracle_complain("r%u-%u@%s was acknowledged and is lost", number, n, r->domain);
	if (!r->taken && r->deliveries + r->reports > 0)
		oracle_complain("r%u-%u@%s was refused at RCPT and came", number, n, r->domain);
	if (m->fate == FATE_REFUSED && r->deliveries + r->reports > 0)
		oracle_complain("r%u-%u@%s was refused and came", number, n, r->domain);
	if (known > 1) {
		oracle_complain("r%u-%u@%s: %u deliveries, %u excused, %u reports", number, n,
			r->domain, r->deliveries, r->excused, r->reports);
		say_history(number, n);
	}
	if (r->reports && !r->refused)
		oracle_complain("r%u-%u@%s: a failure was reported that nobody saw", number, n,
			r->domain);
	if (r->reports > 1 + o.crashes + o.broken_reports)
		oracle_complain("r%u-%u@%s: %u reports", number, n, r->domain, r->reports);
}

void oracle_judge(void)
{
	for (uint32_t i = 0; i < o.count; i++)
		for (unsigned n = 0; n < o.messages[i]->rcpt_count; n++)
			judge_rcpt(o.messages[i], i, n);
}

struct oracle_sums oracle_sums(void)
{
	struct oracle_sums s = { .signatures = o.signatures };

	for (uint32_t i = 0; i < o.count; i++) {
		const struct oracle_message *m = o.messages[i];

		s.accepted += m->fate == FATE_ACCEPTED;
		s.refused += m->fate == FATE_REFUSED;
		s.unknown += m->fate == FATE_UNKNOWN;
		for (unsigned n = 0; n < m->rcpt_count; n++) {
			s.deliveries += m->rcpts[n].deliveries;
			s.reports += m->rcpts[n].reports;
			s.doubles += m->rcpts[n].deliveries > 1 ? m->rcpts[n].deliveries - 1 : 0;
		}
	}
	return s;
}
