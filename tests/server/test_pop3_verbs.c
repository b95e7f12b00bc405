/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_pop3_verbs.c - walks the table: every verb in every state gives its handler or the documented
 * refusal; what closes a connection; what an idle one holds. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/log.h"
#include "server/pop3/pop3_int.h"
#include "tests/server/mailbox_house.h"

static const char *const way_to[POP3_STATES] = {
	[POP3_AUTHORIZATION] = "",
	[POP3_TRANSACTION] = "USER alice@own.test\r\nPASS secret\r\n",
};

/* Commands that are right for their verb, and how they are answered where they are allowed. */
static const struct {
	const char *name, *line, *answer;
} lines[] = {
	{ "RETR", "RETR 1", "+OK 17 octets" },
	{ "DELE", "DELE 1", "+OK\r\n" },
	{ "TOP", "TOP 1 0", "+OK 17 octets" },
	{ "LIST", "LIST", "+OK 1 messages (17 octets)" },
	{ "UIDL", "UIDL 1", "+OK 1 " },
	{ "STAT", "STAT", "+OK 1 17" },
	{ "NOOP", "NOOP", "+OK\r\n" },
	{ "RSET", "RSET", "+OK\r\n" },
	{ "USER", "USER alice@own.test", "+OK\r\n" },
	{ "PASS", "PASS secret", "-ERR Say USER first" },
	{ "AUTH", "AUTH PLAIN AGFsaWNlQG93bi50ZXN0AHNlY3JldA==", "+OK 1 messages" },
	{ "APOP", "APOP alice@own.test c4c9334bac560ecc979e58001b3e22fb",
		"-ERR Command not implemented" },
	{ "STLS", "STLS", "+OK Begin TLS" },
	{ "UTF8", "UTF8", "+OK " },
	{ "CAPA", "CAPA", "+OK Capabilities follow" },
	{ "LANG", "LANG en", "+OK en " },
	{ "QUIT", "QUIT", "+OK Goodbye" },
};

static void come_in(const char *config, enum pop3_state state)
{
	log_set_level(LOG_ERROR);
	house_open(SERVICE_POP3, config);
	house_deliver(SLICE("Subject: x\r\n\r\ny\r\n"));
	house_connect("127.0.0.1");
	house_send(slice_str(way_to[state]));
	house_replies();
}

static const char plain[] = "pop3: { plain_login: true }\n";

static void leave(void)
{
	house_close();
	house_done();
}

static slice ask(const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "%s\r\n", command);
	house_send(slice_str(line));
	return house_replies();
}

static bool says(slice replies, const char *what)
{
	return slice_starts(replies, slice_str(what));
}

static void try_verb(size_t i, enum pop3_state state)
{
	const struct pop3_verb *verb = pop3_verb_find(slice_str(lines[i].name));
	const char *refusal = state ? "-ERR Logged in already\r\n" : "-ERR Log in first\r\n";
	slice got;

	come_in(plain, state);
	cr_assert(verb, "%s is not in the table", lines[i].name);
	cr_assert_eq(((struct pop3_session *)house_session())->state, state);
	got = ask(lines[i].line);
	cr_assert(says(got, verb->states & 1 << state ? lines[i].answer : refusal),
		"%s in state %d: %.*s", lines[i].name, state, SLICE_ARG(got));
	house_close();
}

Test(pop3_verbs, every_verb_in_every_state)
{
	cr_assert_eq(pop3_verb_count, array_len(lines));
	for (size_t i = 0; i < array_len(lines); i++)
		for (int state = 0; state < POP3_STATES; state++)
			try_verb(i, (enum pop3_state)state);
	house_done();
}

Test(pop3_verbs, what_stands_behind_stls_is_not_taken_as_if_it_came_over_tls)
{
	come_in(plain, POP3_AUTHORIZATION);
	house_send(SLICE("STLS\r\nUSER mallory@own.test\r\n"));
	cr_assert(says(house_replies(), "-ERR This command must be the last of its group"));
	cr_assert(!house_tls());
	leave();
}

