/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mail_clients.c - who delivers by SMTP and LMTP, who reads by POP3 and IMAP. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/map.h"
#include "core/fiber.h"
#include "core/worker.h"
#include "tests/sim/mail_town.h"

struct mail_audit mail_audit;

/* A look at a mailbox in an audit must succeed. */
static bool failed(const struct talk *t, const char *what)
{
	if (mail_audit.on)
		oracle_complain("at the audit: %s: %s", what, t->line);
	return false;
}

/* --- Delivery --- */

/* The code of the next reply; -1: the connection is over. */
static int reply(struct talk *t)
{
	do
		if (!talk_line(t))
			return -1;
	while (t->len > 3 && t->line[3] == '-');
	return (int)strtol(t->line, NULL, 10);
}

static bool conclude(struct talk *t, struct letter *letter, bool lmtp)
{
	int code = -1;

	for (unsigned box = 0; box < BOXES; box++)
		if (letter->in[box].meant) {
			letter->in[box].fate = FATE_UNKNOWN;
			letter->in[box].complete = true;
		}
	talk_send(t, ".\r\n");
	if (town_bad(30)) { /* away without waiting for the answer */
		(void)talk_flush(t);
		return false;
	}
	for (unsigned box = 0, first = true; box < BOXES; box++) {
		if (!letter->in[box].meant)
			continue;
		if (lmtp || first)
			code = reply(t);
		first = false;
		ledger_answered(&letter->in[box], code < 0 ? -1 : code == 250);
	}
	return code > 0 && code != 421;
}

static bool send_letter(struct talk *t, bool lmtp)
{
	uint32_t number;
	struct letter *letter = letter_make(&number, 1 + (unsigned)sim_random((1 << BOXES) - 1));
	unsigned taken = 0;

	if (!letter)
		return false;
	talk_send(t, "MAIL FROM:<a@far.test>\r\n");
	if (reply(t) != 250)
		return false;
	for (unsigned box = 0; box < BOXES; box++) {
		if (!letter->in[box].meant)
			continue;
		talk_send(t, "RCPT TO:<box%u@" MAIL_TOWN_DOMAIN ">\r\n", box);
		int code = reply(t);

		letter->in[box].meant = code == 250;
		taken += code == 250;
		if (code < 0 || code == 421)
			return false;
	}
	talk_send(t, taken ? "DATA\r\n" : "RSET\r\n");
	if (reply(t) != (taken ? 354 : 250))
		return false;
	return !taken || (letter_send(t, number, letter, true) && conclude(t, letter, lmtp));
}

void deliver_smtp(struct talk *t, bool lmtp)
{
	unsigned letters = 1 + (unsigned)sim_random(6);
	bool good = reply(t) == 220;

	talk_send(t, "%s client.test\r\n", lmtp ? "LHLO" : "EHLO");
	good = good && reply(t) == 250;
	while (good && letters-- && town.left && !town.stopping) {
		town.left--;
		good = send_letter(t, lmtp);
	}
	talk_close(t, !good);
}

/* --- POP3 --- */

struct drop {
	struct view view;
	uint32_t count;
	uint32_t *numbers; /* letters by message number; UINT32_MAX: not known */
	uint64_t *uidls;
};

static bool pop3_ask(struct talk *t, const char *command)
{
	talk_send(t, "%s\r\n", command);
	return talk_line(t) && talk_starts(t, "+OK");
}

static bool pop3_list_ids(struct talk *t, struct drop *d)
{
	if (!pop3_ask(t, "UIDL"))
		return false;
	while (talk_line(t) && strcmp(t->line, ".") != 0) {
		char *id;
		unsigned long n = strtoul(t->line, &id, 10);
		static const struct map_seed seed = { 1, 2 };

		if (n < 1 || n > d->count || *id != ' ')
			oracle_complain("UIDL says %s", t->line);
		else
			d->uidls[n] = map_hash(&seed, slice_str(id + 1)) | 1;
	}
	return strcmp(t->line, ".") == 0;
}

