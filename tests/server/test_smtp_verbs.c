/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_smtp_verbs.c - walks the table: every verb in every state of every door gives its handler or the
 * documented refusal. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/log.h"
#include "server/smtp/smtp_int.h"
#include "tests/server/house.h"

/* The commands that bring a session from the greeting to a state. */
static const char *const way_to[SMTP_STATES] = {
	[SMTP_NEW] = "",
	[SMTP_GREETED] = "%HLO x\r\n",
	[SMTP_MAIL] = "%HLO x\r\n|MAIL FROM:<alice@own.test>\r\n",
	[SMTP_RCPT] = "%HLO x\r\n|MAIL FROM:<alice@own.test>\r\n|RCPT TO:<b@own.test>\r\n",
	[SMTP_BDAT] =
		"%HLO x\r\n|MAIL FROM:<alice@own.test>\r\n|RCPT TO:<b@own.test>\r\n|BDAT 3\r\na:b",
};

/* Lines that are right for their verb. */
static const struct {
	const char *name, *line;
} lines[] = {
	{ "MAIL", "MAIL FROM:<alice@own.test>\r\n" },
	{ "RCPT", "RCPT TO:<b@own.test>\r\n" },
	{ "DATA", "DATA\r\n" },
	{ "BDAT", "BDAT 2\r\nxy" },
	{ "EHLO", "EHLO y\r\n" },
	{ "HELO", "HELO y\r\n" },
	{ "LHLO", "LHLO y\r\n" },
	{ "RSET", "RSET\r\n" },
	{ "NOOP", "NOOP\r\n" },
	{ "QUIT", "QUIT\r\n" },
	{ "STARTTLS", "STARTTLS\r\n" },
	{ "AUTH", "AUTH LOGIN\r\n" },
	{ "VRFY", "VRFY x\r\n" },
	{ "EXPN", "EXPN x\r\n" },
	{ "HELP", "HELP\r\n" },
};

static void say(const char *text, bool lmtp)
{
	char line[256];
	slice all = slice_str(text), part;

	while (slice_cut(&all, '|', &part)) {
		snprintf(line, sizeof(line), "%.*s", SLICE_ARG(part));
		if (line[0] == '%')
			line[0] = lmtp ? 'L' : 'E';
		house_send(slice_str(line));
	}
}

/* What the row promises in this state; 0: the handler's own answer. */
static unsigned promised(const struct smtp_verb *verb, int state)
{
	if (verb->states & 1 << state)
		return 0;
	return 503;
}

static unsigned code_of(slice reply)
{
	slice line, last = SLICE("000");

	while (slice_cut(&reply, '\n', &line))
		if (line.len > 3)
			last = line;
	return (unsigned)(last.ptr[0] - '0') * 100 + (unsigned)(last.ptr[1] - '0') * 10 +
		(unsigned)(last.ptr[2] - '0');
}

static void try_verb(enum door_kind kind, size_t i, int state)
{
	const struct smtp_verb *verb;
	struct smtp_session *s;
	unsigned code;

	house_open(kind, "smtp: { plain_login: true }\n");
	house_connect("127.0.0.1");
	say(way_to[state], kind == SERVICE_LMTP);
	s = house_session();
	cr_assert_eq(s->state, state, "%s: state %d not reached", service_words[kind], state);
	house_replies();
	verb = smtp_verb_find(s, slice_str(lines[i].name));
	house_send(slice_str(lines[i].line));
	code = code_of(house_replies());
	if (!verb)
		cr_assert_eq(code, 500, "%s is unknown to %s", lines[i].name, service_words[kind]);
	else if (promised(verb, state))
		cr_assert_eq(code, promised(verb, state), "%s %s in state %d: %u",
			service_words[kind], lines[i].name, state, code);
	else
		cr_assert_neq(code, 503, "%s %s in state %d was refused", service_words[kind],
			lines[i].name, state);
	house_close();
}

Test(smtp_verbs, every_verb_in_every_state)
{
	log_set_level(LOG_ERROR);
	cr_assert_eq(smtp_verb_count, array_len(lines));
	for (size_t i = 0; i < array_len(lines); i++)
		for (int state = SMTP_NEW; state < SMTP_STATES; state++) {
			try_verb(SERVICE_SMTP, i, state);
			try_verb(SERVICE_LMTP, i, state);
		}
}

Test(smtp_verbs, submission_wants_a_login_for_mail)
{
	log_set_level(LOG_ERROR);
	house_open(SERVICE_SUBMISSION, NULL);
	house_connect("192.0.2.1");
	house_send(SLICE("EHLO x\r\n"));
	cr_assert(slice_search(house_replies(), SLICE("250-AUTH")) < 0, "no AUTH in clear");
	house_send(SLICE("MAIL FROM:<alice@own.test>\r\n"));
	cr_assert_eq(code_of(house_replies()), 530);
	house_send(SLICE("AUTH PLAIN AGFsaWNlQG93bi50ZXN0AHNlY3JldA==\r\n"));
	cr_assert_eq(code_of(house_replies()), 538);
	house_close();
}

Test(smtp_verbs, store_trouble_is_452)
{
	static const struct {
		enum err err;
		unsigned code;
	} rows[] = { { ERR_NOSPACE, 452 }, { ERR_IO, 452 }, { ERR_BUSY, 452 },
		{ ERR_STOPPED, 421 } };

	log_set_level(LOG_ERROR);
	for (size_t i = 0; i < array_len(rows); i++) {
		house_open(SERVICE_SMTP, NULL);
		house.admit_err = rows[i].err;
		house_connect("192.0.2.1");
		house_send(SLICE("HELO x\r\n"));
		house_send(SLICE("MAIL FROM:<>\r\n"));
		cr_assert_eq(code_of(house_replies()), rows[i].code, "at MAIL: %s",
			err_name(rows[i].err));
		house_close();
	}
}

Test(smtp_verbs, nothing_is_accepted_when_the_disk_fails)
{
	log_set_level(LOG_ERROR);
	house_open(SERVICE_SMTP, NULL);
	house.submit_err = ERR_IO;
	house_connect("192.0.2.1");
	house_send(SLICE("HELO x\r\n"));
	house_send(SLICE("MAIL FROM:<>\r\nRCPT TO:<a@own.test>\r\nDATA\r\n"));
	house_replies();
	house_send(SLICE("a: b\r\n\r\n.\r\n"));
	cr_assert_eq(code_of(house_replies()), 452);
	cr_assert_eq(house.submitted, 0u);
	house_close();
}

Test(smtp_verbs, a_stopping_door_says_goodbye)
{
	struct door_session *ds;

	log_set_level(LOG_ERROR);
	house_open(SERVICE_SMTP, NULL);
	house_connect("192.0.2.1");
	house_replies();
	house.door.stopping = true;
	ds = container_of(list_first(&house.door.sessions), struct door_session, link);
	ds->stop(ds, DOOR_STOP_SOON);
	house_clock(0);
	house_send(SLICE(""));
	cr_assert_eq(code_of(house_replies()), 421);
	cr_assert(house_closed());
	house_close();
}
