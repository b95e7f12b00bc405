/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client side: the exchange of RFC 7677 3, servers that lie, and both sides against each other. */
#include "proto/sasl/sasl.h"

#include <criterion/criterion.h>

#define C_NONCE "rOprNGfwEbeRWgbNEkqO"
#define S_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SERVER_FIRST "r=" C_NONCE S_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"

static struct arena arena;
static const unsigned char binding[32] = { 9, 8, 7 };

static const struct sasl_client_conf conf = {
	.user = SLICE_INIT("user"),
	.password = SLICE_INIT("pencil"),
	.nonce = SLICE_INIT(C_NONCE),
};

Test(sasl_client, rfc7677)
{
	struct sasl_client c;
	slice response;

	sasl_client_start(&c, &arena, &conf, SASL_SCRAM_SHA_256, SASL_ALL);
	cr_assert(sasl_client_initial(&c, &response));
	cr_assert(slice_eq(response, SLICE("n,,n=user,r=" C_NONCE)));
	cr_assert_eq(sasl_client_feed(&c, SLICE(SERVER_FIRST), &response), SASL_MORE);
	cr_assert(slice_eq(response,
		SLICE("c=biws,r=" C_NONCE S_NONCE
		      ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")));
	cr_assert_not(sasl_client_done(&c), "the server has not proved itself yet");
	cr_assert_eq(sasl_client_feed(&c, SLICE("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
			     &response),
		SASL_MORE);
	cr_assert(sasl_client_done(&c) && !response.len);
	arena_done(&arena);
}

static const struct {
	const char *first, *final, *why;
	enum sasl_step want;
} liars[] = {
	{ "r=x" S_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", NULL, "not our nonce", SASL_BAD },
	{ "r=" C_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", NULL, "our nonce alone", SASL_BAD },
	{ "r=" C_NONCE S_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", NULL, "too few rounds",
		SASL_BAD },
	{ "r=" C_NONCE S_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999", NULL, "too many",
		SASL_BAD },
	{ "r=" C_NONCE S_NONCE ",s=,i=4096", NULL, "no salt", SASL_BAD },
	{ "r=" C_NONCE S_NONCE ",s=W22Z", NULL, "no count", SASL_BAD },
	{ "m=x," SERVER_FIRST, NULL, "extension", SASL_BAD },
	{ SERVER_FIRST, "v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "false server",
		SASL_FAIL },
	{ SERVER_FIRST, "e=invalid-proof", "refused", SASL_FAIL },
	{ SERVER_FIRST, "v=AAAA", "short", SASL_BAD },
	{ SERVER_FIRST, "", "nothing", SASL_BAD },
};

Test(sasl_client, servers_that_lie)
{
	for (size_t i = 0; i < array_len(liars); i++) {
		struct sasl_client c;
		slice response;

		sasl_client_start(&c, &arena, &conf, SASL_SCRAM_SHA_256, SASL_ALL);
		cr_assert(sasl_client_initial(&c, &response));
		enum sasl_step got = sasl_client_feed(&c, slice_str(liars[i].first), &response);

		if (liars[i].final) {
			cr_assert_eq(got, SASL_MORE);
			got = sasl_client_feed(&c, slice_str(liars[i].final), &response);
		}
		cr_assert_eq(got, liars[i].want, "%s", liars[i].why);
		cr_assert_not(sasl_client_done(&c));
	}
	arena_done(&arena);
}

Test(sasl_client, flag_tells_what_the_client_believes)
{
	struct sasl_client_conf bound = conf;
	struct sasl_client c;
	slice response;

	bound.binding = slice_of(binding, sizeof(binding));
	sasl_client_start(&c, &arena, &bound, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_256);
	cr_assert(sasl_client_initial(&c, &response) && slice_starts(response, SLICE("y,,")));
	sasl_client_start(&c, &arena, &bound, SASL_SCRAM_SHA_256, SASL_ALL);
	cr_assert(sasl_client_initial(&c, &response) && slice_starts(response, SLICE("n,,")));
	cr_assert_eq(sasl_client_choose(&bound, SASL_ALL), SASL_SCRAM_SHA_256_PLUS);
	cr_assert_eq(sasl_client_choose(&conf, SASL_ALL), SASL_SCRAM_SHA_256);
	cr_assert_eq(sasl_client_choose(&conf, SASL_LOGIN | SASL_PLAIN), SASL_PLAIN);
	cr_assert_eq(sasl_client_choose(&conf, SASL_SCRAM_SHA_256_PLUS), SASL_NONE);
	arena_done(&arena);
}

/* The whole exchange, both sides ours. True when both end well. */
static bool meet(enum sasl_mech mech, const char *password, const char *user)
{
	struct sasl_client_conf ours = conf;
	struct sasl_server_conf theirs = {
		.mech = mech,
		.nonce = SLICE(S_NONCE),
		.binding = slice_of(binding, sizeof(binding)),
		.plus_offered = true,
	};
	struct scram_keys keys = { .iterations = 4096, .salt = "0123456789abcde" };
	enum sasl_step step = SASL_MORE;
	struct sasl_client c;
	struct sasl_server s;
	slice response, challenge;

	ours.binding = theirs.binding;
	ours.user = slice_str(user);
	ours.authzid = mech == SASL_LOGIN ? SLICE("") : SLICE("as,me");
	scram_keys_derive(&keys, SLICE("pencil"));
	sasl_client_start(&c, &arena, &ours, mech, SASL_ALL);
	ours.password = slice_str(password);
	sasl_server_start(&s, &arena, &theirs);
	challenge = sasl_server_challenge(&s);
	for (int turn = 0; step == SASL_MORE && turn < 6; turn++) {
		if (sasl_client_feed(&c, challenge, &response) != SASL_MORE)
			return false;
		step = sasl_server_feed(&s, response, &challenge);
		if (step == SASL_NEED_KEYS)
			step = sasl_server_keys(&s, &keys, &challenge);
		if (step == SASL_CHECK)
			step = sasl_server_checked(&s, slice_eq(s.password, SLICE("pencil")));
	}
	return step == SASL_OK && sasl_client_done(&c) && slice_eq(s.user, slice_str(user)) &&
		slice_eq(s.authzid, ours.authzid);
}

Test(sasl_client, both_sides_agree)
{
	for (unsigned mech = 1; mech < SASL_ALL; mech <<= 1) {
		cr_assert(meet((enum sasl_mech)mech, "pencil", "user=,\xc3\xa4"), "%u", mech);
		cr_assert_not(meet((enum sasl_mech)mech, "pen", "user"), "%u", mech);
	}
	arena_done(&arena);
}

/* The proof is that of RFC 7677 each time, and only as long as salt and count are the same. */
Test(sasl_client, cache_saves_the_derivation)
{
	struct scram_cache cache = { 0 };
	struct sasl_client_conf cached = conf;
	struct sasl_client c;
	slice response;

	cached.cache = &cache;
	for (int login = 0; login < 3; login++) {
		sasl_client_start(&c, &arena, &cached, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_256);
		cr_assert(sasl_client_initial(&c, &response));
		cr_assert_eq(sasl_client_feed(&c, SLICE(SERVER_FIRST), &response), SASL_MORE);
		cr_assert(slice_ends_nocase(response, SLICE("jfMHgsqmmiz7AndVQ=")));
		cr_assert_eq(cache.iterations, 4096);
		/* From the second login on the password is not looked at. */
		cached.password = SLICE("wrong");
	}
	sasl_client_start(&c, &arena, &cached, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_256);
	cr_assert(sasl_client_initial(&c, &response));
	cr_assert_eq(sasl_client_feed(&c, SLICE("r=" C_NONCE S_NONCE ",s=AAAA,i=4096"), &response),
		SASL_MORE);
	cr_assert_not(slice_ends_nocase(response, SLICE("jfMHgsqmmiz7AndVQ=")));
	arena_done(&arena);
}
