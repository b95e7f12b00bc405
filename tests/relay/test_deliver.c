/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole relay against a scripted next hop: what is submitted arrives once, or is reported. */
#include "tests/relay/peer.h"
#include "tests/relay/rig.h"

#include <netinet/in.h>

#include "core/fiber.h"
#include "core/post.h"
#include "relay/relay_int.h"
#include "relay/tlspol.h"

#define HEADER "From: a@s.test\r\nTo: b@d.test\r\nSubject: hi\r\n"
static const char hello[] = HEADER "\r\n.dot\r\nbody\r\n";

static struct peer *peer;
static char yaml[2000];
static struct rig the;

/* A route of all mail to the peer; `more` are lines below relay:, `row` members of the route. */
static const char *route(const char *more, const char *row)
{
	snprintf(yaml, sizeof(yaml),
		"relay:\n  retry: { first: 200ms, factor: 2, max: 1s, expire: 3s, warn: 0 }\n"
		"  idle: 200ms\n%s"
		"  routes:\n    - { domain: \"*\", hosts: [ 127.0.0.1 ], port: %u%s }\n",
		more, peer->port, row);
	return yaml;
}

static void begin(unsigned workers)
{
	peer = peer_start(0);
	rig_make(&the, workers);
}

static void finish(void)
{
	peer_stop(peer);
	rig_remove(&the);
}

static bool arrived(void *arg)
{
	return atomic_load(&peer->count) >= *(unsigned *)arg;
}

static void give(struct rig *rig, struct worker *w, const char *to, const char *text)
{
	struct rig_mail mail = { .from = "a@s.test", .to = to, .text = text };

	check(rig_send(rig, w, &mail, NULL) == OK);
}

/* ---------------------------------------------------------------------------------------------- */

static void send_one(struct rig *rig, struct worker *w)
{
	give(rig, w, "b@d.test", hello);
	check(rig_idle(w, 20000));
}

Test(deliver, message_arrives_as_it_was_given)
{
	begin(1);
	rig_run(&the, route("", ""), send_one);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_str_eq(peer->messages[0].data, HEADER "\r\n..dot\r\nbody\r\n");
	cr_assert(strstr(peer->messages[0].mail, "<a@s.test>"));
	cr_assert_eq(peer->messages[0].rcpt_count, 1u);
	finish();
}

Test(deliver, bdat_leaves_dots_alone)
{
	begin(1);
	peer->ehlo = "250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME";
	rig_run(&the, route("", ""), send_one);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert(peer->messages[0].bdat);
	cr_assert_str_eq(peer->messages[0].data, hello);
	finish();
}

Test(deliver, works_without_pipelining)
{
	begin(1);
	peer->ehlo = "250 HELP";
	rig_run(&the, route("", ""), send_one);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	finish();
}

static void send_many(struct rig *rig, struct worker *w)
{
	for (int i = 0; i < 500; i++) {
		char to[64];

		snprintf(to, sizeof(to), "u%d@d%d.test", i, i % 7);
		give(rig, w, to, hello);
	}
	check(rig_idle(w, 60000));
}

Test(deliver, many_arrive_once_over_few_connections)
{
	begin(2);
	rig_run(&the, route("  connections: 4\n  messages_per_connection: 50\n", ""), send_many);
	cr_assert_eq(atomic_load(&peer->count), 500u);
	for (int i = 0; i < 500; i++) {
		char to[64];

		snprintf(to, sizeof(to), "<u%d@", i);
		cr_assert_eq(peer_rcpts(peer, to), 1u, "%s", to);
	}
	cr_assert_geq(atomic_load(&peer->sessions), 10u);
	cr_assert_leq(atomic_load(&peer->sessions), 200u);
	finish();
}

static void send_three(struct rig *rig, struct worker *w)
{
	give(rig, w, "x@d.test y@d.test z@d.test", hello);
	check(rig_idle(w, 20000));
}

Test(deliver, recipients_of_one_domain_share_a_transaction)
{
	begin(1);
	rig_run(&the, route("", ""), send_three);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_eq(peer->messages[0].rcpt_count, 3u);
	finish();
}

Test(deliver, recipients_beyond_the_limit_get_a_further_transaction)
{
	begin(1);
	rig_run(&the, route("", ", recipients_per_message: 2"), send_three);
	cr_assert_eq(atomic_load(&peer->count), 2u);
	cr_assert_eq(peer_rcpts(peer, "<x@") + peer_rcpts(peer, "<y@") + peer_rcpts(peer, "<z@"),
		3u);
	finish();
}