/* False: the connection is over. */
static bool pop3_look_at(struct talk *t, struct drop *d, uint32_t n)
{
	char command[32];

	snprintf(command, sizeof(command), "TOP %u 0", n);
	if (!pop3_ask(t, command)) {
		d->view.partial = d->view.partial || !strstr(t->line, "removed");
		return talk_starts(t, "-ERR");
	}
	while (talk_line(t) && strcmp(t->line, ".") != 0)
		if (talk_starts(t, "Subject: "))
			(void)letter_number(t->line, &d->numbers[n]);
	if (strcmp(t->line, ".") != 0)
		return false;
	if (d->numbers[n] == UINT32_MAX)
		oracle_complain("message %u of box%u has no number", n, d->view.box);
	else
		view_sees(&d->view, d->numbers[n], 0, d->uidls[n]);
	return true;
}

static bool pop3_look(struct talk *t, struct drop *d)
{
	if (!pop3_ask(t, "STAT"))
		return false;
	d->count = (uint32_t)strtoul(t->line + 4, NULL, 10);
	d->numbers = malloc((d->count + 1) * sizeof(*d->numbers));
	d->uidls = calloc(d->count + 1, sizeof(*d->uidls));
	must(d->numbers && d->uidls);
	memset(d->numbers, 0xff, (d->count + 1) * sizeof(*d->numbers));
	if (!pop3_list_ids(t, d))
		return false;
	for (uint32_t n = 1; n <= d->count; n++)
		if (!pop3_look_at(t, d, n))
			return false;
	view_end(&d->view);
	return true;
}

/* Every byte of the body is what was sent. */
static bool pop3_retrieve(struct talk *t, struct drop *d, uint32_t n)
{
	const struct letter *letter = ledger_letter(d->numbers[n]);
	bool in_body = false;
	unsigned lines = 0;
	char command[32], want[LETTER_LINE + 2];

	snprintf(command, sizeof(command), "RETR %u", n);
	if (!letter || !pop3_ask(t, command))
		return talk_starts(t, "-ERR") || !letter;
	while (talk_line(t) && strcmp(t->line, ".") != 0) {
		if (in_body) {
			size_t len = letter_line(want + 1, d->numbers[n], lines++);
			bool dot = want[1] == '.';

			want[0] = '.';
			want[1 + len - 2] = '\0';
			if (strcmp(t->line, dot ? want : want + 1) != 0)
				oracle_complain("box%u: letter %u: %s", d->view.box, d->numbers[n],
					t->line);
		}
		in_body = in_body || t->len == 0;
	}
	if (strcmp(t->line, ".") != 0)
		return false;
	if (lines != letter->lines)
		oracle_complain("box%u: letter %u has %u lines, not %u", d->view.box, d->numbers[n],
			lines, letter->lines);
	return true;
}

/* Marks some, and says goodbye, or just leaves: then nothing may go. */
static bool pop3_remove(struct talk *t, struct drop *d)
{
	bool quit = sim_random(4) != 0;
	char command[32];
	bool marked = false;

	for (uint32_t n = 1; n <= d->count; n++) {
		if (d->numbers[n] == UINT32_MAX || sim_random(4))
			continue;
		snprintf(command, sizeof(command), "DELE %u", n);
		if (pop3_ask(t, command))
			marked = true;
		else if (talk_starts(t, "-ERR"))
			d->numbers[n] = UINT32_MAX;
		else
			return false;
		d->uidls[n] = 0; /* asked for */
	}
	for (uint32_t n = 1; n <= d->count && quit; n++)
		if (d->numbers[n] != UINT32_MAX && !d->uidls[n])
			ledger_remove_asked(d->view.box, d->numbers[n]);
	if (!quit || !pop3_ask(t, "QUIT"))
		return false;
	for (uint32_t n = 1; n <= d->count && marked; n++)
		if (d->numbers[n] != UINT32_MAX && !d->uidls[n])
			ledger_removed(d->view.box, d->numbers[n]);
	return true;
}

