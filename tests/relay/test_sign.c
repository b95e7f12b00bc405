/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signing at delivery: what arrives verifies, and mail that must be signed is never sent bare. */
#include "tests/relay/peer.h"
#include "tests/relay/rig.h"

#include "core/base/sigkey.h"
#include "core/job.h"
#include "core/rsa_batch.h"
#include "proto/mailauth/dkim_verify.h"
#include "proto/mime/header.h"
#include "store/account.h"

static const char hello[] = "From: a@news.s.test\r\nTo: b@d.test\r\nSubject: hi\r\n"
			    "Date: Fri, 21 Nov 1997 09:55:06 -0600\r\n\r\nbody\r\nlast\r\n";
static const char eight[] = "From: a@s.test\r\nMIME-Version: 1.0\r\n"
			    "Content-Type: text/plain; charset=utf-8\r\n"
			    "Content-Transfer-Encoding: 8bit\r\n\r\ngr\xc3\xbc\xc3\x9f"
			    "e\r\n";

static struct peer *peer;
static struct rig the;
static char records[2][2000];

static const char *route_with(const char *more)
{
	return rig_route(&the, peer->port, more);
}

static const char *route(void)
{
	return route_with("");
}

struct making {
	enum sigkey_type type;
	struct sigkey *key;
};

static void make_key(void *arg)
{
	struct making *making = arg;

	check(sigkey_generate(making->type, 2048, rsa_batch_rng(NULL), &making->key) == OK);
}

static void add_key(struct rig *rig, enum sigkey_type type, const char *selector)
{
	struct making making = { .type = type };
	char pem[KEY_PEM_MAX];
	struct out o = out_fixed(pem, sizeof(pem)), r = out_fixed(records[type], 1999);

	job_run(make_key, &making);
	sigkey_put_private(making.key, &o);
	sigkey_put_record(making.key, &r);
	records[type][r.len] = 0;
	struct domain_key row = { .domain = SLICE("s.test"),
		.selector = slice_str(selector),
		.pem = out_written(&o),
		.kind = type == SIGKEY_RSA ? KEY_RSA : KEY_ED25519 };

	check(domain_key_put(rig->st, &row, ROW_PUT) == OK);
	sigkey_free(making.key);
}

static void add_domain(struct rig *rig, uint32_t flags)
{
	struct domain d = { .name = SLICE("s.test"), .flags = flags };

	check(domain_put(rig->st, &d, ROW_PUT) == OK);
}

static enum err submit(struct rig *rig, struct worker *w, const char *text, bool eight_bit)
{
	struct rig_mail mail = { .from = "a@s.test",
		.to = "b@d.test",
		.text = text,
		.origin = ENVELOPE_SUBMISSION,
		.eight_bit = eight_bit };

	return rig_send(rig, w, &mail, NULL);
}

static void sign_two(struct rig *rig, struct worker *w)
{
	add_domain(rig, 0);
	add_key(rig, SIGKEY_RSA, "s1");
	add_key(rig, SIGKEY_ED25519, "s2");
	check(submit(rig, w, hello, false) == OK);
	check(submit(rig, w, eight, true) == OK);
	check(rig_idle(w, 20000));
}

static unsigned passes(const char *text)
{
	struct dkim_verifier v;
	struct arena a = { 0 };
	slice all = slice_str(text);
	size_t head = (size_t)slice_search(all, SLICE("\r\n\r\n")) + 4;
	unsigned count = 0;

	dkim_verify_init(&v, &a);
	dkim_verify_header(&v, slice_sub(all, 0, head), 0);
	dkim_verify_body(&v, slice_skip(all, head));
	dkim_verify_body_end(&v);
	for (size_t i = 0; i < v.count; i++) {
		cr_assert(slice_eq(v.checks[i].sig.domain, SLICE("s.test")));
		count += dkim_verify_key(&v, i, OK, slice_str(records[v.checks[i].sig.type])) ==
			DKIM_PASS;
	}
	arena_done(&a);
	return count;
}

Test(sign, both_kinds_of_key_sign_and_verify)
{
	peer = peer_start(0);
	peer->ehlo = "250 PIPELINING"; /* so that the second message is converted before signing */
	rig_make(&the, 1);
	rig_run(&the, route(), sign_two);
	cr_assert_eq(atomic_load(&peer->count), 2u);
	cr_assert_eq(passes(peer->messages[0].data), 2u, "%s", peer->messages[0].data);
	cr_assert_eq(passes(peer->messages[1].data), 2u, "%s", peer->messages[1].data);
	peer_stop(peer);
	rig_remove(&the);
}

static void relay_unsigned(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = {
		.from = "a@s.test", .to = "b@d.test", .text = hello, .origin = ENVELOPE_RELAYED
	};

	add_domain(rig, DOMAIN_SIGN_REQUIRED);
	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 20000));
}

Test(sign, relayed_mail_is_not_signed)
{
	peer = peer_start(0);
	rig_make(&the, 1);
	rig_run(&the, route(), relay_unsigned);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_str_eq(peer->messages[0].data, hello);
	peer_stop(peer);
	rig_remove(&the);
}

static bool held(void *arg)
{
	struct relay_stats stats;

	relay_stats(&stats);
	return stats.rcpts_held == 1;
}

static void hold_then_sign(struct rig *rig, struct worker *w)
{
	struct queue_filter every = { .index = QUEUE_ALL, .state = -1 };
	uint64_t changed = 0;

	add_domain(rig, DOMAIN_SIGN_REQUIRED);
	check(submit(rig, w, hello, false) == OK);
	check(rig_wait(held, NULL, 20000));
	check(atomic_load(&peer->count) == 0);
	add_key(rig, SIGKEY_ED25519, "s2");
	check(queue_act(w, &every, QUEUE_RELEASE, &changed) == OK && changed == 1);
	check(rig_idle(w, 20000));
}

Test(sign, mail_that_must_be_signed_waits_for_a_key)
{
	peer = peer_start(0);
	rig_make(&the, 1);
	rig_run(&the, route(), hold_then_sign);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert_eq(passes(peer->messages[0].data), 1u);
	peer_stop(peer);
	rig_remove(&the);
}

static void hold_though_there_is_a_key(struct rig *rig, struct worker *w)
{
	add_domain(rig, DOMAIN_SIGN_REQUIRED);
	add_key(rig, SIGKEY_ED25519, "s2");
	check(submit(rig, w, hello, false) == OK);
	check(submit(rig, w, "From: x@else.test\r\n\r\nbare\r\n", false) == OK);
	check(rig_wait(held, NULL, 20000));
}

Test(sign, mail_that_must_be_signed_waits_while_signing_is_off)
{
	peer = peer_start(0);
	rig_make(&the, 1);
	rig_run(&the, route_with("  dkim: { sign: no }\n"), hold_though_there_is_a_key);
	cr_assert_eq(atomic_load(&peer->count), 1u);
	cr_assert(strstr(peer->messages[0].data, "bare"));
	cr_assert(!strstr(peer->messages[0].data, "DKIM"));
	peer_stop(peer);
	rig_remove(&the);
}