static void send_to_three_domains(struct rig *rig, struct worker *w)
{
	give(rig, w, "x@d.test y@e.test z@f.test", hello);
	check(rig_idle(w, 20000));
}

/* RFC 9422 4.3: all three domains go to the same host, which takes two in a transaction. */
Test(deliver, domains_beyond_the_peers_limit_get_a_further_transaction)
{
	begin(1);
	peer->ehlo = "250-PIPELINING\r\n250 LIMITS RCPTDOMAINMAX=2";
	rig_run(&the, route("", ", connections: 1"), send_to_three_domains);
	cr_assert_eq(atomic_load(&peer->count), 2u);
	cr_assert_eq(peer_rcpts(peer, "<x@") + peer_rcpts(peer, "<y@") + peer_rcpts(peer, "<z@"),
		3u);
	for (unsigned i = 0; i < atomic_load(&peer->count); i++)
		cr_assert_leq(peer->messages[i].rcpt_count, 2u);
	finish();
}

/* ---------------------------------------------------------------------------------------------- */

static const char *refuse_y(struct peer *p, unsigned session, const char *line)
{
	return strstr(line, "<y@") ? "550 5.1.1 no y here" : NULL;
}

static bool report_came(void *arg)
{
	return peer_rcpts(peer, "<a@s.test>") > 0;
}

static void send_and_see_report(struct rig *rig, struct worker *w)
{
	give(rig, w, "x@d.test y@d.test z@d.test", hello);
	check(rig_wait(report_came, NULL, 20000));
	check(rig_idle(w, 20000));
}

static const char *report(void)
{
	for (unsigned i = 0; i < atomic_load(&peer->count); i++)
		if (strstr(peer->messages[i].mail, "FROM:<>"))
			return peer->messages[i].data;
	return "";
}

Test(deliver, refused_recipient_is_reported_to_the_sender)
{
	begin(2);
	peer->script = refuse_y;
	rig_run(&the, route("", ""), send_and_see_report);
	cr_assert_eq(atomic_load(&peer->count), 2u);
	cr_assert_eq(peer_rcpts(peer, "<x@") + peer_rcpts(peer, "<z@"), 2u);
	cr_assert(strstr(report(), "Final-Recipient: rfc822;y@d.test") ||
			strstr(report(), "Final-Recipient: rfc822; y@d.test"),
		"%s", report());
	cr_assert(strstr(report(), "550 5.1.1 no y here"));
	cr_assert(strstr(report(), "Subject: hi"));
	cr_assert_null(strstr(report(), "x@d.test\r\nAction"));
	finish();
}

static const char *refuse_all_from_null(struct peer *p, unsigned session, const char *line)
{
	return strncmp(line, "RCPT", 4) == 0 ? "550 5.1.1 nobody" : NULL;
}

Test(deliver, report_itself_is_never_reported)
{
	begin(1);
	peer->script = refuse_all_from_null;
	rig_run(&the, route("", ""), send_one);
	cr_assert_eq(atomic_load(&peer->count), 0u);
	/* The message and one report, no more. */
	cr_assert_eq(atomic_load(&peer->mails), 2u);
	finish();
}

static const char *later_twice(struct peer *p, unsigned session, const char *line)
{
	return strncmp(line, "RCPT", 4) == 0 && atomic_load(&p->mails) <= 2 ? "450 4.2.1 later" :
									      NULL;
}

Test(deliver, deferred_recipient_comes_back)
{
	begin(2);
	peer->script = later_twice;
	rig_run(&the, route("", ""), send_one);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_eq(atomic_load(&peer->mails), 3u);
	finish();
}

static const char *always_later(struct peer *p, unsigned session, const char *line)
{
	return strstr(line, "RCPT TO:<b@") ? "450 4.2.1 later" : NULL;
}

static void send_and_expire(struct rig *rig, struct worker *w)
{
	give(rig, w, "b@d.test", hello);
	check(rig_wait(report_came, NULL, 30000));
	check(rig_idle(w, 20000));
}

Test(deliver, expired_recipient_is_reported)
{
	begin(1);
	peer->script = always_later;
	rig_run(&the, route("", ""), send_and_expire);
	cr_assert(strstr(report(), "5.4.7"), "%s", report());
	cr_assert(strstr(report(), "450 "));
	finish();
}