Test(pop3_verbs, copies_have_ids_of_their_own)
{
	come_in(plain, POP3_AUTHORIZATION);
	house_close();
	log_set_level(LOG_ERROR);
	house_open(SERVICE_IMAP, "imap: { plain_login: true }\n");
	house_deliver(SLICE("Subject: x\r\n\r\ny\r\n"));
	house_connect("127.0.0.1");
	house_send(SLICE("a LOGIN alice@own.test secret\r\nb SELECT INBOX\r\nc COPY 1 INBOX\r\n"));
	house_hang_up();
	house.door.service = SERVICE_POP3;
	house.door.setup->pop3 = &(struct pop3_options){ .plain_login = true,
		.line_max = 1024,
		.errors_max = 20,
		.login_ms = 1000,
		.idle_ms = 1000 };
	house_connect("127.0.0.1");
	house_send(slice_str(way_to[POP3_TRANSACTION]));
	house_replies();
	slice all = ask("UIDL"), line, first, second;

	slice_cut(&all, '\n', &line);
	slice_cut(&all, '\n', &first);
	slice_cut(&all, '\n', &second);
	cr_assert(slice_starts(first, SLICE("1 ")) && slice_starts(second, SLICE("2 ")));
	cr_assert(!slice_eq(slice_skip(first, 2), slice_skip(second, 2)), "%.*s",
		SLICE_ARG(second));
	leave();
}

Test(pop3_verbs, a_stopping_door_says_so)
{
	struct door_session *ds;

	come_in(plain, POP3_TRANSACTION);
	house.door.stopping = true;
	ds = container_of(list_first(&house.door.sessions), struct door_session, link);
	ds->stop(ds, DOOR_STOP_SOON);
	house_send(SLICE(""));
	cr_assert(says(house_replies(), "-ERR [SYS/TEMP] "));
	cr_assert(house_closed());
	leave();
}

Test(pop3_verbs, a_command_that_runs_when_the_door_stops_is_answered_first)
{
	slice got;

	come_in(plain, POP3_TRANSACTION);
	house.door.stopping = true;
	got = ask("LIST 1");
	cr_assert(says(got, "+OK 1 17\r\n-ERR [SYS/TEMP] "), "%.*s", SLICE_ARG(got));
	cr_assert(house_closed());
	leave();
}

Test(pop3_verbs, single_bytes_do_not_move_the_deadline)
{
	come_in(plain, POP3_TRANSACTION);
	for (int i = 0; i < 9; i++) {
		house_clock(60000);
		house_send(SLICE("N"));
		cr_assert(!house_closed());
	}
	house_clock(60000);
	cr_assert(house_closed());
	cr_assert_eq(house_replies().len, 0u, "RFC 1939 3: it is told nothing");
	leave();
}

Test(pop3_verbs, a_login_gives_the_longer_wait)
{
	come_in(plain, POP3_AUTHORIZATION);
	ask("USER alice@own.test");
	house_clock(2 * 60000);
	ask("PASS secret");
	house_clock(9 * 60000);
	cr_assert(says(ask("NOOP"), "+OK"));
	leave();
}

Test(pop3_verbs, failed_logins_give_their_seat_back_at_once)
{
	come_in("pop3: { plain_login: true }\nimap: { sessions: 1 }\n", POP3_AUTHORIZATION);
	for (int i = 0; i < 3; i++) {
		ask("USER alice@own.test");
		cr_assert(says(ask("PASS wrong"), "-ERR [AUTH] "));
	}
	ask("USER alice@own.test");
	cr_assert(says(ask("PASS secret"), "+OK 1 messages"));
	house_hang_up();
	house_connect("127.0.0.1");
	house_send(slice_str(way_to[POP3_TRANSACTION]));
	cr_assert(says(ask("NOOP"), "+OK"));
	leave();
}

/* docs/mailboxes.md promises it. */
Test(pop3_verbs, between_commands_nothing_is_held)
{
	struct pop3_session *s;

	come_in(plain, POP3_TRANSACTION);
	ask("RETR 1");
	ask("LIST");
	s = house_session();
	cr_assert(!s->work && !s->head.exchange);
	cr_assert_leq(sizeof(*s) + sizeof(*s->drop), (size_t)512);
	cr_assert_leq(s->arena.used_bytes, (size_t)256);
	leave();
}