static bool pop3_session(struct talk *t, struct drop *d, unsigned box)
{
	char command[64];

	snprintf(command, sizeof(command), "USER box%u@" MAIL_TOWN_DOMAIN, box);
	if (!talk_line(t) || !pop3_ask(t, command))
		return failed(t, "USER");
	view_begin(&d->view, box);
	if (!pop3_ask(t, "PASS " MAIL_TOWN_PASSWORD))
		return failed(t, "PASS");
	if (!pop3_look(t, d) || (mail_audit.on && d->view.partial))
		return failed(t, "reading by POP3");
	for (uint32_t n = 1; n <= d->count; n++)
		if ((mail_audit.on || sim_random(8) == 0) && !pop3_retrieve(t, d, n))
			return failed(t, "RETR");
	return mail_audit.on ? pop3_ask(t, "QUIT") : pop3_remove(t, d);
}

void read_pop3(struct talk *t, unsigned box)
{
	struct drop *d = calloc(1, sizeof(*d));

	must(d);
	talk_close(t, !pop3_session(t, d, box));
	free(d->numbers);
	free(d->uidls);
	free(d);
}

/* --- IMAP --- */

struct imap_reader {
	struct view view;
	uint32_t numbers[UIDS_MAX]; /* number + 1 of a letter by uid */
	uint32_t last;
};

static bool imap_ask(struct talk *t, const char *command)
{
	talk_send(t, "t %s\r\n", command);
	return talk_until(t, "t ") && talk_starts(t, "t OK");
}

static bool imap_select(struct talk *t, unsigned box)
{
	talk_send(t, "t SELECT INBOX\r\n");
	while (talk_line(t)) {
		const char *at = strstr(t->line, "UIDVALIDITY ");

		if (at)
			ledger_validity(box, strtoull(at + 12, NULL, 10));
		if (talk_starts(t, "t "))
			return talk_starts(t, "t OK");
	}
	return false;
}

/* What was moved there counts for the sum of all. */
static bool imap_count_archive(struct talk *t)
{
	talk_send(t, "t SELECT Archive\r\n");
	while (talk_line(t) && !talk_starts(t, "t "))
		if (talk_starts(t, "* ") && strstr(t->line, " EXISTS"))
			mail_audit.kept += strtoull(t->line + 2, NULL, 10);
	return talk_starts(t, "t OK") || failed(t, "SELECT Archive");
}

static void imap_take(struct talk *t, struct imap_reader *r)
{
	const char *at = strstr(t->line, "UID ");
	uint32_t uid = at ? (uint32_t)strtoul(at + 4, NULL, 10) : 0, number;

	if (!strstr(t->line, " FETCH ") || !strstr(t->line, "ENVELOPE"))
		return;
	if (!uid || uid >= UIDS_MAX || !letter_number(t->line, &number)) {
		oracle_complain("FETCH says %s", t->line);
		return;
	}
	view_sees(&r->view, number, uid, 0);
	r->numbers[uid] = number + 1;
	r->last = MAX(r->last, uid);
}

static bool imap_look(struct talk *t, struct imap_reader *r)
{
	talk_send(t, "t UID FETCH 1:* (UID ENVELOPE)\r\n");
	while (talk_line(t)) {
		if (talk_starts(t, "t ")) {
			r->view.partial = !talk_starts(t, "t OK");
			view_end(&r->view);
			return !r->view.partial;
		}
		imap_take(t, r);
	}
	return false;
}

/* By STORE and UID EXPUNGE, or by MOVE: both take it out of INBOX. */
static bool imap_remove(struct talk *t, struct imap_reader *r)
{
	char set[512], command[600];
	struct out o = out_fixed(set, sizeof(set) - 16);
	bool move = sim_random(3) == 0;

	for (uint32_t uid = 1; uid <= r->last && o.len < 400; uid++)
		if (r->numbers[uid] && sim_random(3) == 0)
			out_printf(&o, "%s%u", o.len ? "," : "", uid);
		else
			r->numbers[uid] = 0;
	if (!o.len)
		return true;
	set[o.len] = '\0';
	snprintf(command, sizeof(command), "UID STORE %s +FLAGS.SILENT (\\Deleted)", set);
	if (!move && !imap_ask(t, command))
		return false;
	for (uint32_t uid = 1; uid <= r->last; uid++)
		if (r->numbers[uid])
			ledger_remove_asked(r->view.box, r->numbers[uid] - 1);
	snprintf(command, sizeof(command), move ? "UID MOVE %s Archive" : "UID EXPUNGE %s", set);
	if (!imap_ask(t, command))
		return false;
	for (uint32_t uid = 1; uid <= r->last; uid++)
		if (r->numbers[uid])
			ledger_removed(r->view.box, r->numbers[uid] - 1);
	return true;
}