static const char *one_at_a_time(struct peer *p, unsigned session, const char *line)
{
	static _Thread_local unsigned rcpts;

	if (strncmp(line, "MAIL", 4) == 0)
		rcpts = 0;
	if (strncmp(line, "RCPT", 4) == 0 && ++rcpts > 1)
		return "452 4.5.3 too many recipients";
	return NULL;
}

Test(deliver, too_many_recipients_go_on_at_once)
{
	begin(1);
	peer->script = one_at_a_time;
	rig_run(&the, route("", ", retry.first: 1h"), send_three);
	cr_assert_eq(atomic_load(&peer->count), 3u);
	finish();
}

static const char *goodbye_first(struct peer *p, unsigned session, const char *line)
{
	return session == 0 && strncmp(line, "MAIL", 4) == 0 ? "421 4.3.2 going down" : NULL;
}

Test(deliver, goodbye_at_mail_is_no_attempt)
{
	begin(1);
	peer->script = goodbye_first;
	rig_run(&the, route("", ", retry.first: 1h"), send_one);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_eq(atomic_load(&peer->sessions), 2u);
	finish();
}

static const char *break_at_dot(struct peer *p, unsigned session, const char *line)
{
	return session == 0 && strcmp(line, ".") == 0 ? "!" : NULL;
}

Test(deliver, break_behind_the_dot_is_tried_again)
{
	begin(1);
	peer->script = break_at_dot;
	rig_run(&the, route("", ""), send_one);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	finish();
}

static const char *lmtp_refuses_y(struct peer *p, unsigned session, const char *line)
{
	static _Thread_local unsigned dots;

	return strcmp(line, ".") == 0 && ++dots % 3 == 2 && strcmp(line, ".") == 0 ?
		"550 5.2.2 mailbox full" :
		NULL;
}

Test(deliver, lmtp_tells_each_recipient)
{
	begin(1);
	peer->lmtp = true;
	peer->script = lmtp_refuses_y;
	rig_run(&the, route("", ", protocol: lmtp"), send_and_see_report);
	cr_assert(strstr(report(), "y@d.test"), "%s", report());
	cr_assert(strstr(report(), "5.2.2"));
	finish();
}

/* ---------------------------------------------------------------------------------------------- */

#define EIGHT                                                                     \
	HEADER "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" \
	       "Content-Transfer-Encoding: 8bit\r\n\r\ngr\xc3\xbc\xc3\x9f"        \
	       "e\r\n"

static void send_eight(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = {
		.from = "a@s.test", .to = "b@d.test", .text = EIGHT, .eight_bit = true
	};

	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 20000));
}

Test(deliver, eight_bit_body_is_recoded_for_an_old_hop)
{
	begin(1);
	peer->ehlo = "250 PIPELINING";
	rig_run(&the, route("", ""), send_eight);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert(strstr(peer->messages[0].data, "gr=C3=BC=C3=9Fe"), "%s", peer->messages[0].data);
	cr_assert_null(strstr(peer->messages[0].mail, "BODY="));
	finish();
}

Test(deliver, eight_bit_body_passes_a_hop_that_takes_it)
{
	begin(1);
	rig_run(&the, route("", ""), send_eight);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_str_eq(peer->messages[0].data, EIGHT);
	cr_assert(strstr(peer->messages[0].mail, "BODY=8BITMIME"));
	finish();
}

static void send_utf8(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = { .from = "a@s.test",
		.smtputf8 = true,
		.text = hello,
		.to = "b@b\xc3\xbc"
		      "cher.test \xc3\xbc@d.test" };

	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 20000));
}

Test(deliver, without_smtputf8_only_the_domain_can_be_spelt_otherwise)
{
	begin(1);
	rig_run(&the, route("", ""), send_utf8);
	cr_assert_eq(peer_rcpts(peer, "<b@xn--bcher-kva.test>"), 1u);
	cr_assert(strstr(report(), "5.6.7"), "%s", report());
	finish();
}

