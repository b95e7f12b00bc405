/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ledger.c - letters, and the rules about them. */
#include "tests/sim/ledger.h"

#include <stdio.h>

#include "core/base/map.h"

static struct letter letters[LETTERS_MAX];
static uint32_t letter_count, now;
static unsigned views;
static struct {
	uint64_t validity;
	uint32_t owner[UIDS_MAX]; /* number + 1 */
} boxes[BOXES];

struct letter *ledger_new(uint32_t *out_number)
{
	if (letter_count == LETTERS_MAX)
		return NULL;
	*out_number = letter_count;
	return &letters[letter_count++];
}

struct letter *ledger_letter(uint32_t number)
{
	return number < letter_count ? &letters[number] : NULL;
}

void ledger_answered(struct stay *stay, int answer)
{
	stay->fate = answer < 0 ? FATE_UNKNOWN : answer ? FATE_ACCEPTED : FATE_REFUSED;
	if (answer > 0)
		stay->accepted_at = ++now;
	oracle_note((uint64_t)(stay - letters[0].in) << 2 | (unsigned)(answer + 1));
}

void ledger_remove_asked(unsigned box, uint32_t number)
{
	letters[number].in[box].maybe_at = ++now;
}

void ledger_removed(unsigned box, uint32_t number)
{
	letters[number].in[box].gone_at = ++now;
	oracle_note((uint64_t)number << 8 | box);
}

void ledger_crashed(bool faulty_disk)
{
	for (uint32_t i = 0; i < letter_count && faulty_disk; i++)
		for (unsigned box = 0; box < BOXES; box++) {
			struct stay *stay = &letters[i].in[box];

			if (stay->fate == FATE_REFUSED && stay->complete)
				stay->fate = FATE_UNKNOWN;
		}
}

void ledger_validity(unsigned box, uint64_t validity)
{
	if (boxes[box].validity && boxes[box].validity != validity)
		oracle_complain("box%u: UIDVALIDITY %llu was %llu", box,
			(unsigned long long)validity, (unsigned long long)boxes[box].validity);
	boxes[box].validity = validity;
}

void view_begin(struct view *v, unsigned box)
{
	memset(v, 0, sizeof(*v));
	v->box = box;
	v->began = ++now;
	views++;
}

static void check_uid(unsigned box, uint32_t number, struct stay *stay, uint32_t uid)
{
	uint32_t *owner = uid < UIDS_MAX ? &boxes[box].owner[uid] : NULL;

	if (!owner)
		oracle_complain("box%u: uid %u", box, uid);
	else if (*owner && *owner != number + 1)
		oracle_complain("box%u: uid %u was letter %u, is letter %u", box, uid, *owner - 1,
			number);
	else
		*owner = number + 1;
	if (stay->uid && stay->uid != uid)
		oracle_complain("box%u: letter %u has uids %u and %u", box, number, stay->uid, uid);
	stay->uid = uid;
}

void view_sees(struct view *v, uint32_t number, uint32_t uid, uint64_t uidl)
{
	struct letter *letter = ledger_letter(number);
	struct stay *stay = letter ? &letter->in[v->box] : NULL;

	if (!stay || !stay->meant) {
		oracle_complain("box%u: letter %u was never meant for it", v->box, number);
		return;
	}
	if (v->seen[number]++)
		oracle_complain("box%u: letter %u is there twice", v->box, number);
	else
		v->seen_count++;
	if (stay->fate == FATE_REFUSED)
		oracle_complain("box%u: letter %u was refused, and is there", v->box, number);
	if (stay->gone_at && stay->gone_at < v->began)
		oracle_complain("box%u: letter %u was removed, and is there", v->box, number);
	if (uid)
		check_uid(v->box, number, stay, uid);
	if (uidl && stay->uidl && stay->uidl != uidl)
		oracle_complain("box%u: letter %u has two unique ids", v->box, number);
	stay->uidl = uidl ? uidl : stay->uidl;
	oracle_note((uint64_t)number << 32 | uid);
}

void view_end(const struct view *v)
{
	for (uint32_t i = 0; i < letter_count && !v->partial; i++) {
		const struct stay *stay = &letters[i].in[v->box];
		bool must = stay->accepted_at && stay->accepted_at < v->began && !stay->maybe_at;

		if (must && !v->seen[i])
			oracle_complain("box%u: letter %u was acknowledged, and is not there",
				v->box, i);
	}
}

size_t letter_line(char line[LETTER_LINE], uint32_t number, unsigned i)
{
	uint64_t mix = map_hash_u64((uint64_t)number << 32 | i);

	return (size_t)snprintf(line, LETTER_LINE, "%sline %u of letter %u: %0*llu\r\n",
		mix % 5 ? "" : ".", i, number, (int)(mix % 60), (unsigned long long)(mix >> 40));
}

struct ledger_sums ledger_sums(void)
{
	struct ledger_sums s = { .letters = letter_count, .views = views };

	for (uint32_t i = 0; i < letter_count; i++)
		for (unsigned box = 0; box < BOXES; box++) {
			const struct stay *stay = &letters[i].in[box];

			s.accepted += stay->meant && stay->fate == FATE_ACCEPTED;
			s.refused += stay->meant && stay->fate == FATE_REFUSED;
			s.unknown += stay->meant && stay->fate == FATE_UNKNOWN;
			s.removed += stay->gone_at != 0;
		}
	return s;
}