static bool imap_append(struct talk *t, unsigned box)
{
	uint32_t number;
	struct letter *letter = letter_make(&number, 1u << box);

	if (!letter)
		return true;
	talk_send(t, "t APPEND INBOX {%zu}\r\n", letter_bytes(number, letter));
	do
		if (!talk_line(t) || talk_starts(t, "t "))
			return false;
	while (!talk_starts(t, "+"));
	if (!letter_send(t, number, letter, false))
		return false;
	letter->in[box].fate = FATE_UNKNOWN;
	letter->in[box].complete = true;
	talk_send(t, "\r\n");
	bool told = talk_until(t, "t ");

	ledger_answered(&letter->in[box], told ? talk_starts(t, "t OK") : -1);
	return told;
}

static bool imap_session(struct talk *t, struct imap_reader *r, unsigned box)
{
	char command[64];

	snprintf(command, sizeof(command), "LOGIN box%u@" MAIL_TOWN_DOMAIN " " MAIL_TOWN_PASSWORD,
		box);
	if (!talk_line(t) || !imap_ask(t, command))
		return failed(t, "LOGIN");
	view_begin(&r->view, box);
	if (!imap_select(t, box) || !imap_look(t, r))
		return failed(t, "reading by IMAP");
	if (box == MAIL_SMALL_BOX && r->view.seen_count > MAIL_SMALL_LETTERS)
		oracle_complain("box%u: %u letters, and %u are allowed", box,
			(unsigned)r->view.seen_count, MAIL_SMALL_LETTERS);
	if (!mail_audit.on)
		return (sim_random(2) ? imap_append(t, box) : imap_remove(t, r)) &&
			imap_ask(t, "LOGOUT");
	uint64_t before = mail_audit.kept;

	mail_audit.kept += r->view.seen_count;
	if (!imap_count_archive(t))
		return false;
	if (box == MAIL_SMALL_BOX && mail_audit.kept - before > MAIL_SMALL_LETTERS)
		oracle_complain("box%u: %u letters with Archive, and %u are allowed", box,
			(unsigned)(mail_audit.kept - before), MAIL_SMALL_LETTERS);
	return true;
}

void read_imap(struct talk *t, unsigned box)
{
	struct imap_reader *r = calloc(1, sizeof(*r));

	must(r);
	talk_close(t, !imap_session(t, r, box));
	free(r);
}

/* --- A client --- */

static void do_one(unsigned kind, unsigned box)
{
	static const uint16_t ports[] = { 25, 24, 110, 143 };
	struct talk *t = calloc(1, sizeof(*t));

	must(t);
	if (talk_open(t, ports[kind]))
		switch (kind) {
		case 0:
		case 1:
			deliver_smtp(t, kind == 1);
			break;
		case 2:
			read_pop3(t, box);
			break;
		default:
			read_imap(t, box);
		}
	else
		(void)failed(t, "no connection");
	free(t);
}

static void audit(void)
{
	for (unsigned box = 0; box < BOXES; box++)
		for (unsigned kind = 2; kind < 4; kind++)
			do_one(kind, box);
	mail_audit.done++;
}

static void run_client(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg;

	if (mail_audit.on)
		audit();
	while (!mail_audit.on && !town.stopping && (n % 4 >= 2 || town.left)) {
		if (fiber_sleep((msec)sim_random((uint64_t)town.pause_ms + 1)))
			break;
		do_one(n % 4, (unsigned)sim_random(BOXES));
	}
	town.busy--;
}

void client_start(struct worker *w, unsigned n)
{
	town.busy++;
	must(fiber_start(w, run_client, (void *)(uintptr_t)n) == OK);
}
