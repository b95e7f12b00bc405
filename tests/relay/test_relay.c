/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole relay against a scripted next hop: what is submitted arrives, once, or is reported. */
#include "tests/relay/peer.h"
#include "tests/relay/rig.h"

#include "core/fiber.h"

static const char hello[] = "From: a@s.test\r\nTo: b@d.test\r\nSubject: hi\r\n\r\n.dot\r\nbody\r\n";

static struct peer *peer;

static const char *route_yaml(char buf[1000], const char *more)
{
	snprintf(buf, 1000,
		"relay:\n  retry: { first: 300ms, factor: 2, max: 1s, expire: 4s, warn: 0 }\n  idle: 200ms\n"
		"%s"
		"  routes:\n    - { domain: \"*\", hosts: [ 127.0.0.1 ], port: %u, tls: none }\n",
		more, peer->port);
	return buf;
}

static bool arrived(void *arg)
{
	return atomic_load(&peer->count) >= *(unsigned *)arg;
}

static bool all_done(void *arg)
{
	return rig_waiting(arg) == 0;
}

static void send_one(struct rig *rig, struct worker *w)
{
	unsigned want = 1;
	struct rig_mail mail = { .from = "a@s.test", .to = "b@d.test", .text = hello };

	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_wait(arrived, &want, 20000));
	check(rig_wait(all_done, w, 20000));
}

Test(relay, message_arrives_as_it_was_given)
{
	struct rig rig;
	char yaml[1000];

	peer = peer_start(0);
	rig_make(&rig, 1);
	rig_run(&rig, route_yaml(yaml, ""), send_one);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_str_eq(peer->messages[0].data,
		"From: a@s.test\r\nTo: b@d.test\r\nSubject: hi\r\n\r\n..dot\r\nbody\r\n");
	cr_assert(strstr(peer->messages[0].mail, "<a@s.test>"));
	cr_assert_eq(peer->messages[0].rcpt_count, 1u);
	peer_stop(peer);
	rig_remove(&rig);
}