static void send_large(struct rig *rig, struct worker *w)
{
	size_t len = 1 << 20;
	char *text = malloc(len + 100);
	int head = snprintf(text, 100, "%s\r\n", HEADER);

	for (size_t i = (size_t)head; i + 1 < len; i++)
		text[i] = i % 76 == 74 ? '\r' : i % 76 == 75 ? '\n' : (char)('a' + i % 26);
	text[len - 2] = '\r';
	text[len - 1] = '\n';
	text[len] = 0;
	give(rig, w, "b@d.test", text);
	unsigned want = 1;

	check(rig_wait(arrived, &want, 20000));
	check(rig_idle(w, 20000));
	check(strcmp(peer->messages[0].data, text) == 0);
	free(text);
}

Test(deliver, large_message_streams_through)
{
	begin(1);
	rig_run(&the, route("", ""), send_large);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	finish();
}

Test(deliver, size_beyond_the_hop_is_not_sent)
{
	begin(1);
	peer->ehlo = "250-SIZE 10\r\n250 PIPELINING";
	rig_run(&the, route("", ""), send_one);
	cr_assert_eq(atomic_load(&peer->mails), 0u);
	finish();
}

/* ---------------------------------------------------------------------------------------------- */

static const char *tls_broken(struct peer *p, unsigned session, const char *line)
{
	return strcmp(line, "STARTTLS") == 0 ? "220 go ahead!" : NULL;
}

static void give_two(struct rig *rig, struct worker *w)
{
	for (int i = 0; i < 2; i++) {
		give(rig, w, "b@d.test", hello);
		check(rig_idle(w, 20000));
	}
}

Test(deliver, broken_handshake_goes_on_in_clear_and_is_remembered)
{
	begin(1);
	peer->ehlo = "250-PIPELINING\r\n250 STARTTLS";
	peer->script = tls_broken;
	rig_run(&the, route("  tls: opportunistic\n", ", idle: 1ms"), give_two);
	cr_assert_eq(atomic_load(&peer->count), 2u);
	/* One that broke, and one in clear for each message. */
	cr_assert_eq(atomic_load(&peer->sessions), 3u);
	finish();
}

static void remembers(struct worker *w, void *arg)
{
	struct addr at = addr_ip4(INADDR_LOOPBACK, peer->port);

	*(unsigned *)arg += host_remembers(relay_here(w)->hosts, &at, HOST_TLS_BROKEN, 0);
}

static void give_and_ask(struct rig *rig, struct worker *w)
{
	unsigned knowing = 0;

	give(rig, w, "b@d.test", hello);
	check(rig_idle(w, 20000));
	for (unsigned i = 0; i < rig->workers; i++)
		post_call(i, remembers, &knowing);
	check(knowing == rig->workers);
}

Test(deliver, broken_handshake_is_known_to_all_workers)
{
	begin(3);
	peer->ehlo = "250-PIPELINING\r\n250 STARTTLS";
	peer->script = tls_broken;
	rig_run(&the, route("  tls: opportunistic\n", ""), give_and_ask);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	finish();
}

/* RFC 3207 6: what came behind the 220 in clear may be anybody's. The mail need not suffer for it. */
static const char *tls_injected(struct peer *p, unsigned session, const char *line)
{
	return strcmp(line, "STARTTLS") == 0 ? "220 go ahead\r\n250 injected" : NULL;
}

static const char *tls_slammed(struct peer *p, unsigned session, const char *line)
{
	return strcmp(line, "STARTTLS") == 0 ? "!" : NULL;
}

static void in_clear_at_once(const char *(*script)(struct peer *, unsigned, const char *))
{
	begin(1);
	peer->ehlo = "250-PIPELINING\r\n250 STARTTLS";
	peer->script = script;
	rig_run(&the, route("  tls: opportunistic\n", ", retry.first: 1h"), send_one);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_eq(atomic_load(&peer->sessions), 2u);
	finish();
}

Test(deliver, bytes_behind_the_220_are_answered_in_clear)
{
	in_clear_at_once(tls_injected);
}

Test(deliver, a_close_at_starttls_is_answered_in_clear)
{
	in_clear_at_once(tls_slammed);
}

/* The time-outs of RFC 5321 4.5.3.2 are for replies, not for bytes of them. */
static const char *drips_first(struct peer *p, unsigned session, const char *line)
{
	return session == 0 && strncmp(line, "MAIL", 4) == 0 ? "~" : NULL;
}

Test(deliver, a_reply_that_drips_is_given_up)
{
	begin(1);
	peer->script = drips_first;
	rig_run(&the, route("", ", timeouts.mail: 200ms"), send_one);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_eq(atomic_load(&peer->sessions), 2u);
	finish();
}

static bool tried_twice(void *arg)
{
	return atomic_load(&peer->sessions) >= 2;
}

static void give_and_wait(struct rig *rig, struct worker *w)
{
	give(rig, w, "b@d.test", hello);
	check(rig_wait(tried_twice, NULL, 20000));
}

Test(deliver, required_tls_is_never_gone_without)
{
	begin(1);
	rig_run(&the, route("", ", tls: required"), give_and_wait);
	cr_assert_eq(atomic_load(&peer->mails), 0u);
	finish();
}

static void give_later(struct rig *rig, struct worker *w)
{
	wall_ms begun = worker_wall(w);
	struct rig_mail mail = {
		.from = "a@s.test", .to = "b@d.test", .text = hello, .hold_ms = 700
	};

	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 20000));
	check(worker_wall(w) - begun >= 700);
}

Test(deliver, future_release_waits)
{
	begin(1);
	rig_run(&the, route("", ""), give_later);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	finish();
}

static const char *later_once(struct peer *p, unsigned session, const char *line)
{
	return strncmp(line, "RCPT", 4) == 0 && atomic_load(&p->mails) <= 1 ? "450 4.2.1 later" :
									      NULL;
}

/* Its first attempt comes later than it may grow old. */
Test(deliver, future_release_does_not_count_as_age)
{
	begin(1);
	peer->script = later_once;
	rig_run(&the, route("", ", retry.expire: 600ms"), give_later);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_eq(atomic_load(&peer->mails), 2u);
	finish();
}

static void give_with_success_report(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = { .from = "a@s.test",
		.to = "b@d.test",
		.text = hello,
		.notify = ENVELOPE_NOTIFY_SUCCESS };

	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 20000));
}

Test(deliver, relayed_is_reported_when_the_hop_cannot)
{
	begin(1);
	rig_run(&the, route("", ""), give_with_success_report);
	cr_assert_eq(atomic_load(&peer->count), 2u);
	cr_assert(strstr(report(), "Action: relayed"), "%s", report());
	finish();
}

Test(deliver, what_lmtp_takes_is_reported_as_delivered)
{
	begin(1);
	peer->lmtp = true;
	rig_run(&the, route("", ", protocol: lmtp"), give_with_success_report);
	cr_assert_eq(atomic_load(&peer->count), 2u);
	cr_assert(strstr(report(), "Action: delivered"), "%s", report());
	finish();
}

Test(deliver, relayed_is_left_to_a_hop_that_can_report)
{
	begin(1);
	peer->ehlo = "250-PIPELINING\r\n250 DSN";
	rig_run(&the, route("", ""), give_with_success_report);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert(strstr(peer->messages[0].rcpts[0], "NOTIFY=SUCCESS"));
	finish();
}

static void give_never(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = {
		.from = "a@s.test", .to = "y@d.test", .text = hello, .notify = ENVELOPE_NOTIFY_NEVER
	};

	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 20000));
}

Test(deliver, never_means_never)
{
	begin(1);
	peer->script = refuse_y;
	rig_run(&the, route("", ""), give_never);
	cr_assert_eq(atomic_load(&peer->mails), 1u);
	finish();
}

static void send_urgent(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = { .from = "a@s.test", .to = "b@d.test", .text = hello };

	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 20000));
	mail.priority = -4;
	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 20000));
}

Test(deliver, priority_goes_on_to_who_offers_it)
{
	begin(1);
	peer->ehlo = "250-MT-PRIORITY\r\n250 PIPELINING";
	rig_run(&the, route("", ""), send_urgent);
	cr_assert_eq(atomic_load(&peer->count), 2u);
	cr_assert(!strstr(peer->messages[0].mail, "PRIORITY"), "none was given");
	cr_assert(strstr(peer->messages[1].mail, "MT-PRIORITY=-4"), "%s", peer->messages[1].mail);
	finish();
}

Test(deliver, priority_is_kept_from_who_does_not_offer_it)
{
	begin(1);
	peer->ehlo = "250 PIPELINING";
	rig_run(&the, route("", ""), send_urgent);
	cr_assert_eq(atomic_load(&peer->count), 2u);
	cr_assert(!strstr(peer->messages[1].mail, "PRIORITY"));
	finish();
}
